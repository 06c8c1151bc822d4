/* clusters: how the output layer of a spec divides the vocabulary. The full head is one
 * softmax over all tokens. The adaptive head (Grave et al. 2017, section 3) ranks the tokens
 * by frequency. Cluster 0 is a softmax over the first ranks and over one entry for each
 * further cluster. Cluster k > 0 is a softmax over its own tokens, on a projection of h; the
 * projection narrows by a factor of 4 from one cluster to the next. So
 *   log p(token) = log p_0(token)                     of a token of cluster 0,
 *   log p(token) = log p_0(entry k) + log p_k(token)  of a token of cluster k.
 * Called by lab/shapes, lab/memory, lab/theory and the engine. Pure functions, any thread. */
#ifndef TOKENFATE_CLUSTERS_H
#define TOKENFATE_CLUSTERS_H

#include <stdint.h>

#include "config/spec.h"
#include "lab/frequency.h"

enum {
    CLUSTERS_MAX = SPEC_CUTOFFS_MAX + 1,
    CLUSTERS_FACTOR = 4, /* narrowing of each cluster (paper, section 4.2) */
    /* Width of the narrowest projection, unless d_model is less: a narrower one could hardly
     * tell the tokens of a cluster of 40,000 apart. */
    CLUSTERS_WIDTH_MIN = 8
};

struct clusters {
    int n; /* 1: the full head */
    struct cluster {
        int first;  /* rank of its first token */
        int tokens; /* of the vocabulary */
        /* Of its softmax: its tokens, and in cluster 0 the entries of the other clusters. */
        int outputs;
        int width; /* numbers of an output row: d_model in cluster 0 */
    } cluster[CLUSTERS_MAX];
};

/* The clusters of a spec's head over a vocabulary. A cutoff outside the vocabulary leaves a
 * cluster without tokens; dataset_open refuses it. */
void clusters_of(const struct spec *spec, int vocab, struct clusters *out);

/* order[vocab]: the token of each rank, by descending count; equal counts by ascending id.
 * Tokens that never occur have the last ranks. */
void clusters_order(const struct frequency *frequency, int32_t *order);

/* Rank of one token in that order; O(vocab). */
int clusters_rank(const struct frequency *frequency, int32_t token);

/* Cluster of a rank. */
int clusters_find(const struct clusters *clusters, int rank);

#endif
