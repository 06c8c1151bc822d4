/* whole: see whole.h. */
#include "gpu/ref/whole.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/ref/ref_backend.h"
#include "lab/random.h"

enum { TRACKED = 6, STEPS = 8, REPLAYS = 5 };

static int32_t tracked[TRACKED] = {0, 5, 36, 5, 17, 256};
static const struct groups groups = {
    .n = 2,
    .group = {{.n = 3, .ids = tracked}, {.n = 3, .ids = tracked + 3}},
    .n_tokens = TRACKED,
    .tokens = tracked,
};

static const struct form {
    const char *name;
    int B, T, C, L, NH, V;
    enum { TIED, UNTIED, ADAPTIVE } head;
} forms[WHOLE_SHAPES] = {
    [WHOLE_SMALL] = {"small", 2, 65, 48, 2, 4, 257, TIED},
    [WHOLE_UNTIED] = {"untied", 1, 129, 96, 2, 3, 257, UNTIED},
    [WHOLE_ADAPTIVE] = {"adaptive", 2, 65, 48, 2, 4, 257, ADAPTIVE},
    [WHOLE_TENSOR] = {"tensor", 2, 129, 128, 2, 2, 257, UNTIED},
    [WHOLE_WIDE] = {"wide", 1, 65, 256, 2, 2, 257, UNTIED},
    [WHOLE_ODD] = {"odd", 2, 65, 30, 2, 2, 257, UNTIED},
    [WHOLE_GULLIVER] = {"gulliver", 8, 64, 128, 4, 4, 50257, TIED},
};

const char *whole_name(enum whole_shape shape)
{
    return forms[shape].name;
}

static struct spec *spec_of(const struct form *form)
{
    struct spec *spec = spec_default();
    if (!spec)
        return NULL;
    spec->model.d_model = form->C;
    spec->model.n_layers = form->L;
    spec->model.n_heads = form->NH;
    spec->model.seq_len = form->T;
    spec->train.batch_size = form->B;
    spec->train.grad_clip = 1;
    spec->groups.size = 1;
    if (form->head != TIED)
        spec->model.tie = TIE_UNTIED;
    if (form->head == ADAPTIVE) {
        spec->model.head = HEAD_ADAPTIVE;
        spec->model.n_cutoffs = 2;
        spec->model.cutoffs[0] = 40;
        spec->model.cutoffs[1] = 120;
    }
    if (form->head == UNTIED) {
        spec->model.head_bias = 1;
        spec->model.logit_scale = 0.5;
        spec->model.activation = ACTIVATION_GELU_NEW;
    }
    return spec;
}

/* ---- a model and its inputs ---- */

struct rig {
    const struct form *form;
    struct spec *spec;
    struct model *model;
    const struct shapes *shapes;
    int32_t *ids; /* [N + 1] of one step */
};

static void rig_close(struct rig *rig)
{
    if (rig->model)
        model_close(rig->model);
    spec_free(rig->spec);
    free(rig->ids);
    *rig = (struct rig){0};
}

/* Any permutation: row r of the adaptive head's vocabulary is token r * 3 modulo its size. */
static int give_order(struct rig *rig, struct err *err)
{
    const int V = rig->form->V;
    if (!model_order(rig->model))
        return 0;
    int32_t *order = malloc((size_t)V * sizeof *order);
    if (!order)
        return err_set(err, ERR_NO_MEMORY, "no memory for an order of %d tokens", V);
    for (int r = 0; r < V; r++)
        order[r] = (int32_t)((int64_t)r * 3 % V);
    const int result = model_set_order(rig->model, order, err);
    free(order);
    return result;
}

/* On failure the rig is closed. */
static int rig_open(struct rig *rig, enum whole_shape shape, struct backend *backend,
                    struct err *err)
{
    const struct form *form = &forms[shape];
    *rig = (struct rig){.form = form, .spec = spec_of(form)};
    rig->ids = malloc(((size_t)form->B * (size_t)form->T + 1) * sizeof *rig->ids);
    if (!rig->spec || !rig->ids)
        err_set(err, ERR_NO_MEMORY, "no memory for a model's inputs");
    else if (model_open(rig->spec, form->V, &groups, backend, &rig->model, err) == 0 &&
             model_initialise(rig->model, err) == 0 && give_order(rig, err) == 0) {
        rig->shapes = model_shapes(rig->model);
        return 0;
    }
    rig_close(rig);
    return -1;
}

static void draw_ids(struct rig *rig, int number)
{
    const int N = rig->form->B * rig->form->T;
    for (int k = 0; k <= N; k++)
        rig->ids[k] = (int32_t)random_below(7, RANDOM_TIES, (uint64_t)(number * N + k),
                                            (uint64_t)rig->form->V);
}

static int step(struct rig *rig, int number, double *loss,
                const struct model_observation **observation, struct err *err)
{
    draw_ids(rig, number);
    return model_gradient(rig->model, rig->ids, rig->ids + 1, loss, observation, err);
}

static int train(struct rig *rig, int is_measured, double losses[STEPS], struct err *err)
{
    const struct model_observation *observation;
    for (int s = 0; s < STEPS; s++)
        if (step(rig, s, &losses[s], is_measured ? &observation : NULL, err) != 0 ||
            model_update(rig->model, s + 1, err) != 0)
            return -1;
    return 0;
}

static size_t part_bytes(const struct rig *rig)
{
    return (size_t)rig->shapes->n_parameters * sizeof(float);
}

/* NULL on failure. */
static float *part(struct rig *rig, enum model_part which, struct err *err)
{
    float *host = malloc(part_bytes(rig));
    if (!host)
        err_set(err, ERR_NO_MEMORY, "no memory for a copy of the parameters");
    else if (model_download(rig->model, which, host, err) == 0)
        return host;
    free(host);
    return NULL;
}

/* ---- gradient ---- */

/* The bound of a relative L2 error, by the model of gpu/ref/ops.c: about ROUNDINGS numbers of a
 * layer are rounded to ACT one after the other, there and back, and as many of head and embedding;
 * their errors are independent, so they add up as the root of their number. */
enum { SAFETY = 2, STEPS_OF_REAL = 8, ROUNDINGS = 16 };

static double bound_of(const struct form *form, int is_bf16)
{
    const double unit = 0x1p-24, unit_act = is_bf16 ? 0x1p-9 : unit;
    const int widest = form->V > 4 * form->C ? form->V : 4 * form->C;
    const int length = widest > form->B * form->T ? widest : form->B * form->T;
    return SAFETY * sqrt(ROUNDINGS * (form->L + 1)) *
           (unit_act + (STEPS_OF_REAL + sqrt(length)) * unit);
}

struct comparison {
    double bound;
    struct whole_worst *worst;
    struct err *err;
};

static int judge(const struct comparison *c, const char *what, double difference, double size)
{
    const double error = size > 0 ? sqrt(difference / size) : sqrt(difference);
    if (!(error < c->worst->error)) {
        snprintf(c->worst->what, sizeof c->worst->what, "%s", what);
        c->worst->error = error;
    }
    return error < c->bound ? 0
                            : err_set(c->err, ERR_INTERNAL, "%s: relative error %.3g of %.3g", what,
                                      error, c->bound);
}

static int compare_numbers(const struct comparison *c, const char *what, const double *x,
                           const double *y, int64_t n)
{
    double difference = 0, size = 0;
    for (int64_t k = 0; k < n; k++) {
        difference += (x[k] - y[k]) * (x[k] - y[k]);
        size += y[k] * y[k];
    }
    return judge(c, what, difference, size);
}

/* The key bias, the middle third of its tensor, has a gradient of 0: it is judged by the size of
 * the whole tensor's. Padding's is 0 exactly. */
static int compare_tensor(const struct comparison *c, const struct shapes_tensor *tensor,
                          const float *x, const float *y)
{
    const int64_t n = tensor->file_rows * tensor->cols;
    double difference = 0, size = 0;
    for (int64_t i = tensor->offset; i < tensor->offset + n; i++) {
        difference += pow((double)x[i] - (double)y[i], 2);
        size += pow((double)y[i], 2);
    }
    for (int64_t k = n; k < tensor->rows * tensor->cols; k++)
        if (x[tensor->offset + k] != 0)
            return err_set(c->err, ERR_INTERNAL, "%s: padding has a gradient", tensor->name);
    return judge(c, tensor->name, difference, size);
}

static int compare_observations(const struct comparison *c, const struct model_observation *x,
                                const struct model_observation *y)
{
    return compare_numbers(c, "losses", x->losses, y->losses, x->N) != 0 ||
                   compare_numbers(c, "lse", x->lse, y->lse, x->K * x->N) != 0 ||
                   compare_numbers(c, "h sums", x->h_sums, y->h_sums,
                                   (int64_t)(x->B + x->G) * x->C) != 0 ||
                   compare_numbers(c, "mean p", x->mean_p, y->mean_p, TRACKED) != 0 ||
                   compare_numbers(c, "norm", &x->grad_norm, &y->grad_norm, 1) != 0
               ? -1
               : 0;
}

static int compare_gradients(const struct comparison *c, struct rig *subject, struct rig *ref)
{
    float *x = part(subject, MODEL_GRADIENTS, c->err),
          *y = x ? part(ref, MODEL_GRADIENTS, c->err) : NULL;
    int result = y ? 0 : -1;
    for (int t = 0; result == 0 && t < subject->shapes->n_tensors; t++)
        result = compare_tensor(c, &subject->shapes->tensor[t], x, y);
    free(x);
    free(y);
    return result;
}

static int compare_steps(const struct comparison *c, struct rig *subject, struct rig *ref)
{
    const struct model_observation *x, *y;
    double loss, expected;
    return step(subject, 0, &loss, &x, c->err) != 0 || step(ref, 0, &expected, &y, c->err) != 0 ||
                   compare_numbers(c, "loss", &loss, &expected, 1) != 0 ||
                   compare_observations(c, x, y) != 0 || compare_gradients(c, subject, ref) != 0
               ? -1
               : 0;
}

int whole_check_gradient(struct backend *backend, enum whole_shape shape, struct whole_worst *worst,
                         struct err *err)
{
    struct rig subject = {0}, expected = {0};
    struct backend *ref;
    const double bound = bound_of(&forms[shape], backend->precision == PRECISION_BF16);
    const struct comparison comparison = {bound, worst, err};
    *worst = (struct whole_worst){.bound = bound};
    if (ref_backend_open(&ref, err) != 0)
        return -1;
    int result = rig_open(&subject, shape, backend, err);
    if (result == 0)
        result = rig_open(&expected, shape, ref, err);
    if (result == 0)
        result = compare_steps(&comparison, &subject, &expected);
    rig_close(&subject);
    rig_close(&expected);
    ref->close(ref);
    return result;
}

/* ---- the same bits ---- */

static int compare_part(struct rig *a, struct rig *b, enum model_part which, const char *what,
                        struct err *err)
{
    float *x = part(a, which, err), *y = x ? part(b, which, err) : NULL;
    int result = y ? 0 : -1;
    if (y && memcmp(x, y, part_bytes(a)) != 0)
        result = err_set(err, ERR_NONDETERMINISTIC, "%s: %s have other bits", what,
                         which == MODEL_PARAMETERS ? "parameters" : "moments");
    free(x);
    free(y);
    return result;
}

static int compare_models(struct rig *a, struct rig *b, const char *what, struct err *err)
{
    for (int p = 0; p < model_parts(a->model); p++)
        if (compare_part(a, b, (enum model_part)p, what, err) != 0)
            return -1;
    return 0;
}

static int train_again(struct rig *first, const double losses[STEPS], int is_measured,
                       enum whole_shape shape, struct backend *backend, struct err *err)
{
    const char *what = is_measured ? "trained twice" : "trained without statistics";
    double again[STEPS];
    struct rig rig;
    if (rig_open(&rig, shape, backend, err) != 0)
        return -1;
    int result = train(&rig, is_measured, again, err);
    if (result == 0 && memcmp(losses, again, sizeof again) != 0)
        result = err_set(err, ERR_NONDETERMINISTIC, "%s: losses have other bits", what);
    if (result == 0)
        result = compare_models(first, &rig, what, err);
    rig_close(&rig);
    return result;
}

int whole_check_repeat(struct backend *backend, enum whole_shape shape, struct err *err)
{
    double losses[STEPS];
    struct rig first;
    if (rig_open(&first, shape, backend, err) != 0)
        return -1;
    int result = train(&first, 1, losses, err);
    for (int is_measured = 0; result == 0 && is_measured < 2; is_measured++)
        result = train_again(&first, losses, is_measured, shape, backend, err);
    rig_close(&first);
    return result;
}

/* The gradient of the same batch, once more; *first is kept from run 0. */
static int replay(struct rig *rig, int run, float **first, double *loss, struct err *err)
{
    double again;
    const struct model_observation *observation;
    if (step(rig, 0, &again, &observation, err) != 0)
        return -1;
    float *gradient = part(rig, MODEL_GRADIENTS, err);
    if (!gradient)
        return -1;
    if (run == 0) {
        *first = gradient;
        *loss = again;
        return 0;
    }
    const int is_same =
        memcmp(&again, loss, sizeof again) == 0 && memcmp(gradient, *first, part_bytes(rig)) == 0;
    free(gradient);
    return is_same ? 0
                   : err_set(err, ERR_NONDETERMINISTIC,
                             "a step that is %s has other bits than run operation by operation",
                             run == 1 ? "recorded" : "replayed");
}

int whole_check_replay(struct backend *backend, enum whole_shape shape, struct err *err)
{
    struct rig rig;
    float *first = NULL;
    double loss = 0;
    if (rig_open(&rig, shape, backend, err) != 0)
        return -1;
    int result = 0;
    for (int run = 0; result == 0 && run < REPLAYS; run++)
        result = replay(&rig, run, &first, &loss, err);
    free(first);
    rig_close(&rig);
    return result;
}

static int collect(struct rig *rig, double *loss, struct err *err)
{
    struct model_result result;
    if (model_collect(rig->model, &result, err) != 0)
        return -1;
    *loss = result.loss;
    return 0;
}

/* Train with at most `depth` steps in flight. */
static int train_ahead(struct rig *rig, int depth, double losses[STEPS], struct err *err)
{
    int done = 0;
    for (int s = 0; s < STEPS; s++) {
        if (s - done == depth && collect(rig, &losses[done++], err) != 0)
            return -1;
        draw_ids(rig, s);
        if (model_submit(rig->model, MODEL_GRADIENT | MODEL_OBSERVE | MODEL_UPDATE, rig->ids,
                         rig->ids + 1, s + 1, err) != 0)
            return -1;
    }
    while (done < STEPS)
        if (collect(rig, &losses[done++], err) != 0)
            return -1;
    return 0;
}

int whole_check_pipeline(struct backend *backend, enum whole_shape shape, struct err *err)
{
    static const char what[] = "steps in flight together";
    double losses[STEPS], ahead[STEPS];
    struct rig one, many = {0};
    int result = rig_open(&one, shape, backend, err);
    if (result == 0)
        result = rig_open(&many, shape, backend, err);
    if (result == 0)
        result = train_ahead(&one, 1, losses, err);
    if (result == 0)
        result = train_ahead(&many, model_depth(many.model), ahead, err);
    if (result == 0 && memcmp(losses, ahead, sizeof losses) != 0)
        result = err_set(err, ERR_NONDETERMINISTIC, "%s: losses have other bits", what);
    if (result == 0)
        result = compare_models(&one, &many, what, err);
    rig_close(&one);
    rig_close(&many);
    return result;
}

int whole_measure_memory(struct backend *backend, enum whole_shape shape, int64_t *job,
                         int64_t *available, struct err *err)
{
    double losses[STEPS];
    struct rig rig;
    if (rig_open(&rig, shape, backend, err) != 0)
        return -1;
    int result = train(&rig, 1, losses, err);
    if (result == 0)
        result = train(&rig, 0, losses, err);
    if (result == 0) {
        *available = backend->available(backend);
        *job = model_bytes(rig.model);
    }
    rig_close(&rig);
    return result;
}
