/* cpu_elementwise: the cpu backend's operations without a matrix product:
 * copies, sums, embeddings, activation functions, column sums. Each is a vector
 * loop over a slice, and an outer function that gives every thread its slice.
 * Sums over many rows are collected in blocks, so that float32 does not lose
 * small terms to a large total. */
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_bf16.h"
#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_math.h"

enum {
    LINE = 16,  /* floats of a cache line: slices never share one */
    PANEL = 64, /* columns summed together */
    BLOCK = 64  /* rows summed in float before they enter a double */
};

#define SQRT_HALF 0.70710678f
#define INV_SQRT_2PI 0.39894228f
#define SQRT_2_OVER_PI 0.79788456f

/* ---- copies and sums ---- */

static void to_bf16(uint16_t *out, const float *in, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = cpu_to_bf16(in[i]);
}

static void cast(struct backend *self, void *out, const void *in, int64_t n)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, n);
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(n, 2 * LINE, omp_get_thread_num(), team);
        const float *slice = (const float *)in + s.begin;
        if (cpu->bf16)
            to_bf16((uint16_t *)out + s.begin, slice, s.end - s.begin);
        else
            memcpy((float *)out + s.begin, slice, (size_t)(s.end - s.begin) * sizeof(float));
    }
}

static void add_slice(float *out, const float *a, const float *b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = a[i] + b[i];
}

static void add(struct backend *self, void *out, const void *a, const void *b, int64_t n)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, n);
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(n, LINE, omp_get_thread_num(), team);
        add_slice((float *)out + s.begin, (const float *)a + s.begin, (const float *)b + s.begin,
                  s.end - s.begin);
    }
}

/* ---- embedding ---- */

static void embedding_forward(struct backend *self, void *out, const void *wte, const void *wpe,
                              const int32_t *ids, int B, int T, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)B * T * C);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int p = 0; p < B * T; p++)
        add_slice((float *)out + (int64_t)p * C, (const float *)wte + (int64_t)ids[p] * C,
                  (const float *)wpe + (int64_t)(p % T) * C, C);
}

static void sum_into(float *out, const float *in, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] += in[i];
}

/* A token may stand at many positions: threads share out the columns, each
 * goes through all positions in order. */
static void embedding_backward(struct backend *self, void *dwte, void *dwpe, const void *dout,
                               const int32_t *ids, int B, int T, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 2 * (int64_t)B * T * C);
    const float *rows = dout;
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(C, LINE, omp_get_thread_num(), team);
        const int64_t n = s.end - s.begin;
        for (int t = 0; t < T; t++)
            memset((float *)dwpe + (int64_t)t * C + s.begin, 0, (size_t)n * sizeof(float));
        for (int p = 0; p < B * T; p++) {
            const float *row = rows + (int64_t)p * C + s.begin;
            sum_into((float *)dwte + (int64_t)ids[p] * C + s.begin, row, n);
            sum_into((float *)dwpe + (int64_t)(p % T) * C + s.begin, row, n);
        }
    }
}

/* ---- activation functions ---- */

static void gelu(float *out, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float u = x[i] * SQRT_HALF;
        out[i] = 0.5f * x[i] * (1.0f + cpu_erf(u, cpu_exp(-u * u)));
    }
}

static void gelu_slope(float *dx, const float *dout, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float u = x[i] * SQRT_HALF, e = cpu_exp(-u * u);
        dx[i] = dout[i] * (0.5f * (1.0f + cpu_erf(u, e)) + x[i] * INV_SQRT_2PI * e);
    }
}

static void gelu_new(float *out, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float u = SQRT_2_OVER_PI * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        out[i] = 0.5f * x[i] * (1.0f + cpu_tanh(u));
    }
}

static void gelu_new_slope(float *dx, const float *dout, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float square = x[i] * x[i];
        const float t = cpu_tanh(SQRT_2_OVER_PI * (x[i] + 0.044715f * square * x[i]));
        const float inner = SQRT_2_OVER_PI * (1.0f + 3 * 0.044715f * square);
        dx[i] = dout[i] * (0.5f * (1.0f + t) + 0.5f * x[i] * (1.0f - t * t) * inner);
    }
}

/* NaN passes: x < 0 is false for it. */
static void relu(float *out, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] < 0 ? 0 : x[i];
}

static void relu_slope(float *dx, const float *dout, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = x[i] <= 0 ? 0 : dout[i];
}

static const struct {
    void (*forward)(float *out, const float *x, int64_t n);
    void (*backward)(float *dx, const float *dout, const float *x, int64_t n);
} activation_table[] = {
    [ACTIVATION_GELU] = {gelu, gelu_slope},
    [ACTIVATION_GELU_NEW] = {gelu_new, gelu_new_slope},
    [ACTIVATION_RELU] = {relu, relu_slope},
};

static void activation_forward(struct backend *self, void *out, const void *x, int64_t n,
                               enum spec_activation kind)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 8 * n);
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(n, LINE, omp_get_thread_num(), team);
        activation_table[kind].forward((float *)out + s.begin, (const float *)x + s.begin,
                                       s.end - s.begin);
    }
}

static void activation_backward(struct backend *self, void *dx, const void *dout, const void *x,
                                int64_t n, enum spec_activation kind)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 8 * n);
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(n, LINE, omp_get_thread_num(), team);
        activation_table[kind].backward((float *)dx + s.begin, (const float *)dout + s.begin,
                                        (const float *)x + s.begin, s.end - s.begin);
    }
}

/* ---- sums over rows ---- */

/* out [n <= PANEL] = sum over rows of weight [row] * in [row, n]; weights NULL: 1. */
static void panel_sums(float *out, const float *weights, const float *in, int rows, int n,
                       int stride)
{
    double total[PANEL] = {0};
    for (int first = 0; first < rows; first += BLOCK) {
        const int end = first + BLOCK < rows ? first + BLOCK : rows;
        float sum[PANEL] = {0};
        for (int r = first; r < end; r++) {
            const float w = weights ? weights[r] : 1.0f;
            const float *row = in + (int64_t)r * stride;
#pragma omp simd
            for (int c = 0; c < n; c++)
                sum[c] += w * row[c];
        }
        for (int c = 0; c < n; c++)
            total[c] += (double)sum[c];
    }
    for (int c = 0; c < n; c++)
        out[c] = (float)total[c];
}

static void column_sums(struct cpu *cpu, float *out, const void *in, int rows, int n, int stride)
{
    const int team = cpu_team(cpu, (int64_t)rows * n);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int c = 0; c < n; c += PANEL)
        panel_sums(out + c, NULL, (const float *)in + c, rows, n - c < PANEL ? n - c : PANEL,
                   stride);
}

static void window_sums(struct backend *self, void *out, const void *h, int B, int T, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)B * T * C);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int b = 0; b < B; b++)
        for (int c = 0; c < C; c += PANEL)
            panel_sums((float *)out + (int64_t)b * C + c, NULL,
                       (const float *)h + (int64_t)b * T * C + c, T, C - c < PANEL ? C - c : PANEL,
                       C);
}

static void weighted_sums(struct backend *self, void *out, const void *weights, const void *h,
                          int K, int N, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)K * N * C);
#pragma omp parallel for num_threads(team) schedule(static) collapse(2)
    for (int k = 0; k < K; k++)
        for (int c = 0; c < C; c += PANEL)
            panel_sums((float *)out + (int64_t)k * C + c, (const float *)weights + (int64_t)k * N,
                       (const float *)h + c, N, C - c < PANEL ? C - c : PANEL, C);
}

static void gather_rows(struct backend *self, void *out, const void *in, const int32_t *ids, int M,
                        int C)
{
    (void)self;
    for (int m = 0; m < M; m++)
        memcpy((float *)out + (int64_t)m * C, (const float *)in + (int64_t)ids[m] * C,
               (size_t)C * sizeof(float));
}

void CPU_NAME(cpu_elementwise)(struct cpu *cpu)
{
    cpu->table.cast = cast;
    cpu->table.add = add;
    cpu->table.embedding_forward = embedding_forward;
    cpu->table.embedding_backward = embedding_backward;
    cpu->table.activation_forward = activation_forward;
    cpu->table.activation_backward = activation_backward;
    cpu->table.window_sums = window_sums;
    cpu->table.weighted_sums = weighted_sums;
    cpu->table.gather_rows = gather_rows;
    cpu->column_sums = column_sums;
}
