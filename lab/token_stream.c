/* token_stream: see token_stream.h. Three parts: encoding, writing, mapping. A file is checked in
 * full before anything of it is used: the head against the spec, the length against the head, the
 * digest against the bytes. */
#include "lab/token_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/hash.h"
#include "lab/frequency.h"
#include "lab/text.h"

enum { NAME_MAX_BYTES = 64 }; /* of a file's name, with its zero */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files are read in place");

static const char magic_ids[8] = "TFTOK1\n", magic_words[8] = "TFWRD1\n";

struct head {
    char magic[8];
    uint32_t variant, table, vocab, n_kinds;
    uint64_t n;
    char text[72]; /* corpus.id */
    char tokenizer[24];
};
_Static_assert(sizeof(struct head) == 128, "no padding, so that the head is hashed as it is");
_Static_assert(sizeof(struct token_stream_word) == 12, "words are read in place");
_Static_assert(SPEC_CORPUS_MAX >= 64, "an address is the name of a text");

/* A permuted text has no words. */
static int needs_words(const struct spec *spec)
{
    return spec->data.holdout && !spec->corpus.shuffled;
}

void token_stream_drop_words(struct token_stream *stream)
{
    if (!stream->words_map.bytes)
        free((void *)stream->words);
    file_map_close(&stream->words_map);
    stream->words = NULL;
    stream->n_words = stream->n_kinds = 0;
}

void token_stream_free(struct token_stream *stream)
{
    token_stream_drop_words(stream);
    if (!stream->ids_map.bytes)
        free(stream->ids);
    file_map_close(&stream->ids_map);
    *stream = (struct token_stream){0};
}

/* ---- encoding ---- */

/* Pass on the error of a step: as a bad field if the text or the spec is to blame, else
 * unchanged. */
static int blame(struct err *err, const char *pointer, const struct err *cause)
{
    switch (cause->code) {
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_TOO_LARGE:
        return err_field(err, pointer, "%s", cause->message);
    default:
        return err_set(err, cause->code, "%s", cause->message);
    }
}

/* Table of the words that were met: the first one of each kind, found by its bytes. */
struct kinds {
    const char *text;
    const struct bpe_word *words;
    uint32_t *slots; /* [mask + 1] number of the first word of a kind + 1; 0: free */
    size_t mask;     /* a power of two - 1; at most half of them are taken */
};

/* The slot of a word with these bytes, or the free slot for it. */
static uint32_t *slot_of(const struct kinds *kinds, const struct bpe_word *word)
{
    const char *bytes = kinds->text + word->byte;
    for (size_t i = hash_fnv1a(bytes, word->bytes) & kinds->mask;; i = (i + 1) & kinds->mask) {
        const struct bpe_word *there = kinds->words + kinds->slots[i] - 1;
        if (!kinds->slots[i] || (there->bytes == word->bytes &&
                                 memcmp(kinds->text + there->byte, bytes, word->bytes) == 0))
            return &kinds->slots[i];
    }
}

/* Number the kinds in the order in which they occur. kinds of a word that is not the first of
 * its kind is that of the first, which has been numbered by then. */
static void number_kinds(struct kinds *kinds, size_t n, struct token_stream_word *out,
                         size_t *n_kinds)
{
    *n_kinds = 0;
    for (size_t i = 0; i < n; i++) {
        const struct bpe_word *word = &kinds->words[i];
        uint32_t *slot = slot_of(kinds, word);
        const uint32_t kind = *slot ? out[*slot - 1].kind : (uint32_t)(*n_kinds)++;
        if (!*slot)
            *slot = (uint32_t)i + 1;
        out[i] = (struct token_stream_word){word->token, word->tokens, kind};
    }
}

static int keep_words(const struct text *text, const struct bpe_word *words, size_t n,
                      struct token_stream *out, struct err *err)
{
    struct kinds kinds = {.text = text->bytes, .words = words, .mask = 1};
    while (kinds.mask < 2 * n)
        kinds.mask = 2 * kinds.mask + 1;
    struct token_stream_word *kept = malloc((n + 1) * sizeof *kept);
    kinds.slots = calloc(kinds.mask + 1, sizeof *kinds.slots);
    if (!kept || !kinds.slots) {
        free(kept);
        free(kinds.slots);
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu words", n);
    }
    number_kinds(&kinds, n, kept, &out->n_kinds);
    free(kinds.slots);
    out->words = kept;
    out->n_words = n;
    return 0;
}

static int encode_words(const struct bpe *bpe, const struct text *text, struct token_stream *out,
                        struct err *err)
{
    struct bpe_word *words = NULL;
    size_t n = 0;
    if (bpe_encode_words(bpe, text->bytes, text->n, &out->ids, &out->n, &words, &n, err))
        return -1;
    const int failed = keep_words(text, words, n, out, err);
    free(words);
    return failed;
}

static int encode_text(const struct spec *spec, const char *path, const struct bpe *bpe,
                       struct text *text, struct token_stream *out, struct err *err)
{
    struct err cause = ERR_INIT;
    if (text_read(path, text, &cause) || text_check_utf8(text->bytes, text->n, &cause))
        return blame(err, "/corpus/id", &cause);
    if (text_make_variant(text, spec->corpus.variant, &cause))
        return blame(err, "/corpus/variant", &cause);
    if (needs_words(spec) ? encode_words(bpe, text, out, &cause)
                          : bpe_encode(bpe, text->bytes, text->n, &out->ids, &out->n, &cause))
        return blame(err, "/corpus/id", &cause);
    return 0;
}

int token_stream_encode(const struct spec *spec, const char *path, const struct bpe *bpe,
                        struct token_stream *out, struct err *err)
{
    struct text text = {0};
    struct token_stream stream = {0};
    const int failed = encode_text(spec, path, bpe, &text, &stream, err);
    text_free(&text);
    if (failed) {
        token_stream_free(&stream);
        return -1;
    }
    *out = stream;
    return 0;
}

/* ---- names and heads ---- */

static void file_name(const struct spec *spec, const char *suffix, char name[NAME_MAX_BYTES])
{
    snprintf(name, NAME_MAX_BYTES, "%s.%s%s", spec_variant_name(spec->corpus.variant),
             spec->corpus.tokenizer, suffix);
}

static int file_path(const struct spec *spec, const char *folder, const char *suffix,
                     char path[PATH_MAX])
{
    char name[NAME_MAX_BYTES];
    file_name(spec, suffix, name);
    return snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX;
}

static int is_there(const struct spec *spec, const char *folder, const char *suffix)
{
    char path[PATH_MAX];
    return file_path(spec, folder, suffix, path) && access(path, R_OK) == 0;
}

int token_stream_is_made(const struct spec *spec, const char *folder)
{
    return is_there(spec, folder, "") && (!needs_words(spec) || is_there(spec, folder, ".words"));
}

void token_stream_remove(const struct spec *spec, const char *folder)
{
    static const char *const suffixes[] = {"", ".words"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (file_path(spec, folder, suffixes[i], path))
            unlink(path);
}

static struct head make_head(const struct spec *spec, const struct bpe *bpe, const char *magic,
                             size_t n, size_t n_kinds)
{
    struct head head = {.variant = (uint32_t)spec->corpus.variant,
                        .table = bpe_checksum(bpe),
                        .vocab = (uint32_t)bpe_vocabulary(bpe),
                        .n_kinds = (uint32_t)n_kinds,
                        .n = n};
    memcpy(head.magic, magic, sizeof head.magic);
    snprintf(head.text, sizeof head.text, "%.*s", (int)sizeof head.text - 1, spec->corpus.id);
    snprintf(head.tokenizer, sizeof head.tokenizer, "%.*s", (int)sizeof head.tokenizer - 1,
             spec->corpus.tokenizer);
    return head;
}

/* ---- writing ---- */

struct part {
    const void *bytes;
    size_t n;
};

static void write_parts(FILE *out, const struct part *parts, int n)
{
    struct hash_stream hash;
    unsigned char digest[HASH_BYTES];
    hash_stream_start(&hash);
    for (int i = 0; i < n; i++) {
        fwrite(parts[i].bytes, 1, parts[i].n, out);
        hash_stream_add(&hash, parts[i].bytes, parts[i].n);
    }
    hash_stream_end(&hash, digest);
    fwrite(digest, 1, sizeof digest, out);
}

static int store(const struct spec *spec, const char *folder, const char *suffix,
                 const struct part *parts, int n, struct err *err)
{
    char name[NAME_MAX_BYTES];
    struct file_atomic file;
    file_name(spec, suffix, name);
    if (file_atomic_open(&file, folder, name, 0644, err))
        return -1;
    write_parts(file.out, parts, n);
    return file_atomic_commit(&file, err);
}

static int store_ids(const struct spec *spec, const struct bpe *bpe, const char *folder,
                     const struct token_stream *stream, struct err *err)
{
    const struct head head = make_head(spec, bpe, magic_ids, stream->n, 0);
    struct frequency frequency = {0};
    if (frequency_count(stream->ids, stream->n, (int)head.vocab, &frequency, err))
        return -1;
    const struct part parts[] = {{&head, sizeof head},
                                 {frequency.counts, head.vocab * sizeof *frequency.counts},
                                 {stream->ids, stream->n * sizeof *stream->ids}};
    const int failed = store(spec, folder, "", parts, 3, err);
    frequency_free(&frequency);
    return failed;
}

static int store_words(const struct spec *spec, const struct bpe *bpe, const char *folder,
                       const struct token_stream *stream, struct err *err)
{
    const struct head head = make_head(spec, bpe, magic_words, stream->n_words, stream->n_kinds);
    const struct part parts[] = {{&head, sizeof head},
                                 {stream->words, stream->n_words * sizeof *stream->words}};
    return store(spec, folder, ".words", parts, 2, err);
}

int token_stream_make(const struct spec *spec, const char *path, const struct bpe *bpe,
                      const char *folder, size_t *n, struct err *err)
{
    struct token_stream stream = {0};
    if (file_make_folders(folder, err) || token_stream_encode(spec, path, bpe, &stream, err))
        return -1;
    /* Words first: the ids' file is the one that every spec needs, so it completes the set. */
    const int failed = (needs_words(spec) && store_words(spec, bpe, folder, &stream, err)) ||
                       store_ids(spec, bpe, folder, &stream, err);
    *n = stream.n;
    token_stream_free(&stream);
    return failed ? -1 : 0;
}

/* ---- mapping ---- */

static int damaged(const char *path, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "the tokens in %s are damaged: %s", path, what);
}

/* Check the head of a mapped file against what make_head says, and the length and the digest of
 * the file. The digest is computed of what read(2) gives, not of the map: the pages of a map
 * count as memory of this process. */
static int check_file(const struct file_map *map, const char *path, const struct head *wanted,
                      size_t entry, size_t counts, struct err *err)
{
    const struct head *head = map->bytes;
    unsigned char digest[HASH_BYTES];
    if (map->n < sizeof *head + HASH_BYTES)
        return damaged(path, "shorter than a head", err);
    struct head expected = *wanted;
    expected.n = head->n;
    expected.n_kinds = head->n_kinds;
    if (memcmp(head, &expected, sizeof expected) != 0)
        return damaged(path, "they are of another text, variant, tokenizer or rank table", err);
    const size_t bytes = map->n - sizeof *head - HASH_BYTES;
    if (bytes < counts || (bytes - counts) / entry != head->n || (bytes - counts) % entry != 0)
        return damaged(path, "the length is wrong", err);
    if (hash_file_part(path, map->n - HASH_BYTES, digest, err))
        return -1;
    if (memcmp(digest, (const char *)map->bytes + map->n - HASH_BYTES, HASH_BYTES) != 0)
        return damaged(path, "the digest does not match", err);
    return 0;
}

static int open_ids(const struct spec *spec, const char *folder, const struct bpe *bpe,
                    struct token_stream *out, struct err *err)
{
    const struct head head = make_head(spec, bpe, magic_ids, 0, 0);
    const size_t counts = head.vocab * sizeof *out->counts;
    char path[PATH_MAX];
    if (!file_path(spec, folder, "", path))
        return err_set(err, ERR_TOO_LARGE, "the path %.80s... is too long", folder);
    if (file_map_open_private(path, &out->ids_map, err) ||
        check_file(&out->ids_map, path, &head, sizeof *out->ids, counts, err))
        return -1;
    char *bytes = (char *)out->ids_map.bytes + sizeof head;
    out->counts = (const int64_t *)(void *)bytes;
    out->ids = (int32_t *)(void *)(bytes + counts);
    out->n = ((const struct head *)out->ids_map.bytes)->n;
    return 0;
}

static int open_words(const struct spec *spec, const char *folder, const struct bpe *bpe,
                      struct token_stream *out, struct err *err)
{
    const struct head head = make_head(spec, bpe, magic_words, 0, 0);
    char path[PATH_MAX];
    if (!file_path(spec, folder, ".words", path))
        return err_set(err, ERR_TOO_LARGE, "the path %.80s... is too long", folder);
    if (file_map_open(path, &out->words_map, err) ||
        check_file(&out->words_map, path, &head, sizeof *out->words, 0, err))
        return -1;
    const struct head *found = out->words_map.bytes;
    out->words = (const struct token_stream_word *)(found + 1);
    out->n_words = found->n;
    out->n_kinds = found->n_kinds;
    return 0;
}

int token_stream_open(const struct spec *spec, const char *folder, const struct bpe *bpe,
                      struct token_stream *out, struct err *err)
{
    struct token_stream stream = {0};
    if (open_ids(spec, folder, bpe, &stream, err) ||
        (needs_words(spec) && open_words(spec, folder, bpe, &stream, err))) {
        token_stream_free(&stream);
        return -1;
    }
    *out = stream;
    return 0;
}
