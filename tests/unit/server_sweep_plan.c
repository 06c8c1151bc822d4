/* A posted sweep: its combinations in order, their names and settings, and every
 * bad field with a pointer into what was posted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/api/sweep_plan.h"

static struct sweep_plan *plan_of(const char *body)
{
    struct sweep_plan *plan = NULL;
    struct err err = ERR_INIT;
    if (sweep_plan_parse(body, strlen(body), &plan, &err))
        fail_msg("%s", err.message);
    return plan;
}

static void every_combination_in_order(void **state)
{
    (void)state;
    struct sweep_plan *plan =
        plan_of("{\"base\":{\"name\":\"g\",\"train\":{\"epochs\":7}},"
                "\"vary\":{\"model.tie\":[\"tied\",\"untied\"],\"train.seed\":[4,5,6]}}");
    assert_int_equal(plan->n, 6);
    assert_string_equal(plan->name, "g");
    for (int j = 0; j < 6; j++) {
        assert_int_equal(plan->spec[j]->model.tie, j < 3 ? TIE_TIED : TIE_UNTIED);
        assert_int_equal(plan->spec[j]->train.seed, 4 + j % 3);
        assert_int_equal(plan->spec[j]->train.epochs, 7);
    }
    assert_string_equal(plan->spec[4]->name, "g tie=untied seed=5");
    assert_string_equal(plan->setting[4], "{\"model.tie\":\"untied\",\"train.seed\":5}");
    sweep_plan_free(plan);
}

/* The shortest digits in a name, the very number in the spec. */
static void numbers_in_names(void **state)
{
    (void)state;
    struct sweep_plan *plan = plan_of("{\"name\":\"b\",\"vary\":{\"train.beta2\":[0.9,0.999]}}");
    assert_string_equal(plan->spec[0]->name, "b beta2=0.9");
    assert_true(plan->spec[0]->train.beta2 == 0.9);
    sweep_plan_free(plan);
}

static void names_are_cut_between_characters(void **state)
{
    (void)state;
    struct sweep_plan *plan =
        plan_of("{\"name\":\"äääääääääääääääääääääääääääääääääääääääääääääääääääääääääää\","
                "\"vary\":{\"notes\":[\"öööööööööööööööööööööööööööööööööööööööööööööööööö\"]}}");
    assert_true(strlen(plan->spec[0]->name) <= SPEC_NAME_MAX);
    assert_true(strlen(plan->spec[0]->name) > SPEC_NAME_MAX - 3);
    sweep_plan_free(plan);
}

static void seeds_are_seeds(void **state)
{
    (void)state;
    assert_true(sweep_plan_is_seed("train.seed") && sweep_plan_is_seed("train.seed_data"));
    assert_false(sweep_plan_is_seed("train.seeds") || sweep_plan_is_seed("seed"));
}

/* Each body is refused, with exactly these pointers. */
static void bad_fields_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *pointers[3];
    } cases[] = {
        {"{}", {"/vary"}},
        {"{\"vary\":{}}", {"/vary"}},
        {"{\"vary\":{\"train.seed\":[]}}", {"/vary/train.seed"}},
        {"{\"vary\":{\"train.seed\":3}}", {"/vary/train.seed"}},
        {"{\"vary\":{\"train.seed\":[1,2,1]}}", {"/vary/train.seed"}},
        {"{\"vary\":{\"train.seed\":[1]},\"extra\":1}", {"/extra"}},
        {"{\"vary\":{\"train.seed\":[1]},\"name\":3,\"base\":[]}", {"/name", "/base"}},
        {"{\"vary\":{\"train.sede\":[1,2]}}", {"/vary/train.sede", "/vary/train.sede"}},
        {"{\"vary\":{\"train.seed.x\":[1]},\"base\":{\"train\":{\"seed\":1}}}",
         {"/vary/train.seed.x"}},
        {"{\"vary\":{\"train.seed\":[1,-2]}}", {"/vary/train.seed"}},
        {"{\"vary\":{\"train.seed\":[1,2]},\"base\":{\"model\":{\"d_model\":-1}}}",
         {"/base/model/d_model"}},
        {"{\"vary\":{\"model.tie\":[\"tied\",\"tide\"],\"train.lr\":[0.1,-1]}}",
         {"/vary/train.lr", "/vary/model.tie"}},
        {"{\"vary\":{\"a/b~\":[1]}}", {"/vary/a~1b~0"}},
        {"{\"vary\":{\"train..seed\":[1]}}", {"/vary/train..seed"}},
        {"{\"vary\":{\"train.seed.x\":[1]}}", {"/vary/train.seed.x"}},
        {"{\"vary\":{\"train.seed\":[1,2],\"train\":[{\"epochs\":2}]}}", {"/vary/train"}},
        {"{\"vary\":{\"train\":[{\"epochs\":2}],\"train.seed\":[1,2]}}", {"/vary/train"}},
        {"{\"vary\":{\"train.lr\":[0.1,NaN]}}", {"/vary/train.lr"}},
        {"{\"vary\":{\"train.seed\":[1,99999999999999999999]}}", {"/vary/train.seed"}},
        {"{\"base\":{\"train\":{\"lr\":1e999}},\"vary\":{\"train.seed\":[1]}}", {"/base/train/lr"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sweep_plan *plan = NULL;
        struct err err = ERR_INIT;
        int n = 0;
        assert_int_equal(sweep_plan_parse(cases[i].body, strlen(cases[i].body), &plan, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        while (n < 3 && cases[i].pointers[n])
            n++;
        if (err.n_fields != n)
            fail_msg("%s: %d fields, first %s", cases[i].body, err.n_fields, err.message);
        for (int k = 0; k < n; k++)
            assert_string_equal(err.fields[k].pointer, cases[i].pointers[k]);
    }
}

/* Every pair of jobs that are one run is refused, in the field that tells them apart. */
static void equal_runs_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *body, *pointer; /* NULL: every run is another one */
    } cases[] = {
        {"{\"vary\":{\"train.lr\":[1,1.0]}}", "/vary/train.lr"},
        {"{\"vary\":{\"train.lr\":[1,2],\"train.seed\":[1,2]}}", NULL},
        {"{\"vary\":{\"notes\":[\"a\",\"b\"]}}", "/vary/notes"},
        {"{\"vary\":{\"resources.priority\":[0,1]}}", "/vary/resources.priority"},
        {"{\"vary\":{\"resources.device\":[\"cpu\",\"cuda\"]}}", "/vary/resources.device"},
        {"{\"vary\":{\"resources.max_seconds\":[0,9]}}", "/vary/resources.max_seconds"},
        {"{\"vary\":{\"resources.max_attempts\":[1,2]}}", "/vary/resources.max_attempts"},
        {"{\"vary\":{\"resources\":[{},{\"priority\":3}]}}", "/vary/resources"},
        {"{\"vary\":{\"resources.priority\":[0,1],\"train.seed\":[1,2]}}",
         "/vary/resources.priority"},
        {"{\"vary\":{\"train.seed_data\":[null,1]}}", "/vary/train.seed_data"},
        {"{\"vary\":{\"train.seed_data\":[null,2]}}", NULL},
        {"{\"vary\":{\"train.seed\":[1,2]},\"base\":{\"train\":{\"seed_weights\":1,"
         "\"seed_data\":1,\"seed_groups\":1}}}",
         "/vary/train.seed"},
        {"{\"vary\":{\"train.seed\":[1,5],\"train.seed_groups\":[null,5]},\"base\":{"
         "\"train\":{\"seed_weights\":9,\"seed_data\":9}}}",
         "/vary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sweep_plan *plan = plan_of(cases[i].body);
        struct err err = ERR_INIT;
        assert_int_equal(sweep_plan_check_distinct(plan, &err), cases[i].pointer ? -1 : 0);
        if (cases[i].pointer)
            assert_string_equal(err.fields[0].pointer, cases[i].pointer);
        sweep_plan_free(plan);
    }
}

/* Presets print what is off as null; that can be varied all the same. */
static void null_on_the_way(void **state)
{
    (void)state;
    struct sweep_plan *plan =
        plan_of("{\"base\":{\"data\":{\"inject\":null}},\"vary\":{"
                "\"data.inject.tokens\":[5,6],\"data.inject.doses\":[[1,2]]}}");
    assert_int_equal(plan->spec[1]->data.inject.tokens, 6);
    sweep_plan_free(plan);
}

/* As they were posted, and not 0.10000000000000001. */
static void shortest_digits(void **state)
{
    (void)state;
    struct sweep_plan *plan =
        plan_of("{\"base\":{\"train\":{\"eps\":1e-8}},\"vary\":{\"train.lr\":[0.1,2.0,3]}}");
    assert_string_equal(plan->vary, "{\"train.lr\":[0.1,2.0,3]}");
    assert_string_equal(plan->base, "{\"train\":{\"eps\":1e-8}}");
    assert_string_equal(plan->setting[0], "{\"train.lr\":0.1}");
    sweep_plan_free(plan);
}

static void too_many_combinations(void **state)
{
    (void)state;
    char body[16384];
    size_t used = (size_t)snprintf(body, sizeof body, "{\"vary\":{");
    for (int f = 0; f < 2; f++) {
        used += (size_t)snprintf(body + used, sizeof body - used, "%s\"%s\":[", f ? "," : "",
                                 f ? "train.seed" : "train.epochs");
        for (int i = 0; i < 32; i++)
            used += (size_t)snprintf(body + used, sizeof body - used, "%s%d", i ? "," : "", i + 1);
        used += (size_t)snprintf(body + used, sizeof body - used, "]");
    }
    snprintf(body + used, sizeof body - used, "}}");
    struct sweep_plan *plan = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(sweep_plan_parse(body, strlen(body), &plan, &err), -1);
    assert_non_null(strstr(err.fields[0].detail, "1024 combinations"));
}

static void not_json(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "[", "[]", "{\"vary\":{\"notes\":[NaN]}}",
                                         "{\"vary\":{},\"vary\":{}}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct sweep_plan *plan = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(sweep_plan_parse(bodies[i], strlen(bodies[i]), &plan, &err), -1);
        assert_int_equal(err.code, ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_in_order),
        cmocka_unit_test(numbers_in_names),
        cmocka_unit_test(names_are_cut_between_characters),
        cmocka_unit_test(seeds_are_seeds),
        cmocka_unit_test(bad_fields_are_named),
        cmocka_unit_test(equal_runs_are_named),
        cmocka_unit_test(null_on_the_way),
        cmocka_unit_test(shortest_digits),
        cmocka_unit_test(too_many_combinations),
        cmocka_unit_test(not_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
