/* gemm_check: whether a matrix product computed what it should: out . r against a (b . r), for two
 * fixed vectors r of signs. A pass over a, b and out each, where the product itself costs n of them.
 * Caller: gemm.cu, the first time that it uses a plan and never in a capture, on the thread that
 * drives the backend. Its arrays lie in cuda->scratch, where no operation leaves anything. */
#ifndef TOKENFATE_CUDA_GEMM_CHECK_H
#define TOKENFATE_CUDA_GEMM_CHECK_H

#include "gpu/cuda/cuda_internal.h"
#include "gpu/cuda/gemm.h"

enum cuda_gemm_verdict {
    CUDA_GEMM_HOLDS,
    CUDA_GEMM_WRONG,
    CUDA_GEMM_UNKNOWN /* numbers of a, b, bias or what out held are not finite; or there is a fault */
};

/* The rows that came nearest to their bound: CUDA_WARP of them, or those up to the end. */
struct cuda_gemm_measure {
    double error, bound; /* of L2 norms */
    int row;             /* the first of them */
    int is_known;        /* all rows could be judged */
};

/* Signs of number j, a bit for each of the two vectors. The constants were picked for the sums of the
 * first n signs: at most 1.44 sqrt(n), for every n up to 2^20. */
__host__ __device__ __forceinline__ uint32_t cuda_gemm_check_signs(int j)
{
    uint32_t hash = ((uint32_t)j + 1) * 0x6220b55du;
    hash = (hash ^ hash >> 15) * 0x673269a5u;
    hash ^= hash >> 13;
    return (hash >> 7 & 1) | (hash >> 19 & 1) << 1;
}

/* Queue what must be seen before the product: what `out` holds and is added to. With
 * CUDA_GELU_NEW_SLOPE `out` holds the product without its epilogue. */
void cuda_gemm_check_before(struct cuda *cuda, const struct cuda_gemm *gemm);

/* Judge the product queued since then, and wait for that. */
enum cuda_gemm_verdict cuda_gemm_check_after(struct cuda *cuda, const struct cuda_gemm *gemm,
                                             struct cuda_gemm_measure *measure);

#endif
