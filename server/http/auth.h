/* auth: who asks. Without authentication everybody is the user `local`; with it
 * a request carries a bearer token or the session cookie that a page got for a
 * token. Only hashes are looked up. Whoever sends the secret that this run of the
 * server left in its data folder is `local` too: so commands get in. HTTP thread
 * for auth_check; the rest any. */
#ifndef TOKENFATE_AUTH_H
#define TOKENFATE_AUTH_H

#include "config/err.h"
#include "server/http/request.h"

enum { AUTH_SESSION_SECONDS = 30 * 86400 }; /* a browser stays logged in for 30 days */

#define AUTH_COOKIE "tokenfate_session"

/* Fill request->user. ERR_UNAUTHORIZED; ERR_FORBIDDEN for a route that is not
 * for this user. */
int auth_check(struct request *request, struct err *err);

/* The user a bearer token belongs to. ERR_UNAUTHORIZED. */
int auth_token_user(struct db_reader *reader, const char *token, struct user *out, struct err *err);

/* The session id in the request's cookie, or NULL. Valid like the request. */
const char *auth_session(const struct request *request, char *id, size_t n);

/* ERR_FORBIDDEN unless the user owns it or is an administrator. */
int auth_may_change(const struct request *request, const char *owner, struct err *err);

/* With authentication on and no user yet: make `admin` and print its token, the
 * only time it is ever shown. */
int auth_first_start(struct db *db, struct err *err);

#endif
