/* utf8: well-formed UTF-8 (Unicode 15, table 3-7). Pure; any thread. */
#ifndef TOKENFATE_UTF8_H
#define TOKENFATE_UTF8_H

#include <stddef.h>

/* Bytes of the sequence that starts at bytes[0], 1 to 4; 0 if it is malformed or needs
 * more than the n bytes that are there. Overlong forms, surrogates and code points
 * above U+10FFFF are malformed. n >= 1. */
size_t utf8_length(const char *bytes, size_t n);

/* Bytes before the first malformed sequence; n if there is none. */
size_t utf8_valid(const char *bytes, size_t n);

#endif
