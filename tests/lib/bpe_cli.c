/* bpe_cli: lets tests/api/tokenizer.test.mjs and tests/bench/bpe_bench.mjs call
 * lab/bpe, and ask PCRE2 what it knows of Unicode.
 *
 *   bpe_cli encode NAME       frames in, frames out: u32 length and that many
 *                             bytes of UTF-8; u32 count and that many i32 ids
 *   bpe_cli time NAME FILE    one line of JSON: bytes, tokens, best seconds of
 *                             a pass, seconds of bpe_open
 *   bpe_cli classes           "FROM TO CLASS" for runs of code points, as the
 *                             pattern sees them: L, N, O (other); not assigned: -
 *
 * Rank tables are found below TOKENFATE_SHARE (default build/share). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lab/bpe.h"
#include "lab/text.h"

enum { FRAME_MAX = 64 << 20, CODE_POINTS = 0x110000 };

static int complain(const struct err *err)
{
    fprintf(stderr, "bpe_cli: %s\n", err->message);
    return 1;
}

static int open_table(const char *name, struct bpe **bpe, struct err *err)
{
    const char *share = getenv("TOKENFATE_SHARE");
    return bpe_open(share != NULL ? share : "build/share", name, bpe, err);
}

static int encode_frame(const struct bpe *bpe, uint32_t n, struct err *err)
{
    int32_t *ids = NULL;
    size_t n_ids;
    int result = -1;
    char *bytes = malloc((size_t)n + 1);
    if (bytes == NULL || fread(bytes, 1, n, stdin) != n) {
        err_set(err, ERR_IO, "a frame of %u bytes is cut off", n);
        goto out;
    }
    if (bpe_encode(bpe, bytes, n, &ids, &n_ids, err) < 0)
        goto out;
    uint32_t count = (uint32_t)n_ids;
    if (fwrite(&count, sizeof(count), 1, stdout) != 1 ||
        fwrite(ids, sizeof(*ids), n_ids, stdout) != n_ids) {
        err_set(err, ERR_IO, "standard output is closed");
        goto out;
    }
    result = 0;
out:
    free(bytes);
    free(ids);
    return result;
}

static int run_encode(char **argv)
{
    struct err err = ERR_INIT;
    struct bpe *bpe = NULL;
    uint32_t n;
    int failed = open_table(argv[0], &bpe, &err);
    while (!failed && fread(&n, sizeof(n), 1, stdin) == 1)
        failed = n > FRAME_MAX ? err_set(&err, ERR_TOO_LARGE, "a frame of %u bytes", n)
                               : encode_frame(bpe, n, &err);
    bpe_close(bpe);
    return failed ? complain(&err) : 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run_time(char **argv)
{
    enum { PASSES = 10 };
    struct err err = ERR_INIT;
    struct bpe *bpe = NULL;
    struct text text = {0};
    size_t n_ids = 0;
    double best = 1e30, opened = now();
    int failed = open_table(argv[0], &bpe, &err);
    opened = now() - opened;
    if (!failed)
        failed = text_read(argv[1], &text, &err);
    for (int pass = 0; !failed && pass < PASSES; pass++) {
        int32_t *ids = NULL;
        double start = now();
        failed = bpe_encode(bpe, text.bytes, text.n, &ids, &n_ids, &err);
        double seconds = now() - start;
        best = seconds < best ? seconds : best;
        free(ids);
    }
    if (!failed)
        printf("{\"bytes\": %zu, \"tokens\": %zu, \"seconds\": %.6f, \"open_seconds\": %.6f}\n",
               text.n, n_ids, best, opened);
    text_free(&text);
    bpe_close(bpe);
    return failed ? complain(&err) : 0;
}

static size_t put_utf8(uint32_t c, unsigned char *out)
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)(lead[n] | c);
    return n;
}

static char class_of(const pcre2_code *pattern, pcre2_match_data *match, uint32_t c)
{
    unsigned char bytes[4];
    if (c >= 0xd800 && c <= 0xdfff)
        return '-';
    int rc = pcre2_match(pattern, bytes, put_utf8(c, bytes), 0, 0, match, NULL);
    return rc == 2 ? 'L' : rc == 3 ? 'N' : rc == 4 ? '-' : 'O';
}

static int run_classes(char **argv)
{
    (void)argv;
    int code;
    PCRE2_SIZE at;
    pcre2_code *pattern = pcre2_compile((PCRE2_SPTR) "(\\p{L})|(\\p{N})|(\\p{Cn})",
                                        PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
    pcre2_match_data *match = pcre2_match_data_create(4, NULL);
    if (pattern == NULL || match == NULL)
        return 1;
    char class = class_of(pattern, match, 0);
    for (uint32_t c = 1, from = 0; c <= CODE_POINTS; c++) {
        char next = '\0';
        if (c < CODE_POINTS)
            next = class_of(pattern, match, c);
        if (next != class) {
            printf("%u %u %c\n", from, c - 1, class);
            from = c;
            class = next;
        }
    }
    pcre2_match_data_free(match);
    pcre2_code_free(pattern);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int n_args;
        int (*run)(char **argv);
    } commands[] = {{"encode", 1, run_encode}, {"time", 2, run_time}, {"classes", 0, run_classes}};
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0 && argc == 2 + commands[i].n_args)
            return commands[i].run(argv + 2);
    fprintf(stderr, "usage: bpe_cli encode NAME | time NAME FILE | classes\n");
    return 2;
}
