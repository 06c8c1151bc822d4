/* model: see model.h. GPT-2's forward and backward pass, layer by layer in backend operations. The
 * sequence of operations never depends on data, so a backend may record it once and replay it.
 * Inputs and results of a step pass through its slot of the backend's ring, which is a copy of the
 * first buffers of lab/memory at the same offsets. Parameters are found by their index in
 * lab/shapes' table, buffers by lab/memory's. One thread. */
#include "gpu/model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/model_internal.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/model_update.h"

/* A layer's tensors, in the order of lab/shapes. */
enum layer_tensor {
    LN1_GAIN,
    LN1_BIAS,
    QKV_WEIGHT,
    QKV_BIAS,
    OUT_WEIGHT,
    OUT_BIAS,
    LN2_GAIN,
    LN2_BIAS,
    FC_WEIGHT,
    FC_BIAS,
    PROJ_WEIGHT,
    PROJ_BIAS,
    LAYER_TENSORS
};

enum { FIRST_LAYER = 2 }; /* layers follow WTE and WPE */

enum { PASSES = MODEL_GRADIENT | MODEL_FORWARD };

static int layer_tensor(int layer, enum layer_tensor which)
{
    return FIRST_LAYER + layer * LAYER_TENSORS + (int)which;
}

/* ---- opening ---- */

static void read_spec(struct model *m, const struct spec *spec, int vocab)
{
    m->B = spec->train.batch_size;
    m->T = spec->model.seq_len;
    m->N = m->B * m->T;
    m->C = spec->model.d_model;
    m->L = spec->model.n_layers;
    m->NH = spec->model.n_heads;
    m->M = m->groups->n_tokens;
    m->G = m->groups->n;
    m->V = vocab;
    m->lm_head.clusters = &m->shapes.clusters;
    m->Vp = m->shapes.vocab_padded;
    m->logit_scale = spec->model.logit_scale;
    m->class_weight = spec->loss.class_weight;
    m->logit_adjustment = spec->loss.logit_adjustment;
    m->label_smoothing = spec->loss.label_smoothing;
    m->z_loss = spec->loss.z_loss;
    m->has_objective = !spec_objective_is_loss(spec);
    m->init_std = spec->model.init_std;
    m->position_std = spec->model.position_std;
    m->tie = spec->model.tie;
    m->activation = spec->model.activation;
    m->optimizer = spec->train.optimizer;
    m->lr = spec->train.lr;
    m->beta1 = spec->train.beta1;
    m->beta2 = spec->train.beta2;
    m->eps = spec->train.eps;
    m->momentum = spec->train.momentum;
    m->weight_decay = spec->train.weight_decay;
    m->decay_embeddings = spec->train.decay_embeddings;
    m->grad_clip = spec->train.grad_clip;
    m->seed = spec_seed_weights(spec);

    m->lnf_gain = layer_tensor(m->L, 0);
    m->lnf_bias = m->lnf_gain + 1;
    m->unembedding = m->tie == TIE_TIED ? WTE : m->lnf_bias + 1;
    m->head_bias = spec->model.head_bias ? m->shapes.n_tensors - 1 : -1;
}

/* The order of lab/shapes' table is a contract; a violation is a bug of this program. */
static int check_tensors(const struct model *m, struct err *err)
{
    static const struct {
        enum layer_tensor which;
        enum shapes_kind kind;
    } expected[] = {{LN1_GAIN, SHAPES_GAIN},     {QKV_WEIGHT, SHAPES_WEIGHT},
                    {OUT_WEIGHT, SHAPES_WEIGHT}, {LN2_GAIN, SHAPES_GAIN},
                    {FC_WEIGHT, SHAPES_WEIGHT},  {PROJ_WEIGHT, SHAPES_WEIGHT},
                    {PROJ_BIAS, SHAPES_BIAS}};
    const struct shapes_tensor *t = m->shapes.tensor;
    const int further = m->lm_head.clusters->n - 1;
    int wanted = FIRST_LAYER + m->L * LAYER_TENSORS + 2 + (m->tie != TIE_TIED) + 2 * further +
                 (m->head_bias >= 0);
    int good = m->shapes.n_tensors == wanted && t[WTE].kind == SHAPES_TOKEN_EMBEDDING &&
               t[WPE].kind == SHAPES_POSITION_EMBEDDING && t[m->lnf_gain].kind == SHAPES_GAIN &&
               (m->tie == TIE_TIED || t[m->unembedding].kind == SHAPES_UNEMBEDDING) &&
               (m->head_bias < 0 || t[m->head_bias].kind == SHAPES_HEAD_BIAS);
    for (int k = 1; good && k <= further; k++)
        good = t[m->unembedding + 2 * k - 1].kind == SHAPES_WEIGHT &&
               t[m->unembedding + 2 * k].kind == SHAPES_UNEMBEDDING;
    for (int l = 0; good && l < m->L; l++)
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
            good = good && t[layer_tensor(l, expected[i].which)].kind == expected[i].kind;
    return good ? 0 : err_set(err, ERR_INTERNAL, "the table of tensors is not GPT-2's");
}

/* Check the total before the parts are allocated: memory that was never written counts as
 * available, so each part may fit where their sum does not. The host also needs the ring and, to
 * save the state, one part of it at a time; a card's libraries allocate more during the first
 * steps. */
static int check_room(const struct model *m, struct err *err)
{
    const int64_t there = m->backend->available(m->backend);
    const int64_t part = m->shapes.n_parameters * (int64_t)sizeof(float);
    const int64_t of_host = m->backend->on_host ? part + m->backend->slots * m->plan.slot : 0;
    const int64_t beside = of_host + m->backend->reserve;
    if (m->plan.total + beside <= there)
        return 0;
    return err_set(err, ERR_NO_MEMORY,
                   "the job needs %lld bytes on %s and %lld beside them %s, %lld are there",
                   (long long)m->plan.total, m->backend->name, (long long)beside,
                   m->backend->on_host ? "for its batches and to save its state"
                                       : "for the recorded programs of a step",
                   (long long)there);
}

static int allocate_device(struct model *m, struct err *err)
{
    const struct {
        void **memory;
        int64_t bytes;
        const char *what;
    } wanted[] = {{&m->parameters, m->plan.parameters, "parameters"},
                  {&m->copy, m->plan.copy, "the copy of the parameters"},
                  {&m->gradients, m->plan.gradients, "gradients"},
                  {&m->moments, m->plan.moments, "moments"},
                  {&m->activations, m->plan.activations, "activations"}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (wanted[i].bytes == 0)
            continue;
        *wanted[i].memory = m->backend->alloc(m->backend, wanted[i].bytes, err);
        if (!*wanted[i].memory)
            return err_prefix(err, "%s of a job of %lld bytes", wanted[i].what,
                              (long long)m->plan.total);
    }
    return 0;
}

/* The arrays of the observation lie in one block, in this order. */
static int allocate_observation(struct model *m, struct err *err)
{
    enum { ABSENT = -1 };
    struct model_observation *o = &m->observation;
    const int64_t N = m->N, M = m->M, C = m->C, K = m->lm_head.clusters->n;
    const struct {
        const double **at;
        int64_t n;
    } arrays[] = {{&o->losses, N},
                  {&o->lse, K * N},
                  {&o->objective, m->has_objective ? N : ABSENT},
                  {&o->h_sums, (m->B + m->G) * C},
                  {&o->mean_p, M},
                  {&o->part_norms, BACKEND_PARTS * M},
                  {&o->output_bias, M},
                  {&o->output_rows, M * C},
                  {&o->input_rows, m->tie == TIE_TIED ? ABSENT : M * C}};
    enum { ARRAYS = sizeof arrays / sizeof *arrays };
    int64_t total = 0;
    for (int i = 0; i < ARRAYS; i++)
        total += arrays[i].n == ABSENT ? 0 : arrays[i].n;
    m->host = calloc((size_t)total, sizeof *m->host);
    if (!m->host)
        return err_set(err, ERR_NO_MEMORY, "no memory for the statistics of %d positions", m->N);
    int64_t first = 0;
    for (int i = 0; i < ARRAYS; i++) {
        *arrays[i].at = arrays[i].n == ABSENT ? NULL : m->host + first;
        first += arrays[i].n == ABSENT ? 0 : arrays[i].n;
    }
    m->host_losses = m->host; /* the first of them */
    return 0;
}

/* The fields of the observation that are the same in every step. */
static void describe_observation(struct model *m)
{
    struct model_observation *o = &m->observation;
    o->B = m->B;
    o->T = m->T;
    o->N = m->N;
    o->C = m->C;
    o->M = m->M;
    o->G = m->G;
    o->V = m->V;
    o->K = m->lm_head.clusters->n;
    o->cluster_of = m->lm_head.cluster_of;
    o->scores = m->host_scores;
    o->logit_scale = m->logit_scale;
}

/* Allocate everything that the host needs, so that no step allocates. */
static int allocate_host(struct model *m, struct err *err)
{
    m->in_group = calloc((size_t)m->V, 1);
    m->host_scores = malloc((size_t)m->V * sizeof *m->host_scores);
    m->host_outputs = malloc((size_t)m->plan.bytes[MEMORY_SCORES]);
    if (!m->host_scores || !m->host_outputs || !m->in_group)
        return err_set(err, ERR_NO_MEMORY, "no memory for the scores of %d tokens", m->V);
    if (allocate_observation(m, err) != 0)
        return -1;
    describe_observation(m);
    for (int g = 0; g < m->G; g++)
        for (int i = 0; i < m->groups->group[g].n; i++)
            m->in_group[m->groups->group[g].ids[i]] |= (unsigned char)(1u << g);
    m->ring = m->backend->ring_open(m->backend, m->plan.slot, err);
    return m->ring ? 0 : -1;
}

/* Requests that no allocation can satisfy, so that they fail before one is tried. */
static int check_request(const struct spec *spec, int vocab, const struct groups *groups,
                         const struct backend *backend, struct err *err)
{
    static_assert(SPEC_GROUPS_MAX <= 8, "in_group holds a bit for each group in a byte");
    if (spec->train.precision != PRECISION_AUTO && spec->train.precision != backend->precision)
        return err_set(err, ERR_UNAVAILABLE, "precision %s is not available on backend %s (%s)",
                       spec_precision_name(spec->train.precision), backend->name,
                       spec_precision_name(backend->precision));
    const int head = spec->model.d_model / spec->model.n_heads;
    if (backend->head_max > 0 && head > backend->head_max)
        return err_set(err, ERR_UNAVAILABLE,
                       "attention heads of %d numbers: backend %s computes at most %d", head,
                       backend->name, backend->head_max);
    if (vocab < 1)
        return err_set(err, ERR_INVALID, "a vocabulary of %d tokens", vocab);
    const int cutoffs = spec->model.n_cutoffs;
    if (cutoffs > 0 && spec->model.cutoffs[cutoffs - 1] >= vocab)
        return err_set(err, ERR_INVALID, "a cutoff of %d in a vocabulary of %d tokens",
                       spec->model.cutoffs[cutoffs - 1], vocab);
    for (int i = 0; i < groups->n_tokens; i++)
        if (groups->tokens[i] < 0 || groups->tokens[i] >= vocab)
            return err_set(err, ERR_INVALID, "tracked token %d is outside the vocabulary of %d",
                           (int)groups->tokens[i], vocab);
    return 0;
}

int model_open(const struct spec *spec, int vocab, const struct groups *groups,
               struct backend *backend, struct model **out, struct err *err)
{
    if (check_request(spec, vocab, groups, backend, err) != 0)
        return -1;
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, ERR_NO_MEMORY, "no memory for a model");
    m->backend = backend;
    m->groups = groups;
    if (shapes_build(spec, vocab, &m->shapes, err) != 0) {
        free(m);
        return -1;
    }
    read_spec(m, spec, vocab);
    memory_plan(spec, &m->shapes, m->G, m->M, (int)backend->real_bytes, (int)backend->act_bytes,
                backend->lm_head_chunk, &m->plan);
    if (check_tensors(m, err) != 0 || check_room(m, err) != 0 || allocate_device(m, err) != 0 ||
        model_lm_head_open(m, err) != 0 || allocate_host(m, err) != 0) {
        model_close(m);
        return -1;
    }
    *out = m;
    return 0;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    m->backend->ring_close(m->backend, m->ring);
    m->backend->free(m->backend, m->parameters);
    m->backend->free(m->backend, m->copy);
    m->backend->free(m->backend, m->gradients);
    m->backend->free(m->backend, m->moments);
    m->backend->free(m->backend, m->activations);
    model_lm_head_close(m);
    shapes_free(&m->shapes);
    free(m->host);
    free(m->host_scores);
    free(m->host_outputs);
    free(m->in_group);
    free(m);
}

/* ---- progress ---- */

void model_on_progress(struct model *m, void (*progress)(void *self), void *self)
{
    m->progress = progress;
    m->progress_self = self;
}

static void show_progress(const struct model *m)
{
    if (m->progress)
        m->progress(m->progress_self);
}

/* ---- forward ---- */

/* Residual stream before layernorm `norm` (0 .. 2L): two norms a layer, then the final one.
 * Outputs, means and rstds of the norms have the same numbering. */
static void *residual(const struct model *m, int norm)
{
    return act_buffer(m, MEMORY_RESIDUAL, (int64_t)norm * m->N * m->C);
}

static void *normed(const struct model *m, int norm)
{
    return act_buffer(m, MEMORY_NORMED, (int64_t)norm * m->N * m->C);
}

/* Tensor of a norm's gains; the next tensor holds its biases. */
static int norm_gain(const struct model *m, int norm)
{
    if (norm == 2 * m->L)
        return m->lnf_gain;
    return layer_tensor(norm / 2, norm % 2 ? LN2_GAIN : LN1_GAIN);
}

static void norm_forward(struct model *m, int norm, int gain)
{
    m->backend->layernorm_forward(
        m->backend, normed(m, norm), real_buffer(m, MEMORY_MEANS, (int64_t)norm * m->N),
        real_buffer(m, MEMORY_RSTDS, (int64_t)norm * m->N), residual(m, norm), parameter(m, gain),
        parameter(m, gain + 1), m->N, m->C);
}

/* The same, fused with the residual addition: the sum of the stream before it and a branch becomes
 * the stream before `norm`. */
static void add_norm_forward(struct model *m, int norm, int gain, const void *branch)
{
    m->backend->add_layernorm_forward(m->backend, residual(m, norm), normed(m, norm),
                                      real_buffer(m, MEMORY_MEANS, (int64_t)norm * m->N),
                                      real_buffer(m, MEMORY_RSTDS, (int64_t)norm * m->N),
                                      residual(m, norm - 1), branch, parameter(m, gain),
                                      parameter(m, gain + 1), m->N, m->C);
}

static void linear_forward(struct model *m, void *out, const void *x, int tensor, int I, int O)
{
    m->backend->matmul_forward(m->backend, out, x, weight(m, tensor), weight(m, tensor + 1), m->N,
                               I, O);
}

/* One layer. On entry its first norm is computed; on return the first norm of the next layer is. */
static void layer_forward(struct model *m, int layer)
{
    struct backend *be = m->backend;
    const int C = m->C, norm1 = 2 * layer, norm2 = norm1 + 1;
    const int64_t NC = (int64_t)m->N * C;
    void *qkv = act_buffer(m, MEMORY_QKV, layer * 3 * NC);
    void *attended = act_buffer(m, MEMORY_ATTENDED, layer * NC);
    void *hidden = act_buffer(m, MEMORY_HIDDEN, layer * 4 * NC);
    void *active = act_buffer(m, MEMORY_ACTIVE, layer * 4 * NC);
    void *lse = real_buffer(m, MEMORY_ATTENTION_LSE, (int64_t)layer * m->N * m->NH);
    void *branch = buffer(m, MEMORY_BRANCH);

    linear_forward(m, qkv, normed(m, norm1), layer_tensor(layer, QKV_WEIGHT), C, 3 * C);
    be->attention_forward(be, attended, lse, qkv, m->B, m->T, C, m->NH);
    linear_forward(m, branch, attended, layer_tensor(layer, OUT_WEIGHT), C, C);
    add_norm_forward(m, norm2, layer_tensor(layer, LN2_GAIN), branch);

    const int fc = layer_tensor(layer, FC_WEIGHT);
    be->matmul_activation_forward(be, active, hidden, normed(m, norm2), weight(m, fc),
                                  weight(m, fc + 1), m->N, C, 4 * C, m->activation);
    linear_forward(m, branch, active, layer_tensor(layer, PROJ_WEIGHT), 4 * C, C);
    add_norm_forward(m, norm2 + 1, norm_gain(m, norm2 + 1), branch);
}

static void forward(struct model *m)
{
    m->backend->embedding_forward(m->backend, residual(m, 0), parameter(m, WTE), parameter(m, WPE),
                                  buffer(m, MEMORY_INPUTS), m->B, m->T, m->C);
    norm_forward(m, 0, norm_gain(m, 0));
    for (int layer = 0; layer < m->L; layer++) {
        show_progress(m);
        layer_forward(m, layer);
    }
}

/* ---- backward ---- */

/* Gradient of dout through layernorm `norm`. The final norm writes the gradient of the residual
 * stream, the others add to it. */
static void norm_backward(struct model *m, int norm, int gain, const void *dout)
{
    void *stream = buffer(m, MEMORY_GRADIENT);
    m->backend->layernorm_backward(m->backend, stream, gradient(m, gain), gradient(m, gain + 1),
                                   dout, norm == 2 * m->L ? NULL : stream, residual(m, norm),
                                   real_buffer(m, MEMORY_MEANS, (int64_t)norm * m->N),
                                   real_buffer(m, MEMORY_RSTDS, (int64_t)norm * m->N),
                                   parameter(m, gain), m->N, m->C);
}

static void linear_backward(struct model *m, void *dx, const void *dout, const void *x, int tensor,
                            int I, int O)
{
    m->backend->matmul_backward_weight(m->backend, gradient(m, tensor), gradient(m, tensor + 1), x,
                                       dout, m->N, I, O);
    m->backend->matmul_backward_input(m->backend, dx, dout, weight(m, tensor), m->N, I, O);
}

static void layer_backward(struct model *m, int layer)
{
    struct backend *be = m->backend;
    const int C = m->C, norm1 = 2 * layer, norm2 = norm1 + 1;
    const int64_t NC = (int64_t)m->N * C;
    const void *qkv = act_buffer(m, MEMORY_QKV, layer * 3 * NC);
    const void *attended = act_buffer(m, MEMORY_ATTENDED, layer * NC);
    const void *hidden = act_buffer(m, MEMORY_HIDDEN, layer * 4 * NC);
    const void *active = act_buffer(m, MEMORY_ACTIVE, layer * 4 * NC);
    const void *lse = real_buffer(m, MEMORY_ATTENTION_LSE, (int64_t)layer * m->N * m->NH);
    void *stream = buffer(m, MEMORY_GRADIENT);
    void *branch = buffer(m, MEMORY_BRANCH), *wide = buffer(m, MEMORY_WIDE);

    const int proj = layer_tensor(layer, PROJ_WEIGHT);
    be->matmul_backward_weight(be, gradient(m, proj), gradient(m, proj + 1), active, stream, m->N,
                               4 * C, C);
    be->matmul_activation_backward(be, wide, stream, weight(m, proj), hidden, m->N, 4 * C, C,
                                   m->activation);
    linear_backward(m, branch, wide, normed(m, norm2), layer_tensor(layer, FC_WEIGHT), C, 4 * C);
    norm_backward(m, norm2, layer_tensor(layer, LN2_GAIN), branch);

    linear_backward(m, branch, stream, attended, layer_tensor(layer, OUT_WEIGHT), C, C);
    be->attention_backward(be, wide, branch, qkv, attended, lse, m->B, m->T, C, m->NH);
    linear_backward(m, branch, wide, normed(m, norm1), layer_tensor(layer, QKV_WEIGHT), C, 3 * C);
    norm_backward(m, norm1, layer_tensor(layer, LN1_GAIN), branch);
}

static void backward(struct model *m)
{
    norm_backward(m, 2 * m->L, m->lnf_gain, buffer(m, MEMORY_BRANCH));
    for (int layer = m->L - 1; layer >= 0; layer--) {
        show_progress(m);
        layer_backward(m, layer);
    }
    /* Tied, the output layer has written this gradient already. */
    if (m->tie != TIE_TIED)
        m->backend->zero(m->backend, gradient(m, WTE),
                         (int64_t)m->Vp * m->C * (int64_t)m->backend->real_bytes);
    m->backend->embedding_backward(m->backend, gradient(m, WTE), gradient(m, WPE),
                                   buffer(m, MEMORY_GRADIENT), buffer(m, MEMORY_INPUTS), m->B, m->T,
                                   m->C);
}

/* ---- host side of a step ---- */

static void feed(struct model *m, enum memory_buffer first, enum memory_buffer last)
{
    const int64_t begin = m->plan.offset[first], end = m->plan.offset[last] + m->plan.bytes[last];
    m->backend->feed(m->backend, m->ring, buffer(m, first), begin, end - begin);
}

static void publish(struct model *m, enum memory_buffer first, enum memory_buffer last)
{
    const int64_t begin = m->plan.offset[first], end = m->plan.offset[last] + m->plan.bytes[last];
    m->backend->publish(m->backend, m->ring, begin, buffer(m, first), end - begin);
}

/* Address of a buffer's copy in the slot of step `index`. */
static void *in_slot(const struct model *m, int64_t index, enum memory_buffer which)
{
    assert(which < MEMORY_SLOT);
    return backend_slot(m->ring, index) + m->plan.offset[which];
}

static void put_real(const struct model *m, void *reals, int64_t i, double value)
{
    if (m->backend->real_bytes == sizeof(double))
        ((double *)reals)[i] = value;
    else
        ((float *)reals)[i] = (float)value;
}

static void get_reals(const struct model *m, int64_t index, enum memory_buffer which, double *out,
                      int64_t n)
{
    const void *reals = in_slot(m, index, which);
    for (int64_t i = 0; i < n; i++)
        out[i] = model_real(m, reals, i);
}

/* Learning rate, and Adam's bias corrections in float64 (Kingma & Ba 2015, section 3). */
static void give_scalars(struct model *m, int64_t index, int64_t update)
{
    const double scalars[3] = {m->lr, 1 - pow(m->beta1, (double)update),
                               1 - pow(m->beta2, (double)update)};
    for (int i = 0; i < 3; i++)
        put_real(m, in_slot(m, index, MEMORY_SCALARS), i, scalars[i]);
}

/* The weights of group g select the positions whose input token is not in the group. */
static void give_batch(struct model *m, int64_t index, unsigned what, const int32_t *inputs,
                       const int32_t *targets)
{
    memcpy(in_slot(m, index, MEMORY_INPUTS), inputs, (size_t)m->N * sizeof *inputs);
    memcpy(in_slot(m, index, MEMORY_TARGETS), targets, (size_t)m->N * sizeof *targets);
    model_lm_head_targets(m, targets, in_slot(m, index, MEMORY_CLUSTER_TARGETS));
    void *weights = in_slot(m, index, MEMORY_GROUP_WEIGHTS);
    for (int g = 0; g < m->G && what & MODEL_OBSERVE; g++)
        for (int n = 0; n < m->N; n++)
            put_real(m, weights, (int64_t)g * m->N + n, !(m->in_group[inputs[n]] >> g & 1));
}

/* The observation is read-only for everyone but its owner. */
static double *writable(const double *numbers)
{
    return (double *)(uintptr_t)numbers;
}

/* Results that exist only after a step with a gradient. */
static void get_gradient(struct model *m, int64_t index)
{
    struct model_observation *o = &m->observation;
    double squares;
    model_lm_head_norms(m, in_slot(m, index, MEMORY_PART_NORMS), writable(o->part_norms));
    model_lm_head_scores(m, in_slot(m, index, MEMORY_SCORES), m->host_scores);
    get_reals(m, index, MEMORY_SQUARES, &squares, 1);
    o->scores = m->host_scores;
    o->grad_norm = sqrt(squares);
}

/* Their values after a step without one. */
static void forget_gradient(struct model_observation *o)
{
    o->scores = NULL;
    o->grad_norm = NAN;
    for (int i = 0; i < BACKEND_PARTS * o->M; i++)
        writable(o->part_norms)[i] = NAN;
}

static void get_observation(struct model *m, int64_t index, unsigned what)
{
    struct model_observation *o = &m->observation;
    model_lm_head_lse(m, in_slot(m, index, MEMORY_LSE), writable(o->lse));
    if (m->has_objective)
        model_lm_head_objective(m, in_slot(m, index, MEMORY_OBJECTIVE), writable(o->objective));
    model_lm_head_rows(m, in_slot(m, index, MEMORY_MEAN_P), 1, writable(o->mean_p));
    model_lm_head_rows(m, in_slot(m, index, MEMORY_OUTPUT_ROWS), m->C, writable(o->output_rows));
    if (m->head_bias >= 0)
        model_lm_head_rows(m, in_slot(m, index, MEMORY_OUTPUT_BIAS), 1, writable(o->output_bias));
    if (o->input_rows)
        model_lm_head_rows(m, in_slot(m, index, MEMORY_INPUT_ROWS), m->C, writable(o->input_rows));
    get_reals(m, index, MEMORY_H_SUMS, writable(o->h_sums), (int64_t)(m->B + m->G) * m->C);
    if (what & MODEL_GRADIENT)
        get_gradient(m, index);
    else
        forget_gradient(o);
}

/* Summed on the host in float64 and in the order of positions. */
static double mean_loss(struct model *m, int64_t index)
{
    double sum = 0;
    model_lm_head_losses(m, in_slot(m, index, MEMORY_LOSSES), in_slot(m, index, MEMORY_TARGETS),
                         m->host_losses);
    for (int n = 0; n < m->N; n++)
        sum += m->host_losses[n];
    return sum / m->N;
}

/* ---- observation ---- */

/* Queue the statistics of the observation. Reads only buffers of the training itself. */
static void observe(struct model *m, unsigned what)
{
    struct backend *be = m->backend;
    const void *h = final_hidden(m);
    be->window_sums(be, buffer(m, MEMORY_H_SUMS), h, m->B, m->T, m->C);
    be->weighted_sums(be, real_buffer(m, MEMORY_H_SUMS, (int64_t)m->B * m->C),
                      buffer(m, MEMORY_GROUP_WEIGHTS), h, m->G, m->N, m->C);
    if (m->tie != TIE_TIED)
        be->gather_rows(be, buffer(m, MEMORY_INPUT_ROWS), parameter(m, WTE),
                        buffer(m, MEMORY_TRACKED), m->M, m->C);
    model_lm_head_observe(m, what);
}

/* ---- a step ---- */

/* Queue the operations of a step; they depend on `what` alone. */
static void issue(struct model *m, unsigned what)
{
    const int observed = (what & MODEL_OBSERVE) != 0;
    const int backwards = (what & MODEL_GRADIENT) != 0;
    const int clips = backwards && m->grad_clip > 0, updates = (what & MODEL_UPDATE) != 0;
    feed(m, MEMORY_SCALARS,
         observed        ? MEMORY_GROUP_WEIGHTS
         : what & PASSES ? MEMORY_CLUSTER_TARGETS
                         : MEMORY_SCALARS);
    if (what & PASSES) {
        forward(m);
        model_lm_head_run(m, what);
        if (observed)
            observe(m, what);
        /* Before backward, so that a backend may copy these results while backward runs. */
        publish(m, MEMORY_LOSSES,
                !observed   ? MEMORY_LOSSES
                : backwards ? MEMORY_SCORES
                            : MEMORY_INPUT_ROWS);
        if (backwards)
            backward(m);
        if (observed)
            model_lm_head_observe_tracked(m, what);
        /* Clipping needs the norm before the update, and without an update nothing else computes it.
         * Otherwise the update computes it in its own pass, which saves one over the gradients. */
        if (clips || (backwards && observed && !updates))
            model_gradient_norm(m);
    }
    if (updates)
        model_update_all(m, observed && !clips);
    if (observed)
        publish(m, MEMORY_MEAN_P, backwards ? MEMORY_SQUARES : MEMORY_MEAN_P);
}

static int check_ids(const struct model *m, const int32_t *ids, const char *what, struct err *err)
{
    for (int n = 0; n < m->N; n++)
        if (ids[n] < 0 || ids[n] >= m->V)
            return err_set(err, ERR_INVALID,
                           "%s %d of the batch is %d, outside the vocabulary of %d", what, n,
                           (int)ids[n], m->V);
    return 0;
}

int model_submit(struct model *m, unsigned what, const int32_t *inputs, const int32_t *targets,
                 int64_t update, struct err *err)
{
    static_assert((MODEL_FORWARD | MODEL_OBSERVE | MODEL_UPDATE) < BACKEND_PROGRAMS, "numbers");
    const int64_t index = m->ring->started;
    assert(model_in_flight(m) < model_depth(m));
    assert(what & (PASSES | MODEL_UPDATE) && (what & PASSES || !(what & MODEL_OBSERVE)));
    assert(!(what & MODEL_FORWARD) || !(what & (MODEL_GRADIENT | MODEL_UPDATE)));
    assert(update >= 1 || !(what & MODEL_UPDATE));
    assert(m->lm_head.is_ordered);
    if (what & PASSES) {
        if (check_ids(m, inputs, "input", err) != 0 || check_ids(m, targets, "target", err) != 0)
            return -1;
        give_batch(m, index, what, inputs, targets);
    }
    if (what & MODEL_UPDATE)
        give_scalars(m, index, update);
    m->what[index % m->ring->slots] = what;
    do {
        if (m->backend->program_begin(m->backend, m->ring, (int)what))
            issue(m, what);
    } while (m->backend->program_end(m->backend, m->ring, (int)what));
    return 0;
}

int model_collect(struct model *m, struct model_result *result, struct err *err)
{
    const int64_t index = m->collected;
    const unsigned what = m->what[index % m->ring->slots];
    assert(model_in_flight(m) > 0);
    m->collected++; /* also if the step failed */
    if (m->backend->ring_wait(m->backend, m->ring, index, err) != 0)
        return -1;
    *result = (struct model_result){.loss = NAN};
    if (!(what & PASSES))
        return 0;
    result->loss = mean_loss(m, index);
    result->losses = m->host_losses;
    result->inputs = in_slot(m, index, MEMORY_INPUTS);
    result->targets = in_slot(m, index, MEMORY_TARGETS);
    if (what & MODEL_OBSERVE) {
        get_observation(m, index, what);
        result->observation = &m->observation;
    }
    return 0;
}

int model_depth(const struct model *m)
{
    return m->ring->slots;
}

static int run_pass(struct model *m, unsigned pass, const int32_t *inputs, const int32_t *targets,
                    double *loss, const struct model_observation **observation, struct err *err)
{
    struct model_result result;
    assert(model_in_flight(m) == 0);
    if (model_submit(m, observation ? pass | MODEL_OBSERVE : pass, inputs, targets, 0, err) != 0 ||
        model_collect(m, &result, err) != 0)
        return -1;
    if (loss)
        *loss = result.loss;
    if (observation)
        *observation = result.observation;
    return 0;
}

int model_gradient(struct model *m, const int32_t *inputs, const int32_t *targets, double *loss,
                   const struct model_observation **observation, struct err *err)
{
    return run_pass(m, MODEL_GRADIENT, inputs, targets, loss, observation, err);
}

int model_evaluate(struct model *m, const int32_t *inputs, const int32_t *targets, double *loss,
                   const struct model_observation **observation, struct err *err)
{
    return run_pass(m, MODEL_FORWARD, inputs, targets, loss, observation, err);
}

int model_update(struct model *m, int64_t update, struct err *err)
{
    struct model_result result;
    assert(model_in_flight(m) == 0);
    return model_submit(m, MODEL_UPDATE, NULL, NULL, update, err) == 0 &&
                   model_collect(m, &result, err) == 0
               ? 0
               : -1;
}

int model_hidden(struct model *m, int position, double *h, struct err *err)
{
    const int64_t row = (int64_t)2 * m->L * m->N + position;
    assert(position >= 0 && position < m->N && model_in_flight(m) == 0);
    return m->backend->download(m->backend, h, NUMBER_DOUBLE,
                                act_buffer(m, MEMORY_NORMED, row * m->C), NUMBER_ACT, m->C, err);
}

/* ---- properties ---- */

const struct shapes *model_shapes(const struct model *m)
{
    return &m->shapes;
}

int64_t model_bytes(const struct model *m)
{
    return m->plan.total;
}
