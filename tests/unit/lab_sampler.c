/* Batches: windows lie where they should, offsets are uniform, a shuffled pass
 * holds every window once, synthetic tokens follow the counts, and a batch
 * depends on nothing but text, spec and step. The token stream is mostly
 * 0, 1, 2, ..., so that a token tells its position. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lab/sampler.h"

enum { STREAM = 1000, ROOM = 4096 };
static int32_t stream[STREAM];
static int32_t inputs[ROOM], targets[ROOM], more_inputs[ROOM], more_targets[ROOM];

static int fill_stream(void **state)
{
    (void)state;
    for (int i = 0; i < STREAM; i++)
        stream[i] = i;
    return 0;
}

static struct spec make_spec(int seq_len, int batch_size, enum spec_sampling sampling)
{
    return (struct spec){.model = {.seq_len = seq_len},
                         .train = {.batch_size = batch_size,
                                   .sampling = sampling,
                                   .steps_per_epoch = 1,
                                   .seed = 1,
                                   .seed_weights = -1,
                                   .seed_data = -1,
                                   .seed_groups = -1}};
}

static struct sampler *open_stream(const struct spec *spec, const int32_t *ids, size_t n)
{
    struct sampler *sampler = NULL;
    struct err err;
    err_clear(&err);
    if (sampler_open(spec, ids, n, NULL, &sampler, &err))
        fail_msg("%s", err.message);
    return sampler;
}

static int same_batch(const struct spec *spec)
{
    const size_t bytes = (size_t)spec->model.seq_len * (size_t)spec->train.batch_size * 4;
    return !memcmp(inputs, more_inputs, bytes) && !memcmp(targets, more_targets, bytes);
}

static void windows_are_consecutive(void **state)
{
    (void)state;
    for (int sampling = SAMPLING_RANDOM; sampling <= SAMPLING_SHUFFLE; sampling++) {
        const struct spec spec = make_spec(7, 9, (enum spec_sampling)sampling);
        struct sampler *sampler = open_stream(&spec, stream, STREAM);
        for (int64_t step = 0; step < 50; step++) {
            sampler_batch(sampler, step, inputs, targets);
            for (int i = 0; i < 7 * 9; i++) {
                assert_int_equal(targets[i], inputs[i] + 1);
                assert_int_equal(inputs[i], inputs[i - i % 7] + i % 7);
            }
        }
        sampler_close(sampler);
    }
}

static void random_offsets_are_uniform(void **state)
{
    (void)state;
    enum { T = 10, N = 60, OFFSETS = N - T, STEPS = 500, B = 100 };
    const struct spec spec = make_spec(T, B, SAMPLING_RANDOM);
    struct sampler *sampler = open_stream(&spec, stream, N);
    int seen[OFFSETS] = {0};
    for (int64_t step = 0; step < STEPS; step++) {
        sampler_batch(sampler, step, inputs, targets);
        for (int b = 0; b < B; b++) {
            assert_in_range(inputs[b * T], 0, OFFSETS - 1);
            seen[inputs[b * T]]++;
        }
    }
    double chi2 = 0;
    const double expected = (double)STEPS * B / OFFSETS;
    for (int i = 0; i < OFFSETS; i++)
        chi2 += (seen[i] - expected) * (seen[i] - expected) / expected;
    assert_true(chi2 > 24 && chi2 < 86); /* 49 degrees of freedom, 0.1 % on either side */
    sampler_close(sampler);
}

static void shuffled_pass_holds_every_window_once(void **state)
{
    (void)state;
    enum { T = 6, N = 100, WINDOWS = 16, B = 5, PASSES = 5 };
    const struct spec spec = make_spec(T, B, SAMPLING_SHUFFLE);
    struct sampler *sampler = open_stream(&spec, stream, N);
    int order[PASSES * WINDOWS];
    for (int step = 0; step < PASSES * WINDOWS / B; step++) {
        sampler_batch(sampler, step, inputs, targets);
        for (int b = 0; b < B; b++)
            order[step * B + b] = inputs[b * T];
    }
    int moved = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        int seen[WINDOWS] = {0};
        for (int i = 0; i < WINDOWS; i++) {
            const int offset = order[pass * WINDOWS + i];
            assert_int_equal(offset % T, 0);
            assert_int_equal(seen[offset / T]++, 0);
            moved += pass && offset != order[(pass - 1) * WINDOWS + i];
        }
    }
    assert_true(moved > (PASSES - 1) * WINDOWS / 2);
    sampler_close(sampler);
}

/* Where each window comes in a pass of four: all 24 orders, equally often. */
static void shuffled_orders_are_uniform(void **state)
{
    (void)state;
    enum { T = 2, WINDOWS = 4, N = T * WINDOWS + 1, DRAWS = 24000 };
    const struct spec spec = make_spec(T, WINDOWS, SAMPLING_SHUFFLE);
    struct sampler *sampler = open_stream(&spec, stream, N);
    static int seen[256];
    memset(seen, 0, sizeof seen);
    for (int64_t step = 0; step < DRAWS; step++) {
        sampler_batch(sampler, step, inputs, targets);
        int code = 0;
        for (int b = 0; b < WINDOWS; b++)
            code = code << 2 | inputs[b * T] / T;
        seen[code]++;
    }
    int orders = 0;
    double chi2 = 0;
    for (int i = 0; i < 256; i++)
        if (seen[i]) {
            orders++;
            chi2 += (seen[i] - 1000.0) * (seen[i] - 1000.0) / 1000;
        }
    assert_int_equal(orders, 24);
    assert_true(chi2 > 7 && chi2 < 50); /* 23 degrees of freedom, 0.1 % on either side */
    sampler_close(sampler);
}

static void synthetic_follows_the_counts(void **state)
{
    (void)state;
    enum { V = 8, STEPS = 400, B = 10, T = 20 };
    int64_t counts[V] = {0, 50, 0, 1, 30, 15, 4, 0};
    const struct frequency frequency = {.vocab = V, .counts = counts, .total = 100, .types = 5};
    const struct spec spec = make_spec(T, B, SAMPLING_SHUFFLE);
    struct sampler *sampler;
    struct err err;
    err_clear(&err);
    assert_int_equal(sampler_open(&spec, NULL, 0, &frequency, &sampler, &err), 0);
    int seen[V] = {0}, pairs = 0;
    for (int64_t step = 0; step < STEPS; step++) {
        sampler_batch(sampler, step, inputs, targets);
        for (int i = 0; i < B * T; i++) {
            assert_in_range(inputs[i], 0, V - 1);
            seen[inputs[i]]++;
            pairs += inputs[i] == 1 && targets[i] == 1;
            if (i % T)
                assert_int_equal(inputs[i], targets[i - 1]);
        }
    }
    double chi2 = 0;
    const double n = (double)STEPS * B * T;
    for (int i = 0; i < V; i++) {
        const double expected = n * (double)counts[i] / 100;
        if (counts[i])
            chi2 += (seen[i] - expected) * (seen[i] - expected) / expected;
        else
            assert_int_equal(seen[i], 0);
    }
    assert_true(chi2 < 18.5);                          /* 4 degrees of freedom, 0.1 % */
    assert_true(pairs > 0.24 * n && pairs < 0.26 * n); /* independent: 0.5 x 0.5 */
    sampler_close(sampler);
}

static void batch_depends_on_step_alone(void **state)
{
    (void)state;
    int64_t counts[] = {5, 20, 75};
    const struct frequency frequency = {.vocab = 3, .counts = counts, .total = 100, .types = 3};
    static const struct {
        enum spec_sampling sampling;
        int synthetic;
    } cases[] = {{SAMPLING_RANDOM, 0}, {SAMPLING_SHUFFLE, 0}, {SAMPLING_RANDOM, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec spec = make_spec(9, 4, cases[i].sampling);
        const int32_t *ids = cases[i].synthetic ? NULL : stream;
        struct sampler *walked, *fresh;
        assert_int_equal(sampler_open(&spec, ids, 99, &frequency, &walked, NULL), 0);
        for (int64_t step = 0; step < 40; step++)
            sampler_batch(walked, step, inputs, targets);
        spec.train.seed_weights = 77;
        spec.train.seed_groups = 78;
        assert_int_equal(sampler_open(&spec, ids, 99, &frequency, &fresh, NULL), 0);
        sampler_batch(fresh, 39, more_inputs, more_targets);
        assert_true(same_batch(&spec));
        sampler_batch(fresh, 3, more_inputs, more_targets);
        assert_false(same_batch(&spec));
        sampler_batch(walked, 3, inputs, targets);
        assert_true(same_batch(&spec));
        sampler_close(fresh);
        spec.train.seed_data = 2;
        assert_int_equal(sampler_open(&spec, ids, 99, &frequency, &fresh, NULL), 0);
        sampler_batch(fresh, 3, more_inputs, more_targets);
        assert_false(same_batch(&spec));
        sampler_close(fresh);
        sampler_close(walked);
    }
}

static void largest_steps(void **state)
{
    (void)state;
    const int64_t last = (int64_t)SPEC_EPOCHS_MAX * SPEC_STEPS_PER_EPOCH_MAX;
    for (int sampling = SAMPLING_RANDOM; sampling <= SAMPLING_SHUFFLE; sampling++) {
        const struct spec spec = make_spec(1, SPEC_BATCH_MAX, (enum spec_sampling)sampling);
        struct sampler *sampler = open_stream(&spec, stream, 3);
        sampler_batch(sampler, last, inputs, targets);
        for (int i = 0; i < SPEC_BATCH_MAX; i++)
            assert_in_range(inputs[i], 0, 1);
        sampler_close(sampler);
    }
}

static void steps_of_a_pass(void **state)
{
    (void)state;
    static const struct {
        int64_t steps;
        size_t n;
        int T, B;
        int64_t want;
    } cases[] = {
        {3, 100, 10, 4, 3}, {0, 101, 10, 5, 2}, {0, 100, 10, 5, 2}, {0, 100, 10, 4, 3},
        {0, 100, 10, 9, 1}, {0, 100, 10, 8, 2}, {0, 11, 10, 64, 1}, {0, 2, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec spec = make_spec(cases[i].T, cases[i].B, SAMPLING_RANDOM);
        spec.train.steps_per_epoch = cases[i].steps;
        struct sampler *sampler = open_stream(&spec, stream, cases[i].n);
        assert_int_equal(sampler_steps_per_epoch(sampler), cases[i].want);
        sampler_close(sampler);
    }
    struct spec spec = make_spec(10, 4, SAMPLING_RANDOM);
    int64_t counts[] = {40, 60};
    const struct frequency frequency = {.vocab = 2, .counts = counts, .total = 100, .types = 2};
    spec.train.steps_per_epoch = 0;
    struct sampler *sampler;
    assert_int_equal(sampler_open(&spec, NULL, 0, &frequency, &sampler, NULL), 0);
    assert_int_equal(sampler_steps_per_epoch(sampler), 3);
    sampler_close(sampler);
}

static void shortest_text(void **state)
{
    (void)state;
    for (int sampling = SAMPLING_RANDOM; sampling <= SAMPLING_SHUFFLE; sampling++) {
        const struct spec spec = make_spec(8, 3, (enum spec_sampling)sampling);
        struct sampler *sampler = open_stream(&spec, stream, 9);
        sampler_batch(sampler, 5, inputs, targets);
        for (int i = 0; i < 24; i++)
            assert_int_equal(inputs[i], i % 8);
        sampler_close(sampler);

        struct sampler *untouched = (struct sampler *)&spec;
        struct err err;
        err_clear(&err);
        assert_int_equal(sampler_open(&spec, stream, 8, NULL, &untouched, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.fields[0].pointer, "/model/seq_len");
        assert_string_equal(err.fields[0].detail, "8 needs 9 tokens, the text has 8");
        assert_ptr_equal(untouched, &spec);
    }
    sampler_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_consecutive),
        cmocka_unit_test(random_offsets_are_uniform),
        cmocka_unit_test(shuffled_pass_holds_every_window_once),
        cmocka_unit_test(shuffled_orders_are_uniform),
        cmocka_unit_test(synthetic_follows_the_counts),
        cmocka_unit_test(batch_depends_on_step_alone),
        cmocka_unit_test(largest_steps),
        cmocka_unit_test(steps_of_a_pass),
        cmocka_unit_test(shortest_text),
    };
    return cmocka_run_group_tests(tests, fill_stream, NULL);
}
