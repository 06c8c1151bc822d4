/* tracked: statistics of the tracked tokens, and the logits of every token for one vector. */
#ifndef TOKENFATE_CUDA_TRACKED_H
#define TOKENFATE_CUDA_TRACKED_H

struct backend;

/* Put the file's operations for ACT = bf16 or float into the table. */
void cuda_tracked_fill(struct backend *table, int is_bf16);

#endif
