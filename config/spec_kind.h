/* spec_kind: the kinds of fields that spec.c's table is made of: how a value is
 * read from JSON, checked and stored in struct spec, and how it is written back.
 * Internal to spec.c and spec_kind.c; pure functions, any thread.
 *
 * Invariants: a value is stored only after it has been checked; an error about
 * a value quotes it as ASCII JSON, so that no message ever carries a broken
 * character. */
#ifndef TOKENFATE_SPEC_KIND_H
#define TOKENFATE_SPEC_KIND_H

#include <jansson.h>

#include "config/spec.h"

enum { SPEC_QUOTE_MAX = 64 }; /* bytes of a value that an error quotes */

struct spec_row;

struct spec_kind {
    /* Check value and store it. -1 with err_field, or ERR_NO_MEMORY. */
    int (*read)(const struct spec_row *row, const json_t *value, struct spec *spec,
                struct err *err);
    /* The stored value as JSON, a new reference; NULL without memory. */
    json_t *(*write)(const struct spec_row *row, const struct spec *spec);
};

struct spec_row {
    const char *pointer;
    const struct spec_kind *kind;
    size_t offset;
    double min, max;          /* of a number, of the bytes of a text */
    const char *const *words; /* allowed words, index = enum value */
    const char *fallback;     /* default, JSON */
};

extern const struct spec_kind spec_kind_text, spec_kind_corpus, spec_kind_tokenizer,
    spec_kind_device, spec_kind_int, spec_kind_int64, spec_kind_seed, spec_kind_steps,
    spec_kind_real, spec_kind_scale, spec_kind_bool, spec_kind_enum, spec_kind_constant,
    spec_kind_tags, spec_kind_snapshots, spec_kind_custom;

/* value as ASCII JSON, cut to fit; returns quoted. */
const char *spec_quote(const json_t *value, char quoted[SPEC_QUOTE_MAX]);

/* base, then '/' and key escaped as RFC 6901 says, cut between characters. */
void spec_pointer(char pointer[ERR_POINTER_MAX], const char *base, const char *key);

/* base, then '/' and the index of an element. */
void spec_pointer_index(char pointer[ERR_POINTER_MAX], const char *base, size_t index);

/* Index of a word in a list that ends with NULL, or -1. */
int spec_word(const char *const *words, const char *word);

#endif
