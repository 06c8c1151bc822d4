/* Token files: what is mapped equals what is encoded, for every kind of spec; a file that is
 * damaged or of something else is refused; a data set that changes its ids leaves the file as it
 * is. */
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

#include "config/file.h"
#include "config/hash.h"
#include "lab/dataset.h"
#include "lab/token_stream.h"

static struct bpe *gpt2;
static struct err err;
static char root[] = "/tmp/tokenfate-stream-XXXXXX";
static char text[64], folder[64]; /* below root */

/* 4,000 lines of words that repeat at different distances, so that some of them lie in the
 * held-out part alone and others in both. */
static void write_text(void)
{
    FILE *file = fopen(text, "wb");
    assert_non_null(file);
    for (int i = 0; i < 4000; i++)
        fprintf(file, "Line %d of the word %c%c%c, and of %c.\r\n", i, 'a' + i / 400,
                'a' + i / 20 % 20, 'a' + i % 20, 'a' + i % 7);
    assert_int_equal(fclose(file), 0);
}

static int open_all(void **state)
{
    (void)state;
    const char *share = getenv("TOKENFATE_SHARE");
    if (hash_init(&err) || !mkdtemp(root) ||
        bpe_open(share ? share : "build/share", "gpt2", &gpt2, &err))
        return -1;
    snprintf(text, sizeof text, "%s/text", root);
    snprintf(folder, sizeof folder, "%s/tokens/of-it", root);
    write_text();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    bpe_close(gpt2);
    return file_remove_folder(root, &err);
}

static int reset(void **state)
{
    (void)state;
    err_clear(&err);
    return file_remove_folder(folder, &err);
}

static struct spec make_spec(void)
{
    return (struct spec){
        .corpus = {.id = "mine", .variant = VARIANT_LF, .tokenizer = "gpt2"},
        .model = {.d_model = 8, .n_layers = 1, .n_heads = 1, .seq_len = 4},
        .train = {.batch_size = 2,
                  .steps_per_epoch = 1,
                  .seed = 1,
                  .seed_weights = -1,
                  .seed_data = -1,
                  .seed_groups = -1},
        .groups = {.size = 1, .ties = TIE_BREAK_ID},
    };
}

static void make(const struct spec *spec)
{
    size_t n = 0;
    if (token_stream_make(spec, text, gpt2, folder, &n, &err))
        fail_msg("%s", err.message);
    assert_true(n > 10000);
    assert_true(token_stream_is_made(spec, folder));
}

static struct dataset *open_dataset(const struct spec *spec, const char *path)
{
    struct dataset *dataset = NULL;
    if (dataset_open(spec, path, gpt2, &dataset, &err))
        fail_msg("%s", err.message);
    return dataset;
}

static void assert_same(const struct dataset *a, const struct dataset *b)
{
    assert_int_equal(a->vocab, b->vocab);
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->n_held_out, b->n_held_out);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
    assert_memory_equal(a->frequency.counts, b->frequency.counts,
                        (size_t)a->vocab * sizeof *a->frequency.counts);
    assert_int_equal(a->frequency.types, b->frequency.types);
    if (a->n_held_out)
        assert_memory_equal(a->held_out, b->held_out, a->n_held_out * sizeof *a->held_out);
    assert_int_equal(!a->held_out_words, !b->held_out_words);
    if (a->held_out_words)
        assert_memory_equal(a->held_out_words, b->held_out_words, a->n_held_out);
}

static int count_bits(const struct dataset *dataset, uint8_t bit)
{
    int n = 0;
    for (size_t i = 0; dataset->held_out_words && i < dataset->n_held_out; i++)
        n += (dataset->held_out_words[i] & bit) != 0;
    return n;
}

static void mapped_equals_encoded(void **state)
{
    (void)state;
    for (int kind = 0; kind < 16; kind++) {
        struct spec spec = make_spec();
        spec.data.holdout = kind & 1 ? 3 : 0;
        spec.corpus.shuffled = (kind & 2) != 0;
        spec.corpus.vocabulary = kind & 4 ? VOCABULARY_USED : VOCABULARY_ALL;
        spec.corpus.variant = kind & 8 ? VARIANT_RAW : VARIANT_LF;
        make(&spec);
        struct dataset *encoded = open_dataset(&spec, text);
        struct dataset *mapped = open_dataset(&spec, folder);
        assert_same(encoded, mapped);
        if ((kind & 3) == 1) {
            assert_true(count_bits(mapped, DATASET_WORD_SEEN) > 100);
            assert_true(count_bits(mapped, DATASET_WORD_UNSEEN) > 100);
        }
        dataset_close(encoded);
        dataset_close(mapped);
    }
}

static void words_are_made_where_they_are_needed(void **state)
{
    (void)state;
    struct spec plain = make_spec(), held = make_spec();
    held.data.holdout = 3;
    make(&plain);
    assert_false(token_stream_is_made(&held, folder));
    struct token_stream stream;
    assert_int_equal(token_stream_open(&held, folder, gpt2, &stream, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    make(&held);
    assert_true(token_stream_is_made(&plain, folder));
    token_stream_remove(&plain, folder);
    assert_false(token_stream_is_made(&plain, folder));
}

/* A page that nobody wrote belongs to the file, one that was written to this process alone. */
static void the_file_stays_as_it_is(void **state)
{
    (void)state;
    struct spec spec = make_spec(), shuffled = make_spec();
    char path[PATH_MAX], before[HASH_HEX], after[HASH_HEX];
    shuffled.corpus.shuffled = 1;
    make(&spec);
    snprintf(path, sizeof path, "%s/lf.gpt2", folder);
    assert_int_equal(hash_sha256_file(path, before, &err), 0);
    struct dataset *changed = open_dataset(&shuffled, folder), *same = open_dataset(&spec, folder);
    assert_true(same->is_as_filed);
    assert_false(changed->is_as_filed);
    assert_true(dataset_memory(changed) > dataset_memory(same));
    assert_memory_not_equal(changed->ids, same->ids, same->n * sizeof *same->ids);
    dataset_close(changed);
    dataset_close(same);
    assert_int_equal(hash_sha256_file(path, after, &err), 0);
    assert_string_equal(before, after);
}

static void assert_damaged(const struct spec *spec, const char *why)
{
    struct token_stream stream;
    err_clear(&err);
    assert_int_equal(token_stream_open(spec, folder, gpt2, &stream, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    if (!strstr(err.message, why))
        fail_msg("\"%s\" does not say \"%s\"", err.message, why);
}

static void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
    const int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 1, file);
    assert_int_equal(fclose(file), 0);
}

static void damage_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *file, *why;
        long at; /* negative: from the end */
    } cases[] = {
        {"lf.gpt2", "of another text", 0},  /* magic */
        {"lf.gpt2", "of another text", 12}, /* checksum of the rank table */
        {"lf.gpt2", "length", 24},          /* n */
        {"lf.gpt2", "digest", 128},         /* counts */
        {"lf.gpt2", "digest", -100},        /* ids */
        {"lf.gpt2", "digest", -1},          /* the digest itself */
        {"lf.gpt2.words", "of another text", 0},
        {"lf.gpt2.words", "digest", 200},
        {"lf.gpt2.words", "digest", -1},
    };
    struct spec spec = make_spec();
    struct token_stream stream;
    char path[PATH_MAX];
    spec.data.holdout = 3;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(&spec);
        snprintf(path, sizeof path, "%s/%s", folder, cases[i].file);
        flip(path, cases[i].at);
        assert_damaged(&spec, cases[i].why);
        flip(path, cases[i].at);
        assert_int_equal(token_stream_open(&spec, folder, gpt2, &stream, &err), 0);
        token_stream_free(&stream);
    }
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 12), 0);
    assert_damaged(&spec, "length");
    assert_int_equal(truncate(path, 20), 0);
    assert_damaged(&spec, "shorter");
}

/* The files of one text in the folder of another one. */
static void another_text_is_refused(void **state)
{
    (void)state;
    struct spec spec = make_spec();
    make(&spec);
    strcpy(spec.corpus.id, "other");
    assert_damaged(&spec, "of another text");
}

static void bad_texts_have_their_pointers(void **state)
{
    (void)state;
    struct spec spec = make_spec();
    size_t n;
    spec.corpus.variant = VARIANT_BODY;
    assert_int_equal(token_stream_make(&spec, text, gpt2, folder, &n, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.fields[0].pointer, "/corpus/variant");
    err_clear(&err);
    assert_int_equal(token_stream_make(&spec, "/tmp/tokenfate-none", gpt2, folder, &n, &err), -1);
    assert_string_equal(err.fields[0].pointer, "/corpus/id");
    assert_false(token_stream_is_made(&spec, folder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(mapped_equals_encoded, reset),
        cmocka_unit_test_setup(words_are_made_where_they_are_needed, reset),
        cmocka_unit_test_setup(the_file_stays_as_it_is, reset),
        cmocka_unit_test_setup(damage_is_found, reset),
        cmocka_unit_test_setup(another_text_is_refused, reset),
        cmocka_unit_test_setup(bad_texts_have_their_pointers, reset),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
