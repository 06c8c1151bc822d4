/* cpu_matmul: matrix products of the cpu backend through oneDNN, and through cpu_gemm.c where
 * oneDNN has no code of its own. The thread that drives the backend calls all of it, outside
 * parallel regions; products run on the backend's threads. */
#ifndef TOKENFATE_CPU_MATMUL_H
#define TOKENFATE_CPU_MATMUL_H

#include "gpu/cpu/cpu_internal.h"

/* The cache of oneDNN primitives for one backend. A process keeps the instruction set of its
 * first backend that is not plain: another one is ERR_UNAVAILABLE. ERR_NO_MEMORY; ERR_DEVICE if
 * oneDNN does not start. */
int cpu_matmul_open(enum cpu_isa isa, struct cpu_matmul **out, struct err *err);
void cpu_matmul_close(struct cpu_matmul *matmul); /* NULL is fine */

/* "oneDNN 2.6.3", of the library that is loaded: it may change under a build. */
void cpu_matmul_library(char *out, size_t n);

/* c = what `gemm` describes of a, b, c and bias (NULL without has_bias). A fault is kept in
 * cpu->fault. */
void cpu_matmul_gemm(struct cpu *cpu, const struct cpu_gemm *gemm, const void *a, const void *b,
                     const void *bias, void *c);

/* As gpu/backend.h says of matmul_forward, matmul_backward_input, matmul_backward_weight. */
void cpu_matmul_forward(struct backend *self, void *out, const void *x, const void *weight,
                        const void *bias, int N, int I, int O);
void cpu_matmul_backward_input(struct backend *self, void *dx, const void *dout, const void *weight,
                               int N, int I, int O);
void cpu_matmul_backward_weight(struct backend *self, void *dweight, void *dbias, const void *x,
                                const void *dout, int N, int I, int O);

#endif
