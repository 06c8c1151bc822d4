/* rows: operations along the rows of [N, C] arrays: embedding, layernorm, sums over rows. */
#ifndef TOKENFATE_CUDA_ROWS_H
#define TOKENFATE_CUDA_ROWS_H

#include "gpu/cuda/cuda_internal.h"

/* Put the file's operations for ACT = bf16 or float into the table. */
void cuda_rows_fill(struct backend *table, int is_bf16);

/* Sums over rows, for several operations; x is ACT of type A:
 * out REAL [Z, C] (+= if accumulate), out[z][c] = sum over n < rows of
 * x[(z * step + n) * ld + c] * (weights ? weights[z * rows + n] : 1). */
struct cuda_row_sums {
    float *out;
    const void *x; /* ACT */
    const float *weights;
    int Z, rows, C;
    int64_t ld, step;
    int accumulate;
};
template <class A> void cuda_rows_sum(struct cuda *cuda, const struct cuda_row_sums *sums);

#endif
