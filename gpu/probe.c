/* probe: see probe.h. One window goes through the model that training uses; what
 * follows it is padding, which no earlier position can see. The output layer is
 * applied to one position, on the host in double. Nothing is kept. */
#include "gpu/probe.h"

#include <math.h>
#include <stdlib.h>

#include "gpu/model.h"
#include "gpu/safetensors.h"

struct probe {
    struct spec spec; /* the job's, for a batch of one window; owns nothing */
    struct groups groups;
    struct model *model;
    float *parameters;
    int32_t *window; /* [2][T] inputs and targets */
    double *h;       /* [C] */
};

static void probe_close(struct probe *probe)
{
    model_close(probe->model);
    free(probe->parameters), free(probe->window), free(probe->h);
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
    if (!probe->parameters || !probe->window || !probe->h)
        return err_set(err, ERR_NO_MEMORY, "no memory for %lld parameters",
                       (long long)shapes->n_parameters);
    if (safetensors_read(file, spec, shapes, probe->parameters, err) != 0)
        return -1;
    return model_upload(probe->model, MODEL_PARAMETERS, probe->parameters, err);
}

static int tensor_of(const struct shapes *shapes, enum shapes_kind kind)
{
    for (int i = 0; i < shapes->n_tensors; i++)
        if (shapes->tensor[i].kind == kind)
            return i;
    return -1;
}

/* Logits of every token at h, then their log-softmax. */
static void output_layer(const struct probe *probe, int vocab, float *logp)
{
    const struct shapes *shapes = model_shapes(probe->model);
    const int C = probe->spec.model.d_model, bias = tensor_of(shapes, SHAPES_HEAD_BIAS);
    const int rows = tensor_of(shapes, probe->spec.model.tie == TIE_TIED ? SHAPES_TOKEN_EMBEDDING
                                                                         : SHAPES_UNEMBEDDING);
    const float *weight = probe->parameters + shapes->tensor[rows].offset;
    double largest = -INFINITY, sum = 0;
    for (int64_t v = 0; v < vocab; v++) {
        double logit = 0;
        for (int c = 0; c < C; c++)
            logit += (double)weight[v * C + c] * probe->h[c];
        logit *= probe->spec.model.logit_scale;
        if (bias >= 0)
            logit += (double)probe->parameters[shapes->tensor[bias].offset + v];
        logp[v] = (float)logit;
        largest = logit > largest ? logit : largest;
    }
    for (int v = 0; v < vocab; v++)
        sum += exp((double)logp[v] - largest);
    for (int v = 0; v < vocab; v++)
        logp[v] = (float)((double)logp[v] - largest - log(sum));
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
        failed = model_gradient(probe.model, probe.window, probe.window + spec->model.seq_len, NULL,
                                NULL, err) != 0 ||
                 model_hidden(probe.model, n - 1, probe.h, err) != 0;
    if (!failed)
        output_layer(&probe, vocab, logp);
    probe_close(&probe);
    return failed ? -1 : 0;
}
