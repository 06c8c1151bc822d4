/* sampler: the windows of batch number `step` (SCIENCE section 1). A batch is a pure
 * function of (text, spec, step): the server can show any batch of any job, and a resumed
 * run continues with the right one. Draws use the data seed.
 *   random     each window's start uniform among all starts, with replacement;
 *              with data.oversample, starts whose targets hold a token of the
 *              group weigh `factor`, the others 1 (SCIENCE section 6)
 *   shuffle    the disjoint windows of a pass once each, in an order drawn anew
 *              for every pass; passes follow each other without a gap, so a
 *              batch may end one and begin the next. Windows start at multiples
 *              of seq_len, with train.shuffle_offset at an offset more, drawn
 *              anew for every pass: a pass has as many windows as fit behind
 *              the largest offset, so that all passes are equally long
 *   synthetic  (no token stream) every token an independent draw from the
 *              counts, anew in every step, whatever `sampling` says
 * Target = input shifted by one. "pass" as steps_per_epoch is the number of batches that
 * hold the windows of a pass, rounded up. No window crosses the place of a held-out block.
 *
 * data.inject: every token of a dose group replaces a target (and the next input of the same
 * window) exactly dose times, at positions drawn without replacement from all positions of
 * all steps of the epochs in question. */
#ifndef TOKENFATE_SAMPLER_H
#define TOKENFATE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/frequency.h"
#include "lab/groups.h"

enum {
    SAMPLER_INSERTIONS_MAX = 1 << 20, /* of a whole run, 24 bytes each */
    SAMPLER_INSERTIONS_SHARE = 16     /* at most one position in so many is replaced */
};

/* Source of the windows; everything is borrowed. */
struct sampler_text {
    const int32_t *ids; /* [n] training part, NULL for synthetic */
    size_t n;
    size_t segment;                    /* no window crosses a multiple of this; 0: none */
    const int32_t *held_out;           /* [n_held_out], blocks of SPEC_HOLDOUT_BLOCK */
    size_t n_held_out;                 /* 0: nothing is held out */
    const struct frequency *frequency; /* of the training part; copied */
    const struct groups *groups;       /* copied; NULL: skip the checks that need groups */
};

/* Parts with evaluation windows, which are the same in every epoch and for every seed. */
enum sampler_part { SAMPLER_TEXT, SAMPLER_HELD_OUT };

struct sampler;

/* ERR_INVALID: a text shorter than a window (/model/seq_len), fewer windows than
 * eval.windows (/eval/windows), a group that is in no window (/data/oversample/group), too
 * many insertions (/data/inject/tokens), oversampling of a synthetic text
 * (/data/oversample). ERR_NO_MEMORY. A sampler is not thread safe: it caches the order of a
 * pass. */
int sampler_open(const struct spec *spec, const struct sampler_text *text, struct sampler **out,
                 struct err *err);
void sampler_close(struct sampler *sampler);

/* Optimiser steps of one epoch ("pass" resolved): at least 1. */
int64_t sampler_steps_per_epoch(const struct sampler *sampler);

/* Inputs and targets of optimiser step `step` (0-based over the whole run),
 * each [batch_size][seq_len]. */
void sampler_batch(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets);

/* Number of evaluation windows: eval.windows of the training text; of the held-out text as
 * many, or all of its disjoint windows if it has fewer (0 without a held-out part). */
int sampler_evaluation_windows(const struct sampler *sampler, enum sampler_part part);

/* Evaluation window number `window`, inputs and targets each [seq_len]: disjoint windows,
 * evenly spaced over the part. Synthetic: draws from the counts that no batch shares. Never
 * with insertions. */
void sampler_evaluation(const struct sampler *sampler, enum sampler_part part, int window,
                        int32_t *inputs, int32_t *targets);

/* Position in the part of the first input of that window; its targets start one later. Not
 * for a synthetic text. */
int64_t sampler_evaluation_start(const struct sampler *sampler, enum sampler_part part, int window);

#endif
