/* ones: products of matrices of ones. Each number of the result is exactly K, the length of the sum,
 * so a part of the sum that is lost shows as a whole number, however small it is. Caller: the
 * qualification of a device (gpu/qualify.h). One thread. */
#ifndef TOKENFATE_ONES_H
#define TOKENFATE_ONES_H

#include "config/err.h"
#include "gpu/backend.h"

/* Lengths at which libraries have lost the end of a sum, each in all three products of a linear
 * layer, in turn and in turn again: ERR_INTERNAL names product, length and number. ERR_DEVICE,
 * ERR_NO_MEMORY. */
int ones_check_lengths(struct backend *backend, struct err *err);

/* The gradients of the weights of the presets' linear layers, summed over their batches. */
int ones_check_presets(struct backend *backend, struct err *err);

#endif
