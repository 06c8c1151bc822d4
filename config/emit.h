/* emit: a streaming JSON writer (RFC 8259) on stdio. Everything that answers, stores or
 * prints JSON uses it: commas, quotes and escapes are its business.
 *
 * Each call writes one value. `key` is the member's name inside an object, and NULL for
 * the elements of an array and for the outermost value; the writer asserts that. Errors
 * of stdio stay in `out`; the caller that closes it looks there. Pure but for `out`; one
 * thread per writer. */
#ifndef TOKENFATE_EMIT_H
#define TOKENFATE_EMIT_H

#include <stdint.h>
#include <stdio.h>

enum {
    EMIT_DEPTH_MAX = 32,   /* nested containers; the deepest answer has nine */
    EMIT_NUMBER_BYTES = 32 /* the longest number is 24 characters, with its zero 25 */
};

enum emit_style {
    EMIT_COMPACT, /* one line: stored text, events, one record per line */
    EMIT_LINES    /* each object or array of an array starts a line, the text ends with one */
};

struct emit {
    FILE *out;
    enum emit_style style;
    int depth;
    struct {
        char end;   /* '}' or ']' */
        int filled; /* has a member already */
    } level[EMIT_DEPTH_MAX];
    char *text; /* of emit_open_text */
    size_t n_text;
};

/* A writer at the start of a text. */
void emit_open(struct emit *emit, FILE *out, enum emit_style style);

/* A compact writer into memory: 0, or -1 without memory. The struct stays where it is until
 * emit_close_text returns the text (malloc), or NULL when memory ran out on the way. */
int emit_open_text(struct emit *emit);
char *emit_close_text(struct emit *emit);

void emit_object(struct emit *emit, const char *key);
void emit_array(struct emit *emit, const char *key);
/* Close the innermost object or array. */
void emit_end(struct emit *emit);

/* UTF-8 text up to its zero; NULL is null. A byte that is not UTF-8 becomes U+FFFD. */
void emit_text(struct emit *emit, const char *key, const char *text);
/* The same for n bytes, which may hold zeros. */
void emit_bytes(struct emit *emit, const char *key, const char *bytes, size_t n);
void emit_integer(struct emit *emit, const char *key, int64_t value);
void emit_bool(struct emit *emit, const char *key, int value);
void emit_null(struct emit *emit, const char *key);
/* The shortest of 15 to 17 significant digits that reads back as the same float64 (of 6
 * to 9: as the same float32); null when it is not finite. */
void emit_number(struct emit *emit, const char *key, double value);
void emit_float(struct emit *emit, const char *key, float value);
/* Microseconds since 1970 as RFC 3339 in UTC; 0 is null. */
void emit_time(struct emit *emit, const char *key, int64_t microseconds);
/* JSON text as it is; NULL is null. The caller vouches for it. */
void emit_raw(struct emit *emit, const char *key, const char *json);

/* A finite number as emit_number writes it, for CSV. */
void emit_format(char text[EMIT_NUMBER_BYTES], double value);

#endif
