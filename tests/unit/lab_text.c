/* Texts: valid and invalid UTF-8, the three variants, files that are no texts, and names
 * that must not lead out of the corpus folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lab/text.h"

static struct err err;
static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/tokenfate-text-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int reset(void **state)
{
    (void)state;
    err_clear(&err);
    return 0;
}

static const char *inside(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *bytes, size_t n)
{
    FILE *file = fopen(inside(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* ---- UTF-8 ---- */

/* Offset that the error names, or -1 if the bytes are UTF-8. */
static long bad_offset(const char *bytes, size_t n)
{
    long offset;
    err_clear(&err);
    if (text_check_utf8(bytes, n, &err) == 0)
        return -1;
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(sscanf(err.message, "byte %ld ", &offset), 1);
    return offset;
}

static void utf8_examples(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        long offset;
    } cases[] = {
        {"", -1},
        {"plain text, more than eight bytes of it", -1},
        {"\xc3\xa9", -1},
        {"\xef\xbb\xbf", -1},
        {"\xed\x9f\xbf\xee\x80\x80", -1},
        {"\xf4\x8f\xbf\xbf", -1},
        {"\xf0\x9f\x99\x82!", -1},
        {"\x80", 0},
        {"12345678\xff", 8},
        {"1234567\xc3", 7},
        {"1234567\xc3(8901234", 7},
        {"\xc3\xa9\xc0\xaf", 2}, /* overlong '/' */
        {"a\xc1\xbf", 1},        /* overlong DEL */
        {"ab\xe0\x80\xaf", 2},   /* overlong '/' */
        {"ab\xe0\x9f\xbf", 2},   /* overlong U+07FF */
        {"\xed\xa0\x80", 0},     /* surrogate */
        {"x\xed\xbf\xbf", 1},    /* surrogate */
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong U+FFFF */
        {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"ok \xe2\x82", 3}, /* cut off */
        {"ok \xe2\x82\xac\xe2\x82 ", 6},
        {"\xf0\x9f\x99", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(bad_offset(cases[i].bytes, strlen(cases[i].bytes)), cases[i].offset);
    assert_int_equal(bad_offset("a\0b\xff", 4), 3);
}

/* The inverse definition: decode by shifting, and accept a scalar value that encodes to the
 * same bytes in the fewest bytes. */
static int is_scalar_value(const unsigned char *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    static const unsigned char mask[] = {0, 0, 0x1f, 0x0f, 0x07};
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    if ((p[0] & (unsigned char)~mask[n]) != lead[n])
        return 0;
    uint32_t c = p[0] & mask[n];
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    return c >= least[n] && c < 0x110000 && (c < 0xd800 || c > 0xdfff);
}

/* Every sequence of 2 and 3 bytes with a first byte above ASCII, and of 4 with the last byte
 * at its limits: the first three bytes decide the range of the fourth. */
static void utf8_exhaustive(void **state)
{
    (void)state;
    static const unsigned char last[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    long accepted[5] = {0};
    for (uint32_t x = 0x8000; x < 0x10000; x++) {
        unsigned char two[] = {(unsigned char)(x >> 8), (unsigned char)x};
        int good = text_check_utf8((char *)two, 2, NULL) == 0;
        assert_int_equal(good, is_scalar_value(two, 2));
        accepted[2] += good;
    }
    for (uint32_t x = 0xe00000; x < 0x1000000; x++) {
        unsigned char bytes[] = {(unsigned char)(x >> 16), (unsigned char)(x >> 8),
                                 (unsigned char)x, 0};
        int good = text_check_utf8((char *)bytes, 3, NULL) == 0;
        if (good != is_scalar_value(bytes, 3))
            fail_msg("%06x", x);
        accepted[3] += good;
        for (size_t i = 0; bytes[0] >= 0xf0 && i < sizeof last; i++) {
            bytes[3] = last[i];
            good = text_check_utf8((char *)bytes, 4, NULL) == 0;
            if (good != is_scalar_value(bytes, 4))
                fail_msg("%06x%02x", x, bytes[3]);
            accepted[4] += good;
        }
    }
    assert_int_equal(accepted[2], 0x800 - 0x80);
    assert_int_equal(accepted[3], 0x10000 - 0x800 - 0x800);
    assert_int_equal(accepted[4], 2 * (0x110000 - 0x10000) / 64);
}

/* ---- variants ---- */

#define START "*** START OF THE PROJECT GUTENBERG EBOOK X ***"
#define END "*** END OF THE PROJECT GUTENBERG EBOOK X ***"

/* The variant of a text, or NULL if it is refused; valid until the next call. */
static const char *variant(const char *bytes, enum spec_variant which)
{
    static char result[512];
    struct text text = {.bytes = strdup(bytes), .n = strlen(bytes)};
    err_clear(&err);
    int failed = text_make_variant(&text, which, &err);
    assert_int_equal(text.bytes[text.n], '\0');
    assert_int_equal(strlen(text.bytes), text.n);
    if (failed)
        assert_string_equal(text.bytes, bytes);
    snprintf(result, sizeof result, "%s", text.bytes);
    text_free(&text);
    assert_null(text.bytes);
    return failed ? NULL : result;
}

static void variants(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *lf, *body;
    } cases[] = {
        {"a\r\nb\n", "a\nb\n", NULL},
        {"\xef\xbb\xbf"
         "a\r\r\n\rb\r",
         "a\r\n\rb\r", NULL},
        {"a\xef\xbb\xbf", "a\xef\xbb\xbf", NULL},
        {"\xef\xbb\xbf", NULL, NULL},
        {"x\r\n" START "\r\na\r\n\r\nb\r\n" END "\r\ny", "x\n" START "\na\n\nb\n" END "\ny",
         "a\n\nb\n"},
        {"\xef\xbb\xbf" START "\na\n" END, START "\na\n" END, "a\n"},
        {"***START OF THIS PROJECT GUTENBERG EBOOK X***\na\n***END OF THIS PROJECT GUTENBERG",
         "***START OF THIS PROJECT GUTENBERG EBOOK X***\na\n***END OF THIS PROJECT GUTENBERG",
         "a\n"},
        {END "\n" START "\na\n" START "\nb\n" END "\n" END "\n",
         END "\n" START "\na\n" START "\nb\n" END "\n" END "\n", "a\n" START "\nb\n"},
        {START "\n" END "\n", START "\n" END "\n", NULL},
        {START "\na\n", START "\na\n", NULL},
        {"a\n" END "\n", "a\n" END "\n", NULL},
        {" " START "\na\n" END "\n", " " START "\na\n" END "\n", NULL},
        {"*** START OF THE BOOK ***\na\n" END "\n", "*** START OF THE BOOK ***\na\n" END "\n",
         NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = variant(cases[i].bytes, VARIANT_RAW);
        assert_string_equal(got, cases[i].bytes);
        got = variant(cases[i].bytes, VARIANT_LF);
        assert_int_equal(got == NULL, cases[i].lf == NULL);
        if (got != NULL)
            assert_string_equal(got, cases[i].lf);
        got = variant(cases[i].bytes, VARIANT_BODY);
        assert_int_equal(got == NULL, cases[i].body == NULL);
        if (got != NULL)
            assert_string_equal(got, cases[i].body);
        else
            assert_int_equal(err.code, ERR_INVALID);
    }
}

static void body_names_the_line_that_is_missing(void **state)
{
    (void)state;
    assert_null(variant("a\n", VARIANT_BODY));
    assert_non_null(strstr(err.message, "*** START OF"));
    assert_null(variant(START "\na\n", VARIANT_BODY));
    assert_non_null(strstr(err.message, "*** END OF"));
    assert_null(variant(START "\n" END "\n", VARIANT_BODY));
    assert_non_null(strstr(err.message, "nothing is left"));
}

/* ---- files ---- */

static void reads_a_whole_file(void **state)
{
    (void)state;
    struct text text = {0};
    write_file("a.txt", "one\0two\r\n", 9);
    assert_int_equal(text_read(inside("a.txt"), &text, &err), 0);
    assert_int_equal(text.n, 9);
    assert_memory_equal(text.bytes, "one\0two\r\n", 10);
    text_free(&text);
    text_free(NULL);
    unlink(inside("a.txt"));
}

static void refuses_what_is_not_a_text(void **state)
{
    (void)state;
    struct text text = {.bytes = folder, .n = 7};
    assert_int_equal(text_read(inside("none"), &text, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "none"));
    assert_int_equal(text_read(folder, &text, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    write_file("empty", "", 0);
    assert_int_equal(text_read(inside("empty"), &text, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    unlink(inside("empty"));
    assert_int_equal(mkfifo(inside("fifo"), 0600), 0);
    assert_int_equal(text_read(inside("fifo"), &text, &err), -1); /* and does not wait */
    assert_int_equal(err.code, ERR_INVALID);
    unlink(inside("fifo"));
    write_file("huge", "x", 1);
    assert_int_equal(truncate(inside("huge"), (off_t)TEXT_BYTES_MAX + 1), 0); /* sparse */
    assert_int_equal(text_read(inside("huge"), &text, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    unlink(inside("huge"));
    assert_ptr_equal(text.bytes, folder);
    assert_int_equal(text.n, 7);
}

static void finds_by_name(void **state)
{
    (void)state;
    char path[128] = "untouched", places[160], second[96];
    write_file("mine.txt", "x", 1);
    snprintf(places, sizeof places, "/nonexistent::%s", folder);
    assert_int_equal(text_find(places, "mine.txt", path, sizeof path, &err), 0);
    assert_string_equal(path, inside("mine.txt"));

    write_file("pg829.txt", "x", 1);
    assert_int_equal(text_find(places, "gulliver", path, sizeof path, &err), 0);
    assert_string_equal(path, inside("pg829.txt"));

    snprintf(second, sizeof second, "%s/second", folder);
    assert_int_equal(mkdir(second, 0700), 0);
    write_file("second/mine.txt", "x", 1);
    snprintf(places, sizeof places, "%s:%s", second, folder);
    assert_int_equal(text_find(places, "mine.txt", path, sizeof path, &err), 0);
    assert_string_equal(path, inside("second/mine.txt"));
    unlink(inside("second/mine.txt"));
    unlink(inside("mine.txt"));
    unlink(inside("pg829.txt"));
    rmdir(second);
}

static void names_stay_inside_the_folders(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",      ".",       "..",  ".hidden",      "../up",       "/etc/passwd",
        "sub/a", "missing", "sub", TEXT_SYNTHETIC, "a/../.hidden"};
    char path[128] = "untouched";
    write_file(".hidden", "x", 1);
    assert_int_equal(mkdir(inside("sub"), 0700), 0);
    write_file("sub/a", "x", 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(text_find(folder, names[i], path, sizeof path, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_non_null(strstr(err.message, names[i]));
        assert_non_null(strstr(err.message, folder));
    }
    assert_int_equal(text_find("", "sub", path, sizeof path, &err), -1);
    assert_string_equal(err.message,
                        "no text \"sub\" in  (corpus_path); \"gulliver-synthetic\" needs no file");
    assert_int_equal(text_find("here", "gulliver", path, sizeof path, &err), -1);
    assert_string_equal(err.message,
                        "no text \"gulliver\" in here (corpus_path): save "
                        "https://www.gutenberg.org/cache/epub/829/pg829.txt there as pg829.txt; "
                        "\"gulliver-synthetic\" needs no file");
    write_file("short", "x", 1);
    assert_int_equal(text_find(folder, "short", path, strlen(folder) + 6, &err), -1);
    assert_string_equal(path, "untouched");
    assert_int_equal(text_find(folder, "short", path, strlen(folder) + 7, &err), 0);
    unlink(inside("short"));
    unlink(inside(".hidden"));
    unlink(inside("sub/a"));
    rmdir(inside("sub"));
}

static void known_texts(void **state)
{
    (void)state;
    assert_string_equal(text_known[0].name, "gulliver");
    for (const struct text_known *known = text_known; known->name != NULL; known++) {
        assert_int_equal(strlen(known->sha256), 64);
        assert_null(strchr(known->file, '/'));
        assert_memory_equal(known->url, "https://www.gutenberg.org/", 26);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(utf8_examples, reset),
        cmocka_unit_test_setup(utf8_exhaustive, reset),
        cmocka_unit_test_setup(variants, reset),
        cmocka_unit_test_setup(body_names_the_line_that_is_missing, reset),
        cmocka_unit_test_setup(reads_a_whole_file, reset),
        cmocka_unit_test_setup(refuses_what_is_not_a_text, reset),
        cmocka_unit_test_setup(finds_by_name, reset),
        cmocka_unit_test_setup(names_stay_inside_the_folders, reset),
        cmocka_unit_test_setup(known_texts, reset),
    };
    return cmocka_run_group_tests_name("lab_text", tests, make_folder, remove_folder);
}
