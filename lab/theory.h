/* theory: closed forms, shown beside the measurement (SCIENCE section 3; each contract has
 * the number of its form). Each one states what a correct engine must do:
 * tests/unit/lab_theory.c checks the formulas, tests/unit/gpu_theory.c that the engine obeys
 * them. Called by the server (GET /jobs/{id}/theory), run_table and lab/findings. Pure
 * functions, any thread. Invariant: a form without a value (an empty group, ln 0) is NaN. */
#ifndef TOKENFATE_THEORY_H
#define TOKENFATE_THEORY_H

#include <stdint.h>

#include "config/spec.h"
#include "lab/frequency.h"
#include "lab/groups.h"

/* ---- 3.1: the untrained model ----
 * A job that starts from another model (init_from) has none: every number is NaN. */

/* Mean log p (nats) of any token under the untrained model: -ln V - s_z^2 / 2 (log-normal
 * partition function), with s_z the standard deviation of the logits. After the final
 * layernorm |h|^2 = d, so s_z = scale * init_std * sqrt(d). The head bias starts at 0 and
 * changes nothing. */
double theory_untrained(const struct spec *spec, int vocab);

/* With an adaptive head theory_untrained is the mean over the vocabulary, because each
 * cluster (lab/clusters.h) has its own level; this is the level of cluster k. A softmax has
 * -ln(outputs) - s^2/2. A cluster k > 0 adds that of cluster 0, where its entry is. Its
 * input is a projection of h whose numbers have standard deviation init_std sqrt(d), so its
 * s is scale * init_std^2 * sqrt(d * width). The tokens of a cluster share the logit of one
 * entry, which shifts all of them by up to s_z: the level is the mean over initial weights.
 * The full head is cluster 0 alone. */
double theory_untrained_cluster(const struct spec *spec, int vocab, int k);

/* Mean over a group; NaN for an empty one. */
double theory_untrained_group(const struct spec *spec, const struct group *group,
                              const struct frequency *frequency);

/* s_z. It bounds the differences between tokens at the start: the standard deviation over
 * tokens of their mean log p is scale * init_std * |mean h| <= s_z. */
double theory_logit_std(const struct spec *spec);

/* ---- 3.2: the best model without context ---- */

/* Mean over the group of ln(c_i / N), the maximum-likelihood estimate of a multinomial. NaN
 * if a count is 0 or the group is empty. */
double theory_context_free(const struct group *group, const struct frequency *frequency);

/* Loss of that model: the entropy -sum (c_i/N) ln(c_i/N) of the counts (Shannon 1948). A
 * lower loss shows that context has been learnt. NaN without tokens. */
double theory_entropy(const struct frequency *frequency);

/* Probability of the whole group in that model: sum c_i / N. NaN for an empty group. */
double theory_mass(const struct group *group, const struct frequency *frequency);

/* Count c with ln(c/N) equal to a level: N exp(level). */
double theory_break_even(double level, const struct frequency *frequency);

/* Share of the used types whose ln(c/N) lies below a level: counting alone makes them fall.
 * NaN without types or level. */
double theory_types_below(double level, const struct frequency *frequency);

/* The same with the untrained level of each type's own cluster. */
double theory_types_below_start(const struct spec *spec, const struct frequency *frequency);

/* ---- 3.3: the gradient of the output layer, summed over the vocabulary ---- */

/* Norm of the sum: 0; NaN under z-loss, where it depends on the step (theory_z_loss_sum). */
double theory_gradient_sum(const struct spec *spec);

/* The gradient of output row i is (s/N) sum_p (pi_p(i) - q_p(i)) h_p, where pi and q sum to
 * 1. So the sum over i is 0 at every step, and with plain SGD and no decay the mean output
 * row of an untied model never moves. z-loss c lse^2 adds pi_p(i) 2c lse_p: the sum is then
 * (2 c s / N) sum_p lse_p h_p, written to sum[C]. h [N][C], lse [N]. */
void theory_z_loss_sum(double z_loss, double scale, const double *h, const double *lse, int N,
                       int C, double *sum);

/* ---- 3.4 and 3.5: rows without a gradient, and the first steps ---- */

/* Factor of a parameter after `steps` updates by decay alone: (1 - lr * decay)^steps
 * (Loshchilov & Hutter 2019, algorithm 2; for SGD without momentum the same with L2). NaN if
 * decay is not the only movement: Adam with L2, momentum with decay. decay is 0 if the spec
 * spares embeddings. */
double theory_decay(const struct spec *spec, int64_t steps);

/* Change of a weight w in the first step of AdamW with gradient g: the corrected moments are
 * g and g^2, so it is -lr g / (|g| + eps) - lr decay w. */
double theory_adamw_first(const struct spec *spec, double g, double w);

/* Change of the mean logit of a token that is never a target in one early update: -lr s
 * |mean h|_1. Every element of its output row has a gradient of the sign of mean h, and Adam
 * steps by lr against it. */
double theory_adam_logit_step(const struct spec *spec, double h_l1);

/* 1 if gradients of a spec can have that sign: Adam or AdamW on one softmax without bias.
 * Not with class weights (the sign is then that of a weighted mean of h), with Adam's L2 on
 * embeddings (far larger than that gradient), or with both logit adjustment and a term of
 * the adjusted softmax (smoothing, z-loss), which no record has. */
int theory_adam_applies(const struct spec *spec);

/* 1 if gradients have that sign at mean log p and log Z: the gradient is proportional to p
 * (1 + 2 c log Z) - eps / V, with z-loss c and smoothing eps. The form ends once smoothing
 * or a large z-loss has turned the sign. */
int theory_adam_pushes_down(const struct spec *spec, int vocab, double logp, double log_z);

/* ---- 3.6: SGD, a token that is never a target ---- */

/* With log Z and h fixed d(log p)/dt = -lr s^2 |mean h|^2 p, so 1/p grows by lr s^2 |mean
 * h|^2 a step: log p = -ln(exp(-start) + pull), with pull the sum over those steps. From
 * start = -ln V: -ln(V + lr t |mean h|^2 s^2). */
double theory_sgd_logp(double start, double pull);
double theory_sgd_pull(const struct spec *spec, double h_norm);

/* 1 if nothing else moves the logit: SGD without momentum, clipping and decay of embeddings,
 * the plain loss, one softmax without bias. */
int theory_sgd_applies(const struct spec *spec);

/* ---- 3.7: optima without context of other losses ---- */

struct theory_loss {
    double class_weight;     /* exponent a: weight of target i is c_i^-a (any factor) */
    double logit_adjustment; /* tau: trained on z + tau ln prior (Menon et al. 2021, eq. 10) */
    double label_smoothing;  /* eps: q = (1 - eps) target + eps / V (Szegedy et al. 2016, sec. 7) */
};

/* Log p of every token, logp[V], at the optimum without context. softmax(z + tau ln prior),
 * prior_i = (c_i + 1) / (N + V), matches the weighted mean of the targets m_i = (1 - eps)
 * w_i c_i / sum_j w_j c_j + eps / V. The reported softmax(z) is proportional to m_i /
 * prior_i^tau. So smoothing gives never-seen tokens ln(eps / V), and a = 1 gives every used
 * token -ln(number of used types). z-loss moves log Z, not p. NaN for p = 0. */
void theory_optimum(const struct theory_loss *loss, const struct frequency *frequency,
                    double *logp);

/* The loss of a job's spec. */
struct theory_loss theory_loss_of(const struct spec *spec);

/* Mean of logp[V] over a group; NaN for an empty group or a NaN in it. */
double theory_group_mean(const struct group *group, const double *logp);

/* 1 if the targets of a job follow the counts of its text, which all forms above assume: no
 * window is oversampled and no token is inserted. */
int theory_follows_counts(const struct spec *spec);

/* 1 if moreover the optimum is ln(c_i / N): its loss adds at most z-loss. */
int theory_optimum_is_counts(const struct spec *spec);

/* The optimum of the job's own loss: mean log p of a group, and its probability. NaN if the
 * targets do not follow the counts, and as in theory_optimum. */
double theory_optimum_group(const struct spec *spec, const struct group *group,
                            const struct frequency *frequency);
double theory_optimum_mass(const struct spec *spec, const struct group *group,
                           const struct frequency *frequency);

#endif
