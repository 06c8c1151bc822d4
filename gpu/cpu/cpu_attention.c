/* cpu_attention: causal self-attention of the cpu backend. A thread processes one head of one
 * window at a time and copies it into its scratch as float32, in rows padded with zeros to whole
 * vectors, so that all products consist of whole tiles and ACT may be bfloat16. Weights exist for
 * BLOCK queries at a time: forward needs a strip of BLOCK x T; backward recomputes it from
 * logsumexp (Dao et al. 2022) and adds the block's share to the gradients of keys and values. Keys
 * of later positions are skipped, except within the block on the diagonal. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_act.h"
#include "gpu/cpu/cpu_memory.h"

enum { LANES = 16, BLOCK = 16 };

/* Accumulators of a tile: all registers, minus those for operands. */
#if defined(__AVX512F__)
enum { ROWS = 4, WIDE = 2 };
#elif defined(__AVX2__)
enum { ROWS = 4, WIDE = 1 };
#else
enum { ROWS = 2, WIDE = 1 };
#endif

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* c [ROWS, LANES * wide] = a b, or += ; element (r, k) of a is at r * a_row + k * a_k. */
CPU_INLINE void tile(int wide, int K, const float *a, int64_t a_row, int64_t a_k, const float *b,
                     int64_t b_row, float *c, int64_t c_row, int accumulate)
{
    lanes sum[ROWS][WIDE];
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++)
            sum[r][w] = accumulate ? *(lanes *)(c + r * c_row + w * LANES) : (lanes){0};
    for (int k = 0; k < K; k++, b += b_row, a += a_k)
        for (int r = 0; r < ROWS; r++)
            for (int w = 0; w < wide; w++)
                sum[r][w] += a[r * a_row] * *(const lanes *)(b + w * LANES);
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++)
            *(lanes *)(c + r * c_row + w * LANES) = sum[r][w];
}

/* c [M, N] = a [M, K] b [K, N], or += ; M a multiple of ROWS, N of LANES. */
CPU_INLINE void product(int M, int N, int K, const float *a, int64_t a_row, int64_t a_k,
                        const float *b, int64_t b_row, float *c, int64_t c_row, int accumulate)
{
    for (int i = 0; i < M; i += ROWS) {
        const float *row = a + i * a_row;
        int j = 0;
        for (; j + WIDE * LANES <= N; j += WIDE * LANES)
            tile(WIDE, K, row, a_row, a_k, b + j, b_row, c + i * c_row + j, c_row, accumulate);
        for (; j < N; j += LANES)
            tile(1, K, row, a_row, a_k, b + j, b_row, c + i * c_row + j, c_row, accumulate);
    }
}

static void multiply(int M, int N, int K, const float *a, int64_t a_row, int64_t a_k,
                     const float *b, int64_t b_row, float *c, int64_t c_row)
{
    product(M, N, K, a, a_row, a_k, b, b_row, c, c_row, 0);
}

static void multiply_add(int M, int N, int K, const float *a, int64_t a_row, int64_t a_k,
                         const float *b, int64_t b_row, float *c, int64_t c_row)
{
    product(M, N, K, a, a_row, a_k, b, b_row, c, c_row, 1);
}

/* ---- between ACT and scratch ---- */

static int padded(int n)
{
    return (n + LANES - 1) / LANES * LANES;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* One head of one window, the work of one thread. Its queries start at element `qkv` of the array
 * of that name, rows 3 C apart, its keys C behind them, its values 2 C; its part of out and dout
 * starts at element `out`, rows C apart. */
struct head {
    int T, C, D, P, W; /* P, W: T and D padded to whole vectors */
    int bf16;
    int64_t qkv, out;
    float scale;
};

CPU_INLINE void load_loop(float *out, const void *in, int64_t at, int D, int W, int bf16)
{
#pragma omp simd
    for (int d = 0; d < D; d++)
        out[d] = cpu_get(in, at + d, bf16);
    for (int d = D; d < W; d++)
        out[d] = 0;
}

/* out [rows padded to BLOCK, W] = count rows of D numbers from element `at` of ACT array `in`. */
static void load(float *out, const void *in, int64_t at, int64_t stride, int count,
                 const struct head *h)
{
    for (int r = 0; r < count; r++)
        if (h->bf16)
            load_loop(out + (int64_t)r * h->W, in, at + r * stride, h->D, h->W, 1);
        else
            load_loop(out + (int64_t)r * h->W, in, at + r * stride, h->D, h->W, 0);
    const int rows = padded(count);
    memset(out + (int64_t)count * h->W, 0, (size_t)(rows - count) * (size_t)h->W * sizeof *out);
}

CPU_INLINE void store_loop(void *out, int64_t at, const float *in, int D, int bf16)
{
#pragma omp simd
    for (int d = 0; d < D; d++)
        cpu_put(out, at + d, in[d], bf16);
}

static void store(void *out, int64_t at, int64_t stride, const float *in, int count,
                  const struct head *h)
{
    for (int r = 0; r < count; r++)
        if (h->bf16)
            store_loop(out, at + r * stride, in + (int64_t)r * h->W, h->D, 1);
        else
            store_loop(out, at + r * stride, in + (int64_t)r * h->W, h->D, 0);
}

/* out [W, P] = factor times the transpose of in [P, W]. */
static void transpose(float *out, const float *in, int P, int W, float factor)
{
    for (int s = 0; s < P; s += LANES)
        for (int d = 0; d < W; d++) {
            float *row = out + (int64_t)d * P + s;
#pragma omp simd
            for (int l = 0; l < LANES; l++)
                row[l] = in[(int64_t)(s + l) * W + d] * factor;
        }
}

/* ---- one row of weights ---- */

/* Scores 0..n-1 -> weights; n..end-1, the later keys, -> 0. Returns logsumexp. */
static float softmax_row(float *row, int n, int end)
{
    float largest = row[0], sum = 0;
#pragma omp simd reduction(max : largest)
    for (int s = 0; s < n; s++)
        largest = row[s] > largest ? row[s] : largest;
#pragma omp simd reduction(+ : sum)
    for (int s = 0; s < end; s++) {
        const float weight = cpu_exp(row[s] - largest);
        row[s] = s < n ? weight : 0;
        sum += row[s];
    }
    const float factor = 1.0f / sum;
#pragma omp simd
    for (int s = 0; s < end; s++)
        row[s] *= factor;
    return largest + logf(sum);
}

/* Scores -> weights p; dp (gradient of p) -> gradient of the score before scaling. */
static void backward_row(float *p, float *dp, float lse, float delta, float scale, int n, int end)
{
#pragma omp simd
    for (int s = 0; s < end; s++) {
        const float weight = cpu_exp(p[s] - lse), slope = weight * (dp[s] - delta) * scale;
        p[s] = s < n ? weight : 0;
        dp[s] = s < n ? slope : 0;
    }
}

static float dot(const float *a, const float *b, int n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- one head ---- */

/* Layout of a head's scratch: AREAS of T rows of W, TILES of BLOCK rows of W, STRIPS of weights. */
enum { AREAS = 5, TILES = 4, STRIPS = 2 };

static int64_t scratch_floats(int T, int D)
{
    const int64_t P = padded(T), W = padded(D);
    return AREAS * P * W + BLOCK * (TILES * W + STRIPS * P);
}

static float *area(const struct head *h, float *scratch, int i)
{
    return scratch + (int64_t)i * h->P * h->W;
}

static float *block_tile(const struct head *h, float *scratch, int i)
{
    return area(h, scratch, AREAS) + (int64_t)i * BLOCK * h->W;
}

static float *strip(const struct head *h, float *scratch, int i)
{
    return block_tile(h, scratch, TILES) + (int64_t)i * BLOCK * h->P;
}

static void head_forward(const struct head *h, void *out, float *lse, const void *qkv,
                         float *scratch)
{
    const int C = h->C, D = h->D, P = h->P, W = h->W;
    float *keys = area(h, scratch, 0), *values = area(h, scratch, 1);
    float *q = block_tile(h, scratch, 0), *o = block_tile(h, scratch, 1);
    float *weights = strip(h, scratch, 0);
    load(values, qkv, h->qkv + C, 3 * C, h->T, h);
    transpose(keys, values, P, W, h->scale);
    load(values, qkv, h->qkv + 2 * C, 3 * C, h->T, h);
    for (int first = 0; first < h->T; first += BLOCK) {
        const int rows = least(BLOCK, h->T - first), end = first + BLOCK;
        load(q, qkv, h->qkv + (int64_t)first * 3 * C, 3 * C, rows, h);
        multiply(BLOCK, end, D, q, W, 1, keys, P, weights, P);
        for (int r = 0; r < rows; r++)
            lse[first + r] = softmax_row(weights + (int64_t)r * P, first + r + 1, end);
        multiply(BLOCK, W, first + rows, weights, P, 1, values, W, o, W);
        store(out, h->out + (int64_t)first * C, C, o, rows, h);
    }
}

static void head_backward(const struct head *h, void *dqkv, const void *dout, const void *qkv,
                          const void *out, const float *lse, float *scratch)
{
    const int C = h->C, D = h->D, P = h->P, W = h->W;
    float *k = area(h, scratch, 0), *keys = area(h, scratch, 1), *values = area(h, scratch, 2);
    float *dk = area(h, scratch, 3), *dv = area(h, scratch, 4);
    float *q = block_tile(h, scratch, 0), *o = block_tile(h, scratch, 1);
    float *dq = block_tile(h, scratch, 2), *d = block_tile(h, scratch, 3);
    float *p = strip(h, scratch, 0), *dp = strip(h, scratch, 1);
    load(k, qkv, h->qkv + 2 * C, 3 * C, h->T, h);
    transpose(values, k, P, W, 1);
    load(k, qkv, h->qkv + C, 3 * C, h->T, h);
    transpose(keys, k, P, W, h->scale);
    memset(dk, 0, (size_t)P * (size_t)W * sizeof *dk);
    memset(dv, 0, (size_t)P * (size_t)W * sizeof *dv);
    for (int first = 0; first < h->T; first += BLOCK) {
        const int rows = least(BLOCK, h->T - first), end = first + BLOCK;
        const int64_t at = h->out + (int64_t)first * C, qkv_at = h->qkv + (int64_t)first * 3 * C;
        load(q, qkv, qkv_at, 3 * C, rows, h);
        load(o, out, at, C, rows, h);
        load(d, dout, at, C, rows, h);
        multiply(BLOCK, end, D, q, W, 1, keys, P, p, P);
        multiply(BLOCK, end, D, d, W, 1, values, P, dp, P);
        for (int r = 0; r < rows; r++)
            backward_row(p + (int64_t)r * P, dp + (int64_t)r * P, lse[first + r],
                         dot(d + (int64_t)r * W, o + (int64_t)r * W, W), h->scale, first + r + 1,
                         end);
        multiply(BLOCK, W, first + rows, dp, P, 1, k, W, dq, W);
        store(dqkv, qkv_at, 3 * C, dq, rows, h);
        multiply_add(end, W, rows, dp, 1, P, q, W, dk, W);
        multiply_add(end, W, rows, p, 1, P, d, W, dv, W);
    }
    store(dqkv, h->qkv + C, 3 * C, dk, h->T, h);
    store(dqkv, h->qkv + 2 * C, 3 * C, dv, h->T, h);
}

/* Head i % NH of window i / NH. */
static struct head head_of(const struct cpu *cpu, int i, int T, int C, int NH)
{
    const int D = C / NH;
    const int64_t row = (int64_t)(i / NH) * T, column = (int64_t)(i % NH) * D;
    return (struct head){.T = T,
                         .C = C,
                         .D = D,
                         .P = padded(T),
                         .W = padded(D),
                         .bf16 = cpu->bf16,
                         .qkv = row * 3 * C + column,
                         .out = row * C + column,
                         .scale = 1.0f / sqrtf((float)D)};
}

static void attention_forward(struct backend *self, void *out, void *lse, const void *qkv, int B,
                              int T, int C, int NH)
{
    struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)B * T * T * C);
    const int64_t floats = scratch_floats(T, C / NH);
    float *scratch = cpu_memory_scratch(cpu, floats);
    if (!scratch)
        return;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int i = 0; i < B * NH; i++) {
        const struct head h = head_of(cpu, i, T, C, NH);
        head_forward(&h, out, (float *)lse + (int64_t)i * T, qkv,
                     scratch + omp_get_thread_num() * floats);
    }
}

static void attention_backward(struct backend *self, void *dqkv, const void *dout, const void *qkv,
                               const void *out, const void *lse, int B, int T, int C, int NH)
{
    struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 2 * (int64_t)B * T * T * C);
    const int64_t floats = scratch_floats(T, C / NH);
    float *scratch = cpu_memory_scratch(cpu, floats);
    if (!scratch)
        return;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int i = 0; i < B * NH; i++) {
        const struct head h = head_of(cpu, i, T, C, NH);
        head_backward(&h, dqkv, dout, qkv, out, (const float *)lse + (int64_t)i * T,
                      scratch + omp_get_thread_num() * floats);
    }
}

void CPU_NAME(cpu_attention)(struct cpu *cpu)
{
    cpu->table.attention_forward = attention_forward;
    cpu->table.attention_backward = attention_backward;
}
