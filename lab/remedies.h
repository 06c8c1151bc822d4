/* remedies: what an objective weighs and adjusts, as vectors over the vocabulary
 * made from the counts of the training text (SCIENCE section 6). Pure functions,
 * any thread. */
#ifndef TOKENFATE_REMEDIES_H
#define TOKENFATE_REMEDIES_H

#include "lab/frequency.h"

/* weights [V]: that of a target i is c_i^-exponent N / sum over used j of
 * c_j^(1 - exponent), so that the mean over the text is 1. A token that does not
 * occur is no target; its weight is that of one that occurs once. */
void remedies_class_weights(const struct frequency *frequency, double exponent, double *weights);

/* adjustment [V]: tau ln((c_i + 1) / (N + V)), added to the logits that are
 * trained (Menon et al. 2021, section 4.2, with add-one smoothing of the prior,
 * so that a token that does not occur has one, too). */
void remedies_adjustment(const struct frequency *frequency, double tau, double *adjustment);

#endif
