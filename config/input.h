/* input: JSON as a person or a program sent it. Every reader of such a text parses it here, so
 * that all of them take the same texts and refuse others in the same words. Pure functions, any
 * thread. */
#ifndef TOKENFATE_INPUT_H
#define TOKENFATE_INPUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

enum input_flag {
    INPUT_ZEROS = 1 /* strings may hold U+0000; the caller reads them with their lengths */
};

/* The value that the text holds (a new reference), or NULL. A byte order mark in front of it is
 * skipped. ERR_MALFORMED with line and column, also for a key that stands twice in an object;
 * ERR_INVALID names every string with U+0000, which C strings cannot hold; ERR_NO_MEMORY. */
json_t *input_json(const char *bytes, size_t n, unsigned flags, struct err *err);

/* The text behind its byte order mark, if it has one. *n: its bytes. */
const char *input_skip_mark(const char *bytes, size_t *n);

/* 1 and the number if the value is an integer as JSON Schema has it: 3, 3.0 and 3e0 are the
 * same one. A number with a point or an exponent counts below 2^53 only: a double that is larger
 * may stand for another integer than the one that was sent. */
int input_integer(const json_t *value, int64_t *out);

#endif
