/* http/problem: errors as problem+json, read back with jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/http/problem.h"

static json_t *printed(const struct err *err)
{
    size_t n = 0;
    char *text = problem_print(err, "0123", &n);
    assert_non_null(text);
    assert_int_equal(n, strlen(text));
    json_t *problem = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(problem);
    free(text);
    return problem;
}

static void assert_text(const json_t *object, const char *key, const char *expected)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    assert_string_equal(text, expected);
}

static void bad_fields(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    err_field(&err, "/model/d_model", "100 is \"not\" divisible by n_heads 12");
    err_field(&err, "/nope", "is not a field");
    json_t *problem = printed(&err);
    assert_int_equal(json_integer_value(json_object_get(problem, "status")), 422);
    assert_text(problem, "type", "urn:tokenfate:problem:invalid");
    assert_text(problem, "code", "invalid");
    assert_text(problem, "request_id", "0123");
    const json_t *errors = json_object_get(problem, "errors");
    assert_int_equal(json_array_size(errors), 2);
    assert_text(json_array_get(errors, 0), "pointer", "/model/d_model");
    assert_text(json_array_get(errors, 0), "detail", "100 is \"not\" divisible by n_heads 12");
    assert_text(json_array_get(errors, 1), "pointer", "/nope");
    assert_null(json_object_get(problem, "more_errors"));
    json_decref(problem);
}

static void more_fields_than_fit(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    for (int i = 0; i < ERR_FIELDS_MAX + 3; i++)
        err_field(&err, "/ids", "is bad");
    json_t *problem = printed(&err);
    assert_int_equal(json_array_size(json_object_get(problem, "errors")), ERR_FIELDS_MAX);
    assert_int_equal(json_integer_value(json_object_get(problem, "more_errors")), 3);
    json_decref(problem);
}

/* Every code of err_table: no list of fields, and a type that is not cut. */
static void every_code(void **state)
{
    (void)state;
    for (int code = ERR_NONE + 1; code < ERR_CODES; code++) {
        struct err err = ERR_INIT;
        char type[256];
        err_set(&err, (enum err_code)code, "a \xff byte");
        json_t *problem = printed(&err);
        snprintf(type, sizeof type, "urn:tokenfate:problem:%s", err_name(err.code));
        assert_text(problem, "type", type);
        assert_text(problem, "title", err_title(err.code));
        assert_text(problem, "detail", "a \xEF\xBF\xBD byte");
        assert_int_equal(json_integer_value(json_object_get(problem, "status")),
                         err_http_status(err.code));
        assert_null(json_object_get(problem, "errors"));
        json_decref(problem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_fields),
        cmocka_unit_test(more_fields_than_fit),
        cmocka_unit_test(every_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
