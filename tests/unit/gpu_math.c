/* The cpu backend's exp, tanh, erf and 2^x against libm in double: the bounds that
 * cpu_math.h and cpu_tiles.h state hold over the whole range, and are not generous;
 * what lies outside, infinity and NaN. As compiled for every processor and, where
 * this machine has it, for AVX-512, where products and sums are fused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gpu/cpu/cpu_math.h"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#include "gpu/cpu/cpu_tiles.h"
#define V4 1

static float v4_exp(float x)
{
    return cpu_exp(x);
}

static float v4_tanh(float x)
{
    return cpu_tanh(x);
}

static float v4_erf(float x)
{
    return cpu_erf(x, cpu_exp(-x * x));
}

static float v4_exp2(float x)
{
    return _mm512_cvtss_f32(tile_exp2(_mm512_set1_ps(x)));
}
#pragma GCC pop_options
#endif

static float plain_exp(float x)
{
    return cpu_exp(x);
}

static float plain_tanh(float x)
{
    return cpu_tanh(x);
}

static float plain_erf(float x)
{
    return cpu_erf(x, cpu_exp(-x * x));
}

static double absolute(double got, double want)
{
    return fabs(got - want);
}

static double relative(double got, double want)
{
    return fabs(got - want) / want;
}

/* A function, its range, what it approximates, and the bound that its comment states. */
struct approximation {
    const char *name;
    float (*got)(float x);
    double (*want)(double x);
    double (*error)(double got, double want);
    float least, most;
    double bound;
};

static const struct approximation plain[] = {
    {"cpu_exp", plain_exp, exp, relative, -87.3f, 88.3f, 3e-7},
    {"cpu_tanh", plain_tanh, tanh, absolute, -50, 50, 3e-7},
    {"cpu_erf", plain_erf, erf, absolute, -50, 50, 8e-7},
};

#ifdef V4
static const struct approximation v4[] = {
    {"cpu_exp, fused", v4_exp, exp, relative, -87.3f, 88.3f, 3e-7},
    {"cpu_tanh, fused", v4_tanh, tanh, absolute, -50, 50, 3e-7},
    {"cpu_erf, fused", v4_erf, erf, absolute, -50, 50, 8e-7},
    {"tile_exp2", v4_exp2, exp2, relative, -126, 127.99f, 3e-7},
};
#endif

/* Floats of both signs, a step of `stride` in their bits apart, so that every binary
 * order of magnitude is seen alike; and as many evenly over the range. */
static double worst(const struct approximation *a, uint32_t stride)
{
    double error = 0;
    uint32_t seen = 0;
    for (uint32_t bits = 0; bits < UINT32_C(0x7f800000); bits += stride) {
        float x;
        memcpy(&x, &bits, sizeof x);
        for (int sign = 0; sign < 2; sign++, x = -x)
            if (x >= a->least && x <= a->most) {
                error = fmax(error, a->error((double)a->got(x), a->want((double)x)));
                seen++;
            }
    }
    for (uint32_t i = 0; i <= seen; i++) {
        const float x = a->least + (a->most - a->least) * ((float)i / (float)seen);
        if (x <= a->most)
            error = fmax(error, a->error((double)a->got(x), a->want((double)x)));
    }
    return error;
}

enum { STRIDE = 1511 }; /* 1.4 million of each sign */

static void check(const struct approximation *a, int n)
{
    for (int i = 0; i < n; i++) {
        const double error = worst(&a[i], STRIDE);
        if (!(error < a[i].bound && error > a[i].bound / 8))
            fail_msg("%s: an error of %.3g, the bound is %.3g", a[i].name, error, a[i].bound);
        assert_true(isnan(a[i].got(NAN)));
    }
}

static void test_bounds(void **state)
{
    (void)state;
    check(plain, sizeof plain / sizeof *plain);
}

/* exp is clamped: what lies below is not 0, what lies above is no infinity. */
static void test_outside(void **state)
{
    (void)state;
    assert_true(plain_exp(-INFINITY) == plain_exp(-87.3f) && plain_exp(-87.3f) > 0);
    assert_true(plain_exp(INFINITY) == plain_exp(88.3f) && isfinite(plain_exp(88.3f)));
    assert_true(plain_exp(0) == 1);
    assert_true(plain_tanh(INFINITY) == 1 && plain_tanh(-INFINITY) == -1);
}

static void test_avx512(void **state)
{
    (void)state;
#ifdef V4
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("x86-64-v4"))
        skip();
    check(v4, sizeof v4 / sizeof *v4);
    assert_true(v4_exp2(-INFINITY) == 0 && v4_exp2(-1000) == 0);
    assert_true(v4_exp2(INFINITY) == INFINITY && v4_exp2(1000) == INFINITY);
    assert_true(v4_exp2(128) == INFINITY && isfinite(v4_exp2(127.99f)));
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_avx512),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
