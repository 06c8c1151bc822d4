/* rows: see rows.h. Sums over rows (bias gradients, statistics) have two stages: blocks sum slices
 * of rows into scratch, then the slices are added in order. The partition into slices depends on
 * the number of rows only, so the order is fixed. */
#include "gpu/cuda/rows.h"

/* ---- sums over rows ---- */

enum {
    LANES = 8, /* threads of a block that share a column; 32 columns a block */
    SLICE_ROWS = 128,
    SLICES_MAX = 64
};

/* Number of slices, each of `slice` rows; few rows are summed in one slice. */
static int slices_of(int rows, int *slice)
{
    const int wanted = (rows + SLICE_ROWS - 1) / SLICE_ROWS;
    const int slices = wanted < 1 ? 1 : wanted < SLICES_MAX ? wanted : (int)SLICES_MAX;
    *slice = (rows + slices - 1) / slices;
    return slices;
}

/* Sum of a column's eight lanes, in lane 0. shared: one number per thread. */
__device__ static float lanes_sum(float value, float *shared)
{
    const int column = (int)threadIdx.x % CUDA_WARP;
    __syncthreads(); /* the array may still be read by the previous sum */
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

template <class A> void cuda_rows_sum(struct cuda *cuda, const struct cuda_row_sums *s)
{
    if (s->Z == 0)
        return;
    int slice, slices = slices_of(s->rows, &slice);
    const int64_t n = (int64_t)s->Z * s->C;
    if (slices * n * (int64_t)sizeof(float) > CUDA_SCRATCH) {
        slices = 1; /* with so many sums the device is busy without slices */
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

template void cuda_rows_sum<float>(struct cuda *cuda, const struct cuda_row_sums *sums);
template void cuda_rows_sum<struct bf16>(struct cuda *cuda, const struct cuda_row_sums *sums);

template <class A>
static void window_sums(struct backend *self, void *out, const void *h, int B, int T, int C)
{
    const struct cuda_row_sums sums = {static_cast<float *>(out), h, NULL, B, T, C, C, T, 0};
    cuda_rows_sum<A>(cuda_of(self), &sums);
}

template <class A>
static void weighted_sums(struct backend *self, void *out, const void *weights, const void *h,
                          int K, int N, int C)
{
    const struct cuda_row_sums sums = {
        static_cast<float *>(out), h, static_cast<const float *>(weights), K, N, C, C, 0, 0};
    cuda_rows_sum<A>(cuda_of(self), &sums);
}

/* ---- embedding ---- */

/* Thread i: W numbers of out, from number i * W on. */
template <class A, int W>
__global__ void embedding_kernel(A *out, const float *wte, const float *wpe, const int32_t *ids,
                                 int64_t n, int T, int C)
{
    const int64_t i = grid_index() * W;
    if (i >= n)
        return;
    const int64_t position = i / C;
    const int c = (int)(i - position * C);
    float sum[W], more[W];
    load_wide<W>(sum, wte + (int64_t)ids[position] * C + c);
    load_wide<W>(more, wpe + position % T * C + c);
#pragma unroll
    for (int j = 0; j < W; j++)
        sum[j] += more[j];
    store_wide<W>(out + i, sum);
}

template <class A, int W>
static void launch_embedding(struct cuda *cuda, A *out, const float *wte, const float *wpe,
                             const int32_t *ids, int64_t n, int T, int C)
{
    LAUNCH(cuda, (embedding_kernel<A, W>), cuda_blocks(n / W, CUDA_THREADS), CUDA_THREADS, 0, out,
           wte, wpe, ids, n, T, C);
}

template <class A>
static void embedding_forward(struct backend *self, void *out, const void *wte, const void *wpe,
                              const int32_t *ids, int B, int T, int C)
{
    const auto launch = cuda_is_wide<A>(C, static_cast<A *>(out), static_cast<const float *>(wte),
                                        static_cast<const float *>(wpe))
                            ? launch_embedding<A, cuda_width<A>>
                            : launch_embedding<A, 1>;
    launch(cuda_of(self), static_cast<A *>(out), static_cast<const float *>(wte),
           static_cast<const float *>(wpe), ids, (int64_t)B * T * C, T, C);
}

/* The gradient of the token embedding adds the rows of equal tokens, in order of position. One
 * block sorts (token, position) by token with a stable radix sort, 4 bits at a time from the lowest
 * (Knuth, The Art of Computer Programming 3, section 5.2.5): each thread counts the digits of
 * neighbouring entries, and a scan over digits first and threads second gives every thread its
 * places. Linear in the positions, and without atomics. */
enum {
    SORT_THREADS = 1024,
    SORT_BITS = 4,
    SORT_DIGITS = 1 << SORT_BITS,
    SORT_COUNTERS = SORT_DIGITS * SORT_THREADS,
    /* padded by a word per thread's share of the scan, against bank conflicts */
    SORT_WORDS = SORT_COUNTERS + SORT_COUNTERS / SORT_DIGITS + SORT_THREADS / CUDA_WARP
};

/* An entry: token in the upper half, position in the lower. */
__device__ __forceinline__ int32_t entry_token(uint64_t entry)
{
    return (int32_t)(entry >> 32);
}

__device__ __forceinline__ uint32_t *sort_counter(uint32_t *counters, int i)
{
    return counters + i + i / SORT_DIGITS;
}

/* Exclusive prefix sum of the counters. */
__device__ static void scan_counters(uint32_t *counters, uint32_t *of_warp)
{
    const int lane = (int)threadIdx.x % CUDA_WARP, warp = (int)threadIdx.x / CUDA_WARP;
    uint32_t own = 0;
    for (int i = 0; i < SORT_DIGITS; i++)
        own += *sort_counter(counters, (int)threadIdx.x * SORT_DIGITS + i);
    uint32_t sum = own;
    for (int distance = 1; distance < CUDA_WARP; distance *= 2) {
        const uint32_t before = __shfl_up_sync(0xffffffffu, sum, (unsigned)distance);
        sum += lane >= distance ? before : 0;
    }
    if (lane == CUDA_WARP - 1)
        of_warp[warp] = sum;
    __syncthreads();
    uint32_t place = sum - own;
    for (int w = 0; w < warp; w++)
        place += of_warp[w];
    for (int i = 0; i < SORT_DIGITS; i++) {
        uint32_t *counter = sort_counter(counters, (int)threadIdx.x * SORT_DIGITS + i);
        const uint32_t count = *counter;
        *counter = place;
        place += count;
    }
    __syncthreads();
}

/* One pass: to = from, sorted by the digit at bit `shift` of the token. */
__device__ static void sort_pass(uint64_t *to, const uint64_t *from, int first, int end, int shift,
                                 uint32_t *shared)
{
    const int thread = (int)threadIdx.x;
    for (int digit = 0; digit < SORT_DIGITS; digit++)
        *sort_counter(shared, digit * SORT_THREADS + thread) = 0;
    for (int i = first; i < end; i++) {
        const int digit = entry_token(from[i]) >> shift & (SORT_DIGITS - 1);
        ++*sort_counter(shared, digit * SORT_THREADS + thread);
    }
    __syncthreads();
    scan_counters(shared, shared + SORT_WORDS - SORT_THREADS / CUDA_WARP);
    for (int i = first; i < end; i++) {
        const int digit = entry_token(from[i]) >> shift & (SORT_DIGITS - 1);
        to[(*sort_counter(shared, digit * SORT_THREADS + thread))++] = from[i];
    }
    __syncthreads();
}

/* Maximum over the threads' values, in all of them. */
__device__ static int32_t block_max(int32_t value, int32_t *shared)
{
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int half = SORT_THREADS / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half && shared[threadIdx.x + half] > shared[threadIdx.x])
            shared[threadIdx.x] = shared[threadIdx.x + half];
        __syncthreads();
    }
    const int32_t most = shared[0];
    __syncthreads();
    return most;
}

/* sorted [N], other [N] (scratch). The largest token determines the number of passes. */
__global__ void __launch_bounds__(SORT_THREADS)
    sort_tokens_kernel(uint64_t *sorted, uint64_t *other, const int32_t *ids, int N)
{
    DYNAMIC_SHARED(uint32_t, shared);
    const int share = (N + SORT_THREADS - 1) / SORT_THREADS;
    const int first = (int)threadIdx.x * share < N ? (int)threadIdx.x * share : N;
    const int end = first + share < N ? first + share : N;
    int32_t most = 0;
    for (int i = first; i < end; i++)
        most = ids[i] > most ? ids[i] : most;
    most = block_max(most, reinterpret_cast<int32_t *>(shared));
    int passes = 0;
    while (passes * SORT_BITS < 31 && most >> passes * SORT_BITS != 0)
        passes++;
    uint64_t *from = passes % 2 ? other : sorted, *to = passes % 2 ? sorted : other;
    for (int i = first; i < end; i++)
        from[i] = (uint64_t)ids[i] << 32 | (uint32_t)i;
    for (int pass = 0; pass < passes; pass++) {
        sort_pass(to, from, first, end, pass * SORT_BITS, shared);
        uint64_t *const done = to;
        to = from;
        from = done;
    }
}

enum { TOKEN_THREADS = 128, TOKEN_AHEAD = 4 }; /* rows loaded at once */

/* One block per entry. The block of a token's first entry adds all of the token's rows; no other
 * block writes there. */
template <class A, int W>
__global__ void token_gradient_kernel(float *dwte, const A *dout, const uint64_t *sorted, int N,
                                      int C)
{
    const int first = (int)blockIdx.x;
    const int32_t id = entry_token(sorted[first]);
    if (first > 0 && entry_token(sorted[first - 1]) == id)
        return;
    for (int c = (int)threadIdx.x * W; c < C; c += TOKEN_THREADS * W) {
        float sum[W] = {0}, row[TOKEN_AHEAD][W], old[W];
        for (int from = first; from < N && entry_token(sorted[from]) == id; from += TOKEN_AHEAD) {
#pragma unroll
            for (int i = 0; i < TOKEN_AHEAD; i++) {
                const int of = from + i < N ? from + i : from;
                load_wide<W>(row[i], dout + (int64_t)(uint32_t)sorted[of] * C + c);
            }
#pragma unroll
            for (int i = 0; i < TOKEN_AHEAD; i++)
                if (from + i < N && entry_token(sorted[from + i]) == id)
#pragma unroll
                    for (int j = 0; j < W; j++)
                        sum[j] += row[i][j];
        }
        float *to = dwte + (int64_t)id * C + c;
        load_wide<W>(old, to);
#pragma unroll
        for (int j = 0; j < W; j++)
            old[j] += sum[j];
        store_wide<W>(to, old);
    }
}

/* Thread i: W numbers of dwpe, from number i * W on. */
template <class A, int W>
__global__ void position_gradient_kernel(float *dwpe, const A *dout, int B, int64_t n)
{
    const int64_t i = grid_index() * W;
    if (i >= n)
        return;
    float sum[W] = {0}, more[W];
    for (int b = 0; b < B; b++) {
        load_wide<W>(more, dout + b * n + i);
#pragma unroll
        for (int j = 0; j < W; j++)
            sum[j] += more[j];
    }
    store_wide<W>(dwpe + i, sum);
}

template <class A, int W>
static void launch_gradients(struct cuda *cuda, float *dwte, float *dwpe, const A *dout,
                             const uint64_t *sorted, int B, int T, int C)
{
    const int64_t n = (int64_t)T * C;
    LAUNCH(cuda, (token_gradient_kernel<A, W>), (unsigned)(B * T), TOKEN_THREADS, 0, dwte, dout,
           sorted, B * T, C);
    LAUNCH(cuda, (position_gradient_kernel<A, W>), cuda_blocks(n / W, CUDA_THREADS), CUDA_THREADS,
           0, dwpe, dout, B, n);
}

template <class A>
static void embedding_backward(struct backend *self, void *dwte, void *dwpe, const void *dout,
                               const int32_t *ids, int B, int T, int C)
{
    static_assert(2 * (size_t)SPEC_POSITIONS_MAX * sizeof(uint64_t) <= CUDA_SCRATCH,
                  "the entries of every batch fit the scratch memory twice");
    struct cuda *cuda = cuda_of(self);
    const size_t shared = SORT_WORDS * sizeof(uint32_t);
    uint64_t *sorted = static_cast<uint64_t *>(cuda->scratch);
    cuda_allow_shared(cuda, sort_tokens_kernel, shared);
    LAUNCH(cuda, sort_tokens_kernel, 1, SORT_THREADS, shared, sorted, sorted + (int64_t)B * T, ids,
           B * T);
    const auto launch = cuda_is_wide<A>(C, static_cast<const A *>(dout), static_cast<float *>(dwte),
                                        static_cast<float *>(dwpe))
                            ? launch_gradients<A, cuda_width<A>>
                            : launch_gradients<A, 1>;
    launch(cuda, static_cast<float *>(dwte), static_cast<float *>(dwpe),
           static_cast<const A *>(dout), sorted, B, T, C);
}

/* ---- layernorm: one warp per row ---- */

#define LAYERNORM_EPS 1e-5f

/* Addresses of a forward pass. With b, x = a + b is computed and stored. */
template <class A> struct layernorm_arrays {
    A *out, *x;
    const A *a, *b;
    float *mean, *rstd;
    const float *gain, *bias;
};

/* Sum over the row of x, with x = a + b computed on the way if there is a b. A lane later reads
 * only what it has written itself. */
template <class A, int W>
__device__ __forceinline__ float row_sum(const struct layernorm_arrays<A> *s, int64_t row, int C)
{
    float sum = 0, value[W], more[W];
    for (int c = (int)threadIdx.x % CUDA_WARP * W; c < C; c += CUDA_WARP * W) {
        load_wide<W>(value, (s->b ? s->a : s->x) + row + c);
        if (s->b) {
            load_wide<W>(more, s->b + row + c);
#pragma unroll
            for (int j = 0; j < W; j++)
                value[j] += more[j];
            store_wide<W>(s->x + row + c, value);
            load_wide<W>(value, s->x + row + c);
        }
#pragma unroll
        for (int j = 0; j < W; j++)
            sum += value[j];
    }
    return warp_sum(sum);
}

template <class A, int W>
__global__ void layernorm_kernel(const struct layernorm_arrays<A> s, int N, int C)
{
    const int64_t n = grid_index() / CUDA_WARP, row = n * C;
    const int lane = (int)threadIdx.x % CUDA_WARP;
    if (n >= N)
        return;
    float squares = 0, value[W], gain[W], bias[W];
    const float m = row_sum<A, W>(&s, row, C) / (float)C;
    for (int c = lane * W; c < C; c += CUDA_WARP * W) {
        load_wide<W>(value, s.x + row + c);
#pragma unroll
        for (int j = 0; j < W; j++)
            squares += (value[j] - m) * (value[j] - m);
    }
    const float r = 1 / sqrtf(warp_sum(squares) / (float)C + LAYERNORM_EPS);
    for (int c = lane * W; c < C; c += CUDA_WARP * W) {
        load_wide<W>(value, s.x + row + c);
        load_wide<W>(gain, s.gain + c);
        load_wide<W>(bias, s.bias + c);
#pragma unroll
        for (int j = 0; j < W; j++)
            value[j] = (value[j] - m) * r * gain[j] + bias[j];
        store_wide<W>(s.out + row + c, value);
    }
    if (lane == 0) {
        s.mean[n] = m;
        s.rstd[n] = r;
    }
}

template <class A>
static void launch_layernorm(struct cuda *cuda, const struct layernorm_arrays<A> *s, int N, int C)
{
    constexpr int W = cuda_width<A>;
    const unsigned blocks = cuda_blocks(N, CUDA_THREADS / CUDA_WARP);
    if (cuda_is_wide<A>(C, s->out, s->x, s->a, s->b, s->gain, s->bias))
        LAUNCH(cuda, (layernorm_kernel<A, W>), blocks, CUDA_THREADS, 0, *s, N, C);
    else
        LAUNCH(cuda, (layernorm_kernel<A, 1>), blocks, CUDA_THREADS, 0, *s, N, C);
}

template <class A>
static void add_layernorm_forward(struct backend *self, void *sum, void *out, void *mean,
                                  void *rstd, const void *a, const void *b, const void *gain,
                                  const void *bias, int N, int C)
{
    const struct layernorm_arrays<A> s = {
        static_cast<A *>(out), static_cast<A *>(sum), static_cast<const A *>(a),
            static_cast<const A *>(b), static_cast<float *>(mean), static_cast<float *>(rstd),
            static_cast<const float *>(gain), static_cast<const float *>(bias)
    };
    launch_layernorm(cuda_of(self), &s, N, C);
}

/* Without b, x is only read. */
template <class A>
static void layernorm_forward(struct backend *self, void *out, void *mean, void *rstd,
                              const void *x, const void *gain, const void *bias, int N, int C)
{
    add_layernorm_forward<A>(self, const_cast<void *>(x), out, mean, rstd, NULL, NULL, gain, bias,
                             N, C);
}

/* Addresses of a backward pass; residual may be NULL, or dx. */
template <class A> struct layernorm_gradients {
    A *dx;
    const A *dout, *residual, *x;
    const float *mean, *rstd, *gain;
};

/* With y = (x - mean) rstd and g = dout * gain:
 * dx = residual + rstd (g - mean(g) - y mean(g y)). */
template <class A, int W>
__global__ void layernorm_dx_kernel(const struct layernorm_gradients<A> s, int N, int C)
{
    const int64_t n = grid_index() / CUDA_WARP, row = n * C;
    const int lane = (int)threadIdx.x % CUDA_WARP;
    if (n >= N)
        return;
    const float m = s.mean[n], r = s.rstd[n];
    float g_sum = 0, gy_sum = 0, g[W], y[W], gain[W], base[W];
    for (int c = lane * W; c < C; c += CUDA_WARP * W) {
        load_wide<W>(g, s.dout + row + c);
        load_wide<W>(gain, s.gain + c);
        load_wide<W>(y, s.x + row + c);
#pragma unroll
        for (int j = 0; j < W; j++) {
            g_sum += g[j] * gain[j];
            gy_sum += g[j] * gain[j] * (y[j] - m) * r;
        }
    }
    const float g_mean = warp_sum(g_sum) / (float)C, gy_mean = warp_sum(gy_sum) / (float)C;
    for (int c = lane * W; c < C; c += CUDA_WARP * W) {
        load_wide<W>(g, s.dout + row + c);
        load_wide<W>(gain, s.gain + c);
        load_wide<W>(y, s.x + row + c);
        if (s.residual)
            load_wide<W>(base, s.residual + row + c);
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float change = r * (g[j] * gain[j] - g_mean - (y[j] - m) * r * gy_mean);
            g[j] = s.residual ? base[j] + change : change;
        }
        store_wide<W>(s.dx + row + c, g);
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

/* Add the slices of dgain and dbias, in order. */
__global__ void layernorm_fold_kernel(float *dgain, float *dbias, const float *partial, int slices,
                                      int C)
{
    const int64_t i = grid_index();
    if (i >= 2 * C)
        return;
    float sum = 0;
    for (int slice = 0; slice < slices; slice++)
        sum += partial[(int64_t)slice * 2 * C + i];
    if (i < C)
        dgain[i] = sum;
    else
        dbias[i - C] = sum;
}

template <class A>
static void layernorm_backward(struct backend *self, void *dx, void *dgain, void *dbias,
                               const void *dout, const void *residual, const void *x,
                               const void *mean, const void *rstd, const void *gain, int N, int C)
{
    static_assert((size_t)SLICES_MAX * 2 * SPEC_D_MODEL_MAX * sizeof(float) <= CUDA_SCRATCH,
                  "the slices of every layernorm fit the scratch memory");
    struct cuda *cuda = cuda_of(self);
    const struct layernorm_gradients<A> s = {
        static_cast<A *>(dx), static_cast<const A *>(dout), static_cast<const A *>(residual),
            static_cast<const A *>(x), static_cast<const float *>(mean),
            static_cast<const float *>(rstd), static_cast<const float *>(gain)
    };
    constexpr int W = cuda_width<A>;
    int slice;
    const int slices = slices_of(N, &slice);
    float *partial = static_cast<float *>(cuda->scratch);
    const dim3 grid(cuda_blocks(C, CUDA_WARP), (unsigned)slices);
    const unsigned blocks = cuda_blocks(N, CUDA_THREADS / CUDA_WARP);
    LAUNCH(cuda, (layernorm_parameters_kernel<A>), grid, CUDA_WARP * LANES,
           CUDA_WARP * LANES * sizeof(float), partial, s.dout, s.x, s.mean, s.rstd, N, slice, C);
    if (cuda_is_wide<A>(C, s.dx, s.dout, s.residual, s.x, s.gain))
        LAUNCH(cuda, (layernorm_dx_kernel<A, W>), blocks, CUDA_THREADS, 0, s, N, C);
    else
        LAUNCH(cuda, (layernorm_dx_kernel<A, 1>), blocks, CUDA_THREADS, 0, s, N, C);
    LAUNCH(cuda, layernorm_fold_kernel, cuda_blocks(2 * C, CUDA_THREADS), CUDA_THREADS, 0,
           static_cast<float *>(dgain), static_cast<float *>(dbias), partial, slices, C);
}

/* ---- table ---- */

template <class A> static void fill(struct backend *table)
{
    table->embedding_forward = embedding_forward<A>;
    table->embedding_backward = embedding_backward<A>;
    table->layernorm_forward = layernorm_forward<A>;
    table->add_layernorm_forward = add_layernorm_forward<A>;
    table->layernorm_backward = layernorm_backward<A>;
    table->window_sums = window_sums<A>;
    table->weighted_sums = weighted_sums<A>;
}

void cuda_rows_fill(struct backend *table, int is_bf16)
{
    if (is_bf16)
        fill<struct bf16>(table);
    else
        fill<float>(table);
}
