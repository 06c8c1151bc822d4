/* settings: defaults, precedence of file, environment and option, limits, and errors of bad
 * input. */
#include "config/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char file[] = "/tmp/config_settings_XXXXXX";

static void write_file(const char *text)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* Load with up to four arguments. */
static int load(struct settings *settings, const char *path, const char *a, const char *b,
                const char *c, const char *d, int *used, struct err *err)
{
    char *argv[] = {"tokenfate", (char *)a, (char *)b, (char *)c, (char *)d, NULL};
    int argc = 1;
    while (argv[argc])
        argc++;
    err_clear(err);
    return settings_load(settings, path, argc, argv, used, err);
}

static void test_defaults(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = ERR_INIT;
    int used;
    assert_int_equal(load(&settings, NULL, NULL, NULL, NULL, NULL, &used, &err), 0);
    assert_int_equal(used, 1);
    assert_string_equal(settings.listen, "127.0.0.1:8080");
    assert_string_equal(settings.data, "data");
    assert_string_equal(settings.auth, "auto");
    assert_string_equal(settings.trainer, "");
    assert_string_equal(settings.corpus_path, "corpora");
    assert_int_equal(settings.checkpoint_seconds, 30);
    assert_int_equal(settings.max_body_bytes, 1 << 20);
    assert_int_equal(settings.max_upload_bytes, 256 << 20);
    assert_int_equal(settings.max_streams, 500);
    assert_int_equal(settings.max_connections, 2000);
    assert_int_equal(settings.max_queue, 10000);
    assert_non_null(strstr(settings.share, "share"));
    assert_int_equal(settings.share[0], '/');
}

/* The shipped file equals the defaults of the table. */
static void test_shipped_file_is_the_defaults(void **state)
{
    (void)state;
    struct settings defaults, settings;
    struct err err = ERR_INIT;
    int used;
    assert_int_equal(load(&defaults, NULL, NULL, NULL, NULL, NULL, &used, &err), 0);
    assert_int_equal(load(&settings, "config/tokenfate.json", NULL, NULL, NULL, NULL, &used, &err),
                     0);
    assert_memory_equal(&settings, &defaults, sizeof settings);
    char *help = NULL;
    size_t n;
    FILE *out = open_memstream(&help, &n);
    settings_help(out);
    fclose(out);
    json_t *root = json_load_file("config/tokenfate.json", 0, NULL);
    size_t lines = 0;
    for (const char *c = help; *c; c++)
        lines += *c == '\n';
    assert_int_equal(json_object_size(root) + 2, lines); /* --config, --help */
    assert_non_null(strstr(help, "--max-body-bytes"));
    json_decref(root);
    free(help);
}

static void test_precedence(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = ERR_INIT;
    int used;
    write_file("{\"threads\": 3, \"data\": \"from file\", \"max_queue\": 7}");
    setenv("TOKENFATE_DATA", "from environment", 1);
    setenv("TOKENFATE_MAX_QUEUE", "8", 1);
    assert_int_equal(load(&settings, file, "--max-queue", "9", NULL, NULL, &used, &err), 0);
    assert_int_equal(settings.threads, 3);
    assert_string_equal(settings.data, "from environment");
    assert_int_equal(settings.max_queue, 9);
    unsetenv("TOKENFATE_DATA");
    unsetenv("TOKENFATE_MAX_QUEUE");
    assert_int_equal(load(&settings, file, NULL, NULL, NULL, NULL, &used, &err), 0);
    assert_string_equal(settings.data, "from file");
    assert_int_equal(settings.max_queue, 7);
}

static void test_options(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = ERR_INIT;
    int used;
    assert_int_equal(load(&settings, NULL, "--listen=[::1]:0", "--checkpoint-seconds", "0",
                          "spec.json", &used, &err),
                     0);
    assert_string_equal(settings.listen, "[::1]:0");
    assert_int_equal(settings.checkpoint_seconds, 0);
    assert_int_equal(used, 4);
    assert_int_equal(
        load(&settings, NULL, "--config", "x.json", "--threads=2", "--json", &used, &err), 0);
    assert_int_equal(settings.threads, 2);
    assert_int_equal(used, 4);
    assert_int_equal(load(&settings, NULL, "--share=/s", "--data=", "a", "--threads", &used, &err),
                     0);
    assert_string_equal(settings.share, "/s");
    assert_string_equal(settings.data, "");
    assert_int_equal(used, 3);
    assert_int_equal(load(&settings, NULL, "--max_queue", "5", NULL, NULL, &used, &err), 0);
    assert_int_equal(settings.max_queue, 5);
}

static void test_unknown_options_are_the_callers(void **state)
{
    (void)state;
    static const char *const unknown[] = {"--bogus", "--bogus=1", "--thread", "--threadss",
                                          "-t",      "--",        "-",        "--=1"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        struct settings settings;
        struct err err = ERR_INIT;
        int used;
        assert_int_equal(load(&settings, NULL, unknown[i], "1", NULL, NULL, &used, &err), 0);
        assert_int_equal(used, 1);
    }
}

static void test_bad_options(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"--threads", NULL, "--threads"},
        {"--threads", "two", "two"},
        {"--threads", "", "--threads"},
        {"--threads", " 2", "--threads"},
        {"--threads", "2x", "2x"},
        {"--threads=-1", NULL, "-1"},
        {"--threads=1025", NULL, "1025"},
        {"--threads=99999999999999999999", NULL, "9999"},
        {"--max-body-bytes=0", NULL, "0 is outside 1024"},
        {"--auth", "maybe", "maybe"},
        {"--auth", "", "--auth"},
        {"--auth", "o", "\"o\""},
        {"--auth", "on off", "on off"},
        {"--log-level", "loud", "loud"},
        {"--config", NULL, "--config"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct settings settings, before;
        struct err err = ERR_INIT;
        int used = -7;
        memset(&settings, 'x', sizeof settings);
        before = settings;
        assert_int_equal(load(&settings, NULL, bad[i][0], bad[i][1], NULL, NULL, &used, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.message, bad[i][2]))
            fail_msg("%s: %s", bad[i][0], err.message);
        assert_memory_equal(&settings, &before, sizeof settings);
        assert_int_equal(used, -7);
    }
}

static void test_text_lengths(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = ERR_INIT;
    int used;
    char text[SETTINGS_TEXT_MAX + 1];
    memset(text, 'p', sizeof text);
    text[SETTINGS_TEXT_MAX - 1] = '\0';
    assert_int_equal(load(&settings, NULL, "--data", text, NULL, NULL, &used, &err), 0);
    assert_string_equal(settings.data, text);
    text[SETTINGS_TEXT_MAX - 1] = 'p';
    text[SETTINGS_TEXT_MAX] = '\0';
    assert_int_equal(load(&settings, NULL, "--data", text, NULL, NULL, &used, &err), -1);
    assert_non_null(strstr(err.message, "1024"));
}

/* A byte order mark, as some editors write it, and an integer with a point. */
static void test_odd_file(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = ERR_INIT;
    int used;
    write_file("\xef\xbb\xbf{\"threads\": 2.0, \"max_queue\": 1e3}");
    assert_int_equal(load(&settings, file, NULL, NULL, NULL, NULL, &used, &err), 0);
    assert_int_equal(settings.threads, 2);
    assert_int_equal(settings.max_queue, 1000);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err_code code;
        const char *names;
    } bad[] = {
        {"", ERR_MALFORMED, "line 1"},
        {"[]", ERR_MALFORMED, "object"},
        {"{\"threads\":1,\"threads\":2}", ERR_MALFORMED, "threads"},
        {"{\"bogus\":1}", ERR_INVALID, "bogus"},
        {"{\"max-queue\":1}", ERR_INVALID, "max-queue"},
        {"{\"threads\":\"2\"}", ERR_INVALID, "threads"},
        {"{\"threads\":2.5}", ERR_INVALID, "threads"},
        {"{\"threads\":1e18}", ERR_INVALID, "threads"},
        {"{\"data\":\"a\\u0000\"}", ERR_INVALID, "/data: holds the character U+0000"},
        {"{\"threads\":true}", ERR_INVALID, "threads"},
        {"{\"threads\":-1}", ERR_INVALID, "-1"},
        {"{\"data\":5}", ERR_INVALID, "data"},
        {"{\"auth\":\"maybe\"}", ERR_INVALID, "maybe"},
    };
    struct settings settings;
    struct err err = ERR_INIT;
    int used;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(bad[i].text);
        assert_int_equal(load(&settings, file, NULL, NULL, NULL, NULL, &used, &err), -1);
        assert_int_equal(err.code, bad[i].code);
        assert_non_null(strstr(err.message, bad[i].names));
        assert_non_null(strstr(err.message, file));
    }
    assert_int_equal(load(&settings, "/nonexistent.json", NULL, NULL, NULL, NULL, &used, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(load(&settings, "/tmp", NULL, NULL, NULL, NULL, &used, &err), -1);
    assert_int_equal(err.code, ERR_IO);
}

static void test_bad_environment(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = ERR_INIT;
    int used;
    setenv("TOKENFATE_HEARTBEAT_SECONDS", "0", 1);
    assert_int_equal(load(&settings, NULL, NULL, NULL, NULL, NULL, &used, &err), -1);
    assert_non_null(strstr(err.message, "TOKENFATE_HEARTBEAT_SECONDS"));
    unsetenv("TOKENFATE_HEARTBEAT_SECONDS");
}

static void test_config_path(void **state)
{
    (void)state;
    char *none[] = {"tokenfate", "--threads", "2"}, *joined[] = {"tokenfate", "--config=a"},
         *apart[] = {"tokenfate", "--threads", "2", "--config", "b"};
    unsetenv("TOKENFATE_CONFIG");
    assert_null(settings_config(3, none));
    assert_string_equal(settings_config(2, joined), "a");
    assert_string_equal(settings_config(5, apart), "b");
    assert_null(settings_config(4, apart));
    setenv("TOKENFATE_CONFIG", "c", 1);
    assert_string_equal(settings_config(3, none), "c");
    assert_string_equal(settings_config(2, joined), "a");
    unsetenv("TOKENFATE_CONFIG");
}

static void test_beside(void **state)
{
    (void)state;
    char path[SETTINGS_TEXT_MAX];
    struct err err = ERR_INIT;
    assert_int_equal(settings_beside("config_settings", path, sizeof path, &err), 0);
    assert_int_equal(access(path, X_OK), 0);
    assert_int_equal(settings_beside("config_settings", path, 8, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

/* Remove settings of the surrounding shell. */
static void forget_environment(void)
{
    for (char **entry = environ; *entry;) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*entry, "="), *entry);
        if (strncmp(name, "TOKENFATE_", 10) == 0 && unsetenv(name) == 0)
            entry = environ;
        else
            entry++;
    }
}

int main(void)
{
    forget_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_shipped_file_is_the_defaults),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_unknown_options_are_the_callers),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_text_lengths),
        cmocka_unit_test(test_odd_file),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bad_environment),
        cmocka_unit_test(test_config_path),
        cmocka_unit_test(test_beside),
    };
    close(mkstemp(file));
    unsetenv("TOKENFATE_SHARE");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    return failed;
}
