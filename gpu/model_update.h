/* model_update: the optimiser step and the norm of the whole gradient. Gradient clipping is part of
 * the backend's `update` and uses this norm. The functions queue operations and wait for nothing.
 * Called by model.c and model_state.c, on the model's thread. */
#ifndef TOKENFATE_MODEL_UPDATE_H
#define TOKENFATE_MODEL_UPDATE_H

#include <stdint.h>

struct model;

/* Address of moment `which` (0, 1) of the parameter at `offset`; NULL: the optimiser has none. */
void *model_moment(const struct model *model, int which, int64_t offset);

/* MEMORY_SQUARES = sum of squares of the gradients. */
void model_gradient_norm(struct model *model);

/* One optimiser step; with `sums` the same pass computes MEMORY_SQUARES. */
void model_update_all(struct model *model, int sums);

#endif
