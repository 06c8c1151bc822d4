/* remedies: the vectors of an objective against their definitions, and two traps: weights
 * average 1 over the text, and a token that never occurs has finite values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lab/remedies.h"

enum { V = 7, N = 1000 + 100 + 30 + 2 + 1 + 1 };

static int64_t counts[V] = {1000, 0, 100, 1, 30, 2, 1};
static const struct frequency frequency = {.vocab = V, .counts = counts, .total = N};

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-12 * (1 + fabs(expected))))
        fail_msg("%.17g, expected %.17g", value, expected);
}

static void test_class_weights(void **state)
{
    (void)state;
    static const double exponents[] = {0, 0.25, 0.5, 1, 2, -1};
    for (size_t e = 0; e < sizeof exponents / sizeof *exponents; e++) {
        double weights[V], mean = 0;
        remedies_class_weights(&frequency, exponents[e], weights);
        for (int i = 0; i < V; i++)
            mean += (double)counts[i] * weights[i] / N;
        assert_near(mean, 1);
        assert_near(weights[2] / weights[0], pow(10, exponents[e]));
        assert_near(weights[1], weights[3]); /* counts 0 and 1 */
    }
    double weights[V];
    remedies_class_weights(&frequency, 1, weights);
    for (int i = 0; i < V; i++) /* every used type has the same share: N / 6 types */
        if (counts[i] > 0)
            assert_near((double)counts[i] * weights[i], N / 6.0);
}

static void test_adjustment(void **state)
{
    (void)state;
    double one[V], two[V], prior = 0;
    remedies_adjustment(&frequency, 1, one);
    remedies_adjustment(&frequency, 2.5, two);
    for (int i = 0; i < V; i++) {
        prior += exp(one[i]);
        assert_near(two[i], 2.5 * one[i]);
    }
    assert_near(prior, 1);
    assert_near(one[1], -log(N + V)); /* count 0: finite */
    assert_near(one[0] - one[1], log(1001));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_weights),
        cmocka_unit_test(test_adjustment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
