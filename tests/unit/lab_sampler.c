/* Batches: windows are inside the text, offsets are uniform, a shuffled pass has every
 * window once, cut at the same places or at an offset of its own, synthetic tokens follow the counts, and a batch depends on text, spec and
 * step alone. The token stream is mostly 0, 1, 2, ..., so that a token shows its position. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <math.h>

#include "lab/random.h"
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

static struct sampler *open_text(const struct spec *spec, const struct sampler_text *text)
{
    struct sampler *sampler = NULL;
    struct err err = ERR_INIT;
    if (sampler_open(spec, text, &sampler, &err))
        fail_msg("%s", err.message);
    return sampler;
}

static struct sampler *open_stream(const struct spec *spec, const int32_t *ids, size_t n)
{
    return open_text(spec, &(struct sampler_text){.ids = ids, .n = n});
}

static struct sampler *open_counts(const struct spec *spec, const struct frequency *frequency)
{
    return open_text(spec, &(struct sampler_text){.frequency = frequency});
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
    struct sampler *sampler = open_counts(&spec, &frequency);
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
        int synthetic, shuffle_offset;
    } cases[] = {{SAMPLING_RANDOM, 0, 1},
                 {SAMPLING_SHUFFLE, 0, 0},
                 {SAMPLING_SHUFFLE, 0, 1},
                 {SAMPLING_RANDOM, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec spec = make_spec(9, 4, cases[i].sampling);
        spec.train.shuffle_offset = cases[i].shuffle_offset;
        const struct sampler_text text = {
            .ids = cases[i].synthetic ? NULL : stream, .n = 99, .frequency = &frequency};
        struct sampler *walked = open_text(&spec, &text);
        for (int64_t step = 0; step < 40; step++)
            sampler_batch(walked, step, inputs, targets);
        spec.train.seed_weights = 77;
        spec.train.seed_groups = 78;
        struct sampler *fresh = open_text(&spec, &text);
        sampler_batch(fresh, 39, more_inputs, more_targets);
        assert_true(same_batch(&spec));
        sampler_batch(fresh, 3, more_inputs, more_targets);
        assert_false(same_batch(&spec));
        sampler_batch(walked, 3, inputs, targets);
        assert_true(same_batch(&spec));
        sampler_close(fresh);
        spec.train.seed_data = 2;
        fresh = open_text(&spec, &text);
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
    struct sampler *sampler = open_counts(&spec, &frequency);
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
        struct err err = ERR_INIT;
        const struct sampler_text text = {.ids = stream, .n = 8};
        assert_int_equal(sampler_open(&spec, &text, &untouched, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.fields[0].pointer, "/model/seq_len");
        assert_string_equal(err.fields[0].detail, "must be below the 8 tokens of the text");
        assert_ptr_equal(untouched, &spec);
    }
    sampler_close(NULL);
}

/* Every start whose window and target lie within one segment, the slow way. */
static int list_starts(size_t n, size_t segment, int T, int stride, int *starts)
{
    int found = 0;
    for (size_t from = 0; from < n; from += segment) {
        const size_t end = from + segment < n ? from + segment : n;
        for (size_t at = from; at + (size_t)T < end; at += (size_t)stride)
            starts[found++] = (int)at;
    }
    return found;
}

static int index_of(const int *list, int n, int value)
{
    for (int i = 0; i < n; i++)
        if (list[i] == value)
            return i;
    return -1;
}

/* Windows of both samplings stay in their segments, every window occurs, and all starts are
 * equally likely, also at a border and in the short segment at the end. */
static void windows_stay_in_their_segment(void **state)
{
    (void)state;
    static const struct {
        size_t n, segment;
        int T;
    } cases[] = {{100, 30, 7}, {100, 25, 7}, {97, 30, 7}, {67, 30, 7}, {68, 30, 7}, {90, 8, 7}};
    enum { B = 50, STEPS = 400 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int T = cases[i].T;
        int starts[STREAM], windows[STREAM];
        static int seen[STREAM];
        const int n_starts = list_starts(cases[i].n, cases[i].segment, T, 1, starts);
        const int n_windows = list_starts(cases[i].n, cases[i].segment, T, T, windows);
        const struct sampler_text text = {
            .ids = stream, .n = cases[i].n, .segment = cases[i].segment};

        const struct spec random = make_spec(T, B, SAMPLING_RANDOM);
        struct sampler *sampler = open_text(&random, &text);
        memset(seen, 0, sizeof seen);
        for (int64_t step = 0; step < STEPS; step++) {
            sampler_batch(sampler, step, inputs, targets);
            for (int b = 0; b < B; b++) {
                const int at = index_of(starts, n_starts, inputs[b * T]);
                assert_true(at >= 0 && targets[b * T + T - 1] == inputs[b * T] + T);
                seen[at]++;
            }
        }
        const double expected = (double)STEPS * B / n_starts;
        for (int at = 0; at < n_starts; at++)
            assert_true(fabs(seen[at] - expected) < 5 * sqrt(expected));
        sampler_close(sampler);

        const struct spec shuffle = make_spec(T, n_windows, SAMPLING_SHUFFLE);
        sampler = open_text(&shuffle, &text);
        sampler_batch(sampler, 0, inputs, targets);
        memset(seen, 0, sizeof seen);
        for (int b = 0; b < n_windows; b++) {
            const int at = index_of(windows, n_windows, inputs[b * T]);
            assert_true(at >= 0 && seen[at]++ == 0);
        }
        sampler_close(sampler);
    }
}

/* Windows of one pass the slow way, in the order in which batches take them: segment by segment
 * the disjoint windows behind the pass's offset, as many as fit behind the largest one, then
 * shuffled from the end (Durstenfeld 1964). Offset off: the multiples of seq_len. */
static int list_pass(const struct spec *spec, size_t n, size_t segment, int64_t pass, int *starts)
{
    const int T = spec->model.seq_len;
    int found = 0, offset = 0;
    if (spec->train.shuffle_offset)
        offset = (int)random_below(1, RANDOM_OFFSET, (uint64_t)pass, 2 * (uint64_t)T);
    for (size_t from = 0; from < n; from += segment) {
        const int length = (int)(from + segment < n ? segment : n - from);
        int windows = 0;
        while ((windows + 1) * T + 1 <= length - (spec->train.shuffle_offset ? T - 1 : 0))
            windows++;
        if (!windows && length > T) /* room for one, behind some offsets only */
            windows = 1;
        const int shifts = length - windows * T; /* that leave a target behind the last window */
        const int shift = offset < shifts ? offset : offset % (shifts < T ? shifts : T);
        for (int w = 0; w < windows; w++)
            starts[found++] = (int)from + shift + w * T;
    }
    for (int i = found - 1; i > 0; i--) {
        const int j =
            (int)random_below(1, RANDOM_PASS, (uint64_t)(pass * found + i), (uint64_t)i + 1);
        const int swapped = starts[i];
        starts[i] = starts[j];
        starts[j] = swapped;
    }
    return found;
}

/* Both ways of cutting against that list, in one segment and in several, batches across the end
 * of a pass included, forwards and from the middle. */
static void shuffled_passes_by_hand(void **state)
{
    (void)state;
    static const struct {
        size_t n, segment;
        int T;
    } cases[] = {{100, 0, 7}, {105, 0, 7},  {106, 0, 7}, {13, 0, 7},  {14, 0, 7},  {15, 0, 7},
                 {8, 0, 7},   {100, 30, 7}, {97, 30, 7}, {67, 30, 7}, {68, 30, 7}, {90, 8, 7},
                 {99, 13, 7}, {60, 0, 1},   {61, 20, 1}, {3, 0, 1}};
    enum { B = 4, PASSES = 30 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int offset = 0; offset <= 1; offset++) {
            struct spec spec = make_spec(cases[i].T, B, SAMPLING_SHUFFLE);
            spec.train.shuffle_offset = offset;
            const size_t segment = cases[i].segment ? cases[i].segment : cases[i].n;
            static int want[PASSES * STREAM];
            int n = 0, of_pass = 0;
            for (int pass = 0; pass < PASSES; pass++)
                n += of_pass = list_pass(&spec, cases[i].n, segment, pass, want + n);
            const struct sampler_text text = {
                .ids = stream, .n = cases[i].n, .segment = cases[i].segment};
            for (int from = 0; from < n / B; from += 1 + n / B / 3) {
                struct sampler *sampler = open_text(&spec, &text);
                for (int step = from; step < n / B; step++) {
                    sampler_batch(sampler, step, inputs, targets);
                    for (int b = 0; b < B; b++) {
                        assert_int_equal(inputs[b * cases[i].T], want[step * B + b]);
                        assert_int_equal(targets[b * cases[i].T + cases[i].T - 1],
                                         want[step * B + b] + cases[i].T);
                    }
                }
                sampler_close(sampler);
            }
            spec.train.steps_per_epoch = 0;
            struct sampler *sampler = open_text(&spec, &text);
            assert_int_equal(sampler_steps_per_epoch(sampler), (of_pass + B - 1) / B);
            sampler_close(sampler);
        }
}

/* Every token but the first is a target, and those away from the ends at every place of a window
 * equally often. */
static void offsets_reach_every_place(void **state)
{
    (void)state;
    enum { T = 8, N = 69, WINDOWS = 7, PASSES = 8000 };
    struct spec spec = make_spec(T, WINDOWS, SAMPLING_SHUFFLE);
    spec.train.shuffle_offset = 1;
    struct sampler *sampler = open_stream(&spec, stream, N);
    static int seen[N][T];
    memset(seen, 0, sizeof seen);
    for (int64_t step = 0; step < PASSES; step++) {
        sampler_batch(sampler, step, inputs, targets);
        for (int i = 0; i < WINDOWS * T; i++)
            seen[targets[i]][i % T]++;
    }
    const double expected = PASSES / (double)T;
    for (int token = 2 * T; token < N - 2 * T; token++)
        for (int t = 0; t < T; t++)
            assert_true(fabs(seen[token][t] - expected) < 5 * sqrt(expected));
    for (int token = 0; token < N; token++) {
        int n = 0;
        for (int t = 0; t < T; t++)
            n += seen[token][t];
        assert_int_equal(n > 0, token > 0);
    }
    sampler_close(sampler);
}

static struct groups one_group(int32_t *ids, int n)
{
    return (struct groups){
        .n = 1, .n_tokens = n, .group = {{.name = "rare", .n = n, .ids = ids}}, .tokens = ids};
}

/* Starts with a target of the group occur `factor` times as often as the others, in one
 * segment and in several. A token that is only the first input of a window is no target. */
static void oversampled_windows(void **state)
{
    (void)state;
    enum { N = 120, T = 5, B = 100, STEPS = 1000 };
    static const struct {
        size_t segment;
        double factor;
    } cases[] = {{0, 8}, {40, 8}, {0, 1}, {40, 2.5}};
    int64_t counts[N];
    for (int i = 0; i < N; i++)
        counts[i] = 1;
    const struct frequency frequency = {.vocab = N, .counts = counts, .total = N, .types = N};
    int32_t ids[] = {0, 17, 18, 41, 119};
    const struct groups groups = one_group(ids, 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec spec = make_spec(T, B, SAMPLING_RANDOM);
        strcpy(spec.data.oversample_group, "rare");
        spec.data.oversample_factor = cases[i].factor;
        const struct sampler_text text = {.ids = stream,
                                          .n = N,
                                          .segment = cases[i].segment,
                                          .frequency = &frequency,
                                          .groups = &groups};
        int starts[N], seen[N] = {0};
        double weight[N], total = 0;
        const int n = list_starts(N, cases[i].segment ? cases[i].segment : N, T, 1, starts);
        for (int at = 0; at < n; at++) {
            weight[at] = 1;
            for (int t = 1; t <= T; t++)
                for (int j = 0; j < 5; j++)
                    if (stream[starts[at] + t] == ids[j])
                        weight[at] = cases[i].factor;
            total += weight[at];
        }
        struct sampler *sampler = open_text(&spec, &text);
        for (int64_t step = 0; step < STEPS; step++) {
            sampler_batch(sampler, step, inputs, targets);
            for (int b = 0; b < B; b++)
                seen[index_of(starts, n, inputs[b * T])]++;
        }
        for (int at = 0; at < n; at++) {
            const double expected = (double)STEPS * B * weight[at] / total;
            assert_true(fabs(seen[at] - expected) < 5 * sqrt(expected));
        }
        sampler_close(sampler);
    }
}

/* Insert each dose by hand into the run without insertions: every difference is an inserted
 * token, as target and as the next input, and each token occurs exactly as often as its dose
 * says, within its epochs. */
static void insertions_are_the_doses(void **state)
{
    (void)state;
    enum { T = 8, B = 4, EPOCHS = 60, STEPS = 3, FROM = 10, TO = 50, PER = 5, DOSES = 4 };
    static const int doses[DOSES] = {0, 1, 3, 8};
    int32_t ids[DOSES][PER];
    struct groups groups = {.n = DOSES};
    for (int g = 0; g < DOSES; g++) {
        for (int i = 0; i < PER; i++)
            ids[g][i] = 2000 + g * PER + i;
        groups.group[g] = (struct group){.n = PER, .ids = ids[g]};
    }
    struct spec spec = make_spec(T, B, SAMPLING_RANDOM);
    spec.train.epochs = EPOCHS;
    spec.train.steps_per_epoch = STEPS;
    struct sampler *plain = open_stream(&spec, stream, STREAM);
    spec.data.inject.tokens = PER;
    spec.data.inject.n_doses = DOSES;
    memcpy(spec.data.inject.doses, doses, sizeof doses);
    spec.data.inject.from = FROM;
    spec.data.inject.to = TO;
    struct sampler *sampler =
        open_text(&spec, &(struct sampler_text){.ids = stream, .n = STREAM, .groups = &groups});
    int exposures[DOSES * PER] = {0}, distinct_steps = 0;
    for (int64_t step = 0; step < EPOCHS * STEPS; step++) {
        int inserted = 0;
        sampler_batch(plain, step, more_inputs, more_targets);
        sampler_batch(sampler, step, inputs, targets);
        for (int i = 0; i < B * T; i++) {
            const int is_inserted = targets[i] >= 2000;
            if (is_inserted)
                exposures[targets[i] - 2000]++;
            else
                assert_int_equal(targets[i], more_targets[i]);
            if (i % T == 0)
                assert_int_equal(inputs[i], more_inputs[i]);
            else
                assert_int_equal(inputs[i], targets[i - 1]);
            inserted += is_inserted;
        }
        distinct_steps += inserted > 0;
        assert_true(!inserted || (step >= FROM * STEPS && step < TO * STEPS));
    }
    for (int g = 0; g < DOSES; g++)
        for (int i = 0; i < PER; i++)
            assert_int_equal(exposures[g * PER + i], doses[g]);
    assert_true(distinct_steps > 25); /* 60 insertions over 120 steps */
    sampler_close(plain);
    sampler_close(sampler);
}

/* The largest allowed number of insertions still finds distinct positions. */
static void insertions_never_collide(void **state)
{
    (void)state;
    enum { T = 16, B = 8, STEPS = 10, N = T * B * STEPS / SAMPLER_INSERTIONS_SHARE };
    int32_t ids[] = {2000};
    for (int seed = 0; seed < 20; seed++) {
        const struct groups groups = one_group(ids, 1);
        struct spec spec = make_spec(T, B, SAMPLING_RANDOM);
        struct sampler *sampler = NULL;
        struct err err = ERR_INIT;
        int exposures = 0;
        spec.train.seed = seed;
        spec.train.epochs = STEPS;
        spec.data.inject.tokens = 1;
        spec.data.inject.n_doses = 1;
        spec.data.inject.doses[0] = N;
        spec.data.inject.to = -1;
        const struct sampler_text text = {.ids = stream, .n = STREAM, .groups = &groups};
        sampler = open_text(&spec, &text);
        for (int64_t step = 0; step < STEPS; step++) {
            sampler_batch(sampler, step, inputs, targets);
            for (int i = 0; i < B * T; i++)
                exposures += targets[i] == 2000;
        }
        assert_int_equal(exposures, N);
        sampler_close(sampler);
        spec.data.inject.doses[0] = N + 1;
        err_clear(&err);
        assert_int_equal(sampler_open(&spec, &text, &sampler, &err), -1);
        assert_string_equal(err.fields[0].pointer, "/data/inject/tokens");
    }
}

/* Evaluation windows: disjoint, whole, spread over the part, independent of the seed. */
static void evaluation_windows(void **state)
{
    (void)state;
    enum { T = 100, HELD = 2500 };
    static int32_t held_out[HELD];
    for (int i = 0; i < HELD; i++)
        held_out[i] = 5000 + i;
    int windows[STREAM], held[HELD];
    const int n_windows = list_starts(STREAM, 450, T, T, windows);
    const int n_held = list_starts(HELD, SPEC_HOLDOUT_BLOCK, T, T, held);
    assert_int_equal(n_windows, 8);
    assert_int_equal(n_held, 24);
    for (int wanted = 1; wanted <= n_windows; wanted++) {
        struct spec spec = make_spec(T, 2, SAMPLING_RANDOM);
        spec.eval.windows = wanted;
        spec.train.seed_data = wanted;
        struct sampler *sampler = open_text(&spec, &(struct sampler_text){.ids = stream,
                                                                          .n = STREAM,
                                                                          .segment = 450,
                                                                          .held_out = held_out,
                                                                          .n_held_out = HELD});
        assert_int_equal(sampler_evaluation_windows(sampler, SAMPLER_TEXT), wanted);
        assert_int_equal(sampler_evaluation_windows(sampler, SAMPLER_HELD_OUT), wanted);
        for (int i = 0; i < wanted; i++) {
            sampler_evaluation(sampler, SAMPLER_TEXT, i, inputs, targets);
            assert_int_equal(inputs[0], windows[i * n_windows / wanted]);
            assert_int_equal(sampler_evaluation_start(sampler, SAMPLER_TEXT, i), inputs[0]);
            assert_int_equal(targets[T - 1], inputs[0] + T);
            sampler_evaluation(sampler, SAMPLER_HELD_OUT, i, inputs, targets);
            assert_int_equal(inputs[0], 5000 + held[i * n_held / wanted]);
            assert_int_equal(sampler_evaluation_start(sampler, SAMPLER_HELD_OUT, i),
                             held[i * n_held / wanted]);
            assert_int_equal(targets[T - 1], inputs[0] + T);
        }
        sampler_close(sampler);
    }
    struct spec spec = make_spec(T, 2, SAMPLING_RANDOM);
    struct sampler *untouched = NULL;
    struct err err = ERR_INIT;
    spec.eval.windows = n_windows + 1;
    const struct sampler_text text = {.ids = stream, .n = STREAM, .segment = 450};
    assert_int_equal(sampler_open(&spec, &text, &untouched, &err), -1);
    assert_string_equal(err.fields[0].pointer, "/eval/windows");
    assert_string_equal(err.fields[0].detail, "at most 8 is possible: the windows of the text");
    assert_null(untouched);
    spec.eval.windows = 3;
    struct sampler *sampler =
        open_text(&spec, &(struct sampler_text){
                             .ids = stream, .n = STREAM, .held_out = held_out, .n_held_out = 250});
    assert_int_equal(sampler_evaluation_windows(sampler, SAMPLER_HELD_OUT), 2);
    sampler_close(sampler);
}

/* Synthetic windows for evaluation are the same for every seed and in no batch. */
static void synthetic_evaluation(void **state)
{
    (void)state;
    enum { T = 50 };
    int64_t counts[] = {40, 60};
    const struct frequency frequency = {.vocab = 2, .counts = counts, .total = 100, .types = 2};
    struct spec spec = make_spec(T, 1, SAMPLING_RANDOM);
    spec.eval.windows = 1000; /* more than a pass of the imitated text has */
    struct sampler *sampler = open_counts(&spec, &frequency);
    sampler_evaluation(sampler, SAMPLER_TEXT, 999, inputs, targets);
    sampler_close(sampler);
    for (int seed = 0; seed < 5; seed++) {
        spec.train.seed_data = seed;
        sampler = open_counts(&spec, &frequency);
        sampler_evaluation(sampler, SAMPLER_TEXT, 999, more_inputs, more_targets);
        assert_true(same_batch(&spec));
        sampler_batch(sampler, 999, more_inputs, more_targets);
        assert_false(same_batch(&spec));
        sampler_close(sampler);
    }
}

static void refusals(void **state)
{
    (void)state;
    int64_t counts[STREAM] = {1, 1, 1};
    const struct frequency frequency = {
        .vocab = STREAM, .counts = counts, .total = STREAM, .types = STREAM};
    int32_t ids[] = {0, 999};
    struct groups groups = one_group(ids, 1);
    struct spec spec = make_spec(8, 2, SAMPLING_RANDOM);
    strcpy(spec.data.oversample_group, "rare");
    spec.data.oversample_factor = 2;
    struct sampler *sampler = NULL;
    struct err err = ERR_INIT;
    struct sampler_text text = {
        .ids = stream, .n = STREAM, .frequency = &frequency, .groups = &groups};
    assert_int_equal(sampler_open(&spec, &text, &sampler, &err), -1);
    assert_string_equal(err.fields[0].pointer, "/data/oversample/group");
    assert_string_equal(err.fields[0].detail, "no window has a target of \"rare\"");
    err_clear(&err);
    text.ids = NULL;
    assert_int_equal(sampler_open(&spec, &text, &sampler, &err), -1);
    assert_string_equal(err.fields[0].pointer, "/data/oversample");
    groups = one_group(ids + 1, 1);
    text.ids = stream;
    sampler_close(open_text(&spec, &text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_consecutive),
        cmocka_unit_test(random_offsets_are_uniform),
        cmocka_unit_test(shuffled_pass_holds_every_window_once),
        cmocka_unit_test(shuffled_orders_are_uniform),
        cmocka_unit_test(shuffled_passes_by_hand),
        cmocka_unit_test(offsets_reach_every_place),
        cmocka_unit_test(synthetic_follows_the_counts),
        cmocka_unit_test(batch_depends_on_step_alone),
        cmocka_unit_test(largest_steps),
        cmocka_unit_test(steps_of_a_pass),
        cmocka_unit_test(shortest_text),
        cmocka_unit_test(windows_stay_in_their_segment),
        cmocka_unit_test(oversampled_windows),
        cmocka_unit_test(insertions_are_the_doses),
        cmocka_unit_test(insertions_never_collide),
        cmocka_unit_test(evaluation_windows),
        cmocka_unit_test(synthetic_evaluation),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, fill_stream, NULL);
}
