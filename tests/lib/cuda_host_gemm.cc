/* cuda_host_gemm: the matrix products of gpu/cuda/cuda_internal.h in plain loops,
 * in place of the library's (gpu/cuda/gemm.cu), for kernels that run on the
 * processor. float32 sums in ascending order of k, as the contract says; queued on
 * the backend's stream like a kernel. Tests only. */
#include "gpu/cuda/cuda_internal.h"

#include <stdio.h>
#include <vector>

namespace
{

template <class A> void multiply(const struct cuda_gemm &g)
{
    const A *a = static_cast<const A *>(g.a), *b = static_cast<const A *>(g.b);
    std::vector<float> right((size_t)g.k * (size_t)g.n), sums((size_t)g.n);
    for (int k = 0; k < g.k; k++)
        for (int n = 0; n < g.n; n++)
            right[(size_t)k * (size_t)g.n + (size_t)n] =
                load(g.transpose_b ? b + n * g.ldb + k : b + k * g.ldb + n);
    for (int m = 0; m < g.m; m++) {
        sums.assign(sums.size(), 0);
        for (int k = 0; k < g.k; k++) {
            const float left = load(g.transpose_a ? a + k * g.lda + m : a + m * g.lda + k);
            const float *row = right.data() + (size_t)k * (size_t)g.n;
            for (int n = 0; n < g.n; n++)
                sums[(size_t)n] += left * row[n];
        }
        for (int n = 0; n < g.n; n++) {
            const float value = g.alpha * sums[(size_t)n];
            if (g.out_real) {
                float *out = static_cast<float *>(g.out) + m * g.ldout + n;
                *out = g.accumulate ? *out + value : value;
            } else {
                store(static_cast<A *>(g.out) + m * g.ldout + n, value);
            }
        }
    }
}

} // namespace

int cuda_gemm_open(struct cuda *, struct err *)
{
    return 0;
}

void cuda_gemm_close(struct cuda *)
{
}

void cuda_gemm(struct cuda *cuda, const char *, const struct cuda_gemm *gemm)
{
    const bool bf16 = cuda->table.precision == PRECISION_BF16;
    cuda_host_enqueue(cuda->stream, [bf16, product = *gemm] {
        bf16 ? multiply<struct bf16>(product) : multiply<float>(product);
    });
}

void cuda_gemm_library(char *text, size_t size)
{
    snprintf(text, size, "loops");
}
