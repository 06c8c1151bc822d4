/* gemm: matrix products of the cuda backend through cuBLASLt, with an optional epilogue. On the
 * thread that drives the backend; a fault is kept (fault.h). */
#ifndef TOKENFATE_CUDA_GEMM_H
#define TOKENFATE_CUDA_GEMM_H

#include "gpu/cuda/cuda_internal.h"

/* Operation on a product before it is stored, in the same kernel. */
enum cuda_epilogue {
    CUDA_PRODUCT,        /* nothing */
    CUDA_BIAS,           /* out += bias [n] of out's type */
    CUDA_BIAS_GELU_NEW,  /* aux [m, n] of out's type = out + bias; out = gelu_new(aux) */
    CUDA_GELU_NEW_SLOPE, /* out *= gelu_new'(aux [m, n] of out's type) */
    CUDA_SUM_B           /* in addition: bias [n] of out's type = column sums of op(b) */
};

/* out [m, n] = alpha * op(a) [m, k] . op(b) [k, n], row-major, a and b ACT, float32 sums. lda, ldb,
 * ldout: numbers between two stored rows. Only m x n numbers of out are written. */
struct cuda_gemm {
    int m, n, k;
    int transpose_a, transpose_b; /* a is stored [k, m], b [n, k] */
    const void *a, *b;
    void *out; /* REAL if out_real, else ACT */
    int64_t lda, ldb, ldout;
    int out_real;
    float alpha;
    int accumulate; /* out += ..., only with out_real */
    enum cuda_epilogue epilogue = CUDA_PRODUCT;
    void *bias = NULL, *aux = NULL;
    int64_t ldaux = 0;
};

/* ERR_NO_MEMORY, ERR_UNAVAILABLE (cuBLASLt does not start), ERR_DEVICE. */
int cuda_gemm_open(struct cuda *cuda, struct err *err);
void cuda_gemm_close(struct cuda *cuda); /* also after a failed open */
/* A job begins: forget the plans of earlier ones if there are many, unless another ring is open,
 * whose programs may still have to be captured with theirs. */
void cuda_gemm_begin(struct cuda *cuda);
/* Queue a product. `operation` names it in a fault. ERR_INTERNAL, kept as the fault: a product of a
 * capture that the program's first round did not have. */
void cuda_gemm(struct cuda *cuda, const char *operation, const struct cuda_gemm *gemm);
/* The same, but it is no fault if the library has no algorithm for the epilogue at this shape, or
 * refuses it: then 0 is returned and nothing is queued. 1 if it was queued, or if there is a
 * fault. */
int cuda_gemm_fused(struct cuda *cuda, const char *operation, const struct cuda_gemm *gemm);
/* Name and version of the library, "cuBLASLt 13.0.0". Together with the card and the number of the
 * rule that picks among its proposals it determines the algorithms, and so the bits: all three are
 * stored with a checkpoint. A new rule needs a new number. */
enum { CUDA_GEMM_RULE = 2 };
void cuda_gemm_library(char *text, size_t size);

#endif
