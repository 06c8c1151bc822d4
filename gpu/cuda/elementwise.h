/* elementwise: operations on single numbers (conversion, addition, activation functions), gathered
 * rows, the optimiser with gradient clipping, and the gradient's sum of squares. */
#ifndef TOKENFATE_CUDA_ELEMENTWISE_H
#define TOKENFATE_CUDA_ELEMENTWISE_H

struct backend;

/* Put the file's operations for ACT = bf16 or float into the table. */
void cuda_elementwise_fill(struct backend *table, int is_bf16);

#endif
