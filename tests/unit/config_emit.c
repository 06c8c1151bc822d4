/* emit: structure, escapes and numbers of the JSON writer. Every text is read back with
 * jansson. */
#include "config/emit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *written(const char *bytes, size_t n)
{
    struct emit json;
    assert_int_equal(emit_open_text(&json), 0);
    emit_bytes(&json, NULL, bytes, n);
    char *text = emit_close_text(&json);
    assert_non_null(text);
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
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

static void write_all(struct emit *json)
{
    emit_object(json, NULL);
    emit_text(json, "key \"1\"", "a\nb");
    emit_text(json, "none", NULL);
    emit_bool(json, "yes", 7);
    emit_integer(json, "least", INT64_MIN);
    emit_number(json, "nan", NAN);
    emit_float(json, "infinity", INFINITY);
    emit_raw(json, "raw", "[1,2]");
    emit_array(json, "rows");
    for (int i = 0; i < 2; i++) {
        emit_object(json, NULL);
        emit_array(json, "empty");
        emit_end(json);
        emit_null(json, "null");
        emit_end(json);
    }
    emit_integer(json, NULL, 3);
    emit_end(json);
    emit_end(json);
}

#define HEAD                                                                                       \
    "{\"key \\\"1\\\"\":\"a\\nb\",\"none\":null,\"yes\":true,\"least\":-9223372036854775808,"      \
    "\"nan\":null,\"infinity\":null,\"raw\":[1,2],\"rows\":["

static void test_structure(void **state)
{
    struct emit json;
    char *text = NULL;
    size_t n = 0;
    (void)state;
    assert_int_equal(emit_open_text(&json), 0);
    write_all(&json);
    char *compact = emit_close_text(&json);
    assert_string_equal(compact,
                        HEAD "{\"empty\":[],\"null\":null},{\"empty\":[],\"null\":null},3]}");
    FILE *out = open_memstream(&text, &n);
    emit_open(&json, out, EMIT_LINES);
    write_all(&json);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text,
                        HEAD "\n{\"empty\":[],\"null\":null},\n{\"empty\":[],\"null\":null},3]}\n");
    free(compact);
    free(text);
}

static void write_number(void *self, double value)
{
    emit_number(self, NULL, value);
}

static void write_float(void *self, double value)
{
    emit_float(self, NULL, (float)value);
}

/* The number as it is written. */
static void check_number(void (*write)(void *, double), double value, const char *expected)
{
    struct emit json;
    assert_int_equal(emit_open_text(&json), 0);
    write(&json, value);
    char *text = emit_close_text(&json);
    assert_string_equal(text, expected);
    free(text);
}

static void test_numbers(void **state)
{
    (void)state;
    check_number(write_number, 0.1, "0.1");
    check_number(write_number, 0.1 + 0.2, "0.30000000000000004");
    check_number(write_number, -0.0, "-0");
    check_number(write_number, 1e300, "1e+300");
    check_number(write_number, 1e-8, "1e-08");
    check_number(write_number, 1.0 / 3, "0.3333333333333333");
    check_number(write_number, -INFINITY, "null");
    check_number(write_number, 9007199254740993.0, "9007199254740992");
    check_number(write_number, 5e-324, "4.94065645841247e-324");
    check_number(write_number, -10.850000000000001, "-10.850000000000001");
    check_number(write_float, 0.1f, "0.1");
    check_number(write_float, 16777217, "16777216");
    check_number(write_float, -FLT_MAX, "-3.4028235e+38");
    uint64_t bits = 0x123456789abcdef;
    for (int i = 0; i < 100000; i++) {
        char text[EMIT_NUMBER_BYTES];
        double value;
        bits = bits * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        emit_format(text, value);
        assert_true(strtod(text, NULL) == value);
    }
}

static void test_times(void **state)
{
    struct emit json;
    (void)state;
    assert_int_equal(emit_open_text(&json), 0);
    emit_array(&json, NULL);
    emit_time(&json, NULL, 951782400000042); /* a leap day */
    emit_time(&json, NULL, 0);
    emit_end(&json);
    char *text = emit_close_text(&json);
    assert_string_equal(text, "[\"2000-02-29T00:00:00.000042Z\",null]");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
