/* matmul: the three products of a linear layer on the cuda backend, with bias and
 * bias gradient. The products themselves are cuda_gemm's. */
#include "gpu/cuda/cuda_internal.h"

template <class A> __global__ void bias_kernel(A *out, const float *bias, int64_t n, int O)
{
    const int64_t i = grid_index();
    if (i < n)
        store(out + i, load(out + i) + bias[i % O]);
}

template <class A>
static void matmul_forward(struct backend *self, void *out, const void *x, const void *weight,
                           const void *bias, int N, int I, int O)
{
    struct cuda *cuda = cuda_of(self);
    const int64_t n = (int64_t)N * O;
    const struct cuda_gemm gemm = {N, O, I, 0, 0, x, weight, out, I, O, O, 0, 1, 0};
    cuda_gemm(cuda, "matmul_forward", &gemm);
    LAUNCH(cuda, (bias_kernel<A>), cuda_blocks(n, CUDA_THREADS), CUDA_THREADS, 0,
           static_cast<A *>(out), static_cast<const float *>(bias), n, O);
}

static void matmul_backward_input(struct backend *self, void *dx, const void *dout,
                                  const void *weight, int N, int I, int O)
{
    const struct cuda_gemm gemm = {N, I, O, 0, 1, dout, weight, dx, O, O, I, 0, 1, 0};
    cuda_gemm(cuda_of(self), "matmul_backward_input", &gemm);
}

template <class A>
static void matmul_backward_weight(struct backend *self, void *dweight, void *dbias, const void *x,
                                   const void *dout, int N, int I, int O)
{
    struct cuda *cuda = cuda_of(self);
    const struct cuda_gemm gemm = {I, O, N, 1, 0, x, dout, dweight, I, O, O, 1, 1, 0};
    const struct cuda_row_sums sums = {static_cast<float *>(dbias), dout, NULL, 1, N, O, O, 0, 0};
    cuda_gemm(cuda, "matmul_backward_weight", &gemm);
    cuda_sum_rows<A>(cuda, &sums);
}

template <class A> static void fill(struct backend *table)
{
    table->matmul_forward = matmul_forward<A>;
    table->matmul_backward_input = matmul_backward_input;
    table->matmul_backward_weight = matmul_backward_weight<A>;
}

void cuda_fill_matmul(struct backend *table, int is_bf16)
{
    if (is_bf16)
        fill<struct bf16>(table);
    else
        fill<float>(table);
}
