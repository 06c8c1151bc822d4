/* attention_tensor: causal self-attention in bfloat16 on tensor cores, for heads of 64 and 128
 * numbers, after Dao 2023 (FlashAttention-2): scores live in registers, one tile at a time. A block
 * has 64 rows (queries, or keys for their gradients), 16 for each of its four warps, and iterates
 * over the other side in tiles of IN with asynchronous prefetch of the next tile. Sums are float32;
 * weights and score gradients are rounded to bfloat16 where they enter a product. Backward makes
 * one pass for the queries and one for the keys, so that every number has one writer and one order.
 *
 * Rows of tiles are padded by 16 bytes, so that the eight rows of a matrix access all banks. Rows
 * behind the last position are zeros, and their logsumexp in backward is infinite, so that their
 * weights are 0. */
#include "gpu/cuda/attention_tensor.h"

#include "gpu/cuda/tensor.h"

enum {
    ROWS = 64,       /* of a block */
    THREADS = 128,   /* of a block */
    WARP_ROWS = 16,  /* of a warp: the height of an A matrix */
    CELL = 8,        /* width of a C matrix */
    STEP = 16,       /* inner length of one multiplication */
    PIECE = 8,       /* numbers copied by one instruction */
    DELTA_LANES = 8, /* threads for one row of delta */
    DELTA_WIDTH = 8  /* numbers that each of them reads at once */
};
#define LOG2_E 1.4426950408889634f
#define LN_2 0.69314718055994531f

template <int D> constexpr int STRIDE = D + PIECE;     /* of a row of a tile */
template <int D> constexpr int IN = D == 64 ? 64 : 32; /* rows of a tile on the iterated side */

/* Start copying rows first.. of an array, `width` numbers apart, to a tile. */
template <int D>
__device__ __forceinline__ void load_rows(struct bf16 *tile, const struct bf16 *from, int width,
                                          int rows, int first, int T)
{
    constexpr int pieces = D / PIECE;
    for (int i = (int)threadIdx.x; i < rows * pieces; i += THREADS) {
        const int row = i / pieces, column = i % pieces * PIECE, there = first + row < T;
        copy_later(tile + row * STRIDE<D> + column,
                   from + (there ? (int64_t)row * width : 0) + column, there);
    }
}

__device__ __forceinline__ int lane_of(void)
{
    return (int)threadIdx.x % CUDA_WARP;
}

template <int CELLS> __device__ __forceinline__ void clear(float cells[CELLS][4])
{
#pragma unroll
    for (int j = 0; j < CELLS; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            cells[j][e] = 0;
}

/* out [16, COLUMNS] = a [16, D] . b [COLUMNS, D] transposed, both tiles. */
template <int D, int COLUMNS>
__device__ __forceinline__ void rows_by_rows(float out[COLUMNS / CELL][4], const struct bf16 *a,
                                             const struct bf16 *b)
{
    const int lane = lane_of();
    uint32_t left[4], right[4];
    clear<COLUMNS / CELL>(out);
#pragma unroll
    for (int k = 0; k < D; k += STEP) {
        tensor_load(left, a + lane % 16 * STRIDE<D> + k + lane / 16 * 8);
#pragma unroll
        for (int n = 0; n < COLUMNS; n += 2 * CELL) {
            tensor_load(right,
                        b + (n + lane / 16 * 8 + lane % 8) * STRIDE<D> + k + lane / 8 % 2 * 8);
            tensor_multiply(out[n / CELL], left, right);
            tensor_multiply(out[n / CELL + 1], left, right + 2);
        }
    }
}

/* sums [16, D] += weights [16, COLUMNS] . rows [COLUMNS, D], a tile. */
template <int D, int COLUMNS>
__device__ __forceinline__ void
add_rows(float sums[D / CELL][4], const float weights[COLUMNS / CELL][4], const struct bf16 *rows)
{
    const int lane = lane_of();
    uint32_t right[4];
#pragma unroll
    for (int k = 0; k < COLUMNS; k += STEP) {
        const float *w = weights[k / CELL], *next = weights[k / CELL + 1];
        const uint32_t left[4] = {pack_pair(w[0], w[1]), pack_pair(w[2], w[3]),
                                  pack_pair(next[0], next[1]), pack_pair(next[2], next[3])};
#pragma unroll
        for (int n = 0; n < D; n += 2 * CELL) {
            tensor_load_transposed(right, rows + (k + lane % 16) * STRIDE<D> + n + lane / 16 * 8);
            tensor_multiply(sums[n / CELL], left, right);
            tensor_multiply(sums[n / CELL + 1], left, right + 2);
        }
    }
}

/* Element e of cell j is in row g + e / 2 * 8 and this column. */
__device__ __forceinline__ int column_of(int j, int e)
{
    return j * CELL + lane_of() % 4 * 2 + e % 2;
}

/* Sum over the four lanes that share a row. */
__device__ __forceinline__ float quad_sum(float value)
{
    value += __shfl_xor_sync(0xffffffffu, value, 1);
    return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

__device__ __forceinline__ float quad_max(float value)
{
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
    return fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

/* Store the two rows of a lane, of sums [16, D], times a factor each. */
template <int D>
__device__ __forceinline__ void store_rows(struct bf16 *to, int width,
                                           const float sums[D / CELL][4], const float factor[2],
                                           int first, int T)
{
    const int row = lane_of() / 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (first + row + half * 8 >= T)
            continue;
        struct bf16 *out = to + (int64_t)(row + half * 8) * width;
#pragma unroll
        for (int j = 0; j < D / CELL; j++)
            store_pair(out + column_of(j, 0), pack_pair(sums[j][2 * half] * factor[half],
                                                        sums[j][2 * half + 1] * factor[half]));
    }
}

/* ---- forward ---- */

/* Running maximum, in units of log2, and sum of a lane's two rows. */
struct running {
    float largest[2], sum[2];
};

/* Online softmax: scores of a tile become weights 2^(score - largest). `row`: query of the lane's
 * first row; `first`: key of column 0. Older sums are scaled to the new maximum. */
template <int D>
__device__ __forceinline__ void soften(float cells[IN<D> / CELL][4], float sums[D / CELL][4],
                                       struct running *run, int row, int first, float scale)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = run->largest[half], added = 0;
#pragma unroll
        for (int j = 0; j < IN<D> / CELL; j++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                const int seen = first + column_of(j, e) <= row + half * 8;
                cells[j][e] = seen ? cells[j][e] * scale : -INFINITY;
                largest = fmaxf(largest, cells[j][e]);
            }
        largest = quad_max(largest);
        const float factor = exp2f(run->largest[half] - largest);
#pragma unroll
        for (int j = 0; j < IN<D> / CELL; j++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                cells[j][e] = exp2f(cells[j][e] - largest);
                added += cells[j][e];
            }
        run->sum[half] = run->sum[half] * factor + quad_sum(added);
        run->largest[half] = largest;
#pragma unroll
        for (int j = 0; j < D / CELL; j++) {
            sums[j][2 * half] *= factor;
            sums[j][2 * half + 1] *= factor;
        }
    }
}

/* Block (x, y, z): tile of queries (the longest first), head, batch row. */
template <int D>
__global__ void __launch_bounds__(THREADS)
    tensor_forward_kernel(struct bf16 *out, float *lse, const struct bf16 *qkv,
                          struct attention_shape s)
{
    DYNAMIC_SHARED(struct bf16, shared);
    constexpr int in = IN<D>, tile = in * STRIDE<D>;
    struct bf16 *q = shared, *k = q + ROWS * STRIDE<D>, *v = k + 2 * tile;
    const int head = (int)blockIdx.y, b = (int)blockIdx.z, width = 3 * s.C;
    const int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS;
    const int own = (int)threadIdx.x / CUDA_WARP * WARP_ROWS, row = first + own + lane_of() / 4;
    const int end = first + ROWS < s.T ? first + ROWS : s.T;
    const struct bf16 *keys = qkv + qkv_at(&s, b, head, 0, 1);
    const struct bf16 *values = qkv + qkv_at(&s, b, head, 0, 2);
    float cells[in / CELL][4], sums[D / CELL][4];
    struct running run = {{-INFINITY, -INFINITY}, {0, 0}};
    clear<D / CELL>(sums);
    load_rows<D>(q, qkv + qkv_at(&s, b, head, first, 0), width, ROWS, first, s.T);
    load_rows<D>(k, keys, width, in, 0, s.T);
    load_rows<D>(v, values, width, in, 0, s.T);
    copies_close_group();
    for (int key = 0, at = 0; key < end; key += in, at ^= 1) {
        const int next = key + in;
        if (next < end) {
            load_rows<D>(k + (at ^ 1) * tile, keys + (int64_t)next * width, width, in, next, s.T);
            load_rows<D>(v + (at ^ 1) * tile, values + (int64_t)next * width, width, in, next, s.T);
        }
        copies_close_group();
        copies_wait<1>();
        __syncthreads();
        rows_by_rows<D, in>(cells, q + own * STRIDE<D>, k + at * tile);
        soften<D>(cells, sums, &run, row, key, s.scale * LOG2_E);
        add_rows<D, in>(sums, cells, v + at * tile);
        __syncthreads();
    }
    copies_wait<0>();
    const float factor[2] = {1 / run.sum[0], 1 / run.sum[1]};
    store_rows<D>(out + out_at(&s, b, head, first + own), s.C, sums, factor, first + own, s.T);
#pragma unroll
    for (int half = 0; half < 2; half++)
        if (lane_of() % 4 == 0 && row + half * 8 < s.T)
            lse[lse_at(&s, b, head, row + half * 8)] =
                (run.largest[half] + log2f(run.sum[half])) * LN_2;
}

/* ---- backward ---- */

/* delta [b, head, t] = sum over the head of out * dout; eight threads a row, rows in the order of
 * out. */
template <int D>
__global__ void delta_kernel(float *delta, const struct bf16 *out, const struct bf16 *dout, int B,
                             struct attention_shape s)
{
    const int64_t n = grid_index() / DELTA_LANES, rows = (int64_t)B * s.T * s.NH;
    const int lane = (int)threadIdx.x % DELTA_LANES;
    float sum = 0, x[DELTA_WIDTH], dx[DELTA_WIDTH];
    if (n < rows)
        for (int d = lane * DELTA_WIDTH; d < D; d += DELTA_LANES * DELTA_WIDTH) {
            load_wide<DELTA_WIDTH>(x, out + n * D + d);
            load_wide<DELTA_WIDTH>(dx, dout + n * D + d);
#pragma unroll
            for (int j = 0; j < DELTA_WIDTH; j++)
                sum += x[j] * dx[j];
        }
    for (int distance = DELTA_LANES / 2; distance > 0; distance /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (n < rows && lane == 0) {
        const int64_t position = n / s.NH;
        const int head = (int)(n - position * s.NH), b = (int)(position / s.T);
        delta[lse_at(&s, b, head, (int)(position - (int64_t)b * s.T))] = sum;
    }
}

/* dq of a tile of queries: dS = P (dP - delta), dQ = dS K. */
template <int D>
__global__ void __launch_bounds__(THREADS)
    tensor_dq_kernel(struct bf16 *dqkv, const struct bf16 *dout, const struct bf16 *qkv,
                     const float *lse, const float *delta, struct attention_shape s)
{
    DYNAMIC_SHARED(struct bf16, shared);
    constexpr int in = IN<D>, tile = in * STRIDE<D>;
    struct bf16 *q = shared, *grad = q + ROWS * STRIDE<D>, *k = grad + ROWS * STRIDE<D>;
    struct bf16 *v = k + 2 * tile;
    const int head = (int)blockIdx.y, b = (int)blockIdx.z, width = 3 * s.C;
    const int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS;
    const int own = (int)threadIdx.x / CUDA_WARP * WARP_ROWS, row = first + own + lane_of() / 4;
    const int end = first + ROWS < s.T ? first + ROWS : s.T;
    const struct bf16 *keys = qkv + qkv_at(&s, b, head, 0, 1);
    const struct bf16 *values = qkv + qkv_at(&s, b, head, 0, 2);
    float cells[in / CELL][4], dp[in / CELL][4], sums[D / CELL][4], log_sum[2], of_row[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int there = row + half * 8 < s.T;
        log_sum[half] = there ? lse[lse_at(&s, b, head, row + half * 8)] * LOG2_E : INFINITY;
        of_row[half] = there ? delta[lse_at(&s, b, head, row + half * 8)] : 0;
    }
    clear<D / CELL>(sums);
    load_rows<D>(q, qkv + qkv_at(&s, b, head, first, 0), width, ROWS, first, s.T);
    load_rows<D>(grad, dout + out_at(&s, b, head, first), s.C, ROWS, first, s.T);
    load_rows<D>(k, keys, width, in, 0, s.T);
    load_rows<D>(v, values, width, in, 0, s.T);
    copies_close_group();
    for (int key = 0, at = 0; key < end; key += in, at ^= 1) {
        const int next = key + in;
        if (next < end) {
            load_rows<D>(k + (at ^ 1) * tile, keys + (int64_t)next * width, width, in, next, s.T);
            load_rows<D>(v + (at ^ 1) * tile, values + (int64_t)next * width, width, in, next, s.T);
        }
        copies_close_group();
        copies_wait<1>();
        __syncthreads();
        rows_by_rows<D, in>(cells, q + own * STRIDE<D>, k + at * tile);
        rows_by_rows<D, in>(dp, grad + own * STRIDE<D>, v + at * tile);
#pragma unroll
        for (int j = 0; j < in / CELL; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int seen = key + column_of(j, e) <= row + e / 2 * 8;
                const float exponent = cells[j][e] * (s.scale * LOG2_E) - log_sum[e / 2];
                cells[j][e] = seen ? exp2f(exponent) * (dp[j][e] - of_row[e / 2]) : 0;
            }
        add_rows<D, in>(sums, cells, k + at * tile);
        __syncthreads();
    }
    copies_wait<0>();
    const float factor[2] = {s.scale, s.scale};
    store_rows<D>(dqkv + qkv_at(&s, b, head, first + own, 0), width, sums, factor, first + own,
                  s.T);
}

/* Load logsumexp and delta of a tile's queries into shared memory. */
__device__ __forceinline__ void load_numbers(float *log_sums, float *deltas, const float *lse,
                                             const float *delta, int rows, int first, int T)
{
    for (int i = (int)threadIdx.x; i < rows; i += THREADS) {
        const int there = first + i < T;
        log_sums[i] = there ? lse[first + i] * LOG2_E : INFINITY;
        deltas[i] = there ? delta[first + i] : 0;
    }
}

/* dk and dv of a tile of keys, over the queries from the diagonal on: rows are keys, columns
 * queries. dV = P^T dO, dK = dS^T Q. */
template <int D>
__global__ void __launch_bounds__(THREADS)
    tensor_dkv_kernel(struct bf16 *dqkv, const struct bf16 *dout, const struct bf16 *qkv,
                      const float *lse, const float *delta, struct attention_shape s)
{
    DYNAMIC_SHARED(struct bf16, shared);
    constexpr int in = IN<D>, tile = in * STRIDE<D>;
    struct bf16 *k = shared, *v = k + ROWS * STRIDE<D>, *q = v + ROWS * STRIDE<D>;
    struct bf16 *grad = q + 2 * tile;
    float *log_sums = reinterpret_cast<float *>(grad + 2 * tile), *deltas = log_sums + 2 * in;
    const int head = (int)blockIdx.y, b = (int)blockIdx.z, width = 3 * s.C;
    const int first = (int)blockIdx.x * ROWS;
    const int own = (int)threadIdx.x / CUDA_WARP * WARP_ROWS, row = first + own + lane_of() / 4;
    const struct bf16 *queries = qkv + qkv_at(&s, b, head, 0, 0);
    const struct bf16 *gradients = dout + out_at(&s, b, head, 0);
    const float *lse_row = lse + lse_at(&s, b, head, 0);
    const float *delta_row = delta + lse_at(&s, b, head, 0);
    float cells[in / CELL][4], ds[in / CELL][4], dk[D / CELL][4], dv[D / CELL][4];
    clear<D / CELL>(dk);
    clear<D / CELL>(dv);
    load_rows<D>(k, qkv + qkv_at(&s, b, head, first, 1), width, ROWS, first, s.T);
    load_rows<D>(v, qkv + qkv_at(&s, b, head, first, 2), width, ROWS, first, s.T);
    load_rows<D>(q, queries + (int64_t)first * width, width, in, first, s.T);
    load_rows<D>(grad, gradients + (int64_t)first * s.C, s.C, in, first, s.T);
    load_numbers(log_sums, deltas, lse_row, delta_row, in, first, s.T);
    copies_close_group();
    for (int query = first, at = 0; query < s.T; query += in, at ^= 1) {
        const int next = query + in, other = at ^ 1;
        if (next < s.T) {
            load_rows<D>(q + other * tile, queries + (int64_t)next * width, width, in, next, s.T);
            load_rows<D>(grad + other * tile, gradients + (int64_t)next * s.C, s.C, in, next, s.T);
            load_numbers(log_sums + other * in, deltas + other * in, lse_row, delta_row, in, next,
                         s.T);
        }
        copies_close_group();
        copies_wait<1>();
        __syncthreads();
        rows_by_rows<D, in>(cells, k + own * STRIDE<D>, q + at * tile);
        rows_by_rows<D, in>(ds, v + own * STRIDE<D>, grad + at * tile);
#pragma unroll
        for (int j = 0; j < in / CELL; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int of = column_of(j, e), seen = row + e / 2 * 8 <= query + of;
                const float exponent = cells[j][e] * (s.scale * LOG2_E) - log_sums[at * in + of];
                cells[j][e] = seen ? exp2f(exponent) : 0;
                ds[j][e] = cells[j][e] * (ds[j][e] - deltas[at * in + of]);
            }
        add_rows<D, in>(dv, cells, grad + at * tile);
        add_rows<D, in>(dk, ds, q + at * tile);
        __syncthreads();
    }
    copies_wait<0>();
    const float factor[2] = {s.scale, s.scale}, one[2] = {1, 1};
    store_rows<D>(dqkv + qkv_at(&s, b, head, first + own, 1), width, dk, factor, first + own, s.T);
    store_rows<D>(dqkv + qkv_at(&s, b, head, first + own, 2), width, dv, one, first + own, s.T);
}

/* ---- launches ---- */

/* Bytes of shared memory for tiles of ROWS rows, tiles of IN rows, and numbers per IN row. */
template <int D> static size_t shared_bytes(int whole, int walked, int numbers)
{
    return (size_t)(whole * ROWS + walked * IN<D>)*STRIDE<D> * sizeof(struct bf16) +
           (size_t)(numbers * IN<D>)*sizeof(float);
}

template <int D>
static void launch_forward(struct cuda *cuda, const struct attention_shape *s, int B,
                           struct bf16 *out, float *lse, const struct bf16 *qkv)
{
    const dim3 grid(cuda_blocks(s->T, ROWS), (unsigned)s->NH, (unsigned)B);
    const size_t bytes = shared_bytes<D>(1, 4, 0);
    cuda_allow_shared(cuda, tensor_forward_kernel<D>, bytes);
    LAUNCH(cuda, (tensor_forward_kernel<D>), grid, THREADS, bytes, out, lse, qkv, *s);
}

/* Backward of B batch rows, whose deltas fit the scratch memory. */
template <int D>
static void launch_backward(struct cuda *cuda, const struct attention_shape *s, int B,
                            struct bf16 *dqkv, const struct bf16 *dout, const struct bf16 *qkv,
                            const struct bf16 *out, const float *lse)
{
    const dim3 grid(cuda_blocks(s->T, ROWS), (unsigned)s->NH, (unsigned)B);
    const size_t of_dq = shared_bytes<D>(2, 4, 0), of_dkv = shared_bytes<D>(2, 4, 4);
    const int64_t rows = (int64_t)B * s->T * s->NH;
    float *delta = static_cast<float *>(cuda->scratch);
    cuda_allow_shared(cuda, tensor_dq_kernel<D>, of_dq);
    cuda_allow_shared(cuda, tensor_dkv_kernel<D>, of_dkv);
    LAUNCH(cuda, (delta_kernel<D>), cuda_blocks(rows * DELTA_LANES, CUDA_THREADS), CUDA_THREADS, 0,
           delta, out, dout, B, *s);
    LAUNCH(cuda, (tensor_dq_kernel<D>), grid, THREADS, of_dq, dqkv, dout, qkv, lse, delta, *s);
    LAUNCH(cuda, (tensor_dkv_kernel<D>), grid, THREADS, of_dkv, dqkv, dout, qkv, lse, delta, *s);
}

int cuda_attention_tensor_fits(const struct attention_shape *s, const void *qkv, const void *out,
                               const void *dout, const void *dqkv)
{
    return (s->D == 64 || s->D == 128) &&
           cuda_is_wide<struct bf16>(
               s->C, static_cast<const struct bf16 *>(qkv), static_cast<const struct bf16 *>(out),
               static_cast<const struct bf16 *>(dout), static_cast<const struct bf16 *>(dqkv));
}

void cuda_attention_tensor_forward(struct cuda *cuda, const struct attention_shape *s, int B,
                                   void *out, void *lse, const void *qkv)
{
    const auto launch = s->D == 64 ? launch_forward<64> : launch_forward<128>;
    launch(cuda, s, B, static_cast<struct bf16 *>(out), static_cast<float *>(lse),
           static_cast<const struct bf16 *>(qkv));
}

void cuda_attention_tensor_backward(struct cuda *cuda, const struct attention_shape *s, int B,
                                    void *dqkv, const void *dout, const void *qkv, const void *out,
                                    const void *lse)
{
    static_assert((size_t)SPEC_HEADS_MAX * SPEC_SEQ_LEN_MAX * sizeof(float) <= CUDA_SCRATCH,
                  "the deltas of one batch row fit the scratch memory");
    const auto launch = s->D == 64 ? launch_backward<64> : launch_backward<128>;
    const int64_t most = CUDA_SCRATCH / ((int64_t)s->NH * s->T * (int64_t)sizeof(float));
    for (int b = 0; b < B; b += (int)most) {
        const int rows = B - b < most ? B - b : (int)most;
        const int64_t position = (int64_t)b * s->T;
        launch(cuda, s, rows, static_cast<struct bf16 *>(dqkv) + position * 3 * s->C,
               static_cast<const struct bf16 *>(dout) + position * s->C,
               static_cast<const struct bf16 *>(qkv) + position * 3 * s->C,
               static_cast<const struct bf16 *>(out) + position * s->C,
               static_cast<const float *>(lse) + position * s->NH);
    }
}
