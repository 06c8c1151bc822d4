/* run and run_table: `tokenfate run` from arguments to exit status against a
 * trainer that behaves as told (fake_trainer, beside this program), on the
 * built-in corpus; what goes to stdout; the closing table's numbers. The rank
 * table comes from $TOKENFATE_SHARE, or the folder share one above. */
#include "server/cli/run.h"
#include "server/cli/run_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/record.h"

static struct settings settings;
static char folder[] = "/tmp/server_run_XXXXXX";

static const char small[] = "{\"name\":\"small\",\"corpus\":{\"id\":\"gulliver-synthetic\"},"
                            "\"train\":{\"epochs\":5},\"groups\":{\"size\":2,\"custom\":"
                            "[{\"name\":\"mine\",\"tokens\":[\" the\",0,1]}]}}";

/* Valid until the next call. */
static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *write_spec(const char *json)
{
    static char path[256];
    snprintf(path, sizeof path, "%s", path_of("spec.json"));
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(json, out);
    fclose(out);
    return path;
}

/* What a file holds; caller frees. */
static char *slurp(const char *path)
{
    char *text = calloc(1, 1 << 18);
    assert_non_null(text);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    size_t n = fread(text, 1, (1 << 18) - 1, in);
    text[n] = '\0';
    fclose(in);
    return text;
}

/* Point a standard stream at a file; returns what brings it back. */
static int redirect(FILE *stream, int fd, const char *name)
{
    fflush(stream);
    int saved = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    int file = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(saved >= 0 && file >= 0);
    dup2(file, fd);
    close(file);
    return saved;
}

static void restore(FILE *stream, int fd, int saved)
{
    fflush(stream);
    dup2(saved, fd);
    close(saved);
}

struct outcome {
    int status;
    char *out, *err;
};

static struct outcome run(const char *mode, const char *a, const char *b, const char *c)
{
    char *argv[] = {(char *)a, (char *)b, (char *)c, NULL};
    struct outcome outcome;
    int argc = 0;
    while (argv[argc])
        argc++;
    setenv("FAKE_TRAINER", mode, 1);
    int out = redirect(stdout, 1, "stdout"), err = redirect(stderr, 2, "stderr");
    outcome.status = run_command(&settings, argc, argv);
    restore(stdout, 1, out);
    restore(stderr, 2, err);
    outcome.out = slurp(path_of("stdout"));
    outcome.err = slurp(path_of("stderr"));
    return outcome;
}

static void finish(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

static void test_table_at_the_end(void **state)
{
    (void)state;
    struct outcome outcome = run("good", write_spec(small), NULL, NULL);
    assert_int_equal(outcome.status, 0);
    assert_non_null(strstr(outcome.out, "small: 5 epochs, 148313 tokens of 10270 types"));
    assert_non_null(strstr(outcome.out, "most_common least_common   never_used         mine"));
    assert_non_null(strstr(outcome.out, "\nmean log p, epoch 5 "));
    assert_non_null(strstr(outcome.err, "epoch 5/5"));
    finish(&outcome);
}

static void test_json_lines(void **state)
{
    (void)state;
    struct outcome outcome = run("good", "--json", write_spec(small), NULL);
    assert_int_equal(outcome.status, 0);
    int epoch = 0;
    for (char *rest = outcome.out, *line; (line = strsep(&rest, "\n")) && *line; epoch++) {
        json_t *record = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(record);
        assert_int_equal(json_integer_value(json_object_get(record, "epoch")), epoch);
        assert_int_equal(json_object_size(json_object_get(record, "groups")), 4);
        json_decref(record);
    }
    assert_int_equal(epoch, 6);
    finish(&outcome);
}

static void test_usage(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {NULL, NULL, NULL},   {"--bogus", "x", NULL},   {"a", "b", NULL},
        {"a", "--out", NULL}, {"a", "--threads", NULL}, {"a", "--threads", "many"},
        {"a", "-x", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct outcome outcome = run("good", bad[i][0], bad[i][1], bad[i][2]);
        assert_int_equal(outcome.status, 2);
        assert_string_equal(outcome.out, "");
        assert_non_null(strstr(outcome.err, "usage: tokenfate run"));
        finish(&outcome);
    }
}

static void test_bad_specs(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{", "line 1"},
        {"{\"model\":{\"d_model\":100,\"n_heads\":12},\"x\":1}", "100 is not divisible"},
        {"{\"corpus\":{\"id\":\"no-such-text\"}}", "no-such-text"},
        {"{\"corpus\":{\"id\":\"gulliver-synthetic\"},\"groups\":{\"custom\":"
         "[{\"name\":\"x\",\"tokens\":[60000]}]}}",
         "/groups/custom/0/tokens/0"},
        {"{\"corpus\":{\"id\":\"gulliver-synthetic\"},\"resources\":{\"device\":\"cuda\"}}", "GPU"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct outcome outcome = run("good", write_spec(bad[i][0]), NULL, NULL);
        assert_int_equal(outcome.status, 1);
        assert_string_equal(outcome.out, "");
        if (!strstr(outcome.err, bad[i][1]))
            fail_msg("%s: %s", bad[i][0], outcome.err);
        finish(&outcome);
    }
    struct outcome outcome = run("good", "/nonexistent.json", NULL, NULL);
    assert_int_equal(outcome.status, 1);
    assert_non_null(strstr(outcome.err, "/nonexistent.json"));
    finish(&outcome);
}

static void test_trainers_that_fail(void **state)
{
    (void)state;
    static const char *const modes[][2] = {
        {"crash", "killed by signal 6"},
        {"hang", "nothing for 1 second"},
        {"garbage", "no JSON"},
        {"fail", "not finite"},
        {"exit", "status 3"},
        {"version", "the trainer speaks version"},
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct outcome outcome = run(modes[i][0], write_spec(small), NULL, NULL);
        assert_int_equal(outcome.status, 1);
        assert_string_equal(outcome.out, "");
        if (!strstr(outcome.err, modes[i][1]))
            fail_msg("%s: %s", modes[i][0], outcome.err);
        finish(&outcome);
    }
}

/* What was asked for is not here, and why. */
static void test_a_gpu_that_is_not_there(void **state)
{
    (void)state;
    struct outcome outcome = run("good",
                                 write_spec("{\"corpus\":{\"id\":\"gulliver-synthetic\"},"
                                            "\"resources\":{\"device\":\"cuda\"}}"),
                                 NULL, NULL);
    assert_int_equal(outcome.status, 1);
    if (!strstr(outcome.err, "there is no GPU that can be used: cuda:0: there is no GPU here"))
        fail_msg("%s", outcome.err);
    finish(&outcome);
}

/* Ctrl-C twice a child process away, while this one waits in run_command. */
static void test_cancel(void **state)
{
    (void)state;
    static const char *const modes[] = {"good", "deaf"};
    for (int i = 0; i < 2; i++) {
        setenv("FAKE_TRAINER_MS", "300", 1);
        pid_t parent = getpid(), child = fork();
        if (child == 0) {
            for (int signals = 0; signals <= i; signals++) {
                usleep(500000);
                kill(parent, SIGINT);
            }
            _exit(0);
        }
        struct outcome outcome = run(modes[i], write_spec(small), NULL, NULL);
        assert_int_equal(outcome.status, 1);
        assert_string_equal(outcome.out, "");
        assert_non_null(strstr(outcome.err, "run: cancelled"));
        finish(&outcome);
        unsetenv("FAKE_TRAINER_MS");
    }
}

static void test_folder(void **state)
{
    (void)state;
    struct stat status;
    char out[256];
    snprintf(out, sizeof out, "%s/kept", folder);
    struct outcome outcome = run("good", write_spec(small), "--out", out);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(stat(out, &status), 0);
    assert_int_equal(rmdir(out), 0);
    finish(&outcome);
    outcome = run("good", write_spec(small), "--out=/nonexistent/folder", NULL);
    assert_int_equal(outcome.status, 1);
    assert_non_null(strstr(outcome.err, "/nonexistent/folder"));
    finish(&outcome);
    /* A folder of its own is temporary: it was made below TMPDIR and is gone. */
    setenv("TMPDIR", "/nonexistent", 1);
    outcome = run("good", write_spec(small), NULL, NULL);
    assert_int_equal(outcome.status, 1);
    finish(&outcome);
    setenv("TMPDIR", folder, 1);
    outcome = run("good", write_spec(small), NULL, NULL);
    assert_int_equal(outcome.status, 0);
    finish(&outcome);
    unsetenv("TMPDIR");
    assert_int_equal(unlink(path_of("stdout")), 0);
    assert_int_equal(unlink(path_of("stderr")), 0);
    assert_int_equal(unlink(path_of("spec.json")), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing else was in it */
    assert_int_equal(mkdir(folder, 0700), 0);
}

/* The line of the table that starts with label, up to its end. */
static void check_line(const char *table, const char *label, const char *expected)
{
    const char *line = strstr(table, label);
    assert_non_null(line);
    char cells[128];
    snprintf(cells, sizeof cells, "%.*s", (int)strcspn(line + strlen(label), "\n"),
             line + strlen(label));
    char *start = cells + strspn(cells, " ");
    assert_string_equal(start, expected);
}

static void test_table(void **state)
{
    (void)state;
    int64_t counts[4] = {50, 30, 20, 0};
    int32_t tokens[] = {0, 1, 2, 3};
    struct group group[] = {{"most_common", 2, &tokens[0]},
                            {"least_common", 1, &tokens[2]},
                            {"never_used", 1, &tokens[3]}};
    struct dataset dataset = {.vocab = 4,
                              .frequency = {4, counts, 100, 3, 0},
                              .groups = {.n = 3, .n_tokens = 4, .tokens = tokens}};
    memcpy(dataset.groups.group, group, sizeof group);
    double first[RECORD_SCALARS + 3 * RECORD_FIELDS], last[RECORD_SCALARS + 3 * RECORD_FIELDS];
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        first[i] = last[i] = 0.5;
    for (int g = 0; g < 3; g++) {
        first[record_at(g, RECORD_MEAN_LOGP_NONE)] = -10 - g;
        last[record_at(g, RECORD_MEAN_LOGP_NONE)] = -1 - 0.25 * g;
        last[record_at(g, RECORD_MEAN_LOGP_WINDOWS)] = g ? -3.5 : NAN;
        last[record_at(g, RECORD_KEPT_WINDOWS)] = g;
    }
    struct spec *spec = spec_default();
    spec->groups.mask = MASK_WINDOWS;
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    run_print_table(out, &(struct run_table){spec, &dataset, 40, first, last});
    fclose(out);
    check_line(text, "\ntokens", "2            1            1");
    check_line(text, "\nmean log p, epoch 0", "-10.000      -11.000      -12.000");
    check_line(text, "\nmean log p, epoch 40", "-1.000       -1.250       -1.500");
    check_line(text, "\n  change", "+9.000       +9.750      +10.500");
    check_line(text, "\nmask windows: log p, epoch 40", "-       -3.500       -3.500");
    check_line(text, "\n  tokens it kept, epoch 40", "0            1            2");
    /* (ln 0.5 + ln 0.3) / 2, ln 0.2 */
    check_line(text, "\ncontext-free optimum, mean ln(c/N)", "-0.949       -1.609            -");
    /* -ln 4 - 128 * 0.02^2 / 2 */
    check_line(text, "\nuntrained level (closed form)", "-1.412       -1.412       -1.412");
    assert_non_null(strstr(text, "\nBelow the untrained level: never_used.\n"));
    assert_non_null(strstr(text, "\nAbove the untrained level: most_common, least_common.\n"));
    free(text);
    spec->groups.mask = MASK_NONE;
    out = open_memstream(&text, &n);
    run_print_table(out, &(struct run_table){spec, &dataset, 40, first, last});
    fclose(out);
    assert_null(strstr(text, "mask"));
    free(text);
    spec_free(spec);
}

int main(void)
{
    struct err err = ERR_INIT;
    int used;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_at_the_end),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_bad_specs),
        cmocka_unit_test(test_trainers_that_fail),
        cmocka_unit_test(test_a_gpu_that_is_not_there),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_table),
    };
    if (!mkdtemp(folder) || settings_load(&settings, NULL, 0, NULL, &used, &err) ||
        settings_beside("fake_trainer", settings.trainer, sizeof settings.trainer, &err))
        return 1;
    if (!getenv("TOKENFATE_SHARE") &&
        settings_beside("../share", settings.share, sizeof settings.share, &err))
        return 1;
    settings.heartbeat_seconds = 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path_of("stdout"));
    unlink(path_of("stderr"));
    unlink(path_of("spec.json"));
    rmdir(folder);
    return failed;
}
