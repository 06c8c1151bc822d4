/* attention: causal self-attention with float32 sums and products, for float32 and for heads that
 * tensor cores do not take (attention_tensor.cu computes the others), in tiles of 32 queries by 32
 * keys of one head (Dao et al. 2022). Scores never leave shared memory. Forward keeps a running
 * maximum and sum of each row; backward recomputes the weights from the row's logsumexp, once for
 * the queries (dq) and once for the keys (dk, dv), so that every number has one writer and one
 * order.
 *
 * A block has 256 threads: 8 neighbouring lanes of a warp share one row of a tile, each with every
 * eighth number of it. Rows of tiles are padded by one float, so that the eight lanes access eight
 * banks. */
#include "gpu/cuda/attention.h"

#include "gpu/cuda/attention_tensor.h"

enum {
    TILE = 32, /* queries, keys */
    LANES = CUDA_THREADS / TILE,
    PER_LANE = TILE / LANES /* scores of a lane's row in a tile */
};

/* tile [TILE][D + 1] = rows first.. of an array; 0 behind the last position. */
template <class A>
__device__ __forceinline__ void load_tile(float *tile, const A *from, int64_t row_numbers,
                                          int first, const struct attention_shape *s)
{
    const int row = (int)threadIdx.x / LANES, lane = (int)threadIdx.x % LANES;
    const A *source = from + (int64_t)row * row_numbers;
    for (int d = lane; d < s->D; d += LANES)
        tile[row * (s->D + 1) + d] = first + row < s->T ? load(source + d) : 0;
}

/* Dot products of row a with this lane's PER_LANE rows of b. */
__device__ __forceinline__ void dot_rows(float out[PER_LANE], const float *a, const float *b, int D)
{
    const int lane = (int)threadIdx.x % LANES;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++)
        out[i] = 0;
    for (int d = 0; d < D; d++) {
        const float value = a[d];
#pragma unroll
        for (int i = 0; i < PER_LANE; i++)
            out[i] += value * b[(lane + i * LANES) * (D + 1) + d];
    }
}

/* sums[j] += weights [TILE] . column lane + j * LANES of rows [TILE][D + 1]. */
template <int COLUMNS>
__device__ __forceinline__ void add_rows(float sums[COLUMNS], const float *weights,
                                         const float *rows, int D)
{
    const int lane = (int)threadIdx.x % LANES;
    for (int k = 0; k < TILE; k++) {
        const float weight = weights[k];
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            const int d = lane + j * LANES;
            if (d < D)
                sums[j] += weight * rows[k * (D + 1) + d];
        }
    }
}

template <class A, int COLUMNS>
__device__ __forceinline__ void store_row(A *out, const float sums[COLUMNS], float factor, int D)
{
    const int lane = (int)threadIdx.x % LANES;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
        const int d = lane + j * LANES;
        if (d < D)
            store(out + d, sums[j] * factor);
    }
}

__device__ __forceinline__ float row_sum(float value)
{
    for (int distance = LANES / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}

__device__ __forceinline__ float row_max(float value)
{
    for (int distance = LANES / 2; distance > 0; distance /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

/* ---- forward ---- */

/* Online softmax: scores of a tile become weights exp(score - largest) in `weights`, and the row's
 * running maximum and sum are updated. Returns the factor for older sums. */
__device__ __forceinline__ float soften(float *weights, const float scores[PER_LANE], int query,
                                        int first_key, float scale, float *largest, float *sum)
{
    const int lane = (int)threadIdx.x % LANES;
    float here = *largest, added = 0;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++)
        if (first_key + lane + i * LANES <= query)
            here = fmaxf(here, scores[i] * scale);
    here = row_max(here);
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        const int seen = first_key + lane + i * LANES <= query;
        const float weight = seen ? expf(scores[i] * scale - here) : 0;
        weights[lane + i * LANES] = weight;
        added += weight;
    }
    const float factor = expf(*largest - here);
    *sum = *sum * factor + row_sum(added);
    *largest = here;
    return factor;
}

/* Block (x, y, z): tile of queries, head, batch row. */
template <class A, int COLUMNS>
__global__ void attention_kernel(A *out, float *lse, const A *qkv, struct attention_shape s)
{
    DYNAMIC_SHARED(float, shared);
    const int tile = TILE * (s.D + 1), head = (int)blockIdx.y, b = (int)blockIdx.z;
    float *q = shared, *k = q + tile, *v = k + tile, *weights = v + tile;
    const int row = (int)threadIdx.x / LANES, first = (int)blockIdx.x * TILE, query = first + row;
    float sums[COLUMNS], scores[PER_LANE], largest = -INFINITY, sum = 0;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
        sums[j] = 0;
    load_tile(q, qkv + qkv_at(&s, b, head, first, 0), 3 * s.C, first, &s);
    for (int key = 0; key <= first; key += TILE) {
        __syncthreads();
        load_tile(k, qkv + qkv_at(&s, b, head, key, 1), 3 * s.C, key, &s);
        load_tile(v, qkv + qkv_at(&s, b, head, key, 2), 3 * s.C, key, &s);
        __syncthreads();
        dot_rows(scores, q + row * (s.D + 1), k, s.D);
        const float factor =
            soften(weights + row * (TILE + 1), scores, query, key, s.scale, &largest, &sum);
        __syncwarp();
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
            sums[j] *= factor;
        add_rows<COLUMNS>(sums, weights + row * (TILE + 1), v, s.D);
    }
    if (query < s.T) {
        store_row<A, COLUMNS>(out + out_at(&s, b, head, query), sums, 1 / sum, s.D);
        if (threadIdx.x % LANES == 0)
            lse[lse_at(&s, b, head, query)] = largest + logf(sum);
    }
}

/* ---- backward ---- */

/* delta of the row: sum over the head of out * dout, equal in all its lanes. A lane reads only the
 * part of dout's tile that it has loaded itself, so no barrier is needed. */
template <class A>
__device__ __forceinline__ float row_delta(const A *out, const float *dout, int there, int D)
{
    const int lane = (int)threadIdx.x % LANES;
    float sum = 0;
    for (int d = lane; d < D; d += LANES)
        sum += there ? load(out + d) * dout[d] : 0;
    return row_sum(sum);
}

/* dq of a tile of queries: dS = P (dP - delta), dQ = dS K. */
template <class A, int COLUMNS>
__global__ void attention_dq_kernel(A *dqkv, const A *dout, const A *qkv, const A *out,
                                    const float *lse, struct attention_shape s)
{
    DYNAMIC_SHARED(float, shared);
    const int tile = TILE * (s.D + 1), head = (int)blockIdx.y, b = (int)blockIdx.z;
    float *q = shared, *k = q + tile, *v = k + tile, *grad = v + tile, *ds = grad + tile;
    const int row = (int)threadIdx.x / LANES, lane = (int)threadIdx.x % LANES;
    const int first = (int)blockIdx.x * TILE, query = first + row, there = query < s.T;
    float sums[COLUMNS], scores[PER_LANE], dp[PER_LANE];
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
        sums[j] = 0;
    load_tile(q, qkv + qkv_at(&s, b, head, first, 0), 3 * s.C, first, &s);
    load_tile(grad, dout + out_at(&s, b, head, first), s.C, first, &s);
    const float delta =
        row_delta(out + out_at(&s, b, head, query), grad + row * (s.D + 1), there, s.D);
    const float logsumexp = there ? lse[lse_at(&s, b, head, query)] : 0;
    for (int key = 0; key <= first; key += TILE) {
        __syncthreads();
        load_tile(k, qkv + qkv_at(&s, b, head, key, 1), 3 * s.C, key, &s);
        load_tile(v, qkv + qkv_at(&s, b, head, key, 2), 3 * s.C, key, &s);
        __syncthreads();
        dot_rows(scores, q + row * (s.D + 1), k, s.D);
        dot_rows(dp, grad + row * (s.D + 1), v, s.D);
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            const int seen = there && key + lane + i * LANES <= query;
            const float weight = seen ? expf(scores[i] * s.scale - logsumexp) : 0;
            ds[row * (TILE + 1) + lane + i * LANES] = weight * (dp[i] - delta);
        }
        __syncwarp();
        add_rows<COLUMNS>(sums, ds + row * (TILE + 1), k, s.D);
    }
    if (there)
        store_row<A, COLUMNS>(dqkv + qkv_at(&s, b, head, query, 0), sums, s.scale, s.D);
}

/* dk and dv of a tile of keys, over the tiles of queries from the diagonal on: dV = P^T dO, dK =
 * dS^T Q. A row is a key; its lanes hold queries. */
template <class A, int COLUMNS>
__global__ void attention_dkv_kernel(A *dqkv, const A *dout, const A *qkv, const A *out,
                                     const float *lse, struct attention_shape s)
{
    DYNAMIC_SHARED(float, shared);
    const int tile = TILE * (s.D + 1), head = (int)blockIdx.y, b = (int)blockIdx.z;
    float *q = shared, *k = q + tile, *v = k + tile, *grad = v + tile, *weights = grad + tile;
    float *ds = weights + TILE * (TILE + 1), *deltas = ds + TILE * (TILE + 1);
    float *lses = deltas + TILE;
    const int row = (int)threadIdx.x / LANES, lane = (int)threadIdx.x % LANES;
    const int first = (int)blockIdx.x * TILE, key = first + row;
    float dk[COLUMNS], dv[COLUMNS], scores[PER_LANE], dp[PER_LANE];
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
        dk[j] = dv[j] = 0;
    load_tile(k, qkv + qkv_at(&s, b, head, first, 1), 3 * s.C, first, &s);
    load_tile(v, qkv + qkv_at(&s, b, head, first, 2), 3 * s.C, first, &s);
    for (int from = first; from < s.T; from += TILE) {
        __syncthreads();
        load_tile(q, qkv + qkv_at(&s, b, head, from, 0), 3 * s.C, from, &s);
        load_tile(grad, dout + out_at(&s, b, head, from), s.C, from, &s);
        const int there = from + row < s.T;
        const float delta =
            row_delta(out + out_at(&s, b, head, from + row), grad + row * (s.D + 1), there, s.D);
        if (lane == 0) {
            deltas[row] = delta;
            lses[row] = there ? lse[lse_at(&s, b, head, from + row)] : 0;
        }
        __syncthreads();
        dot_rows(scores, k + row * (s.D + 1), q, s.D);
        dot_rows(dp, v + row * (s.D + 1), grad, s.D);
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            const int of = lane + i * LANES, seen = from + of < s.T && key <= from + of;
            const float weight = seen ? expf(scores[i] * s.scale - lses[of]) : 0;
            weights[row * (TILE + 1) + of] = weight;
            ds[row * (TILE + 1) + of] = weight * (dp[i] - deltas[of]);
        }
        __syncwarp();
        add_rows<COLUMNS>(dv, weights + row * (TILE + 1), grad, s.D);
        add_rows<COLUMNS>(dk, ds + row * (TILE + 1), q, s.D);
    }
    if (key < s.T) {
        store_row<A, COLUMNS>(dqkv + qkv_at(&s, b, head, key, 1), dk, s.scale, s.D);
        store_row<A, COLUMNS>(dqkv + qkv_at(&s, b, head, key, 2), dv, 1, s.D);
    }
}

/* ---- launches ---- */

/* Bytes of shared memory for tiles of head rows, tiles of scores, and numbers per row. */
static size_t shared_bytes(int D, int tiles, int scores, int numbers)
{
    return (size_t)TILE * ((D + 1) * tiles + (TILE + 1) * scores + numbers) * sizeof(float);
}

template <class A, int COLUMNS>
static void launch_forward(struct cuda *cuda, dim3 grid, const struct attention_shape *s, void *out,
                           void *lse, const void *qkv)
{
    const size_t bytes = shared_bytes(s->D, 3, 1, 0);
    cuda_allow_shared(cuda, attention_kernel<A, COLUMNS>, bytes);
    LAUNCH(cuda, (attention_kernel<A, COLUMNS>), grid, CUDA_THREADS, bytes, static_cast<A *>(out),
           static_cast<float *>(lse), static_cast<const A *>(qkv), *s);
}

template <class A, int COLUMNS>
static void launch_backward(struct cuda *cuda, dim3 grid, const struct attention_shape *s,
                            void *dqkv, const void *dout, const void *qkv, const void *out,
                            const void *lse)
{
    const size_t of_dq = shared_bytes(s->D, 4, 1, 0), of_dkv = shared_bytes(s->D, 4, 2, 2);
    cuda_allow_shared(cuda, attention_dq_kernel<A, COLUMNS>, of_dq);
    cuda_allow_shared(cuda, attention_dkv_kernel<A, COLUMNS>, of_dkv);
    LAUNCH(cuda, (attention_dq_kernel<A, COLUMNS>), grid, CUDA_THREADS, of_dq,
           static_cast<A *>(dqkv), static_cast<const A *>(dout), static_cast<const A *>(qkv),
           static_cast<const A *>(out), static_cast<const float *>(lse), *s);
    LAUNCH(cuda, (attention_dkv_kernel<A, COLUMNS>), grid, CUDA_THREADS, of_dkv,
           static_cast<A *>(dqkv), static_cast<const A *>(dout), static_cast<const A *>(qkv),
           static_cast<const A *>(out), static_cast<const float *>(lse), *s);
}

/* Index of the kernels' width, 0 to 3; -1 with a kept fault. */
static int width_of(struct cuda *cuda, const struct attention_shape *s)
{
    static const int widths[] = {16, 32, 64, CUDA_HEAD_MAX};
    for (int i = 0; i < (int)(sizeof widths / sizeof *widths); i++)
        if (s->D <= widths[i])
            return i;
    cuda_fault_keep(cuda, ERR_DEVICE, "attention: a head of more than 128 numbers");
    return -1;
}

static struct attention_shape shape_of(int T, int C, int NH)
{
    const int D = C / NH;
    const struct attention_shape s = {T, C, NH, D, (float)(1 / sqrt((double)D))};
    return s;
}

template <class A>
static void attention_forward(struct backend *self, void *out, void *lse, const void *qkv, int B,
                              int T, int C, int NH)
{
    static void (*const launch[])(struct cuda *, dim3, const struct attention_shape *, void *,
                                  void *, const void *) = {
        launch_forward<A, 16 / LANES>, launch_forward<A, 32 / LANES>, launch_forward<A, 64 / LANES>,
        launch_forward<A, CUDA_HEAD_MAX / LANES>};
    struct cuda *cuda = cuda_of(self);
    const struct attention_shape s = shape_of(T, C, NH);
    const dim3 grid(cuda_blocks(T, TILE), (unsigned)NH, (unsigned)B);
    if (sizeof(A) < sizeof(float) && cuda_attention_tensor_fits(&s, qkv, out, NULL, NULL)) {
        cuda_attention_tensor_forward(cuda, &s, B, out, lse, qkv);
        return;
    }
    const int width = width_of(cuda, &s);
    if (width >= 0)
        launch[width](cuda, grid, &s, out, lse, qkv);
}

template <class A>
static void attention_backward(struct backend *self, void *dqkv, const void *dout, const void *qkv,
                               const void *out, const void *lse, int B, int T, int C, int NH)
{
    static void (*const launch[])(struct cuda *, dim3, const struct attention_shape *, void *,
                                  const void *, const void *, const void *, const void *) = {
        launch_backward<A, 16 / LANES>, launch_backward<A, 32 / LANES>,
        launch_backward<A, 64 / LANES>, launch_backward<A, CUDA_HEAD_MAX / LANES>};
    struct cuda *cuda = cuda_of(self);
    const struct attention_shape s = shape_of(T, C, NH);
    const dim3 grid(cuda_blocks(T, TILE), (unsigned)NH, (unsigned)B);
    if (sizeof(A) < sizeof(float) && cuda_attention_tensor_fits(&s, qkv, out, dout, dqkv)) {
        cuda_attention_tensor_backward(cuda, &s, B, dqkv, dout, qkv, out, lse);
        return;
    }
    const int width = width_of(cuda, &s);
    if (width >= 0)
        launch[width](cuda, grid, &s, dqkv, dout, qkv, out, lse);
}

/* ---- table ---- */

template <class A> static void fill(struct backend *table)
{
    table->attention_forward = attention_forward<A>;
    table->attention_backward = attention_backward<A>;
}

void cuda_attention_fill(struct backend *table, int is_bf16)
{
    if (is_bf16)
        fill<struct bf16>(table);
    else
        fill<float>(table);
}
