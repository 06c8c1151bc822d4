/* measure: computes the epoch's record (config/record.h) and the mean log p of the tracked tokens
 * from the observation of one batch. All masked means come from sums of h and of logsumexp, without
 * a single logit (DESIGN section 4):
 *   mean over positions P, tokens G of log p
 *     = mean_P(h) . mean_G(w) * scale + mean_G(b) - mean_P(lse),
 * with an adaptive head for each cluster's part of G. Holds the initial rows of the tracked tokens
 * and counts exposures. Float64 in a fixed order; nothing is allocated after measure_open. One
 * thread. */
#ifndef TOKENFATE_MEASURE_H
#define TOKENFATE_MEASURE_H

#include <stdint.h>

#include "config/err.h"
#include "gpu/model.h"
#include "lab/frequency.h"
#include "lab/groups.h"

struct measure;

/* groups is borrowed; the vocabulary of the frequencies bounds the token ids. B windows of T
 * tokens, C = d_model. ERR_NO_MEMORY. */
int measure_open(const struct groups *groups, const struct frequency *frequency, int B, int T,
                 int C, struct measure **out, struct err *err);
void measure_close(struct measure *measure);

/* Set the rows that shifts are measured from: output rows of the tracked tokens of the untrained
 * model and, when untied, their input rows ([M][C] each; input_rows NULL when tied). Copied. Before
 * this call shifts are measured from zero. */
void measure_set_start(struct measure *measure, const double *output_rows,
                       const double *input_rows);

/* Count the targets ([B][T]) of a batch that an update used as exposures. */
void measure_count_targets(struct measure *measure, const int32_t *targets);

/* Fill the record values ([record_size(G)]; tokens_per_second and the numbers of evaluate are set
 * to NaN) and the mean log p of each tracked token, mask none ([M]). inputs and targets: the
 * observed batch ([B][T]). */
void measure_record(struct measure *measure, const struct model_observation *observation,
                    const int32_t *inputs, const int32_t *targets, double *values, float *tokens);

/* Mean log p (mask none) of every token at the last record, [V]. Owned by measure. */
const float *measure_spectrum(const struct measure *measure);

/* Exposure counts of the whole vocabulary [V]: read when a checkpoint is written, overwritten when
 * one is loaded. Owned by measure. */
int64_t *measure_exposures(struct measure *measure);

#endif
