/* What a job computes: proportional to its updates, and the same shape for jobs whose updates take
 * equally long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "lab/cost.h"

enum { VOCABULARY = 50257 };

static struct spec *parse(const char *json)
{
    struct spec *spec = NULL;
    struct err err = ERR_INIT;
    if (spec_parse(json, strlen(json), &spec, &err) < 0)
        fail_msg("%s: %s", json, err.message);
    return spec;
}

static double cost(const char *json, int64_t steps)
{
    struct err err = ERR_INIT;
    struct spec *spec = parse(json);
    const double result = cost_epoch(spec, VOCABULARY, steps, 300, &err);
    spec_free(spec);
    return result;
}

static void test_cost(void **state)
{
    (void)state;
    /* 12 C^2 L + C Vp weights; three times two operations for each of the positions; attention. */
    const double C = 768, L = 12, T = 1024, B = 8, weights = 12 * C * C * L + C * 50304;
    const double products = 3 * (2 * weights + 4 * L * T * C) * B * T / 1e9;
    const char *gpt2 =
        "{\"model\":{\"d_model\":768,\"n_layers\":12,\"n_heads\":12,\"seq_len\":1024},"
        "\"train\":{\"batch_size\":8}}";
    const double one = cost(gpt2, 1);
    assert_true(one > products && one < 1.1 * products);
    assert_true(fabs(cost(gpt2, 101) - 101 * one) < 0.01 * 101 * one);
    const double evaluated = cost("{\"eval\":{\"windows\":80,\"every\":10}}", 1);
    const double plain = cost("{}", 1);
    assert_true(evaluated > plain && evaluated < 2 * plain); /* a third of an update's positions */
}

static void shape(const char *json, char out[HASH_HEX])
{
    struct err err = ERR_INIT;
    struct spec *spec = parse(json);
    assert_int_equal(cost_shape(spec, out, &err), 0);
    spec_free(spec);
}

static void test_shape(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{\"name\":\"x\",\"notes\":\"y\",\"tags\":[\"z\"]}",
        "{\"train\":{\"epochs\":7,\"steps_per_epoch\":3,\"lr\":0.5,\"seed\":9,\"snapshots\":[1]}}",
        "{\"resources\":{\"priority\":3,\"max_seconds\":60,\"device\":\"cpu\"}}"};
    static const char *const others[] = {
        "{\"model\":{\"d_model\":64}}",           "{\"model\":{\"tie\":\"untied\"}}",
        "{\"train\":{\"batch_size\":4}}",         "{\"train\":{\"precision\":\"fp32\"}}",
        "{\"train\":{\"optimizer\":\"sgd\"}}",    "{\"groups\":{\"size\":10}}",
        "{\"corpus\":{\"tokenizer\":\"bytes\"}}", "{\"eval\":{\"windows\":8}}"};
    char plain[HASH_HEX], found[HASH_HEX];
    shape("{}", plain);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        shape(same[i], found);
        assert_string_equal(found, plain);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        shape(others[i], found);
        if (strcmp(found, plain) == 0)
            fail_msg("%s has the shape of the default", others[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cost), cmocka_unit_test(test_shape)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
