/* inference: see inference.h. One window passes through the model of the training; positions behind
 * the text are padding, which causal attention hides from earlier positions. The output layer is
 * applied to one position, on the host in float64. No state is kept between calls. */
#include "gpu/inference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/safetensors.h"

struct inference {
    struct spec spec; /* the job's, with a batch of one window; borrowed */
    struct groups groups;
    struct model *model;
    float *parameters;
    int32_t *order;  /* [V] token of each rank; identity without an adaptive head */
    int32_t *window; /* [2][T] inputs and targets */
    double *h;       /* [C] */
};

static void inference_close(struct inference *inference)
{
    model_close(inference->model);
    free(inference->parameters), free(inference->order), free(inference->window),
        free(inference->h);
}

static int inference_open(struct inference *inference, struct backend *backend, int vocab,
                          const char *file, struct err *err)
{
    const struct spec *spec = &inference->spec;
    if (model_open(spec, vocab, &inference->groups, backend, &inference->model, err) != 0)
        return -1;
    const struct shapes *shapes = model_shapes(inference->model);
    inference->parameters = malloc((size_t)shapes->n_parameters * sizeof *inference->parameters);
    inference->window = calloc(2 * (size_t)spec->model.seq_len, sizeof *inference->window);
    inference->h = calloc((size_t)spec->model.d_model, sizeof *inference->h);
    inference->order = malloc((size_t)vocab * sizeof *inference->order);
    if (!inference->parameters || !inference->window || !inference->h || !inference->order)
        return err_set(err, ERR_NO_MEMORY, "no memory for %lld parameters",
                       (long long)shapes->n_parameters);
    for (int i = 0; i < vocab; i++)
        inference->order[i] = i;
    if (safetensors_read(file, spec, shapes, inference->parameters, inference->order, err) != 0 ||
        (spec->model.head == HEAD_ADAPTIVE &&
         model_set_order(inference->model, inference->order, err) != 0))
        return -1;
    return model_upload(inference->model, MODEL_PARAMETERS, inference->parameters, err);
}

/* log-softmax of n numbers, in place. */
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

static const float *tensor_of(const struct inference *inference, const char *name)
{
    const struct shapes *shapes = model_shapes(inference->model);
    const int i = shapes_find(shapes, name);
    return i < 0 ? NULL : inference->parameters + shapes->tensor[i].offset;
}

/* log p of n outputs: softmax of scale * (rows [n, width] . x [width]) + bias [n]
 * (NULL: 0). */
static void softmax_of(const struct inference *inference, const float *rows, const float *bias,
                       const double *x, int n, int width, double *logp)
{
    for (int64_t v = 0; v < n; v++) {
        double dot = 0;
        for (int c = 0; c < width; c++)
            dot += (double)rows[v * width + c] * x[c];
        logp[v] = inference->spec.model.logit_scale * dot + (bias ? (double)bias[v] : 0);
    }
    log_softmax(logp, n);
}

/* log p within tail k of an adaptive head, [its tokens]; x [C] is scratch for the projection of
 * h. */
static void tail_softmax(const struct inference *inference, int k, double *x, double *logp)
{
    const struct cluster *cluster = &model_shapes(inference->model)->clusters.cluster[k + 1];
    const int width = cluster->width;
    char name[SHAPES_NAME_MAX];
    snprintf(name, sizeof name, "lm_head.tail.%d.projection", k);
    const float *projection = tensor_of(inference, name);
    for (int i = 0; i < width; i++)
        x[i] = 0;
    for (int c = 0; c < inference->spec.model.d_model; c++)
        for (int i = 0; i < width; i++)
            x[i] += inference->h[c] * (double)projection[(int64_t)c * width + i];
    snprintf(name, sizeof name, "lm_head.tail.%d.weight", k);
    softmax_of(inference, tensor_of(inference, name), NULL, x, cluster->outputs, width, logp);
}

/* log p of every token at h. Outputs of cluster 0 are its tokens, then the entries of the other
 * clusters. */
static int output_layer(const struct inference *inference, int vocab, float *logp, struct err *err)
{
    const struct clusters *clusters = &model_shapes(inference->model)->clusters;
    const char *rows = clusters->n > 1                         ? "lm_head.head.weight"
                       : inference->spec.model.tie == TIE_TIED ? "transformer.wte.weight"
                                                               : "lm_head.weight";
    const int C = inference->spec.model.d_model, first = clusters->cluster[0].outputs;
    double *ranked = malloc(((size_t)first + (size_t)vocab + (size_t)C) * sizeof *ranked);
    if (!ranked)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d probabilities", vocab);
    double *tail = ranked + first, *x = tail + vocab;
    softmax_of(inference, tensor_of(inference, rows), tensor_of(inference, "lm_head.bias"),
               inference->h, first, C, ranked);
    for (int i = 0; i < clusters->cluster[0].tokens; i++)
        logp[inference->order[i]] = (float)ranked[i];
    for (int k = 1; k < clusters->n; k++) {
        const struct cluster *cluster = &clusters->cluster[k];
        const double entry = ranked[clusters->cluster[0].tokens + k - 1];
        tail_softmax(inference, k - 1, x, tail);
        for (int i = 0; i < cluster->tokens; i++)
            logp[inference->order[cluster->first + i]] = (float)(entry + tail[i]);
    }
    free(ranked);
    return 0;
}

int inference_next_token(struct backend *backend, const struct spec *spec, int vocab,
                         const char *file, const int32_t *ids, int n, float *logp, struct err *err)
{
    if (n < 1 || n > spec->model.seq_len)
        return err_set(err, ERR_INVALID, "%d tokens; the model reads 1 to %d", n,
                       spec->model.seq_len);
    struct inference inference = {.spec = *spec};
    inference.spec.train.batch_size = 1;
    inference.spec.train.optimizer = OPTIMIZER_SGD; /* no moments */
    inference.spec.train.precision = PRECISION_FP32;
    int failed = inference_open(&inference, backend, vocab, file, err);
    for (int t = 0; !failed && t < n; t++)
        inference.window[t] = ids[t];
    if (!failed)
        failed = model_evaluate(inference.model, inference.window,
                                inference.window + spec->model.seq_len, NULL, NULL, err) != 0 ||
                 model_hidden(inference.model, n - 1, inference.h, err) != 0;
    if (!failed)
        failed = output_layer(&inference, vocab, logp, err);
    inference_close(&inference);
    return failed ? -1 : 0;
}
