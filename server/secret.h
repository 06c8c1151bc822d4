/* secret: random credentials: bearer tokens, session ids, and the secret of the data folder.
 * Used by auth.c, serve.c, the handlers and the commands. Any thread. */
#ifndef TOKENFATE_SECRET_H
#define TOKENFATE_SECRET_H

#include <stddef.h>

#include "config/hash.h"

enum {
    SECRET_BYTES = 32,    /* random bytes in a credential: 256 bits */
    SECRET_TEXT_MAX = 200 /* bytes of a credential, with its zero: a longer one is never valid */
};

/* Make a credential of a kind ("token", whose text starts with "tf_"; "session"; "link") in text[n],
 * n > 2 * SECRET_BYTES + 3, and the SHA-256 of the text, in hex, in hash. Only the hash is
 * stored in the database. */
void secret_make(const char *kind, char *text, size_t n, char hash[HASH_HEX]);

#endif
