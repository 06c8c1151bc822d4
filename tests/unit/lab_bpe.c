/* Tokenizer: golden ids of GPT-2 (made with js-tiktoken), merging against a plain quadratic
 * version on random small tables, long pieces, malformed text, and rank tables with every
 * byte damaged or with wrong sizes. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lab/bpe.h"
#include "lab/random.h"

static struct err err;
static struct bpe *gpt2;
static char folder[64], small_path[128];

static const char *share(void)
{
    const char *path = getenv("TOKENFATE_SHARE");
    return path != NULL ? path : "build/share";
}

static int open_gpt2(void **state)
{
    (void)state;
    char tokenizers[96];
    err_clear(&err);
    strcpy(folder, "/tmp/tokenfate-bpe-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(tokenizers, sizeof tokenizers, "%s/tokenizers", folder);
    snprintf(small_path, sizeof small_path, "%s/small.bpe", tokenizers);
    if (mkdir(tokenizers, 0700) != 0)
        return -1;
    if (bpe_open(share(), "gpt2", &gpt2, &err) == 0)
        return 0;
    fprintf(stderr, "%s\n", err.message);
    return -1;
}

static int close_gpt2(void **state)
{
    (void)state;
    bpe_close(gpt2);
    unlink(small_path);
    *strrchr(small_path, '/') = '\0';
    return rmdir(small_path) != 0 || rmdir(folder) != 0;
}

static int reset(void **state)
{
    (void)state;
    err_clear(&err);
    return 0;
}

struct ids {
    int32_t *id;
    size_t n;
};

static struct ids encode(const struct bpe *bpe, const char *bytes, size_t n)
{
    struct ids ids;
    if (bpe_encode(bpe, bytes, n, &ids.id, &ids.n, &err) != 0)
        fail_msg("%s", err.message);
    return ids;
}

/* The concatenated bytes of the tokens must be the text. */
static void assert_spells(const struct bpe *bpe, const struct ids *ids, const char *bytes, size_t n)
{
    size_t at = 0, length;
    for (size_t i = 0; i < ids->n; i++) {
        const char *token = bpe_token(bpe, ids->id[i], &length);
        assert_non_null(token);
        assert_true(length <= n - at);
        assert_memory_equal(token, bytes + at, length);
        at += length;
    }
    assert_int_equal(at, n);
}

/* ---- GPT-2 ---- */

/* U+0085 and U+180E are not white space here and U+FEFF is, as in js-tiktoken:
 * " \u0085x" is one piece and an x, " \ufeffx" a space, a mark and an x. */
static void golden_ids(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int n;
        int32_t ids[16];
    } cases[] = {
        {"", 0, {0}},
        {"Hello world", 2, {15496, 995}},
        {"Hello  world\n\n  end", 6, {15496, 220, 995, 628, 220, 886}},
        {"I'll say it's 1726, isn't it?",
         12,
         {40, 1183, 910, 340, 338, 1596, 2075, 11, 2125, 470, 340, 30}},
        {"na\u00efve caf\u00e9 \u4f60\u597d \U0001f642",
         9,
         {2616, 38776, 40304, 220, 19526, 254, 25001, 121, 32485}},
        {"<|endoftext|>", 7, {27, 91, 437, 1659, 5239, 91, 29}},
        {"aaaaaaaaaaaaaaaa", 4, {24794, 24794, 24794, 24794}},
        {" \u00a0x", 3, {220, 1849, 87}},
        {"\xc2\x85", 2, {126, 227}},
        {" \xc2\x85x", 3, {1587, 227, 87}},
        {"a\xc2\x85\xc2\x85"
         "b",
         6,
         {64, 126, 227, 126, 227, 65}},
        {"\u180e", 3, {157, 254, 236}},
        {" \u180ex", 4, {28053, 254, 236, 87}},
        {"a\u180e\u180eb", 8, {64, 157, 254, 236, 157, 254, 236, 65}},
        {"\ufeff", 3, {171, 119, 123}},
        {"\ufeffThe Project", 5, {171, 119, 123, 464, 4935}},
        {" \ufeffx", 5, {220, 171, 119, 123, 87}},
        {"a\ufeff\ufeffb", 8, {64, 171, 119, 123, 171, 119, 123, 65}},
        {"  \ufeff x", 5, {220, 27332, 119, 123, 2124}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ids ids = encode(gpt2, cases[i].text, strlen(cases[i].text));
        if (ids.n != (size_t)cases[i].n)
            fail_msg("\"%s\": %zu tokens, not %d", cases[i].text, ids.n, cases[i].n);
        assert_memory_equal(ids.id, cases[i].ids, ids.n * sizeof *ids.id);
        assert_spells(gpt2, &ids, cases[i].text, strlen(cases[i].text));
        free(ids.id);
    }
}

/* Golden ids made with js-tiktoken, as for gpt2. */
static void cl100k(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int n;
        int32_t ids[16];
    } cases[] = {
        {"Hello  world\n\n  end", 6, {9906, 220, 1917, 271, 220, 842}},
        {"I'll say it's 1726, isn't it?",
         13,
         {40, 3358, 2019, 433, 596, 220, 10861, 21, 11, 4536, 956, 433, 30}},
        {"na\u00efve caf\u00e9 \u4f60\u597d \U0001f642",
         8,
         {3458, 38672, 588, 53050, 220, 57668, 53901, 28584}},
        {"<|endoftext|>", 7, {27, 91, 8862, 728, 428, 91, 29}},
        {"\ufeffThe Project", 3, {3305, 791, 5907}},
        {" \xc2\x85x", 3, {2188, 227, 87}},
        {"'LL 123456!!\n\n x", 7, {6, 4178, 220, 4513, 10961, 25833, 865}},
    };
    struct bpe *bpe = NULL;
    size_t n = 0;
    int empty = 0;
    if (bpe_open(share(), "cl100k_base", &bpe, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ids ids = encode(bpe, cases[i].text, strlen(cases[i].text));
        assert_int_equal(ids.n, cases[i].n);
        assert_memory_equal(ids.id, cases[i].ids, ids.n * sizeof *ids.id);
        assert_spells(bpe, &ids, cases[i].text, strlen(cases[i].text));
        free(ids.id);
    }
    assert_int_equal(bpe_vocabulary(bpe), 100277);
    for (int32_t id = 0; id < 100277; id++)
        empty += bpe_token(bpe, id, &n) == NULL;
    assert_int_equal(empty, 16);
    bpe_close(bpe);
}

static void bytes_are_their_own_ids(void **state)
{
    (void)state;
    char text[2 * 0x800];
    size_t n = 0, length;
    struct bpe *bpe = NULL;
    if (bpe_open(share(), "bytes", &bpe, &err))
        fail_msg("%s", err.message);
    assert_int_equal(bpe_vocabulary(bpe), 256);
    for (int c = 0; c < 0x800; c++) {
        if (c >= 0x80)
            text[n++] = (char)(0xc0 | c >> 6);
        text[n++] = (char)(c < 0x80 ? c : 0x80 | (c & 0x3f));
    }
    struct ids ids = encode(bpe, text, n);
    assert_int_equal(ids.n, n);
    for (size_t i = 0; i < n; i++) {
        const char *bytes = bpe_token(bpe, ids.id[i], &length);
        assert_int_equal(ids.id[i], (unsigned char)text[i]);
        assert_true(length == 1 && *bytes == text[i]);
    }
    free(ids.id);
    bpe_close(bpe);
}

static void vocabulary(void **state)
{
    (void)state;
    size_t n = 0, longest = 0;
    assert_int_equal(bpe_vocabulary(gpt2), 50257);
    for (int32_t id = 0; id < 50257; id++) {
        assert_non_null(bpe_token(gpt2, id, &n));
        longest = n > longest ? n : longest;
    }
    assert_int_equal(longest, 128);
    assert_memory_equal(bpe_token(gpt2, 50256, &n), "<|endoftext|>", 13);
    assert_int_equal(n, 13);
    n = 99;
    assert_null(bpe_token(gpt2, -1, &n));
    assert_null(bpe_token(gpt2, 50257, &n));
    assert_null(bpe_token(gpt2, INT32_MAX, &n));
    assert_null(bpe_token(gpt2, INT32_MIN, &n));
    assert_int_equal(n, 99);
}

static void malformed_text_names_the_byte(void **state)
{
    (void)state;
    int32_t *ids = (int32_t *)folder;
    size_t n_ids = 77;
    assert_int_equal(bpe_encode(gpt2, "Yahoo \xe2\x82 and", 12, &ids, &n_ids, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.message, "byte 6 (0xe2) is not UTF-8");
    assert_ptr_equal(ids, folder);
    assert_int_equal(n_ids, 77);
}

static char *repeated(const char *unit, size_t times)
{
    size_t length = strlen(unit);
    char *bytes = malloc(times * length + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < times; i++)
        memcpy(bytes + i * length, unit, length + 1);
    return bytes;
}

/* A quadratic merge of 1 MiB would take hours, not seconds. */
static void long_pieces_stay_fast(void **state)
{
    (void)state;
    static const char *const units[] = {"a",  "ab",   "\u00e9", "!",         " ",
                                        "\n", "\r\n", "7",      "\U0001f642"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t n = (1 << 20) / strlen(units[i]) * strlen(units[i]);
        char *bytes = repeated(units[i], n / strlen(units[i]));
        clock_t start = clock();
        struct ids ids = encode(gpt2, bytes, n);
        assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
        assert_spells(gpt2, &ids, bytes, n);
        free(ids.id);
        free(bytes);
    }
}

/* Words of a text under the patterns of GPT-2 and cl100k_base, between bars, each with the
 * number of tokens of its piece. */
static void words_of_a_text(void **state)
{
    (void)state;
    static const struct {
        const char *tokenizer, *text, *words;
    } cases[] = {
        {"gpt2", "My father's  farm,(1726) \u00c9t\u00e9 x2", "|My|father|s|farm|\u00c9t\u00e9|x|"},
        {"gpt2", " Houyhnhnm Houyhnhnm", "|Houyhnhnm|Houyhnhnm|"},
        {"gpt2", "\"Yahoo\" (_yahoo_)\n\tno", "|Yahoo|yahoo|no|"},
        {"cl100k_base", "\"Yahoo\" (_yahoo_)\n\tno", "|Yahoo|yahoo|no|"},
        {"gpt2", "1, 2; 3!\n", "|"},
        {"gpt2", "", "|"},
        {"bytes", "My father", "|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bpe *bpe;
        struct ids ids, plain;
        struct bpe_word *words;
        size_t n_words, n = strlen(cases[i].text), end = 1;
        char got[128] = "|";
        assert_int_equal(bpe_open(share(), cases[i].tokenizer, &bpe, &err), 0);
        assert_int_equal(
            bpe_encode_words(bpe, cases[i].text, n, &ids.id, &ids.n, &words, &n_words, &err), 0);
        plain = encode(bpe, cases[i].text, n);
        assert_int_equal(ids.n, plain.n);
        assert_memory_equal(ids.id, plain.id, ids.n * sizeof *ids.id);
        for (const struct bpe_word *word = words; word < words + n_words; word++) {
            size_t before = 0, spelt = 0, length;
            for (uint32_t t = 0; t < word->token + word->tokens; t++) {
                assert_non_null(bpe_token(bpe, ids.id[t], &length));
                *(t < word->token ? &before : &spelt) += length;
            }
            assert_true(before <= word->byte); /* the space in front is in the first token */
            assert_int_equal(before + spelt, word->byte + word->bytes);
            memcpy(got + end, cases[i].text + word->byte, word->bytes);
            end += word->bytes;
            got[end++] = '|';
        }
        assert_string_equal(got, cases[i].words);
        free(ids.id), free(plain.id), free(words);
        bpe_close(bpe);
    }
}

static void limit_of_a_piece(void **state)
{
    (void)state;
    char *bytes = repeated(" ", BPE_PIECE_BYTES_MAX + 5);
    memcpy(bytes, "word", 4);
    struct ids ids = encode(gpt2, bytes, BPE_PIECE_BYTES_MAX + 4);
    assert_spells(gpt2, &ids, bytes, BPE_PIECE_BYTES_MAX + 4);
    free(ids.id);
    assert_int_equal(bpe_encode(gpt2, bytes, BPE_PIECE_BYTES_MAX + 5, &ids.id, &ids.n, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_non_null(strstr(err.message, "byte 4 "));
    free(bytes);
}

static void *encode_thread(void *text)
{
    int32_t *ids = NULL;
    size_t n_ids = 0, sum = 0;
    if (bpe_encode(gpt2, text, strlen(text), &ids, &n_ids, NULL) != 0)
        return NULL;
    for (size_t i = 0; i < n_ids; i++)
        sum += (size_t)ids[i];
    free(ids);
    return (void *)sum; /* only compared, never followed */
}

static void threads_share_a_table(void **state)
{
    (void)state;
    pthread_t threads[4];
    char *text = repeated("Tolland, the Brobdingnagian \u2014 1726! ", 2000);
    void *expected = encode_thread(text), *got;
    assert_non_null(expected);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_thread, text), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &got), 0);
        assert_ptr_equal(got, expected);
    }
    free(text);
}

/* ---- small tables made here ---- */

enum { SMALL_MAX = 8192 };

struct small {
    unsigned char bytes[SMALL_MAX];
    size_t n;
};

static void put(struct small *small, const void *bytes, size_t n)
{
    assert_true(n <= SMALL_MAX - small->n);
    memcpy(small->bytes + small->n, bytes, n);
    small->n += n;
}

static void put_u32(struct small *small, uint32_t value)
{
    put(small, &value, sizeof value);
}

static void seal(struct small *small)
{
    uint32_t hash = 0x811c9dc5u;
    for (size_t i = 12; i < small->n; i++)
        hash = (hash ^ small->bytes[i]) * 0x01000193u;
    memcpy(small->bytes + 8, &hash, sizeof hash);
}

/* 256 single bytes, then these tokens with ranks, then one special "S". */
static void make_small(struct small *small, const char *pattern, const char *const *tokens, int n)
{
    uint32_t length = (uint32_t)strlen(pattern), at = 0, ranks = 256 + (uint32_t)n;
    small->n = 0;
    put(small, "TFBPE1\n\0----", 12);
    put_u32(small, ranks);
    put_u32(small, ranks + 1);
    put_u32(small, length);
    put(small, pattern, length);
    put(small, "\0\0\0", -length & 3);
    for (uint32_t id = 0; id <= ranks; id++) {
        put_u32(small, at);
        at += id < 256 || id == ranks ? 1 : (uint32_t)strlen(tokens[id - 256]);
    }
    put_u32(small, at);
    for (int byte = 0; byte < 256; byte++)
        put(small, &(char){(char)byte}, 1);
    for (int i = 0; i < n; i++)
        put(small, tokens[i], strlen(tokens[i]));
    put(small, "S", 1);
    seal(small);
}

static int open_small(const struct small *small, struct bpe **bpe)
{
    FILE *file = fopen(small_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(small->bytes, 1, small->n, file), small->n);
    assert_int_equal(fclose(file), 0);
    err_clear(&err);
    return bpe_open(folder, "small", bpe, &err);
}

static const char any[] = "(?s).+";

/* Plain merging: merge the leftmost pair of lowest rank, start over. */
static size_t merge_plainly(const struct bpe *bpe, const char *piece, size_t n, int32_t *ids)
{
    size_t starts[64], parts = n;
    for (size_t i = 0; i <= n; i++)
        starts[i] = i;
    for (;;) {
        int32_t best = INT32_MAX;
        size_t where = 0;
        for (size_t i = 0; i + 1 < parts; i++)
            for (int32_t id = 256; id < bpe_vocabulary(bpe) - 1 && id < best; id++) {
                size_t length;
                const char *token = bpe_token(bpe, id, &length);
                if (length == starts[i + 2] - starts[i] &&
                    memcmp(token, piece + starts[i], length) == 0) {
                    best = id;
                    where = i;
                }
            }
        if (best == INT32_MAX)
            break;
        memmove(&starts[where + 1], &starts[where + 2], (parts - where - 1) * sizeof *starts);
        parts--;
    }
    for (size_t i = 0; i < parts; i++)
        for (ids[i] = 0;; ids[i]++) {
            size_t length;
            const char *token = bpe_token(bpe, ids[i], &length);
            if (length == starts[i + 1] - starts[i] &&
                memcmp(token, piece + starts[i], length) == 0)
                break;
        }
    return parts;
}

/* Random tables over three letters, tokens of 2 to 5 of them in random order, so
 * that ranks and lengths disagree; random words. */
static void merging_equals_the_plain_way(void **state)
{
    (void)state;
    enum { TABLES = 40, TOKENS = 24, WORDS = 60 };
    uint64_t draw = 0;
#define BELOW(range) random_below(829, RANDOM_TIES, draw++, range)
    for (int table = 0; table < TABLES; table++) {
        char storage[TOKENS][8];
        const char *tokens[TOKENS];
        int n = 0;
        while (n < TOKENS) {
            size_t length = 2 + BELOW(4), twin = 0;
            for (size_t i = 0; i < length; i++)
                storage[n][i] = (char)('a' + BELOW(3));
            storage[n][length] = '\0';
            for (int i = 0; i < n; i++)
                twin |= strcmp(storage[i], storage[n]) == 0;
            tokens[n] = storage[n];
            n += !twin;
        }
        struct small small;
        struct bpe *bpe = NULL;
        make_small(&small, any, tokens, TOKENS);
        if (open_small(&small, &bpe) != 0)
            fail_msg("%s", err.message);
        for (int word = 0; word < WORDS; word++) {
            char piece[48];
            int32_t plain[48];
            size_t length = 6 + BELOW(40); /* longer than any token, so never a token itself */
            for (size_t i = 0; i < length; i++)
                piece[i] = (char)('a' + BELOW(3));
            size_t parts = merge_plainly(bpe, piece, length, plain);
            struct ids ids = encode(bpe, piece, length);
            assert_int_equal(ids.n, parts);
            assert_memory_equal(ids.id, plain, parts * sizeof *plain);
            free(ids.id);
        }
        bpe_close(bpe);
    }
#undef BELOW
}

/* A piece that is itself a token is that token, though merging would not reach
 * it; the special token never comes out. */
static void whole_pieces_come_first(void **state)
{
    (void)state;
    static const char *const tokens[] = {"bc", "abcd"};
    struct small small;
    struct bpe *bpe = NULL;
    make_small(&small, any, tokens, 2);
    assert_int_equal(open_small(&small, &bpe), 0);
    struct ids whole = encode(bpe, "abcd", 4), part = encode(bpe, "abcdS", 5);
    assert_int_equal(whole.n, 1);
    assert_int_equal(whole.id[0], 257);
    assert_int_equal(part.n, 4);
    assert_int_equal(part.id[1], 256);
    assert_int_equal(part.id[3], 'S');
    free(whole.id);
    free(part.id);
    bpe_close(bpe);
}

static void patterns_that_fail(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        enum err_code open, encode;
        const char *says;
    } cases[] = {
        {"(a", "", ERR_CORRUPT, ERR_NONE, "parenthesis"},
        {"\\C", "", ERR_CORRUPT, ERR_NONE, "\\C"},
        {"a", "ab", ERR_NONE, ERR_CORRUPT, "byte 1"},
        {"a*", "aab", ERR_NONE, ERR_CORRUPT, "byte 2"},
        {"a\\Kb", "ab", ERR_NONE, ERR_CORRUPT, "byte 0"},
        {"(?:a+)+b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaacb", ERR_NONE,
         ERR_INTERNAL, "limit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct small small;
        struct bpe *bpe = NULL;
        int32_t *ids = NULL;
        size_t n_ids;
        make_small(&small, cases[i].pattern, NULL, 0);
        assert_int_equal(open_small(&small, &bpe), cases[i].open == ERR_NONE ? 0 : -1);
        assert_int_equal(err.code, cases[i].open);
        if (bpe != NULL)
            assert_int_equal(
                bpe_encode(bpe, cases[i].text, strlen(cases[i].text), &ids, &n_ids, &err), -1);
        assert_int_equal(err.code, bpe != NULL ? cases[i].encode : cases[i].open);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("%s", err.message);
        assert_null(ids);
        bpe_close(bpe);
    }
}

static void every_damaged_byte_is_noticed(void **state)
{
    (void)state;
    static const char *const tokens[] = {"th", "the"};
    struct small good, bad;
    struct bpe *bpe = NULL;
    make_small(&good, any, tokens, 2);
    for (size_t i = 0; i < good.n; i++) {
        bad = good;
        bad.bytes[i] ^= (unsigned char)(1u << i % 8);
        assert_int_equal(open_small(&bad, &bpe), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
    for (size_t n = 0; n < good.n; n += 7) {
        bad = good;
        bad.n = n;
        assert_int_equal(open_small(&bad, &bpe), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
    assert_null(bpe);
}

/* Wrong sizes under a correct checksum: the output of a broken maker. */
static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    enum { RANKS = 12, VOCAB = 16, PATTERN = 20, OFFSETS = 24 + 8, LAST = OFFSETS + 4 * 259 };
    static const struct {
        size_t at;
        uint32_t value;
    } cases[] = {
        {RANKS, 255},
        {RANKS, 260},
        {RANKS, UINT32_MAX},
        {VOCAB, 0},
        {VOCAB, 258},
        {VOCAB, 260},
        {VOCAB, UINT32_MAX},
        {VOCAB, BPE_VOCAB_MAX + 1},
        {VOCAB, BPE_VOCAB_MAX},
        {PATTERN, 0},
        {PATTERN, 4},
        {PATTERN, 9},
        {PATTERN, UINT32_MAX},
        {PATTERN, 4000},
        {PATTERN, 5000},
        {OFFSETS, 1},
        {OFFSETS + 4, 0},
        {OFFSETS + 4, 2},
        {OFFSETS + 400, 999},
        {OFFSETS + 400, UINT32_MAX},
        {LAST, 0},
        {LAST, 261},
        {LAST, 263},
        {LAST, UINT32_MAX},
    };
    static const char *const tokens[] = {"th", "the"};
    struct bpe *bpe = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct small small;
        make_small(&small, any, tokens, 2);
        memcpy(small.bytes + cases[i].at, &cases[i].value, sizeof cases[i].value);
        seal(&small);
        if (open_small(&small, &bpe) == 0)
            fail_msg("accepted: %u at byte %zu", cases[i].value, cases[i].at);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
    static const char *const twins[] = {"th", "th"}, *const empty[] = {"th", ""};
    struct small small;
    make_small(&small, any, twins, 2);
    assert_int_equal(open_small(&small, &bpe), -1);
    assert_non_null(strstr(err.message, "twice"));
    make_small(&small, any, empty, 2);
    assert_int_equal(open_small(&small, &bpe), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    make_small(&small, any, tokens, 2);
    small.bytes[small.n - 6 - 100] = 'q'; /* byte 155 is gone, 'q' is there twice */
    seal(&small);
    assert_int_equal(open_small(&small, &bpe), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_null(bpe);
}

static void a_token_length_has_a_limit(void **state)
{
    (void)state;
    struct small small;
    struct bpe *bpe = NULL;
    char *token = repeated("x", BPE_TOKEN_BYTES_MAX + 1);
    const char *tokens[] = {token};
    make_small(&small, any, tokens, 1);
    assert_int_equal(open_small(&small, &bpe), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    token[BPE_TOKEN_BYTES_MAX] = '\0';
    make_small(&small, any, tokens, 1);
    assert_int_equal(open_small(&small, &bpe), 0);
    bpe_close(bpe);
    free(token);
}

static void tables_that_are_not_there(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "", "../small", "GPT2", "a.b", "/etc/passwd"};
    struct bpe *bpe = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(bpe_open(folder, names[i], &bpe, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_non_null(strstr(err.message, names[i]));
    }
    assert_int_equal(bpe_open(folder, "none", &bpe, &err), -1);
    assert_non_null(strstr(err.message, "make_ranks.mjs"));
    bpe_close(NULL);
    assert_null(bpe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(golden_ids, reset),
        cmocka_unit_test_setup(vocabulary, reset),
        cmocka_unit_test_setup(cl100k, reset),
        cmocka_unit_test_setup(bytes_are_their_own_ids, reset),
        cmocka_unit_test_setup(malformed_text_names_the_byte, reset),
        cmocka_unit_test_setup(long_pieces_stay_fast, reset),
        cmocka_unit_test_setup(words_of_a_text, reset),
        cmocka_unit_test_setup(limit_of_a_piece, reset),
        cmocka_unit_test_setup(threads_share_a_table, reset),
        cmocka_unit_test_setup(merging_equals_the_plain_way, reset),
        cmocka_unit_test_setup(whole_pieces_come_first, reset),
        cmocka_unit_test_setup(patterns_that_fail, reset),
        cmocka_unit_test_setup(every_damaged_byte_is_noticed, reset),
        cmocka_unit_test_setup(impossible_sizes_are_refused, reset),
        cmocka_unit_test_setup(a_token_length_has_a_limit, reset),
        cmocka_unit_test_setup(tables_that_are_not_there, reset),
    };
    return cmocka_run_group_tests_name("lab_bpe", tests, open_gpt2, close_gpt2);
}
