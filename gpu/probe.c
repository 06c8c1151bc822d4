/* probe: see probe.h. One window goes through the model that training uses; what
 * follows it is padding, which no earlier position can see. The output layer is
 * applied to one position, on the host in double. Nothing is kept. */
#include "gpu/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/safetensors.h"

struct probe {
    struct spec spec; /* the job's, for a batch of one window; owns nothing */
    struct groups groups;
    struct model *model;
    float *parameters;
    int32_t *order;  /* [V] token of each rank; without an adaptive head its id */
    int32_t *window; /* [2][T] inputs and targets */
    double *h;       /* [C] */
};

static void probe_close(struct probe *probe)
{
    model_close(probe->model);
    free(probe->parameters), free(probe->order), free(probe->window), free(probe->h);
}

static int probe_open(struct probe *probe, struct backend *backend, int vocab, const char *file,
                      struct err *err)
{
    const struct spec *spec = &probe->spec;
    if (model_open(spec, vocab, &probe->groups, backend, &probe->model, err) != 0)
        return -1;
    const struct shapes *shapes = model_shapes(probe->model);
    probe->parameters = malloc((size_t)shapes->n_parameters * sizeof *probe->parameters);
    probe->window = calloc(2 * (size_t)spec->model.seq_len, sizeof *probe->window);
    probe->h = calloc((size_t)spec->model.d_model, sizeof *probe->h);
    probe->order = malloc((size_t)vocab * sizeof *probe->order);
    if (!probe->parameters || !probe->window || !probe->h || !probe->order)
        return err_set(err, ERR_NO_MEMORY, "no memory for %lld parameters",
                       (long long)shapes->n_parameters);
    for (int i = 0; i < vocab; i++)
        probe->order[i] = i;
    if (safetensors_read(file, spec, shapes, probe->parameters, probe->order, err) != 0 ||
        (spec->model.head == HEAD_ADAPTIVE &&
         model_set_order(probe->model, probe->order, err) != 0))
        return -1;
    return model_upload(probe->model, MODEL_PARAMETERS, probe->parameters, err);
}

/* log-softmax in place of n numbers. */
static void log_softmax(double *logits, int n)
{
    double largest = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    for (int i = 0; i < n; i++)
        sum += exp(logits[i] - largest);
    for (int i = 0; i < n; i++)
        logits[i] -= largest + log(sum);
}

static const float *tensor_of(const struct probe *probe, const char *name)
{
    const struct shapes *shapes = model_shapes(probe->model);
    const int i = shapes_find(shapes, name);
    return i < 0 ? NULL : probe->parameters + shapes->tensor[i].offset;
}

/* log p of n outputs: softmax of scale * (rows [n, width] . x [width]) + bias [n]
 * (NULL: 0). */
static void softmax_of(const struct probe *probe, const float *rows, const float *bias,
                       const double *x, int n, int width, double *logp)
{
    for (int64_t v = 0; v < n; v++) {
        double dot = 0;
        for (int c = 0; c < width; c++)
            dot += (double)rows[v * width + c] * x[c];
        logp[v] = probe->spec.model.logit_scale * dot + (bias ? (double)bias[v] : 0);
    }
    log_softmax(logp, n);
}

/* Tail k of an adaptive head, [its tokens]; x [C] is for its projection of h. */
static void tail_softmax(const struct probe *probe, int k, double *x, double *logp)
{
    const struct cluster *cluster = &model_shapes(probe->model)->clusters.cluster[k + 1];
    const int width = cluster->width;
    char name[SHAPES_NAME_MAX];
    snprintf(name, sizeof name, "lm_head.tail.%d.projection", k);
    const float *projection = tensor_of(probe, name);
    for (int i = 0; i < width; i++)
        x[i] = 0;
    for (int c = 0; c < probe->spec.model.d_model; c++)
        for (int i = 0; i < width; i++)
            x[i] += probe->h[c] * (double)projection[(int64_t)c * width + i];
    snprintf(name, sizeof name, "lm_head.tail.%d.weight", k);
    softmax_of(probe, tensor_of(probe, name), NULL, x, cluster->outputs, width, logp);
}

/* log p of every token at h. The outputs of cluster 0 are its tokens and then the
 * entries of the other clusters. */
static int output_layer(const struct probe *probe, int vocab, float *logp, struct err *err)
{
    const struct clusters *clusters = &model_shapes(probe->model)->clusters;
    const char *rows = clusters->n > 1                     ? "lm_head.head.weight"
                       : probe->spec.model.tie == TIE_TIED ? "transformer.wte.weight"
                                                           : "lm_head.weight";
    const int C = probe->spec.model.d_model, first = clusters->cluster[0].outputs;
    double *ranked = malloc(((size_t)first + (size_t)vocab + (size_t)C) * sizeof *ranked);
    if (!ranked)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d probabilities", vocab);
    double *tail = ranked + first, *x = tail + vocab;
    softmax_of(probe, tensor_of(probe, rows), tensor_of(probe, "lm_head.bias"), probe->h, first, C,
               ranked);
    for (int i = 0; i < clusters->cluster[0].tokens; i++)
        logp[probe->order[i]] = (float)ranked[i];
    for (int k = 1; k < clusters->n; k++) {
        const struct cluster *cluster = &clusters->cluster[k];
        const double entry = ranked[clusters->cluster[0].tokens + k - 1];
        tail_softmax(probe, k - 1, x, tail);
        for (int i = 0; i < cluster->tokens; i++)
            logp[probe->order[cluster->first + i]] = (float)(entry + tail[i]);
    }
    free(ranked);
    return 0;
}

int probe_logp(struct backend *backend, const struct spec *spec, int vocab, const char *file,
               const int32_t *ids, int n, float *logp, struct err *err)
{
    if (n < 1 || n > spec->model.seq_len)
        return err_set(err, ERR_INVALID, "%d tokens; the model reads 1 to %d", n,
                       spec->model.seq_len);
    struct probe probe = {.spec = *spec};
    probe.spec.train.batch_size = 1;
    probe.spec.train.optimizer = OPTIMIZER_SGD; /* no moments */
    probe.spec.train.precision = PRECISION_FP32;
    int failed = probe_open(&probe, backend, vocab, file, err);
    for (int t = 0; !failed && t < n; t++)
        probe.window[t] = ids[t];
    if (!failed)
        failed = model_evaluate(probe.model, probe.window, probe.window + spec->model.seq_len, NULL,
                                NULL, err) != 0 ||
                 model_hidden(probe.model, n - 1, probe.h, err) != 0;
    if (!failed)
        failed = output_layer(&probe, vocab, logp, err);
    probe_close(&probe);
    return failed ? -1 : 0;
}
