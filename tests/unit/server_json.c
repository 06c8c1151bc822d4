/* What the server writes: JSON strings, times, problems. Every text is read back
 * with jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/json.h"
#include "server/http/problem.h"

static json_t *written(const char *bytes, size_t n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    json_write_bytes(out, bytes, n);
    assert_int_equal(fclose(out), 0);
    json_t *value = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(value);
    free(text);
    return value;
}

static void test_strings(void **state)
{
    (void)state;
    for (int c = 0; c < 128; c++) {
        char byte = (char)c;
        json_t *value = written(&byte, 1);
        assert_int_equal(json_string_length(value), 1);
        assert_int_equal(json_string_value(value)[0], c);
        json_decref(value);
    }
    static const char *const good[] = {"\xC2\x80", "\xE2\x82\xAC", "\xED\x9F\xBF",
                                       "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        json_t *value = written(good[i], strlen(good[i]));
        assert_string_equal(json_string_value(value), good[i]);
        json_decref(value);
    }
    /* Overlong, surrogate, above U+10FFFF, cut short, stray continuation. */
    static const char *const bad[] = {
        "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80", "\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *value = written(bad[i], strlen(bad[i]));
        assert_non_null(strstr(json_string_value(value), "\xEF\xBF\xBD"));
        json_decref(value);
    }
}

static void test_times(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    json_write_time(out, 951782400000042); /* a leap day */
    json_write_time(out, 0);
    json_write_string(out, NULL);
    json_write_raw(out, NULL);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "\"2000-02-29T00:00:00.000042Z\"nullnullnull");
    free(text);
}

static void test_problem(void **state)
{
    struct err err;
    size_t n = 0;
    (void)state;
    err_clear(&err);
    err_field(&err, "/model/d_model", "100 is \"not\" divisible by n_heads 12");
    err_field(&err, "/nope", "is not a field");
    char *text = problem_print(&err, "0123", &n);
    assert_non_null(text);
    json_t *problem = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(problem);
    assert_int_equal(json_integer_value(json_object_get(problem, "status")), 422);
    assert_string_equal(json_string_value(json_object_get(problem, "type")),
                        "urn:tokenfate:problem:invalid");
    assert_string_equal(json_string_value(json_object_get(problem, "request_id")), "0123");
    json_t *errors = json_object_get(problem, "errors");
    assert_int_equal(json_array_size(errors), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(errors, 0), "detail")),
                        "100 is \"not\" divisible by n_heads 12");
    json_decref(problem);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
