/* cost: what a job computes, and which jobs compute alike, before anything is measured. The cost is
 * a sum of multiplications, additions and bytes moved, in the units of one multiplication; it is
 * used in ratios only, so that what was measured of one length of run tells the time of another.
 * Pure functions, any thread. */
#ifndef TOKENFATE_COST_H
#define TOKENFATE_COST_H

#include <stdint.h>

#include "config/err.h"
#include "config/hash.h"
#include "config/spec.h"

/* Billions of operations of an epoch: its updates, its record, and its part of the evaluations.
 * n_tracked: tokens of the groups. Below 0 with ERR_NO_MEMORY. */
double cost_epoch(const struct spec *spec, int vocab, int64_t steps_per_epoch, int n_tracked,
                  struct err *err);

/* Jobs of the same shape differ only in what does not change the time of an update: names, seeds,
 * rates, lengths. SHA-256 of the rest of the spec. ERR_NO_MEMORY. */
int cost_shape(const struct spec *spec, char shape[HASH_HEX], struct err *err);

#endif
