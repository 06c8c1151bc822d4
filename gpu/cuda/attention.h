/* attention: causal self-attention; bfloat16 with heads of 64 or 128 goes to attention_tensor.h. */
#ifndef TOKENFATE_CUDA_ATTENTION_H
#define TOKENFATE_CUDA_ATTENTION_H

struct backend;

/* Put the file's operations for ACT = bf16 or float into the table. */
void cuda_attention_fill(struct backend *table, int is_bf16);

#endif
