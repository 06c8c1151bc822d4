/* What a PATCH may change, and that it obeys the rules of the spec. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/job_changes.h"

static int parse(const char *json, struct job_changes *changes, struct err *err)
{
    memset(changes, 0, sizeof *changes);
    return job_changes_parse(json, strlen(json), changes, err);
}

static void test_good(void **state)
{
    struct job_changes changes;
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(parse("{}", &changes, &err), 0);
    assert_null(changes.name);
    assert_null(changes.notes);
    assert_null(changes.tags);
    assert_false(changes.has_priority);
    assert_int_equal(parse("{\"name\":\"a\",\"notes\":\"b\\nc\",\"tags\":[\"x\",\"\\u00e9\\\"\"],"
                           "\"priority\":-100}",
                           &changes, &err),
                     0);
    assert_string_equal(changes.name, "a");
    assert_string_equal(changes.notes, "b\nc");
    assert_string_equal(changes.tags, "[\"x\",\"\xc3\xa9\\\"\"]");
    assert_true(changes.has_priority);
    assert_int_equal(changes.priority, -100);
    job_changes_free(&changes);
}

static void test_bad(void **state)
{
    static const struct {
        const char *json;
        enum err_code code;
        const char *pointer;
    } cases[] = {
        {"", ERR_MALFORMED, NULL},
        {"[]", ERR_MALFORMED, NULL},
        {"{\"name\":\"a\",\"name\":\"b\"}", ERR_MALFORMED, NULL},
        {"{\"name\":\"\"}", ERR_INVALID, "/name"},
        {"{\"name\":\"a\\nb\"}", ERR_INVALID, "/name"},
        {"{\"name\":5}", ERR_INVALID, "/name"},
        {"{\"notes\":\"\\u0007\"}", ERR_INVALID, "/notes"},
        {"{\"tags\":[\"x\",\"x\"]}", ERR_INVALID, "/tags/1"},
        {"{\"priority\":101}", ERR_INVALID, "/priority"},
        {"{\"priority\":\"1\"}", ERR_INVALID, "/priority"},
        {"{\"resources\":{\"priority\":1}}", ERR_INVALID, "/resources"},
        {"{\"train\":{}}", ERR_INVALID, "/train"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job_changes changes;
        struct err err = ERR_INIT;
        assert_int_equal(parse(cases[i].json, &changes, &err), -1);
        assert_int_equal(err.code, cases[i].code);
        assert_null(changes.name);
        assert_int_equal(err.n_fields, cases[i].pointer ? 1 : 0);
        if (cases[i].pointer)
            assert_string_equal(err.fields[0].pointer, cases[i].pointer);
    }
}

/* Every bad field at once. */
static void test_all_at_once(void **state)
{
    struct job_changes changes;
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(parse("{\"name\":\"\",\"bogus\":1,\"priority\":1000}", &changes, &err), -1);
    assert_int_equal(err.n_fields, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_all_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
