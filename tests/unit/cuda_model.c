/* The whole model on the cuda backend, on the processor (tests/lib/cuda_host.h):
 * losses, statistics and every tensor's gradient against the reference, in float32
 * and bfloat16: tied, untied, with an adaptive head, with attention on tensor cores,
 * with rows that no vector instruction fits; the output gradient summed over the
 * vocabulary (SCIENCE 3.3); three steps of training with the same bits in every order
 * of threads, measured or not; steps that are recorded and started as
 * graphs, several under way, with the bits of steps done one by one; a fault in the
 * middle of a step, told with the step it belongs to, in a whole run too. */
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
#include "gpu/cuda/cuda.h"
#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/train.h"
#include "lab/memory.h"
#include "lab/random.h"
#include "tests/lib/cuda_host_control.h"
#include "gpu/ref/ref_backend.h"

/* One window of 65: two tiles and one more position. */
enum { B = 1, T = 65, C_MAX = 128, V = 257, N = B * T, TRACKED = 6, STEPS = 3 };
enum { ILLEGAL_ADDRESS = 700 }; /* cudaErrorIllegalAddress */

static int32_t tracked[TRACKED] = {0, 5, 36, 5, 17, V - 1};
static struct groups groups = {
    .n = 2,
    .group = {{.n = 3, .ids = tracked}, {.n = 3, .ids = tracked + 3}},
    .n_tokens = TRACKED,
    .tokens = tracked,
};

/* Output layers; rows of 30 numbers, which start at multiples of 16 bytes in neither
 * precision; and heads that tensor cores take, in bfloat16 alone. */
enum { TIED, UNTIED, ADAPTIVE, ODD, TENSOR_64, TENSOR_128, SHAPES };

static const struct shape {
    int C, NH, L;
} shapes[SHAPES] = {{48, 4, 2}, {48, 4, 2}, {48, 4, 2}, {30, 2, 2}, {128, 2, 2}, {128, 1, 1}};

static struct spec *small(int shape)
{
    struct spec *spec = spec_default();
    assert_non_null(spec);
    spec->model.d_model = shapes[shape].C;
    spec->model.n_layers = shapes[shape].L;
    spec->model.n_heads = shapes[shape].NH;
    spec->model.seq_len = T;
    spec->train.batch_size = B;
    spec->train.lr = 0.01;
    spec->train.grad_clip = 1;
    spec->groups.size = 1;
    if (shape != TIED)
        spec->model.tie = TIE_UNTIED;
    if (shape == ADAPTIVE) {
        spec->model.head = HEAD_ADAPTIVE;
        spec->model.n_cutoffs = 2;
        spec->model.cutoffs[0] = 40;
        spec->model.cutoffs[1] = 120;
        spec->model.logit_scale = 0.5;
    }
    if (shape == UNTIED || shape == ODD) {
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

static void bench_model(struct bench *b, const struct spec *spec)
{
    if (model_open(spec, V, &groups, b->backend, &b->model, &b->err) != 0 ||
        model_initialise(b->model, &b->err) != 0)
        fail_msg("%s", b->err.message);
    b->shapes = model_shapes(b->model);
    int32_t order[V];
    for (int r = 0; r < V; r++)
        order[r] = r * 3 % V;
    if (model_order(b->model) && model_set_order(b->model, order, &b->err) != 0)
        fail_msg("%s", b->err.message);
}

/* PRECISION_AUTO: the reference. */
static void bench_open(struct bench *b, const struct spec *spec, enum spec_precision precision)
{
    err_clear(&b->err);
    if (precision == PRECISION_AUTO ? ref_backend_open(&b->backend, &b->err)
                                    : cuda_backend_open(0, precision, &b->backend, &b->err))
        fail_msg("%s", b->err.message);
    bench_model(b, spec);
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

static void make_batch(int step, int32_t inputs[N], int32_t targets[N])
{
    for (int k = 0; k < N; k++) {
        inputs[k] = (int32_t)random_below(7, RANDOM_TIES, (uint64_t)(step * N + k), V);
        targets[k] = (int32_t)random_below(7, RANDOM_TIES, (uint64_t)(step * N + k + 1), V);
    }
}

static int step_of(struct bench *b, int step, double *loss,
                   const struct model_observation **observation)
{
    int32_t inputs[N], targets[N];
    make_batch(step, inputs, targets);
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

static void check_model(enum spec_precision precision, int shape, double allowed)
{
    struct spec *spec = small(shape);
    struct bench cuda, ref;
    const struct model_observation *x, *y;
    double loss, expected, losses[STEPS], expected_losses[STEPS];
    bench_open(&cuda, spec, precision);
    bench_open(&ref, spec, PRECISION_AUTO);
    if (step_of(&cuda, 0, &loss, &x) != 0 || step_of(&ref, 0, &expected, &y) != 0)
        fail_msg("%s%s", cuda.err.message, ref.err.message);
    assert_close("loss", &loss, &expected, 1, allowed);
    assert_close("losses", x->losses, y->losses, N, allowed);
    assert_close("lse", x->lse, y->lse, x->K * N, allowed);
    assert_close("h sums", x->h_sums, y->h_sums, (int64_t)(B + x->G) * x->C, allowed);
    assert_close("mean p", x->mean_p, y->mean_p, TRACKED, allowed);
    assert_close("gradient's parts", x->part_norms, y->part_norms, BACKEND_PARTS * TRACKED,
                 allowed);
    assert_close("rows", x->output_rows, y->output_rows, (int64_t)TRACKED * x->C, allowed);
    double scores[3][V], h[C_MAX] = {0};
    const float *of_mean;
    for (int w = 0; w < B; w++)
        for (int c = 0; c < x->C; c++)
            h[c] += x->h_sums[w * x->C + c] / N;
    for (int v = 0; v < V; v++)
        scores[0][v] = (double)x->scores[v], scores[1][v] = (double)y->scores[v];
    assert_int_equal(model_scores(cuda.model, h, &of_mean, &cuda.err), 0);
    for (int v = 0; v < V; v++)
        scores[2][v] = (double)of_mean[v];
    assert_close("scores", scores[0], scores[1], V, allowed);
    assert_close("scores of mean h", scores[2], scores[1], V, allowed);
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
    for (int shape = 0; shape < TENSOR_64; shape++)
        check_model(PRECISION_FP32, shape, 2e-5);
}

static void test_bf16_agrees_with_the_reference(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++)
        check_model(PRECISION_BF16, shape, 3e-2);
    assert_int_equal(cuda_host_products.turned_away, 0);
}

/* Form 3.3: 0 but for rounding. In bfloat16 pi - q is rounded by 2^-9 of it at most, and
 * its magnitudes sum to 2 at most over the vocabulary; a new model's h has length
 * sqrt(C) (tests/unit/gpu_theory.c). */
static void test_output_gradient_sums_to_zero(void **state)
{
    (void)state;
    static const struct {
        enum spec_precision precision;
        double allowed;
    } cases[] = {{PRECISION_FP32, 1e-6}, {PRECISION_BF16, 0x1p-8}};
    struct spec *spec = small(UNTIED);
    const int C = shapes[UNTIED].C;
    for (int k = 0; k < 2; k++) {
        struct bench b;
        double squares = 0, magnitude = 0;
        bench_open(&b, spec, cases[k].precision);
        assert_int_equal(step_of(&b, 0, NULL, NULL), 0);
        float *gradients = part(&b, MODEL_GRADIENTS);
        const float *rows =
            gradients + b.shapes->tensor[shapes_find(b.shapes, "lm_head.weight")].offset;
        for (int c = 0; c < C; c++) {
            double sum = 0;
            for (int v = 0; v < V; v++) {
                sum += (double)rows[v * C + c];
                magnitude += fabs((double)rows[v * C + c]);
            }
            squares += sum * sum;
        }
        assert_true(magnitude > 0.1);
        if (!(sqrt(squares) < cases[k].allowed * spec->model.logit_scale * sqrt(C)))
            fail_msg("case %d: the rows sum to a vector of length %g", k, sqrt(squares));
        free(gradients);
        bench_close(&b);
    }
    spec_free(spec);
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
    static const int some[] = {TIED, UNTIED, ADAPTIVE, TENSOR_64};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const int shape = some[i];
        struct spec *spec = small(shape);
        struct bench first, other;
        double losses[STEPS], again[STEPS];
        const enum spec_precision precision = shape != TIED ? PRECISION_BF16 : PRECISION_FP32;
        cuda_host_order = CUDA_HOST_FORWARD;
        bench_open(&first, spec, precision);
        train(&first, 1, losses);
        for (int order = 0; order < cuda_host_orders(); order++) {
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

/* ---- recorded steps ---- */

/* The ring in the plainest way: one slot, and every word waited for. */
static void plain_feed(struct backend *self, struct backend_ring *ring, void *device,
                       int64_t offset, int64_t bytes)
{
    self->upload(self, device, NUMBER_INT32, backend_slot(ring, ring->started) + offset,
                 NUMBER_INT32, bytes / 4);
}

static void plain_publish(struct backend *self, struct backend_ring *ring, int64_t offset,
                          const void *device, int64_t bytes)
{
    struct err err = ERR_INIT;
    if (self->download(self, backend_slot(ring, ring->started) + offset, NUMBER_INT32, device,
                       NUMBER_INT32, bytes / 4, &err) != 0)
        fail_msg("%s", err.message);
}

static void make_plain(struct backend *backend)
{
    backend->slots = 1;
    backend->ring_open = backend_ring_open;
    backend->ring_close = backend_ring_close;
    backend->program_begin = backend_program_begin;
    backend->program_end = backend_program_end;
    backend->ring_wait = backend_ring_wait;
    backend->feed = plain_feed;
    backend->publish = plain_publish;
}

enum { MANY = 8 };

/* What MANY steps show; every second one is observed. */
struct history {
    double loss[MANY], lse[MANY][N], rows[MANY][TRACKED * C_MAX], mean_p[MANY][TRACKED], norm[MANY];
};

static int submit(struct bench *b, int step)
{
    int32_t inputs[N], targets[N];
    make_batch(step, inputs, targets);
    return model_submit(b->model, MODEL_GRADIENT | MODEL_UPDATE | (step % 2 ? MODEL_OBSERVE : 0),
                        inputs, targets, step + 1, &b->err);
}

static int collect(struct bench *b, int step, struct history *history)
{
    struct model_result result;
    int32_t inputs[N], targets[N];
    if (model_collect(b->model, &result, &b->err) != 0)
        return -1;
    make_batch(step, inputs, targets);
    assert_memory_equal(result.inputs, inputs, sizeof inputs);
    assert_memory_equal(result.targets, targets, sizeof targets);
    history->loss[step] = result.loss;
    assert_int_equal(result.observation != NULL, step % 2);
    if (result.observation) {
        memcpy(history->lse[step], result.observation->lse, sizeof *history->lse);
        memcpy(history->rows[step], result.observation->output_rows,
               (size_t)TRACKED * (size_t)result.observation->C * sizeof **history->rows);
        memcpy(history->mean_p[step], result.observation->mean_p, sizeof *history->mean_p);
        history->norm[step] = result.observation->grad_norm;
    }
    return 0;
}

/* `fast`: the device has done everything before the host asks. */
static void train_under_way(struct bench *b, int fast, struct history *history)
{
    memset(history, 0, sizeof *history);
    for (int step = 0, ahead = 0; step < MANY; step++) {
        for (; ahead < MANY && model_in_flight(b->model) < model_depth(b->model); ahead++)
            assert_int_equal(submit(b, ahead), 0);
        if (fast)
            cuda_host_run();
        if (collect(b, step, history) != 0)
            fail_msg("%s", b->err.message);
    }
}

static void check_recorded(enum spec_precision precision, int shape)
{
    struct spec *spec = small(shape);
    struct bench plain, recorded;
    struct history *expected = malloc(sizeof *expected), *history = malloc(sizeof *history);
    assert_true(expected && history);
    bench_open(&plain, spec, precision);
    model_close(plain.model);
    make_plain(plain.backend);
    bench_model(&plain, spec);
    train_under_way(&plain, 0, expected);
    for (int step = 1; step < MANY; step++)
        assert_true(expected->loss[step] != expected->loss[step - 1]);
    for (int fast = 0; fast < 2; fast++) {
        const uint64_t graphs = cuda_host_counts.graphs, spins = cuda_host_counts.spins;
        bench_open(&recorded, spec, precision);
        assert_int_equal(model_depth(recorded.model), 3);
        train_under_way(&recorded, fast, history);
        /* Two programs, of which only the first round is done operation by operation. */
        assert_int_equal(cuda_host_counts.graphs - graphs, MANY - 2);
        assert_int_equal(cuda_host_counts.spins, spins); /* waiting leaves the core to others */
        assert_memory_equal(history, expected, sizeof *history);
        assert_same_state(&plain, &recorded);
        bench_close(&recorded);
    }
    bench_close(&plain);
    assert_int_equal(cuda_host_objects(), 0);
    assert_int_equal(cuda_host_allocated(), 0);
    free(expected);
    free(history);
    spec_free(spec);
}

/* Whatever the driver refuses of a capture: the steps are done without, to the same bits,
 * and the backend says why. */
static void test_a_refused_capture(void **state)
{
    (void)state;
    static const char *const reasons[CUDA_HOST_REFUSALS] = {
        "",
        "cudaStreamBeginCapture: cudaErrorStreamCaptureUnsupported",
        "feed_kernel: cudaErrorStreamCaptureUnsupported",
        "cublasLtMatmul of ",
        "cudaStreamEndCapture: cudaErrorStreamCaptureInvalidated",
        "cudaGraphInstantiate: cudaErrorMemoryAllocation",
    };
    struct spec *spec = small(UNTIED);
    struct history *expected = malloc(sizeof *expected), *history = malloc(sizeof *history);
    assert_true(expected && history);
    for (int refuses = 0; refuses < CUDA_HOST_REFUSALS; refuses++) {
        struct bench b;
        const uint64_t graphs = cuda_host_counts.graphs;
        bench_open(&b, spec, PRECISION_BF16);
        cuda_host_machine.refuses = refuses;
        train_under_way(&b, refuses % 2, refuses ? history : expected);
        if (!strstr(b.backend->notice, reasons[refuses]))
            fail_msg("\"%s\" is not in: %s", reasons[refuses], b.backend->notice);
        assert_int_equal(b.backend->notice[0] != 0, refuses != 0);
        assert_int_equal(cuda_host_counts.graphs - graphs, refuses ? 0 : MANY - 2);
        if (refuses)
            assert_memory_equal(history, expected, sizeof *history);
        cuda_host_machine.refuses = 0;
        bench_close(&b);
        assert_int_equal(cuda_host_objects(), 0);
        assert_int_equal(cuda_host_allocated(), 0);
    }
    free(expected);
    free(history);
    spec_free(spec);
}

static void test_recorded_steps(void **state)
{
    (void)state;
    check_recorded(PRECISION_FP32, TIED);
    check_recorded(PRECISION_BF16, UNTIED);
    check_recorded(PRECISION_FP32, ADAPTIVE);
    check_recorded(PRECISION_BF16, ADAPTIVE);
    check_recorded(PRECISION_BF16, TENSOR_64);
}

/* Architecture, library, rule and compiler stand in what a checkpoint compares; and where
 * there is no code but PTX for the card, the driver, which compiles that. */
static void test_what_decides_the_bits(void **state)
{
    (void)state;
    struct backend *backend;
    struct err err = ERR_INIT;
    cuda_host_machine.major = 8;
    cuda_host_machine.minor = 6;
    assert_int_equal(cuda_backend_open(0, PRECISION_FP32, &backend, &err), 0);
    assert_string_equal(backend->isa, "sm_86, cuBLASLt 13.0.0, rule 2, g++ " __VERSION__);
    assert_string_equal(backend->device, "processor as a GPU");
    backend->close(backend);
    cuda_host_machine.major = 12;
    assert_int_equal(cuda_backend_open(0, PRECISION_FP32, &backend, &err), 0);
    assert_string_equal(backend->isa,
                        "sm_126, cuBLASLt 13.0.0, rule 2, g++ " __VERSION__ ", driver 13.0");
    backend->close(backend);
    cuda_host_machine.major = 9;
    cuda_host_machine.minor = 0;
}

/* Waiting or moving numbers inside a program cannot be recorded, and says so. */
static void test_a_program_does_not_wait(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct backend *backend;
        struct err err = ERR_INIT;
        float numbers[4] = {0};
        assert_int_equal(cuda_backend_open(0, PRECISION_FP32, &backend, &err), 0);
        struct backend_ring *ring = backend->ring_open(backend, 256, &err);
        void *memory = backend->alloc(backend, 256, &err);
        assert_true(ring && memory);
        for (int round = 0; round < 2; round++) {
            assert_int_equal(backend->program_begin(backend, ring, 1), 1);
            backend->feed(backend, ring, memory, 0, 16);
            if (which == 0)
                assert_int_equal(backend->sync(backend, &err), round ? -1 : 0);
            else if (which == 1)
                backend->upload(backend, memory, NUMBER_REAL, numbers, NUMBER_FLOAT, 4);
            else
                assert_int_equal(
                    backend->download(backend, numbers, NUMBER_FLOAT, memory, NUMBER_REAL, 4, &err),
                    round ? -1 : 0);
            backend->publish(backend, ring, 0, memory, 16);
            backend->program_end(backend, ring, 1);
        }
        assert_int_equal(backend->ring_wait(backend, ring, 0, &err), 0);
        assert_int_equal(backend->ring_wait(backend, ring, 1, &err), -1);
        assert_int_equal(err.code, ERR_INTERNAL);
        assert_non_null(strstr(err.message,
                               which == 0 ? "a wait inside a program" : "a copy inside a program"));
        backend->ring_close(backend, ring);
        backend->free(backend, memory);
        backend->close(backend);
        assert_int_equal(cuda_host_objects(), 0);
        assert_int_equal(cuda_host_allocated(), 0);
        cuda_host_recover();
    }
}

/* ---- a fault ---- */

static void test_a_fault_ends_the_step(void **state)
{
    (void)state;
    struct spec *spec = small(TIED);
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
    assert_int_equal(cuda_host_objects(), 0);
    spec_free(spec);
}

/* The first round of a program names the kernel. */
static void test_a_fault_has_its_kernel(void **state)
{
    (void)state;
    struct spec *spec = small(TIED);
    struct bench b;
    static const char *const names[] = {"feed_kernel", "embedding_kernel", "norm_kernel"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bench_open(&b, spec, PRECISION_FP32);
        assert_int_equal(b.backend->sync(b.backend, &b.err), 0);
        cuda_host_fail_after(i, ILLEGAL_ADDRESS);
        assert_int_equal(submit(&b, 0), 0);
        struct model_result result;
        assert_int_equal(model_collect(b.model, &result, &b.err), -1);
        assert_int_equal(b.err.code, ERR_DEVICE);
        if (!strstr(b.err.message, names[i]))
            fail_msg("%s: %s", names[i], b.err.message);
        bench_close(&b);
        cuda_host_recover();
    }
    spec_free(spec);
}

/* Three steps under way, a fault in the last: the two before it keep their results,
 * though every call fails by the time the host asks for them. */
static void test_a_fault_belongs_to_its_step(void **state)
{
    (void)state;
    struct spec *spec = small(TIED);
    struct bench b;
    struct history *expected = malloc(sizeof *expected), *history = malloc(sizeof *history);
    assert_true(expected && history);
    bench_open(&b, spec, PRECISION_FP32);
    train_under_way(&b, 0, expected);
    bench_close(&b);
    memset(history, 0, sizeof *history);
    bench_open(&b, spec, PRECISION_FP32);
    uint64_t kernels = 0;
    int step = 0;
    for (; step < 4; step++) { /* 2 is the recorded plain step, 3 the observed one */
        const uint64_t before = cuda_host_counts.kernels;
        assert_int_equal(submit(&b, step), 0);
        assert_int_equal(collect(&b, step, history), 0);
        if (step >= 2)
            kernels += cuda_host_counts.kernels - before;
    }
    cuda_host_fail_after(kernels + 3, ILLEGAL_ADDRESS);
    for (int ahead = step; ahead < step + 3; ahead++)
        assert_int_equal(submit(&b, ahead), 0);
    cuda_host_run();
    for (; step < 6; step++)
        assert_int_equal(collect(&b, step, history), 0);
    err_clear(&b.err);
    assert_int_equal(collect(&b, step, history), -1);
    assert_int_equal(b.err.code, ERR_DEVICE);
    assert_non_null(strstr(b.err.message, "at or before recorded program"));
    assert_non_null(strstr(b.err.message, "cudaErrorIllegalAddress"));
    assert_memory_equal(history->loss, expected->loss, 6 * sizeof(double));
    assert_memory_equal(history->rows[5], expected->rows[5], sizeof *history->rows);
    assert_true(submit(&b, step) != 0 || collect(&b, step, history) != 0);
    bench_close(&b);
    cuda_host_recover();
    assert_int_equal(cuda_host_objects(), 0);
    free(expected);
    free(history);
    spec_free(spec);
}

/* ---- memory ---- */

/* What opening takes, and what a job takes while it runs, is what jobs are admitted
 * by; where one byte of it is not there, the job is refused with the numbers. */
static void test_memory_is_known_before(void **state)
{
    (void)state;
    const size_t usual = cuda_host_machine.memory;
    struct spec *spec = small(TIED);
    struct bench b;
    struct model *model = NULL;
    char text[160];
    double losses[STEPS];
    bench_open(&b, spec, PRECISION_BF16);
    const int64_t job = model_bytes(b.model);
    train(&b, 1, losses);
    const size_t running = cuda_host_allocated();
    model_close(b.model);
    assert_int_equal(cuda_host_allocated(), MEMORY_CUDA_BACKEND);
    assert_true(running >= (size_t)job + MEMORY_CUDA_BACKEND);
    assert_true(running <= (size_t)job + MEMORY_CUDA_BACKEND + MEMORY_CUDA_PROGRAMS);
    const int64_t wanted = job + MEMORY_CUDA_BACKEND + memory_beside("cuda", 1);
    cuda_host_machine.memory = (size_t)wanted - 1;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &model, &b.err), -1);
    assert_int_equal(b.err.code, ERR_NO_MEMORY);
    snprintf(text, sizeof text, "needs %lld bytes on cuda and %lld beside them for the recorded",
             (long long)job, (long long)MEMORY_CUDA_PROGRAMS);
    assert_non_null(strstr(b.err.message, text));
    snprintf(text, sizeof text, "%lld are there", (long long)(wanted - 1 - MEMORY_CUDA_BACKEND));
    assert_non_null(strstr(b.err.message, text));
    err_clear(&b.err);
    cuda_host_machine.memory++;
    assert_int_equal(model_open(spec, V, &groups, b.backend, &b.model, &b.err), 0);
    cuda_host_machine.memory = usual;
    bench_close(&b);
    spec_free(spec);
}

/* ---- a whole run ---- */

enum { EPOCHS = 3, PER_EPOCH = 2, TEXT = 600 };

struct report {
    int64_t next;
    uint64_t loaded, queries; /* at the first record, from which on epochs are timed */
    double values[EPOCHS + 1][RECORD_SCALARS + 3 * RECORD_FIELDS];
};

static void on_started(void *self, int64_t first, int64_t bytes)
{
    assert_true(self && first == 0 && bytes > 0);
}

static void on_epoch(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    struct report *report = self;
    assert_true(epoch == report->next++ && epoch <= EPOCHS && tokens && n_tokens > 0);
    if (epoch == 0) {
        report->loaded = cuda_host_counts.loaded;
        report->queries = cuda_host_products.queries;
    }
    memcpy(report->values[epoch], values, (size_t)n_values * sizeof *values);
}

static enum train_order on_alive(void *self, int64_t epoch)
{
    assert_true(self && epoch >= 0);
    return TRAIN_GO;
}

static void on_busy(void *self, int64_t epoch)
{
    assert_true(self && epoch >= 0);
}

static void on_flush(void *self)
{
    assert_non_null(self);
}

static void on_checkpointed(void *self, int64_t epoch)
{
    fail_msg("%p: a checkpoint at %lld without a folder", self, (long long)epoch);
}

static void on_log(void *self, const char *line)
{
    assert_true(self && line[0]);
}

static int run(int plain, struct report *report, int64_t *epoch, struct err *err)
{
    static const char json[] =
        "{\"model\": {\"d_model\": 16, \"n_layers\": 1, \"n_heads\": 2, \"seq_len\": 8},"
        "\"train\": {\"epochs\": 3, \"steps_per_epoch\": 2, \"batch_size\": 2},"
        "\"groups\": {\"size\": 5}}";
    static int32_t ids[TEXT];
    const struct train_events events = {report,  on_started, on_epoch,        on_alive,
                                        on_busy, on_flush,   on_checkpointed, on_log};
    const struct train_options options = {.build = "build"};
    struct spec *spec = NULL;
    struct backend *backend;
    memset(report, 0, sizeof *report);
    err_clear(err);
    for (int i = 0; i < TEXT; i++)
        ids[i] = (int32_t)random_below(3, RANDOM_TOKENS, (uint64_t)i, 50);
    struct dataset dataset = {.vocab = 71, .ids = ids, .n = TEXT};
    if (spec_parse(json, strlen(json), &spec, err) != 0 ||
        frequency_count(ids, TEXT, 71, &dataset.frequency, err) != 0 ||
        groups_build(spec, &dataset.frequency, NULL, NULL, &dataset.groups, err) != 0 ||
        cuda_backend_open(0, PRECISION_FP32, &backend, err) != 0)
        fail_msg("%s", err->message);
    if (plain)
        make_plain(backend);
    const int result = train_run(spec, &dataset, backend, &options, &events, epoch, err);
    backend->close(backend);
    groups_free(&dataset.groups);
    frequency_free(&dataset.frequency);
    spec_free(spec);
    return result;
}

/* Kernels are loaded, and algorithms chosen and checked, before the first epoch that is timed. The
 * process shall have run no other kernel of a step before. */
static void test_a_timed_epoch_loads_nothing(void **state)
{
    (void)state;
    struct report *report = malloc(sizeof *report);
    struct err err = ERR_INIT;
    int64_t epoch = -1;
    assert_non_null(report);
    assert_int_equal(cuda_host_counts.loaded, 0);
    if (run(0, report, &epoch, &err) != 0)
        fail_msg("%s", err.message);
    assert_true(report->loaded > 20 && report->queries > 10);
    assert_int_equal(cuda_host_counts.loaded, report->loaded);
    assert_int_equal(cuda_host_products.queries, report->queries);
    free(report);
}

/* The same records through graphs as one step at a time; and a fault is told with
 * its own epoch, after all the records before it. */
static void test_a_whole_run(void **state)
{
    (void)state;
    struct report *plain = malloc(sizeof *plain), *recorded = malloc(sizeof *recorded);
    struct err err = ERR_INIT;
    int64_t epoch = -1;
    assert_true(plain && recorded);
    uint64_t kernels = cuda_host_counts.kernels;
    assert_int_equal(run(1, plain, &epoch, &err), 0);
    assert_int_equal(plain->next, EPOCHS + 1);
    const uint64_t graphs = cuda_host_counts.graphs;
    kernels = cuda_host_counts.kernels;
    if (run(0, recorded, &epoch, &err) != 0)
        fail_msg("%s", err.message);
    kernels = cuda_host_counts.kernels - kernels;
    assert_true(cuda_host_counts.graphs > graphs);
    assert_int_equal(recorded->next, EPOCHS + 1);
    for (int e = 0; e <= EPOCHS; e++)
        assert_true(record_same(plain->values[e], recorded->values[e], 3));

    cuda_host_fail_after(kernels * 2 / 3, ILLEGAL_ADDRESS);
    assert_int_equal(run(0, recorded, &epoch, &err), -1);
    assert_int_equal(err.code, ERR_DEVICE);
    char where[64];
    snprintf(where, sizeof where, "epoch %lld, after ", (long long)epoch);
    assert_int_equal(strncmp(err.message, where, strlen(where)), 0);
    const int updates = atoi(err.message + strlen(where));
    assert_int_equal(epoch, updates / PER_EPOCH);
    assert_true(updates >= 2 && updates < EPOCHS * PER_EPOCH);
    assert_int_equal(recorded->next, (updates + PER_EPOCH - 1) / PER_EPOCH);
    for (int e = 0; e < recorded->next; e++)
        assert_true(record_same(plain->values[e], recorded->values[e], 3));
    cuda_host_recover();
    assert_int_equal(cuda_host_objects(), 0);
    assert_int_equal(cuda_host_allocated(), 0);
    free(plain);
    free(recorded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_timed_epoch_loads_nothing), /* first */
        cmocka_unit_test(test_fp32_agrees_with_the_reference),
        cmocka_unit_test(test_bf16_agrees_with_the_reference),
        cmocka_unit_test(test_output_gradient_sums_to_zero),
        cmocka_unit_test(test_same_bits_in_every_order),
        cmocka_unit_test(test_recorded_steps),
        cmocka_unit_test(test_a_refused_capture),
        cmocka_unit_test(test_what_decides_the_bits),
        cmocka_unit_test(test_a_program_does_not_wait),
        cmocka_unit_test(test_a_fault_ends_the_step),
        cmocka_unit_test(test_a_fault_has_its_kernel),
        cmocka_unit_test(test_a_fault_belongs_to_its_step),
        cmocka_unit_test(test_memory_is_known_before),
        cmocka_unit_test(test_a_whole_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
