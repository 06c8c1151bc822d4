/* clusters: how the output layer of a spec divides the vocabulary. The full head
 * is one softmax over all tokens. The adaptive one (Grave et al. 2017, section 3)
 * ranks the tokens by frequency: cluster 0 is a softmax over the first ranks and
 * over one entry for each further cluster, and cluster k > 0 a softmax over its own
 * tokens, on a projection of h that is narrower by a factor of 4 from one cluster
 * to the next. So
 *   log p(token) = log p_0(token)                  of a token of cluster 0,
 *   log p(token) = log p_0(entry k) + log p_k(token)  of one of cluster k.
 * Called by lab/shapes, lab/memory, lab/theory and the engine. Pure functions, any
 * thread. */
#ifndef TOKENFATE_CLUSTERS_H
#define TOKENFATE_CLUSTERS_H

#include <stdint.h>

#include "config/spec.h"
#include "lab/frequency.h"

enum {
    CLUSTERS_MAX = SPEC_CUTOFFS_MAX + 1,
    CLUSTERS_FACTOR = 4,   /* the paper's, section 4.2: each cluster is narrower by it */
    CLUSTERS_WIDTH_MIN = 8 /* numbers of the narrowest projection, unless d_model is less: with
                              fewer a cluster of 40,000 tokens could tell hardly any apart */
};

struct clusters {
    int n; /* 1: the full head */
    struct cluster {
        int first;   /* rank of its first token */
        int tokens;  /* of the vocabulary */
        int outputs; /* of its softmax: its tokens, and in cluster 0 the entries of the others */
        int width;   /* numbers of an output row: d_model in cluster 0 */
    } cluster[CLUSTERS_MAX];
};

/* The clusters of a spec's head over a vocabulary. A cutoff outside the vocabulary,
 * which dataset_open refuses, leaves a cluster without tokens. */
void clusters_of(const struct spec *spec, int vocab, struct clusters *out);

/* order[vocab]: the token of each rank, by descending count; of equal counts the
 * lower id comes first. So the tokens that never occur are the last ones. */
void clusters_order(const struct frequency *frequency, int32_t *order);

/* Rank of one token in that order, by looking at all counts. */
int clusters_rank(const struct frequency *frequency, int32_t token);

/* Cluster of a rank. */
int clusters_find(const struct clusters *clusters, int rank);

#endif
