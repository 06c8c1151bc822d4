/* indicators: which tokens a model was trained on, estimated from its embedding rows alone
 * (SCIENCE section 7) and graded by the counts of its text. Rows are plain arrays; the
 * server maps them from the model's file. Pure function, any thread; two passes over the
 * rows. Invariant: the unused tokens that make the reference direction are never among the
 * tested ones. */
#ifndef TOKENFATE_INDICATORS_H
#define TOKENFATE_INDICATORS_H

#include <stdint.h>

#include "config/err.h"
#include "lab/frequency.h"

enum { INDICATORS_NEAREST = 20 }; /* used tokens listed */

/* A set of rows as a cloud. NaN if the set is too small for the number. */
struct indicators_cloud {
    int n;
    double row_norm;    /* mean L2 norm of the rows */
    double mean_norm;   /* L2 norm of the mean row: the common drift (Bis et al. 2021) */
    double mean_cosine; /* mean cosine of two different rows (Ethayarajh 2019, section 4.1):
                           0 if directions are uniform, 1 if all are the same */
};

struct indicators {
    int n_reference; /* every second unused token, in order of id: they make the reference */
    int n_held_out;  /* the other unused tokens: they are tested */
    /* P(a held-out unused token is nearer to the reference than a used one), ties half: area
     * under the curve of the cosine distance to the mean reference row (Land & Bartolo 2024)
     * as a detector of unused tokens, overall and by the count class of the used token. The
     * same with the norm of the input row, small = unused. */
    double distance_auc, distance_auc_by_count[FREQUENCY_CLASSES];
    double norm_auc, norm_auc_by_count[FREQUENCY_CLASSES];
    double held_out_distance, used_distance;   /* means */
    struct indicators_cloud all, used, unused; /* of the output rows */
    double cosine_of_means;                    /* of the used and the unused rows' means */
    int n_nearest;
    struct {
        int32_t id;
        double distance;
    } nearest[INDICATORS_NEAREST]; /* used tokens closest to the reference */
};

/* output, input: [V][C], V = frequency->vocab; the same array for a tied model. Rows of
 * length 0 have no direction: distances and cosines leave them out. ERR_NO_MEMORY. */
int indicators_of(const float *output, const float *input, int C, const struct frequency *frequency,
                  struct indicators *out, struct err *err);

/* Expected norm (root of the expected square) of the mean of n untrained rows: std sqrt(C /
 * n), with every element N(0, std^2). */
double indicators_untrained_mean_norm(double init_std, int C, int n);

#endif
