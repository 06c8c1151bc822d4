/* token_stream: a text as tokens, and as words where a spec needs them. It is made from the text
 * (PCRE2 and merging, tens of MB/s), or mapped from files that were made before, which costs one
 * reading of them. lab/dataset starts from it.
 *
 * Files of a text's folder, little-endian; "x" is VARIANT.TOKENIZER:
 *   x        head, int64 counts[vocab], int32 ids[n], digest
 *   x.words  head, n times struct token_stream_word, digest
 * The digest is BLAKE2b-256 of everything before it. The head names text, variant, tokenizer and
 * the tokenizer's rank table; a file that another table made is refused. Files are replaced
 * atomically and can always be made again from the text.
 *
 * The server makes them in a process of its own (server/queue/reading) and maps them beside the
 * trainers. Pure functions over memory and files that the caller owns; any thread. */
#ifndef TOKENFATE_TOKEN_STREAM_H
#define TOKENFATE_TOKEN_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/file.h"
#include "config/spec.h"
#include "lab/bpe.h"

/* A word (lab/bpe.h): first token and length in tokens. Words of the same bytes, and only they,
 * are of the same kind. */
struct token_stream_word {
    uint32_t token, tokens, kind;
};

struct token_stream {
    int32_t *ids; /* [n] of the tokenizer; the owner may change them, files stay as they are */
    size_t n;
    const int64_t *counts; /* [vocab of the tokenizer] of all ids; NULL: not counted */
    const struct token_stream_word *words; /* [n_words] in order; NULL: none, or not asked for */
    size_t n_words, n_kinds;
    struct file_map ids_map, words_map; /* where ids, counts and words lie; else malloc */
};

/* The text at path in the variant and by the tokenizer of the spec; words if the spec holds out
 * tokens of an unpermuted text. ERR_INVALID with a pointer into the spec: a text that is missing,
 * empty, too large or not UTF-8 (/corpus/id), a variant that it does not have (/corpus/variant).
 * Else ERR_IO, ERR_NO_MEMORY. token_stream_free frees. */
int token_stream_encode(const struct spec *spec, const char *path, const struct bpe *bpe,
                        struct token_stream *out, struct err *err);

/* 1 if the folder has the files that the spec needs. They are not read. */
int token_stream_is_made(const struct spec *spec, const char *folder);

/* Make the files that the spec needs. Needs hash_init. Errors of token_stream_encode, and ERR_IO
 * for a file that cannot be written. *n: tokens. */
int token_stream_make(const struct spec *spec, const char *path, const struct bpe *bpe,
                      const char *folder, size_t *n, struct err *err);

/* Map the files that the spec needs, and check their digests. Needs hash_init. ERR_NOT_FOUND;
 * ERR_CORRUPT for a damaged file and for one of another rank table; ERR_IO. */
int token_stream_open(const struct spec *spec, const char *folder, const struct bpe *bpe,
                      struct token_stream *out, struct err *err);

/* Remove the files that token_stream_open would map. */
void token_stream_remove(const struct spec *spec, const char *folder);

/* Free the words alone. */
void token_stream_drop_words(struct token_stream *stream);
void token_stream_free(struct token_stream *stream);

#endif
