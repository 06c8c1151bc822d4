/* Names of texts: what they may be, when two are the same, when one resembles another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "config/text_name.h"

static void names(void **state)
{
    (void)state;
    static const char *const good[] = {"a",
                                       "gulliver",
                                       "pg829.txt",
                                       "a b",
                                       "100%",
                                       "na\xc3\xafve",
                                       "\xe5\x90\xbe\xe8\xbc\xa9",
                                       "\xf0\x9f\x90\x8e",
                                       "_",
                                       "~x"};
    static const struct {
        const char *name, *words; /* of the detail */
    } bad[] = {
        {NULL, "has 0 bytes"},
        {"", "has 0 bytes"},
        {".", "\".\""},
        {"..", "starts with '.'"},
        {"a/b", "\"a/b\" is no name of a text: it contains U+002F"},
        {" a", "blank"},
        {"a ", "blank"},
        {"a\tb", "\"a\\u{0009}b\""},
        {"a\x7f", "U+007F, a control"},
        {"a\xff", "\"a\\xff\" is no name of a text: it is not UTF-8"},
        {"a\xc2", "not UTF-8"},
        {"\xe2\x80\xae"
         "a",
         "\"\\u{202E}a\" is no name of a text: it contains U+202E, a bidi control"},
        {"\xef\xbf\xbf", "U+FFFF, no character"},
        {"\xf4\x8f\xbf\xbe", "U+10FFFE, no character"},
        {"e\xcc\x81", "U+0301, a combining mark"},
        {"\xf0\x9d\x93\xb0", "U+1D4F0, another form"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct err err = ERR_INIT;
        if (text_name_check(good[i], "/x", &err))
            fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = ERR_INIT;
        assert_int_equal(text_name_check(bad[i].name, "/x", &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.fields[0].pointer, "/x");
        if (!strstr(err.fields[0].detail, bad[i].words))
            fail_msg("%s", err.fields[0].detail);
    }
}

/* A long name of escapes is cut, and the detail keeps its reason. */
static void long_names(void **state)
{
    (void)state;
    char name[101];
    struct err err = ERR_INIT;
    memset(name, 1, 100);
    name[100] = '\0';
    assert_int_equal(text_name_check(name, "/x", &err), -1);
    assert_non_null(strstr(err.fields[0].detail, "...\" is no name of a text: it contains U+0001"));
}

static void sameness(void **state)
{
    (void)state;
    static const struct {
        const char *name, *known;
        int same, resembles;
    } cases[] = {
        {"gulliver", "gulliver", 1, 1},
        {"GulliveR", "gulliver", 1, 1},
        {"gulliver2", "gulliver", 0, 0},
        {"gullive", "gulliver", 0, 0},
        {"gulliv\xd0\xb5r", "gulliver", 0, 1}, /* a Cyrillic e */
        {"gulliv\xc3\xa9r", "gulliver", 0, 1}, /* an accent */
        {"\xd0\xb3\xd1\x83\xd0\xbb\xd0\xbb\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x80", "gulliver", 0, 0},
        {"\xc3\xa9tude", "\xc3\xa9tude", 1, 1},
        {"\xc3\x89tude", "\xc3\xa9tude", 0, 0}, /* case of ASCII letters alone */
        {"etude", "\xc3\xa9tude", 0, 0},
        {"123", "123", 1, 1},
        {"123", "12", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (text_name_same(cases[i].name, cases[i].known) != cases[i].same)
            fail_msg("%s, %s: same is not %d", cases[i].name, cases[i].known, cases[i].same);
        if (text_name_resembles(cases[i].name, cases[i].known) != cases[i].resembles)
            fail_msg("%s, %s: resembles is not %d", cases[i].name, cases[i].known,
                     cases[i].resembles);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(long_names),
                                       cmocka_unit_test(sameness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
