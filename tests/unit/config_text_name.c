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

static void labels(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a",
        "  a\xc2\xa0", /* blanks at the ends are trimmed */
        "u\xcc\x88"
        "ber",                                          /* decomposed */
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac", /* an emoji with a joiner */
        "\xe2\x9d\xa4\xef\xb8\x8f",                     /* with a variation selector */
        "\xe1\x84\x92\xe1\x85\xa1",                     /* conjoining jamo */
        "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae",         /* Persian with a non-joiner */
        "a/b: c",
    };
    static const struct {
        const char *label, *words; /* of the detail */
    } bad[] = {
        {"", "has nothing that can be seen"},
        {" \xe3\x80\x80", "has nothing that can be seen"},
        {"\xe2\x80\x8b", "\"\\u{200B}\" is no name: it has nothing that can be seen"},
        {"\xe3\x85\xa4", "has nothing that can be seen"}, /* Hangul filler */
        {"\xe1\x85\x9f\xe1\x85\xa0", "has nothing that can be seen"},
        {"\xcc\x88\xef\xbb\xbf", "has nothing that can be seen"},
        {"a\xe2\x80\xae"
         "b",
         "contains U+202E, a bidi control"},
        {"a\xe2\x81\xa6", "contains U+2066, a bidi control"},
        {"a\xd8\x9c", "contains U+061C, a bidi control"},
        {"a\xc2\x9b", "contains U+009B, a control character"},
        {"a\nb", "contains U+000A, a control character"},
        {"a\xe2\x80\xa8", "contains U+2028, an end of line"},
        {"a\xff", "is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct err err = ERR_INIT;
        assert_int_equal(text_name_check_label(good[i], "/name", &err), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = ERR_INIT;
        assert_int_equal(text_name_check_label(bad[i].label, "/tags/2", &err), -1);
        assert_string_equal(err.fields[0].pointer, "/tags/2");
        if (!strstr(err.fields[0].detail, bad[i].words))
            fail_msg("%s, not %s", err.fields[0].detail, bad[i].words);
    }
}

static void trimming(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"  ", ""},
        {"a", "a"},
        {" \t a b\xc2\xa0\xe3\x80\x80", "\t a b"}, /* a control is for the check */
        {"\xe2\x80\x83\xc3\xbc ", "\xc3\xbc"},
        {"\xe2\x9d\xa4\xef\xb8\x8f ", "\xe2\x9d\xa4\xef\xb8\x8f"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char text[32];
        strcpy(text, pairs[i][0]);
        text_name_trim(text);
        assert_string_equal(text, pairs[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(labels),
                                       cmocka_unit_test(trimming), cmocka_unit_test(long_names),
                                       cmocka_unit_test(sameness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
