/* Mean and interval: Student's quantiles against the published table, and the coverage of
 * the interval. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "lab/random.h"
#include "lab/statistics.h"

static void quantiles_of_the_table(void **state)
{
    (void)state;
    const struct {
        int degrees;
        double probability, t;
    } cases[] = {
        {1, 0.95, 12.706}, {2, 0.95, 4.303},  {3, 0.95, 3.182},   {4, 0.95, 2.776},
        {9, 0.95, 2.262},  {30, 0.95, 2.042}, {120, 0.95, 1.980}, {1, 0.5, 1.000},
        {5, 0.99, 4.032},  {10, 0.9, 1.812},  {999, 0.95, 1.962},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(fabs(statistics_t(cases[i].degrees, cases[i].probability) - cases[i].t) < 6e-4);
}

static void mean_and_interval_by_hand(void **state)
{
    (void)state;
    const double values[] = {1, 9, 2, 9, 3, 9, NAN, 9, 6, 9};
    const struct statistics s = statistics_of(values, 5, 2);
    assert_int_equal(s.n, 4);
    assert_true(fabs(s.mean - 3) < 1e-15);
    assert_true(fabs(s.sd - sqrt(14.0 / 3)) < 1e-15);
    assert_true(fabs(s.half - 3.1824463 * s.sd / 2) < 1e-6);
}

static void too_few_values(void **state)
{
    (void)state;
    const double values[] = {NAN, 5, INFINITY};
    const struct statistics one = statistics_of(values, 3, 1), none = statistics_of(values, 1, 1);
    assert_int_equal(one.n, 1);
    assert_true(one.mean == 5 && isnan(one.sd) && isnan(one.half));
    assert_true(none.n == 0 && isnan(none.mean));
}

/* By hand; quantiles lie between the values, at 4 q from the lowest of five. */
static void spread_by_hand(void **state)
{
    (void)state;
    double values[] = {9, -1, 4, 2, 1}, quantiles[STATISTICS_QUANTILES];
    const double want[] = {-0.6, 1, 2, 4, 8};
    assert_true(fabs(statistics_spread(values, 5, quantiles) - sqrt(58 / 4.0)) < 1e-12);
    for (int i = 0; i < STATISTICS_QUANTILES; i++)
        assert_true(fabs(quantiles[i] - want[i]) < 1e-12);
    double broken[] = {-INFINITY, 1, 2};
    assert_true(isnan(statistics_spread(broken, 3, quantiles)) && quantiles[2] == 1);
    assert_true(isnan(statistics_spread(values, 1, quantiles)));
    for (int i = 0; i < STATISTICS_QUANTILES; i++)
        assert_true(quantiles[i] == -1);
    assert_true(isnan(statistics_spread(values, 0, quantiles)));
    for (int i = 0; i < STATISTICS_QUANTILES; i++)
        assert_true(isnan(quantiles[i]));
}

/* Equal values have no spread, whatever their sum rounds to: their mean is the value. */
static void equal_values(void **state)
{
    (void)state;
    static const double cases[] = {0.1, -10.848, 1e-300, 123456789.1, 1.7e308, -3e15 - 1};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int n = 2; n <= 100; n++) {
            double values[100], quantiles[STATISTICS_QUANTILES];
            for (int i = 0; i < n; i++)
                values[i] = cases[c];
            const struct statistics s = statistics_of(values, n, 1);
            assert_true(s.mean == cases[c] && s.sd == 0 && s.half == 0);
            assert_true(statistics_spread(values, n, quantiles) == 0 && quantiles[0] == cases[c]);
        }
    const double with_gap[] = {NAN, 0.1, NAN, 0.1, 0.1};
    assert_true(statistics_of(with_gap, 5, 1).sd == 0);
    const double two[] = {0.1, 0.1 + 1e-17, 0.1 + 2e-17, 0.2};
    assert_true(statistics_of(two, 4, 1).sd > 0.04);
}

/* 4,000 samples of 4 normal draws: the interval covers the true mean 95 % of the
 * time, give or take four standard errors. */
static void interval_covers(void **state)
{
    (void)state;
    enum { TRIALS = 4000, N = 4 };
    int covered = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        double values[N];
        for (int i = 0; i < N; i++)
            values[i] = 7 + 2 * random_normal(3, RANDOM_WEIGHTS, (uint64_t)(trial * N + i));
        const struct statistics s = statistics_of(values, N, 1);
        covered += fabs(s.mean - 7) <= s.half;
    }
    assert_true(fabs(covered / (double)TRIALS - 0.95) < 4 * sqrt(0.95 * 0.05 / TRIALS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_of_the_table), cmocka_unit_test(mean_and_interval_by_hand),
        cmocka_unit_test(too_few_values),         cmocka_unit_test(spread_by_hand),
        cmocka_unit_test(equal_values),           cmocka_unit_test(interval_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
