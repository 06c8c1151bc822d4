/* Indicators: every number against its definition over all pairs, and against
 * rows that are built to give a known answer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lab/indicators.h"
#include "lab/random.h"

enum { V = 60, C = 5 };

static int64_t counts[V];
static float rows[V * C], inputs[V * C];

/* Used tokens, rising counts; every third is unused and has a shared direction. */
static struct frequency make_rows(double shared)
{
    struct frequency frequency = {.vocab = V, .counts = counts};
    for (int i = 0; i < V; i++) {
        counts[i] = i % 3 == 0 ? 0 : 1 + i * i / 4;
        frequency.total += counts[i];
        frequency.types += counts[i] > 0;
        for (int c = 0; c < C; c++) {
            const uint64_t at = (uint64_t)(i * C + c);
            rows[i * C + c] =
                (float)(random_normal(1, RANDOM_WEIGHTS, at) + (counts[i] ? 0 : shared * (c == 1)));
            inputs[i * C + c] =
                (float)(random_normal(2, RANDOM_WEIGHTS, at) * (counts[i] ? 1 : 0.5));
        }
    }
    return frequency;
}

static double dot(const double *a, const float *b)
{
    double sum = 0;
    for (int c = 0; c < C; c++)
        sum += a[c] * (double)b[c];
    return sum;
}

static double norm(const float *row)
{
    double sum = 0;
    for (int c = 0; c < C; c++)
        sum += (double)row[c] * (double)row[c];
    return sqrt(sum);
}

static void expect(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-12))
        fail_msg("%.15g, expected %.15g", value, expected);
}

static int unused_number(int token)
{
    int n = 0;
    for (int i = 0; i < token; i++)
        n += counts[i] == 0;
    return n;
}

static int is_reference(int token)
{
    return counts[token] == 0 && unused_number(token) % 2 == 0;
}

/* Share of pairs (used token of a class, held-out unused one) in which the
 * unused one scores lower. */
static double area(const double *score, int class)
{
    double wins = 0, pairs = 0;
    for (int i = 0; i < V; i++)
        for (int j = 0; j < V; j++) {
            if (!counts[i] || counts[j] || is_reference(j) ||
                (class >= 0 && frequency_class(counts[i]) != class))
                continue;
            wins += score[j] < score[i] ? 1 : (score[j] > score[i] ? 0 : 0.5);
            pairs++;
        }
    return pairs > 0 ? wins / pairs : NAN;
}

static void distances(double *out)
{
    double mean[C] = {0}, length = 0;
    for (int i = 0; i < V; i++)
        for (int c = 0; c < C && is_reference(i); c++)
            mean[c] += (double)rows[i * C + c];
    for (int c = 0; c < C; c++)
        length += mean[c] * mean[c];
    for (int i = 0; i < V; i++)
        out[i] = 1 - dot(mean, rows + i * C) / sqrt(length) / norm(rows + i * C);
}

static void areas_over_all_pairs(void **state)
{
    (void)state;
    struct indicators found;
    double score[V], used = 0, held_out = 0;
    const struct frequency frequency = make_rows(0.7);
    assert_int_equal(indicators_of(rows, inputs, C, &frequency, &found, NULL), 0);
    assert_int_equal(found.n_reference, 10);
    assert_int_equal(found.n_held_out, 10);
    distances(score);
    expect(found.distance_auc, area(score, -1));
    assert_true(found.distance_auc > 0.55 && found.distance_auc < 0.95);
    for (int at = 1; at < FREQUENCY_CLASSES; at++) {
        const double expected = area(score, at);
        if (isnan(expected))
            assert_true(isnan(found.distance_auc_by_count[at]));
        else
            expect(found.distance_auc_by_count[at], expected);
    }
    assert_true(isnan(found.distance_auc_by_count[0]));
    for (int i = 0; i < V; i++)
        if (!is_reference(i))
            *(counts[i] ? &used : &held_out) += score[i];
    expect(found.used_distance, used / 40);
    expect(found.held_out_distance, held_out / 10);
    for (int i = 0; i < V; i++)
        score[i] = norm(inputs + i * C);
    expect(found.norm_auc, area(score, -1));
    assert_true(found.norm_auc > 0.6);
}

static void ties_count_half(void **state)
{
    (void)state;
    struct indicators found;
    const struct frequency frequency = make_rows(0);
    for (int i = 0; i < V * C; i++)
        rows[i] = 1;
    assert_int_equal(indicators_of(rows, rows, C, &frequency, &found, NULL), 0);
    expect(found.distance_auc, 0.5);
    expect(found.norm_auc, 0.5);
    expect(found.all.mean_cosine, 1);
}

static void clouds_over_all_pairs(void **state)
{
    (void)state;
    struct indicators found;
    const struct frequency frequency = make_rows(0.7);
    double cosines = 0, norms = 0, mean[C] = {0}, length = 0;
    assert_int_equal(indicators_of(rows, inputs, C, &frequency, &found, NULL), 0);
    for (int i = 0; i < V; i++) {
        if (!counts[i])
            continue;
        norms += norm(rows + i * C);
        for (int c = 0; c < C; c++)
            mean[c] += (double)rows[i * C + c] / 40;
        for (int j = 0; j < V; j++) {
            double product = 0;
            for (int c = 0; c < C; c++)
                product += (double)rows[i * C + c] * (double)rows[j * C + c];
            if (counts[j] && j != i)
                cosines += product / norm(rows + i * C) / norm(rows + j * C) / (40 * 39);
        }
    }
    for (int c = 0; c < C; c++)
        length += mean[c] * mean[c];
    assert_int_equal(found.used.n, 40);
    expect(found.used.row_norm, norms / 40);
    expect(found.used.mean_norm, sqrt(length));
    expect(found.used.mean_cosine, cosines);
    assert_int_equal(found.unused.n, 20);
    assert_int_equal(found.all.n, 60);
    assert_true(found.unused.mean_cosine > found.used.mean_cosine);
}

static void nearest_in_order(void **state)
{
    (void)state;
    struct indicators found;
    double score[V];
    const struct frequency frequency = make_rows(0.7);
    assert_int_equal(indicators_of(rows, inputs, C, &frequency, &found, NULL), 0);
    distances(score);
    assert_int_equal(found.n_nearest, INDICATORS_NEAREST);
    for (int k = 0; k < INDICATORS_NEAREST; k++) {
        int nearer = 0;
        for (int i = 0; i < V; i++)
            nearer += counts[i] && score[i] < score[found.nearest[k].id];
        assert_int_equal(nearer, k);
        expect(found.nearest[k].distance, score[found.nearest[k].id]);
    }
}

/* No unused token, no used token, and a row without a direction. */
static void sets_that_are_not_there(void **state)
{
    (void)state;
    struct indicators found;
    struct frequency frequency = make_rows(0.7);
    for (int c = 0; c < C; c++)
        rows[C + c] = 0;
    assert_int_equal(indicators_of(rows, rows, C, &frequency, &found, NULL), 0);
    assert_true(isfinite(found.distance_auc) && isfinite(found.used.mean_cosine));
    for (int i = 0; i < V; i++)
        counts[i] = 1;
    assert_int_equal(indicators_of(rows, rows, C, &frequency, &found, NULL), 0);
    assert_true(isnan(found.distance_auc) && isnan(found.unused.mean_norm));
    assert_true(isnan(found.held_out_distance) && isnan(found.cosine_of_means));
    assert_int_equal(found.n_nearest, 0);
    for (int i = 0; i < V; i++)
        counts[i] = 0;
    assert_int_equal(indicators_of(rows, rows, C, &frequency, &found, NULL), 0);
    assert_true(isnan(found.distance_auc) && isnan(found.used.row_norm));
}

/* Rows as the model draws them: the mean of n has this norm. */
static void untrained_drift(void **state)
{
    (void)state;
    enum { N = 500, D = 64 };
    double mean[D] = {0}, squares = 0;
    for (int i = 0; i < N; i++)
        for (int c = 0; c < D; c++)
            mean[c] += 0.02 * random_normal(3, RANDOM_WEIGHTS, (uint64_t)(i * D + c)) / N;
    for (int c = 0; c < D; c++)
        squares += mean[c] * mean[c];
    const double expected = indicators_untrained_mean_norm(0.02, D, N);
    assert_true(fabs(sqrt(squares) - expected) < 0.3 * expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(areas_over_all_pairs),    cmocka_unit_test(ties_count_half),
        cmocka_unit_test(clouds_over_all_pairs),   cmocka_unit_test(nearest_in_order),
        cmocka_unit_test(sets_that_are_not_there), cmocka_unit_test(untrained_drift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
