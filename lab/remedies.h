/* remedies: weights and adjustments of an objective, as vectors over the vocabulary, made
 * from the counts of the training text (SCIENCE section 6). Pure functions, any thread. */
#ifndef TOKENFATE_REMEDIES_H
#define TOKENFATE_REMEDIES_H

#include "lab/frequency.h"

/* weights [V]: target i has c_i^-exponent N / (sum over used j of c_j^(1 - exponent)), so
 * that the mean over the text is 1. A token that does not occur is never a target; it has
 * the weight of a token that occurs once. */
void remedies_class_weights(const struct frequency *frequency, double exponent, double *weights);

/* adjustment [V]: tau ln((c_i + 1) / (N + V)), added to the logits in training (Menon et al.
 * 2021, section 4.2). Add-one smoothing gives a token that does not occur a prior, too. */
void remedies_adjustment(const struct frequency *frequency, double tau, double *adjustment);

#endif
