/* Fuzzes the tokenizer from both ends. The first byte chooses: even, the rest is
 * a text for GPT-2's table, whose tokens must spell it again, and of which a
 * refusal must name the first bad byte; odd, the rest is a rank table behind a
 * right checksum, which must be refused or encode a text that it spells again. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab/bpe.h"
#include "lab/text.h"
#include "tests/fuzz/seed.h"

static struct bpe *gpt2;
static char folder[64], tokenizers[96], table_path[128];

static void remove_folder(void)
{
    bpe_close(gpt2);
    unlink(table_path);
    rmdir(tokenizers);
    rmdir(folder);
}

/* A whole table: single bytes and one merge. */
static void seed_table(int argc, char **argv)
{
    static unsigned char seed[4096];
    static const char pattern[8] = "\\p{L}+|.";
    uint32_t header[] = {257, 258, sizeof pattern}, offset = 0;
    size_t n = 0;
    seed[n++] = 1;
    memcpy(seed + n, header, sizeof header);
    n += sizeof header;
    memcpy(seed + n, pattern, sizeof pattern);
    n += sizeof pattern;
    for (int id = 0; id <= 258; id++, n += sizeof offset) {
        memcpy(seed + n, &offset, sizeof offset);
        offset += id < 256 ? 1 : 2;
    }
    for (int byte = 0; byte < 256; byte++)
        seed[n++] = (unsigned char)byte;
    memcpy(seed + n, "thS!", 4);
    seed_write(argc, argv, 100, seed, n + 4);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const texts[] = {"0Hello world, it's 1726.\r\n\r\n  Lilliput",
                                        "0na\u00efve \u4f60\u597d \U0001f642 \ufeff x",
                                        "0 \xc2\x85 \xe1\xa0\x8e\xc2\xa0 <|endoftext|>",
                                        "0aaaaaaaaaaaaaaaaaaaaaaaaaaa!!!!!!!!\n\n\n",
                                        "0caf\xc3",
                                        "0\xed\xa0\x80\xf4\x90\x80\x80"};
    struct err err = ERR_INIT;
    const char *share = getenv("TOKENFATE_SHARE");
    for (int i = 0; i < (int)(sizeof texts / sizeof *texts); i++)
        seed_write(*argc, *argv, i, texts[i], strlen(texts[i]));
    seed_table(*argc, *argv);
    if (bpe_open(share != NULL ? share : "build/share", "gpt2", &gpt2, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    strcpy(folder, "/tmp/tokenfate-fuzz-XXXXXX");
    FUZZ_REQUIRE(mkdtemp(folder) != NULL);
    snprintf(tokenizers, sizeof tokenizers, "%s/tokenizers", folder);
    snprintf(table_path, sizeof table_path, "%s/fuzz.bpe", tokenizers);
    FUZZ_REQUIRE(mkdir(tokenizers, 0700) == 0);
    atexit(remove_folder);
    return 0;
}

static void check_spelling(const struct bpe *bpe, const int32_t *ids, size_t n_ids,
                           const char *bytes, size_t n)
{
    size_t at = 0, length;
    for (size_t i = 0; i < n_ids; i++) {
        const char *token = bpe_token(bpe, ids[i], &length);
        FUZZ_REQUIRE(token != NULL && length <= n - at);
        FUZZ_REQUIRE(memcmp(token, bytes + at, length) == 0);
        at += length;
    }
    FUZZ_REQUIRE(at == n);
}

/* Encode an exact copy, so that a read behind its end is seen. */
static int encode(const struct bpe *bpe, const void *bytes, size_t n, struct err *err)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    char *copy = malloc(n + (n == 0));
    FUZZ_REQUIRE(copy != NULL);
    if (n > 0)
        memcpy(copy, bytes, n);
    err_clear(err);
    int failed = bpe_encode(bpe, copy, n, &ids, &n_ids, err);
    if (!failed)
        check_spelling(bpe, ids, n_ids, copy, n);
    free(ids);
    free(copy);
    return failed;
}

static void fuzz_text(const uint8_t *data, size_t n)
{
    struct err err = ERR_INIT;
    size_t offset;
    if (encode(gpt2, data, n, &err) == 0)
        return;
    FUZZ_REQUIRE(err.code == ERR_INVALID);
    FUZZ_REQUIRE(sscanf(err.message, "byte %zu ", &offset) == 1 && offset < n);
    FUZZ_REQUIRE(encode(gpt2, data, offset, &err) == 0);
}

static void write_table(const uint8_t *data, size_t n)
{
    uint32_t hash = 0x811c9dc5u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ data[i]) * 0x01000193u;
    FILE *file = fopen(table_path, "wb");
    FUZZ_REQUIRE(file != NULL);
    fwrite("TFBPE1\n\0", 1, 8, file);
    fwrite(&hash, sizeof hash, 1, file);
    fwrite(data, 1, n, file);
    fclose(file);
}

static void fuzz_table(const uint8_t *data, size_t n)
{
    static const char text[] = "the three 3 th\u00e9\n";
    struct err err = ERR_INIT;
    struct bpe *bpe = NULL;
    write_table(data, n);
    if (bpe_open(folder, "fuzz", &bpe, &err) != 0) {
        FUZZ_REQUIRE(bpe == NULL && err.code == ERR_CORRUPT);
        return;
    }
    encode(bpe, text, sizeof text - 1, &err);
    bpe_close(bpe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    if (data[0] % 2 == 0)
        fuzz_text(data + 1, n - 1);
    else
        fuzz_table(data + 1, n - 1);
    return 0;
}
