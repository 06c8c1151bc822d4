/* The model: its gradient against central differences in double and against
 * PyTorch's numbers (tests/golden/gpt2.json), tied and untied; training that
 * repeats to the last bit, measured or not; padding that nothing depends on;
 * initial weights, decay, and what the contract refuses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>

#include "gpu/cpu/cpu.h"
#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "lab/random.h"
#include "gpu/ref/ref_backend.h"

enum { B = 2, T = 5, C = 8, L = 2, NH = 2, V = 37, N = B * T, TRACKED = 6 };

/* Two groups that share a token; the last id is the one before the padding. */
static int32_t tracked[TRACKED] = {0, 5, 36, 5, 17, 1};
static struct groups groups = {
    .n = 2,
    .group = {{.n = 3, .ids = tracked}, {.n = 3, .ids = tracked + 3}},
    .n_tokens = TRACKED,
    .tokens = tracked,
};

static struct spec *tiny(void)
{
    struct spec *spec = spec_default();
    assert_non_null(spec);
    spec->model.d_model = C;
    spec->model.n_layers = L;
    spec->model.n_heads = NH;
    spec->model.seq_len = T;
    spec->train.batch_size = B;
    spec->groups.size = 1;
    spec->train.lr = 0.01;
    spec->train.beta1 = 0.9;
    spec->train.beta2 = 0.99;
    spec->train.eps = 1e-3;
    spec->train.weight_decay = 0.1;
    spec->train.momentum = 0.75;
    return spec;
}

/* ---- weights and batches by formula, as tests/golden/make_gpt2.py has them ---- */

static uint32_t mix(uint64_t k)
{
    uint32_t x = (uint32_t)(k * 2654435761u + 12345u);
    x ^= x >> 15;
    x *= 2246822519u;
    return x ^ x >> 13;
}

static void batch(uint64_t step, int32_t *inputs, int32_t *targets)
{
    for (int k = 0; k < N; k++) {
        inputs[k] = (int32_t)(mix(7000000 + step * 1000 + (uint64_t)k) % V);
        targets[k] = (int32_t)(mix(7000000 + step * 1000 + (uint64_t)k + 1) % V);
    }
}

/* All parameters, multiples of 2^-16 in [-0.5, 0.5); padding as given. */
static float *formula_weights(const struct shapes *shapes, float padding)
{
    float *w = malloc((size_t)shapes->n_parameters * sizeof *w);
    assert_non_null(w);
    for (int t = 0; t < shapes->n_tensors; t++) {
        const struct shapes_tensor *tensor = &shapes->tensor[t];
        for (int64_t k = 0; k < tensor->rows * tensor->cols; k++)
            w[tensor->offset + k] =
                k < tensor->file_rows * tensor->cols
                    ? (float)((int)(mix((uint64_t)t * 65536 + (uint64_t)k) & 0xffff) - 32768) /
                          65536.0f
                    : padding;
    }
    return w;
}

/* ---- a model and its backend ---- */

struct bench {
    struct backend *backend;
    struct model *model;
    const struct shapes *shapes;
    struct err err;
};

static void bench_open(struct bench *b, const struct spec *spec, int ref)
{
    err_clear(&b->err);
    if ((ref ? ref_backend_open(&b->backend, &b->err)
             : cpu_backend_open(2, PRECISION_FP32, &b->backend, &b->err)))
        fail_msg("%s", b->err.message);
    if (model_open(spec, V, &groups, b->backend, &b->model, &b->err) != 0)
        fail_msg("%s", b->err.message);
    b->shapes = model_shapes(b->model);
    if (model_initialise(b->model, &b->err) != 0)
        fail_msg("%s", b->err.message);
}

static void bench_close(struct bench *b)
{
    model_close(b->model);
    b->backend->close(b->backend);
}

static void load(struct bench *b, const float *weights)
{
    assert_int_equal(model_upload(b->model, MODEL_PARAMETERS, weights, &b->err), 0);
}

static void load_formula(struct bench *b)
{
    float *w = formula_weights(b->shapes, 0);
    load(b, w);
    free(w);
}

static float *part(struct bench *b, enum model_part which)
{
    float *host = malloc((size_t)b->shapes->n_parameters * sizeof *host);
    assert_non_null(host);
    if (model_download(b->model, which, host, &b->err) != 0)
        fail_msg("%s", b->err.message);
    return host;
}

static double gradient_of(struct bench *b, uint64_t step,
                          const struct model_observation **observation)
{
    int32_t inputs[N], targets[N];
    double loss;
    batch(step, inputs, targets);
    if (model_gradient(b->model, inputs, targets, &loss, observation, &b->err) != 0)
        fail_msg("%s", b->err.message);
    return loss;
}

static double train(struct bench *b, int steps, int observed)
{
    const struct model_observation *observation;
    double loss = 0;
    for (int step = 0; step < steps; step++) {
        loss = gradient_of(b, (uint64_t)step, observed ? &observation : NULL);
        assert_int_equal(model_update(b->model, step + 1, &b->err), 0);
    }
    return loss;
}

static void assert_near(const char *what, double value, double expected, double allowed)
{
    if (!(fabs(value - expected) <= allowed))
        fail_msg("%s: %.9g, expected %.9g", what, value, expected);
}

/* ---- gradients ---- */

/* Loss of the reference with parameter i at `value` (exact in float32). */
static double moved_loss(struct bench *ref, float *weights, int64_t i, float value)
{
    const float before = weights[i];
    weights[i] = value;
    load(ref, weights);
    weights[i] = before;
    return gradient_of(ref, 0, NULL);
}

/* Fourth order: the step must be large enough to be exact in float32. */
static double central_difference(struct bench *ref, float *weights, int64_t i)
{
    const float h = 0x1p-9f, w = weights[i];
    const double near = moved_loss(ref, weights, i, w + h) - moved_loss(ref, weights, i, w - h);
    const double far =
        moved_loss(ref, weights, i, w + 2 * h) - moved_loss(ref, weights, i, w - 2 * h);
    return (8 * near - far) / (12 * (double)h);
}

enum { SAMPLES = 40 }; /* elements of a tensor that are moved */

static void check_tensor(struct bench *ref, float *weights, const float *gradient,
                         const struct shapes_tensor *tensor)
{
    const int64_t n = tensor->file_rows * tensor->cols;
    const int64_t stride = n > SAMPLES ? (n / SAMPLES) | 1 : 1;
    double difference = 0, size = 0;
    for (int64_t k = 0; k < n; k += stride) {
        const int64_t i = tensor->offset + k;
        const double numeric = central_difference(ref, weights, i);
        const int key_bias = strstr(tensor->name, "c_attn.bias") && k >= C && k < 2 * C;
        if (key_bias) /* analytically 0 */
            assert_near(tensor->name, (double)gradient[i], 0, 1e-8);
        difference += (gradient[i] - numeric) * (gradient[i] - numeric);
        size += numeric * numeric;
    }
    if (!(sqrt(difference) < 1e-4 * sqrt(size)))
        fail_msg("%s: relative error %g", tensor->name, sqrt(difference / size));
    for (int64_t k = n; k < tensor->rows * tensor->cols; k++)
        assert_true(gradient[tensor->offset + k] == 0);
}

static void check_gradient(const struct spec *spec)
{
    struct bench cpu, ref;
    bench_open(&cpu, spec, 0);
    bench_open(&ref, spec, 1);
    float *weights = formula_weights(cpu.shapes, 0);
    load(&cpu, weights);
    gradient_of(&cpu, 0, NULL);
    float *gradient = part(&cpu, MODEL_GRADIENTS);
    for (int t = 0; t < cpu.shapes->n_tensors; t++)
        check_tensor(&ref, weights, gradient, &cpu.shapes->tensor[t]);
    free(gradient);
    free(weights);
    bench_close(&cpu);
    bench_close(&ref);
}

static void test_gradient_tied(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    check_gradient(spec);
    spec_free(spec);
}

static void test_gradient_untied(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->model.tie = TIE_UNTIED;
    spec->model.head_bias = 1;
    spec->model.logit_scale = 0.5;
    spec->model.activation = ACTIVATION_GELU_NEW;
    check_gradient(spec);
    spec_free(spec);
}

/* Equal matrices in both places: the tied gradient is the sum of the two. */
static void test_tied_is_the_sum(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    struct bench tied, untied;
    bench_open(&tied, spec, 0);
    spec->model.tie = TIE_UNTIED_EQUAL;
    bench_open(&untied, spec, 0);
    assert_true(gradient_of(&tied, 0, NULL) == gradient_of(&untied, 0, NULL));
    float *a = part(&tied, MODEL_GRADIENTS), *b = part(&untied, MODEL_GRADIENTS);
    const int64_t lm_head =
        untied.shapes->tensor[shapes_find(untied.shapes, "lm_head.weight")].offset;
    for (int64_t i = 0; i < V * C; i++)
        assert_near("wte", (double)a[i], (double)b[i] + (double)b[lm_head + i], 1e-7);
    /* Over the vocabulary the output gradient sums to zero. */
    for (int c = 0; c < C; c++) {
        double sum = 0;
        for (int v = 0; v < V; v++)
            sum += (double)b[lm_head + v * C + c];
        assert_near("column", sum, 0, 1e-7);
    }
    free(a);
    free(b);
    bench_close(&tied);
    bench_close(&untied);
    spec_free(spec);
}

/* ---- PyTorch ---- */

static const char *word(const json_t *golden, const char *key)
{
    const char *value = json_string_value(json_object_get(golden, key));
    assert_non_null(value);
    return value;
}

static int index_of(const char *value, const char *const *words)
{
    int i = 0;
    while (strcmp(words[i], value) != 0)
        assert_non_null(words[++i]);
    return i;
}

static struct spec *golden_spec(const json_t *golden)
{
    static const char *const ties[] = {"tied", "untied", NULL};
    static const char *const activations[] = {"gelu", "gelu_new", "relu", NULL};
    static const char *const optimizers[] = {"sgd", "momentum", "adam", "adamw", NULL};
    struct spec *spec = tiny();
    spec->model.tie = (enum spec_tying)index_of(word(golden, "tie"), ties);
    spec->model.activation =
        (enum spec_activation)index_of(word(golden, "activation"), activations);
    spec->train.optimizer = (enum spec_optimizer)index_of(word(golden, "optimizer"), optimizers);
    spec->model.head_bias = json_is_true(json_object_get(golden, "head_bias"));
    spec->model.logit_scale = json_real_value(json_object_get(golden, "scale"));
    spec->train.grad_clip = json_real_value(json_object_get(golden, "clip"));
    return spec;
}

static void check_golden_tensor(const struct shapes_tensor *tensor, const float *gradient,
                                const json_t *expected)
{
    const int64_t n = tensor->file_rows * tensor->cols;
    assert_int_equal(json_array_size(expected), n);
    double difference = 0, size = 0;
    for (int64_t k = 0; k < n; k++) {
        const double e = json_number_value(json_array_get(expected, (size_t)k));
        difference += (gradient[tensor->offset + k] - e) * (gradient[tensor->offset + k] - e);
        size += e * e;
    }
    if (!(sqrt(difference) < 1e-5 * sqrt(size)))
        fail_msg("%s: relative error %g", tensor->name, sqrt(difference / size));
}

static void check_golden_start(struct bench *b, const json_t *golden,
                               const struct model_observation *o)
{
    const json_t *lse = json_object_get(golden, "lse"), *p = json_object_get(golden, "mean_p");
    for (int n = 0; n < N; n++)
        assert_near("lse", o->lse[n], json_number_value(json_array_get(lse, (size_t)n)), 1e-5);
    for (int m = 0; m < TRACKED; m++) {
        const double e = json_number_value(json_array_get(p, (size_t)tracked[m]));
        assert_near("mean p", o->mean_p[m], e, 1e-5 * e);
    }
    float *gradient = part(b, MODEL_GRADIENTS);
    for (int t = 0; t < b->shapes->n_tensors; t++)
        check_golden_tensor(
            &b->shapes->tensor[t], gradient,
            json_object_get(json_object_get(golden, "gradients"), b->shapes->tensor[t].name));
    free(gradient);
}

static void check_golden(const json_t *golden, int ref)
{
    struct spec *spec = golden_spec(golden);
    struct bench b;
    bench_open(&b, spec, ref);
    load_formula(&b);
    const json_t *losses = json_object_get(golden, "losses");
    const json_t *norms = json_object_get(golden, "norms");
    assert_true(json_array_size(losses) >= 4);
    for (size_t step = 0; step < json_array_size(losses); step++) {
        const struct model_observation *o;
        const double loss = gradient_of(&b, step, &o);
        const double norm = json_number_value(json_array_get(norms, step));
        assert_near("loss", loss, json_number_value(json_array_get(losses, step)), 4e-6);
        assert_near("norm", o->grad_norm, norm, 1e-5 * norm);
        if (step == 0)
            check_golden_start(&b, golden, o);
        assert_int_equal(model_update(b.model, (int64_t)step + 1, &b.err), 0);
    }
    bench_close(&b);
    spec_free(spec);
}

static void test_pytorch(void **state)
{
    (void)state;
    json_error_t error;
    json_t *file = json_load_file("tests/golden/gpt2.json", 0, &error);
    if (!file)
        fail_msg("tests/golden/gpt2.json (run in the root): %s", error.text);
    const json_t *cases = json_object_get(file, "cases");
    assert_int_equal(json_array_size(cases), 4);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        check_golden(json_array_get(cases, i), 0);
        check_golden(json_array_get(cases, i), 1);
    }
    json_decref(file);
}

/* ---- the same bits ---- */

static void assert_same_state(struct bench *a, struct bench *b)
{
    assert_int_equal(model_parts(a->model), model_parts(b->model));
    for (int p = 0; p < model_parts(a->model); p++) {
        float *x = part(a, (enum model_part)p), *y = part(b, (enum model_part)p);
        assert_memory_equal(x, y, (size_t)a->shapes->n_parameters * sizeof *x);
        free(x);
        free(y);
    }
}

static void test_measuring_changes_nothing(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    for (int untied = 0; untied < 2; untied++) {
        struct bench a, b;
        spec->model.tie = untied ? TIE_UNTIED : TIE_TIED;
        spec->train.grad_clip = untied ? 0.1 : 0;
        bench_open(&a, spec, 0);
        bench_open(&b, spec, 0);
        const double loss = train(&a, 6, 1);
        assert_true(loss == train(&b, 6, 0));
        assert_same_state(&a, &b);
        bench_close(&a);
        bench_close(&b);
    }
    spec_free(spec);
}

static void count_progress(void *self)
{
    ++*(int *)self;
}

/* A sign of life before every layer, there and back, and not a bit changed. */
static void test_progress_changes_nothing(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    struct bench a, b;
    int calls = 0;
    bench_open(&a, spec, 0);
    bench_open(&b, spec, 0);
    model_on_progress(b.model, count_progress, &calls);
    const double loss = train(&a, 3, 0);
    assert_true(loss == train(&b, 3, 0));
    assert_int_equal(calls, 3 * 2 * L);
    assert_same_state(&a, &b);
    bench_close(&a);
    bench_close(&b);
    spec_free(spec);
}

/* Three steps under way at once come back in order, each with its own batch, loss
 * and observation, and leave the state that single ones leave. */
static void test_steps_under_way(void **state)
{
    (void)state;
    enum { STEPS = 6, DEPTH = 3 };
    struct spec *spec = tiny();
    struct bench a, b;
    int32_t inputs[N], targets[N];
    spec->train.grad_clip = 0.5;
    bench_open(&a, spec, 0);
    bench_open(&b, spec, 0);
    model_close(b.model);
    b.backend->slots = DEPTH;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &b.model, &b.err), 0);
    b.shapes = model_shapes(b.model);
    assert_int_equal(model_initialise(b.model, &b.err), 0);
    assert_int_equal(model_depth(a.model), 1);
    assert_int_equal(model_depth(b.model), DEPTH);
    for (int step = 0, ahead = 0; step < STEPS; step++) {
        const struct model_observation *o;
        struct model_result result;
        for (; ahead < STEPS && model_in_flight(b.model) < DEPTH; ahead++) {
            batch((uint64_t)ahead, inputs, targets);
            assert_int_equal(
                model_submit(b.model,
                             MODEL_GRADIENT | MODEL_UPDATE | (ahead % 2 ? MODEL_OBSERVE : 0),
                             inputs, targets, ahead + 1, &b.err),
                0);
        }
        const double loss = gradient_of(&a, (uint64_t)step, step % 2 ? &o : NULL);
        assert_int_equal(model_collect(b.model, &result, &b.err), 0);
        assert_true(result.loss == loss);
        batch((uint64_t)step, inputs, targets);
        assert_memory_equal(result.inputs, inputs, sizeof inputs);
        assert_memory_equal(result.targets, targets, sizeof targets);
        assert_int_equal(result.observation != NULL, step % 2);
        if (step % 2) {
            assert_memory_equal(result.observation->lse, o->lse, N * sizeof(double));
            assert_memory_equal(result.observation->h_sums, o->h_sums,
                                (size_t)((B + o->G) * C) * sizeof(double));
            assert_memory_equal(result.observation->output_rows, o->output_rows,
                                (size_t)(o->M * C) * sizeof(double));
            assert_true(result.observation->grad_norm == o->grad_norm);
        }
        assert_int_equal(model_update(a.model, step + 1, &a.err), 0);
    }
    assert_int_equal(model_in_flight(b.model), 0);
    assert_same_state(&a, &b);
    bench_close(&a);
    bench_close(&b);
    spec_free(spec);
}

/* State through the host and back, in a second instance: as if never stopped. */
static void test_resume_is_exact(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    struct bench a, b;
    bench_open(&a, spec, 0);
    bench_open(&b, spec, 0);
    train(&a, 3, 0);
    for (int p = 0; p < model_parts(a.model); p++) {
        float *x = part(&a, (enum model_part)p);
        assert_int_equal(model_upload(b.model, (enum model_part)p, x, &b.err), 0);
        free(x);
    }
    for (int step = 3; step < 6; step++) {
        assert_true(gradient_of(&a, (uint64_t)step, NULL) == gradient_of(&b, (uint64_t)step, NULL));
        assert_int_equal(model_update(a.model, step + 1, &a.err), 0);
        assert_int_equal(model_update(b.model, step + 1, &b.err), 0);
    }
    assert_same_state(&a, &b);
    bench_close(&a);
    bench_close(&b);
    spec_free(spec);
}

/* NaN in the padding of every padded tensor reaches nothing. */
static void test_padding_is_never_read(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->model.tie = TIE_UNTIED;
    spec->model.head_bias = 1;
    spec->train.grad_clip = 0.1;
    struct bench a, b;
    bench_open(&a, spec, 0);
    bench_open(&b, spec, 0);
    float *clean = formula_weights(a.shapes, 0), *poisoned = formula_weights(a.shapes, NAN);
    load(&a, clean);
    load(&b, poisoned);
    assert_true(train(&a, 4, 1) == train(&b, 4, 1));
    free(clean);
    free(poisoned);
    clean = part(&a, MODEL_PARAMETERS);
    poisoned = part(&b, MODEL_PARAMETERS);
    for (int t = 0; t < a.shapes->n_tensors; t++) {
        const struct shapes_tensor *tensor = &a.shapes->tensor[t];
        assert_memory_equal(clean + tensor->offset, poisoned + tensor->offset,
                            (size_t)(tensor->file_rows * tensor->cols) * sizeof *clean);
    }
    free(clean);
    free(poisoned);
    bench_close(&a);
    bench_close(&b);
    spec_free(spec);
}

/* ---- the observation ---- */

static void assert_close(const char *what, const double *x, const double *y, int64_t n)
{
    double difference = 0, size = 0;
    for (int64_t k = 0; k < n; k++) {
        difference += (x[k] - y[k]) * (x[k] - y[k]);
        size += y[k] * y[k];
    }
    if (!(sqrt(difference) <= 1e-5 * sqrt(size)))
        fail_msg("%s: relative error %g", what, sqrt(difference / size));
}

/* The mean logits of the tracked tokens follow from their rows. */
static void check_scores(const struct model_observation *o)
{
    for (int m = 0; m < TRACKED; m++) {
        double logit = o->output_bias[m];
        for (int w = 0; w < B; w++)
            for (int c = 0; c < C; c++)
                logit += o->logit_scale / N * o->h_sums[w * C + c] * o->output_rows[m * C + c];
        assert_near("score", o->scores[tracked[m]], logit, 1e-5);
    }
}

/* The mean h of a batch scores what the batch scored. */
static void check_scores_of_mean(struct bench *b, const struct model_observation *o)
{
    double h[C] = {0};
    float observed[V];
    const float *scores;
    memcpy(observed, o->scores, sizeof observed);
    for (int w = 0; w < B; w++)
        for (int c = 0; c < C; c++)
            h[c] += o->h_sums[w * C + c] / N;
    assert_int_equal(model_scores(b->model, h, &scores, &b->err), 0);
    for (int v = 0; v < V; v++)
        assert_near("score of mean h", scores[v], observed[v], 1e-5);
}

/* What is observed agrees with the reference and with itself: rows are the
 * parameters', and the loss of a target follows from its row and the sums. */
static void test_observation(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->model.tie = TIE_UNTIED;
    spec->model.head_bias = 1;
    struct bench a, b;
    const struct model_observation *x, *y;
    bench_open(&a, spec, 0);
    bench_open(&b, spec, 1);
    load_formula(&a);
    load_formula(&b);
    const double loss = gradient_of(&a, 0, &x);
    gradient_of(&b, 0, &y);
    assert_int_equal(x->N, N);
    assert_int_equal(x->M, TRACKED);
    assert_int_equal(x->G, 2);
    double sum = 0;
    for (int n = 0; n < N; n++)
        sum += x->losses[n];
    assert_true(loss == sum / N);
    assert_close("losses", x->losses, y->losses, N);
    assert_close("lse", x->lse, y->lse, N);
    assert_close("h sums", x->h_sums, y->h_sums, (B + 2) * C);
    assert_close("mean p", x->mean_p, y->mean_p, TRACKED);
    for (int part = 0; part < BACKEND_PARTS; part++)
        assert_close("gradient's parts", x->part_norms + part * TRACKED,
                     y->part_norms + part * TRACKED, TRACKED);
    assert_close("grad norm", &x->grad_norm, &y->grad_norm, 1);
    check_scores(x);
    check_scores_of_mean(&a, x);
    check_scores_of_mean(&b, y);
    float *w = part(&a, MODEL_PARAMETERS);
    const struct shapes_tensor *out = &a.shapes->tensor[shapes_find(a.shapes, "lm_head.weight")];
    const struct shapes_tensor *bias = &a.shapes->tensor[shapes_find(a.shapes, "lm_head.bias")];
    for (int m = 0; m < TRACKED; m++) {
        assert_true(x->output_bias[m] == (double)w[bias->offset + tracked[m]]);
        for (int c = 0; c < C; c++) {
            assert_true(x->output_rows[m * C + c] == (double)w[out->offset + tracked[m] * C + c]);
            assert_true(x->input_rows[m * C + c] == (double)w[tracked[m] * C + c]);
        }
    }
    free(w);
    bench_close(&a);
    bench_close(&b);
    spec_free(spec);
}

/* Sums over positions whose input is not of the group: with h known to be the
 * same at every position, they are multiples of one window's mean. */
static void test_group_sums_leave_positions_out(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    struct bench b;
    bench_open(&b, spec, 0);
    float *w = formula_weights(b.shapes, 0);
    memset(w, 0, (size_t)b.shapes->n_parameters * sizeof *w);
    const struct shapes_tensor *bias =
        &b.shapes->tensor[shapes_find(b.shapes, "transformer.ln_f.bias")];
    for (int c = 0; c < C; c++)
        w[bias->offset + c] = (float)(c + 1); /* h = ln_f.bias where the stream is 0 */
    load(&b, w);
    free(w);
    const int32_t inputs[N] = {0, 5, 2, 3, 4, 17, 17, 1, 36, 9};
    const int32_t targets[N] = {0};
    const struct model_observation *o;
    assert_int_equal(model_gradient(b.model, inputs, targets, NULL, &o, &b.err), 0);
    const double windows[B + 2] = {T, T, N - 3, N - 4}; /* {0, 5, 36} and {5, 17, 1} left out */
    for (int k = 0; k < B + 2; k++)
        for (int c = 0; c < C; c++)
            assert_near("h sum", o->h_sums[k * C + c], windows[k] * (c + 1), 1e-5);
    bench_close(&b);
    spec_free(spec);
}

/* An evaluation sees what a step with a gradient sees, to the last bit, and leaves the
 * gradient of the step before it alone. */
static void test_evaluation_is_a_step_without_gradient(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->model.head_bias = 1;
    spec->loss.z_loss = 0.01;
    for (int ref = 0; ref < 2; ref++) {
        struct bench b;
        int32_t inputs[N], targets[N];
        const struct model_observation *o;
        bench_open(&b, spec, ref);
        const double loss = gradient_of(&b, 3, &o);
        assert_true(isfinite(o->grad_norm) && o->scores && isfinite(o->part_norms[0]));
        const struct {
            const double *at;
            size_t n;
        } parts[] = {{o->losses, N},
                     {o->lse, N},
                     {o->objective, N},
                     {o->h_sums, (size_t)(B + o->G) * C},
                     {o->mean_p, (size_t)o->M},
                     {o->output_rows, (size_t)o->M * C},
                     {o->output_bias, (size_t)o->M}};
        enum { PARTS = sizeof parts / sizeof *parts };
        double *kept[PARTS], evaluated;
        for (int i = 0; i < PARTS; i++) {
            kept[i] = malloc(parts[i].n * sizeof *kept[i]);
            assert_non_null(kept[i]);
            memcpy(kept[i], parts[i].at, parts[i].n * sizeof *kept[i]);
        }
        gradient_of(&b, 4, NULL);
        float *before = part(&b, MODEL_GRADIENTS);
        batch(3, inputs, targets);
        assert_int_equal(model_evaluate(b.model, inputs, targets, &evaluated, &o, &b.err), 0);
        assert_true(evaluated == loss);
        for (int i = 0; i < PARTS; i++) {
            assert_memory_equal(parts[i].at, kept[i], parts[i].n * sizeof *kept[i]);
            free(kept[i]);
        }
        assert_true(isnan(o->grad_norm) && !o->scores && isnan(o->part_norms[0]));
        float *after = part(&b, MODEL_GRADIENTS);
        assert_memory_equal(after, before, (size_t)b.shapes->n_parameters * sizeof *after);
        assert_int_equal(model_evaluate(b.model, inputs, targets, &evaluated, NULL, &b.err), 0);
        assert_true(evaluated == loss);
        free(before);
        free(after);
        bench_close(&b);
    }
    spec_free(spec);
}

/* The norm is the same number when the update makes it, also in a model whose
 * embeddings are spared the decay and updated by themselves. */
static void test_one_gradient_norm(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->train.decay_embeddings = 0;
    for (int ref = 0; ref < 2; ref++) {
        struct bench b;
        int32_t inputs[N], targets[N];
        struct model_result result;
        const struct model_observation *o;
        bench_open(&b, spec, ref);
        gradient_of(&b, 3, &o);
        const double alone = o->grad_norm;
        batch(3, inputs, targets);
        assert_int_equal(model_submit(b.model, MODEL_GRADIENT | MODEL_OBSERVE | MODEL_UPDATE,
                                      inputs, targets, 1, &b.err),
                         0);
        assert_int_equal(model_collect(b.model, &result, &b.err), 0);
        assert_true(alone > 0 && result.observation->grad_norm == alone);
        bench_close(&b);
    }
    spec_free(spec);
}

/* ---- weights at the start, decay ---- */

static void test_initial_weights(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->model.tie = TIE_UNTIED_EQUAL;
    spec->model.head_bias = 1;
    spec->model.init_std = 0.02;
    spec->model.position_std = 0.05;
    struct bench a, b;
    bench_open(&a, spec, 0);
    float *w = part(&a, MODEL_PARAMETERS);
    const double std_of[] = {[SHAPES_TOKEN_EMBEDDING] = 0.02,
                             [SHAPES_POSITION_EMBEDDING] = 0.05,
                             [SHAPES_WEIGHT] = 0.02,
                             [SHAPES_UNEMBEDDING] = 0.02,
                             [SHAPES_BIAS] = 0,
                             [SHAPES_GAIN] = 0,
                             [SHAPES_HEAD_BIAS] = 0};
    for (int t = 0; t < a.shapes->n_tensors; t++) {
        const struct shapes_tensor *tensor = &a.shapes->tensor[t];
        const int64_t n = tensor->file_rows * tensor->cols;
        const double mean = tensor->kind == SHAPES_GAIN, std = std_of[tensor->kind];
        double squares = 0;
        for (int64_t k = 0; k < n; k++)
            squares += (w[tensor->offset + k] - mean) * (w[tensor->offset + k] - mean);
        assert_near(tensor->name, sqrt(squares / (double)n), std, 4 * std / sqrt(2.0 * (double)n));
        for (int64_t k = n; k < tensor->rows * tensor->cols; k++)
            assert_true(w[tensor->offset + k] == 0);
    }
    const struct shapes_tensor *out = &a.shapes->tensor[shapes_find(a.shapes, "lm_head.weight")];
    assert_memory_equal(w, w + out->offset, (size_t)(V * C) * sizeof *w);
    assert_true(w[3] == (float)(0.02 * random_normal(spec_seed_weights(spec), RANDOM_WEIGHTS, 3)));

    spec->model.tie = TIE_UNTIED;
    bench_open(&b, spec, 0);
    float *own = part(&b, MODEL_PARAMETERS);
    assert_memory_equal(w, own, (size_t)(V * C) * sizeof *w);
    assert_true(own[out->offset] != own[0]);
    free(own);
    free(w);
    bench_close(&a);
    bench_close(&b);
    spec_free(spec);
}

/* An input row that is never fed moves by decay alone: w_0 (1 - lr * decay)^t. */
static void test_decay(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->model.tie = TIE_UNTIED;
    for (int decayed = 0; decayed < 2; decayed++) {
        struct bench b;
        spec->train.decay_embeddings = decayed;
        bench_open(&b, spec, 0);
        load_formula(&b);
        float *before = part(&b, MODEL_PARAMETERS);
        int fed[V] = {0};
        for (int step = 0; step < 5; step++) {
            int32_t inputs[N], targets[N];
            batch((uint64_t)step, inputs, targets);
            for (int n = 0; n < N; n++)
                fed[inputs[n]] = 1;
        }
        train(&b, 5, 0);
        float *after = part(&b, MODEL_PARAMETERS);
        int unfed = 0;
        for (int v = 0; v < V; v++)
            for (int c = 0; !fed[v] && c < C; c++, unfed++)
                assert_near("row", (double)after[v * C + c],
                            before[v * C + c] * (decayed ? pow(1 - 0.01 * 0.1, 5) : 1), 1e-7);
        assert_true(unfed > 0);
        free(before);
        free(after);
        bench_close(&b);
    }
    spec_free(spec);
}

/* decay_embeddings spares both embeddings and an unembedding of its own, nothing
 * else: one step apart by lr * decay * w there, not at all elsewhere. */
static void test_spared_tensors(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    struct bench b[2];
    float *after[2];
    spec->model.tie = TIE_UNTIED;
    spec->model.head_bias = 1;
    for (int decayed = 0; decayed < 2; decayed++) {
        spec->train.decay_embeddings = decayed;
        bench_open(&b[decayed], spec, 0);
        load_formula(&b[decayed]);
        train(&b[decayed], 1, 0);
        after[decayed] = part(&b[decayed], MODEL_PARAMETERS);
    }
    load_formula(&b[0]);
    float *before = part(&b[0], MODEL_PARAMETERS);
    int n_spared = 0;
    for (int t = 0; t < b[0].shapes->n_tensors; t++) {
        const struct shapes_tensor *tensor = &b[0].shapes->tensor[t];
        const int spared = strcmp(tensor->name, "transformer.wte.weight") == 0 ||
                           strcmp(tensor->name, "transformer.wpe.weight") == 0 ||
                           strcmp(tensor->name, "lm_head.weight") == 0;
        n_spared += spared;
        for (int64_t i = tensor->offset; i < tensor->offset + tensor->rows * tensor->cols; i++)
            assert_near(tensor->name, (double)(after[0][i] - after[1][i]),
                        spared ? 0.01 * 0.1 * (double)before[i] : 0, 1e-7);
    }
    assert_int_equal(n_spared, 3);
    free(before);
    for (int decayed = 0; decayed < 2; decayed++) {
        free(after[decayed]);
        bench_close(&b[decayed]);
    }
    spec_free(spec);
}

/* Every optimiser against the reference, spared embeddings and clipping included. */
static void test_optimisers(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->train.decay_embeddings = 0;
    spec->train.grad_clip = 0.3;
    for (int kind = OPTIMIZER_SGD; kind <= OPTIMIZER_ADAMW; kind++) {
        spec->train.optimizer = (enum spec_optimizer)kind;
        struct bench a, b;
        bench_open(&a, spec, 0);
        bench_open(&b, spec, 1);
        load_formula(&a);
        load_formula(&b);
        assert_near("loss", train(&a, 5, 0), train(&b, 5, 0), 1e-5);
        assert_int_equal(model_parts(a.model), kind == OPTIMIZER_SGD        ? 1
                                               : kind == OPTIMIZER_MOMENTUM ? 2
                                                                            : 3);
        for (int p = 0; p < model_parts(a.model); p++) {
            float *x = part(&a, (enum model_part)p), *y = part(&b, (enum model_part)p);
            double difference = 0, size = 0;
            for (int64_t i = 0; i < a.shapes->n_parameters; i++) {
                difference += (double)((x[i] - y[i]) * (x[i] - y[i]));
                size += (double)(y[i] * y[i]);
            }
            assert_near("part", sqrt(difference / size), 0, 2e-5);
            free(x);
            free(y);
        }
        bench_close(&a);
        bench_close(&b);
    }
    spec_free(spec);
}

/* ---- contract ---- */

static void *(*real_alloc)(struct backend *self, int64_t bytes, struct err *err);
static int64_t allocated;

static void *counting_alloc(struct backend *self, int64_t bytes, struct err *err)
{
    allocated += bytes;
    return real_alloc(self, bytes, err);
}

/* What is announced is what is allocated, and no step adds to it. */
static void test_bytes_are_exact(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    spec->groups.size = 2; /* three groups of two: the same sizes as `same` */
    struct groups same = {.n = 3, .n_tokens = TRACKED, .tokens = tracked};
    for (int g = 0; g < 3; g++)
        same.group[g] = (struct group){.n = 2, .ids = tracked + 2 * g};
    struct err err = ERR_INIT;
    struct backend *cpu;
    struct model *model;
    assert_int_equal(cpu_backend_open(1, PRECISION_FP32, &cpu, &err), 0);
    real_alloc = cpu->alloc;
    cpu->alloc = counting_alloc;
    int32_t inputs[N], targets[N];
    batch(0, inputs, targets);
    for (int kind = OPTIMIZER_SGD; kind <= OPTIMIZER_ADAMW; kind++) {
        spec->train.optimizer = (enum spec_optimizer)kind;
        allocated = 0;
        assert_int_equal(model_open(spec, V, &same, cpu, &model, &err), 0);
        assert_int_equal(model_initialise(model, &err), 0);
        const struct model_observation *o;
        assert_int_equal(model_gradient(model, inputs, targets, NULL, &o, &err), 0);
        assert_int_equal(model_update(model, 1, &err), 0);
        assert_int_equal(model_bytes(model), memory_bytes(spec, PRECISION_FP32, V, &same, &err));
        assert_int_equal(model_bytes(model), allocated);
        model_close(model);
    }
    cpu->close(cpu);
    spec_free(spec);
}

static int64_t room;

static int64_t limited_room(struct backend *self)
{
    (void)self;
    return room;
}

/* Every part of the job alone fits into what is there, all of them do not. */
static void test_refused_as_a_whole(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    struct bench b;
    char wanted[64];
    bench_open(&b, spec, 0);
    b.backend->available = limited_room;
    struct memory_plan plan;
    memory_plan(spec, b.shapes, groups.n, groups.n_tokens, 4, 4, MEMORY_HEAD_CHUNK_CPU, &plan);
    b.backend->slots = 2;
    room = model_bytes(b.model) + b.shapes->n_parameters * (int64_t)sizeof(float) + 2 * plan.slot;
    struct model *model = NULL;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &model, &b.err), 0);
    model_close(model);
    model = NULL;
    room--;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &model, &b.err), -1);
    assert_int_equal(b.err.code, ERR_NO_MEMORY);
    snprintf(wanted, sizeof wanted, "needs %lld bytes", (long long)model_bytes(b.model));
    assert_non_null(strstr(b.err.message, wanted));
    snprintf(wanted, sizeof wanted, "%lld are there", (long long)room);
    assert_non_null(strstr(b.err.message, wanted));
    assert_null(model);
    bench_close(&b);
    spec_free(spec);
}

static void test_refusals(void **state)
{
    (void)state;
    struct spec *spec = tiny();
    struct bench b;
    bench_open(&b, spec, 0);
    int32_t inputs[N], targets[N];
    double loss = 7;
    batch(0, inputs, targets);
    inputs[3] = V;
    assert_int_equal(model_gradient(b.model, inputs, targets, &loss, NULL, &b.err), -1);
    assert_int_equal(b.err.code, ERR_INVALID);
    assert_non_null(strstr(b.err.message, "37"));
    inputs[3] = 0;
    targets[9] = -1;
    assert_int_equal(model_gradient(b.model, inputs, targets, &loss, NULL, &b.err), -1);
    assert_true(loss == 7);

    struct model *model = NULL;
    spec->train.precision = PRECISION_BF16;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &model, &b.err), -1);
    assert_int_equal(b.err.code, ERR_UNAVAILABLE);
    spec->train.precision = PRECISION_FP32;
    b.backend->head_max = spec->model.d_model / spec->model.n_heads - 1;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &model, &b.err), -1);
    assert_int_equal(b.err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(b.err.message, "attention heads of"));
    b.backend->head_max++;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &model, &b.err), 0);
    model_close(model);
    model = NULL;
    b.backend->head_max = 0;
    assert_int_equal(model_open(spec, 36, &groups, b.backend, &model, &b.err), -1);
    assert_int_equal(b.err.code, ERR_INVALID);
    spec->model.d_model = SPEC_D_MODEL_MAX;
    spec->model.n_layers = SPEC_LAYERS_MAX;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &model, &b.err), -1);
    assert_int_equal(b.err.code, ERR_NO_MEMORY);
    assert_null(model);
    bench_close(&b);
    spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_tied),
        cmocka_unit_test(test_gradient_untied),
        cmocka_unit_test(test_tied_is_the_sum),
        cmocka_unit_test(test_pytorch),
        cmocka_unit_test(test_measuring_changes_nothing),
        cmocka_unit_test(test_progress_changes_nothing),
        cmocka_unit_test(test_steps_under_way),
        cmocka_unit_test(test_resume_is_exact),
        cmocka_unit_test(test_padding_is_never_read),
        cmocka_unit_test(test_observation),
        cmocka_unit_test(test_evaluation_is_a_step_without_gradient),
        cmocka_unit_test(test_group_sums_leave_positions_out),
        cmocka_unit_test(test_one_gradient_norm),
        cmocka_unit_test(test_initial_weights),
        cmocka_unit_test(test_decay),
        cmocka_unit_test(test_spared_tensors),
        cmocka_unit_test(test_optimisers),
        cmocka_unit_test(test_bytes_are_exact),
        cmocka_unit_test(test_refused_as_a_whole),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
