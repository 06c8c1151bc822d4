/* cpu_attention: causal self-attention of the cpu backend. A thread takes one
 * head of one window at a time; its T x T weights live in the thread's scratch
 * and are recomputed in backward (as in Dao et al. 2022), never stored. All six
 * products go through one small register-blocked kernel, in blocks of BLOCK
 * queries, so that keys of later positions are mostly not even multiplied. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_math.h"

enum { LANES = 16, BLOCK = 16, ROWS = 4 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* c [rows, LANES * wide] = a b; element (r, k) of a is at r * a_row + k * a_k. */
CPU_INLINE void tile(int rows, int wide, int K, const float *a, int64_t a_row, int64_t a_k,
                     const float *b, int64_t b_row, float *c, int64_t c_row)
{
    lanes sum[ROWS][2];
    memset(sum, 0, sizeof sum);
    for (int k = 0; k < K; k++, b += b_row, a += a_k)
        for (int r = 0; r < rows; r++)
            for (int w = 0; w < wide; w++)
                sum[r][w] += a[r * a_row] * *(const lanes *)(b + w * LANES);
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            *(lanes *)(c + r * c_row + w * LANES) = sum[r][w];
}

/* As tile, for the last n < LANES columns. */
CPU_INLINE void tile_edge(int rows, int n, int K, const float *a, int64_t a_row, int64_t a_k,
                          const float *b, int64_t b_row, float *c, int64_t c_row)
{
    for (int r = 0; r < rows; r++) {
        float sum[LANES] = {0};
        for (int k = 0; k < K; k++) {
            const float factor = a[r * a_row + k * a_k];
#pragma omp simd
            for (int j = 0; j < n; j++)
                sum[j] += factor * b[k * b_row + j];
        }
        memcpy(c + r * c_row, sum, (size_t)n * sizeof *sum);
    }
}

CPU_INLINE void strip(int rows, int N, int K, const float *a, int64_t a_row, int64_t a_k,
                      const float *b, int64_t b_row, float *c, int64_t c_row)
{
    int j = 0;
    for (; j + 2 * LANES <= N; j += 2 * LANES)
        tile(rows, 2, K, a, a_row, a_k, b + j, b_row, c + j, c_row);
    for (; j + LANES <= N; j += LANES)
        tile(rows, 1, K, a, a_row, a_k, b + j, b_row, c + j, c_row);
    if (j < N)
        tile_edge(rows, N - j, K, a, a_row, a_k, b + j, b_row, c + j, c_row);
}

/* c [M, N] = a [M, K] b [K, N]. */
static void product(int M, int N, int K, const float *a, int64_t a_row, int64_t a_k, const float *b,
                    int64_t b_row, float *c, int64_t c_row)
{
    int i = 0;
    for (; i + ROWS <= M; i += ROWS)
        strip(ROWS, N, K, a + i * a_row, a_row, a_k, b, b_row, c + i * c_row, c_row);
    for (; i < M; i++)
        strip(1, N, K, a + i * a_row, a_row, a_k, b, b_row, c + i * c_row, c_row);
}

/* out [n, columns] = transpose of in [count, n] times factor, columns behind
 * count zero. */
static void transpose(float *out, const float *in, int count, int n, int64_t in_row, int columns,
                      float factor)
{
    for (int d = 0; d < n; d++) {
        float *row = out + (int64_t)d * columns;
        for (int s = 0; s < count; s++)
            row[s] = in[s * in_row + d] * factor;
        for (int s = count; s < columns; s++)
            row[s] = 0;
    }
}

/* Scores 0..n-1 -> weights; n..end-1, the keys to come, -> 0. Returns logsumexp. */
static float softmax_row(float *row, int n, int end)
{
    float largest = row[0], sum = 0;
#pragma omp simd reduction(max : largest)
    for (int s = 0; s < n; s++)
        largest = row[s] > largest ? row[s] : largest;
#pragma omp simd reduction(+ : sum)
    for (int s = 0; s < n; s++) {
        row[s] = cpu_exp(row[s] - largest);
        sum += row[s];
    }
    const float factor = 1.0f / sum;
#pragma omp simd
    for (int s = 0; s < n; s++)
        row[s] *= factor;
    for (int s = n; s < end; s++)
        row[s] = 0;
    return largest + logf(sum);
}

/* Scores -> weights p; dp (gradient of p) -> gradient of the score before scaling. */
static void backward_row(float *p, float *dp, float lse, float delta, float scale, int n, int end)
{
#pragma omp simd
    for (int s = 0; s < n; s++) {
        p[s] = cpu_exp(p[s] - lse);
        dp[s] = p[s] * (dp[s] - delta) * scale;
    }
    for (int s = n; s < end; s++)
        p[s] = dp[s] = 0;
}

static float dot(const float *a, const float *b, int n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static int padded(int T)
{
    return (T + BLOCK - 1) / BLOCK * BLOCK;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* One head of one window: q, k, v start at qkv, + C, + 2C, rows 3C apart. */
static void head_forward(float *out, float *lse, const float *qkv, int T, int C, int D,
                         float *scratch)
{
    const int P = padded(T), row = 3 * C;
    float *keys = scratch, *weights = scratch + (int64_t)D * P;
    transpose(keys, qkv + C, T, D, row, P, 1.0f / sqrtf((float)D));
    for (int first = 0; first < T; first += BLOCK) {
        const int rows = least(BLOCK, T - first), end = first + BLOCK;
        float *w = weights + (int64_t)first * P;
        product(rows, end, D, qkv + (int64_t)first * row, row, 1, keys, P, w, P);
        for (int r = 0; r < rows; r++)
            lse[first + r] = softmax_row(w + (int64_t)r * P, first + r + 1, end);
        product(rows, D, first + rows, w, P, 1, qkv + 2 * C, row, out + (int64_t)first * C, C);
    }
}

static void head_backward(float *dqkv, const float *dout, const float *qkv, const float *out,
                          const float *lse, int T, int C, int D, float *scratch)
{
    const int P = padded(T), row = 3 * C;
    const float scale = 1.0f / sqrtf((float)D);
    float *keys = scratch, *values = keys + (int64_t)D * P;
    float *weights = values + (int64_t)D * P, *dweights = weights + (int64_t)T * P;
    transpose(keys, qkv + C, T, D, row, P, scale);
    transpose(values, qkv + 2 * C, T, D, row, P, 1);
    for (int first = 0; first < T; first += BLOCK) {
        const int rows = least(BLOCK, T - first), end = first + BLOCK;
        const int64_t at = (int64_t)first * P;
        product(rows, end, D, qkv + (int64_t)first * row, row, 1, keys, P, weights + at, P);
        product(rows, end, D, dout + (int64_t)first * C, C, 1, values, P, dweights + at, P);
        for (int t = first; t < first + rows; t++) {
            const float delta = dot(dout + (int64_t)t * C, out + (int64_t)t * C, D);
            backward_row(weights + (int64_t)t * P, dweights + (int64_t)t * P, lse[t], delta, scale,
                         t + 1, end);
        }
        product(rows, D, first + rows, dweights + at, P, 1, qkv + C, row,
                dqkv + (int64_t)first * row, row);
    }
    for (int first = 0; first < T; first += BLOCK) {
        const int rows = least(BLOCK, T - first);
        const int64_t corner = (int64_t)first * P + first, at = (int64_t)first * row;
        product(rows, D, T - first, dweights + corner, 1, P, qkv + at, row, dqkv + C + at, row);
        product(rows, D, T - first, weights + corner, 1, P, dout + (int64_t)first * C, C,
                dqkv + 2 * C + at, row);
    }
}

static void attention_forward(struct backend *self, void *out, void *lse, const void *qkv, int B,
                              int T, int C, int NH)
{
    struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, (int64_t)B * T * T * C);
    const int D = C / NH;
    const int64_t floats = (int64_t)padded(T) * (D + T);
    float *scratch = cpu_scratch(cpu, floats);
    if (!scratch)
        return;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int i = 0; i < B * NH; i++) {
        const int64_t first = (int64_t)(i / NH) * T, column = (int64_t)(i % NH) * D;
        head_forward((float *)out + first * C + column, (float *)lse + (int64_t)i * T,
                     (const float *)qkv + first * 3 * C + column, T, C, D,
                     scratch + omp_get_thread_num() * floats);
    }
}

static void attention_backward(struct backend *self, void *dqkv, const void *dout, const void *qkv,
                               const void *out, const void *lse, int B, int T, int C, int NH)
{
    struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 2 * (int64_t)B * T * T * C);
    const int D = C / NH;
    const int64_t floats = (int64_t)padded(T) * 2 * (D + T);
    float *scratch = cpu_scratch(cpu, floats);
    if (!scratch)
        return;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int i = 0; i < B * NH; i++) {
        const int64_t first = (int64_t)(i / NH) * T, column = (int64_t)(i % NH) * D;
        head_backward(
            (float *)dqkv + first * 3 * C + column, (const float *)dout + first * C + column,
            (const float *)qkv + first * 3 * C + column, (const float *)out + first * C + column,
            (const float *)lse + (int64_t)i * T, T, C, D, scratch + omp_get_thread_num() * floats);
    }
}

void CPU_NAME(cpu_attention)(struct cpu *cpu)
{
    cpu->table.attention_forward = attention_forward;
    cpu->table.attention_backward = attention_backward;
}
