/* spec_kind: the kinds of fields that spec.c's table is made of: how a value is
 * read from JSON, checked and stored in struct spec, and how it is written back;
 * and the rules between fields. Internal to the spec*.c files (spec_kind.c: kinds
 * of one value and of lists, spec_remedy.c: those of the remedies, spec_rules.c),
 * except for printing JSON (spec_dump), which sweeps and comparisons do too; pure
 * functions, any thread.
 *
 * Invariants: a value is stored only after it has been checked; an error about
 * a value quotes it as ASCII JSON, so that no message ever carries a broken
 * character. */
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
    double min, max;          /* of a number, of the bytes of a text */
    const char *const *words; /* allowed words, index = enum value */
    const char *fallback;     /* default, JSON */
};

extern const struct spec_kind spec_kind_text, spec_kind_corpus, spec_kind_tokenizer,
    spec_kind_device, spec_kind_int, spec_kind_int64, spec_kind_seed, spec_kind_steps,
    spec_kind_real, spec_kind_scale, spec_kind_bool, spec_kind_enum, spec_kind_tags,
    spec_kind_snapshots;

/* value as ASCII JSON, cut to fit; returns quoted. */
const char *spec_quote(const json_t *value, char quoted[SPEC_QUOTE_MAX]);

/* base, then '/' and key escaped as RFC 6901 says, cut between characters. */
void spec_pointer(char pointer[ERR_POINTER_MAX], const char *base, const char *key);

/* base, then '/' and the index of an element. */
void spec_pointer_index(char pointer[ERR_POINTER_MAX], const char *base, size_t index);

/* Compact JSON, real numbers with as few digits as read back to the same bits. -1
 * or NULL without memory; spec_dumps is the caller's to free. */
int spec_dump(const json_t *value, FILE *out);
char *spec_dumps(const json_t *value);

/* The same digits as a value of emit. value is finite. */
void spec_emit_real(struct emit *emit, const char *key, double value);

/* A copy of text in *out (malloc). ERR_NO_MEMORY. */
int spec_copy(char **out, const char *text, struct err *err);

/* Index of a word in a list that ends with NULL, or -1. */
int spec_word(const char *const *words, const char *word);

/* ---- checks that several kinds share ---- */

/* An integer within [min, max] into *out. */
int spec_check_integer(const json_t *value, double min, double max, const char *pointer,
                       int64_t *out, struct err *err);

/* A number within [min, max] into *out; -0 becomes 0. */
int spec_check_real(const json_t *value, double min, double max, const char *pointer, double *out,
                    struct err *err);

/* A string of min..max bytes, without control characters other than those in
 * allowed. Returns it, or NULL with err_field. */
const char *spec_check_text(const json_t *value, size_t min, size_t max, const char *allowed,
                            const char *pointer, struct err *err);

/* An array of min..max elements. */
int spec_check_array(const json_t *value, size_t min, size_t max, const char *pointer,
                     struct err *err);

/* Refuse every key of an object that is not in the list. */
int spec_check_members(const json_t *object, const char *const *keys, const char *base,
                       struct err *err);

#endif
