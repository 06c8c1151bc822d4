/* matmul: see matmul.h. cuda_gemm computes the products. Bias, activation and bias gradient are an
 * epilogue of the product where the rule of that epilogue allows it and the library has an
 * algorithm for it, else a kernel of its own. */
#include "gpu/cuda/matmul.h"

#include "gpu/cuda/cuda_internal.h"
#include "gpu/cuda/gemm.h"
#include "gpu/cuda/rows.h"

/* Rule of an epilogue: used from this compute capability on, in these precisions, for products of
 * at most so many numbers. Derived from documentation, not measured. */
struct fusion {
    int architecture, in_fp32;
    int64_t most;
};

static const struct fusion fusions[] = {
    {0, 1, INT64_MAX},  /* CUDA_PRODUCT */
    {80, 1, INT64_MAX}, /* CUDA_BIAS: reading a vector in the product saves a pass over it */
    /* cuBLASLt's GELU in bf16 is a slow separate pass before Hopper, and in float32 an
     * approximation. */
    {90, 0, INT64_MAX}, /* CUDA_BIAS_GELU_NEW */
    {90, 0, INT64_MAX}, /* CUDA_GELU_NEW_SLOPE */
    /* Would save launches where these dominate. Disabled: NVIDIA does not document the order in
     * which rows are added, and bits must repeat. It may be enabled when `repeat` of
     * tests/gpu/cuda_model.c passes with it on a card. */
    {80, 1, 0}, /* CUDA_SUM_B */
};

/* Alignment that the library requires of aux and may assume of a bias: both start at multiples of
 * 16 bytes, and rows of aux are multiples of 8 numbers. */
static int is_aligned(const struct cuda_gemm *gemm)
{
    enum { START = 16, ROW = 8 };
    return reinterpret_cast<uintptr_t>(gemm->bias) % START == 0 &&
           reinterpret_cast<uintptr_t>(gemm->aux) % START == 0 && gemm->ldaux % ROW == 0;
}

/* Queue the product with its epilogue; 0: not possible, nothing is queued. */
static int fused(struct cuda *cuda, const char *operation, const struct cuda_gemm *gemm)
{
    const struct fusion *rule = &fusions[gemm->epilogue];
    const int64_t size = (int64_t)(gemm->epilogue == CUDA_SUM_B ? gemm->k : gemm->m) * gemm->n;
    if (cuda->architecture < rule->architecture || size > rule->most || !is_aligned(gemm) ||
        (cuda->table.precision == PRECISION_FP32 && !rule->in_fp32))
        return 0;
    return cuda_gemm_fused(cuda, operation, gemm);
}

/* Thread i: W numbers of out, from number i * W on. */
template <class A, int W> __global__ void bias_kernel(A *out, const A *bias, int64_t n, int O)
{
    const int64_t i = grid_index() * W;
    float value[W], more[W];
    if (i >= n)
        return;
    load_wide<W>(value, out + i);
    load_wide<W>(more, bias + i % O);
#pragma unroll
    for (int j = 0; j < W; j++)
        value[j] += more[j];
    store_wide<W>(out + i, value);
}

template <class A> static void add_bias(struct cuda *cuda, A *out, const A *bias, int N, int O)
{
    constexpr int W = cuda_width<A>;
    const int64_t n = (int64_t)N * O;
    if (cuda_is_wide<A>(O, out, bias))
        LAUNCH(cuda, (bias_kernel<A, W>), cuda_blocks(n / W, CUDA_THREADS), CUDA_THREADS, 0, out,
               bias, n, O);
    else
        LAUNCH(cuda, (bias_kernel<A, 1>), cuda_blocks(n, CUDA_THREADS), CUDA_THREADS, 0, out, bias,
               n, O);
}

/* cuBLASLt takes the address of a bias as a non-const pointer. */
static void *unlocked(const void *memory)
{
    return const_cast<void *>(memory);
}

template <class A>
static void matmul_forward(struct backend *self, void *out, const void *x, const void *weight,
                           const void *bias, int N, int I, int O)
{
    struct cuda *cuda = cuda_of(self);
    struct cuda_gemm gemm = {N, O, I, 0, 0, x, weight, out, I, O, O, 0, 1, 0};
    gemm.epilogue = CUDA_BIAS;
    gemm.bias = unlocked(bias);
    if (fused(cuda, "matmul_forward with bias", &gemm))
        return;
    gemm.epilogue = CUDA_PRODUCT;
    gemm.bias = NULL;
    cuda_gemm(cuda, "matmul_forward", &gemm);
    add_bias(cuda, static_cast<A *>(out), static_cast<const A *>(bias), N, O);
}

static void matmul_activation_forward(struct backend *self, void *active, void *hidden,
                                      const void *x, const void *weight, const void *bias, int N,
                                      int I, int O, enum spec_activation kind)
{
    struct cuda_gemm gemm = {N, O, I, 0, 0, x, weight, active, I, O, O, 0, 1, 0};
    gemm.epilogue = CUDA_BIAS_GELU_NEW;
    gemm.bias = unlocked(bias);
    gemm.aux = hidden;
    gemm.ldaux = O;
    if (kind == ACTIVATION_GELU_NEW &&
        fused(cuda_of(self), "matmul_forward with bias and gelu_new", &gemm))
        return;
    self->matmul_forward(self, hidden, x, weight, bias, N, I, O);
    self->activation_forward(self, active, hidden, (int64_t)N * O, kind);
}

static void matmul_backward_input(struct backend *self, void *dx, const void *dout,
                                  const void *weight, int N, int I, int O)
{
    const struct cuda_gemm gemm = {N, I, O, 0, 1, dout, weight, dx, O, O, I, 0, 1, 0};
    cuda_gemm(cuda_of(self), "matmul_backward_input", &gemm);
}

static void matmul_activation_backward(struct backend *self, void *dhidden, const void *dout,
                                       const void *weight, const void *hidden, int N, int I, int O,
                                       enum spec_activation kind)
{
    struct cuda_gemm gemm = {N, I, O, 0, 1, dout, weight, dhidden, O, O, I, 0, 1, 0};
    gemm.epilogue = CUDA_GELU_NEW_SLOPE;
    gemm.aux = unlocked(hidden);
    gemm.ldaux = I;
    if (kind == ACTIVATION_GELU_NEW &&
        fused(cuda_of(self), "matmul_backward_input with gelu_new", &gemm))
        return;
    self->matmul_backward_input(self, dhidden, dout, weight, N, I, O);
    self->activation_backward(self, dhidden, dhidden, hidden, (int64_t)N * I, kind);
}

template <class A>
static void matmul_backward_weight(struct backend *self, void *dweight, void *dbias, const void *x,
                                   const void *dout, int N, int I, int O)
{
    struct cuda *cuda = cuda_of(self);
    struct cuda_gemm gemm = {I, O, N, 1, 0, x, dout, dweight, I, O, O, 1, 1, 0};
    gemm.epilogue = CUDA_SUM_B;
    gemm.bias = dbias;
    if (fused(cuda, "matmul_backward_weight with bias", &gemm))
        return;
    gemm.epilogue = CUDA_PRODUCT;
    gemm.bias = NULL;
    const struct cuda_row_sums sums = {static_cast<float *>(dbias), dout, NULL, 1, N, O, O, 0, 0};
    cuda_gemm(cuda, "matmul_backward_weight", &gemm);
    cuda_rows_sum<A>(cuda, &sums);
}

template <class A> static void fill(struct backend *table)
{
    table->matmul_forward = matmul_forward<A>;
    table->matmul_backward_input = matmul_backward_input;
    table->matmul_backward_weight = matmul_backward_weight<A>;
    table->matmul_activation_forward = matmul_activation_forward;
    table->matmul_activation_backward = matmul_activation_backward;
}

void cuda_matmul_fill(struct backend *table, int is_bf16)
{
    if (is_bf16)
        fill<struct bf16>(table);
    else
        fill<float>(table);
}
