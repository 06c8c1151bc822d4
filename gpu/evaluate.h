/* evaluate: evaluation of a model on windows that are the same in every epoch, of the training text
 * and of the held-out text (SCIENCE section 2). It accumulates sums over observed batches and
 * computes the record's numbers from them. A batch may hold fewer windows than its size; the rest
 * is ignored. Mean probabilities, which a backend sums over the whole batch, come from full batches
 * only. Float64 in a fixed order. Called by train, on its thread. */
#ifndef TOKENFATE_EVALUATE_H
#define TOKENFATE_EVALUATE_H

#include <stdint.h>

#include "config/err.h"
#include "gpu/model.h"
#include "lab/frequency.h"
#include "lab/groups.h"

struct evaluation;

/* groups is borrowed. Batches of B windows of T tokens. ERR_NO_MEMORY. */
int evaluate_open(const struct groups *groups, const struct frequency *frequency, int B, int T,
                  int C, struct evaluation **out, struct err *err);
void evaluate_close(struct evaluation *evaluation);

/* Start a new evaluation: all sums are zero. */
void evaluate_begin(struct evaluation *evaluation);

/* Add the first `windows` windows of an observed batch; targets [B][T]. words [B][T]: bits of
 * dataset_word (lab/dataset.h) for each target; NULL: unknown. A word counts if all of its tokens
 * are targets of one window. */
void evaluate_add(struct evaluation *evaluation, const struct model_observation *observation,
                  const int32_t *targets, const uint8_t *words, int windows);

/* Mean h over the positions of the batches since evaluate_begin, [C]. Owned by evaluation. */
const double *evaluate_h(struct evaluation *evaluation);

/* Record numbers of the batches since evaluate_begin: of the training text ("/eval", of every group
 * too) and of the held-out text ("/holdout"). A mean over nothing is NaN. scores [V]: logits of the
 * mean h (model_scores). */
void evaluate_text(const struct evaluation *evaluation, const float *scores, double *values);
void evaluate_held_out(const struct evaluation *evaluation, double *values);

#endif
