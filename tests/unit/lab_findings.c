/* Findings on records made by formula, so that every number can be computed here in another
 * way: each verdict on both sides of its bound, intervals over seeds, groups that do not
 * hold what their name says, runs that cannot be judged. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lab/findings.h"
#include "lab/theory.h"

enum { V = 50257, SIZE = 2, LAST = 29 }; /* 30 records: the last tenth has 3 */
enum { MOST, LEAST, NEVER };

/* Parameters of a synthetic run; a zero field takes the value of ordinary(). */
struct shape {
    double common, rare, never; /* mean log p at the end */
    double advantage, seed;     /* seed moves every level a little */
    double advantage_slope;     /* growth of the advantage over all epochs */
    double columns_noise;       /* amplitude of the masked mean's alternation */
    double other_noise;         /* added for the masks windows and positions */
    double mass, shift, input_shift;
    int64_t last;
};

static struct shape ordinary(void)
{
    return (struct shape){.common = -10.4,
                          .rare = -13,
                          .never = -15,
                          .advantage = 0.4,
                          .columns_noise = 0.01,
                          .mass = 0.6,
                          .shift = 0.2,
                          .input_shift = NAN,
                          .last = LAST};
}

struct fixture {
    struct spec spec;
    struct frequency frequency;
    struct groups groups;
    int32_t ids[3][SIZE];
    int64_t *counts;
};

static void fixture_open(struct fixture *f)
{
    *f = (struct fixture){.ids = {{0, 1}, {2, 3}, {V - 2, V - 1}}};
    f->spec.model.d_model = 128;
    f->spec.model.logit_scale = 1;
    f->spec.model.init_std = 0.02;
    f->spec.model.seq_len = 64;
    f->spec.train.batch_size = 8;
    f->spec.train.lr = 1e-3;
    f->spec.train.record_every = 1;
    f->spec.train.seed_weights = f->spec.train.seed_data = f->spec.train.seed_groups = -1;
    f->spec.train.weight_decay = 0.01;
    f->spec.train.decay_embeddings = 1;
    f->spec.train.optimizer = OPTIMIZER_ADAMW;
    f->spec.groups.mask = MASK_COLUMNS;
    strcpy(f->spec.corpus.tokenizer, "gpt2");
    f->counts = calloc(V, sizeof *f->counts);
    assert_non_null(f->counts);
    for (int i = 0; i < V / 5; i++)
        f->counts[i] = 5;
    f->counts[0] = 4000, f->counts[1] = 3000;
    f->counts[2] = f->counts[3] = 1;
    f->frequency = (struct frequency){.vocab = V, .counts = f->counts};
    for (int i = 0; i < V; i++) {
        f->frequency.total += f->counts[i];
        f->frequency.types += f->counts[i] > 0;
    }
    f->groups.n = 3;
    for (int g = 0; g < 3; g++)
        f->groups.group[g] = (struct group){.n = SIZE, .ids = f->ids[g]};
    strcpy(f->groups.group[MOST].name, "most_common");
    strcpy(f->groups.group[LEAST].name, "least_common");
    strcpy(f->groups.group[NEVER].name, "never_used");
}

static void fixture_close(struct fixture *f)
{
    free(f->counts);
}

/* Linear from the untrained level to the end, flat over the last tenth. */
static double level_at(double end, const struct shape *shape, int64_t epoch)
{
    const double start = -10.85 + shape->seed;
    const int64_t flat = shape->last - 3;
    if (epoch == 0)
        return start;
    return epoch >= flat ? end + shape->seed
                         : start + (end + shape->seed - start) * (double)epoch / (double)flat;
}

static void make_record(const struct shape *shape, int64_t epoch, double *values)
{
    const double ends[] = {shape->common, shape->rare, shape->never};
    for (int i = 0; i < record_size(3); i++)
        values[i] = NAN;
    values[RECORD_LOSS] = 10.8 - 0.1 * (double)epoch;
    for (int g = 0; g < 3; g++) {
        double *fields = values + record_at(g, 0);
        const double logp = level_at(ends[g], shape, epoch);
        const double noise = (epoch % 2 ? 1 : -1) * (g == MOST ? 1 : 0);
        /* more noise in epochs in which the mask leaves nothing */
        fields[RECORD_MEAN_LOGP_NONE] = logp + (epoch % 10 == 4 ? 0.06 : 0.02) * noise;
        fields[RECORD_MEAN_LOGP_COLUMNS] =
            epoch % 10 == 4 && g == MOST ? NAN : logp + shape->columns_noise * noise;
        fields[RECORD_MEAN_LOGP_WINDOWS] = logp + (0.015 + shape->other_noise) * noise;
        fields[RECORD_MEAN_LOGP_POSITIONS] = logp + shape->other_noise * noise;
        fields[RECORD_KEPT_COLUMNS] = 1 + (double)(epoch % 2);
        fields[RECORD_KEPT_WINDOWS] = 2;
        fields[RECORD_SD] = epoch ? 0.5 : 0.1 + 0.05 * g;
        fields[RECORD_LN_MEAN_P] = logp + 2;
        fields[RECORD_MEAN_P] = g == MOST ? shape->mass / SIZE : exp(logp);
        fields[RECORD_MASS] = fields[RECORD_MEAN_P] * SIZE;
        fields[RECORD_EXPOSURE] = g == NEVER ? 0 : 0.1 * (double)epoch;
        fields[RECORD_OUTPUT_NORM] = 0.2;
        fields[RECORD_OUTPUT_SHIFT] = epoch ? shape->shift : 0;
        fields[RECORD_INPUT_NORM] = isnan(shape->input_shift) ? NAN : 0.25;
        fields[RECORD_INPUT_SHIFT] = epoch ? shape->input_shift : 0;
        fields[RECORD_ADVANTAGE] = g == NEVER || epoch % 3 == 0
                                       ? NAN
                                       : shape->advantage + (epoch % 3 == 1 ? 0.1 : -0.1) +
                                             shape->advantage_slope *
                                                 (double)(2 * epoch - shape->last) /
                                                 (double)(2 * shape->last);
    }
}

static void take_run(const struct fixture *f, const struct shape *shape, struct findings_run *run)
{
    double values[RECORD_SCALARS + 3 * RECORD_FIELDS];
    findings_open(run, &f->spec, &f->frequency, &f->groups, shape->last, 2);
    for (int64_t epoch = 0; epoch <= shape->last; epoch++) {
        make_record(shape, epoch, values);
        findings_take(run, epoch, values);
    }
}

static void judge(const struct fixture *f, const struct shape *shapes, int n,
                  struct finding out[FINDINGS_CLAIMS])
{
    struct findings_run *runs = calloc((size_t)n, sizeof *runs);
    assert_non_null(runs);
    struct spec *specs = calloc((size_t)n, sizeof *specs);
    assert_non_null(specs);
    for (int i = 0; i < n; i++) {
        take_run(f, &shapes[i], &runs[i]);
        specs[i] = f->spec;
        specs[i].train.seed += i;
        runs[i].spec = &specs[i];
    }
    findings_judge(runs, n, out);
    free(runs), free(specs);
}

static const struct findings_number *number(const struct finding *findings,
                                            enum findings_claim claim, const char *id)
{
    for (int i = 0; i < findings[claim].n; i++)
        if (strcmp(findings[claim].number[i].id, id) == 0)
            return &findings[claim].number[i];
    fail_msg("claim %d has no number %s", claim, id);
    return NULL;
}

static void expect(const struct finding *findings, enum findings_claim claim, const char *id,
                   double value)
{
    const struct findings_number *found = number(findings, claim, id);
    if (!(fabs(found->measured.mean - value) < 1e-12))
        fail_msg("%s: %.15g, expected %.15g", id, found->measured.mean, value);
}

static void expect_verdict(const struct finding *findings, enum findings_claim claim,
                           enum findings_verdict verdict)
{
    if (findings[claim].verdict != verdict)
        fail_msg("%s: %s, expected %s (%s)", findings[claim].id,
                 findings_verdict_name(findings[claim].verdict), findings_verdict_name(verdict),
                 findings[claim].measured);
}

static void every_number(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    const struct shape shape = ordinary();
    fixture_open(&f);
    judge(&f, &shape, 1, findings);
    const double level = -log(V) - 0.02 * 0.02 * 128 / 2, N = (double)f.frequency.total;

    expect(findings, FINDINGS_VOCABULARY, "types_share", (double)(V / 5) / V);
    /* epoch 0 is even: most_common is 0.02 below */
    expect(findings, FINDINGS_UNTRAINED, "level", -10.85 - 0.02 / 3);
    assert_true(fabs(number(findings, FINDINGS_UNTRAINED, "level")->closed - level) < 1e-12);
    expect(findings, FINDINGS_UNTRAINED, "spread", 0.02);
    expect(findings, FINDINGS_UNTRAINED, "token_sd", 0.2 / (0.02 * sqrt(128)));
    /* odd epochs without a third: values 0.5 and 0.3 alternate, 10 each */
    expect(findings, FINDINGS_BATCH, "advantage", 0.4);
    expect(findings, FINDINGS_BATCH, "advantage_rare", 0.4);
    /* of three epochs each, the first has none */
    expect(findings, FINDINGS_BATCH, "advantage_start", 0.4);
    expect(findings, FINDINGS_BATCH, "advantage_end", 0.4);
    expect(findings, FINDINGS_BATCH, "kept", 1.5);
    expect(findings, FINDINGS_BATCH, "kept_windows", 2);
    /* epochs 27, 28, 29: noise + - + */
    expect(findings, FINDINGS_COMMON, "logp", -10.4 + 0.02 / 3);
    expect(findings, FINDINGS_COMMON, "distance", -10.4 + 0.01 / 3 - level);
    expect(findings, FINDINGS_COMMON, "probability", -8.4 + log(V));
    expect(findings, FINDINGS_COMMON, "jensen_gap", 2 - 0.02 / 3);
    expect(findings, FINDINGS_COMMON, "loss", 10.8 - 2.8);
    assert_true(fabs(number(findings, FINDINGS_COMMON, "probability")->closed -
                     (log(4000 / N) + log(3000 / N)) / 2 - log(V)) < 1e-12);
    assert_true(fabs(number(findings, FINDINGS_COMMON, "loss")->closed -
                     theory_entropy(&f.frequency)) < 1e-12);
    expect(findings, FINDINGS_RARE, "rare_change", -13 + 10.85);
    expect(findings, FINDINGS_RARE, "never_change", -15 + 10.85);
    expect(findings, FINDINGS_RARE, "never_below_rare", -2);
    expect(findings, FINDINGS_RARE, "never_below_common", -15 + 10.4 - 0.02 / 3 - 0.02);
    expect(findings, FINDINGS_RARE, "rare_exposure", 2.9);
    assert_true(fabs(number(findings, FINDINGS_RARE, "rare_exposure")->closed -
                     2 * 29 * 8 * 64 / N) < 1e-12);
    assert_true(fabs(number(findings, FINDINGS_RARE, "rare_change")->closed + log(N) + level) <
                1e-12);
    expect(findings, FINDINGS_EMBEDDINGS, "output_moved", 1 - (1 - pow(1 - 1e-5, 2 * LAST)));
    expect(findings, FINDINGS_EMBEDDINGS, "output_shift", 1);
    assert_int_equal(number(findings, FINDINGS_EMBEDDINGS, "input_moved")->measured.n, 0);
    expect(findings, FINDINGS_MASS, "mass", 0.6);
    expect(findings, FINDINGS_MASS, "mass_first", 0.6);
    expect(findings, FINDINGS_MASS, "log_difference", 2);
    expect(findings, FINDINGS_MASS, "linear_difference", (exp(-13) - exp(-15)) / 0.3);
    for (int c = 0; c < FINDINGS_CLAIMS; c++) {
        expect_verdict(findings, (enum findings_claim)c, FINDINGS_SUPPORTED);
        assert_string_equal(findings[c].cause, "");
        assert_non_null(strstr(findings[c].measured, "In this run: "));
        assert_null(strpbrk(findings[c].measured, "{}"));
    }
    fixture_close(&f);
}

/* Variances by second differences, recomputed from the records; epochs without either value
 * enter neither. */
static void stability_of_the_comparison(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    const struct shape shape = ordinary();
    double values[LAST + 1][RECORD_SCALARS + 3 * RECORD_FIELDS], variance[2] = {0};
    int triples = 0;
    fixture_open(&f);
    for (int epoch = 0; epoch <= LAST; epoch++)
        make_record(&shape, epoch, values[epoch]);
    for (int epoch = 1; epoch < LAST; epoch++) {
        double bend[2];
        for (int mask = 0; mask < 2; mask++) {
            const enum record_field field = (enum record_field)(RECORD_MEAN_LOGP_NONE + mask);
            double x[3];
            for (int i = 0; i < 3; i++)
                x[i] = values[epoch - 1 + i][record_at(MOST, field)] -
                       values[epoch - 1 + i][record_at(NEVER, field)];
            bend[mask] = (x[0] + x[2]) / 2 - x[1];
        }
        if (isnan(bend[0] + bend[1]))
            continue;
        for (int mask = 0; mask < 2; mask++)
            variance[mask] += bend[mask] * bend[mask];
        triples++;
    }
    assert_int_equal(triples, 19); /* of 28: epochs 4, 14 and 24 have no masked value */
    judge(&f, &shape, 1, findings);
    expect(findings, FINDINGS_BATCH, "stability", log(variance[1] / variance[0]));
    fixture_close(&f);
}

/* Each claim fails when its number crosses the bound, and says why. */
static void each_claim_can_fail(void **state)
{
    (void)state;
    struct shape shapes[6];
    const struct {
        enum findings_claim claim;
        const char *id, *cause;
    } expected[] = {
        {FINDINGS_BATCH, "advantage", "worth 0.050 nats"},
        {FINDINGS_BATCH, "stability", "Mask columns keeps"},
        {FINDINGS_COMMON, "distance", "Jensen gap"},
        {FINDINGS_RARE, "never_below_rare", "targets 2.90 times"},
        {FINDINGS_EMBEDDINGS, "output_moved", "too little"},
        {FINDINGS_MASS, "mass", "makes up"},
    };
    for (int i = 0; i < 6; i++)
        shapes[i] = ordinary();
    shapes[0].advantage = 0.05;
    shapes[1].columns_noise = 0.04;
    shapes[2].common = -7;
    shapes[3].never = -13.05;
    shapes[4].shift = 1e-5;
    shapes[5].mass = 0.4;
    for (int i = 0; i < 6; i++) {
        struct fixture f;
        struct finding findings[FINDINGS_CLAIMS];
        fixture_open(&f);
        judge(&f, &shapes[i], 1, findings);
        for (int c = 0; c < FINDINGS_CLAIMS; c++) {
            const int fails = c == (int)expected[i].claim || (i == 3 && c == FINDINGS_MASS);
            expect_verdict(findings, (enum findings_claim)c,
                           fails ? FINDINGS_NOT_SUPPORTED : FINDINGS_SUPPORTED);
        }
        assert_int_equal(number(findings, expected[i].claim, expected[i].id)->verdict,
                         FINDINGS_NOT_SUPPORTED);
        if (!strstr(findings[expected[i].claim].cause, expected[i].cause))
            fail_msg("\"%s\" lacks \"%s\"", findings[expected[i].claim].cause, expected[i].cause);
        fixture_close(&f);
    }
}

/* A small mean over all epochs: learnt late, lost, or never learnt. */
static void words_of_the_advantage(void **state)
{
    (void)state;
    static const struct {
        double slope;
        const char *words;
    } expected[] = {
        {0, "0.050 over the first tenth, 0.050 over the last: the model has hardly learnt"},
        {0.4,
         "0.243 over the last tenth, from -0.129 over the first: the model ends above the bound"},
        {-0.4, "0.229 over the first tenth, but -0.143 over the last: it was lost"},
    };
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    struct shape shape = ordinary();
    fixture_open(&f);
    shape.advantage = 0.05;
    for (int i = 0; i < 3; i++) {
        shape.advantage_slope = expected[i].slope;
        judge(&f, &shape, 1, findings);
        assert_int_equal(number(findings, FINDINGS_BATCH, "advantage")->verdict,
                         FINDINGS_NOT_SUPPORTED);
        if (!strstr(findings[FINDINGS_BATCH].cause, expected[i].words))
            fail_msg("\"%s\" lacks \"%s\"", findings[FINDINGS_BATCH].cause, expected[i].words);
    }
    fixture_close(&f);
}

/* The words are about the mask that the job names. */
static void words_of_each_mask(void **state)
{
    (void)state;
    static const char *const expected[MASKS] = {"Mask columns keeps 2 of 2",
                                                "Mask columns keeps 2 of 2",
                                                "What mask windows leaves", "What mask positions"};
    struct shape shape = ordinary();
    shape.columns_noise = 0.04;
    for (int mask = 0; mask < MASKS; mask++) {
        struct fixture f;
        struct finding findings[FINDINGS_CLAIMS];
        fixture_open(&f);
        f.spec.groups.mask = (enum spec_mask)mask;
        shape.other_noise = mask >= MASK_WINDOWS ? 0.05 : 0;
        judge(&f, &shape, 1, findings);
        expect_verdict(findings, FINDINGS_BATCH, FINDINGS_NOT_SUPPORTED);
        if (!strstr(findings[FINDINGS_BATCH].cause, expected[mask]))
            fail_msg("mask %d: \"%s\"", mask, findings[FINDINGS_BATCH].cause);
        assert_int_equal(strstr(findings[FINDINGS_BATCH].cause, "With mask windows") != NULL,
                         mask != MASK_WINDOWS);
        fixture_close(&f);
    }
}

/* An untied model: rows that only decayed, and rows that were trained. */
static void input_rows(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    struct shape shape = ordinary();
    fixture_open(&f);
    f.spec.model.tie = TIE_UNTIED;
    shape.input_shift = 0.25 * (1 - pow(1 - 1e-3 * 0.01, 2 * LAST));
    judge(&f, &shape, 1, findings);
    assert_true(fabs(number(findings, FINDINGS_EMBEDDINGS, "input_moved")->measured.mean) < 1e-12);
    assert_true(fabs(number(findings, FINDINGS_EMBEDDINGS, "input_norm")->closed -
                     0.25 * pow(1 - 1e-5, 2 * LAST)) < 1e-12);
    expect_verdict(findings, FINDINGS_EMBEDDINGS, FINDINGS_NOT_SUPPORTED);
    assert_non_null(strstr(findings[FINDINGS_EMBEDDINGS].cause, "weight decay alone"));
    shape.input_shift = 0.05;
    judge(&f, &shape, 1, findings);
    expect_verdict(findings, FINDINGS_EMBEDDINGS, FINDINGS_SUPPORTED);
    fixture_close(&f);
}

/* Decay alone moves every row by more than the bound in a few updates. */
static void decay_is_no_update(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    struct shape shape = ordinary();
    fixture_open(&f);
    f.spec.train.weight_decay = 0.1;
    shape.shift = 0.2 * (1 - pow(1 - 1e-4, 2 * LAST));
    judge(&f, &shape, 1, findings);
    const struct findings_number *shift = number(findings, FINDINGS_EMBEDDINGS, "output_shift");
    assert_true(shift->measured.mean > 5e-3 && fabs(shift->measured.mean - shift->closed) < 1e-12);
    assert_true(fabs(number(findings, FINDINGS_EMBEDDINGS, "output_moved")->measured.mean) < 1e-12);
    expect_verdict(findings, FINDINGS_EMBEDDINGS, FINDINGS_NOT_SUPPORTED);
    assert_non_null(strstr(findings[FINDINGS_EMBEDDINGS].cause, "too little beyond"));
    shape.shift += 0.2 * 1.1e-3;
    judge(&f, &shape, 1, findings);
    expect_verdict(findings, FINDINGS_EMBEDDINGS, FINDINGS_SUPPORTED);
    /* Adam normalises L2, so that decay alone moves rows as gradients do. */
    f.spec.train.optimizer = OPTIMIZER_ADAM;
    judge(&f, &shape, 1, findings);
    expect_verdict(findings, FINDINGS_EMBEDDINGS, FINDINGS_NOT_TESTABLE);
    assert_non_null(strstr(findings[FINDINGS_EMBEDDINGS].cause, "no closed form"));
    f.spec.train.decay_embeddings = 0;
    judge(&f, &shape, 1, findings);
    expect(findings, FINDINGS_EMBEDDINGS, "output_moved", shape.shift / 0.2);
    expect_verdict(findings, FINDINGS_EMBEDDINGS, FINDINGS_SUPPORTED);
    fixture_close(&f);
}

/* Seeds: mean, interval, and undetermined where the interval reaches across. */
static void over_seeds(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    struct shape shapes[3];
    fixture_open(&f);
    for (int i = 0; i < 3; i++) {
        shapes[i] = ordinary();
        shapes[i].seed = 0.01 * (i - 1);
        shapes[i].never = shapes[i].rare - 0.15 - 0.05 * (i - 1);
    }
    judge(&f, shapes, 3, findings);
    const struct findings_number *found = number(findings, FINDINGS_RARE, "never_below_rare");
    assert_int_equal(found->measured.n, 3);
    assert_true(fabs(found->measured.mean + 0.15) < 1e-12);
    assert_true(fabs(found->measured.half - statistics_t(2, 0.95) * 0.05 / sqrt(3)) < 1e-9);
    assert_int_equal(found->verdict, FINDINGS_UNDETERMINED);
    expect_verdict(findings, FINDINGS_RARE, FINDINGS_UNDETERMINED);
    expect_verdict(findings, FINDINGS_UNTRAINED, FINDINGS_SUPPORTED);
    assert_non_null(strstr(findings[FINDINGS_RARE].measured, "Over 3 seeds: "));
    assert_non_null(strstr(findings[FINDINGS_RARE].measured, "-0.15 ± 0.12"));
    assert_non_null(strstr(findings[FINDINGS_RARE].cause, "across"));
    /* The words name what the runs share: the interval does not cover it. */
    f.spec.train.seed_data = 7;
    judge(&f, shapes, 3, findings);
    assert_non_null(
        strstr(findings[FINDINGS_RARE].measured, "Over 3 seeds, with shared batches: "));
    f.spec.train.seed_groups = 7;
    judge(&f, shapes, 3, findings);
    assert_non_null(strstr(findings[FINDINGS_RARE].measured, "with shared batches and groups: "));
    /* A single run is judged by its value. */
    judge(&f, &shapes[2], 1, findings);
    expect_verdict(findings, FINDINGS_RARE, FINDINGS_SUPPORTED);
    /* All of the interval on the wrong side. */
    for (int i = 0; i < 3; i++)
        shapes[i].never = shapes[i].rare + 0.01 * i;
    judge(&f, shapes, 3, findings);
    expect_verdict(findings, FINDINGS_RARE, FINDINGS_NOT_SUPPORTED);
    fixture_close(&f);
}

/* A value that one of three runs has does not stand for all. */
static void some_runs_have_no_value(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    struct shape shapes[3] = {ordinary(), ordinary(), ordinary()};
    fixture_open(&f);
    for (int missing = 1; missing <= 3; missing++) {
        shapes[missing - 1].advantage = NAN;
        judge(&f, shapes, 3, findings);
        assert_int_equal(number(findings, FINDINGS_BATCH, "advantage")->measured.n, 3 - missing);
        expect_verdict(findings, FINDINGS_BATCH,
                       missing < 3 ? FINDINGS_UNDETERMINED : FINDINGS_NOT_TESTABLE);
        const char *said = strstr(findings[FINDINGS_BATCH].cause, "runs have a value: mean log p");
        assert_int_equal(said != NULL, missing < 3);
        assert_null(strstr(findings[FINDINGS_BATCH].cause, "across"));
    }
    shapes[0].advantage = 0.4;
    judge(&f, shapes, 3, findings);
    assert_non_null(strstr(findings[FINDINGS_BATCH].measured, "0.400 (1 of 3 runs)"));
    assert_non_null(strstr(findings[FINDINGS_BATCH].cause, "Only 1 of 3 runs"));
    fixture_close(&f);
}

/* A job that starts from another model: no number is compared with the untrained level. */
static void starts_from_another_model(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    struct shape shape = ordinary();
    fixture_open(&f);
    strcpy(f.spec.init_from, "00000000-0000-4000-8000-000000000000");
    judge(&f, &shape, 1, findings);
    for (int c = 0; c < FINDINGS_CLAIMS; c++) {
        const int is_about_it = c == FINDINGS_UNTRAINED || c == FINDINGS_COMMON;
        expect_verdict(findings, (enum findings_claim)c,
                       is_about_it ? FINDINGS_NOT_TESTABLE : FINDINGS_SUPPORTED);
        if (is_about_it)
            assert_non_null(strstr(findings[c].cause, "starts from another model"));
    }
    static const char *const ids[] = {"level", "spread", "token_sd"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(number(findings, FINDINGS_UNTRAINED, ids[i])->measured.n, 0);
        assert_true(isnan(number(findings, FINDINGS_UNTRAINED, ids[i])->closed));
    }
    assert_int_equal(number(findings, FINDINGS_COMMON, "distance")->measured.n, 0);
    assert_true(isnan(number(findings, FINDINGS_RARE, "rare_change")->closed));
    assert_true(isnan(number(findings, FINDINGS_MASS, "mass_first")->closed));
    expect(findings, FINDINGS_COMMON, "probability", -8.4 + log(V));
    fixture_close(&f);
}

static void expect_closed(const struct finding *findings, enum findings_claim claim, const char *id,
                          double value, const char *form)
{
    const struct findings_number *found = number(findings, claim, id);
    if (!(isnan(value) ? isnan(found->closed) : fabs(found->closed - value) < 1e-10))
        fail_msg("%s: closed form %.15g, expected %.15g", id, found->closed, value);
    assert_string_equal(found->form, form);
}

/* Closed forms are those of the loss that the job minimises. */
static void optimum_of_each_loss(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    struct shape shape = ordinary();
    fixture_open(&f);
    const double N = (double)f.frequency.total, level = theory_untrained(&f.spec, V);
    shape.common = -7;
    f.spec.loss.label_smoothing = 0.2;
    judge(&f, &shape, 1, findings);
    const double p[] = {0.8 * 4000 / N + 0.2 / V, 0.8 * 3000 / N + 0.2 / V};
    expect_closed(findings, FINDINGS_COMMON, "probability", (log(p[0]) + log(p[1])) / 2 + log(V),
                  "3.7");
    expect_closed(findings, FINDINGS_MASS, "mass", p[0] + p[1], "3.7");
    expect_closed(findings, FINDINGS_RARE, "rare_change", log(0.8 / N + 0.2 / V) - level, "3.7");
    expect_closed(findings, FINDINGS_COMMON, "loss", NAN, "3.2");
    expect_verdict(findings, FINDINGS_COMMON, FINDINGS_NOT_SUPPORTED);
    assert_non_null(strstr(findings[FINDINGS_COMMON].cause, "best model of this loss"));
    assert_null(strstr(findings[FINDINGS_COMMON].cause, "Counting alone"));
    assert_null(strstr(findings[FINDINGS_COMMON].cause, "without context: "));
    f.spec.loss.label_smoothing = 0;
    f.spec.loss.class_weight = 1;
    judge(&f, &shape, 1, findings);
    expect_closed(findings, FINDINGS_MASS, "mass", 2.0 / f.frequency.types, "3.7");
    /* z-loss does not move the optimum. */
    f.spec.loss.class_weight = 0;
    f.spec.loss.z_loss = 0.01;
    judge(&f, &shape, 1, findings);
    expect_closed(findings, FINDINGS_MASS, "mass", 7000 / N, "3.2");
    expect_closed(findings, FINDINGS_COMMON, "loss", theory_entropy(&f.frequency), "3.2");
    assert_non_null(strstr(findings[FINDINGS_COMMON].cause, "Counting alone"));
    assert_non_null(strstr(findings[FINDINGS_COMMON].cause, "(without context: "));
    fixture_close(&f);
}

/* Under insertions or oversampling targets do not follow the counts. */
static void no_optimum_without_the_counts(void **state)
{
    (void)state;
    for (int inserts = 0; inserts < 2; inserts++) {
        struct fixture f;
        struct finding findings[FINDINGS_CLAIMS];
        struct shape shape = ordinary();
        fixture_open(&f);
        if (inserts) {
            f.spec.data.inject.tokens = f.spec.data.inject.n_doses = 1;
            f.spec.data.inject.doses[0] = 4;
        } else {
            strcpy(f.spec.data.oversample_group, "least_common");
        }
        shape.common = -7;
        shape.rare = -10.85;
        shape.mass = 0.4;
        judge(&f, &shape, 1, findings);
        expect_closed(findings, FINDINGS_COMMON, "probability", NAN, "3.7");
        expect_closed(findings, FINDINGS_COMMON, "loss", NAN, "3.2");
        expect_closed(findings, FINDINGS_RARE, "rare_change", NAN, "3.7");
        expect_closed(findings, FINDINGS_RARE, "rare_exposure", NAN, "3.2");
        expect_closed(findings, FINDINGS_MASS, "mass", NAN, "3.7");
        for (int c = 0; c < FINDINGS_CLAIMS; c++)
            assert_null(strstr(findings[c].cause, "nan"));
        assert_non_null(strstr(findings[FINDINGS_COMMON].cause, "do not follow the counts"));
        assert_non_null(strstr(findings[FINDINGS_MASS].cause, "do not follow its counts"));
        expect_verdict(findings, FINDINGS_RARE, FINDINGS_NOT_SUPPORTED);
        fixture_close(&f);
    }
}

/* Published selections: a "never used" token that is used, a "most common" one that is not. */
static void groups_with_the_wrong_tokens(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    const struct shape shape = ordinary();
    fixture_open(&f);
    f.ids[NEVER][0] = 7;
    judge(&f, &shape, 1, findings);
    expect_verdict(findings, FINDINGS_RARE, FINDINGS_NOT_TESTABLE);
    expect_verdict(findings, FINDINGS_EMBEDDINGS, FINDINGS_NOT_TESTABLE);
    expect_verdict(findings, FINDINGS_MASS, FINDINGS_NOT_TESTABLE);
    expect_verdict(findings, FINDINGS_BATCH, FINDINGS_NOT_TESTABLE);
    expect_verdict(findings, FINDINGS_COMMON, FINDINGS_SUPPORTED);
    assert_non_null(strstr(findings[FINDINGS_RARE].cause, "never_used does not hold"));
    expect(findings, FINDINGS_RARE, "never_change", -15 + 10.85);
    f.ids[NEVER][0] = V - 2;
    f.ids[MOST][1] = 9;
    judge(&f, &shape, 1, findings);
    expect_verdict(findings, FINDINGS_COMMON, FINDINGS_NOT_TESTABLE);
    assert_non_null(strstr(findings[FINDINGS_COMMON].cause, "most_common does not hold"));
    f.ids[MOST][1] = 1;
    f.ids[LEAST][1] = 9;
    judge(&f, &shape, 1, findings);
    expect_verdict(findings, FINDINGS_RARE, FINDINGS_NOT_TESTABLE);
    expect_verdict(findings, FINDINGS_EMBEDDINGS, FINDINGS_SUPPORTED);
    fixture_close(&f);
}

static void what_cannot_be_told(void **state)
{
    (void)state;
    struct fixture f;
    struct finding findings[FINDINGS_CLAIMS];
    struct shape shape = ordinary();
    fixture_open(&f);
    shape.last = 0;
    judge(&f, &shape, 1, findings);
    for (int c = 0; c < FINDINGS_CLAIMS; c++)
        expect_verdict(findings, (enum findings_claim)c,
                       c == FINDINGS_VOCABULARY || c == FINDINGS_UNTRAINED ? FINDINGS_SUPPORTED
                                                                           : FINDINGS_NOT_TESTABLE);
    assert_non_null(strstr(findings[FINDINGS_RARE].cause, "Nothing has been trained"));
    /* The statements of the study in nats hold for its vocabulary; a pruned one has no
     * share. */
    f.frequency.vocab = V - 1;
    f.ids[NEVER][1] = V - 3;
    f.spec.corpus.vocabulary = VOCABULARY_USED;
    shape.last = LAST;
    judge(&f, &shape, 1, findings);
    expect_verdict(findings, FINDINGS_VOCABULARY, FINDINGS_NOT_TESTABLE);
    expect_verdict(findings, FINDINGS_UNTRAINED, FINDINGS_NOT_TESTABLE);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number),
        cmocka_unit_test(stability_of_the_comparison),
        cmocka_unit_test(each_claim_can_fail),
        cmocka_unit_test(words_of_the_advantage),
        cmocka_unit_test(words_of_each_mask),
        cmocka_unit_test(input_rows),
        cmocka_unit_test(decay_is_no_update),
        cmocka_unit_test(over_seeds),
        cmocka_unit_test(some_runs_have_no_value),
        cmocka_unit_test(starts_from_another_model),
        cmocka_unit_test(optimum_of_each_loss),
        cmocka_unit_test(no_optimum_without_the_counts),
        cmocka_unit_test(groups_with_the_wrong_tokens),
        cmocka_unit_test(what_cannot_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
