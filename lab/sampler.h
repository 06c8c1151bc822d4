/* sampler: which windows make batch number `step` (SCIENCE section 1). A batch
 * is a pure function of (token stream, spec, step): the server can show any
 * batch of any job, a resumed run continues with the right one. Draws use the
 * data seed.
 *   random     each window's offset uniform in [0, N - T - 1], with replacement
 *   shuffle    the floor((N - 1) / T) disjoint windows of a pass once each, in
 *              an order drawn anew for every pass; passes follow each other
 *              without a gap, so a batch may end one and begin the next
 *   synthetic  (no token stream) every token an independent draw from the
 *              counts, anew in every step, whatever `sampling` says
 * Target = input shifted by one. "pass" as steps_per_epoch is the number of
 * batches that hold the windows of a pass, rounded up. */
#ifndef TOKENFATE_SAMPLER_H
#define TOKENFATE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/frequency.h"

struct sampler;

/* ids[n] is the token stream (borrowed, NULL for synthetic), counts its
 * frequencies (needed for synthetic only, copied). ERR_INVALID (/model/seq_len)
 * if the text is shorter than seq_len + 1 tokens; ERR_NO_MEMORY. Not thread
 * safe: it caches the order of a pass. */
int sampler_open(const struct spec *spec, const int32_t *ids, size_t n,
                 const struct frequency *frequency, struct sampler **out, struct err *err);
void sampler_close(struct sampler *sampler);

/* Optimiser steps of one epoch ("pass" resolved): at least 1. */
int64_t sampler_steps_per_epoch(const struct sampler *sampler);

/* Inputs and targets of optimiser step `step` (0-based over the whole run),
 * each [batch_size][seq_len]. */
void sampler_batch(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets);

#endif
