/* cpu_lm_head: the numerically stable lm_head of the cpu backend: output layer, softmax, loss,
 * objective and their gradient. The batch is processed in chunks of rows: the logits of a chunk
 * become the objective's gradient in place, from which dh and dweight follow. Logits of more than
 * `chunk` rows never exist. Products and loops run over V of the Vp columns, so padding is never
 * read. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_matmul.h"
#include "gpu/cpu/cpu_math.h"

enum { BLOCK = 1024 }; /* floats summed before they are added to a double */

/* In place: logits -> exp(logit - largest). Returns logsumexp; *sum: sum of the exponentials. */
static float softmax_row(float *row, int V, double *sum)
{
    float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int v = 0; v < V; v++)
        largest = row[v] > largest ? row[v] : largest;
    double total = 0;
    for (int first = 0; first < V; first += BLOCK) {
        const int end = first + BLOCK < V ? first + BLOCK : V;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int v = first; v < end; v++) {
            row[v] = cpu_exp(row[v] - largest);
            part += row[v];
        }
        total += (double)part;
    }
    *sum = total;
    return (float)((double)largest + log(total));
}

/* logsumexp of a row, which stays unchanged. */
static float row_lse(const float *row, int V)
{
    float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int v = 0; v < V; v++)
        largest = row[v] > largest ? row[v] : largest;
    double total = 0;
    for (int first = 0; first < V; first += BLOCK) {
        const int end = first + BLOCK < V ? first + BLOCK : V;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int v = first; v < end; v++)
            part += cpu_exp(row[v] - largest);
        total += (double)part;
    }
    return (float)((double)largest + log(total));
}

static double row_sum(const float *row, int V)
{
    double total = 0;
    for (int first = 0; first < V; first += BLOCK) {
        const int end = first + BLOCK < V ? first + BLOCK : V;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int v = first; v < end; v++)
            part += row[v];
        total += (double)part;
    }
    return total;
}

static void add_bias(float *row, const float *bias, int V)
{
#pragma omp simd
    for (int v = 0; v < V; v++)
        row[v] += bias[v];
}

static void scale_row(float *row, int V, float factor)
{
#pragma omp simd
    for (int v = 0; v < V; v++)
        row[v] *= factor;
}

static void scale_and_shift_row(float *row, int V, float factor, float shift)
{
#pragma omp simd
    for (int v = 0; v < V; v++)
        row[v] = row[v] * factor + shift;
}

/* 1 if the objective is the plain loss. */
static int is_plain(const struct backend_lm_head *lm_head)
{
    return !lm_head->weights && !lm_head->adjust && lm_head->smoothing == 0 && lm_head->z_loss == 0;
}

/* In place: logits of position n -> gradient of the plain loss. */
static void loss_row(const struct backend_lm_head *lm_head, int n, float *row)
{
    const int32_t target = lm_head->targets[n];
    const float logit = row[target];
    double sum;
    const float lse = softmax_row(row, lm_head->V, &sum);
    ((float *)lm_head->losses)[n] = lse - logit;
    ((float *)lm_head->lse)[n] = lse;
    if (lm_head->objective)
        ((float *)lm_head->objective)[n] = lse - logit;
    if (lm_head->objective_lse)
        ((float *)lm_head->objective_lse)[n] = lse;
    scale_row(row, lm_head->V, (float)(1 / (sum * lm_head->N)));
    row[target] -= 1.0f / (float)lm_head->N;
}

/* In place: logits of position n -> gradient of the general objective. */
static void objective_row(const struct backend_lm_head *lm_head, int n, float *row)
{
    const int V = lm_head->V;
    const int32_t target = lm_head->targets[n];
    const double omega = lm_head->weights ? (double)((const float *)lm_head->weights)[n] : 1;
    const float plain_logit = row[target];
    float plain_lse = 0;
    if (lm_head->adjust) {
        plain_lse = row_lse(row, V);
        add_bias(row, lm_head->adjust, V);
    }
    double expected = (1 - lm_head->smoothing) * (double)row[target], sum;
    if (lm_head->smoothing > 0)
        expected += lm_head->smoothing * row_sum(row, V) / V;
    const float lse = softmax_row(row, V, &sum);
    if (!lm_head->adjust)
        plain_lse = lse;

    ((float *)lm_head->losses)[n] = plain_lse - plain_logit;
    ((float *)lm_head->lse)[n] = plain_lse;
    if (lm_head->objective)
        ((float *)lm_head->objective)[n] =
            (float)(omega * ((double)lse - expected) + lm_head->z_loss * (double)lse * (double)lse);
    if (lm_head->objective_lse)
        ((float *)lm_head->objective_lse)[n] = lse;
    scale_and_shift_row(row, V,
                        (float)((omega + 2 * lm_head->z_loss * (double)lse) / (sum * lm_head->N)),
                        (float)(-omega * lm_head->smoothing / V / lm_head->N));
    row[target] -= (float)(omega * (1 - lm_head->smoothing) / lm_head->N);
}

/* In place: logits without bias of `rows` positions from `first` on -> gradient of the logits. */
static void gradient_rows(const struct cpu *cpu, const struct backend_lm_head *lm_head, int first,
                          int rows, float *logits)
{
    const int team = cpu_team(cpu, 16 * (int64_t)rows * lm_head->V);
    void (*const turn)(const struct backend_lm_head *, int, float *) =
        is_plain(lm_head) ? loss_row : objective_row;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int r = 0; r < rows; r++) {
        float *row = logits + (int64_t)r * lm_head->Vp;
        if (lm_head->bias)
            add_bias(row, lm_head->bias, lm_head->V);
        for (int m = 0; lm_head->tracked_logits && m < lm_head->M; m++)
            ((float *)lm_head->tracked_logits)[(int64_t)m * lm_head->N + first + r] =
                row[lm_head->tracked[m]];
        turn(lm_head, first + r, row);
    }
}

static void bias_gradient(struct cpu *cpu, const struct backend_lm_head *lm_head, int first,
                          int rows, const float *logits)
{
    const int team = cpu_team(cpu, (int64_t)rows * lm_head->V);
    float *dbias = lm_head->dbias;
    const int V = lm_head->V;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int v = 0; v < V; v += BLOCK) {
        const int n = V - v < BLOCK ? V - v : BLOCK;
        if (first == 0)
            memset(dbias + v, 0, (size_t)n * sizeof *dbias);
        for (int r = 0; r < rows; r++)
            add_bias(dbias + v, logits + (int64_t)r * lm_head->Vp + v, n);
    }
}

/* Matrix products of one chunk: logits forward, then dh and dweight from their gradient. */
static void logits_forward(struct cpu *cpu, const struct backend_lm_head *lm_head, const void *h,
                           int rows, float *logits)
{
    const struct cpu_gemm gemm = {.M = rows,
                                  .N = lm_head->V,
                                  .K = lm_head->C,
                                  .b_transposed = 1,
                                  .a_bf16 = cpu->bf16,
                                  .b_bf16 = cpu->bf16,
                                  .a_stride = lm_head->C,
                                  .b_stride = lm_head->C,
                                  .c_stride = lm_head->Vp,
                                  .alpha = (float)lm_head->scale};
    cpu_matmul_gemm(cpu, &gemm, h, lm_head->weight, NULL, logits);
}

static void logits_backward(struct cpu *cpu, const struct backend_lm_head *lm_head, const void *h,
                            void *dh, int rows, int accumulate, const float *logits)
{
    const struct cpu_gemm input = {.M = rows,
                                   .N = lm_head->C,
                                   .K = lm_head->V,
                                   .b_bf16 = cpu->bf16,
                                   .c_bf16 = cpu->bf16,
                                   .a_stride = lm_head->Vp,
                                   .b_stride = lm_head->C,
                                   .c_stride = lm_head->C,
                                   .alpha = (float)lm_head->scale};
    const struct cpu_gemm weight = {.M = lm_head->V,
                                    .N = lm_head->C,
                                    .K = rows,
                                    .a_transposed = 1,
                                    .b_bf16 = cpu->bf16,
                                    .a_stride = lm_head->Vp,
                                    .b_stride = lm_head->C,
                                    .c_stride = lm_head->C,
                                    .accumulate = accumulate,
                                    .alpha = (float)lm_head->scale};
    cpu_matmul_gemm(cpu, &input, logits, lm_head->weight, NULL, dh);
    cpu_matmul_gemm(cpu, &weight, logits, h, NULL, lm_head->dweight);
}

static void output_layer(struct backend *self, const struct backend_lm_head *lm_head)
{
    struct cpu *cpu = cpu_of(self);
    float *logits = lm_head->workspace;
    const int padding = lm_head->Vp - lm_head->V;
    for (int first = 0; first < lm_head->N; first += lm_head->chunk) {
        const int rows = lm_head->N - first < lm_head->chunk ? lm_head->N - first : lm_head->chunk;
        const int64_t offset = (int64_t)first * lm_head->C;
        const void *h = backend_at(self, lm_head->h, NUMBER_ACT, offset);
        logits_forward(cpu, lm_head, h, rows, logits);
        gradient_rows(cpu, lm_head, first, rows, logits);
        if (!lm_head->dh)
            continue;
        logits_backward(cpu, lm_head, h, backend_at(self, lm_head->dh, NUMBER_ACT, offset), rows,
                        first > 0, logits);
        if (lm_head->dbias)
            bias_gradient(cpu, lm_head, first, rows, logits);
    }
    if (!lm_head->dh)
        return;
    memset((float *)lm_head->dweight + (int64_t)lm_head->V * lm_head->C, 0,
           (size_t)padding * (size_t)lm_head->C * sizeof(float));
    if (lm_head->dbias)
        memset((float *)lm_head->dbias + lm_head->V, 0, (size_t)padding * sizeof(float));
}

void CPU_NAME(cpu_lm_head)(struct cpu *cpu)
{
    cpu->table.lm_head = cpu->stable_lm_head = output_layer;
}
