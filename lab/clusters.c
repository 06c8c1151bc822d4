/* clusters: see clusters.h. No state, any thread. Invariant: the clusters cover
 * ranks 0 .. V - 1 without a gap. */
#include "lab/clusters.h"

#include <stdlib.h>

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

void clusters_of(const struct spec *spec, int vocab, struct clusters *out)
{
    const int n = 1 + spec->model.n_cutoffs, d_model = spec->model.d_model;
    *out = (struct clusters){.n = n};
    for (int k = 0, divisor = 1; k < n; k++, divisor *= CLUSTERS_FACTOR) {
        struct cluster *cluster = &out->cluster[k];
        const int narrow = d_model / divisor, least = at_most(CLUSTERS_WIDTH_MIN, d_model);
        const int end = k + 1 < n ? at_most(spec->model.cutoffs[k], vocab) : vocab;
        cluster->first = k ? at_most(spec->model.cutoffs[k - 1], vocab) : 0;
        cluster->tokens = end - cluster->first;
        cluster->outputs = cluster->tokens + (k ? 0 : n - 1);
        cluster->width = narrow > least ? narrow : least;
    }
}

static int by_count(const void *a, const void *b, void *counts_)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    const int64_t *counts = counts_;
    if (counts[x] != counts[y])
        return counts[x] < counts[y] ? 1 : -1;
    return (x > y) - (x < y);
}

void clusters_order(const struct frequency *frequency, int32_t *order)
{
    for (int i = 0; i < frequency->vocab; i++)
        order[i] = i;
    qsort_r(order, (size_t)frequency->vocab, sizeof *order, by_count, frequency->counts);
}

int clusters_rank(const struct frequency *frequency, int32_t token)
{
    const int64_t *counts = frequency->counts;
    int rank = 0;
    for (int32_t i = 0; i < frequency->vocab; i++)
        rank += counts[i] > counts[token] || (counts[i] == counts[token] && i < token);
    return rank;
}

int clusters_find(const struct clusters *clusters, int rank)
{
    int k = clusters->n - 1;
    while (k > 0 && rank < clusters->cluster[k].first)
        k--;
    return k;
}
