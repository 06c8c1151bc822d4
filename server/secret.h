/* secret: random credentials: bearer tokens, session ids, and the secret of the data
 * folder. Any thread. */
#ifndef TOKENFATE_SECRET_H
#define TOKENFATE_SECRET_H

#include <stddef.h>

#include "config/hash.h"

enum {
    SECRET_BYTES = 32,    /* random bytes in a credential: 256 bits */
    SECRET_TEXT_MAX = 200 /* longest credential that is looked at, with its zero */
};

/* A new credential of that kind ("token": its text starts with "tf_"; "session") into
 * text[n], n > 2 * SECRET_BYTES + 3; SHA-256 of the text, in hex, into hash. Only the hash
 * is ever stored. */
void secret_make(const char *kind, char *text, size_t n, char hash[HASH_HEX]);

#endif
