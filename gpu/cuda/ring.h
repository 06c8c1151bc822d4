/* ring: programs of the cuda backend (gpu/backend.h), recorded as CUDA graphs. */
#ifndef TOKENFATE_CUDA_RING_H
#define TOKENFATE_CUDA_RING_H

struct backend;

/* Put the operations of the ring into the table; they do not depend on the precision. */
void cuda_ring_fill(struct backend *table);

#endif
