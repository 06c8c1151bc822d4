/* text: a corpus as bytes. Reads a file, checks that it is UTF-8, and makes the variants of
 * SCIENCE section 1: raw (as downloaded), lf (no BOM, CRLF -> LF), body (lf, only the text
 * between Gutenberg's START and END lines). Pure functions over memory that the caller owns. */
#ifndef TOKENFATE_TEXT_H
#define TOKENFATE_TEXT_H

#include <stddef.h>

#include "config/err.h"
#include "config/spec.h"

enum { TEXT_BYTES_MAX = 1 << 30 }; /* 1 GiB: token positions fit in 31 bits */

struct text {
    char *bytes; /* n bytes and a final zero that n does not count */
    size_t n;
};

/* Whole file. ERR_NOT_FOUND; ERR_IO; ERR_TOO_LARGE; ERR_INVALID for an empty
 * file or one that is not regular; ERR_CORRUPT if it shrinks meanwhile. text_free frees. */
int text_read(const char *path, struct text *out, struct err *err);

/* ERR_INVALID with the offset of the first sequence that is not well-formed UTF-8
 * (config/utf8.h). */
int text_check_utf8(const char *bytes, size_t n, struct err *err);

/* Make the variant in place: it never grows. ERR_INVALID with *text unchanged if body is
 * asked for and the START or END line is missing, or if nothing is left. A lone CR stays. */
int text_make_variant(struct text *text, enum spec_variant variant, struct err *err);

void text_free(struct text *text);

/* Known texts; ends with name NULL. */
struct text_known {
    const char *name, *file, *url, *sha256;
};
extern const struct text_known text_known[];

/* The known text of this name, or NULL. */
const struct text_known *text_known_find(const char *name);

/* Find a text by name in corpus_path (folders separated by ':'; the first that has it wins).
 * A name is a known one ("gulliver" is pg829.txt) or that of a regular file. path has room
 * for n bytes, its zero included. ERR_NOT_FOUND names the text, the folders, where a known text
 * is to be had, and the source that needs no file. Names with '/' or a leading '.' are never
 * found. */
int text_find(const char *corpus_path, const char *name, char *path, size_t n, struct err *err);

/* Name of the built-in synthetic corpus: independent draws from Gulliver's token counts
 * (SCIENCE section 3, form 8). It has no file. */
#define TEXT_SYNTHETIC "gulliver-synthetic"

#endif
