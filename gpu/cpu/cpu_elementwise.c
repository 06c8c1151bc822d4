/* cpu_elementwise: operations of the cpu backend without a matrix product: copies, sums,
 * embeddings, activation functions, column sums. Each is a vector loop over a slice, and an outer
 * function that gives each thread its slice. Sums over many rows are accumulated in blocks, so that
 * float32 does not lose small terms in a large total. */
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_act.h"

enum {
    LINE = 16,  /* floats of a cache line: slices never share one (no false sharing) */
    PANEL = 64, /* columns that are summed together */
    BLOCK = 64  /* rows that are summed in float before they are added to a double */
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

/* A loop over ACT arrays, out[i] = f(a[i], b[i]) (b unused by unary functions), for both
 * precisions. */
struct loop {
    void (*fp32)(void *out, const void *a, const void *b, int64_t n);
    void (*bf16)(void *out, const void *a, const void *b, int64_t n);
};

#define LOOP(name)                                                                                 \
    static void name##_fp32(void *out, const void *a, const void *b, int64_t n)                    \
    {                                                                                              \
        name##_loop(out, a, b, n, 0);                                                              \
    }                                                                                              \
    static void name##_bf16(void *out, const void *a, const void *b, int64_t n)                    \
    {                                                                                              \
        name##_loop(out, a, b, n, 1);                                                              \
    }                                                                                              \
    static const struct loop name##_of = {name##_fp32, name##_bf16};

/* Run a loop on all threads; `cost`: simple operations per element. */
static void run_loop(struct backend *self, const struct loop *loop, void *out, const void *a,
                     const void *b, int64_t n, int cost)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, cost * n);
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(n, 2 * LINE, omp_get_thread_num(), team);
        (cpu->bf16 ? loop->bf16 : loop->fp32)(cpu_act_out(cpu, out, s.begin),
                                              cpu_act_in(cpu, a, s.begin),
                                              cpu_act_in(cpu, b, s.begin), s.end - s.begin);
    }
}

CPU_INLINE void add_loop(void *out, const void *a, const void *b, int64_t n, int bf16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        cpu_put(out, i, cpu_get(a, i, bf16) + cpu_get(b, i, bf16), bf16);
}
LOOP(add)

static void add(struct backend *self, void *out, const void *a, const void *b, int64_t n)
{
    run_loop(self, &add_of, out, a, b, n, 1);
}

/* ---- embedding ---- */

CPU_INLINE void embed_row(void *out, const float *token, const float *position, int C, int bf16)
{
#pragma omp simd
    for (int c = 0; c < C; c++)
        cpu_put(out, c, token[c] + position[c], bf16);
}

static void embedding_forward(struct backend *self, void *out, const void *wte, const void *wpe,
                              const int32_t *ids, int B, int T, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)B * T * C);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int p = 0; p < B * T; p++) {
        void *row = cpu_act_out(cpu, out, (int64_t)p * C);
        const float *token = (const float *)wte + (int64_t)ids[p] * C;
        const float *position = (const float *)wpe + (int64_t)(p % T) * C;
        if (cpu->bf16)
            embed_row(row, token, position, C, 1);
        else
            embed_row(row, token, position, C, 0);
    }
}

CPU_INLINE void embed_row_back(float *token, float *position, const void *row, int64_t n, int bf16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float gradient = cpu_get(row, i, bf16);
        token[i] += gradient;
        position[i] += gradient;
    }
}

/* A token may occur at many positions: threads divide the columns, and each adds all positions in
 * order, so there is no race and one order. */
static void embedding_backward(struct backend *self, void *dwte, void *dwpe, const void *dout,
                               const int32_t *ids, int B, int T, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 2 * (int64_t)B * T * C);
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(C, LINE, omp_get_thread_num(), team);
        const int64_t n = s.end - s.begin;
        for (int t = 0; t < T; t++)
            memset((float *)dwpe + (int64_t)t * C + s.begin, 0, (size_t)n * sizeof(float));
        for (int p = 0; p < B * T; p++) {
            const void *row = cpu_act_in(cpu, dout, (int64_t)p * C + s.begin);
            float *token = (float *)dwte + (int64_t)ids[p] * C + s.begin;
            float *position = (float *)dwpe + (int64_t)(p % T) * C + s.begin;
            if (cpu->bf16)
                embed_row_back(token, position, row, n, 1);
            else
                embed_row_back(token, position, row, n, 0);
        }
    }
}

/* ---- activation functions: a is x forward; backward, a is dout and b is x ---- */

CPU_INLINE void gelu_loop(void *out, const void *a, const void *b, int64_t n, int bf16)
{
    (void)b;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float x = cpu_get(a, i, bf16), u = x * SQRT_HALF;
        cpu_put(out, i, 0.5f * x * (1.0f + cpu_erf(u, cpu_exp(-u * u))), bf16);
    }
}
LOOP(gelu)

CPU_INLINE void gelu_slope_loop(void *dx, const void *a, const void *b, int64_t n, int bf16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float x = cpu_get(b, i, bf16), u = x * SQRT_HALF, e = cpu_exp(-u * u);
        const float slope = 0.5f * (1.0f + cpu_erf(u, e)) + x * INV_SQRT_2PI * e;
        cpu_put(dx, i, cpu_get(a, i, bf16) * slope, bf16);
    }
}
LOOP(gelu_slope)

CPU_INLINE void gelu_new_loop(void *out, const void *a, const void *b, int64_t n, int bf16)
{
    (void)b;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float x = cpu_get(a, i, bf16), u = SQRT_2_OVER_PI * (x + 0.044715f * x * x * x);
        cpu_put(out, i, 0.5f * x * (1.0f + cpu_tanh(u)), bf16);
    }
}
LOOP(gelu_new)

CPU_INLINE void gelu_new_slope_loop(void *dx, const void *a, const void *b, int64_t n, int bf16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float x = cpu_get(b, i, bf16), square = x * x;
        const float t = cpu_tanh(SQRT_2_OVER_PI * (x + 0.044715f * square * x));
        const float inner = SQRT_2_OVER_PI * (1.0f + 3 * 0.044715f * square);
        const float slope = 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
        cpu_put(dx, i, cpu_get(a, i, bf16) * slope, bf16);
    }
}
LOOP(gelu_new_slope)

/* NaN passes through: x < 0 is false for it. */
CPU_INLINE void relu_loop(void *out, const void *a, const void *b, int64_t n, int bf16)
{
    (void)b;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float x = cpu_get(a, i, bf16);
        cpu_put(out, i, x < 0 ? 0 : x, bf16);
    }
}
LOOP(relu)

CPU_INLINE void relu_slope_loop(void *dx, const void *a, const void *b, int64_t n, int bf16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        cpu_put(dx, i, cpu_get(b, i, bf16) <= 0 ? 0 : cpu_get(a, i, bf16), bf16);
}
LOOP(relu_slope)

static const struct {
    const struct loop *forward, *backward;
} activation_table[] = {
    [ACTIVATION_GELU] = {&gelu_of, &gelu_slope_of},
    [ACTIVATION_GELU_NEW] = {&gelu_new_of, &gelu_new_slope_of},
    [ACTIVATION_RELU] = {&relu_of, &relu_slope_of},
};

static void activation_forward(struct backend *self, void *out, const void *x, int64_t n,
                               enum spec_activation kind)
{
    run_loop(self, activation_table[kind].forward, out, x, NULL, n, 8);
}

static void activation_backward(struct backend *self, void *dx, const void *dout, const void *x,
                                int64_t n, enum spec_activation kind)
{
    run_loop(self, activation_table[kind].backward, dx, dout, x, n, 8);
}

/* ---- sums over rows ---- */

/* out [n <= PANEL] = sum over rows of weight [row] * in [row, n]; weights NULL: 1. */
CPU_INLINE void panel_loop(float *out, const float *weights, const void *in, int rows, int n,
                           int stride, int bf16)
{
    double total[PANEL] = {0};
    for (int first = 0; first < rows; first += BLOCK) {
        const int end = first + BLOCK < rows ? first + BLOCK : rows;
        float sum[PANEL] = {0};
        for (int r = first; r < end; r++) {
            const float w = weights ? weights[r] : 1.0f;
            const int64_t row = (int64_t)r * stride;
#pragma omp simd
            for (int c = 0; c < n; c++)
                sum[c] += w * cpu_get(in, row + c, bf16);
        }
        for (int c = 0; c < n; c++)
            total[c] += (double)sum[c];
    }
    for (int c = 0; c < n; c++)
        out[c] = (float)total[c];
}

/* Columns `first` .. first + PANEL of C. */
static void panel_sums(const struct cpu *cpu, float *out, const float *weights, const void *in,
                       int rows, int first, int C, int stride)
{
    const int n = C - first < PANEL ? C - first : PANEL;
    const void *panel = cpu_act_in(cpu, in, first);
    if (cpu->bf16)
        panel_loop(out + first, weights, panel, rows, n, stride, 1);
    else
        panel_loop(out + first, weights, panel, rows, n, stride, 0);
}

static void column_sums(struct cpu *cpu, float *out, const void *in, int rows, int n, int stride)
{
    const int team = cpu_team(cpu, (int64_t)rows * n);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int c = 0; c < n; c += PANEL)
        panel_sums(cpu, out, NULL, in, rows, c, n, stride);
}

static void window_sums(struct backend *self, void *out, const void *h, int B, int T, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)B * T * C);
#pragma omp parallel for num_threads(team) schedule(static) collapse(2)
    for (int b = 0; b < B; b++)
        for (int c = 0; c < C; c += PANEL)
            panel_sums(cpu, (float *)out + (int64_t)b * C, NULL,
                       cpu_act_in(cpu, h, (int64_t)b * T * C), T, c, C, C);
}

static void weighted_sums(struct backend *self, void *out, const void *weights, const void *h,
                          int K, int N, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)K * N * C);
#pragma omp parallel for num_threads(team) schedule(static) collapse(2)
    for (int k = 0; k < K; k++)
        for (int c = 0; c < C; c += PANEL)
            panel_sums(cpu, (float *)out + (int64_t)k * C, (const float *)weights + (int64_t)k * N,
                       h, N, c, C, C);
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
