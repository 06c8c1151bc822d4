/* measure: turns what a model shows of one batch into the epoch's record
 * (config/record.h) and the tracked tokens' mean log p. All masked means come
 * from sums of h and of logsumexp, without a logit (DESIGN section 4):
 *   mean over positions P, tokens G of log p
 *     = mean_P(h) . mean_G(w) * scale + mean_G(b) - mean_P(lse),
 * with an adaptive head of each cluster's part of G.
 * Holds the initial rows of the tracked tokens and counts exposures. Double
 * throughout, fixed order, nothing allocated after measure_open. One thread. */
#ifndef TOKENFATE_MEASURE_H
#define TOKENFATE_MEASURE_H

#include <stdint.h>

#include "config/err.h"
#include "gpu/model.h"
#include "lab/frequency.h"
#include "lab/groups.h"

struct measure;

/* groups is borrowed; the frequencies' vocabulary bounds the token ids. B windows
 * of T tokens, C = d_model. ERR_NO_MEMORY. */
int measure_open(const struct groups *groups, const struct frequency *frequency, int B, int T,
                 int C, struct measure **out, struct err *err);
void measure_close(struct measure *measure);

/* The rows that shifts are measured from: tracked tokens' output rows and, when
 * untied, input rows of the untrained model ([M][C] each, input_rows NULL when
 * tied). Copied. Until this is called shifts are measured from zero. */
void measure_set_start(struct measure *measure, const double *output_rows,
                       const double *input_rows);

/* A batch was used for an update: its targets ([B][T]) count as exposures. */
void measure_count_targets(struct measure *measure, const int32_t *targets);

/* Fill record values ([record_size(G)], all but tokens_per_second and what
 * evaluate makes, which are set to NaN) and the per-token mean log p, mask none ([M]). inputs and targets are
 * the batch ([B][T]) that was observed. */
void measure_record(struct measure *measure, const struct model_observation *observation,
                    const int32_t *inputs, const int32_t *targets, double *values, float *tokens);

/* Mean log p (mask none) of every token at the last record, [V]. Owned by measure. */
const float *measure_spectrum(const struct measure *measure);

/* Exposure counts of the whole vocabulary [V], for the checkpoint: read when it
 * is written, overwritten when it is loaded. Owned by measure. */
int64_t *measure_exposures(struct measure *measure);

#endif
