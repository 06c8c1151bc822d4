/* links: one-time codes by which a browser becomes a user without a token being typed. In memory:
 * a code ends with the server, which is no loss within LINKS_SECONDS. Pure but for the caller's
 * table; session.c and login.c share one, on the HTTP thread. */
#ifndef TOKENFATE_LINKS_H
#define TOKENFATE_LINKS_H

#include <stdint.h>

#include "db/users.h"

enum {
    LINKS_SECONDS = 60, /* to copy an address from a terminal to a browser */
    LINKS_MAX = 256     /* users with an open code; then the oldest code ends early */
};

/* Whose browser: the user, and the token that asked, with which the session ends. */
struct link_owner {
    char user[USER_NAME_MAX + 1], token[TOKEN_ID_MAX];
};

struct links {
    struct {
        char hash[HASH_HEX]; /* of the code; "": free */
        struct link_owner owner;
        int64_t end_ms;
    } link[LINKS_MAX];
};

/* Keep a code from now_ms on. The user's code before it ends. */
void links_add(struct links *links, const char *hash, const struct link_owner *owner,
               int64_t now_ms);

/* Use a code up. 0; -1: it is not known, was used, or is over. */
int links_take(struct links *links, const char *hash, int64_t now_ms, struct link_owner *owner);

#endif
