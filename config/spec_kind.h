/* spec_kind: the kinds of fields that spec.c's table is made of. A kind reads a value from
 * JSON, checks it and stores it in struct spec, and writes it back. Internal to the spec*.c
 * files, except for spec_dumps, which sweeps and comparisons use too. Pure
 * functions, any thread.
 *
 * Invariants: a value is stored only after it has been checked; an error quotes a value as
 * ASCII JSON, so that no message ever contains a broken UTF-8 sequence. */
#ifndef TOKENFATE_SPEC_KIND_H
#define TOKENFATE_SPEC_KIND_H

#include <jansson.h>
#include <stdio.h>

#include "config/emit.h"
#include "config/spec.h"

enum { SPEC_QUOTE_MAX = 64 }; /* bytes of a value that an error quotes */

struct spec_row;

struct spec_kind {
    /* Check value and store it. -1 with err_field, or ERR_NO_MEMORY. */
    int (*read)(const struct spec_row *row, const json_t *value, struct spec *spec,
                struct err *err);
    /* Write the stored value; key as in emit.h. */
    void (*write)(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                  const char *key);
};

struct spec_row {
    const char *pointer;
    const struct spec_kind *kind;
    size_t offset;
    double min, max;          /* limits of a number, or of the length of a text in bytes */
    const char *const *words; /* allowed words, index = enum value */
    const char *fallback;     /* default, JSON */
};

extern const struct spec_kind spec_kind_text, spec_kind_corpus, spec_kind_tokenizer,
    spec_kind_device, spec_kind_int, spec_kind_int64, spec_kind_seed, spec_kind_steps,
    spec_kind_real, spec_kind_scale, spec_kind_bool, spec_kind_enum, spec_kind_tags,
    spec_kind_snapshots;

/* value as ASCII JSON, cut to fit. Returns quoted. */
const char *spec_quote(const json_t *value, char quoted[SPEC_QUOTE_MAX]);

/* Compact JSON; a real number has the fewest digits that read back to the same bits.
 * The caller frees the result; NULL without memory. */
char *spec_dumps(const json_t *value);

/* Write a finite number as spec_dumps does. */
void spec_emit_real(struct emit *emit, const char *key, double value);

/* A copy of text in *out (malloc). ERR_NO_MEMORY. */
int spec_copy(char **out, const char *text, struct err *err);

/* Index of a word in a list that ends with NULL, or -1. */
int spec_word(const char *const *words, const char *word);

/* ---- checks that several kinds share ---- */

/* Check an integer within [min, max] and store it in *out. */
int spec_check_integer(const json_t *value, double min, double max, const char *pointer,
                       int64_t *out, struct err *err);

/* Check a number within [min, max] and store it in *out; -0 becomes 0. */
int spec_check_real(const json_t *value, double min, double max, const char *pointer, double *out,
                    struct err *err);

/* Check a string of min..max bytes without control characters other than those in `allowed`.
 * Returns it, or NULL with err_field. */
const char *spec_check_text(const json_t *value, size_t min, size_t max, const char *allowed,
                            const char *pointer, struct err *err);

/* Check for an array of min..max elements. */
int spec_check_array(const json_t *value, size_t min, size_t max, const char *pointer,
                     struct err *err);

/* Refuse every key of an object that is not in the list. */
int spec_check_members(const json_t *object, const char *const *keys, const char *base,
                       struct err *err);

#endif
