/* cuda_model: the whole model on a real GPU.
 *
 *   cuda_model gradient fp32|bf16 SHAPE
 *       losses, statistics and every tensor's gradient of one batch against the
 *       reference in double; prints the largest relative error
 *   cuda_model repeat fp32|bf16 SHAPE
 *       eight steps of training twice, measured or not: the same bits
 *   cuda_model memory fp32|bf16 SHAPE
 *       what the driver takes for an opened card and beside a training job, against
 *       what jobs are admitted by (lab/memory.h); to be run alone on the card
 *   cuda_model list
 *       names of the shapes */
#include <math.h>

#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "lab/memory.h"
#include "lab/random.h"
#include "tests/gpu/bare/cmocka.h"
#include "tests/gpu/bare/library.h"
#include "gpu/ref/ref_backend.h"

enum { TRACKED = 6, STEPS = 8 };

static int32_t tracked[TRACKED] = {0, 5, 36, 5, 17, 256};
static struct groups groups = {
    .n = 2,
    .group = {{.n = 3, .ids = tracked}, {.n = 3, .ids = tracked + 3}},
    .n_tokens = TRACKED,
    .tokens = tracked,
};

/* small: two tiles and one more position, heads of 12; tensor, wide: heads of 64 and
 * 128, which tensor cores take in bfloat16; odd: rows of 30 numbers, which start at
 * multiples of 16 bytes in neither precision; gulliver: the preset. */
static const struct shape {
    const char *name;
    int B, T, C, L, NH, V;
    enum { TIED, UNTIED, ADAPTIVE } head;
} shapes[] = {
    {"small", 2, 65, 48, 2, 4, 257, TIED},        {"untied", 1, 129, 96, 2, 3, 257, UNTIED},
    {"adaptive", 2, 65, 48, 2, 4, 257, ADAPTIVE}, {"tensor", 2, 129, 128, 2, 2, 257, UNTIED},
    {"wide", 1, 65, 256, 2, 2, 257, UNTIED},      {"odd", 2, 65, 30, 2, 2, 257, UNTIED},
    {"gulliver", 8, 64, 128, 4, 4, 50257, TIED},
};

static struct spec *spec_of(const struct shape *shape)
{
    struct spec *spec = spec_default();
    assert_non_null(spec);
    spec->model.d_model = shape->C;
    spec->model.n_layers = shape->L;
    spec->model.n_heads = shape->NH;
    spec->model.seq_len = shape->T;
    spec->train.batch_size = shape->B;
    spec->train.grad_clip = 1;
    spec->groups.size = 1;
    if (shape->head != TIED)
        spec->model.tie = TIE_UNTIED;
    if (shape->head == ADAPTIVE) {
        spec->model.head = HEAD_ADAPTIVE;
        spec->model.n_cutoffs = 2;
        spec->model.cutoffs[0] = 40;
        spec->model.cutoffs[1] = 120;
    }
    if (shape->head == UNTIED) {
        spec->model.head_bias = 1;
        spec->model.logit_scale = 0.5;
        spec->model.activation = ACTIVATION_GELU_NEW;
    }
    return spec;
}

/* ---- a model and its backend ---- */

struct rig {
    const struct shape *shape;
    struct backend *backend;
    struct model *model;
    const struct shapes *shapes;
    struct err err;
};

static void check(struct rig *rig, int result)
{
    if (result != 0)
        fail_msg("%s", rig->err.message);
}

/* library NULL: the reference. */
static void rig_open(struct rig *rig, const struct shape *shape, const struct spec *spec,
                     const struct cuda_library *library, enum spec_precision precision)
{
    err_clear(&rig->err);
    rig->shape = shape;
    check(rig, library ? library->open(0, precision, &rig->backend, &rig->err)
                       : ref_backend_open(&rig->backend, &rig->err));
    check(rig, model_open(spec, shape->V, &groups, rig->backend, &rig->model, &rig->err));
    check(rig, model_initialise(rig->model, &rig->err));
    rig->shapes = model_shapes(rig->model);
    if (!model_order(rig->model))
        return;
    int32_t *order = malloc((size_t)shape->V * sizeof *order);
    assert_non_null(order);
    for (int r = 0; r < shape->V; r++)
        order[r] = (int32_t)((int64_t)r * 3 % shape->V);
    check(rig, model_set_order(rig->model, order, &rig->err));
    free(order);
}

static void rig_close(struct rig *rig)
{
    model_close(rig->model);
    rig->backend->close(rig->backend);
}

static float *part(struct rig *rig, enum model_part which)
{
    float *host = malloc((size_t)rig->shapes->n_parameters * sizeof *host);
    assert_non_null(host);
    check(rig, model_download(rig->model, which, host, &rig->err));
    return host;
}

static void step(struct rig *rig, int number, double *loss,
                 const struct model_observation **observation)
{
    const int N = rig->shape->B * rig->shape->T;
    int32_t *ids = malloc(((size_t)N + 1) * sizeof *ids);
    assert_non_null(ids);
    for (int k = 0; k <= N; k++)
        ids[k] = (int32_t)random_below(7, RANDOM_TIES, (uint64_t)(number * N + k),
                                       (uint64_t)rig->shape->V);
    check(rig, model_gradient(rig->model, ids, ids + 1, loss, observation, &rig->err));
    free(ids);
}

/* ---- gradient ---- */

static double worst, allowed;

static void compare(const char *what, double difference, double size)
{
    const double error = size > 0 ? sqrt(difference / size) : sqrt(difference);
    if (!(error < allowed))
        fail_msg("%s: relative error %g, allowed %g", what, error, allowed);
    worst = error > worst ? error : worst;
}

static void compare_numbers(const char *what, const double *x, const double *y, int64_t n)
{
    double difference = 0, size = 0;
    for (int64_t k = 0; k < n; k++) {
        difference += (x[k] - y[k]) * (x[k] - y[k]);
        size += y[k] * y[k];
    }
    compare(what, difference, size);
}

/* The key bias, the middle third of its tensor, has a gradient of 0: it is judged
 * by the size of the whole tensor's. Padding's is 0 exactly. */
static void compare_tensor(const struct shapes_tensor *tensor, const float *x, const float *y)
{
    const int64_t n = tensor->file_rows * tensor->cols;
    double difference = 0, size = 0;
    for (int64_t i = tensor->offset; i < tensor->offset + n; i++) {
        difference += pow((double)x[i] - (double)y[i], 2);
        size += pow((double)y[i], 2);
    }
    compare(tensor->name, difference, size);
    for (int64_t k = n; k < tensor->rows * tensor->cols; k++)
        assert_true(x[tensor->offset + k] == 0);
}

static void check_gradient(const struct cuda_library *library, enum spec_precision precision,
                           const struct shape *shape)
{
    struct spec *spec = spec_of(shape);
    struct rig cuda, ref;
    const struct model_observation *x, *y;
    double loss, expected;
    allowed = precision == PRECISION_BF16 ? 3e-2 : 2e-5;
    rig_open(&cuda, shape, spec, library, precision);
    rig_open(&ref, shape, spec, NULL, PRECISION_AUTO);
    step(&cuda, 0, &loss, &x);
    step(&ref, 0, &expected, &y);
    compare_numbers("loss", &loss, &expected, 1);
    compare_numbers("losses", x->losses, y->losses, x->N);
    compare_numbers("lse", x->lse, y->lse, x->K * x->N);
    compare_numbers("h sums", x->h_sums, y->h_sums, (int64_t)(x->B + x->G) * x->C);
    compare_numbers("mean p", x->mean_p, y->mean_p, TRACKED);
    compare_numbers("norm", &x->grad_norm, &y->grad_norm, 1);
    float *gradient = part(&cuda, MODEL_GRADIENTS), *right = part(&ref, MODEL_GRADIENTS);
    for (int t = 0; t < cuda.shapes->n_tensors; t++)
        compare_tensor(&cuda.shapes->tensor[t], gradient, right);
    printf("%d tensors, largest error %.3g of %g\n", cuda.shapes->n_tensors, worst, allowed);
    free(gradient);
    free(right);
    rig_close(&cuda);
    rig_close(&ref);
    spec_free(spec);
}

/* ---- the same bits ---- */

static void train(struct rig *rig, int is_measured, double losses[STEPS])
{
    const struct model_observation *observation;
    for (int s = 0; s < STEPS; s++) {
        step(rig, s, &losses[s], is_measured ? &observation : NULL);
        check(rig, model_update(rig->model, s + 1, &rig->err));
    }
}

static void check_repeat(const struct cuda_library *library, enum spec_precision precision,
                         const struct shape *shape)
{
    struct spec *spec = spec_of(shape);
    struct rig a, b;
    double first[STEPS], again[STEPS];
    rig_open(&a, shape, spec, library, precision);
    train(&a, 1, first);
    for (int is_measured = 0; is_measured < 2; is_measured++) {
        rig_open(&b, shape, spec, library, precision);
        train(&b, is_measured, again);
        assert_memory_equal(first, again, sizeof first);
        for (int p = 0; p < model_parts(a.model); p++) {
            float *x = part(&a, (enum model_part)p), *y = part(&b, (enum model_part)p);
            assert_memory_equal(x, y, (size_t)a.shapes->n_parameters * sizeof *x);
            free(x);
            free(y);
        }
        rig_close(&b);
    }
    printf("%d steps, loss %.9g to %.9g\n", STEPS, first[0], first[STEPS - 1]);
    rig_close(&a);
    spec_free(spec);
}

/* ---- memory ---- */

static void check_memory(const struct cuda_library *library, enum spec_precision precision,
                         const struct shape *shape)
{
    struct spec *spec = spec_of(shape);
    struct rig rig;
    char name[BACKEND_DEVICE_MAX];
    int64_t whole;
    double losses[STEPS];
    err_clear(&rig.err);
    check(&rig, library->query(0, name, &whole, &rig.err));
    rig_open(&rig, shape, spec, library, precision);
    train(&rig, 1, losses);
    train(&rig, 0, losses);
    const int64_t running = whole - rig.backend->available(rig.backend);
    const int64_t job = model_bytes(rig.model);
    model_close(rig.model);
    const int64_t opened = whole - rig.backend->available(rig.backend);
    const int64_t beside = memory_beside("cuda", 0);
    if (running - job > beside)
        fail_msg("%lld bytes beside a job of %lld, %lld allowed; %lld after it",
                 (long long)(running - job), (long long)job, (long long)beside, (long long)opened);
    printf("%lld bytes beside a job of %lld, %lld allowed; %lld after it\n",
           (long long)(running - job), (long long)job, (long long)beside, (long long)opened);
    rig.backend->close(rig.backend);
    spec_free(spec);
}

static const struct {
    const char *name;
    void (*check)(const struct cuda_library *library, enum spec_precision precision,
                  const struct shape *shape);
} commands[] = {{"gradient", check_gradient}, {"repeat", check_repeat}, {"memory", check_memory}};
enum { COMMANDS = sizeof commands / sizeof *commands };

enum { SHAPES = sizeof shapes / sizeof *shapes };

static void list(void)
{
    for (int i = 0; i < SHAPES; i++)
        puts(shapes[i].name);
}

int main(int argc, char **argv)
{
    const struct shape *shape = NULL;
    size_t command = 0;
    struct err err = ERR_INIT;
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        list();
        return EXIT_SUCCESS;
    }
    for (int i = 0; argc == 4 && i < SHAPES; i++)
        if (strcmp(argv[3], shapes[i].name) == 0)
            shape = &shapes[i];
    const enum spec_precision precision = argc == 4 ? bare_precision(argv[2]) : PRECISION_AUTO;
    while (shape && command < COMMANDS && strcmp(argv[1], commands[command].name) != 0)
        command++;
    if (!shape || precision == PRECISION_AUTO || command == COMMANDS) {
        fputs("usage: cuda_model list | gradient|repeat|memory fp32|bf16 SHAPE\n", stderr);
        return 2;
    }
    const struct cuda_library *library = bare_library(&err);
    if (!library)
        fail_msg("%s", err.message);
    commands[command].check(library, precision, shape);
    return EXIT_SUCCESS;
}
