/* The remedies of SCIENCE section 6, each against what its definition says must
 * come of it, on the cpu backend and on the reference in double: the sum over the
 * vocabulary of the output gradient, and where a model that has nothing to learn
 * but the counts of its targets ends (section 3, forms 3 and 7). That each
 * gradient is right is tested with the operations (ops_checks). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "gpu/cpu/cpu.h"
#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/ref/ref_backend.h"

/* One position a window, so that h_sums has the h of every position. */
enum { N = 24, C = 16, V = 37, UNUSED = 30, TYPES = 3 };

static int32_t tracked[] = {3, 5, 7, UNUSED};
enum { M = sizeof tracked / sizeof *tracked };
static const struct groups groups = {
    .n = 1, .group = {{.n = M, .ids = tracked}}, .n_tokens = M, .tokens = tracked};

/* 12, 8 and 4 of the three types: the counts of every batch. */
static int64_t counts[V] = {[3] = 12, [5] = 8, [7] = 4};
static const struct frequency frequency = {.vocab = V, .counts = counts, .total = N};

struct bench {
    struct spec *spec;
    struct backend *backend;
    struct model *model;
    const struct shapes *shapes;
    int32_t inputs[N], targets[N];
    struct err err;
};

static void expect_done(struct bench *b, int result)
{
    if (result)
        fail_msg("%s", b->err.message);
}

static void bench_open(struct bench *b, int ref, void (*remedy)(struct spec *spec))
{
    *b = (struct bench){0};
    assert_non_null(b->spec = spec_default());
    b->spec->model.d_model = C;
    b->spec->model.n_layers = 1;
    b->spec->model.n_heads = 2;
    b->spec->model.seq_len = 1;
    b->spec->model.tie = TIE_UNTIED;
    b->spec->model.logit_scale = 0.5;
    b->spec->model.init_std = 0.1;
    b->spec->train.batch_size = N;
    b->spec->train.lr = 0.02;
    b->spec->train.weight_decay = 0;
    remedy(b->spec);
    expect_done(b, ref ? ref_backend_open(&b->backend, &b->err)
                       : cpu_backend_open(2, PRECISION_FP32, &b->backend, &b->err));
    expect_done(b, model_open(b->spec, V, &groups, b->backend, &b->model, &b->err));
    expect_done(b, model_set_frequency(b->model, &frequency, &b->err));
    expect_done(b, model_initialise(b->model, &b->err));
    b->shapes = model_shapes(b->model);
    for (int p = 0; p < N; p++)
        b->targets[p] = p < 12 ? 3 : p < 20 ? 5 : 7;
}

static void bench_close(struct bench *b)
{
    model_close(b->model);
    b->backend->close(b->backend);
    spec_free(b->spec);
}

static const struct model_observation *gradient(struct bench *b)
{
    const struct model_observation *seen;
    expect_done(b, model_gradient(b->model, b->inputs, b->targets, NULL, &seen, &b->err));
    return seen;
}

/* Sum over the vocabulary of the output gradient; returns the sum of magnitudes. */
static double gradient_sum(struct bench *b, double sum[C])
{
    float *host = malloc((size_t)b->shapes->n_parameters * sizeof *host);
    assert_non_null(host);
    expect_done(b, model_download(b->model, MODEL_GRADIENTS, host, &b->err));
    const float *rows = host + b->shapes->tensor[shapes_find(b->shapes, "lm_head.weight")].offset;
    double magnitude = 0;
    for (int c = 0; c < C; c++) {
        sum[c] = 0;
        for (int v = 0; v < V; v++) {
            sum[c] += (double)rows[v * C + c];
            magnitude += fabs((double)rows[v * C + c]);
        }
    }
    free(host);
    return magnitude;
}

static void class_weight(struct spec *spec)
{
    spec->loss.class_weight = 1;
}

static void logit_adjustment(struct spec *spec)
{
    spec->loss.logit_adjustment = 0.7;
}

static void label_smoothing(struct spec *spec)
{
    spec->loss.label_smoothing = 0.2;
}

static void z_loss(struct spec *spec)
{
    spec->loss.z_loss = 0.01;
}

static void all_without_z(struct spec *spec)
{
    class_weight(spec);
    logit_adjustment(spec);
    label_smoothing(spec);
}

static void all(struct spec *spec)
{
    all_without_z(spec);
    z_loss(spec);
}

static void gradient_rows_sum_to_zero(void **state)
{
    static void (*const remedies[])(struct spec *) = {class_weight, logit_adjustment,
                                                      label_smoothing, all_without_z};
    for (size_t k = 0; k < sizeof remedies / sizeof *remedies; k++) {
        struct bench b;
        double sum[C];
        bench_open(&b, *(int *)*state, remedies[k]);
        for (int p = 0; p < N; p++)
            b.inputs[p] = p;
        gradient(&b);
        const double magnitude = gradient_sum(&b, sum);
        assert_true(magnitude > 0.1);
        for (int c = 0; c < C; c++)
            assert_true(fabs(sum[c]) < 1e-6 * magnitude);
        bench_close(&b);
    }
}

/* Under z-loss they do not: the sum is (2 c s / N) sum over positions of lse h. */
static void z_loss_pushes_every_row(void **state)
{
    struct bench b;
    double sum[C];
    bench_open(&b, *(int *)*state, z_loss);
    for (int p = 0; p < N; p++)
        b.inputs[p] = p;
    const struct model_observation *seen = gradient(&b);
    const double magnitude = gradient_sum(&b, sum);
    double largest = 0;
    for (int c = 0; c < C; c++) {
        double expected = 0;
        for (int p = 0; p < N; p++)
            expected += 2 * 0.01 * 0.5 / N * seen->lse[p] * seen->h_sums[p * C + c];
        largest = fmax(largest, fabs(expected));
        assert_true(fabs(sum[c] - expected) < 1e-6 * magnitude);
    }
    assert_true(largest > 1e-3 * magnitude);
    bench_close(&b);
}

/* The objective of every position, from its definition: with all inputs equal all
 * positions have the same logits, those of the observation's scores. */
static void objective_is_as_defined(void **state)
{
    struct bench b;
    bench_open(&b, *(int *)*state, all);
    const struct model_observation *seen = gradient(&b);
    double logit[V], lse = 0, mean = 0, weight_sum = 0;
    for (int v = 0; v < V; v++)
        weight_sum += counts[v] > 0 ? 1 : 0;
    for (int v = 0; v < V; v++) {
        logit[v] = (double)seen->scores[v] + 0.7 * log((double)(counts[v] + 1) / (N + V));
        mean += logit[v] / V;
        lse += exp(logit[v]);
    }
    lse = log(lse);
    for (int p = 0; p < N; p++) {
        const double omega = N / weight_sum / (double)counts[b.targets[p]];
        const double expected = 0.8 * logit[b.targets[p]] + 0.2 * mean;
        const double objective = omega * (lse - expected) + 0.01 * lse * lse;
        assert_true(fabs(seen->objective[p] - objective) < 1e-5 * (1 + fabs(objective)));
        assert_true(fabs(seen->losses[p] - (seen->lse[p] - (double)seen->scores[b.targets[p]])) <
                    1e-5);
    }
    bench_close(&b);
}

/* Where the same batch over and over ends: log p of the tracked tokens. */
static void train_to_the_end(struct bench *b, double logp[M])
{
    enum { STEPS = 800 };
    const struct model_observation *seen = NULL;
    for (int step = 0; step < STEPS; step++) {
        seen = gradient(b);
        expect_done(b, model_update(b->model, step + 1, &b->err));
    }
    for (int m = 0; m < M; m++)
        logp[m] = log(seen->mean_p[m]);
}

static void assert_ends_at(const char *what, double value, double expected)
{
    if (!(fabs(value - expected) < 0.02))
        fail_msg("%s: %.4f, expected %.4f", what, value, expected);
}

static void smoothing_has_a_floor(void **state)
{
    struct bench b;
    double logp[M];
    bench_open(&b, *(int *)*state, label_smoothing);
    train_to_the_end(&b, logp);
    assert_ends_at("never seen", logp[M - 1], log(0.2 / V));
    assert_ends_at("seen", logp[0], log(0.8 * 12 / N + 0.2 / V));
    bench_close(&b);
}

static void inverse_weights_make_types_equal(void **state)
{
    struct bench b;
    double logp[M];
    bench_open(&b, *(int *)*state, class_weight);
    train_to_the_end(&b, logp);
    for (int m = 0; m < TYPES; m++)
        assert_ends_at("used type", logp[m], -log(TYPES));
    assert_true(logp[M - 1] < -6);
    bench_close(&b);
}

/* The adjusted logits learn the counts, so the reported ones lack the prior. */
static void adjustment_takes_the_prior_out(void **state)
{
    struct bench b;
    double logp[M];
    bench_open(&b, *(int *)*state, logit_adjustment);
    train_to_the_end(&b, logp);
    assert_ends_at("12 to 4", logp[0] - logp[2], log(12.0 / 4) - 0.7 * log(13.0 / 5));
    assert_ends_at("8 to 4", logp[1] - logp[2], log(8.0 / 4) - 0.7 * log(9.0 / 5));
    bench_close(&b);
}

int main(void)
{
    static int cpu = 0, ref = 1;
#define ON_BOTH(test)                                                                              \
    {#test " on cpu", test, NULL, NULL, &cpu},                                                     \
    {                                                                                              \
#test " on ref", test, NULL, NULL, &ref                                                    \
    }
    const struct CMUnitTest tests[] = {
        ON_BOTH(gradient_rows_sum_to_zero),        ON_BOTH(z_loss_pushes_every_row),
        ON_BOTH(objective_is_as_defined),          ON_BOTH(smoothing_has_a_floor),
        ON_BOTH(inverse_weights_make_types_equal), ON_BOTH(adjustment_takes_the_prior_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
