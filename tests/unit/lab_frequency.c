/* Counts: of a small stream by hand, the classes, and the built-in table of
 * Gulliver's counts against a fresh count of the text when the text is
 * there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lab/bpe.h"
#include "lab/frequency.h"
#include "lab/text.h"

static void counts_by_hand(void **state)
{
    (void)state;
    static const int32_t ids[] = {3, 1, 3, 3, 0, 5, 5};
    static const int64_t want[] = {1, 1, 0, 3, 0, 2};
    struct frequency f;
    struct err err = ERR_INIT;
    assert_int_equal(frequency_count(ids, 7, 6, &f, &err), 0);
    assert_memory_equal(f.counts, want, sizeof want);
    assert_int_equal(f.vocab, 6);
    assert_int_equal(f.total, 7);
    assert_int_equal(f.types, 4);
    assert_int_equal(f.once, 2);
    frequency_free(&f);
    assert_null(f.counts);
    frequency_free(&f);
    frequency_free(NULL);
}

static void ids_outside_the_vocabulary(void **state)
{
    (void)state;
    static const int32_t bad[] = {-1, 6, INT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int32_t ids[] = {0, bad[i]};
        struct frequency f = {.vocab = 77};
        struct err err = ERR_INIT;
        assert_int_equal(frequency_count(ids, 2, 6, &f, &err), -1);
        assert_int_equal(err.code, ERR_INTERNAL);
        assert_non_null(strstr(err.message, "position 1"));
        assert_int_equal(f.vocab, 77);
    }
}

static void classes(void **state)
{
    (void)state;
    static const struct {
        int64_t count;
        int want;
    } cases[] = {{0, 0},  {1, 1},  {2, 2},  {3, 2},   {4, 3},   {9, 3},    {10, 4},
                 {29, 4}, {30, 5}, {99, 5}, {100, 6}, {999, 6}, {1000, 7}, {INT64_MAX, 7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(frequency_class(cases[i].count), cases[i].want);
    for (int i = 0; i < FREQUENCY_CLASSES; i++)
        assert_int_equal(frequency_class(frequency_class_from[i]), i);
}

static void built_in_counts(void **state)
{
    (void)state;
    struct frequency f;
    struct err err = ERR_INIT;
    assert_int_equal(frequency_gulliver(&f, &err), 0);
    assert_int_equal(f.vocab, 50257);
    assert_int_equal(f.types, 10270);
    assert_int_equal(f.counts[11], 10059); /* "," */
    assert_int_equal(f.counts[262], 5393); /* " the" */
    frequency_free(&f);
}

static void built_in_counts_are_the_text(void **state)
{
    (void)state;
    char path[4096];
    const char *share = getenv("TOKENFATE_SHARE");
    const char *folders = getenv("TOKENFATE_CORPUS_PATH");
    struct bpe *bpe;
    struct err err = ERR_INIT;
    if (text_find(folders ? folders : "corpora", "gulliver", path, sizeof path, &err)) {
        print_message("%s\n", err.message);
        skip();
    }
    if (bpe_open(share ? share : "build/share", "gpt2", &bpe, &err))
        fail_msg("%s", err.message);
    struct text text;
    int32_t *ids;
    size_t n;
    struct frequency fresh, table;
    assert_int_equal(text_read(path, &text, &err), 0);
    assert_int_equal(text_make_variant(&text, VARIANT_LF, &err), 0);
    assert_int_equal(bpe_encode(bpe, text.bytes, text.n, &ids, &n, &err), 0);
    assert_int_equal(frequency_count(ids, n, bpe_vocabulary(bpe), &fresh, &err), 0);
    assert_int_equal(frequency_gulliver(&table, &err), 0);
    assert_int_equal(fresh.vocab, table.vocab);
    assert_int_equal(fresh.total, table.total);
    assert_memory_equal(fresh.counts, table.counts, (size_t)table.vocab * sizeof *table.counts);
    frequency_free(&table);
    frequency_free(&fresh);
    free(ids);
    text_free(&text);
    bpe_close(bpe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_by_hand),
        cmocka_unit_test(ids_outside_the_vocabulary),
        cmocka_unit_test(classes),
        cmocka_unit_test(built_in_counts),
        cmocka_unit_test(built_in_counts_are_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
