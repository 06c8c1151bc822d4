/* model: GPT-2 (Radford et al. 2019) on any backend: parameters, forward, backward, optimiser step.
 * Every number is computed by a backend operation, so `ref` (float64, tests), `cpu` and `cuda` run
 * the same program. Parameters, gradients, moments and activations are one allocation each, with
 * offsets from lab/shapes and lab/memory; a step allocates nothing. One thread.
 *
 * Where to find what: layers and steps are here; the output layer is model_lm_head.h, optimiser,
 * gradient norm and clipping are model_update.h, weights and moments between steps are
 * model_state.h.
 *
 * Short names, used everywhere in gpu/: B windows of a batch, T tokens of a window, N = B*T
 * positions, C = d_model, L layers, V vocabulary, Vp padded vocabulary, NH attention heads, M
 * tracked tokens, G groups, K clusters of the output layer (1 with the full head). */
#ifndef TOKENFATE_MODEL_H
#define TOKENFATE_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"
#include "lab/frequency.h"
#include "lab/groups.h"
#include "lab/memory.h"
#include "lab/shapes.h"

struct model;

/* Statistics of one batch for `measure`, on the host, in float64. Arrays are owned by the model and
 * valid until its next model_submit. */
struct model_observation {
    int B, T, N, C, M, G, V, K;
    const double *losses; /* [N] -log p of the target */
    /* [K][N] logsumexp of the logits. With an adaptive head that of each cluster, plus that of
     * cluster 0 for k > 0: log p of a token of cluster k is its logit minus row k. */
    const double *lse;
    const unsigned char *cluster_of; /* [V] zeros with the full head */
    const double *objective;         /* [N] objective, NULL if it is the loss */
    /* Sums over positions of h (after the final layernorm, before the logit
     * scale): row w < B: positions of window w; row B + g: positions whose
     * input token is not in group g. */
    const double *h_sums;     /* [B + G][C] */
    const double *mean_p;     /* [M] mean over positions of p, tracked tokens */
    const double *part_norms; /* [BACKEND_PARTS][M] norms of the parts of their rows' gradient */
    /* [M][C] fp32 masters of the rows that h is multiplied by for a token's logit. In a cluster k >
     * 0: projection . weight row + entry row of the cluster in cluster 0. */
    const double *output_rows;
    const double *output_bias; /* [M], zeros without head bias */
    const double *input_rows;  /* [M][C], NULL when tied */
    const float *scores;       /* [V] mean over positions of every token's logit (fp32 masters) */
    double logit_scale;
    double grad_norm; /* L2, whole gradient, before clipping */
    /* After a step without a gradient, scores is NULL, part_norms and grad_norm are NaN. */
};

/* Allocate everything on the backend. groups: the tracked tokens (borrowed). ERR_NO_MEMORY with the
 * exact bytes wanted and available; ERR_UNAVAILABLE if the backend cannot do what the spec asks;
 * ERR_INVALID for a vocabulary, cutoff or tracked token out of range. */
int model_open(const struct spec *spec, int vocab, const struct groups *groups,
               struct backend *backend, struct model **out, struct err *err);
void model_close(struct model *model);

/* ---- a step ---- */

/* The passes of a step, in this order. Each combination is one program of the backend. */
enum model_part_of_step {
    MODEL_GRADIENT = 1, /* forward, loss, backward; gradients are replaced, not accumulated */
    MODEL_OBSERVE = 2,  /* with either pass: statistics for `measure`; changes no bit of the rest */
    MODEL_UPDATE = 4,   /* optimiser, with that gradient clipped to grad_clip if that is > 0 */
    /* Instead of MODEL_GRADIENT, alone or with MODEL_OBSERVE: the loss only, a third of the work;
     * gradients keep their values. */
    MODEL_FORWARD = 8
};

/* Result of a step. Pointers are valid until the next model_submit. */
struct model_result {
    double loss;          /* mean cross-entropy, may be non-finite: callers check it */
    const double *losses; /* [N] -log p of the target of each position; NULL without a pass */
    const struct model_observation *observation; /* NULL unless observed */
    const int32_t *inputs, *targets;             /* [B][T] the batch */
};

/* Queue a step: `what` of inputs and targets (host arrays [B][T], copied; ERR_INVALID for ids
 * outside the vocabulary). `update` is the number of the update, 1-based, for Adam's bias
 * correction. At most model_depth steps may be in flight: submitted and not collected. A fault of
 * the device is reported when its step is collected. */
int model_submit(struct model *model, unsigned what, const int32_t *inputs, const int32_t *targets,
                 int64_t update, struct err *err);

/* Wait for the oldest step in flight. ERR_DEVICE: this step or an earlier one met a fault of the
 * device; steps before it have delivered their results. */
int model_collect(struct model *model, struct model_result *result, struct err *err);

/* Steps that may be in flight at once: 1 on a synchronous backend. */
int model_depth(const struct model *model);

/* The synchronous form: the gradient of a batch, and update number `update` with the last gradient.
 * No step may be in flight. loss and observation may be NULL; without observation no statistics are
 * computed. */
int model_gradient(struct model *model, const int32_t *inputs, const int32_t *targets, double *loss,
                   const struct model_observation **observation, struct err *err);
int model_update(struct model *model, int64_t update, struct err *err);

/* Loss and observation of a batch without the gradient, as model_gradient returns them. */
int model_evaluate(struct model *model, const int32_t *inputs, const int32_t *targets, double *loss,
                   const struct model_observation **observation, struct err *err);

/* h (after the final layernorm, before the logit scale) of one position of the last batch, [C]. No
 * step may be in flight. ERR_DEVICE. */
int model_hidden(struct model *model, int position, double *h, struct err *err);

/* Call `progress` before each layer, forward and backward, while a later step is submitted: a sign
 * of life during long submissions. It must not touch model or backend. NULL: none. */
void model_on_progress(struct model *model, void (*progress)(void *self), void *self);

const struct shapes *model_shapes(const struct model *model);

/* Bytes allocated on the backend; equals memory_bytes (lab/memory.h) of the same vocabulary,
 * groups, spec, device and precision. */
int64_t model_bytes(const struct model *model);

#endif
