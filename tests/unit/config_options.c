/* options: every kind of value, options and words in any order, two tables at once, errors
 * of bad command lines, and the help. */
#include "config/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct target {
    int json;
    int64_t threads;
    char auth[8];
    const char *out;
};

struct other {
    int admin;
};

#define AT(member) offsetof(struct target, member)
static const struct options_row rows[] = {
    {"json", OPTIONS_FLAG, AT(json), 0, 0, 0, NULL, NULL, "print JSON"},
    {"max_threads", OPTIONS_INTEGER, AT(threads), 0, -2, 64, NULL, "0", "threads"},
    {"auth", OPTIONS_TEXT, AT(auth), 8, 0, 0, "auto on off", "auto", "logins"},
    {"out", OPTIONS_POINTER, AT(out), 0, 0, 0, NULL, "", "folder"},
    {"config", OPTIONS_ELSEWHERE, 0, 0, 0, 0, NULL, NULL, "file"},
};
static const struct options_row other_rows[] = {
    {"admin", OPTIONS_FLAG, offsetof(struct other, admin), 0, 0, 0, NULL, NULL, "may do all"},
};

enum { WORDS_MAX = 12 };

/* One command line, cut at blanks; "''" is an empty word. */
struct line {
    char text[160];
    char *argv[WORDS_MAX];
    int argc, n_words;
    struct target target;
    struct other other;
    struct err err;
};

static int parse(struct line *line, const char *text)
{
    *line = (struct line){.target = {.threads = 1, .auth = "auto"}, .err = ERR_INIT, .n_words = -1};
    const struct options tables[] = {{rows, sizeof rows / sizeof *rows, &line->target},
                                     {other_rows, 1, &line->other}};
    snprintf(line->text, sizeof line->text, "%s", text);
    for (char *word = strtok(line->text, " "); word; word = strtok(NULL, " "))
        line->argv[line->argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
    return options_parse(tables, 2, line->argc, line->argv, &line->n_words, &line->err);
}

static void test_values(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(parse(&line, "--json --max-threads 8 --auth=on --out here"), 0);
    assert_int_equal(line.target.json, 1);
    assert_int_equal(line.target.threads, 8);
    assert_string_equal(line.target.auth, "on");
    assert_string_equal(line.target.out, "here");
    assert_int_equal(line.other.admin, 0);
    assert_int_equal(line.n_words, 0);
    assert_int_equal(parse(&line, "--max_threads=-2 --out= --auth auto"), 0);
    assert_int_equal(line.target.threads, -2);
    assert_string_equal(line.target.out, "");
    assert_int_equal(line.target.json, 0);
    assert_int_equal(parse(&line, "--out --json"), 0); /* a value may look like an option */
    assert_string_equal(line.target.out, "--json");
    assert_int_equal(line.target.json, 0);
    assert_int_equal(parse(&line, "--out a --out b"), 0);
    assert_string_equal(line.target.out, "b");
    assert_int_equal(parse(&line, ""), 0);
    assert_int_equal(line.n_words, 0);
}

static void test_words_keep_their_order(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(parse(&line, "user --admin add --max-threads 3 - --config x '' last"), 0);
    assert_int_equal(line.n_words, 5);
    static const char *const words[] = {"user", "add", "-", "", "last"};
    for (int i = 0; i < 5; i++)
        assert_string_equal(line.argv[i], words[i]);
    assert_int_equal(line.other.admin, 1);
    assert_int_equal(line.target.threads, 3);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"--bogus", "unknown option --bogus"},
        {"--jso", "unknown option --jso"},
        {"--jsonn", "unknown option --jsonn"},
        {"--", "unknown option --"},
        {"-j", "unknown option -j"},
        {"--=1", "unknown option --=1"},
        {"--json=1", "--json takes no value, not \"1\""},
        {"--json=", "--json takes no value, not \"\""},
        {"word --out", "--out needs a value"},
        {"--config", "--config needs a value"},
        {"--max-threads two", "--max-threads: \"two\" is not an integer"},
        {"--max-threads=", "--max-threads: \"\" is not an integer"},
        {"--max-threads=2x", "--max-threads: \"2x\" is not an integer"},
        {"--max_threads 65", "--max_threads: 65 is outside -2 to 64"},
        {"--max-threads 99999999999999999999",
         "--max-threads: \"99999999999999999999\" is not an integer"},
        {"--auth o", "--auth: \"o\" is not one of: auto on off"},
        {"--auth=", "--auth: \"\" is not one of: auto on off"},
        {"--auth 12345678", "--auth: 8 bytes are above the limit of 7"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct line line;
        assert_int_equal(parse(&line, bad[i][0]), -1);
        assert_int_equal(line.err.code, ERR_INVALID);
        assert_string_equal(line.err.message, bad[i][1]);
        assert_int_equal(line.n_words, -1);
        assert_int_equal(line.target.threads, 1);
        assert_string_equal(line.target.auth, "auto");
    }
}

/* options_take leaves to its caller what no table has. */
static void test_one_at_a_time(void **state)
{
    (void)state;
    struct target target = {.threads = 1};
    const struct options options = {rows, sizeof rows / sizeof *rows, &target};
    char *argv[] = {"--bogus", "--max-threads", "5", "--auth"};
    struct err err = ERR_INIT;
    int at = 0;
    assert_int_equal(options_take(&options, 1, 4, argv, &at, &err), 0);
    assert_int_equal(at, 0);
    at = 1;
    assert_int_equal(options_take(&options, 1, 4, argv, &at, &err), 1);
    assert_int_equal(at, 3);
    assert_int_equal(target.threads, 5);
    assert_int_equal(options_take(&options, 1, 4, argv, &at, &err), -1);
    assert_int_equal(at, 3);
    assert_int_equal(err.code, ERR_INVALID);
    assert_ptr_equal(options_find(&options, "max-threads", 11), &rows[1]);
    assert_null(options_find(&options, "max-thread", 10));
    assert_null(options_find(&options, "", 0));
}

static void test_help(void **state)
{
    (void)state;
    const struct options options = {rows, sizeof rows / sizeof *rows, NULL};
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    options_help(&options, out);
    fclose(out);
    assert_string_equal(text, "  --json                print JSON\n"
                              "  --max-threads         threads (0)\n"
                              "  --auth                logins (auto)\n"
                              "  --out                 folder\n"
                              "  --config              file\n"
                              "  --help                print this and end\n");
    free(text);
}

static int asks(const char *text)
{
    struct line line;
    line.argc = 0;
    snprintf(line.text, sizeof line.text, "%s", text);
    for (char *word = strtok(line.text, " "); word; word = strtok(NULL, " "))
        line.argv[line.argc++] = word;
    const struct options tables[] = {{rows, sizeof rows / sizeof *rows, NULL},
                                     {other_rows, 1, NULL}};
    return options_ask_help(tables, 2, line.argc, line.argv);
}

static void test_asking_for_help(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "--help",        "-h",         "user add --help",  "--bogus --help",
        "--json --help", "--out=x -h", "--auth on --help", "--max-threads nonsense --help"};
    static const char *const no[] = {
        "", "help", "--out --help", "--auth -h", "--config --help", "--helper --help=1"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_int_equal(asks(yes[i]), 1);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_int_equal(asks(no[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_words_keep_their_order),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_help),     cmocka_unit_test(test_asking_for_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
