/* json: writing JSON with stdio, for answers that quote stored JSON as it is.
 * Whoever writes an object writes its braces and commas. Pure; any thread. */
#ifndef TOKENFATE_JSON_H
#define TOKENFATE_JSON_H

#include <stdint.h>
#include <stdio.h>

/* A quoted string; bytes that are not UTF-8 become U+FFFD. NULL writes null. */
void json_write_string(FILE *out, const char *text);
void json_write_bytes(FILE *out, const char *bytes, size_t n);

/* Microseconds since 1970 as an RFC 3339 string in UTC; 0 writes null. */
void json_write_time(FILE *out, int64_t microseconds);

/* Stored JSON text as it is; NULL writes null. */
void json_write_raw(FILE *out, const char *json);

/* Length of the well-formed UTF-8 sequence at bytes (at most n), or 0. */
int json_utf8_length(const unsigned char *bytes, size_t n);

#endif
