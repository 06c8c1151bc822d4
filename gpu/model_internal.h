/* model_internal: the state of a model and the addresses of its tensors and buffers, shared by
 * model.c (layers, steps), model_lm_head.c (everything behind the final layernorm),
 * model_update.c (optimiser, gradient norm) and model_state.c (weights and moments between
 * steps). model.c calls the other three, and none of them calls back. Included by these four
 * alone. */
#ifndef TOKENFATE_MODEL_INTERNAL_H
#define TOKENFATE_MODEL_INTERNAL_H

#include "gpu/model.h"

/* The first two tensors of the table: embeddings of tokens and of positions. */
enum { WTE, WPE };

/* The output layer. On the device the tracked tokens are ordered by cluster, so that those of a
 * cluster are one array; in the observation they are in the order of the groups. */
struct model_lm_head {
    const struct clusters *clusters; /* owned by the shapes */
    int n_tracked[CLUSTERS_MAX];     /* tracked tokens in each cluster */
    int *slot; /* [M] index in the observation of the i-th tracked token on the device */
    unsigned char *cluster_of; /* [V] */
    /* with an adaptive head only */
    int32_t *order;  /* [V] token of each rank */
    int32_t *rank;   /* [V] of each token */
    double *weights; /* [V] class weight of each target, 1 without class weights */
    int is_ordered;  /* the tokens have ranks, or need none */
};

struct model {
    struct backend *backend;
    struct shapes shapes;
    struct memory_plan plan;
    const struct groups *groups;

    int B, T, N, C, L, NH, M, G, V, Vp;
    double logit_scale, init_std, position_std;
    double class_weight, logit_adjustment, label_smoothing, z_loss;
    int has_objective; /* the objective differs from the plain loss */
    enum spec_tying tie;
    enum spec_activation activation;
    int lnf_gain, lnf_bias, unembedding, head_bias; /* tensor indices; head_bias -1: none */

    enum spec_optimizer optimizer;
    double lr, beta1, beta2, eps, momentum, weight_decay, grad_clip;
    int decay_embeddings;
    uint64_t seed;

    void *parameters, *copy, *gradients, *moments, *activations;

    struct backend_ring *ring;
    int64_t collected; /* steps collected; steps collected..ring->started - 1 are in flight */
    unsigned what[BACKEND_SLOTS_MAX]; /* passes of the step in each slot */

    struct model_observation observation;
    double *host;        /* one block behind all float64 arrays of the observation */
    double *host_losses; /* [N] */
    float *host_scores;  /* [V] */
    void *host_outputs;  /* REAL, as MEMORY_SCORES: for model_scores */
    struct model_lm_head lm_head;
    unsigned char *in_group; /* [V] bit g: the token is in group g */

    void (*progress)(void *self); /* NULL: none */
    void *progress_self;
};

/* ---- addresses ---- */

static inline void *buffer(const struct model *m, enum memory_buffer which)
{
    return (char *)m->activations + m->plan.offset[which];
}

static inline void *real_buffer(const struct model *m, enum memory_buffer which, int64_t offset)
{
    return backend_at(m->backend, buffer(m, which), NUMBER_REAL, offset);
}

static inline void *act_buffer(const struct model *m, enum memory_buffer which, int64_t offset)
{
    return backend_at(m->backend, buffer(m, which), NUMBER_ACT, offset);
}

static inline void *parameter(const struct model *m, int tensor)
{
    return backend_at(m->backend, m->parameters, NUMBER_REAL, m->shapes.tensor[tensor].offset);
}

static inline void *gradient(const struct model *m, int tensor)
{
    return backend_at(m->backend, m->gradients, NUMBER_REAL, m->shapes.tensor[tensor].offset);
}

/* A weight matrix or bias in the form that matrix products read. */
static inline void *weight(const struct model *m, int tensor)
{
    if (!m->copy)
        return parameter(m, tensor);
    return backend_at(m->backend, m->copy, NUMBER_ACT, m->shapes.tensor[tensor].offset);
}

/* Output of the final layernorm. */
static inline void *final_hidden(const struct model *m)
{
    return act_buffer(m, MEMORY_NORMED, (int64_t)2 * m->L * m->N * m->C);
}

static inline int is_adaptive(const struct model *m)
{
    return m->lm_head.clusters->n > 1;
}

/* Number i of REALs in host memory. */
static inline double model_real(const struct model *m, const void *reals, int64_t i)
{
    return m->backend->real_bytes == sizeof(double) ? ((const double *)reals)[i]
                                                    : (double)((const float *)reals)[i];
}

#endif
