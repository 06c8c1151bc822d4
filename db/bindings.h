/* bindings: which account of this machine is which user. An account is its uid: a name may be given
 * to another account, whoever has the uid has the files. A uid is one user's at most, and a user has
 * one uid at most. Functions that take a writer run inside a db_operation. */
#ifndef TOKENFATE_BINDINGS_H
#define TOKENFATE_BINDINGS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"
#include "db/users.h"

#define BINDING_LABEL "login" /* of the token that a login makes; the next login replaces it */

/* Who logs in, and the hash of the token that the login makes. */
struct binding_login {
    int64_t uid;
    const char *account; /* its name on this machine */
    int may_create;      /* 1: a user is made for an account that has none */
    int may_be_admin;    /* 1: a user made here, or found under the account's name, may be one */
    const char *hash;
};

/* The user whose uid this is; else the one of the account's name, who is bound to it here; else a
 * new one of that name, an administrator if the account may be one. Then the token, and the end of the one
 * before after TOKEN_GRACE_SECONDS. user: who it is.
 * ERR_FORBIDDEN: nobody may be made, the name is that of an administrator, or the server's own;
 * ERR_CONFLICT: the name is bound to another uid, the user is disabled; ERR_INVALID: the account's
 * name is none of a user. */
int binding_login(struct db_writer *writer, const struct binding_login *login,
                  char user[USER_NAME_MAX + 1], struct err *err);

/* Bind a user to a uid, -1: to none. ERR_CONFLICT: it is another user's; ERR_NOT_FOUND. */
int binding_set(struct db_writer *writer, const char *user, int64_t uid, struct err *err);

#endif
