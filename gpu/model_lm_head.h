/* model_lm_head: everything behind the final layernorm: the output layer (lm_head), one softmax
 * or an adaptive one with clusters of tokens, the ranks of the tokens, the observation of the
 * tracked tokens, and the composition of the clusters' results on the host. On the model's
 * thread. */
#ifndef TOKENFATE_MODEL_LM_HEAD_H
#define TOKENFATE_MODEL_LM_HEAD_H

#include <stdint.h>

#include "config/err.h"
#include "lab/frequency.h"

struct model;

/* ---- for train, probe and the tests ---- */

/* The counts of the training text, of which the spec's class weights, logit
 * adjustment (lab/remedies.h) and ranks of an adaptive head (lab/clusters.h) are
 * made; without them it changes nothing. Before the first step; a model with an
 * adaptive head takes none before it has ranks. ERR_NO_MEMORY, ERR_DEVICE. */
int model_set_frequency(struct model *model, const struct frequency *frequency, struct err *err);

/* The token of each rank of an adaptive head, [V]: that of the model whose weights
 * it takes over. ERR_INVALID if it is no permutation of the vocabulary; ERR_DEVICE. */
int model_set_order(struct model *model, const int32_t *order, struct err *err);
const int32_t *model_order(const struct model *model); /* NULL with the full head */

/* The output rows of the tracked tokens as the observation shows them, [M][C], of the
 * present parameters. No step may be under way. ERR_NO_MEMORY, ERR_DEVICE. */
int model_output_rows(struct model *model, double *rows, struct err *err);

/* What h [C], of a position or a mean over positions (after the final layernorm, before
 * the logit scale), scores with every token under the present parameters, [V] as the
 * observation shows it: valid until the next step that is observed. No step may be under
 * way. ERR_DEVICE. */
int model_scores(struct model *model, const double *h, const float **scores, struct err *err);

/* ---- for model.c ---- */

/* Host arrays, constants on the device, and the tracked tokens of the full head.
 * ERR_NO_MEMORY. Closing is fine whatever opening came to. */
int model_lm_head_open(struct model *model, struct err *err);
void model_lm_head_close(struct model *model);

/* Operations of a step. `what`: of model_submit. Losses; with MODEL_GRADIENT the gradients of the
 * output layer too, and that of h in MEMORY_BRANCH. */
void model_lm_head_run(struct model *model, unsigned what);
/* Rows of the tracked tokens; with MODEL_GRADIENT the mean logit of every output too.
 * Reads only what training uses. */
void model_lm_head_observe(struct model *model, unsigned what);
/* Mean p of the tracked tokens; with MODEL_GRADIENT, after backward, also what the step does
 * to their rows. */
void model_lm_head_observe_tracked(struct model *model, unsigned what);

/* Host side. targets [N] of a batch as outputs of the clusters, [K][N]; nothing with the full
 * head. */
void model_lm_head_targets(const struct model *model, const int32_t *targets, int32_t *out);
/* From the REALs of a slot of the ring to the arrays of the observation. */
void model_lm_head_losses(const struct model *model, const void *reals, const int32_t *targets,
                          double *losses);
void model_lm_head_lse(const struct model *model, const void *reals, double *lse);
void model_lm_head_objective(const struct model *model, const void *reals, double *objective);
void model_lm_head_scores(const struct model *model, const void *reals, float *scores);
void model_lm_head_norms(const struct model *model, const void *reals, double *norms);
/* [M][width] rows of the tracked tokens, in the order of the groups. */
void model_lm_head_rows(const struct model *model, const void *reals, int width, double *rows);

#endif
