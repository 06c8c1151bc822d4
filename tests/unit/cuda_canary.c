/* The first batch of a job on the cuda backend, on the processor (tests/lib/cuda_host.h), beside the
 * CPU: a correct device agrees at every kind of output layer, with every remedy and at awkward
 * shapes, in both precisions and far from the bounds; each seeded fault is beyond them and named.
 * Comparing changes no bit of the training. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config/record.h"
#include "gpu/canary.h"
#include "gpu/cpu/cpu.h"
#include "gpu/cuda/cuda.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/train.h"
#include "lab/random.h"

enum { TEXT = 900, WORDS = 200, VOCAB = 257, JSON_MAX = 1024, THREADS = 2, EPOCHS = 3 };

#define MARGIN 2.5 /* by which a correct device stays below every bound here */

/* Heads that tensor cores take, and rows that no vector instruction fits; one position a window:
 * softmax over one number has no gradient. */
static const struct form {
    const char *name, *json; /* of the spec, without data and groups */
} forms[] = {
    {"tied", "\"model\": {\"d_model\": 48, \"n_layers\": 2, \"n_heads\": 4, \"seq_len\": 33},"
             "\"train\": {\"batch_size\": 2, \"grad_clip\": 1}"},
    {"untied", "\"model\": {\"d_model\": 96, \"n_layers\": 1, \"n_heads\": 3, \"seq_len\": 65,"
               "\"tie\": \"untied\", \"head_bias\": true, \"activation\": \"gelu_new\","
               "\"logit_scale\": 0.5}, \"train\": {\"batch_size\": 1}"},
    {"equal", "\"model\": {\"d_model\": 48, \"n_layers\": 2, \"n_heads\": 4, \"seq_len\": 33,"
              "\"tie\": \"untied_equal\", \"logit_scale\": \"inv_sqrt_d\"},"
              "\"train\": {\"batch_size\": 2}"},
    {"adaptive", "\"model\": {\"d_model\": 48, \"n_layers\": 2, \"n_heads\": 4, \"seq_len\": 33,"
                 "\"tie\": \"untied\", \"head\": \"adaptive\", \"cutoffs\": [40, 120]},"
                 "\"train\": {\"batch_size\": 2}"},
    {"remedies", "\"model\": {\"d_model\": 48, \"n_layers\": 1, \"n_heads\": 4, \"seq_len\": 33},"
                 "\"train\": {\"batch_size\": 2}, \"loss\": {\"class_weight\": 0.5,"
                 "\"label_smoothing\": 0.1, \"z_loss\": 0.001, \"logit_adjustment\": 1}"},
    {"tensor", "\"model\": {\"d_model\": 128, \"n_layers\": 1, \"n_heads\": 2, \"seq_len\": 65},"
               "\"train\": {\"batch_size\": 1}"},
    {"odd", "\"model\": {\"d_model\": 30, \"n_layers\": 2, \"n_heads\": 2, \"seq_len\": 33},"
            "\"train\": {\"batch_size\": 2}"},
    {"fitted", "\"model\": {\"d_model\": 16, \"n_layers\": 1, \"n_heads\": 2, \"seq_len\": 2},"
               "\"train\": {\"batch_size\": 32, \"lr\": 0.01}"},
    {"short", "\"model\": {\"d_model\": 16, \"n_layers\": 1, \"n_heads\": 2, \"seq_len\": 2},"
              "\"train\": {\"batch_size\": 1}"},
    {"nothing", "\"model\": {\"d_model\": 16, \"n_layers\": 1, \"n_heads\": 2, \"seq_len\": 4,"
                "\"init_std\": 0, \"position_std\": 0}, \"train\": {\"batch_size\": 1}"},
};
enum { TIED, FITTED = 7, FORMS = sizeof forms / sizeof *forms };

static const enum spec_precision precisions[] = {PRECISION_FP32, PRECISION_BF16};

/* ---- a job and its device ---- */

struct bench {
    struct spec *spec;
    struct dataset dataset;
    struct backend *backend;
    struct model *model;
    int32_t *inputs, *targets;
    float *parameters;
};

static int32_t text[TEXT];

static struct spec *parse(const struct form *form, enum spec_precision precision)
{
    char json[JSON_MAX];
    struct err err = ERR_INIT;
    struct spec *spec = NULL;
    snprintf(json, sizeof json, "{%s, \"groups\": {\"size\": 5}}", form->json);
    if (spec_parse(json, strlen(json), &spec, &err) != 0)
        fail_msg("%s: %s", form->name, err.message);
    spec->train.precision = precision;
    spec->train.epochs = EPOCHS;
    return spec;
}

/* Small ids are more frequent. */
static void open_dataset(struct bench *b)
{
    struct err err = ERR_INIT;
    for (int i = 0; i < TEXT; i++)
        text[i] = (int32_t)random_below(3, RANDOM_TOKENS, (uint64_t)i,
                                        1 + random_below(4, RANDOM_TOKENS, (uint64_t)i, WORDS));
    b->dataset = (struct dataset){.vocab = VOCAB, .ids = text, .n = TEXT};
    if (frequency_count(text, TEXT, VOCAB, &b->dataset.frequency, &err) != 0 ||
        groups_build(b->spec, &b->dataset.frequency, NULL, NULL, &b->dataset.groups, &err) != 0)
        fail_msg("%s", err.message);
}

static void bench_open(struct bench *b, const struct form *form, enum spec_precision precision)
{
    struct err err = ERR_INIT;
    *b = (struct bench){.spec = parse(form, precision)};
    open_dataset(b);
    if (cuda_backend_open(0, precision, &b->backend, &err) != 0 ||
        model_open(b->spec, VOCAB, &b->dataset.groups, b->backend, &b->model, &err) != 0 ||
        model_set_frequency(b->model, &b->dataset.frequency, &err) != 0 ||
        model_initialise(b->model, &err) != 0)
        fail_msg("%s: %s", form->name, err.message);
    b->inputs = text;
    b->targets = text + 1;
    b->parameters = malloc((size_t)model_shapes(b->model)->n_parameters * sizeof *b->parameters);
    assert_non_null(b->parameters);
}

static void bench_close(struct bench *b)
{
    model_close(b->model);
    b->backend->close(b->backend);
    groups_free(&b->dataset.groups);
    frequency_free(&b->dataset.frequency);
    spec_free(b->spec);
    free(b->parameters);
}

static int compare(struct bench *b, double seconds, struct canary_result *out, struct err *err)
{
    const struct canary_job job = {.spec = b->spec,
                                   .dataset = &b->dataset,
                                   .backend = b->backend,
                                   .model = b->model,
                                   .inputs = b->inputs,
                                   .targets = b->targets,
                                   .parameters = b->parameters,
                                   .threads = THREADS,
                                   .seconds = seconds};
    return canary_compare(&job, out, err);
}

/* Train on the same batch, on the processor, because the layer is slow. */
static void train(struct bench *b, int steps)
{
    struct err err = ERR_INIT;
    struct spec spec = *b->spec;
    struct backend *cpu;
    struct model *model;
    double loss;
    spec.train.precision = PRECISION_FP32;
    if (cpu_backend_open(THREADS, PRECISION_FP32, &cpu, &err) != 0 ||
        model_open(&spec, VOCAB, &b->dataset.groups, cpu, &model, &err) != 0 ||
        model_initialise(model, &err) != 0)
        fail_msg("%s", err.message);
    for (int s = 0; s < steps; s++)
        if (model_gradient(model, b->inputs, b->targets, &loss, NULL, &err) != 0 ||
            model_update(model, s + 1, &err) != 0)
            fail_msg("%s", err.message);
    if (model_download(model, MODEL_PARAMETERS, b->parameters, &err) != 0 ||
        model_upload(b->model, MODEL_PARAMETERS, b->parameters, &err) != 0)
        fail_msg("%s", err.message);
    model_close(model);
    cpu->close(cpu);
}

/* ---- a correct device ---- */

static void test_a_correct_device_agrees(void **state)
{
    (void)state;
    for (int p = 0; p < 2; p++)
        for (int f = 0; f < FORMS; f++) {
            struct bench b;
            struct err err = ERR_INIT;
            struct canary_result found;
            bench_open(&b, &forms[f], precisions[p]);
            if (compare(&b, CANARY_SECONDS, &found, &err) != 0)
                fail_msg("%s: %s", forms[f].name, err.message);
            print_message("%s %s: %s %.2g of %.2g\n", forms[f].name, p ? "bf16" : "fp32",
                          found.what, found.error, found.bound);
            assert_int_equal(found.windows, b.spec->train.batch_size);
            assert_int_equal(found.n_gradients, model_shapes(b.model)->n_tensors);
            assert_true(MARGIN * found.error < found.bound);
            bench_close(&b);
        }
}

/* Weights that have been trained, and ones that fit the batch as well as they can, where the
 * gradients of its positions cancel and rounding is all that is left. */
static void test_a_correct_device_agrees_later(void **state)
{
    static const int steps[] = {20, 600};
    (void)state;
    for (int p = 0; p < 2; p++)
        for (int i = 0; i < 2; i++) {
            struct bench b;
            struct err err = ERR_INIT;
            struct canary_result found;
            bench_open(&b, &forms[FITTED], precisions[p]);
            train(&b, steps[i]);
            if (compare(&b, CANARY_SECONDS, &found, &err) != 0)
                fail_msg("%s", err.message);
            print_message("%d steps, %s: %s %.2g of %.2g\n", steps[i], p ? "bf16" : "fp32",
                          found.what, found.error, found.bound);
            bench_close(&b);
        }
}

/* ---- a device that is wrong ---- */

static struct backend right;       /* the table before a fault */
static const struct fault *seeded; /* what is wrong */
static int calls;                  /* of the operation */

static struct fault {
    const char *name, *seen; /* part of what is told */
    int call;                /* number of the call that is wrong, ALL: each */
} faults[] = {
    {"attention", "gradient of transformer.h.", -1},
    {"attention", "gradient of transformer.h.", 0},
    {"row", "", 0},
    {"row", "", 3},
    {"weight", "the gradient of transformer.h.1.mlp.c_proj.weight", 0},
    {"weight row", "a row of the gradient of transformer.h.1.mlp.c_proj.weight", 0},
    {"bias", "the gradient of transformer.h.1.mlp.c_proj.bias", 0},
    {"gain", "the gradient of transformer.ln_f.weight", 0},
    {"losses", "the losses", 0},
};
enum { ALL = -1, FAULTS = sizeof faults / sizeof *faults };

static int is_wrong(const char *name)
{
    return strcmp(seeded->name, name) == 0 && (seeded->call == ALL || seeded->call == calls++);
}

static void zero_rows(struct backend *be, void *out, int64_t first, int64_t n, int64_t cols,
                      size_t bytes)
{
    right.zero(be, (char *)out + (size_t)(first * cols) * bytes, n * cols * (int64_t)bytes);
}

static void attention(struct backend *be, void *out, void *lse, const void *qkv, int B, int T,
                      int C, int NH)
{
    right.attention_forward(be, out, lse, qkv, B, T, C, NH);
    if (is_wrong("attention"))
        zero_rows(be, out, 0, (int64_t)B * T, C, be->act_bytes);
}

static void product(struct backend *be, void *out, const void *x, const void *weight,
                    const void *bias, int N, int I, int O)
{
    right.matmul_forward(be, out, x, weight, bias, N, I, O);
    if (is_wrong("row"))
        zero_rows(be, out, N / 2, 1, O, be->act_bytes);
}

static void product_of_weight(struct backend *be, void *dweight, void *dbias, const void *x,
                              const void *dout, int N, int I, int O)
{
    right.matmul_backward_weight(be, dweight, dbias, x, dout, N, I, O);
    if (is_wrong("weight"))
        zero_rows(be, dweight, 0, I, O, be->real_bytes);
    if (is_wrong("weight row"))
        zero_rows(be, dweight, I / 2, 1, O, be->real_bytes);
    if (is_wrong("bias"))
        zero_rows(be, dbias, 0, 1, O, be->real_bytes);
}

static void norm_backward(struct backend *be, void *dx, void *dgain, void *dbias, const void *dout,
                          const void *residual, const void *x, const void *mean, const void *rstd,
                          const void *gain, int N, int C)
{
    right.layernorm_backward(be, dx, dgain, dbias, dout, residual, x, mean, rstd, gain, N, C);
    if (is_wrong("gain"))
        zero_rows(be, dgain, 0, 1, C, be->real_bytes);
}

static void lm_head(struct backend *be, const struct backend_lm_head *head)
{
    right.lm_head(be, head);
    if (is_wrong("losses"))
        zero_rows(be, head->losses, 0, head->N, 1, be->real_bytes);
}

static void seed(struct bench *b, const struct fault *fault)
{
    right = *b->backend;
    seeded = fault;
    calls = 0;
    b->backend->attention_forward = attention;
    b->backend->matmul_forward = product;
    b->backend->matmul_backward_weight = product_of_weight;
    b->backend->layernorm_backward = norm_backward;
    b->backend->lm_head = lm_head;
}

static void test_each_fault_is_found(void **state)
{
    (void)state;
    for (int p = 0; p < 2; p++)
        for (int f = 0; f < FAULTS; f++) {
            struct bench b;
            struct err err = ERR_INIT;
            struct canary_result found;
            bench_open(&b, &forms[TIED], precisions[p]);
            seed(&b, &faults[f]);
            assert_int_equal(compare(&b, CANARY_SECONDS, &found, &err), -1);
            print_message("%s: %s\n", faults[f].name, err.message);
            assert_int_equal(err.code, ERR_DEVICE_WRONG);
            assert_non_null(strstr(err.message, faults[f].seen));
            assert_true(found.error > 1.5 * found.bound);
            bench_close(&b);
        }
}

/* ---- a slow processor, one that cannot be asked, losses that are none ---- */

static void test_one_window_where_a_gradient_takes_too_long(void **state)
{
    (void)state;
    struct bench b;
    struct err err = ERR_INIT;
    struct canary_result found;
    bench_open(&b, &forms[TIED], PRECISION_BF16);
    assert_int_equal(compare(&b, 0, &found, &err), 0);
    assert_int_equal(found.windows, 1);
    assert_int_equal(found.n_gradients, 0);
    assert_true(found.error > 0 && MARGIN * found.error < found.bound);
    seed(&b, &faults[0]);
    assert_int_equal(compare(&b, 0, &found, &err), -1);
    assert_int_equal(err.code, ERR_DEVICE_WRONG);
    assert_non_null(strstr(err.message, "the losses: "));
    bench_close(&b);
}

static void test_nothing_to_compare_with(void **state)
{
    (void)state;
    struct bench b;
    struct err err = ERR_INIT;
    struct canary_result found;
    bench_open(&b, &forms[TIED], PRECISION_FP32);
    setenv("TOKENFATE_ISA", "abacus", 1);
    assert_int_equal(compare(&b, CANARY_SECONDS, &found, &err), 0);
    unsetenv("TOKENFATE_ISA");
    assert_int_equal(found.windows, 0);
    assert_non_null(strstr(found.note, "abacus"));

    const int64_t n = model_shapes(b.model)->n_parameters;
    for (int64_t i = 0; i < n; i++)
        b.parameters[i] = NAN;
    assert_int_equal(model_upload(b.model, MODEL_PARAMETERS, b.parameters, &err), 0);
    assert_int_equal(compare(&b, CANARY_SECONDS, &found, &err), 0);
    assert_int_equal(found.windows, 0);
    assert_non_null(strstr(found.note, "not finite"));
    bench_close(&b);
}

/* ---- the training after it ---- */

struct diary {
    int64_t records;
    double values[EPOCHS + 1][RECORD_SCALARS + 4 * RECORD_FIELDS];
    float tokens[EPOCHS + 1][VOCAB];
    int started, logs;
};

static void on_started(void *self, int64_t first, int64_t bytes)
{
    struct diary *diary = self;
    assert_true(first == 0 && bytes > 0);
    diary->started = 1;
}

static void on_epoch(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    struct diary *diary = self;
    memcpy(diary->values[epoch], values, (size_t)n_values * sizeof *values);
    memcpy(diary->tokens[epoch], tokens, (size_t)n_tokens * sizeof *tokens);
    diary->values[epoch][RECORD_TOKENS_PER_SECOND] = 0;
    diary->records++;
}

static enum train_order on_alive(void *self, int64_t epoch)
{
    (void)self;
    (void)epoch;
    return TRAIN_GO;
}

static void on_busy(void *self, int64_t epoch)
{
    (void)self;
    assert_true(epoch >= 0);
}

static void on_flush(void *self)
{
    (void)self;
}

static void on_checkpointed(void *self, int64_t epoch)
{
    (void)self;
    (void)epoch;
}

static void on_log(void *self, const char *line)
{
    struct diary *diary = self;
    diary->logs += strstr(line, "the first batch agrees with the CPU (2 windows, ") != NULL;
}

static int run(struct bench *b, int compares, struct diary *diary, struct err *err)
{
    const struct train_events events = {diary,   on_started, on_epoch,        on_alive,
                                        on_busy, on_flush,   on_checkpointed, on_log};
    const struct train_options options = {
        .build = "build", .compares = compares, .threads = THREADS};
    int64_t epoch;
    memset(diary, 0, sizeof *diary);
    return train_run(b->spec, &b->dataset, b->backend, &options, &events, &epoch, err);
}

static void test_comparing_changes_no_bit(void **state)
{
    static struct diary plain, compared;
    (void)state;
    for (int p = 0; p < 2; p++) {
        struct bench b;
        struct err err = ERR_INIT;
        bench_open(&b, &forms[TIED], precisions[p]);
        assert_int_equal(run(&b, 0, &plain, &err), 0);
        assert_int_equal(run(&b, 1, &compared, &err), 0);
        assert_int_equal(plain.records, EPOCHS + 1);
        assert_int_equal(plain.logs, 0);
        assert_int_equal(compared.logs, 1);
        plain.logs = compared.logs;
        assert_memory_equal(&plain, &compared, sizeof plain);
        bench_close(&b);
    }
}

/* Nothing has started, so nothing of the job is stored. */
static void test_a_wrong_device_starts_nothing(void **state)
{
    static struct diary diary;
    (void)state;
    struct bench b;
    struct err err = ERR_INIT;
    bench_open(&b, &forms[TIED], PRECISION_FP32);
    seed(&b, &faults[0]);
    assert_int_equal(run(&b, 1, &diary, &err), -1);
    assert_int_equal(err.code, ERR_DEVICE_WRONG);
    assert_int_equal(diary.started + diary.records, 0);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_correct_device_agrees),
        cmocka_unit_test(test_a_correct_device_agrees_later),
        cmocka_unit_test(test_each_fault_is_found),
        cmocka_unit_test(test_one_window_where_a_gradient_takes_too_long),
        cmocka_unit_test(test_nothing_to_compare_with),
        cmocka_unit_test(test_comparing_changes_no_bit),
        cmocka_unit_test(test_a_wrong_device_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
