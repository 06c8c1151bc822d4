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

/* ---- called by train, inference and the tests ---- */

/* Set the token counts of the training text. The spec's class weights, logit adjustment
 * (lab/remedies.h) and ranks of an adaptive head (lab/clusters.h) are computed from them; without
 * these settings the call changes nothing. Before the first step; with an adaptive head no step is
 * possible before the tokens have ranks. ERR_NO_MEMORY, ERR_DEVICE. */
int model_set_frequency(struct model *model, const struct frequency *frequency, struct err *err);

/* Set the token of each rank of an adaptive head, [V]: that of the model whose weights are taken
 * over. ERR_INVALID if it is no permutation of the vocabulary; ERR_NO_MEMORY, ERR_DEVICE. */
int model_set_order(struct model *model, const int32_t *order, struct err *err);
const int32_t *model_order(const struct model *model); /* NULL with the full head */

/* Output rows of the tracked tokens as in the observation, [M][C], of the current parameters. No
 * step may be in flight. ERR_NO_MEMORY, ERR_DEVICE. */
int model_output_rows(struct model *model, double *rows, struct err *err);

/* Logits of every token for one h [C], of a position or a mean over positions (after the final
 * layernorm, before the logit scale), under the current parameters; [V] as in the observation,
 * valid until the next observed step. No step may be in flight. ERR_DEVICE. */
int model_scores(struct model *model, const double *h, const float **scores, struct err *err);

/* ---- called by model.c ---- */

/* Allocate host arrays and upload constants and the tracked tokens of the full head. ERR_NO_MEMORY,
 * ERR_DEVICE. Closing is fine after a failed open too. */
int model_lm_head_open(struct model *model, struct err *err);
void model_lm_head_close(struct model *model);

/* Queue forward, loss and, with MODEL_GRADIENT in `what` (model_submit), the gradients of the
 * output layer and of h, the latter in MEMORY_BRANCH. */
void model_lm_head_run(struct model *model, unsigned what);
/* Queue the output rows of the tracked tokens and, with MODEL_GRADIENT, the mean logit of every
 * output. Reads only buffers of the training itself. */
void model_lm_head_observe(struct model *model, unsigned what);
/* Queue mean p of the tracked tokens and, with MODEL_GRADIENT and after backward, the parts of
 * their rows' gradient. */
void model_lm_head_observe_tracked(struct model *model, unsigned what);

/* Host side: targets [N] of a batch as outputs of the clusters, [K][N]; nothing with the full
 * head. */
void model_lm_head_targets(const struct model *model, const int32_t *targets, int32_t *out);
/* Host side: from REALs in a slot of the ring to arrays of the observation. */
void model_lm_head_losses(const struct model *model, const void *reals, const int32_t *targets,
                          double *losses);
void model_lm_head_lse(const struct model *model, const void *reals, double *lse);
void model_lm_head_objective(const struct model *model, const void *reals, double *objective);
void model_lm_head_scores(const struct model *model, const void *reals, float *scores);
void model_lm_head_norms(const struct model *model, const void *reals, double *norms);
/* [M][width] rows of the tracked tokens, in the order of the groups. */
void model_lm_head_rows(const struct model *model, const void *reals, int width, double *rows);

#endif
