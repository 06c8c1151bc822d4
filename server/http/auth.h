/* auth: authentication and authorisation of a request. http.c calls auth_check on the HTTP
 * thread while it admits a request; the handlers call the rest, on any thread.
 *
 * Without authentication every request is the user `local`. With it, a request carries a
 * bearer token, or the session cookie that a page got in exchange for a token. Only the hash
 * of a credential is stored and looked up.
 *
 * The secret in the data folder is a third credential: each run of the server makes a new
 * one, and a request that carries it is `local`, an administrator. The commands of
 * `tokenfate` use it: read access to the folder is their permission. */
#ifndef TOKENFATE_AUTH_H
#define TOKENFATE_AUTH_H

#include "config/err.h"
#include "server/http/request.h"

enum { AUTH_SESSION_SECONDS = 30 * 86400 }; /* a browser stays logged in for 30 days */

#define AUTH_COOKIE "tokenfate_session"

/* Fill request->user, and request->credential if a token or session showed who that is.
 * ERR_UNAUTHORIZED without a valid credential, ERR_TOO_MANY after many wrong ones; ERR_FORBIDDEN if the route is for
 * administrators and the user is not one. */
int auth_check(struct request *request, struct err *err);

/* Owner of a bearer token that the request holds. ERR_UNAUTHORIZED; ERR_TOO_MANY after many
 * wrong ones (logins.h). HTTP thread. */
int auth_token_user(struct request *request, const char *token, struct user *out, struct err *err);

/* Session id of the request's cookie, copied to id[n] and returned; NULL if there is no
 * cookie or it does not fit. */
const char *auth_session(const struct request *request, char *id, size_t n);

/* ERR_FORBIDDEN unless the user is `owner` or an administrator. */
int auth_may_change(const struct request *request, const char *owner, struct err *err);

/* First start with authentication: if there is no user but `local`, create `admin` and print
 * its token on stdout. The token is shown only there, because only its hash is stored. Main
 * thread, before the first request. */
int auth_first_start(struct db *db, struct err *err);

#endif
