/* gemm: matrix products of the cuda backend through cuBLASLt, with an optional epilogue. On the
 * thread that drives the backend; a fault is kept (fault.h). */
#ifndef TOKENFATE_CUDA_GEMM_H
#define TOKENFATE_CUDA_GEMM_H

#include "gpu/cuda/cuda_internal.h"

/* What is done to a product on its way to memory, by the same kernel. */
enum cuda_epilogue {
    CUDA_PRODUCT,        /* nothing */
    CUDA_BIAS,           /* out += bias [n] of out's type */
    CUDA_BIAS_GELU_NEW,  /* aux [m, n] of out's type = that, out = gelu_new of it */
    CUDA_GELU_NEW_SLOPE, /* out *= slope of gelu_new at aux [m, n] of out's type */
    CUDA_SUM_B           /* beside it: bias [n] of out's type = column sums of op(b) */
};

/* out [m, n] = alpha * op(a) [m, k] . op(b) [k, n], all row-major, a and b ACT,
 * float32 sums. lda, ldb, ldout: numbers between two rows as they are stored.
 * Only m x n numbers of out are written. */
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
/* Queue a product. `operation` names it in a fault. */
void cuda_gemm(struct cuda *cuda, const char *operation, const struct cuda_gemm *gemm);
/* The same, but an epilogue that the library has no algorithm for at this shape, or
 * refuses when it is asked for the product, is no fault: 0 is returned and nothing
 * queued; 1 if it was (or if there is a fault). */
int cuda_gemm_fused(struct cuda *cuda, const char *operation, const struct cuda_gemm *gemm);
/* Name and version of the library, "cuBLASLt 13.0.0". With the card and the number
 * of the rule that picks among its proposals it decides the algorithms, and so the
 * bits: all three are stored with a checkpoint. Another rule, another number. */
enum { CUDA_GEMM_RULE = 1 };
void cuda_gemm_library(char *text, size_t size);

#endif
