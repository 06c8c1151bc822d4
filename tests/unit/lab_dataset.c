/* Data sets: a text file becomes ids, counts and groups; variants, shuffling and the
 * synthetic corpus; every error of text or spec has its pointer. */
#include <ctype.h>
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
#include "lab/random.h"
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
        .groups = {.size = 1, .ties = TIE_BREAK_ID},
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
        const struct sampler_text text = dataset_text(dataset, NULL);
        assert_int_equal(sampler_open(&spec, &text, &sampler, &err), 0);
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
         "must be below the 10 tokens of the text"},
        {sentence, sizeof sentence - 1, VARIANT_RAW, 4, 3, "/groups/size",
         "at most 2 is possible: half of the 4 tokens that the text uses"},
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
    spec.model.n_cutoffs = 2;
    spec.model.cutoffs[0] = 50256;
    spec.model.cutoffs[1] = 50257;
    spec.groups.size = 3;
    spec.groups.n_custom = 1;
    spec.groups.custom[0] = (struct spec_custom){.name = "c", .n_tokens = 1, .tokens = &token};
    struct dataset *dataset;
    assert_int_equal(dataset_open(&spec, path, gpt2, &dataset, &err), -1);
    static const char *const pointers[] = {"/model/cutoffs/1", "/groups/size",
                                           "/groups/custom/0/tokens/0", "/model/seq_len"};
    assert_int_equal(err.n_fields, 4);
    for (int i = 0; i < 4; i++)
        assert_string_equal(err.fields[i].pointer, pointers[i]);
}

/* A body of n words, each one token. */
static void write_book(int n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("*** START OF THE PROJECT GUTENBERG EBOOK X ***\n", file);
    for (int i = 0; i < n; i++)
        fprintf(file, " %s", i % 3 ? "the" : i % 2 ? "quick" : "fox");
    fputs("\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\n", file);
    assert_int_equal(fclose(file), 0);
}

/* Every position of the text by itself: block number, held out or not. */
static void held_out_blocks(void **state)
{
    (void)state;
    static const int words[] = {5000, 4096, 4095, 2047, 3072};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (int k = 2; k <= 4; k++) {
            struct spec spec = make_spec(VARIANT_BODY);
            write_book(words[i]);
            struct dataset *whole = open_dataset(&spec);
            spec.data.holdout = k;
            const int has_block = whole->n >= (size_t)(k - 1) * 1024 + 5;
            struct dataset *dataset = NULL;
            err_clear(&err);
            assert_int_equal(dataset_open(&spec, path, gpt2, &dataset, &err), has_block ? 0 : -1);
            if (!has_block) {
                assert_int_equal(err.n_fields, 1);
                assert_string_equal(err.fields[0].pointer, "/data/holdout");
                /* The other errors of the spec are reported with it. */
                spec.model.n_cutoffs = 1;
                spec.model.cutoffs[0] = 50257;
                err_clear(&err);
                assert_int_equal(dataset_open(&spec, path, gpt2, &dataset, &err), -1);
                assert_int_equal(err.n_fields, 2);
                assert_string_equal(err.fields[1].pointer, "/model/cutoffs/0");
                dataset_close(whole);
                continue;
            }
            size_t n = 0, n_held_out = 0;
            int64_t counts = 0;
            for (size_t at = 0; at < whole->n; at++) {
                const int is_out = (int)(at / 1024) % k == k - 1;
                if (is_out)
                    assert_int_equal(dataset->held_out[n_held_out++], whole->ids[at]);
                else
                    assert_int_equal(dataset->ids[n++], whole->ids[at]);
                counts += !is_out && whole->ids[at] == whole->ids[1];
            }
            assert_int_equal(dataset->n, n);
            assert_int_equal(dataset->n_held_out, n_held_out);
            assert_int_equal(dataset->segment, (k - 1) * 1024);
            assert_int_equal(dataset->frequency.total, n);
            assert_int_equal(dataset->frequency.counts[whole->ids[1]], counts);
            dataset_close(dataset);
            dataset_close(whole);
        }
}

/* A body of words that occur everywhere, and of others of several tokens that occur within a
 * few words of each other, also on both sides of an edge. */
static void write_words(int n)
{
    static const char *const usual[] = {"the", "The", "Fox", "fox's", "1726,", "\"quick\""};
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("*** START OF THE PROJECT GUTENBERG EBOOK X ***\n", file);
    for (int i = 0; i < n; i++) {
        char word[8] = "";
        const uint64_t draw = random_below(5, RANDOM_TOKENS, (uint64_t)i, 12);
        for (int c = 0; draw >= 6 && c < 6; c++)
            word[c] = "xqzvkj"[random_below(6, RANDOM_TOKENS, (uint64_t)(i / 3 * 8 + c), 6)];
        fprintf(file, "%s%s", i % 11 ? " " : "\n", draw < 6 ? usual[draw] : word);
    }
    fputs("\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\n", file);
    assert_int_equal(fclose(file), 0);
}

/* A run of ASCII letters, and the tokens that have some of its bytes. */
struct run {
    const char *bytes;
    size_t n, first, last;
};

static int list_runs(const struct dataset *dataset, char *text, struct run *runs)
{
    size_t at = 0, length;
    int n = 0, inside = 0;
    for (size_t token = 0; token < dataset->n; token++) {
        const char *bytes = bpe_token(gpt2, dataset->ids[token], &length);
        for (size_t i = 0; i < length; i++, at++) {
            text[at] = bytes[i];
            const int letter = isalpha((unsigned char)bytes[i]) != 0;
            if (letter && !inside)
                runs[n++] = (struct run){text + at, 0, token, token};
            if (letter)
                runs[n - 1].n++, runs[n - 1].last = token;
            inside = letter;
        }
    }
    return n;
}

/* -1: in both parts; else 1 if the run is held out. */
static int part_of(const struct run *run, int k)
{
    const int first = (int)(run->first / 1024) % k == k - 1,
              last = (int)(run->last / 1024) % k == k - 1;
    return first == last ? first : -1;
}

static int is_in_training(const struct run *word, const struct run *runs, int n, int k)
{
    for (int i = 0; i < n; i++)
        if (part_of(&runs[i], k) == 0 && runs[i].n == word->n &&
            memcmp(runs[i].bytes, word->bytes, word->n) == 0)
            return 1;
    return 0;
}

/* Every token of the held-out part, against runs of letters found in the text. */
static void words_of_the_held_out_part(void **state)
{
    (void)state;
    enum { WORDS = 4000 };
    static char text[40 * WORDS];
    static struct run runs[2 * WORDS];
    static uint8_t bits[20 * WORDS];
    int cut = 0, kinds[2] = {0};
    write_words(WORDS);
    for (int k = 2; k <= 5; k++) {
        struct spec spec = make_spec(VARIANT_BODY);
        struct dataset *whole = open_dataset(&spec);
        assert_null(whole->held_out_words);
        const int n = list_runs(whole, text, runs);
        memset(bits, 0, sizeof bits);
        for (int i = 0; i < n; i++) {
            const int part = part_of(&runs[i], k);
            cut += part < 0;
            if (part != 1)
                continue;
            const int seen = is_in_training(&runs[i], runs, n, k);
            kinds[seen]++;
            for (size_t t = runs[i].first; t <= runs[i].last; t++)
                bits[t] = seen ? DATASET_WORD_SEEN : DATASET_WORD_UNSEEN;
            bits[runs[i].first] |= DATASET_WORD_FIRST;
            bits[runs[i].last] |= DATASET_WORD_LAST;
        }
        spec.data.holdout = k;
        for (int used = 0; used < 2; used++) {
            spec.corpus.vocabulary = used ? VOCABULARY_USED : VOCABULARY_ALL;
            struct dataset *dataset = open_dataset(&spec);
            size_t held = 0;
            for (size_t t = 0; t < whole->n; t++)
                if ((int)(t / 1024) % k == k - 1)
                    assert_int_equal(dataset->held_out_words[held++], bits[t]);
            assert_int_equal(held, dataset->n_held_out);
            dataset_close(dataset);
        }
        spec.corpus.shuffled = 1;
        struct dataset *shuffled = open_dataset(&spec);
        assert_null(shuffled->held_out_words);
        dataset_close(shuffled);
        dataset_close(whole);
    }
    assert_true(cut > 0 && kinds[0] > 20 && kinds[1] > 20);
}

/* Permuting moves no token between the two parts. */
static void shuffling_keeps_parts(void **state)
{
    (void)state;
    struct spec spec = make_spec(VARIANT_BODY);
    write_book(5000);
    spec.data.holdout = 3;
    struct dataset *plain = open_dataset(&spec);
    spec.corpus.shuffled = 1;
    struct dataset *shuffled = open_dataset(&spec);
    assert_int_equal(plain->n, shuffled->n);
    assert_memory_not_equal(plain->ids, shuffled->ids, plain->n * sizeof *plain->ids);
    assert_memory_not_equal(plain->held_out, shuffled->held_out,
                            plain->n_held_out * sizeof *plain->held_out);
    assert_memory_equal(plain->frequency.counts, shuffled->frequency.counts,
                        (size_t)plain->vocab * sizeof *plain->frequency.counts);
    struct frequency before, after;
    assert_int_equal(
        frequency_count(plain->held_out, plain->n_held_out, plain->vocab, &before, &err), 0);
    assert_int_equal(
        frequency_count(shuffled->held_out, shuffled->n_held_out, plain->vocab, &after, &err), 0);
    assert_memory_equal(before.counts, after.counts, (size_t)plain->vocab * sizeof *before.counts);
    frequency_free(&before);
    frequency_free(&after);
    dataset_close(plain);
    dataset_close(shuffled);
}

/* A pruned data set equals the whole one with its ids replaced by their ranks. */
static void pruned_vocabulary(void **state)
{
    (void)state;
    char text[] = "x one two three four five one two three four five\n";
    struct spec_token token = {-1, (char[]){" two"}}, absent = {-1, (char[]){" seven"}};
    write_text(text, strlen(text));
    struct spec spec = make_spec(VARIANT_RAW);
    spec.groups.size = 2;
    spec.groups.n_custom = 1;
    spec.groups.custom[0] = (struct spec_custom){.name = "c", .n_tokens = 1, .tokens = &token};
    struct dataset *whole = open_dataset(&spec);
    spec.corpus.vocabulary = VOCABULARY_USED;
    struct dataset *pruned = open_dataset(&spec);
    assert_int_equal(pruned->vocab, whole->frequency.types);
    assert_int_equal(pruned->frequency.types, whole->frequency.types);
    assert_int_equal(pruned->frequency.vocab, pruned->vocab);
    assert_int_equal(pruned->n, whole->n);
    for (size_t i = 0; i < whole->n; i++)
        assert_int_equal(dataset_original(pruned, pruned->ids[i]), whole->ids[i]);
    for (int id = 0; id < pruned->vocab; id++) {
        assert_true(id == 0 || pruned->original[id] > pruned->original[id - 1]);
        assert_int_equal(pruned->frequency.counts[id],
                         whole->frequency.counts[pruned->original[id]]);
    }
    assert_int_equal(pruned->groups.n, 4);
    assert_int_equal(pruned->groups.group[2].n, 0);
    assert_int_equal(pruned->groups.n_tokens, 5);
    for (int g = 0; g < 4; g++)
        for (int i = 0; i < pruned->groups.group[g].n; i++)
            assert_int_equal(dataset_original(pruned, pruned->groups.group[g].ids[i]),
                             whole->groups.group[g].ids[i]);
    dataset_close(pruned);
    spec.groups.custom[0].tokens = &absent;
    assert_int_equal(dataset_open(&spec, path, gpt2, &pruned, &err), -1);
    assert_string_equal(err.fields[0].pointer, "/groups/custom/0/tokens/0");
    assert_non_null(strstr(err.fields[0].detail, "never uses token"));
    dataset_close(whole);
}

/* A token that only the held-out part has stays in the vocabulary, as never used. */
static void pruned_with_holdout(void **state)
{
    (void)state;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("*** START OF THE PROJECT GUTENBERG EBOOK X ***\n", file);
    for (int i = 0; i < 2048; i++)
        fputs(i == 1500 ? " gull" : i % 4 == 0 ? " fox" : i % 4 == 1 ? " the" : " a", file);
    fputs("\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\n", file);
    assert_int_equal(fclose(file), 0);
    struct spec spec = make_spec(VARIANT_BODY);
    spec.data.holdout = 2;
    spec.corpus.vocabulary = VOCABULARY_USED;
    spec.groups.size = 1;
    struct dataset *dataset = open_dataset(&spec);
    assert_int_equal(dataset->vocab, dataset->frequency.types + 1);
    assert_int_equal(dataset->groups.group[2].n, 1);
    const int32_t gull = dataset->groups.group[2].ids[0];
    size_t n;
    const char *bytes = bpe_token(gpt2, dataset_original(dataset, gull), &n);
    assert_int_equal(n, 5);
    assert_memory_equal(bytes, " gull", 5);
    dataset_close(dataset);
}

static void pruned_synthetic(void **state)
{
    (void)state;
    struct spec spec = make_spec(VARIANT_LF);
    strcpy(spec.corpus.id, TEXT_SYNTHETIC);
    struct dataset *whole, *pruned;
    assert_int_equal(dataset_open(&spec, NULL, NULL, &whole, &err), 0);
    spec.corpus.vocabulary = VOCABULARY_USED;
    assert_int_equal(dataset_open(&spec, NULL, NULL, &pruned, &err), 0);
    assert_int_equal(pruned->vocab, 10270);
    assert_int_equal(pruned->frequency.vocab, 10270);
    for (int id = 0; id < pruned->vocab; id++)
        assert_int_equal(pruned->frequency.counts[id],
                         whole->frequency.counts[pruned->original[id]]);
    const struct sampler_text of_whole = dataset_text(whole, NULL),
                              text = dataset_text(pruned, NULL);
    struct sampler *a, *b;
    int32_t inputs[8], targets[8], other[8];
    assert_int_equal(sampler_open(&spec, &of_whole, &a, &err), 0);
    assert_int_equal(sampler_open(&spec, &text, &b, &err), 0);
    sampler_batch(a, 7, inputs, targets);
    sampler_batch(b, 7, other, targets);
    for (int i = 0; i < 8; i++)
        assert_int_equal(dataset_original(pruned, other[i]), inputs[i]);
    sampler_close(a);
    sampler_close(b);
    dataset_close(whole);
    dataset_close(pruned);
    spec.data.holdout = 2;
    assert_int_equal(dataset_open(&spec, NULL, NULL, &whole, &err), -1);
    assert_string_equal(err.fields[0].pointer, "/data/holdout");
}

static void gulliver(void **state)
{
    (void)state;
    char text[4096];
    const char *folders = getenv("TOKENFATE_CORPUS_PATH");
    if (text_find(folders ? folders : "corpora", "gulliver", text, sizeof text, &err)) {
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
        cmocka_unit_test_setup(held_out_blocks, reset),
        cmocka_unit_test_setup(words_of_the_held_out_part, reset),
        cmocka_unit_test_setup(shuffling_keeps_parts, reset),
        cmocka_unit_test_setup(pruned_vocabulary, reset),
        cmocka_unit_test_setup(pruned_with_holdout, reset),
        cmocka_unit_test_setup(pruned_synthetic, reset),
        cmocka_unit_test_setup(gulliver, reset),
    };
    return cmocka_run_group_tests(tests, open_gpt2, close_gpt2);
}
