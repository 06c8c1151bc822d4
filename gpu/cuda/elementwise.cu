/* elementwise: see elementwise.h. The operations are memory-bound: a thread moves 16 bytes of an
 * array at once (W numbers) where all arrays start at multiples of 16 bytes, else one number; the
 * last thread handles the remainder. The optimiser reads its scalars and the gradient's norm on the
 * device, so no step waits for the host. */
#include "gpu/cuda/elementwise.h"

#include "gpu/cuda/activation.h"
#include "gpu/cuda/cuda_internal.h"

/* ---- W neighbours, or the remaining `left` ---- */

template <int W, class T>
__device__ __forceinline__ void load_left(float value[W], const T *from, int64_t left)
{
    if (left >= W)
        load_wide<W>(value, from);
    else
#pragma unroll
        for (int j = 0; j < W; j++)
            value[j] = j < left ? load(from + j) : 0;
}

template <int W, class T>
__device__ __forceinline__ void store_left(T *to, const float value[W], int64_t left)
{
    if (left >= W)
        store_wide<W>(to, value);
    else
#pragma unroll
        for (int j = 0; j < W; j++)
            if (j < left)
                store(to + j, value[j]);
}

/* Blocks for n numbers, W per thread. */
template <int W> static unsigned blocks_for(int64_t n)
{
    return cuda_blocks(n, (int64_t)CUDA_THREADS * W);
}

/* ---- conversion and sum ---- */

template <class A, int W> __global__ void cast_kernel(A *out, const float *in, int64_t n)
{
    const int64_t i = grid_index() * W;
    float value[W];
    if (i >= n)
        return;
    load_left<W>(value, in + i, n - i);
    store_left<W>(out + i, value, n - i);
}

template <class A, int W>
static void launch_cast(struct cuda *cuda, A *out, const float *in, int64_t n)
{
    LAUNCH(cuda, (cast_kernel<A, W>), blocks_for<W>(n), CUDA_THREADS, 0, out, in, n);
}

template <class A> static void cast(struct backend *self, void *to, const void *from, int64_t n)
{
    A *out = static_cast<A *>(to);
    const float *in = static_cast<const float *>(from);
    const auto launch =
        cuda_is_wide<A>(0, out, in) ? launch_cast<A, cuda_width<A>> : launch_cast<A, 1>;
    launch(cuda_of(self), out, in, n);
}

template <class A, int W> __global__ void add_kernel(A *out, const A *a, const A *b, int64_t n)
{
    const int64_t i = grid_index() * W;
    float value[W], more[W];
    if (i >= n)
        return;
    load_left<W>(value, a + i, n - i);
    load_left<W>(more, b + i, n - i);
#pragma unroll
    for (int j = 0; j < W; j++)
        value[j] += more[j];
    store_left<W>(out + i, value, n - i);
}

template <class A, int W>
static void launch_add(struct cuda *cuda, A *out, const A *a, const A *b, int64_t n)
{
    LAUNCH(cuda, (add_kernel<A, W>), blocks_for<W>(n), CUDA_THREADS, 0, out, a, b, n);
}

template <class A>
static void add(struct backend *self, void *sum, const void *first, const void *second, int64_t n)
{
    A *out = static_cast<A *>(sum);
    const A *a = static_cast<const A *>(first), *b = static_cast<const A *>(second);
    const auto launch =
        cuda_is_wide<A>(0, out, a, b) ? launch_add<A, cuda_width<A>> : launch_add<A, 1>;
    launch(cuda_of(self), out, a, b, n);
}

/* ---- activation functions ---- */

template <class A, int W, int kind> __global__ void activation_kernel(A *out, const A *x, int64_t n)
{
    const int64_t i = grid_index() * W;
    float value[W];
    if (i >= n)
        return;
    load_left<W>(value, x + i, n - i);
#pragma unroll
    for (int j = 0; j < W; j++)
        value[j] = activation<kind>(value[j]);
    store_left<W>(out + i, value, n - i);
}

template <class A, int W, int kind>
__global__ void activation_backward_kernel(A *dx, const A *dout, const A *x, int64_t n)
{
    const int64_t i = grid_index() * W;
    float value[W], gradient[W];
    if (i >= n)
        return;
    load_left<W>(value, x + i, n - i);
    load_left<W>(gradient, dout + i, n - i);
#pragma unroll
    for (int j = 0; j < W; j++)
        gradient[j] *= activation_slope<kind>(value[j]);
    store_left<W>(dx + i, gradient, n - i);
}

template <class A, int kind>
static void launch_activation(struct cuda *cuda, A *out, const A *x, int64_t n)
{
    constexpr int W = cuda_width<A>;
    if (cuda_is_wide<A>(0, out, x))
        LAUNCH(cuda, (activation_kernel<A, W, kind>), blocks_for<W>(n), CUDA_THREADS, 0, out, x, n);
    else
        LAUNCH(cuda, (activation_kernel<A, 1, kind>), blocks_for<1>(n), CUDA_THREADS, 0, out, x, n);
}

template <class A, int kind>
static void launch_activation_backward(struct cuda *cuda, A *dx, const A *dout, const A *x,
                                       int64_t n)
{
    constexpr int W = cuda_width<A>;
    if (cuda_is_wide<A>(0, dx, dout, x))
        LAUNCH(cuda, (activation_backward_kernel<A, W, kind>), blocks_for<W>(n), CUDA_THREADS, 0,
               dx, dout, x, n);
    else
        LAUNCH(cuda, (activation_backward_kernel<A, 1, kind>), blocks_for<1>(n), CUDA_THREADS, 0,
               dx, dout, x, n);
}

template <class A>
static void activation_forward(struct backend *self, void *out, const void *x, int64_t n,
                               enum spec_activation kind)
{
    static void (*const launch[])(struct cuda *, A *, const A *, int64_t) = {
        launch_activation<A, ACTIVATION_GELU>, launch_activation<A, ACTIVATION_GELU_NEW>,
        launch_activation<A, ACTIVATION_RELU>};
    launch[kind](cuda_of(self), static_cast<A *>(out), static_cast<const A *>(x), n);
}

template <class A>
static void activation_backward(struct backend *self, void *dx, const void *dout, const void *x,
                                int64_t n, enum spec_activation kind)
{
    static void (*const launch[])(struct cuda *, A *, const A *, const A *,
                                  int64_t) = {launch_activation_backward<A, ACTIVATION_GELU>,
                                              launch_activation_backward<A, ACTIVATION_GELU_NEW>,
                                              launch_activation_backward<A, ACTIVATION_RELU>};
    launch[kind](cuda_of(self), static_cast<A *>(dx), static_cast<const A *>(dout),
                 static_cast<const A *>(x), n);
}

/* ---- gathered rows ---- */

__global__ void gather_kernel(float *out, const float *in, const int32_t *ids, int64_t n, int C)
{
    const int64_t i = grid_index();
    if (i < n)
        out[i] = in[(int64_t)ids[i / C] * C + i % C];
}

static void gather_rows(struct backend *self, void *out, const void *in, const int32_t *ids, int M,
                        int C)
{
    const int64_t n = (int64_t)M * C;
    if (n > 0)
        LAUNCH(cuda_of(self), gather_kernel, cuda_blocks(n, CUDA_THREADS), CUDA_THREADS, 0,
               static_cast<float *>(out), static_cast<const float *>(in), ids, n, C);
}

/* ---- sum of squares ---- */

enum { SQUARES_PER_THREAD = 8 };
static const unsigned squares_blocks_max = 1024;

/* Sum over the block in a fixed order, in thread 0. shared: one number per warp. */
__device__ static double block_sum(double value, double *shared)
{
    value = warp_sum(value);
    if (threadIdx.x % CUDA_WARP == 0)
        shared[threadIdx.x / CUDA_WARP] = value;
    __syncthreads();
    double sum = 0;
    if (threadIdx.x == 0)
        for (unsigned warp = 0; warp < blockDim.x / CUDA_WARP; warp++)
            sum += shared[warp];
    return sum;
}

template <int W> __global__ void squares_kernel(double *partial, const float *in, int64_t n)
{
    DYNAMIC_SHARED(double, shared);
    float sum = 0, value[W];
    for (int64_t i = grid_index() * W; i < n; i += (int64_t)gridDim.x * blockDim.x * W) {
        load_left<W>(value, in + i, n - i);
#pragma unroll
        for (int j = 0; j < W; j++)
            sum += value[j] * value[j];
    }
    const double total = block_sum((double)sum, shared);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = total;
}

__global__ void squares_total_kernel(float *out, const double *partial, int n)
{
    DYNAMIC_SHARED(double, shared);
    double sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x)
        sum += partial[i];
    const double total = block_sum(sum, shared);
    if (threadIdx.x == 0)
        *out += (float)total;
}

static void sum_squares(struct backend *self, void *out, const void *from, int64_t n)
{
    struct cuda *cuda = cuda_of(self);
    const float *in = static_cast<const float *>(from);
    constexpr int W = cuda_width<float>;
    const unsigned wanted = cuda_blocks(n, CUDA_THREADS * SQUARES_PER_THREAD);
    const unsigned blocks = wanted < squares_blocks_max ? wanted : squares_blocks_max;
    const size_t shared = CUDA_THREADS / CUDA_WARP * sizeof(double);
    double *partial = static_cast<double *>(cuda->scratch);
    if (cuda_is_wide<float>(0, in))
        LAUNCH(cuda, (squares_kernel<W>), blocks, CUDA_THREADS, shared, partial, in, n);
    else
        LAUNCH(cuda, (squares_kernel<1>), blocks, CUDA_THREADS, shared, partial, in, n);
    LAUNCH(cuda, squares_total_kernel, 1, CUDA_THREADS, shared, static_cast<float *>(out), partial,
           (int)blocks);
}

/* ---- optimiser ---- */

/* Factors of a step, equal for all parameters; squares and scalars are device addresses. */
struct update_factors {
    float beta1, beta2, rest1, rest2, eps, momentum, decay, clip;
    const float *squares, *scalars;
};

/* Gradient clipping: factor of the gradient. A norm that is NaN stays NaN. */
__device__ __forceinline__ float clip_factor(const struct update_factors *f)
{
    if (f->clip <= 0)
        return 1;
    const float ratio = f->clip / (sqrtf(*f->squares) + 1e-6f);
    return ratio >= 1 ? 1 : ratio;
}

/* Adam adds the decay to the gradient (L2), AdamW subtracts it beside the step (Loshchilov & Hutter
 * 2019). */
template <int kind>
__device__ __forceinline__ float updated(const struct update_factors *f, float w, float gradient,
                                         float *m1, float *m2)
{
    const float lr = f->scalars[0];
    const float g = gradient * clip_factor(f) + (kind == OPTIMIZER_ADAMW ? 0 : f->decay * w);
    if (kind == OPTIMIZER_SGD)
        return w - lr * g;
    if (kind == OPTIMIZER_MOMENTUM) {
        *m1 = f->momentum * *m1 + g;
        return w - lr * *m1;
    }
    *m1 = f->beta1 * *m1 + f->rest1 * g;
    *m2 = f->beta2 * *m2 + f->rest2 * (g * g);
    const float kept = kind == OPTIMIZER_ADAMW ? w - lr * f->decay * w : w;
    const float root = sqrtf(*m2) / sqrtf(f->scalars[2]);
    return kept - lr / f->scalars[1] * *m1 / (root + f->eps);
}

/* Addresses of an update's arrays; copy NULL: not wanted. */
template <class A> struct update_arrays {
    float *w, *m1, *m2;
    A *copy;
    const float *gradient;
};

/* m1, m2 are accessed only by the optimisers that have them. */
template <class A, int W, int kind>
__global__ void update_kernel(const struct update_factors f, const struct update_arrays<A> arrays,
                              int64_t n)
{
    constexpr int has_m1 = kind != OPTIMIZER_SGD;
    constexpr int has_m2 = kind == OPTIMIZER_ADAM || kind == OPTIMIZER_ADAMW;
    const int64_t i = grid_index() * W;
    float w[W], gradient[W], m1[W], m2[W];
    if (i >= n)
        return;
    load_left<W>(w, arrays.w + i, n - i);
    load_left<W>(gradient, arrays.gradient + i, n - i);
    if (has_m1)
        load_left<W>(m1, arrays.m1 + i, n - i);
    if (has_m2)
        load_left<W>(m2, arrays.m2 + i, n - i);
#pragma unroll
    for (int j = 0; j < W; j++)
        w[j] = updated<kind>(&f, w[j], gradient[j], m1 + j, m2 + j);
    store_left<W>(arrays.w + i, w, n - i);
    if (has_m1)
        store_left<W>(arrays.m1 + i, m1, n - i);
    if (has_m2)
        store_left<W>(arrays.m2 + i, m2, n - i);
    if (arrays.copy)
        store_left<W>(arrays.copy + i, w, n - i);
}

template <class A, int kind>
static void launch_update(struct cuda *cuda, const struct update_factors *f,
                          const struct update_arrays<A> *a, int64_t n)
{
    constexpr int W = cuda_width<A>;
    if (cuda_is_wide<A>(0, a->w, a->m1, a->m2, a->copy, a->gradient))
        LAUNCH(cuda, (update_kernel<A, W, kind>), blocks_for<W>(n), CUDA_THREADS, 0, *f, *a, n);
    else
        LAUNCH(cuda, (update_kernel<A, 1, kind>), blocks_for<1>(n), CUDA_THREADS, 0, *f, *a, n);
}

template <class A>
static void update(struct backend *self, const struct backend_update *u, void *parameters,
                   void *copy, const void *gradients, void *moment1, void *moment2, int64_t n)
{
    static void (*const launch[])(struct cuda *, const struct update_factors *,
                                  const struct update_arrays<A> *, int64_t) = {
        launch_update<A, OPTIMIZER_SGD>, launch_update<A, OPTIMIZER_MOMENTUM>,
        launch_update<A, OPTIMIZER_ADAM>, launch_update<A, OPTIMIZER_ADAMW>};
    struct update_factors f = {};
    f.beta1 = (float)u->beta1;
    f.beta2 = (float)u->beta2;
    f.rest1 = (float)(1 - u->beta1);
    f.rest2 = (float)(1 - u->beta2);
    f.eps = (float)u->eps;
    f.momentum = (float)u->momentum;
    f.decay = (float)u->decay;
    f.clip = (float)u->clip;
    f.squares = static_cast<const float *>(u->squares);
    f.scalars = static_cast<const float *>(u->scalars);
    const struct update_arrays<A> arrays = {
        static_cast<float *>(parameters), static_cast<float *>(moment1),
            static_cast<float *>(moment2), static_cast<A *>(copy),
            static_cast<const float *>(gradients)
    };
    launch[u->kind](cuda_of(self), &f, &arrays, n);
    if (u->summed)
        sum_squares(self, u->summed, gradients, n);
}

/* ---- table ---- */

template <class A> static void fill(struct backend *table)
{
    table->cast = cast<A>;
    table->add = add<A>;
    table->activation_forward = activation_forward<A>;
    table->activation_backward = activation_backward<A>;
    table->gather_rows = gather_rows;
    table->sum_squares = sum_squares;
    table->update = update<A>;
}

void cuda_elementwise_fill(struct backend *table, int is_bf16)
{
    if (is_bf16)
        fill<struct bf16>(table);
    else
        fill<float>(table);
}
