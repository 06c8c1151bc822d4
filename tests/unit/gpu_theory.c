/* The engine obeys the closed forms of SCIENCE section 3, each on a model small
 * enough that the number can be checked to its last digits: rows of the output
 * gradient sum to zero, plain SGD conserves the mean output row, an input row
 * that is never fed only decays, the first step of AdamW, the fall of a token
 * that is never a target under SGD, and a model without context that ends at
 * ln(c/N). On the CPU backend and on the reference in double; the first also in
 * bfloat16, to what its rounding leaves. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "gpu/cpu/cpu.h"
#include "gpu/model.h"
#include "gpu/model_state.h"
#include "lab/random.h"
#include "lab/theory.h"
#include "gpu/ref/ref_backend.h"

enum { B = 4, T = 6, C = 16, V = 37, N = B * T, NEVER = 30 }; /* ids from NEVER on do not occur */

static int32_t tracked[] = {3, NEVER, V - 1};
static const struct groups groups = {
    .n = 1, .group = {{.n = 3, .ids = tracked}}, .n_tokens = 3, .tokens = tracked};

struct bench {
    struct spec *spec;
    struct backend *backend;
    struct model *model;
    const struct shapes *shapes;
    struct err err;
};

static void expect_done(struct bench *b, int result)
{
    if (result)
        fail_msg("%s", b->err.message);
}

enum { CPU, REF, CPU_BF16 };

/* tweak: what the test changes in the spec. */
static void bench_open(struct bench *b, int where, void (*tweak)(struct spec *spec))
{
    const enum spec_precision precision = where == CPU_BF16 ? PRECISION_BF16 : PRECISION_FP32;
    err_clear(&b->err);
    assert_non_null(b->spec = spec_default());
    b->spec->model.d_model = C;
    b->spec->model.n_layers = 1;
    b->spec->model.n_heads = 2;
    b->spec->model.seq_len = T;
    b->spec->model.tie = TIE_UNTIED;
    b->spec->model.init_std = 0.1;
    b->spec->train.batch_size = B;
    tweak(b->spec);
    expect_done(b, where == REF ? ref_backend_open(&b->backend, &b->err)
                                : cpu_backend_open(2, precision, &b->backend, &b->err));
    expect_done(b, model_open(b->spec, V, &groups, b->backend, &b->model, &b->err));
    expect_done(b, model_initialise(b->model, &b->err));
    b->shapes = model_shapes(b->model);
}

static void bench_close(struct bench *b)
{
    model_close(b->model);
    b->backend->close(b->backend);
    spec_free(b->spec);
}

static float *download(struct bench *b, enum model_part part)
{
    float *host = malloc((size_t)b->shapes->n_parameters * sizeof *host);
    assert_non_null(host);
    expect_done(b, model_download(b->model, part, host, &b->err));
    return host;
}

static const float *rows_of(const struct bench *b, const float *host, const char *name)
{
    const int tensor = shapes_find(b->shapes, name);
    assert_true(tensor >= 0);
    return host + b->shapes->tensor[tensor].offset;
}

static void draw_batch(int64_t step, int32_t *inputs, int32_t *targets)
{
    for (int p = 0; p < N; p++) {
        inputs[p] = (int32_t)random_below(5, RANDOM_TOKENS, (uint64_t)(step * 2 * N + p), NEVER);
        targets[p] =
            (int32_t)random_below(5, RANDOM_TOKENS, (uint64_t)(step * 2 * N + N + p), NEVER);
    }
}

static const struct model_observation *gradient(struct bench *b, int64_t step)
{
    const struct model_observation *observation;
    int32_t inputs[N], targets[N];
    draw_batch(step, inputs, targets);
    expect_done(b, model_gradient(b->model, inputs, targets, NULL, &observation, &b->err));
    return observation;
}

static void update(struct bench *b, int64_t step)
{
    expect_done(b, model_update(b->model, step + 1, &b->err));
}

/* Sum over the vocabulary of a [V][C] tensor, and the sum of magnitudes. */
static void sum_rows(const float *rows, double sum[C], double *magnitude)
{
    *magnitude = 0;
    for (int c = 0; c < C; c++) {
        sum[c] = 0;
        for (int i = 0; i < V; i++) {
            sum[c] += (double)rows[i * C + c];
            *magnitude += fabs((double)rows[i * C + c]);
        }
    }
}

static void plain_sgd(struct spec *spec)
{
    spec->train.optimizer = OPTIMIZER_SGD;
    spec->train.lr = 0.5;
    spec->train.weight_decay = 0;
}

/* 3.3 */
static void output_gradient_sums_to_zero(void **state)
{
    const int ref = *(int *)*state;
    struct bench b;
    double sum[C], magnitude;
    bench_open(&b, ref, plain_sgd);
    for (int64_t step = 0; step < 5; step++, update(&b, step)) {
        gradient(&b, step);
        float *gradients = download(&b, MODEL_GRADIENTS);
        sum_rows(rows_of(&b, gradients, "lm_head.weight"), sum, &magnitude);
        assert_true(magnitude > 0.1);
        for (int c = 0; c < C; c++)
            assert_true(fabs(sum[c]) < 1e-6 * magnitude);
        free(gradients);
    }
    bench_close(&b);
}

/* 3.3: pi - q is rounded to 8 bits, by 2^-9 of it at most, and over the vocabulary its
 * magnitudes sum to 2 at most: a position leaves no more than 2^-8 s h, and a new
 * model's h, after a layernorm, has length sqrt(C). */
static void output_gradient_sums_to_zero_in_bf16(void **state)
{
    const int where = *(int *)*state;
    struct bench b;
    double sum[C], magnitude, squares = 0;
    bench_open(&b, where, plain_sgd);
    for (int64_t step = 0; step < 20; step++) {
        gradient(&b, step);
        float *gradients = download(&b, MODEL_GRADIENTS);
        sum_rows(rows_of(&b, gradients, "lm_head.weight"), sum, &magnitude);
        squares = 0;
        for (int c = 0; c < C; c++)
            squares += sum[c] * sum[c];
        if (!(sqrt(squares) < 0x1p-8 * b.spec->model.logit_scale * sqrt(C)))
            fail_msg("the rows sum to a vector of length %g", sqrt(squares));
        free(gradients);
    }
    assert_true(squares > 0 && magnitude > 0.1);
    bench_close(&b);
}

/* 3.3: rows move, their mean does not. */
static void sgd_conserves_the_mean_output_row(void **state)
{
    const int ref = *(int *)*state;
    struct bench b;
    double before[C], after[C], magnitude, moved = 0;
    bench_open(&b, ref, plain_sgd);
    float *start = download(&b, MODEL_PARAMETERS);
    for (int64_t step = 0; step < 50; step++) {
        gradient(&b, step);
        update(&b, step);
    }
    float *end = download(&b, MODEL_PARAMETERS);
    const float *from = rows_of(&b, start, "lm_head.weight"),
                *to = rows_of(&b, end, "lm_head.weight");
    sum_rows(from, before, &magnitude);
    sum_rows(to, after, &magnitude);
    for (int c = 0; c < C; c++)
        assert_true(fabs(after[c] - before[c]) < 1e-5 * magnitude);
    for (int i = 0; i < V * C; i++)
        moved += fabs((double)to[i] - (double)from[i]);
    assert_true(moved > 0.1 * magnitude);
    free(start), free(end);
    bench_close(&b);
}

static void adamw_with_decay(struct spec *spec)
{
    spec->train.lr = 0.01;
    spec->train.weight_decay = 0.3;
    spec->train.eps = 1e-3;
}

static void sgd_with_decay(struct spec *spec)
{
    plain_sgd(spec);
    spec->train.lr = 0.01;
    spec->train.weight_decay = 0.3;
}

static void adam_spared(struct spec *spec)
{
    adamw_with_decay(spec);
    spec->train.optimizer = OPTIMIZER_ADAM;
    spec->train.decay_embeddings = 0;
}

/* 3.4: rows of tokens that were never fed; one that was fed moves otherwise. */
static void input_rows_never_fed_only_decay(void **state)
{
    enum { STEPS = 40 };
    static void (*const tweaks[])(struct spec *) = {adamw_with_decay, sgd_with_decay, adam_spared};
    const int ref = *(int *)*state;
    for (size_t k = 0; k < sizeof tweaks / sizeof *tweaks; k++) {
        struct bench b;
        bench_open(&b, ref, tweaks[k]);
        float *start = download(&b, MODEL_PARAMETERS);
        for (int64_t step = 0; step < STEPS; step++) {
            gradient(&b, step);
            update(&b, step);
        }
        float *end = download(&b, MODEL_PARAMETERS);
        const double left = theory_decay(b.spec, STEPS);
        const float *from = rows_of(&b, start, "transformer.wte.weight"),
                    *to = rows_of(&b, end, "transformer.wte.weight");
        double fed = 0;
        for (int i = 0; i < V * C; i++) {
            const double off = fabs((double)to[i] - left * (double)from[i]);
            if (i / C >= NEVER)
                assert_true(off < 1e-6);
            else
                fed += off;
        }
        assert_true(fed > 1e-3);
        free(start), free(end);
        bench_close(&b);
    }
}

/* 3.5: the first step, every parameter of the model. */
static void first_step_of_adamw(void **state)
{
    const int ref = *(int *)*state;
    struct bench b;
    bench_open(&b, ref, adamw_with_decay);
    float *start = download(&b, MODEL_PARAMETERS);
    gradient(&b, 0);
    float *gradients = download(&b, MODEL_GRADIENTS);
    update(&b, 0);
    float *end = download(&b, MODEL_PARAMETERS);
    for (int64_t i = 0; i < b.shapes->n_parameters; i++) {
        const double change = theory_adamw_first(b.spec, (double)gradients[i], (double)start[i]);
        assert_true(fabs((double)end[i] - (double)start[i] - change) < 1e-6);
    }
    free(start), free(gradients), free(end);
    bench_close(&b);
}

/* Slow enough that h and log Z hardly move. */
static void slow_sgd(struct spec *spec)
{
    plain_sgd(spec);
    spec->train.lr = 0.02;
}

/* 3.6, with the mean h of each step: a never-targeted token falls as the closed
 * form says, to a tenth of its fall. */
static void sgd_pulls_down_what_is_never_a_target(void **state)
{
    enum { STEPS = 300 };
    const int ref = *(int *)*state;
    struct bench b;
    double start = 0, logp = 0, pull = 0, start_lse = 0, lse = 0;
    bench_open(&b, ref, slow_sgd);
    for (int64_t step = 0; step <= STEPS; step++) {
        /* the same batch every step: only the logit of the token changes log p */
        const struct model_observation *seen = gradient(&b, 0);
        double h[C] = {0}, norm = 0, logit = 0;
        lse = 0;
        for (int p = 0; p < N; p++)
            lse += seen->lse[p] / N;
        for (int w = 0; w < B; w++)
            for (int c = 0; c < C; c++)
                h[c] += seen->h_sums[w * C + c] / N;
        for (int c = 0; c < C; c++) {
            norm += h[c] * h[c];
            logit += h[c] * seen->output_rows[2 * C + c];
        }
        logp = logit - lse;
        if (step == 0) {
            start = logp;
            start_lse = lse;
        }
        if (step < STEPS) {
            pull += theory_sgd_pull(b.spec, sqrt(norm));
            update(&b, step);
        }
    }
    const double fall = start - logp - (lse - start_lse),
                 predicted = start - theory_sgd_logp(start, pull);
    if (!(predicted > 0.1 && fabs(fall - predicted) < 0.1 * predicted))
        fail_msg("log p fell by %.4f, the closed form says %.4f", fall, predicted);
    bench_close(&b);
}

/* One position a window and the same input everywhere: nothing but the counts of
 * the targets is there to learn. */
static void without_context(struct spec *spec)
{
    spec->model.seq_len = 1;
    spec->train.batch_size = N;
    spec->model.head_bias = 1;
    spec->train.lr = 0.02;
    spec->train.weight_decay = 0;
}

/* 3.2: such a model ends at ln(c/N), its loss at the entropy of the counts. */
static void no_context_ends_at_the_counts(void **state)
{
    enum { STEPS = 600 };
    const int ref = *(int *)*state;
    struct bench b;
    const struct model_observation *seen = NULL;
    int32_t inputs[N] = {0}, targets[N];
    double loss = 0;
    struct frequency frequency;
    for (int p = 0; p < N; p++)
        targets[p] = p < 12 ? 3 : (p < 18 ? 5 : 7);
    assert_int_equal(frequency_count(targets, N, V, &frequency, NULL), 0);
    bench_open(&b, ref, without_context);
    for (int64_t step = 0; step < STEPS; step++) {
        expect_done(&b, model_gradient(b.model, inputs, targets, &loss, &seen, &b.err));
        update(&b, step);
    }
    const struct group common = {.n = 1, .ids = tracked};
    assert_true(fabs(log(seen->mean_p[0]) - theory_context_free(&common, &frequency)) < 0.01);
    assert_true(fabs(loss - theory_entropy(&frequency)) < 0.01);
    assert_true(seen->mean_p[1] < 1e-3);
    frequency_free(&frequency);
    bench_close(&b);
}

int main(void)
{
    static int cpu = CPU, ref = REF, bf16 = CPU_BF16;
#define ON_BOTH(test)                                                                              \
    {#test " on cpu", test, NULL, NULL, &cpu},                                                     \
    {                                                                                              \
#test " on ref", test, NULL, NULL, &ref                                                    \
    }
    const struct CMUnitTest tests[] = {
        {"output_gradient_sums_to_zero_in_bf16", output_gradient_sums_to_zero_in_bf16, NULL, NULL,
         &bf16},
        ON_BOTH(output_gradient_sums_to_zero),
        ON_BOTH(sgd_conserves_the_mean_output_row),
        ON_BOTH(input_rows_never_fed_only_decay),
        ON_BOTH(first_step_of_adamw),
        ON_BOTH(sgd_pulls_down_what_is_never_a_target),
        ON_BOTH(no_context_ends_at_the_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
