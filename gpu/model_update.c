/* model_update: see model_update.h. The optimiser runs range by range: neighbouring tensors with
 * equal decay form one range, so without exceptions the whole model is one pass. The gradient's
 * norm is summed over the same ranges, so it has the same bits whether the update computes it or a
 * separate pass. One thread. */
#include "gpu/model_update.h"

#include "gpu/model_internal.h"

/* Weight decay of a tensor: embeddings are exempt if the spec says so. */
static double decay_of(const struct model *m, int tensor)
{
    static const int embedding[] = {
        [SHAPES_TOKEN_EMBEDDING] = 1,
        [SHAPES_POSITION_EMBEDDING] = 1,
        [SHAPES_WEIGHT] = 0,
        [SHAPES_BIAS] = 0,
        [SHAPES_GAIN] = 0,
        [SHAPES_UNEMBEDDING] = 1,
        [SHAPES_HEAD_BIAS] = 0,
    };
    int spared = embedding[m->shapes.tensor[tensor].kind] && !m->decay_embeddings;
    return spared ? 0 : m->weight_decay;
}

void *model_moment(const struct model *m, int which, int64_t offset)
{
    if (which >= m->plan.n_moments)
        return NULL;
    return backend_at(m->backend, m->moments, NUMBER_REAL, which * m->shapes.n_parameters + offset);
}

/* Parameters [first, end) with equal decay. */
struct range {
    int tensor; /* the first one behind the range */
    int64_t first, end;
    double decay;
};

/* Advance `range` (initially {0}) to the next range; 0 behind the last one. */
static int next_range(const struct model *m, struct range *range)
{
    const int n = m->shapes.n_tensors;
    if (range->tensor == n)
        return 0;
    range->first = m->shapes.tensor[range->tensor].offset;
    range->decay = decay_of(m, range->tensor);
    while (range->tensor < n && decay_of(m, range->tensor) == range->decay)
        range->tensor++;
    range->end =
        range->tensor < n ? m->shapes.tensor[range->tensor].offset : m->shapes.n_parameters;
    return 1;
}

/* sum_squares and the update add to MEMORY_SQUARES. */
static void forget_norm(struct model *m)
{
    m->backend->zero(m->backend, buffer(m, MEMORY_SQUARES), (int64_t)m->backend->real_bytes);
}

void model_gradient_norm(struct model *m)
{
    struct backend *be = m->backend;
    forget_norm(m);
    for (struct range range = {0}; next_range(m, &range);)
        be->sum_squares(be, buffer(m, MEMORY_SQUARES),
                        backend_at(be, m->gradients, NUMBER_REAL, range.first),
                        range.end - range.first);
}

static void update_range(struct model *m, const struct range *range, int sums)
{
    const int64_t first = range->first;
    const struct backend_update update = {
        .kind = m->optimizer,
        .beta1 = m->beta1,
        .beta2 = m->beta2,
        .eps = m->eps,
        .momentum = m->momentum,
        .decay = range->decay,
        .clip = m->grad_clip,
        .squares = buffer(m, MEMORY_SQUARES),
        .summed = sums ? buffer(m, MEMORY_SQUARES) : NULL,
        .scalars = buffer(m, MEMORY_SCALARS),
    };
    struct backend *be = m->backend;
    be->update(be, &update, backend_at(be, m->parameters, NUMBER_REAL, first),
               m->copy ? backend_at(be, m->copy, NUMBER_ACT, first) : NULL,
               backend_at(be, m->gradients, NUMBER_REAL, first), model_moment(m, 0, first),
               model_moment(m, 1, first), range->end - first);
}

void model_update_all(struct model *m, int sums)
{
    if (sums)
        forget_norm(m);
    for (struct range range = {0}; next_range(m, &range);)
        update_range(m, &range, sums);
}
