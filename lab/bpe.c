/* bpe: see bpe.h. Three parts: the table (a mapped file, checked in full when it is opened,
 * and a hash table of its tokens), the pieces (one anchored PCRE2 match after another), and
 * the merging of a piece that is not itself a token.
 *
 * The parts of a piece are a doubly linked list, and its mergeable pairs a binary heap
 * ordered by rank, then position: O(n log n) for a piece of n bytes, so that a text without
 * a boundary costs no more per byte than prose.
 *
 * Called by server and trainer from any thread. Invariant: after bpe_open every single byte
 * is a token, so every text has ids. */
#include "lab/bpe.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <assert.h>
#include <ctype.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/file.h"
#include "config/hash.h"
#include "lab/text.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the rank table is read in place");

static const char magic[8] = "TFBPE1\n";

struct header {
    char magic[8];
    uint32_t checksum, ranks, vocab, pattern_bytes;
};

struct slot {
    uint32_t hash;
    int32_t id; /* -1: free */
};

struct bpe {
    struct file_map map;
    uint32_t ranks, vocab;
    const uint32_t *offset; /* [vocab + 1] */
    const char *bytes;
    size_t longest; /* bytes of the longest token that has a rank; longer pieces need no look-up */
    struct slot *slots;
    uint32_t mask; /* number of slots - 1, a power of two - 1 */
    pcre2_code *pattern;
    pcre2_code *letter;
};

/* ---- the table ---- */

static size_t token_bytes(const struct bpe *bpe, uint32_t id)
{
    return bpe->offset[id + 1] - bpe->offset[id];
}

/* The slot that holds these bytes, or the free slot for them. */
static struct slot *slot_of(const struct bpe *bpe, const char *bytes, size_t n, uint32_t hash)
{
    for (uint32_t i = hash & bpe->mask;; i = (i + 1) & bpe->mask) {
        struct slot *slot = &bpe->slots[i];
        if (slot->id < 0 || (slot->hash == hash && token_bytes(bpe, (uint32_t)slot->id) == n &&
                             memcmp(bpe->bytes + bpe->offset[slot->id], bytes, n) == 0))
            return slot;
    }
}

/* Id of the token with these bytes, or -1. */
static int32_t find(const struct bpe *bpe, const char *bytes, size_t n)
{
    return n > bpe->longest ? -1 : slot_of(bpe, bytes, n, hash_fnv1a(bytes, n))->id;
}

static int corrupt(struct err *err, const char *path, const char *what)
{
    return err_set(err, ERR_CORRUPT, "rank table %s: %s", path, what);
}

/* A missing table is an error that names the command which makes it. */
static int map_table(const char *path, struct bpe *bpe, struct err *err)
{
    struct err cause = ERR_INIT;
    if (file_map_open(path, &bpe->map, &cause) < 0) {
        if (cause.code == ERR_NOT_FOUND)
            return err_set(err, ERR_NOT_FOUND,
                           "no rank table %s; `node lab/make_ranks.mjs NAME %s` makes it", path,
                           path);
        return err_set(err, cause.code, "rank table: %s", cause.message);
    }
    if (bpe->map.n < sizeof(struct header))
        return corrupt(err, path, "shorter than its header");
    return 0;
}

/* Check the header and the offsets. Afterwards the bytes of every token lie inside the map. */
static int read_table(const char *path, struct bpe *bpe, struct err *err)
{
    const struct header *header = bpe->map.bytes;
    const size_t hashed = offsetof(struct header, ranks);
    if (memcmp(header->magic, magic, sizeof(magic)) != 0)
        return corrupt(err, path, "not a rank table");
    if (header->checksum != hash_fnv1a((const char *)bpe->map.bytes + hashed, bpe->map.n - hashed))
        return corrupt(err, path, "checksum does not match");
    if (header->vocab > BPE_VOCAB_MAX || header->ranks > header->vocab)
        return corrupt(err, path, "impossible size of the vocabulary");
    if (header->pattern_bytes == 0 || header->pattern_bytes > BPE_PATTERN_BYTES_MAX)
        return corrupt(err, path, "impossible length of the pattern");

    size_t offsets_at = sizeof(*header) + (header->pattern_bytes + 3u) / 4 * 4;
    size_t bytes_at = offsets_at + ((size_t)header->vocab + 1) * sizeof(uint32_t);
    if (bytes_at > bpe->map.n)
        return corrupt(err, path, "cut off");
    bpe->ranks = header->ranks;
    bpe->vocab = header->vocab;
    bpe->offset = (const uint32_t *)((const char *)bpe->map.bytes + offsets_at);
    bpe->bytes = (const char *)bpe->map.bytes + bytes_at;
    if (bpe->offset[0] != 0 || bpe->offset[bpe->vocab] != bpe->map.n - bytes_at)
        return corrupt(err, path, "length does not match the offsets");
    /* A decreasing offset shows as a huge length, because the difference is unsigned and the
     * bytes are too few to wrap around. */
    for (uint32_t id = 0; id < bpe->vocab; id++)
        if (token_bytes(bpe, id) > BPE_TOKEN_BYTES_MAX ||
            (id < bpe->ranks && token_bytes(bpe, id) == 0))
            return corrupt(err, path, "impossible length of a token");
    return 0;
}

static int hash_tokens(const char *path, struct bpe *bpe, struct err *err)
{
    uint32_t n_slots = 1024;
    while (n_slots < 2 * bpe->ranks) /* at most half full, so that a search always ends */
        n_slots *= 2;
    bpe->slots = malloc(n_slots * sizeof(*bpe->slots));
    if (bpe->slots == NULL)
        return err_set(err, ERR_NO_MEMORY, "no memory for %u tokens of %s", bpe->ranks, path);
    bpe->mask = n_slots - 1;
    for (uint32_t i = 0; i < n_slots; i++)
        bpe->slots[i] = (struct slot){.id = -1};

    for (uint32_t id = 0; id < bpe->ranks; id++) {
        const char *bytes = bpe->bytes + bpe->offset[id];
        size_t n = token_bytes(bpe, id);
        uint32_t hash = hash_fnv1a(bytes, n);
        struct slot *slot = slot_of(bpe, bytes, n, hash);
        if (slot->id >= 0)
            return corrupt(err, path, "a token occurs twice");
        *slot = (struct slot){.hash = hash, .id = (int32_t)id};
        bpe->longest = n > bpe->longest ? n : bpe->longest;
    }
    for (int byte = 0; byte < 256; byte++) {
        char one = (char)byte;
        if (find(bpe, &one, 1) < 0)
            return corrupt(err, path, "not every single byte is a token");
    }
    return 0;
}

static pcre2_code *compile(const char *path, const void *pattern, size_t n, uint32_t options,
                           struct err *err)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled = pcre2_compile(pattern, n, PCRE2_UTF | options, &code, &at, NULL);
    if (compiled == NULL) {
        PCRE2_UCHAR why[120];
        pcre2_get_error_message(code, why, sizeof(why));
        err_set(err, ERR_CORRUPT, "rank table %s: pattern, at byte %zu: %s", path, at, (char *)why);
        return NULL;
    }
    /* Without a JIT pcre2_match interprets the pattern: slower, same result. */
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    return compiled;
}

static int compile_patterns(const char *path, struct bpe *bpe, struct err *err)
{
    static const char letter[] = "\\p{L}";
    const struct header *header = bpe->map.bytes;
    bpe->pattern = compile(path, header + 1, header->pattern_bytes,
                           PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, err);
    bpe->letter = bpe->pattern ? compile(path, letter, sizeof(letter) - 1, 0, err) : NULL;
    return bpe->letter ? 0 : -1;
}

static int is_name(const char *name)
{
    const char *p = name;
    while (islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '_')
        p++;
    return p > name && *p == '\0';
}

int bpe_open(const char *share_dir, const char *name, struct bpe **out, struct err *err)
{
    char path[4096];
    if (!is_name(name))
        return err_set(err, ERR_NOT_FOUND, "no tokenizer \"%.40s\"", name);
    int length = snprintf(path, sizeof(path), "%s/tokenizers/%s.bpe", share_dir, name);
    if (length < 0 || (size_t)length >= sizeof(path))
        return err_set(err, ERR_IO, "path of rank table %.40s has more than %zu bytes", name,
                       sizeof(path) - 1);
    struct bpe *bpe = calloc(1, sizeof(*bpe));
    if (bpe == NULL)
        return err_set(err, ERR_NO_MEMORY, "no memory for tokenizer %s", name);
    if (map_table(path, bpe, err) < 0 || read_table(path, bpe, err) < 0 ||
        hash_tokens(path, bpe, err) < 0 || compile_patterns(path, bpe, err) < 0) {
        bpe_close(bpe);
        return -1;
    }
    *out = bpe;
    return 0;
}

void bpe_close(struct bpe *bpe)
{
    if (bpe == NULL)
        return;
    pcre2_code_free(bpe->pattern);
    pcre2_code_free(bpe->letter);
    free(bpe->slots);
    file_map_close(&bpe->map);
    free(bpe);
}

uint32_t bpe_checksum(const struct bpe *bpe)
{
    return ((const struct header *)bpe->map.bytes)->checksum;
}

int bpe_vocabulary(const struct bpe *bpe)
{
    return (int)bpe->vocab;
}

const char *bpe_token(const struct bpe *bpe, int32_t id, size_t *n)
{
    if (id < 0 || (uint32_t)id >= bpe->vocab || token_bytes(bpe, (uint32_t)id) == 0)
        return NULL;
    *n = token_bytes(bpe, (uint32_t)id);
    return bpe->bytes + bpe->offset[id];
}

/* ---- merging one piece ---- */

enum { NO_RANK = -1, NO_PART = -1 };

/* The part of a piece that starts at this byte and ends where `next` starts. */
struct part {
    int32_t id;         /* its token */
    int32_t pair;       /* token of this part and the next one together, or NO_RANK */
    int32_t next, prev; /* positions; next of the last part is the length */
};

/* State of one bpe_encode: ids and words so far, and scratch memory for merging. */
struct encoder {
    const struct bpe *bpe;
    int32_t *ids;
    size_t n_ids, ids_max;
    struct bpe_word *words;
    size_t n_words, words_max;
    struct part *parts; /* [parts_max] */
    uint64_t *heap;     /* [2 * parts_max]: rank << 32 | position */
    size_t n_heap, parts_max;
};

static void heap_push(struct encoder *e, uint64_t key)
{
    assert(e->n_heap < 2 * e->parts_max);
    size_t i = e->n_heap++;
    while (i > 0 && e->heap[(i - 1) / 2] > key) {
        e->heap[i] = e->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    e->heap[i] = key;
}

static uint64_t heap_pop(struct encoder *e)
{
    uint64_t least = e->heap[0], last = e->heap[--e->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < e->n_heap; child = 2 * i + 1) {
        if (child + 1 < e->n_heap && e->heap[child + 1] < e->heap[child])
            child++;
        if (e->heap[child] >= last)
            break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = last;
    return least;
}

static int grow_ids(struct encoder *e, size_t more, struct err *err)
{
    if (e->ids_max - e->n_ids >= more)
        return 0;
    size_t max = e->ids_max + e->ids_max / 2 + more;
    int32_t *ids = realloc(e->ids, max * sizeof(*ids));
    if (ids == NULL)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu tokens", max);
    e->ids = ids;
    e->ids_max = max;
    return 0;
}

static int grow_words(struct encoder *e, struct err *err)
{
    if (e->n_words < e->words_max)
        return 0;
    size_t max = e->words_max + e->words_max / 2 + 256;
    struct bpe_word *words = realloc(e->words, max * sizeof(*words));
    if (words == NULL)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu words", max);
    e->words = words;
    e->words_max = max;
    return 0;
}

static int grow_parts(struct encoder *e, size_t n, struct err *err)
{
    if (n <= e->parts_max)
        return 0;
    size_t max = n < 64 ? 64 : n;
    free(e->parts);
    free(e->heap);
    e->parts_max = 0;
    e->parts = malloc(max * sizeof(*e->parts));
    e->heap = malloc(2 * max * sizeof(*e->heap));
    if (e->parts == NULL || e->heap == NULL)
        return err_set(err, ERR_NO_MEMORY, "no memory to merge a piece of %zu bytes", n);
    e->parts_max = max;
    return 0;
}

/* Look up the pair that starts at position i of the piece and queue it. */
static void queue_pair(struct encoder *e, const char *piece, int32_t n, int32_t i)
{
    struct part *part = &e->parts[i];
    part->pair = NO_RANK;
    if (part->next < n)
        part->pair = find(e->bpe, piece + i, (size_t)(e->parts[part->next].next - i));
    if (part->pair != NO_RANK)
        heap_push(e, (uint64_t)part->pair << 32 | (uint32_t)i);
}

static void merge_pair(struct encoder *e, const char *piece, int32_t n, int32_t i)
{
    struct part *part = &e->parts[i];
    e->parts[part->next].pair = NO_RANK;
    part->id = part->pair;
    part->next = e->parts[part->next].next;
    if (part->next < n)
        e->parts[part->next].prev = i;
    queue_pair(e, piece, n, i);
    if (part->prev != NO_PART)
        queue_pair(e, piece, n, part->prev);
}

/* Append the ids of a piece that is not a token: always merge the pair of lowest rank, the
 * leftmost of equals. A queued pair is stale if its parts have changed since; it then has
 * another rank, because other bytes are another token. */
static int merge_piece(struct encoder *e, const char *piece, size_t length, struct err *err)
{
    if (grow_parts(e, length, err) < 0 || grow_ids(e, length, err) < 0)
        return -1;
    int32_t n = (int32_t)length;
    for (int32_t i = 0; i < n; i++)
        e->parts[i] = (struct part){.id = find(e->bpe, piece + i, 1), .next = i + 1, .prev = i - 1};
    e->n_heap = 0;
    for (int32_t i = 0; i < n; i++)
        queue_pair(e, piece, n, i);
    while (e->n_heap > 0) {
        uint64_t key = heap_pop(e);
        int32_t i = (int32_t)(uint32_t)key;
        if (e->parts[i].pair == (int32_t)(key >> 32))
            merge_pair(e, piece, n, i);
    }
    for (int32_t i = 0; i < n; i = e->parts[i].next)
        e->ids[e->n_ids++] = e->parts[i].id;
    return 0;
}

static int encode_piece(struct encoder *e, const char *piece, size_t n, struct err *err)
{
    int32_t id = find(e->bpe, piece, n);
    if (id < 0)
        return merge_piece(e, piece, n, err);
    if (grow_ids(e, 1, err) < 0)
        return -1;
    e->ids[e->n_ids++] = id;
    return 0;
}

/* ---- a text ---- */

static void cutting_failed(int rc, size_t at, struct err *err)
{
    PCRE2_UCHAR why[120];
    pcre2_get_error_message(rc, why, sizeof(why));
    err_set(err, rc == PCRE2_ERROR_NOMEMORY ? ERR_NO_MEMORY : ERR_INTERNAL,
            "cutting the text at byte %zu: %s", at, (char *)why);
}

/* End of the piece that starts at `at`; 0 (and *err) if there is none. */
static size_t match_piece(const struct bpe *bpe, pcre2_match_data *match, const char *bytes,
                          size_t n, size_t at, struct err *err)
{
    int rc = pcre2_match(bpe->pattern, (PCRE2_SPTR)bytes, n, at, PCRE2_NO_UTF_CHECK, match, NULL);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
        cutting_failed(rc, at, err);
        return 0;
    }
    if (rc < 0 || span[0] != at || span[1] <= at) {
        err_set(err, ERR_CORRUPT, "the tokenizer's pattern fits nothing at byte %zu", at);
        return 0;
    }
    if (span[1] - at > BPE_PIECE_BYTES_MAX) {
        err_set(err, ERR_TOO_LARGE,
                "%zu bytes without a word boundary, from byte %zu on; the limit is %d",
                span[1] - at, at, BPE_PIECE_BYTES_MAX);
        return 0;
    }
    return span[1];
}

/* The piece [at, end), whose tokens begin with number `token`, if it holds a letter. */
static int add_word(struct encoder *e, pcre2_match_data *match, const char *bytes, size_t at,
                    size_t end, size_t token, struct err *err)
{
    int rc =
        pcre2_match(e->bpe->letter, (PCRE2_SPTR)bytes, end, at, PCRE2_NO_UTF_CHECK, match, NULL);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0) {
        cutting_failed(rc, at, err);
        return -1;
    }
    if (grow_words(e, err) < 0)
        return -1;
    const size_t first = pcre2_get_ovector_pointer(match)[0];
    e->words[e->n_words++] = (struct bpe_word){.byte = (uint32_t)first,
                                               .bytes = (uint32_t)(end - first),
                                               .token = (uint32_t)token,
                                               .tokens = (uint32_t)(e->n_ids - token)};
    return 0;
}

static int encode_text(struct encoder *e, const char *bytes, size_t n, int wants_words,
                       struct err *err)
{
    int result = -1;
    if (text_check_utf8(bytes, n, err) < 0)
        return -1;
    /* Room for the span of the whole match; the patterns have no groups that matter. */
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (match == NULL)
        return err_set(err, ERR_NO_MEMORY, "no memory to tokenize %zu bytes", n);
    if (grow_ids(e, n / 4 + 16, err) < 0) /* English has about 4 bytes a token */
        goto out;
    for (size_t at = 0, end; at < n; at = end) {
        const size_t token = e->n_ids;
        end = match_piece(e->bpe, match, bytes, n, at, err);
        if (end == 0 || encode_piece(e, bytes + at, end - at, err) < 0 ||
            (wants_words && add_word(e, match, bytes, at, end, token, err) < 0))
            goto out;
    }
    result = 0;
out:
    pcre2_match_data_free(match);
    free(e->parts);
    free(e->heap);
    return result;
}

int bpe_encode(const struct bpe *bpe, const char *bytes, size_t n, int32_t **ids, size_t *n_ids,
               struct err *err)
{
    struct encoder e = {.bpe = bpe};
    if (encode_text(&e, bytes, n, 0, err) < 0) {
        free(e.ids);
        return -1;
    }
    *ids = e.ids;
    *n_ids = e.n_ids;
    return 0;
}

int bpe_encode_words(const struct bpe *bpe, const char *bytes, size_t n, int32_t **ids,
                     size_t *n_ids, struct bpe_word **words, size_t *n_words, struct err *err)
{
    struct encoder e = {.bpe = bpe};
    assert(n <= TEXT_BYTES_MAX);
    if (encode_text(&e, bytes, n, bpe->ranks > 256, err) < 0) {
        free(e.ids);
        free(e.words);
        return -1;
    }
    *ids = e.ids;
    *n_ids = e.n_ids;
    *words = e.words;
    *n_words = e.n_words;
    return 0;
}
