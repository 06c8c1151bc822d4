/* The whole model on the cuda backend, on the processor (tests/lib/cuda_host.h):
 * losses, statistics and every tensor's gradient against the reference, in float32
 * and bfloat16, tied and untied; three steps of training with the same bits in
 * every order of threads, measured or not; a fault in the middle of a step. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gpu/cuda/cuda.h"
#include "gpu/model.h"
#include "lab/random.h"
#include "tests/lib/cuda_host_control.h"
#include "tests/lib/ref_backend.h"

/* One window of 65: two tiles and one more position. */
enum { B = 1, T = 65, C = 48, L = 2, NH = 4, V = 257, N = B * T, TRACKED = 6, STEPS = 3 };
enum { ILLEGAL_ADDRESS = 700 }; /* cudaErrorIllegalAddress */

static int32_t tracked[TRACKED] = {0, 5, 36, 5, 17, V - 1};
static struct groups groups = {
    .n = 2,
    .group = {{.n = 3, .ids = tracked}, {.n = 3, .ids = tracked + 3}},
    .n_tokens = TRACKED,
    .tokens = tracked,
};

static struct spec *small(int untied)
{
    struct spec *spec = spec_default();
    assert_non_null(spec);
    spec->model.d_model = C;
    spec->model.n_layers = L;
    spec->model.n_heads = NH;
    spec->model.seq_len = T;
    spec->train.batch_size = B;
    spec->train.lr = 0.01;
    spec->train.grad_clip = 1;
    spec->groups.size = 1;
    if (untied) {
        spec->model.tie = TIE_UNTIED;
        spec->model.head_bias = 1;
        spec->model.logit_scale = 0.5;
        spec->model.activation = ACTIVATION_GELU_NEW;
    }
    return spec;
}

/* ---- a model and its backend ---- */

struct bench {
    struct backend *backend;
    struct model *model;
    const struct shapes *shapes;
    struct err err;
};

/* PRECISION_AUTO: the reference. */
static void bench_open(struct bench *b, const struct spec *spec, enum spec_precision precision)
{
    err_clear(&b->err);
    if (precision == PRECISION_AUTO ? ref_backend_open(&b->backend, &b->err)
                                    : cuda_backend_open(0, precision, &b->backend, &b->err))
        fail_msg("%s", b->err.message);
    if (model_open(spec, V, &groups, b->backend, &b->model, &b->err) != 0 ||
        model_initialise(b->model, &b->err) != 0)
        fail_msg("%s", b->err.message);
    b->shapes = model_shapes(b->model);
}

static void bench_close(struct bench *b)
{
    model_close(b->model);
    b->backend->close(b->backend);
}

static float *part(struct bench *b, enum model_part which)
{
    float *host = malloc((size_t)b->shapes->n_parameters * sizeof *host);
    assert_non_null(host);
    if (model_download(b->model, which, host, &b->err) != 0)
        fail_msg("%s", b->err.message);
    return host;
}

static int step_of(struct bench *b, int step, double *loss,
                   const struct model_observation **observation)
{
    int32_t inputs[N], targets[N];
    for (int k = 0; k < N; k++) {
        inputs[k] = (int32_t)random_below(7, RANDOM_TIES, (uint64_t)(step * N + k), V);
        targets[k] = (int32_t)random_below(7, RANDOM_TIES, (uint64_t)(step * N + k + 1), V);
    }
    return model_gradient(b->model, inputs, targets, loss, observation, &b->err);
}

static void train(struct bench *b, int measured, double losses[STEPS])
{
    const struct model_observation *observation;
    for (int step = 0; step < STEPS; step++) {
        if (step_of(b, step, &losses[step], measured ? &observation : NULL) != 0)
            fail_msg("%s", b->err.message);
        assert_int_equal(model_update(b->model, step + 1, &b->err), 0);
    }
}

/* ---- against the reference ---- */

static void assert_close(const char *what, const double *x, const double *y, int64_t n,
                         double allowed)
{
    double difference = 0, size = 0;
    for (int64_t k = 0; k < n; k++) {
        difference += (x[k] - y[k]) * (x[k] - y[k]);
        size += y[k] * y[k];
    }
    if (!(sqrt(difference) <= allowed * sqrt(size)))
        fail_msg("%s: relative error %g", what, sqrt(difference / size));
}

/* The key bias, in the middle third, has a gradient of 0: it is judged by the
 * size of the whole tensor's. */
static void check_tensor(const struct shapes_tensor *tensor, const float *gradient,
                         const float *expected, double allowed)
{
    const int64_t n = tensor->file_rows * tensor->cols;
    double difference = 0, size = 0;
    for (int64_t i = tensor->offset; i < tensor->offset + n; i++) {
        difference += pow((double)gradient[i] - (double)expected[i], 2);
        size += pow((double)expected[i], 2);
    }
    if (!(sqrt(difference) < allowed * sqrt(size)))
        fail_msg("%s: relative error %g", tensor->name, sqrt(difference / size));
    for (int64_t k = n; k < tensor->rows * tensor->cols; k++)
        assert_true(gradient[tensor->offset + k] == 0);
}

static void check_model(enum spec_precision precision, int untied, double allowed)
{
    struct spec *spec = small(untied);
    struct bench cuda, ref;
    const struct model_observation *x, *y;
    double loss, expected, losses[STEPS], expected_losses[STEPS];
    bench_open(&cuda, spec, precision);
    bench_open(&ref, spec, PRECISION_AUTO);
    if (step_of(&cuda, 0, &loss, &x) != 0 || step_of(&ref, 0, &expected, &y) != 0)
        fail_msg("%s%s", cuda.err.message, ref.err.message);
    assert_close("loss", &loss, &expected, 1, allowed);
    assert_close("losses", x->losses, y->losses, N, allowed);
    assert_close("lse", x->lse, y->lse, N, allowed);
    assert_close("h sums", x->h_sums, y->h_sums, (B + x->G) * C, allowed);
    assert_close("mean p", x->mean_p, y->mean_p, TRACKED, allowed);
    assert_close("gradient's parts", x->part_norms, y->part_norms, BACKEND_PARTS * TRACKED,
                 allowed);
    assert_close("rows", x->output_rows, y->output_rows, TRACKED * C, allowed);
    assert_close("norm", &x->grad_norm, &y->grad_norm, 1, allowed);
    float *gradient = part(&cuda, MODEL_GRADIENTS), *right = part(&ref, MODEL_GRADIENTS);
    for (int t = 0; t < cuda.shapes->n_tensors; t++)
        check_tensor(&cuda.shapes->tensor[t], gradient, right, allowed);
    free(gradient);
    free(right);
    train(&cuda, 1, losses);
    train(&ref, 1, expected_losses);
    assert_close("losses of training", losses, expected_losses, STEPS, allowed);
    bench_close(&cuda);
    bench_close(&ref);
    spec_free(spec);
}

static void test_fp32_agrees_with_the_reference(void **state)
{
    (void)state;
    check_model(PRECISION_FP32, 0, 2e-5);
    check_model(PRECISION_FP32, 1, 2e-5);
}

static void test_bf16_agrees_with_the_reference(void **state)
{
    (void)state;
    check_model(PRECISION_BF16, 0, 3e-2);
    check_model(PRECISION_BF16, 1, 3e-2);
}

/* ---- the same bits ---- */

static void assert_same_state(struct bench *a, struct bench *b)
{
    for (int p = 0; p < model_parts(a->model); p++) {
        float *x = part(a, (enum model_part)p), *y = part(b, (enum model_part)p);
        assert_memory_equal(x, y, (size_t)a->shapes->n_parameters * sizeof *x);
        free(x);
        free(y);
    }
}

static void test_same_bits_in_every_order(void **state)
{
    (void)state;
    for (int untied = 0; untied < 2; untied++) {
        struct spec *spec = small(untied);
        struct bench first, other;
        double losses[STEPS], again[STEPS];
        const enum spec_precision precision = untied ? PRECISION_BF16 : PRECISION_FP32;
        cuda_host_order = CUDA_HOST_FORWARD;
        bench_open(&first, spec, precision);
        train(&first, 1, losses);
        for (int order = 0; order < CUDA_HOST_ORDERS; order++) {
            cuda_host_order = (enum cuda_host_order)order;
            bench_open(&other, spec, precision);
            train(&other, order % 2, again);
            assert_memory_equal(losses, again, sizeof losses);
            assert_same_state(&first, &other);
            bench_close(&other);
        }
        cuda_host_order = CUDA_HOST_FORWARD;
        bench_close(&first);
        spec_free(spec);
    }
}

/* ---- a fault ---- */

static void test_a_fault_ends_the_step(void **state)
{
    (void)state;
    struct spec *spec = small(0);
    struct bench b;
    double losses[STEPS], loss = 0;
    bench_open(&b, spec, PRECISION_BF16);
    train(&b, 0, losses);
    cuda_host_fail_next(ILLEGAL_ADDRESS);
    for (int again = 0; again < 2; again++) {
        err_clear(&b.err);
        assert_int_equal(step_of(&b, STEPS, &loss, NULL), -1);
        assert_int_equal(b.err.code, ERR_DEVICE);
        assert_non_null(strstr(b.err.message, "cudaErrorIllegalAddress"));
    }
    bench_close(&b);
    cuda_host_recover();
    assert_int_equal(cuda_host_allocated(), 0);
    spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32_agrees_with_the_reference),
        cmocka_unit_test(test_bf16_agrees_with_the_reference),
        cmocka_unit_test(test_same_bits_in_every_order),
        cmocka_unit_test(test_a_fault_ends_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
