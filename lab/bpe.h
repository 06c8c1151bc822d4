/* bpe: GPT-2's byte-level byte pair encoding (Radford et al. 2019; Sennrich et
 * al. 2016). A text is cut into pieces by the published pattern (PCRE2), each
 * piece is merged by rank until no listed pair is left. Special tokens in a
 * text are plain text. The rank table is one compact file made at `make deps`
 * from js-tiktoken's data by tests/../lab/make_ranks.mjs and mapped read-only:
 *
 *   "TFBPE1\n\0", u32 n_tokens, u32 vocab, u32 pattern_bytes, pattern,
 *   u32 offset[n_tokens + 1], token bytes (token id = index)
 *
 * struct bpe is immutable after bpe_open and shared by any number of threads. */
#ifndef TOKENFATE_BPE_H
#define TOKENFATE_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

struct bpe;

/* Map share_dir/tokenizers/NAME.bpe. ERR_NOT_FOUND (with what makes it),
 * ERR_CORRUPT. */
int bpe_open(const char *share_dir, const char *name, struct bpe **out, struct err *err);
void bpe_close(struct bpe *bpe);

/* Size of the vocabulary, specials included: 50257 for gpt2. */
int bpe_vocabulary(const struct bpe *bpe);

/* Ids of n bytes of UTF-8, in *ids (malloc, caller frees) and *n_ids.
 * ERR_INVALID with the byte offset for malformed UTF-8. */
int bpe_encode(const struct bpe *bpe, const char *bytes, size_t n, int32_t **ids, size_t *n_ids,
               struct err *err);

/* Bytes of a token; *n its length. NULL for an id outside the vocabulary.
 * Valid as long as bpe. */
const char *bpe_token(const struct bpe *bpe, int32_t id, size_t *n);

#endif
