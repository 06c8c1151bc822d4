/* matmul: the products of a linear layer, with bias, activation and bias gradient. */
#ifndef TOKENFATE_CUDA_MATMUL_H
#define TOKENFATE_CUDA_MATMUL_H

struct backend;

/* Put the file's operations for ACT = bf16 or float into the table. */
void cuda_matmul_fill(struct backend *table, int is_bf16);

#endif
