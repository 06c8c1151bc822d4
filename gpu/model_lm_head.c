/* model_lm_head: see model_lm_head.h. The output layer is one softmax or, with an adaptive head
 * (Grave et al. 2017, lab/clusters.h), one softmax for each cluster; each is the backend's
 * `lm_head`. Cluster k > 0 uses its own projection of h at all positions. A position whose target
 * is in another cluster has weight 0 there, so it has no gradient. The full head is the case of one
 * cluster. The host adds up: the loss of a token of cluster k > 0 is the loss of its cluster's
 * entry in cluster 0 plus its own.
 *
 * With p the projection and w the weight row of a token i of cluster k > 0, and e the cluster's
 * entry row, log p(i) = s (p w + e) . h - lse_0 - lse_k. So p w + e is observed as its output row,
 * and measure.c knows nothing of projections. One thread. */
#include "gpu/model_lm_head.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/model_internal.h"
#include "gpu/model_state.h"
#include "lab/remedies.h"

/* ---- addresses ---- */

/* Tensors of cluster k, counted from the output layer's first tensor. */
static int projection_of(const struct model *m, int k)
{
    return m->unembedding + 2 * k - 1;
}

static int rows_of(const struct model *m, int k)
{
    return m->unembedding + 2 * k;
}

/* Tracked tokens before those of cluster k. */
static int64_t tracked_before(const struct model *m, int k)
{
    int64_t n = 0;
    while (k-- > 0)
        n += m->lm_head.n_tracked[k];
    return n;
}

/* Clusters behind the first. Among outputs, those of cluster 0 end with one entry for each of
 * them. */
static int further(const struct model *m)
{
    return m->lm_head.clusters->n - 1;
}

static int64_t outputs_before(const struct model *m, int k)
{
    return tracked_before(m, k) + (k ? further(m) : 0);
}

static int n_tracked_outputs(const struct model *m, int k)
{
    return m->lm_head.n_tracked[k] + (k ? 0 : further(m));
}

static int32_t *tracked_tokens(const struct model *m, int k)
{
    return (int32_t *)buffer(m, MEMORY_TRACKED) + tracked_before(m, k);
}

static int32_t *tracked_outputs(const struct model *m, int k)
{
    if (!is_adaptive(m))
        return tracked_tokens(m, k);
    return (int32_t *)buffer(m, MEMORY_TRACKED_OUTPUTS) + outputs_before(m, k);
}

static const int32_t *targets_of(const struct model *m, int k)
{
    if (!is_adaptive(m))
        return buffer(m, MEMORY_TARGETS);
    return (const int32_t *)buffer(m, MEMORY_CLUSTER_TARGETS) + (int64_t)k * m->N;
}

/* Summed widths of the projections before that of cluster k. */
static int64_t widths_before(const struct model *m, int k)
{
    int64_t n = 0;
    while (--k > 0)
        n += m->lm_head.clusters->cluster[k].width;
    return n;
}

/* Input of cluster k's matrix product. */
static void *hidden_of(const struct model *m, int k)
{
    return k ? act_buffer(m, MEMORY_PROJECTED, widths_before(m, k) * m->N) : final_hidden(m);
}

/* Gradients of a cluster's projection and of its share of h. They live in the buffer of the wide
 * layers' gradient, which is unused while the output layer runs. */
static void *branch_of_cluster(const struct model *m)
{
    return buffer(m, MEMORY_WIDE);
}

static void *projected_gradient(const struct model *m)
{
    return act_buffer(m, MEMORY_WIDE, (int64_t)m->N * m->C);
}

/* Buffers that exist only with a setting; NULL without it. */
static void *position_weights(const struct model *m, int k)
{
    return k || m->class_weight != 0 ? real_buffer(m, MEMORY_POSITION_WEIGHTS, (int64_t)k * m->N)
                                     : NULL;
}

static void *adjustment(const struct model *m)
{
    return m->logit_adjustment != 0 ? buffer(m, MEMORY_ADJUSTMENT) : NULL;
}

static void *objective_lse(const struct model *m)
{
    return m->logit_adjustment != 0 ? buffer(m, MEMORY_OBJECTIVE_LSE) : NULL;
}

/* ---- opening ---- */

static int open_clusters(struct model *m, struct err *err)
{
    struct model_lm_head *lm = &m->lm_head;
    struct backend *be = m->backend;
    lm->order = malloc((size_t)m->V * sizeof *lm->order);
    lm->rank = malloc((size_t)m->V * sizeof *lm->rank);
    lm->weights = malloc((size_t)m->V * sizeof *lm->weights);
    if (!lm->order || !lm->rank || !lm->weights)
        return err_set(err, ERR_NO_MEMORY, "no memory for the ranks of %d tokens", m->V);
    for (int v = 0; v < m->V; v++)
        lm->weights[v] = 1;
    be->upload(be, buffer(m, MEMORY_ONE), NUMBER_REAL, lm->weights, NUMBER_DOUBLE, 1);
    be->zero(be, buffer(m, MEMORY_NO_BIAS), m->plan.bytes[MEMORY_NO_BIAS]);
    return be->sync(be, err);
}

int model_lm_head_open(struct model *m, struct err *err)
{
    struct model_lm_head *lm = &m->lm_head;
    lm->slot = calloc((size_t)m->M + 1, sizeof *lm->slot);
    lm->cluster_of = calloc((size_t)m->V, sizeof *lm->cluster_of);
    if (!lm->slot || !lm->cluster_of)
        return err_set(err, ERR_NO_MEMORY, "no memory for the clusters of %d tokens", m->V);
    if (is_adaptive(m))
        return open_clusters(m, err);
    for (int i = 0; i < m->M; i++)
        lm->slot[i] = i;
    lm->n_tracked[0] = m->M;
    lm->is_ordered = 1;
    m->backend->upload(m->backend, buffer(m, MEMORY_TRACKED), NUMBER_INT32, m->groups->tokens,
                       NUMBER_INT32, m->M);
    return 0;
}

void model_lm_head_close(struct model *m)
{
    free(m->lm_head.slot);
    free(m->lm_head.cluster_of);
    free(m->lm_head.order);
    free(m->lm_head.rank);
    free(m->lm_head.weights);
}

/* ---- ranks and counts ---- */

/* Output index of a token in cluster k: its own, or in cluster 0 the entry of its cluster. */
static int32_t output_of(const struct model *m, int k, int32_t token)
{
    const struct cluster *cluster = m->lm_head.clusters->cluster;
    const int own = m->lm_head.cluster_of[token];
    if (own == k)
        return m->lm_head.rank[token] - cluster[k].first;
    return k ? 0 : cluster[0].tokens + own - 1;
}

static int check_order(const struct model *m, const int32_t *order, struct err *err)
{
    unsigned char *seen = calloc((size_t)m->V, 1);
    int bad = seen ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for the ranks of %d tokens", m->V);
    for (int r = 0; r < m->V && !bad; r++) {
        if (order[r] < 0 || order[r] >= m->V || seen[order[r]])
            bad = err_set(err, ERR_INVALID,
                          "rank %d is token %d: outside the vocabulary of %d, or there twice", r,
                          (int)order[r], m->V);
        else
            seen[order[r]] = 1;
    }
    free(seen);
    return bad;
}

/* Upload the tracked tokens, ordered by cluster. */
static int upload_tracked(struct model *m, struct err *err)
{
    struct model_lm_head *lm = &m->lm_head;
    struct backend *be = m->backend;
    const int K = lm->clusters->n;
    int32_t *tokens = malloc((size_t)(2 * m->M + K) * sizeof *tokens);
    if (!tokens)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d tracked tokens", m->M);
    int32_t *outputs = tokens + m->M;
    int n = 0, n_outputs = 0;
    for (int k = 0; k < K; k++) {
        const int first = n;
        for (int slot = 0; slot < m->M; slot++) {
            const int32_t token = m->groups->tokens[slot];
            if (lm->cluster_of[token] != k)
                continue;
            lm->slot[n] = slot;
            tokens[n++] = token;
            outputs[n_outputs++] = output_of(m, k, token);
        }
        for (int entry = 0; k == 0 && entry < K - 1; entry++)
            outputs[n_outputs++] = lm->clusters->cluster[0].tokens + entry;
        lm->n_tracked[k] = n - first;
    }
    be->upload(be, buffer(m, MEMORY_TRACKED), NUMBER_INT32, tokens, NUMBER_INT32, n);
    be->upload(be, buffer(m, MEMORY_TRACKED_OUTPUTS), NUMBER_INT32, outputs, NUMBER_INT32,
               n_outputs);
    free(tokens);
    return be->sync(be, err);
}

/* Upload the weight of each target in each cluster: 0 for targets of other clusters. */
static int upload_weights(struct model *m, struct err *err)
{
    double *row = calloc((size_t)m->Vp, sizeof *row);
    if (!row)
        return err_set(err, ERR_NO_MEMORY, "no memory for a vector of %d tokens", m->Vp);
    for (int k = 0; k < m->lm_head.clusters->n; k++) {
        for (int v = 0; v < m->V; v++)
            row[v] = k == 0 || m->lm_head.cluster_of[v] == k ? m->lm_head.weights[v] : 0;
        m->backend->upload(m->backend, real_buffer(m, MEMORY_CLASS_WEIGHTS, (int64_t)k * m->Vp),
                           NUMBER_REAL, row, NUMBER_DOUBLE, m->Vp);
    }
    free(row);
    return m->backend->sync(m->backend, err);
}

int model_set_order(struct model *m, const int32_t *order, struct err *err)
{
    struct model_lm_head *lm = &m->lm_head;
    assert(is_adaptive(m) && model_in_flight(m) == 0);
    if (check_order(m, order, err) != 0)
        return -1;
    memcpy(lm->order, order, (size_t)m->V * sizeof *order);
    for (int r = 0; r < m->V; r++) {
        lm->rank[order[r]] = r;
        lm->cluster_of[order[r]] = (unsigned char)clusters_find(lm->clusters, r);
    }
    lm->is_ordered = 1;
    return upload_tracked(m, err) == 0 ? upload_weights(m, err) : -1;
}

const int32_t *model_order(const struct model *m)
{
    return m->lm_head.order;
}

static int upload_vector(struct model *m, enum memory_buffer to, double setting,
                         void (*make)(const struct frequency *, double, double *),
                         const struct frequency *frequency, struct err *err)
{
    if (setting == 0)
        return 0;
    double *vector = calloc((size_t)m->Vp, sizeof *vector);
    if (!vector)
        return err_set(err, ERR_NO_MEMORY, "no memory for a vector of %d tokens", m->Vp);
    make(frequency, setting, vector);
    m->backend->upload(m->backend, buffer(m, to), NUMBER_REAL, vector, NUMBER_DOUBLE, m->Vp);
    free(vector);
    return m->backend->sync(m->backend, err);
}

static int rank_tokens(struct model *m, const struct frequency *frequency, struct err *err)
{
    int32_t *order = malloc((size_t)m->V * sizeof *order);
    if (!order)
        return err_set(err, ERR_NO_MEMORY, "no memory for the ranks of %d tokens", m->V);
    clusters_order(frequency, order);
    if (m->class_weight != 0)
        remedies_class_weights(frequency, m->class_weight, m->lm_head.weights);
    const int result = model_set_order(m, order, err);
    free(order);
    return result;
}

int model_set_frequency(struct model *m, const struct frequency *frequency, struct err *err)
{
    assert(frequency->vocab == m->V);
    if (is_adaptive(m))
        return rank_tokens(m, frequency, err);
    return upload_vector(m, MEMORY_CLASS_WEIGHTS, m->class_weight, remedies_class_weights,
                         frequency, err) == 0 &&
                   upload_vector(m, MEMORY_ADJUSTMENT, m->logit_adjustment, remedies_adjustment,
                                 frequency, err) == 0
               ? 0
               : -1;
}

/* ---- loss and gradients ---- */

/* Gradient of a cluster's projection, and of h through it. */
static void projection_backward(struct model *m, int k)
{
    struct backend *be = m->backend;
    const int tensor = projection_of(m, k), width = m->lm_head.clusters->cluster[k].width;
    be->matmul_backward_weight(be, gradient(m, tensor), buffer(m, MEMORY_NO_BIAS_SUMS),
                               final_hidden(m), projected_gradient(m), m->N, m->C, width);
    be->matmul_backward_input(be, branch_of_cluster(m), projected_gradient(m), weight(m, tensor),
                              m->N, m->C, width);
    be->add(be, buffer(m, MEMORY_BRANCH), buffer(m, MEMORY_BRANCH), branch_of_cluster(m),
            (int64_t)m->N * m->C);
}

/* Forward and loss of softmax k, with MODEL_GRADIENT also its gradients. With tied weights the
 * embedding's gradient starts here. */
static void run_cluster(struct model *m, int k, unsigned what)
{
    struct backend *be = m->backend;
    const int observed = (what & MODEL_OBSERVE) != 0, backwards = (what & MODEL_GRADIENT) != 0;
    const struct cluster *cluster = &m->lm_head.clusters->cluster[k];
    const int bias = m->head_bias >= 0, rows = rows_of(m, k);
    const int64_t n = (int64_t)k * m->N;
    if (position_weights(m, k))
        be->gather_rows(be, position_weights(m, k),
                        real_buffer(m, MEMORY_CLASS_WEIGHTS, (int64_t)k * m->Vp),
                        buffer(m, MEMORY_TARGETS), m->N, 1);
    if (k)
        be->matmul_forward(be, hidden_of(m, k), final_hidden(m), weight(m, projection_of(m, k)),
                           buffer(m, MEMORY_NO_BIAS), m->N, m->C, cluster->width);
    const struct backend_lm_head output = {
        .N = m->N,
        .C = cluster->width,
        .V = cluster->outputs,
        .Vp = (int)m->shapes.tensor[rows].rows,
        .scale = m->logit_scale,
        .h = hidden_of(m, k),
        .weight = weight(m, rows),
        .bias = bias ? parameter(m, m->head_bias) : NULL,
        .targets = targets_of(m, k),
        .weights = position_weights(m, k),
        .smoothing = m->label_smoothing,
        .z_loss = m->z_loss,
        .adjust = adjustment(m),
        .losses = real_buffer(m, MEMORY_LOSSES, n),
        .lse = real_buffer(m, MEMORY_LSE, n),
        .objective = observed && m->has_objective ? real_buffer(m, MEMORY_OBJECTIVE, n) : NULL,
        .objective_lse = objective_lse(m),
        .M = n_tracked_outputs(m, k),
        .tracked = tracked_outputs(m, k),
        .tracked_logits =
            observed ? real_buffer(m, MEMORY_TRACKED_LOGITS, outputs_before(m, k) * m->N) : NULL,
        .dh = !backwards ? NULL
              : k        ? projected_gradient(m)
                         : buffer(m, MEMORY_BRANCH),
        .dweight = backwards ? gradient(m, rows) : NULL,
        .dbias = backwards && bias ? gradient(m, m->head_bias) : NULL,
        .chunk = m->plan.head_chunk,
        .workspace = buffer(m, MEMORY_LOGITS),
    };
    be->lm_head(be, &output);
    if (k && backwards)
        projection_backward(m, k);
}

void model_lm_head_run(struct model *m, unsigned what)
{
    for (int k = 0; k < m->lm_head.clusters->n; k++)
        run_cluster(m, k, what);
}

/* ---- observation ---- */

/* Output rows of the tracked tokens, in the device's order. */
static void gather_output_rows(struct model *m)
{
    struct backend *be = m->backend;
    const struct cluster *cluster = m->lm_head.clusters->cluster;
    const int64_t C = m->C;
    if (m->lm_head.n_tracked[0] > 0)
        be->gather_rows(be, buffer(m, MEMORY_OUTPUT_ROWS), parameter(m, m->unembedding),
                        tracked_outputs(m, 0), m->lm_head.n_tracked[0], m->C);
    for (int k = 1; k < m->lm_head.clusters->n; k++) {
        const int64_t first = tracked_before(m, k), width = cluster[k].width;
        const void *entry = backend_at(be, parameter(m, m->unembedding), NUMBER_REAL,
                                       (cluster[0].tokens + k - 1) * C);
        for (int64_t i = first; i < first + m->lm_head.n_tracked[k]; i++) {
            const int32_t token = m->groups->tokens[m->lm_head.slot[i]];
            const void *row = backend_at(be, parameter(m, rows_of(m, k)), NUMBER_REAL,
                                         output_of(m, k, token) * width);
            be->scores(be, real_buffer(m, MEMORY_OUTPUT_ROWS, i * C),
                       parameter(m, projection_of(m, k)), NUMBER_REAL, entry, row, 1, m->C,
                       (int)width);
        }
    }
}

static void *projected_total(const struct model *m, int k)
{
    return real_buffer(m, MEMORY_PROJECTED_TOTAL, widths_before(m, k));
}

/* Logits of every output of every cluster for the h in MEMORY_H_TOTAL and its projections, times
 * `factor`. */
static void score_outputs(struct model *m, double factor)
{
    struct backend *be = m->backend;
    be->scores(be, buffer(m, MEMORY_SCORES), weight(m, m->unembedding), NUMBER_ACT,
               m->head_bias >= 0 ? parameter(m, m->head_bias) : NULL, buffer(m, MEMORY_H_TOTAL),
               factor, m->lm_head.clusters->cluster[0].outputs, m->C);
    for (int k = 1; k < m->lm_head.clusters->n; k++) {
        const struct cluster *cluster = &m->lm_head.clusters->cluster[k];
        be->scores(be, real_buffer(m, MEMORY_SCORES, further(m) + cluster->first),
                   weight(m, rows_of(m, k)), NUMBER_ACT, NULL, projected_total(m, k), factor,
                   cluster->outputs, cluster->width);
    }
}

/* Mean logit of every output of every cluster. */
static void score_batch(struct model *m)
{
    struct backend *be = m->backend;
    be->window_sums(be, buffer(m, MEMORY_H_TOTAL), final_hidden(m), 1, m->N, m->C);
    for (int k = 1; k < m->lm_head.clusters->n; k++)
        be->window_sums(be, projected_total(m, k), hidden_of(m, k), 1, m->N,
                        m->lm_head.clusters->cluster[k].width);
    score_outputs(m, m->logit_scale / m->N);
}

void model_lm_head_observe(struct model *m, unsigned what)
{
    gather_output_rows(m);
    if (m->head_bias >= 0)
        m->backend->gather_rows(m->backend, buffer(m, MEMORY_OUTPUT_BIAS),
                                parameter(m, m->head_bias), buffer(m, MEMORY_TRACKED), m->M, 1);
    if (what & MODEL_GRADIENT)
        score_batch(m);
}

/* The term that log p subtracts from the logits of cluster k > 0: lse_0 + lse_k minus the logit of
 * the cluster's entry. */
static const void *cluster_lse(struct model *m, int k)
{
    struct backend *be = m->backend;
    const void *entry =
        real_buffer(m, MEMORY_TRACKED_LOGITS, (int64_t)(m->lm_head.n_tracked[0] + k - 1) * m->N);
    void *part = buffer(m, MEMORY_CLUSTER_LSE), *sum = real_buffer(m, MEMORY_CLUSTER_LSE, m->N);
    be->scores(be, part, entry, NUMBER_REAL, real_buffer(m, MEMORY_LSE, (int64_t)k * m->N),
               buffer(m, MEMORY_ONE), -1, m->N, 1);
    be->scores(be, sum, buffer(m, MEMORY_LSE), NUMBER_REAL, part, buffer(m, MEMORY_ONE), 1, m->N,
               1);
    return sum;
}

/* p is that of the whole output layer. The parts of the gradient are those of the rows that
 * multiply h, with the softmax of their own cluster. */
static void observe_cluster(struct model *m, int k, unsigned what)
{
    const int64_t first = tracked_before(m, k);
    const struct backend_tracked tracked = {
        .N = m->N,
        .C = m->C,
        .V = m->V,
        .M = m->lm_head.n_tracked[k],
        .scale = m->logit_scale,
        .smoothing = m->label_smoothing,
        .z_loss = m->z_loss,
        .tracked = tracked_tokens(m, k),
        .inputs = buffer(m, MEMORY_INPUTS),
        .targets = buffer(m, MEMORY_TARGETS),
        .logits = real_buffer(m, MEMORY_TRACKED_LOGITS, outputs_before(m, k) * m->N),
        .lse = k ? cluster_lse(m, k) : buffer(m, MEMORY_LSE),
        .objective_lse = k ? real_buffer(m, MEMORY_LSE, (int64_t)k * m->N) : objective_lse(m),
        .weights = position_weights(m, k),
        .adjust = adjustment(m),
        .h = final_hidden(m),
        .dx = what & MODEL_GRADIENT ? buffer(m, MEMORY_GRADIENT) : NULL,
        .mean_p = real_buffer(m, MEMORY_MEAN_P, first),
        .parts = real_buffer(m, MEMORY_PARTS, BACKEND_PARTS * first * m->C),
        .norms = real_buffer(m, MEMORY_PART_NORMS, BACKEND_PARTS * first),
        .workspace = buffer(m, MEMORY_TRACKED_WORK),
    };
    static_assert(MEMORY_PARTS_OF_GRADIENT == (int)BACKEND_PARTS, "the buffers hold every part");
    if (tracked.M > 0)
        m->backend->tracked(m->backend, &tracked);
}

void model_lm_head_observe_tracked(struct model *m, unsigned what)
{
    for (int k = 0; k < m->lm_head.clusters->n; k++)
        observe_cluster(m, k, what);
}

int model_output_rows(struct model *m, double *rows, struct err *err)
{
    const int64_t n = (int64_t)m->M * m->C;
    double *numbers = malloc(((size_t)n + 1) * sizeof *numbers);
    int result = -1;
    assert(m->lm_head.is_ordered && model_in_flight(m) == 0);
    if (!numbers)
        return err_set(err, ERR_NO_MEMORY, "no memory for the rows of %d tokens", m->M);
    gather_output_rows(m);
    if (m->backend->download(m->backend, numbers, NUMBER_DOUBLE, buffer(m, MEMORY_OUTPUT_ROWS),
                             NUMBER_REAL, n, err) == 0) {
        for (int i = 0; i < m->M; i++)
            memcpy(rows + (int64_t)m->lm_head.slot[i] * m->C, numbers + (int64_t)i * m->C,
                   (size_t)m->C * sizeof *rows);
        result = 0;
    }
    free(numbers);
    return result;
}

int model_scores(struct model *m, const double *h, const float **scores, struct err *err)
{
    struct backend *be = m->backend;
    const int64_t outputs = m->V + further(m);
    assert(m->lm_head.is_ordered && model_in_flight(m) == 0);
    be->upload(be, buffer(m, MEMORY_H_TOTAL), NUMBER_REAL, h, NUMBER_DOUBLE, m->C);
    for (int k = 1; k < m->lm_head.clusters->n; k++)
        be->weighted_sums(be, projected_total(m, k), buffer(m, MEMORY_H_TOTAL),
                          weight(m, projection_of(m, k)), 1, m->C,
                          m->lm_head.clusters->cluster[k].width);
    score_outputs(m, m->logit_scale);
    if (be->download(be, m->host_outputs,
                     be->real_bytes == sizeof(double) ? NUMBER_DOUBLE : NUMBER_FLOAT,
                     buffer(m, MEMORY_SCORES), NUMBER_REAL, outputs, err) != 0)
        return -1;
    model_lm_head_scores(m, m->host_outputs, m->host_scores);
    *scores = m->host_scores;
    return 0;
}

/* ---- host ---- */

void model_lm_head_targets(const struct model *m, const int32_t *targets, int32_t *out)
{
    for (int k = 0; k < m->lm_head.clusters->n && is_adaptive(m); k++)
        for (int n = 0; n < m->N; n++)
            out[(int64_t)k * m->N + n] = output_of(m, k, targets[n]);
}

void model_lm_head_losses(const struct model *m, const void *reals, const int32_t *targets,
                          double *losses)
{
    for (int n = 0; n < m->N; n++) {
        const int64_t k = m->lm_head.cluster_of[targets[n]];
        losses[n] = model_real(m, reals, n);
        if (k)
            losses[n] += model_real(m, reals, k * m->N + n);
    }
}

void model_lm_head_lse(const struct model *m, const void *reals, double *lse)
{
    for (int64_t k = 0; k < m->lm_head.clusters->n; k++)
        for (int n = 0; n < m->N; n++)
            lse[k * m->N + n] = model_real(m, reals, k * m->N + n) + (k ? lse[n] : 0);
}

/* A position has objective 0 in the clusters that its target is not in. */
void model_lm_head_objective(const struct model *m, const void *reals, double *objective)
{
    for (int n = 0; n < m->N; n++) {
        objective[n] = 0;
        for (int64_t k = 0; k < m->lm_head.clusters->n; k++)
            objective[n] += model_real(m, reals, k * m->N + n);
    }
}

void model_lm_head_scores(const struct model *m, const void *reals, float *scores)
{
    const int K = m->lm_head.clusters->n, entries = m->lm_head.clusters->cluster[0].tokens;
    if (K == 1 && m->backend->real_bytes == sizeof(float)) {
        memcpy(scores, reals, (size_t)m->V * sizeof *scores);
        return;
    }
    for (int r = 0; r < m->V; r++) {
        const int32_t token = K > 1 ? m->lm_head.order[r] : r;
        const int k = m->lm_head.cluster_of[token];
        double score = model_real(m, reals, r + (k ? K - 1 : 0));
        if (k)
            score += model_real(m, reals, entries + k - 1);
        scores[token] = (float)score;
    }
}

void model_lm_head_norms(const struct model *m, const void *reals, double *norms)
{
    for (int k = 0; k < m->lm_head.clusters->n; k++) {
        const int64_t first = tracked_before(m, k), n = m->lm_head.n_tracked[k];
        for (int64_t part = 0; part < BACKEND_PARTS; part++)
            for (int64_t i = 0; i < n; i++)
                norms[part * m->M + m->lm_head.slot[first + i]] =
                    model_real(m, reals, BACKEND_PARTS * first + part * n + i);
    }
}

void model_lm_head_rows(const struct model *m, const void *reals, int width, double *rows)
{
    for (int64_t i = 0; i < m->M; i++)
        for (int64_t c = 0; c < width; c++)
            rows[(int64_t)m->lm_head.slot[i] * width + c] = model_real(m, reals, i * width + c);
}
