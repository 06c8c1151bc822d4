/* bpe: byte-level byte pair encoding (Radford et al. 2019; Sennrich et al. 2016): gpt2,
 * cl100k_base, and bytes, whose table merges nothing (id = byte). The published pattern
 * (PCRE2) cuts a text into pieces; each piece is merged by rank until no listed pair is
 * left. Special tokens in a text are plain text. The rank table is one compact file that
 * lab/make_ranks.mjs makes from js-tiktoken's data. It is mapped read-only; little-endian:
 *
 *   "TFBPE1\n\0"          8 bytes
 *   u32 checksum          FNV-1a, 32 bits, of everything after this word
 *   u32 ranks             ids below are merged by rank (= id) ...
 *   u32 vocab             ... ids from there on are special, or no token at all
 *   u32 pattern_bytes
 *   pattern               PCRE2, zero-padded to a multiple of 4 bytes
 *   u32 offset[vocab + 1] into the bytes below; an id without a token is empty
 *   bytes of all tokens
 *
 * Whitespace is ECMAScript's \s, written out in the pattern (White_Space without U+0085,
 * with U+FEFF), so that the token streams are js-tiktoken's. Letters and numbers are those
 * of PCRE2's Unicode version. struct bpe is immutable after bpe_open; any number of threads
 * share it. */
#ifndef TOKENFATE_BPE_H
#define TOKENFATE_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

/* Limits, each with its reason. */
enum {
    BPE_VOCAB_MAX = 1 << 18,    /* the largest published table (o200k) has 200,019 */
    BPE_TOKEN_BYTES_MAX = 1024, /* GPT-2's longest token has 128 */
    BPE_PATTERN_BYTES_MAX = 4096,
    BPE_PIECE_BYTES_MAX = 4 << 20 /* merging needs 32 bytes of memory for each byte of a piece */
};

struct bpe;

/* Map share_dir/tokenizers/NAME.bpe. ERR_NOT_FOUND (with the command that makes it),
 * ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY. */
int bpe_open(const char *share_dir, const char *name, struct bpe **out, struct err *err);
void bpe_close(struct bpe *bpe);

/* Size of the vocabulary, special tokens included: 50257 for gpt2, 256 for bytes, 100277 for
 * cl100k_base, which has 16 ids without a token. */
int bpe_vocabulary(const struct bpe *bpe);

/* Checksum of the whole rank table: tokens of tables with the same one are the same. */
uint32_t bpe_checksum(const struct bpe *bpe);

/* Ids of n bytes of UTF-8, in *ids (malloc, caller frees) and *n_ids.
 * ERR_INVALID with the byte offset for malformed UTF-8; ERR_TOO_LARGE for a
 * piece (a run without a boundary) above BPE_PIECE_BYTES_MAX; ERR_NO_MEMORY. */
int bpe_encode(const struct bpe *bpe, const char *bytes, size_t n, int32_t **ids, size_t *n_ids,
               struct err *err);

/* A word: a piece of a text that holds a letter, from its first letter on. What the pattern
 * joins to it in front (a space; with cl100k_base any one character) is left out. Its tokens
 * are those of the whole piece. */
struct bpe_word {
    /* First byte and length in bytes, first token and length in tokens. */
    uint32_t byte, bytes, token, tokens;
};

/* The same, with the words of the text in order in *words (malloc, caller frees) and
 * *n_words. A table that merges nothing has no words. At most TEXT_BYTES_MAX bytes. */
int bpe_encode_words(const struct bpe *bpe, const char *bytes, size_t n, int32_t **ids,
                     size_t *n_ids, struct bpe_word **words, size_t *n_words, struct err *err);

/* Bytes of a token; *n its length. NULL for an id outside the vocabulary or
 * without a token. Valid as long as bpe. Not terminated by a zero. */
const char *bpe_token(const struct bpe *bpe, int32_t id, size_t *n);

#endif
