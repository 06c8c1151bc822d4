/* secret: see secret.h. */
#include "server/secret.h"

#include <stdio.h>
#include <string.h>

void secret_make(const char *kind, char *text, size_t n, char hash[HASH_HEX])
{
    char random[2 * SECRET_BYTES + 1];
    hash_random_hex(SECRET_BYTES, random);
    snprintf(text, n, "%s%s", strcmp(kind, "token") == 0 ? "tf_" : "", random);
    hash_sha256(text, strlen(text), hash);
}
