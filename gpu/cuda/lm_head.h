/* lm_head: output layer, softmax, loss, objective and their gradient. */
#ifndef TOKENFATE_CUDA_LM_HEAD_H
#define TOKENFATE_CUDA_LM_HEAD_H

struct backend;

/* Put the file's operations for ACT = bf16 or float into the table. */
void cuda_lm_head_fill(struct backend *table, int is_bf16);

#endif
