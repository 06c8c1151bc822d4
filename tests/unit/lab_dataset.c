/* Data sets: a text file becomes ids, counts and groups; variants, shuffling
 * and the synthetic corpus; every fault of text or spec under its pointer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lab/dataset.h"
#include "lab/sampler.h"
#include "lab/text.h"

static struct bpe *gpt2;
static struct err err;
static char path[] = "/tmp/tokenfate-dataset-XXXXXX";

static const char sentence[] = "one two two three three three four four four four";
static const char book[] = "\xef\xbb\xbfhead\r\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\r\n"
                           "one two two three three three\r\n"
                           "*** END OF THE PROJECT GUTENBERG EBOOK X ***\r\ntail\r\n";

static int open_gpt2(void **state)
{
    (void)state;
    const char *share = getenv("TOKENFATE_SHARE");
    err_clear(&err);
    if (bpe_open(share ? share : "build/share", "gpt2", &gpt2, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int close_gpt2(void **state)
{
    (void)state;
    bpe_close(gpt2);
    return unlink(path);
}

static int reset(void **state)
{
    (void)state;
    err_clear(&err);
    return 0;
}

static void write_text(const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static struct spec make_spec(enum spec_variant variant)
{
    return (struct spec){
        .corpus = {.id = "mine", .variant = variant, .tokenizer = "gpt2"},
        .model = {.d_model = 8, .n_layers = 1, .n_heads = 1, .seq_len = 4},
        .train = {.batch_size = 2,
                  .steps_per_epoch = 1,
                  .seed = 1,
                  .seed_weights = -1,
                  .seed_data = -1,
                  .seed_groups = -1},
        .groups = {.size = 1, .ties = TIES_ID},
    };
}

static struct dataset *open_dataset(const struct spec *spec)
{
    struct dataset *dataset = NULL;
    if (dataset_open(spec, path, gpt2, &dataset, &err))
        fail_msg("%s", err.message);
    return dataset;
}

static void ids_counts_and_groups(void **state)
{
    (void)state;
    write_text(sentence, strlen(sentence));
    const struct spec spec = make_spec(VARIANT_RAW);
    struct dataset *dataset = open_dataset(&spec);
    int32_t *ids;
    size_t n;
    assert_int_equal(bpe_encode(gpt2, sentence, strlen(sentence), &ids, &n, &err), 0);
    assert_int_equal(dataset->vocab, 50257);
    assert_int_equal(dataset->n, 10);
    assert_int_equal(n, 10);
    assert_memory_equal(dataset->ids, ids, n * sizeof *ids);
    assert_int_equal(dataset->frequency.total, 10);
    assert_int_equal(dataset->frequency.types, 4);
    assert_int_equal(dataset->groups.n, 3);
    assert_int_equal(dataset->groups.group[0].ids[0], ids[9]); /* " four" */
    assert_int_equal(dataset->groups.group[1].ids[0], ids[0]); /* "one" */
    assert_int_equal(dataset->groups.group[2].ids[0], 0);
    free(ids);
    dataset_close(dataset);
    dataset_close(NULL);
}

static void variants(void **state)
{
    (void)state;
    static const struct {
        enum spec_variant variant;
        const char *text;
    } cases[] = {
        {VARIANT_RAW, book},
        {VARIANT_LF, "head\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n"
                     "one two two three three three\n"
                     "*** END OF THE PROJECT GUTENBERG EBOOK X ***\ntail\n"},
        {VARIANT_BODY, "one two two three three three\n"},
    };
    write_text(book, strlen(book));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct spec spec = make_spec(cases[i].variant);
        struct dataset *dataset = open_dataset(&spec);
        int32_t *ids;
        size_t n;
        assert_int_equal(bpe_encode(gpt2, cases[i].text, strlen(cases[i].text), &ids, &n, &err), 0);
        assert_int_equal(dataset->n, n);
        assert_memory_equal(dataset->ids, ids, n * sizeof *ids);
        free(ids);
        dataset_close(dataset);
    }
}

static int same_ids(const struct dataset *a, const struct dataset *b)
{
    return a->n == b->n && !memcmp(a->ids, b->ids, a->n * sizeof *a->ids);
}

static void shuffling_keeps_counts_and_groups(void **state)
{
    (void)state;
    write_text(book, strlen(book));
    struct spec spec = make_spec(VARIANT_LF);
    struct dataset *plain = open_dataset(&spec);
    spec.corpus.shuffled = 1;
    struct dataset *one = open_dataset(&spec), *again = open_dataset(&spec);
    spec.train.seed_groups = 2;
    struct dataset *two = open_dataset(&spec);
    assert_false(same_ids(plain, one));
    assert_true(same_ids(one, again));
    assert_false(same_ids(one, two));
    assert_memory_equal(plain->frequency.counts, one->frequency.counts, 50257 * sizeof(int64_t));
    assert_memory_equal(plain->groups.tokens, one->groups.tokens, 3 * sizeof(int32_t));
    dataset_close(plain);
    dataset_close(one);
    dataset_close(again);
    dataset_close(two);
}

/* Each of five tokens comes first in a fifth of all shuffles. */
static void shuffling_is_uniform(void **state)
{
    (void)state;
    enum { SEEDS = 400, TOKENS = 5 };
    static const char five[] = "one two three four five";
    write_text(five, strlen(five));
    struct spec spec = make_spec(VARIANT_RAW);
    struct dataset *plain = open_dataset(&spec);
    assert_int_equal(plain->n, TOKENS);
    int first[TOKENS] = {0}, last[TOKENS] = {0};
    spec.corpus.shuffled = 1;
    for (int seed = 0; seed < SEEDS; seed++) {
        spec.train.seed_groups = seed;
        struct dataset *dataset = open_dataset(&spec);
        for (int i = 0; i < TOKENS; i++) {
            first[i] += dataset->ids[0] == plain->ids[i];
            last[i] += dataset->ids[TOKENS - 1] == plain->ids[i];
        }
        dataset_close(dataset);
    }
    for (int i = 0; i < TOKENS; i++) {
        assert_in_range(first[i], 80 - 32, 80 + 32); /* four standard deviations */
        assert_in_range(last[i], 80 - 32, 80 + 32);
    }
    dataset_close(plain);
}

static void synthetic_corpus(void **state)
{
    (void)state;
    struct spec spec = make_spec(VARIANT_LF);
    strcpy(spec.corpus.id, TEXT_SYNTHETIC);
    spec.groups.size = 100;
    static const char *const paths[] = {NULL, "", "/nowhere"};
    for (int i = 0; i < 3; i++) {
        struct dataset *dataset;
        assert_int_equal(dataset_open(&spec, paths[i], i ? gpt2 : NULL, &dataset, &err), 0);
        assert_null(dataset->ids);
        assert_int_equal(dataset->n, 0);
        assert_int_equal(dataset->vocab, 50257);
        assert_int_equal(dataset->frequency.types, 10270);
        assert_int_equal(dataset->groups.n_tokens, 300);
        struct sampler *sampler;
        int32_t inputs[8], targets[8];
        assert_int_equal(
            sampler_open(&spec, dataset->ids, dataset->n, &dataset->frequency, &sampler, &err), 0);
        sampler_batch(sampler, 0, inputs, targets);
        assert_true(dataset->frequency.counts[inputs[0]] > 0);
        sampler_close(sampler);
        dataset_close(dataset);
    }
}

static void faults_under_their_pointers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        enum spec_variant variant;
        int seq_len, size;
        const char *pointer, *detail;
    } cases[] = {
        {"", 0, VARIANT_RAW, 4, 1, "/corpus/id", "is empty"},
        {"one two \xff three", 15, VARIANT_RAW, 4, 1, "/corpus/id", "byte 8 (0xff) is not UTF-8"},
        {sentence, sizeof sentence - 1, VARIANT_BODY, 4, 1, "/corpus/variant", "START"},
        {sentence, sizeof sentence - 1, VARIANT_RAW, 10, 1, "/model/seq_len",
         "10 needs 11 tokens, the text has 10"},
        {sentence, sizeof sentence - 1, VARIANT_RAW, 4, 3, "/groups/size",
         "3 is above half of the 4 tokens that the text uses"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(cases[i].text, cases[i].n);
        struct spec spec = make_spec(cases[i].variant);
        spec.model.seq_len = cases[i].seq_len;
        spec.groups.size = cases[i].size;
        struct dataset *dataset = (struct dataset *)&spec;
        err_clear(&err);
        assert_int_equal(dataset_open(&spec, path, gpt2, &dataset, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(err.n_fields, 1);
        assert_string_equal(err.fields[0].pointer, cases[i].pointer);
        if (!strstr(err.fields[0].detail, cases[i].detail))
            fail_msg("%s", err.fields[0].detail);
        assert_ptr_equal(dataset, &spec);
        assert_int_equal(dataset_open(&spec, path, gpt2, &dataset, NULL), -1);
    }
}

static void text_that_is_not_there(void **state)
{
    (void)state;
    const struct spec spec = make_spec(VARIANT_RAW);
    struct dataset *dataset;
    assert_int_equal(dataset_open(&spec, "/tmp/tokenfate-no-such-text", gpt2, &dataset, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.fields[0].pointer, "/corpus/id");
}

static void bad_fields_together(void **state)
{
    (void)state;
    write_text(sentence, strlen(sentence));
    struct spec spec = make_spec(VARIANT_RAW);
    struct spec_token token = {50257, NULL};
    spec.model.seq_len = 10;
    spec.groups.size = 3;
    spec.groups.n_custom = 1;
    spec.groups.custom[0] = (struct spec_custom){.name = "c", .n_tokens = 1, .tokens = &token};
    struct dataset *dataset;
    assert_int_equal(dataset_open(&spec, path, gpt2, &dataset, &err), -1);
    static const char *const pointers[] = {"/model/seq_len", "/groups/size",
                                           "/groups/custom/0/tokens/0"};
    assert_int_equal(err.n_fields, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(err.fields[i].pointer, pointers[i]);
}

static void gulliver(void **state)
{
    (void)state;
    char text[4096];
    if (text_find("corpora:../shared/corpora", "gulliver", text, sizeof text, &err)) {
        print_message("%s\n", err.message);
        skip();
    }
    /* SCIENCE sections 1 and 3.2: tokens, types and types that occur once, as downloaded. */
    struct spec spec = make_spec(VARIANT_RAW);
    spec.groups.size = 100;
    struct dataset *dataset;
    assert_int_equal(dataset_open(&spec, text, gpt2, &dataset, &err), 0);
    assert_int_equal(dataset->frequency.total, 158350);
    assert_int_equal(dataset->frequency.types, 10273);
    assert_int_equal(dataset->frequency.once, 3614);
    dataset_close(dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ids_counts_and_groups, reset),
        cmocka_unit_test_setup(variants, reset),
        cmocka_unit_test_setup(shuffling_keeps_counts_and_groups, reset),
        cmocka_unit_test_setup(shuffling_is_uniform, reset),
        cmocka_unit_test_setup(synthetic_corpus, reset),
        cmocka_unit_test_setup(faults_under_their_pointers, reset),
        cmocka_unit_test_setup(text_that_is_not_there, reset),
        cmocka_unit_test_setup(bad_fields_together, reset),
        cmocka_unit_test_setup(gulliver, reset),
    };
    return cmocka_run_group_tests(tests, open_gpt2, close_gpt2);
}
