/* auth: who asks. Without authentication everybody is the user `local`; with it
 * a request carries a bearer token or the session cookie that a page got for a
 * token. Only hashes are looked up. Whoever sends the secret that this run of the
 * server left in its data folder is `local` too: so commands get in. HTTP thread
 * for auth_check; the rest any. */
#ifndef TOKENFATE_AUTH_H
#define TOKENFATE_AUTH_H

#include "config/err.h"
#include "server/http.h"

enum {
    AUTH_TOKEN_BYTES = 32,             /* random bytes in a token or session id: 256 bits */
    AUTH_SESSION_SECONDS = 30 * 86400, /* a browser stays logged in for 30 days */
    AUTH_TOKEN_TEXT_MAX = 200          /* longest credential that is looked at */
};

#define AUTH_COOKIE "tokenfate_session"
#define AUTH_LOCAL "local"

/* Fill request->user. ERR_UNAUTHORIZED; ERR_FORBIDDEN for a route that is not
 * for this user. */
int auth_check(struct request *request, struct err *err);

/* The user a bearer token belongs to. ERR_UNAUTHORIZED. */
int auth_token_user(struct db_reader *reader, const char *token, struct user *out, struct err *err);

/* The session id in the request's cookie, or NULL. Valid like the request. */
const char *auth_session(const struct request *request, char *id, size_t n);

/* ERR_FORBIDDEN unless the user owns it or is an administrator. */
int auth_may_change(const struct request *request, const char *owner, struct err *err);

/* A new credential of that kind ("tf_..." for tokens), its hash in hash. */
void auth_make(const char *kind, char *text, size_t n, char *hash);

/* With authentication on and no user yet: make `admin` and print its token, the
 * only time it is ever shown. */
int auth_first_start(struct db *db, struct err *err);

#endif
