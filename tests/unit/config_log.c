/* Lines of the log, read back from a file that stands in for stderr. */
#include "config/log.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char line[4 * PIPE_BUF];

/* Log while stderr is a temporary file; the bytes written are in `line`. */
static size_t caught(void (*say)(void))
{
    FILE *file = tmpfile();
    const int saved = dup(STDERR_FILENO);
    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    say();
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    const size_t n = fread(line, 1, sizeof line - 1, file);
    line[n] = '\0';
    fclose(file);
    return n;
}

static void say_plain(void)
{
    log_with(LOG_WARNING, LOG_FIELDS({"job", "7"}, {"user", ""}, {"address", NULL}),
             "a \"%s\" line", "quoted");
}

static void say_control(void)
{
    char message[LOG_LINE_MAX];
    memset(message, 1, sizeof message - 1);
    message[sizeof message - 1] = '\0';
    log_line(LOG_ERROR, "%s", message);
}

static void say_debug(void)
{
    log_line(LOG_DEBUG, "unseen");
}

static void test_text(void **state)
{
    (void)state;
    log_set_format(LOG_TEXT);
    caught(say_plain);
    assert_string_equal(line + 24, " warning a \"quoted\" line\n");
    assert_int_equal(caught(say_control), LOG_LINE_MAX - 1);
    assert_int_equal(caught(say_debug), 0);
}

static void test_json(void **state)
{
    (void)state;
    log_set_format(LOG_JSON);
    caught(say_plain);
    assert_string_equal(line + strcspn(line, ","),
                        ",\"level\":\"warning\",\"message\":\"a \\\"quoted\\\" line\","
                        "\"fields\":{\"job\":\"7\",\"user\":null,\"address\":null}}\n");
    const size_t n = caught(say_control);
    json_t *object = json_loads(line, 0, NULL);
    assert_true(n <= PIPE_BUF && n > PIPE_BUF / 4);
    assert_true(strlen(json_string_value(json_object_get(object, "message"))) > 100);
    json_decref(object);
    assert_int_equal(caught(say_debug), 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(log_format_from_name("json"), LOG_JSON);
    assert_int_equal(log_format_from_name("text"), LOG_TEXT);
    assert_int_equal(log_format_from_name("xml"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
