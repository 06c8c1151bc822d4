/* rows: operations of the cuda backend that work along rows of [N, C] arrays:
 * embedding, layernorm, and sums over rows (bias gradients, statistics). Sums
 * over rows go in two stages: slices of rows by blocks into scratch, then the
 * slices in order; how rows are cut depends on their number alone. */
#include "gpu/cuda/cuda_internal.h"

/* ---- sums over rows ---- */

enum {
    LANES = 8, /* threads of a block that share a column; 32 columns a block */
    SLICE_ROWS = 128,
    SLICES_MAX = 64
};

/* Rows are cut into this many slices, each of `slice` rows; rows shorter than
 * that are summed in one go. */
static int slices_of(int rows, int *slice)
{
    const int wanted = (rows + SLICE_ROWS - 1) / SLICE_ROWS;
    const int slices = wanted < 1 ? 1 : wanted < SLICES_MAX ? wanted : (int)SLICES_MAX;
    *slice = (rows + slices - 1) / slices;
    return slices;
}

/* Sum of the eight lanes of a column, in lane 0. shared: a number a thread. */
__device__ static float lanes_sum(float value, float *shared)
{
    const int column = (int)threadIdx.x % CUDA_WARP;
    __syncthreads(); /* the array may still be read from the last sum */
    shared[threadIdx.x] = value;
    __syncthreads();
    float sum = 0;
    if (threadIdx.x < CUDA_WARP)
        for (int lane = 0; lane < LANES; lane++)
            sum += shared[lane * CUDA_WARP + column];
    return sum;
}

/* Block (x, y, z): 32 columns, slice, group. out [slices][Z][C]. */
template <class A>
__global__ void sum_rows_kernel(float *out, const A *x, const float *weights, int rows, int slice,
                                int C, int64_t ld, int64_t step, int accumulate)
{
    DYNAMIC_SHARED(float, shared);
    const int lane = (int)threadIdx.x / CUDA_WARP;
    const int c = (int)blockIdx.x * CUDA_WARP + (int)threadIdx.x % CUDA_WARP;
    const int z = (int)blockIdx.z, first = (int)blockIdx.y * slice;
    const int end = first + slice < rows ? first + slice : rows;
    float sum = 0;
    if (c < C)
        for (int n = first + lane; n < end; n += LANES) {
            const float value = load(x + (z * step + n) * ld + c);
            sum += weights ? value * weights[(int64_t)z * rows + n] : value;
        }
    sum = lanes_sum(sum, shared);
    if (lane == 0 && c < C) {
        float *to = out + ((int64_t)blockIdx.y * gridDim.z + z) * C + c;
        *to = accumulate ? *to + sum : sum;
    }
}

/* out [n] = sum of `slices` arrays, `stride` numbers apart, in order. */
__global__ void fold_kernel(float *out, const float *partial, int slices, int64_t stride, int64_t n,
                            int accumulate)
{
    const int64_t i = grid_index();
    if (i >= n)
        return;
    float sum = accumulate ? out[i] : 0;
    for (int s = 0; s < slices; s++)
        sum += partial[s * stride + i];
    out[i] = sum;
}

static void fold(struct cuda *cuda, float *out, const float *partial, int slices, int64_t stride,
                 int64_t n, int accumulate)
{
    LAUNCH(cuda, fold_kernel, cuda_blocks(n, CUDA_THREADS), CUDA_THREADS, 0, out, partial, slices,
           stride, n, accumulate);
}

template <class A> void cuda_sum_rows(struct cuda *cuda, const struct cuda_row_sums *s)
{
    if (s->Z == 0)
        return;
    int slice, slices = slices_of(s->rows, &slice);
    const int64_t n = (int64_t)s->Z * s->C;
    if (slices * n * (int64_t)sizeof(float) > CUDA_SCRATCH) {
        slices = 1; /* so many sums keep the device busy without slices */
        slice = s->rows;
    }
    float *partial = static_cast<float *>(cuda->scratch);
    const dim3 grid(cuda_blocks(s->C, CUDA_WARP), (unsigned)slices, (unsigned)s->Z);
    LAUNCH(cuda, (sum_rows_kernel<A>), grid, CUDA_WARP * LANES, CUDA_WARP * LANES * sizeof(float),
           slices == 1 ? s->out : partial, static_cast<const A *>(s->x), s->weights, s->rows, slice,
           s->C, s->ld, s->step, slices == 1 && s->accumulate);
    if (slices > 1)
        fold(cuda, s->out, partial, slices, n, n, s->accumulate);
}

template void cuda_sum_rows<float>(struct cuda *cuda, const struct cuda_row_sums *sums);
template void cuda_sum_rows<struct bf16>(struct cuda *cuda, const struct cuda_row_sums *sums);

template <class A>
static void window_sums(struct backend *self, void *out, const void *h, int B, int T, int C)
{
    const struct cuda_row_sums sums = {static_cast<float *>(out), h, NULL, B, T, C, C, T, 0};
    cuda_sum_rows<A>(cuda_of(self), &sums);
}

template <class A>
static void weighted_sums(struct backend *self, void *out, const void *weights, const void *h,
                          int K, int N, int C)
{
    const struct cuda_row_sums sums = {
        static_cast<float *>(out), h, static_cast<const float *>(weights), K, N, C, C, 0, 0};
    cuda_sum_rows<A>(cuda_of(self), &sums);
}

/* ---- embedding ---- */

template <class A>
__global__ void embedding_kernel(A *out, const float *wte, const float *wpe, const int32_t *ids,
                                 int64_t n, int T, int C)
{
    const int64_t i = grid_index();
    if (i >= n)
        return;
    const int64_t position = i / C;
    const int c = (int)(i - position * C);
    store(out + i, wte[(int64_t)ids[position] * C + c] + wpe[position % T * C + c]);
}

template <class A>
static void embedding_forward(struct backend *self, void *out, const void *wte, const void *wpe,
                              const int32_t *ids, int B, int T, int C)
{
    const int64_t n = (int64_t)B * T * C;
    LAUNCH(cuda_of(self), (embedding_kernel<A>), cuda_blocks(n, CUDA_THREADS), CUDA_THREADS, 0,
           static_cast<A *>(out), static_cast<const float *>(wte), static_cast<const float *>(wpe),
           ids, n, T, C);
}

enum { TOKEN_THREADS = 128, TOKEN_COLUMNS = 4 }; /* columns that a thread sums at once */

/* Is the block's position the first with its token? shared: a flag a thread. */
__device__ static int is_first(const int32_t *ids, int position, int *shared)
{
    const int32_t id = ids[position];
    for (int from = 0; from < position; from += TOKEN_THREADS) {
        const int p = from + (int)threadIdx.x;
        shared[threadIdx.x] = p < position && ids[p] == id;
        __syncthreads();
        int found = 0;
        for (int t = 0; t < TOKEN_THREADS; t++)
            found |= shared[t];
        __syncthreads();
        if (found)
            return 0;
    }
    return 1;
}

/* A block a position. The first one of each token sums the rows of all of its
 * positions, in order; no other block writes that token's row. */
template <class A>
__global__ void token_gradient_kernel(float *dwte, const A *dout, const int32_t *ids, int N, int C)
{
    DYNAMIC_SHARED(int, shared);
    const int position = (int)blockIdx.x;
    if (!is_first(ids, position, shared))
        return;
    const int32_t id = ids[position];
    for (int columns = 0; columns < C; columns += TOKEN_THREADS * TOKEN_COLUMNS) {
        float sum[TOKEN_COLUMNS] = {0};
        for (int from = position; from < N; from += TOKEN_THREADS) {
            const int p = from + (int)threadIdx.x;
            __syncthreads();
            shared[threadIdx.x] = p < N && ids[p] == id;
            __syncthreads();
            for (int t = 0; t < TOKEN_THREADS; t++)
                if (shared[t])
#pragma unroll
                    for (int j = 0; j < TOKEN_COLUMNS; j++) {
                        const int c = columns + j * TOKEN_THREADS + (int)threadIdx.x;
                        if (c < C)
                            sum[j] += load(dout + (int64_t)(from + t) * C + c);
                    }
        }
#pragma unroll
        for (int j = 0; j < TOKEN_COLUMNS; j++) {
            const int c = columns + j * TOKEN_THREADS + (int)threadIdx.x;
            if (c < C)
                dwte[(int64_t)id * C + c] += sum[j];
        }
    }
}

template <class A>
__global__ void position_gradient_kernel(float *dwpe, const A *dout, int B, int64_t n)
{
    const int64_t i = grid_index();
    if (i >= n)
        return;
    float sum = 0;
    for (int b = 0; b < B; b++)
        sum += load(dout + b * n + i);
    dwpe[i] = sum;
}

template <class A>
static void embedding_backward(struct backend *self, void *dwte, void *dwpe, const void *dout,
                               const int32_t *ids, int B, int T, int C)
{
    struct cuda *cuda = cuda_of(self);
    const int64_t n = (int64_t)T * C;
    LAUNCH(cuda, (token_gradient_kernel<A>), (unsigned)(B * T), TOKEN_THREADS,
           TOKEN_THREADS * sizeof(int), static_cast<float *>(dwte), static_cast<const A *>(dout),
           ids, B * T, C);
    LAUNCH(cuda, (position_gradient_kernel<A>), cuda_blocks(n, CUDA_THREADS), CUDA_THREADS, 0,
           static_cast<float *>(dwpe), static_cast<const A *>(dout), B, n);
}

/* ---- layernorm: a warp a row ---- */

#define LAYERNORM_EPS 1e-5f

template <class A>
__global__ void layernorm_kernel(A *out, float *mean, float *rstd, const A *x, const float *gain,
                                 const float *bias, int N, int C)
{
    const int64_t n = grid_index() / CUDA_WARP;
    const int lane = (int)threadIdx.x % CUDA_WARP;
    if (n >= N)
        return;
    const A *row = x + n * C;
    float sum = 0, squares = 0;
    for (int c = lane; c < C; c += CUDA_WARP)
        sum += load(row + c);
    const float m = warp_sum(sum) / (float)C;
    for (int c = lane; c < C; c += CUDA_WARP) {
        const float d = load(row + c) - m;
        squares += d * d;
    }
    const float r = 1 / sqrtf(warp_sum(squares) / (float)C + LAYERNORM_EPS);
    for (int c = lane; c < C; c += CUDA_WARP)
        store(out + n * C + c, (load(row + c) - m) * r * gain[c] + bias[c]);
    if (lane == 0) {
        mean[n] = m;
        rstd[n] = r;
    }
}

template <class A>
static void layernorm_forward(struct backend *self, void *out, void *mean, void *rstd,
                              const void *x, const void *gain, const void *bias, int N, int C)
{
    LAUNCH(cuda_of(self), (layernorm_kernel<A>), cuda_blocks(N, CUDA_THREADS / CUDA_WARP),
           CUDA_THREADS, 0, static_cast<A *>(out), static_cast<float *>(mean),
           static_cast<float *>(rstd), static_cast<const A *>(x), static_cast<const float *>(gain),
           static_cast<const float *>(bias), N, C);
}

/* With y = (x - mean) rstd and g = dout * gain:
 * dx = residual + rstd (g - mean(g) - y mean(g y)). */
template <class A>
__global__ void layernorm_dx_kernel(A *dx, const A *dout, const A *residual, const A *x,
                                    const float *mean, const float *rstd, const float *gain, int N,
                                    int C)
{
    const int64_t n = grid_index() / CUDA_WARP;
    const int lane = (int)threadIdx.x % CUDA_WARP;
    if (n >= N)
        return;
    const int64_t row = n * C;
    const float m = mean[n], r = rstd[n];
    float g_sum = 0, gy_sum = 0;
    for (int c = lane; c < C; c += CUDA_WARP) {
        const float g = load(dout + row + c) * gain[c];
        g_sum += g;
        gy_sum += g * (load(x + row + c) - m) * r;
    }
    const float g_mean = warp_sum(g_sum) / (float)C, gy_mean = warp_sum(gy_sum) / (float)C;
    for (int c = lane; c < C; c += CUDA_WARP) {
        const float y = (load(x + row + c) - m) * r;
        const float g = load(dout + row + c) * gain[c];
        const float base = residual ? load(residual + row + c) : 0;
        store(dx + row + c, base + r * (g - g_mean - y * gy_mean));
    }
}

/* Block (x, y): 32 columns, slice. partial [slices][2][C]: of gain, of bias. */
template <class A>
__global__ void layernorm_parameters_kernel(float *partial, const A *dout, const A *x,
                                            const float *mean, const float *rstd, int N, int slice,
                                            int C)
{
    DYNAMIC_SHARED(float, shared);
    const int lane = (int)threadIdx.x / CUDA_WARP;
    const int c = (int)blockIdx.x * CUDA_WARP + (int)threadIdx.x % CUDA_WARP;
    const int first = (int)blockIdx.y * slice;
    const int end = first + slice < N ? first + slice : N;
    float of_gain = 0, of_bias = 0;
    if (c < C)
        for (int n = first + lane; n < end; n += LANES) {
            const float d = load(dout + (int64_t)n * C + c);
            of_gain += d * (load(x + (int64_t)n * C + c) - mean[n]) * rstd[n];
            of_bias += d;
        }
    of_gain = lanes_sum(of_gain, shared);
    of_bias = lanes_sum(of_bias, shared);
    if (lane == 0 && c < C) {
        partial[(int64_t)blockIdx.y * 2 * C + c] = of_gain;
        partial[((int64_t)blockIdx.y * 2 + 1) * C + c] = of_bias;
    }
}

template <class A>
static void layernorm_backward(struct backend *self, void *dx, void *dgain, void *dbias,
                               const void *dout, const void *residual, const void *x,
                               const void *mean, const void *rstd, const void *gain, int N, int C)
{
    struct cuda *cuda = cuda_of(self);
    static_assert((size_t)SLICES_MAX * 2 * SPEC_D_MODEL_MAX * sizeof(float) <= CUDA_SCRATCH,
                  "the slices of every layernorm fit the scratch memory");
    int slice;
    const int slices = slices_of(N, &slice);
    float *partial = static_cast<float *>(cuda->scratch);
    const dim3 grid(cuda_blocks(C, CUDA_WARP), (unsigned)slices);
    LAUNCH(cuda, (layernorm_parameters_kernel<A>), grid, CUDA_WARP * LANES,
           CUDA_WARP * LANES * sizeof(float), partial, static_cast<const A *>(dout),
           static_cast<const A *>(x), static_cast<const float *>(mean),
           static_cast<const float *>(rstd), N, slice, C);
    LAUNCH(cuda, (layernorm_dx_kernel<A>), cuda_blocks(N, CUDA_THREADS / CUDA_WARP), CUDA_THREADS,
           0, static_cast<A *>(dx), static_cast<const A *>(dout), static_cast<const A *>(residual),
           static_cast<const A *>(x), static_cast<const float *>(mean),
           static_cast<const float *>(rstd), static_cast<const float *>(gain), N, C);
    fold(cuda, static_cast<float *>(dgain), partial, slices, 2 * (int64_t)C, C, 0);
    fold(cuda, static_cast<float *>(dbias), partial + C, slices, 2 * (int64_t)C, C, 0);
}

/* ---- table ---- */

template <class A> static void fill(struct backend *table)
{
    table->embedding_forward = embedding_forward<A>;
    table->embedding_backward = embedding_backward<A>;
    table->layernorm_forward = layernorm_forward<A>;
    table->layernorm_backward = layernorm_backward<A>;
    table->window_sums = window_sums<A>;
    table->weighted_sums = weighted_sums<A>;
}

void cuda_fill_rows(struct backend *table, int is_bf16)
{
    if (is_bf16)
        fill<struct bf16>(table);
    else
        fill<float>(table);
}
