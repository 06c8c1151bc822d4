/* Random numbers: known answers of the generator, the layout of a draw (it is
 * part of every stored result), and the moments of each distribution with a
 * fixed seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "lab/random.h"

static void known_answers(void **state)
{
    (void)state;
    /* philox4x32-10 of Random123's kat_vectors. */
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        random_philox(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].want, sizeof out);
    }
}

static void layout_of_a_draw(void **state)
{
    (void)state;
    const uint64_t seed = 0x299f31d0a4093822u, index = 0x85a308d3243f6a88u;
    const uint32_t counter[4] = {0x243f6a88, 0x85a308d3, RANDOM_TOKENS, 0};
    const uint32_t key[2] = {0xa4093822, 0x299f31d0};
    uint32_t word[4];
    random_philox(counter, key, word);
    uint64_t first = (uint64_t)word[1] << 32 | word[0];
    uint64_t second = (uint64_t)word[3] << 32 | word[2];
    assert_true(random_u64(seed, RANDOM_TOKENS, index) == first);
    assert_true(random_uniform(seed, RANDOM_TOKENS, index) == (double)(first >> 11) / 0x1p53);
    assert_true(random_below(seed, RANDOM_TOKENS, index, 1u << 16) == first >> 48);
    double u = ((double)(first >> 11) + 1) / 0x1p53, v = (double)(second >> 11) / 0x1p53;
    assert_true(fabs(random_normal(seed, RANDOM_TOKENS, index) -
                     sqrt(-2 * log(u)) * cos(2 * M_PI * v)) < 1e-15);
}

static void streams_differ(void **state)
{
    (void)state;
    for (int stream = RANDOM_WEIGHTS; stream < RANDOM_SHUFFLE; stream++)
        assert_true(random_u64(1, stream, 7) != random_u64(1, stream + 1, 7));
    assert_true(random_u64(1, RANDOM_TIES, 7) != random_u64(2, RANDOM_TIES, 7));
    assert_true(random_u64(1, RANDOM_TIES, 7) != random_u64(1u + (1ull << 32), RANDOM_TIES, 7));
    assert_true(random_u64(1, RANDOM_TIES, 7) != random_u64(1, RANDOM_TIES, 7 + (1ull << 32)));
}

static void below_is_uniform(void **state)
{
    (void)state;
    enum { RANGE = 100, DRAWS = 100000 };
    static int seen[RANGE];
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = random_below(1, RANDOM_WINDOWS, (uint64_t)i, RANGE);
        assert_true(x < RANGE);
        seen[x]++;
    }
    double chi2 = 0, expected = (double)DRAWS / RANGE;
    for (int i = 0; i < RANGE; i++)
        chi2 += (seen[i] - expected) * (seen[i] - expected) / expected;
    assert_true(chi2 > 61 &&
                chi2 < 149); /* 99 degrees of freedom: 0.1 % on either side is 61, 149 */
    for (int i = 0; i < 100; i++)
        assert_true(random_below(1, RANDOM_WINDOWS, (uint64_t)i, 1) == 0);
    assert_true(random_below(1, RANDOM_WINDOWS, 0, UINT64_MAX) < UINT64_MAX);
}

static void uniform_in_unit_interval(void **state)
{
    (void)state;
    double sum = 0;
    enum { DRAWS = 100000 };
    for (int i = 0; i < DRAWS; i++) {
        double x = random_uniform(3, RANDOM_TOKENS, (uint64_t)i);
        assert_true(x >= 0 && x < 1);
        sum += x;
    }
    assert_true(fabs(sum / DRAWS - 0.5) < 4 * sqrt(1.0 / 12 / DRAWS));
}

static void normal_moments(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, neighbours = 0, last = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = random_normal(1, RANDOM_WEIGHTS, (uint64_t)i);
        m1 += x;
        m2 += x * x;
        m3 += x * x * x;
        m4 += x * x * x * x;
        neighbours += x * last;
        last = x;
    }
    double n = DRAWS, tolerance = 4 / sqrt(n);
    assert_true(fabs(m1 / n) < tolerance);
    assert_true(fabs(m2 / n - 1) < tolerance * sqrt(2));
    assert_true(fabs(m3 / n) < tolerance * sqrt(15));
    assert_true(fabs(m4 / n - 3) < tolerance * sqrt(96));
    assert_true(fabs(neighbours / n) < tolerance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(layout_of_a_draw),
        cmocka_unit_test(streams_differ),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(uniform_in_unit_interval),
        cmocka_unit_test(normal_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
