/* sampler: which windows make batch number `step` (SCIENCE section 1). A batch
 * is a pure function of (token stream, spec, step): the server can show any
 * batch of any job, a resumed run continues with the right one.
 * random: each window's offset uniform in [0, N - T - 1], with replacement.
 * shuffle: the floor((N - 1) / T) disjoint windows of a pass once each, in an
 * order drawn anew for every pass. Synthetic text: every token an independent
 * draw from the counts. Target = input shifted by one. */
#ifndef TOKENFATE_SAMPLER_H
#define TOKENFATE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/frequency.h"

struct sampler;

/* ids[n] is the token stream (borrowed, NULL for synthetic), counts its
 * frequencies (borrowed). ERR_INVALID (/model/seq_len) if the text is shorter
 * than seq_len + 1 tokens. Not thread safe: it caches the order of a pass. */
int sampler_open(const struct spec *spec, const int32_t *ids, size_t n,
                 const struct frequency *frequency, struct sampler **out, struct err *err);
void sampler_close(struct sampler *sampler);

/* Optimiser steps of one epoch ("pass" resolved): at least 1. */
int64_t sampler_steps_per_epoch(const struct sampler *sampler);

/* Inputs and targets of optimiser step `step` (0-based over the whole run),
 * each [batch_size][seq_len]. */
void sampler_batch(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets);

#endif
