/* cpu_tracked: statistics of tokens on the cpu backend: mean p of the tracked tokens, the parts of
 * their rows' gradient, and the logits of every token for one vector. Every position contributes to
 * a tracked token's softmax and z-loss parts, so each of them is one matrix product; its target and
 * input parts come from the few positions where it occurs. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_act.h"
#include "gpu/cpu/cpu_matmul.h"
#include "gpu/cpu/cpu_memory.h"

/* out [N] = exp(logits + shift - lse). */
static void probabilities(float *out, const float *logits, float shift, const float *lse, int N)
{
#pragma omp simd
    for (int n = 0; n < N; n++)
        out[n] = cpu_exp(logits[n] + shift - lse[n]);
}

static float *part_rows(const struct backend_tracked *t, enum backend_part part, int m)
{
    return (float *)t->parts + ((int64_t)part * t->M + m) * t->C;
}

static const float *objective_lse(const struct backend_tracked *t)
{
    return t->objective_lse ? t->objective_lse : t->lse;
}

static float weight_of(const struct backend_tracked *t, int n)
{
    return t->weights ? ((const float *)t->weights)[n] : 1;
}

/* out [N] *= factor * weights [N] (NULL: 1): weights of positions, or for the z-loss logsumexps. */
static void scale_row(float *out, const float *weights, float factor, int N)
{
    if (weights) {
#pragma omp simd
        for (int n = 0; n < N; n++)
            out[n] *= factor * weights[n];
    } else {
#pragma omp simd
        for (int n = 0; n < N; n++)
            out[n] *= factor;
    }
}

static void mean_probability(const struct backend_tracked *t, int m, const float *p)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int n = 0; n < t->N; n++)
        sum += (double)p[n];
    ((float *)t->mean_p)[m] = (float)(sum / t->N);
}

/* Fill the workspace [M, N] with the factor of each position's h in a dense part; computes mean p
 * on the way. */
static void fill_factors(struct cpu *cpu, const struct backend_tracked *t, enum backend_part part)
{
    const int team = cpu_team(cpu, 16 * (int64_t)t->M * t->N), softmax = part == PART_SOFTMAX;
    const float *lse = objective_lse(t), *weights = softmax ? t->weights : lse;
    const float factor = (float)(t->scale / t->N * (softmax ? 1 : 2 * t->z_loss));
#pragma omp parallel for num_threads(team) schedule(static)
    for (int m = 0; m < t->M; m++) {
        float *row = (float *)t->workspace + (int64_t)m * t->N;
        const float *logits = (const float *)t->logits + (int64_t)m * t->N;
        const float shift = t->adjust ? ((const float *)t->adjust)[t->tracked[m]] : 0;
        probabilities(row, logits, softmax ? 0 : shift, softmax ? t->lse : lse, t->N);
        if (softmax) {
            mean_probability(t, m, row);
            if (lse != t->lse || shift != 0)
                probabilities(row, logits, shift, lse, t->N);
        }
        scale_row(row, weights, factor, t->N);
    }
}

/* h in float, because oneDNN does not multiply mixed types. NULL where the plain product is used,
 * which does, or without memory (the fault is kept). */
static const float *h_in_float(struct cpu *cpu, const struct backend_tracked *t)
{
    const int64_t n = (int64_t)t->N * t->C;
    const int team = cpu_team(cpu, n);
    if (!cpu->bf16 || cpu->isa < CPU_ISA_AVX2)
        return NULL;
    float *h = cpu_memory_scratch(cpu, (n + cpu->threads - 1) / cpu->threads);
    if (!h)
        return NULL;
#pragma omp parallel for simd num_threads(team) schedule(static)
    for (int64_t i = 0; i < n; i++)
        h[i] = cpu_from_bf16(((const uint16_t *)t->h)[i]);
    return h;
}

static void dense_part(struct cpu *cpu, const struct backend_tracked *t, enum backend_part part)
{
    const float *h = h_in_float(cpu, t);
    const struct cpu_gemm gemm = {.M = t->M,
                                  .N = t->C,
                                  .K = t->N,
                                  .a_stride = t->N,
                                  .b_stride = t->C,
                                  .c_stride = t->C,
                                  .b_bf16 = cpu->bf16 && !h,
                                  .alpha = 1};
    fill_factors(cpu, t, part);
    cpu_matmul_gemm(cpu, &gemm, t->workspace, h ? h : t->h, NULL, part_rows(t, part, 0));
}

/* Initialise all target rows with the term of label smoothing, which is the same for all tokens. */
static void start_target_rows(struct cpu *cpu, const struct backend_tracked *t)
{
    float *first = part_rows(t, PART_TARGET, 0);
    const float factor = (float)(-t->scale / t->N * t->smoothing / t->V);
    if (t->smoothing == 0) {
        memset(first, 0, (size_t)t->M * (size_t)t->C * sizeof *first);
        return;
    }
    if (t->weights)
        cpu->table.weighted_sums(&cpu->table, first, t->weights, t->h, 1, t->N, t->C);
    else
        cpu->column_sums(cpu, first, t->h, t->N, t->C, t->C);
    for (int c = 0; c < t->C; c++)
        first[c] *= factor;
    for (int m = 1; m < t->M; m++)
        memcpy(part_rows(t, PART_TARGET, m), first, (size_t)t->C * sizeof *first);
}

CPU_INLINE void add_scaled(float *out, const void *row, float factor, int C, int bf16)
{
#pragma omp simd
    for (int c = 0; c < C; c++)
        out[c] += factor * cpu_get(row, c, bf16);
}

/* out REAL [C] += factor times row n of rows ACT [N, C]. */
static void add_row(const struct cpu *cpu, float *out, const void *rows, int n, float factor, int C)
{
    const void *row = cpu_act_in(cpu, rows, (int64_t)n * C);
    if (cpu->bf16)
        add_scaled(out, row, factor, C, 1);
    else
        add_scaled(out, row, factor, C, 0);
}

static int stands_in(const int32_t *ids, int n, int32_t id)
{
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int i = 0; i < n; i++)
        found |= ids[i] == id;
    return found;
}

/* Add the positions where token m is the target, and those where it is the input. Most tokens occur
 * in few stretches of the batch, so stretches without it are skipped. */
static void sparse_parts(const struct cpu *cpu, const struct backend_tracked *t, int m)
{
    enum { STRETCH = 64 };
    const int32_t id = t->tracked[m];
    float *target = part_rows(t, PART_TARGET, m), *input = part_rows(t, PART_INPUT, m);
    const double factor = -t->scale / t->N * (1 - t->smoothing);
    memset(input, 0, (size_t)t->C * sizeof *input);
    for (int first = 0; first < t->N; first += STRETCH) {
        const int end = t->N - first < STRETCH ? t->N : first + STRETCH;
        if (stands_in(t->targets + first, end - first, id))
            for (int n = first; n < end; n++)
                if (t->targets[n] == id)
                    add_row(cpu, target, t->h, n, (float)factor * weight_of(t, n), t->C);
        if (stands_in(t->inputs + first, end - first, id))
            for (int n = first; n < end; n++)
                if (t->inputs[n] == id)
                    add_row(cpu, input, t->dx, n, 1, t->C);
    }
}

static void row_norms(const struct backend_tracked *t, int m)
{
    for (int part = 0; part < BACKEND_PARTS; part++) {
        const float *row = part_rows(t, (enum backend_part)part, m);
        double sum = 0;
        for (int c = 0; c < t->C; c++)
            sum += (double)row[c] * (double)row[c];
        ((float *)t->norms)[(int64_t)part * t->M + m] = (float)sqrt(sum);
    }
}

static void tracked_rows(struct backend *self, const struct backend_tracked *t)
{
    struct cpu *cpu = cpu_of(self);
    if (t->M == 0)
        return;
    if (!t->dx) {
        fill_factors(cpu, t, PART_SOFTMAX);
        return;
    }
    dense_part(cpu, t, PART_SOFTMAX);
    if (t->z_loss > 0)
        dense_part(cpu, t, PART_ZLOSS);
    else
        memset(part_rows(t, PART_ZLOSS, 0), 0, (size_t)t->M * (size_t)t->C * sizeof(float));
    start_target_rows(cpu, t);
    const int team = cpu_team(cpu, (int64_t)t->M * (t->N + BACKEND_PARTS * t->C));
#pragma omp parallel for num_threads(team) schedule(static)
    for (int m = 0; m < t->M; m++) {
        sparse_parts(cpu, t, m);
        row_norms(t, m);
    }
}

enum { AHEAD = 4096 }; /* bytes: prefetch distance of a sequential pass over memory */

/* Rows v of the slice; arrays are those of all rows. Four independent accumulators hide the latency
 * of addition. The hardware prefetcher does not recognise this order of four rows, so rows are
 * prefetched by software. */
CPU_INLINE void score_rows(float *out, const void *weight, const float *bias, const float *x,
                           float factor, struct cpu_slice slice, int C, int bf16)
{
    for (int64_t first = slice.begin; first < slice.end; first += 4) {
        const int64_t row = C * (bf16 ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof(float));
        int64_t at[4];
        float dot0 = 0, dot1 = 0, dot2 = 0, dot3 = 0;
        for (int i = 0; i < 4; i++) /* beyond the last row: repeat it */
            at[i] = (first + i < slice.end ? first + i : slice.end - 1) * C;
        for (int64_t byte = 0; byte < 4 * row; byte += 64)
            __builtin_prefetch((const char *)weight + first * row + AHEAD + byte);
#pragma omp simd reduction(+ : dot0, dot1, dot2, dot3)
        for (int c = 0; c < C; c++) {
            dot0 += cpu_get(weight, at[0] + c, bf16) * x[c];
            dot1 += cpu_get(weight, at[1] + c, bf16) * x[c];
            dot2 += cpu_get(weight, at[2] + c, bf16) * x[c];
            dot3 += cpu_get(weight, at[3] + c, bf16) * x[c];
        }
        const float dot[4] = {dot0, dot1, dot2, dot3};
        for (int64_t v = first; v < first + 4 && v < slice.end; v++)
            out[v] = factor * dot[v - first] + (bias ? bias[v] : 0);
    }
}

static void scores(struct backend *self, void *out, const void *weight, enum backend_number number,
                   const void *bias, const void *x, double factor, int V, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)V * C);
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(V, 16, omp_get_thread_num(), team);
        if (cpu->bf16 && number == NUMBER_ACT)
            score_rows(out, weight, bias, x, (float)factor, s, C, 1);
        else
            score_rows(out, weight, bias, x, (float)factor, s, C, 0);
    }
}

void CPU_NAME(cpu_tracked)(struct cpu *cpu)
{
    cpu->table.tracked = tracked_rows;
    cpu->table.scores = scores;
}
