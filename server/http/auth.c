/* auth: see auth.h. */
#include "server/http/auth.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/hash.h"
#include "server/http/logins.h"
#include "server/http/route.h"
#include "server/secret.h"

/* The user of a credential; one that is refused is counted and logged (logins.h). */
static int auth_credential(struct request *request, const char *kind, const char *text,
                           struct credential *credential, struct user *out, struct err *err)
{
    size_t n = strlen(text);
    *credential = (struct credential){.kind = kind};
    if (!n || n > SECRET_TEXT_MAX)
        err_set(err, ERR_UNAUTHORIZED, "this %s is not known", kind);
    else
        hash_sha256(text, n, credential->hash);
    if (credential->hash[0] &&
        !credential_user(request->server->reader, kind, credential->hash, out, err))
        return 0;
    if (err->code == ERR_UNAUTHORIZED)
        logins_refuse(request, credential, err);
    return -1;
}

int auth_token_user(struct request *request, const char *token, struct user *out, struct err *err)
{
    struct credential credential;
    return auth_credential(request, "token", token, &credential, out, err);
}

const char *auth_session(const struct request *request, char *id, size_t n)
{
    const char *cookie =
        MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, AUTH_COOKIE);
    if (!cookie || strlen(cookie) >= n)
        return NULL;
    return strcpy(id, cookie);
}

static void auth_local(struct user *user)
{
    strcpy(user->name, USER_LOCAL);
    user->admin = 1;
}

/* Bearer credential: a token, or the secret in the data folder. hash_equal compares in
 * constant time. */
static int auth_bearer(struct request *request, const char *text, struct err *err)
{
    const struct server *server = request->server;
    char hash[HASH_HEX];
    hash_sha256(text, strlen(text), hash);
    if (!hash_equal(hash, server->secret_hash))
        return auth_credential(request, "token", text, &request->credential, &request->user, err);
    auth_local(&request->user);
    return 0;
}

static int auth_identify(struct request *request, struct err *err)
{
    const char *header = request_head(request, MHD_HTTP_HEADER_AUTHORIZATION);
    char session[SECRET_TEXT_MAX + 1];
    if (header && strncasecmp(header, "Bearer ", 7) == 0)
        return auth_bearer(request, header + 7 + strspn(header + 7, " "), err);
    if (header)
        return err_set(err, ERR_UNAUTHORIZED, "only Authorization: Bearer TOKEN is understood");
    if (auth_session(request, session, sizeof session))
        return auth_credential(request, "session", session, &request->credential, &request->user,
                               err);
    return err_set(err, ERR_UNAUTHORIZED, "this server wants a token: Authorization: Bearer TOKEN");
}

int auth_check(struct request *request, struct err *err)
{
    unsigned flags = request->route->flags;
    if (!request->server->auth)
        auth_local(&request->user);
    else if (!(flags & ROUTE_OPEN) && auth_identify(request, err))
        return -1;
    if ((flags & ROUTE_ADMIN) && !request->user.admin)
        return err_set(err, ERR_FORBIDDEN, "this is for administrators, and %s is not one",
                       request->user.name);
    return 0;
}

int auth_may_change(const struct request *request, const char *owner, struct err *err)
{
    if (request->user.admin || strcmp(request->user.name, owner) == 0)
        return 0;
    return err_set(err, ERR_FORBIDDEN, "this belongs to %s, and %s is not an administrator", owner,
                   request->user.name);
}

struct auth_first {
    int n_users;
    char hash[HASH_HEX];
};

static int auth_count(void *self, const struct user *user)
{
    struct auth_first *first = self;
    first->n_users += strcmp(user->name, USER_LOCAL) != 0;
    return 0;
}

static int auth_insert_admin(struct db_writer *writer, void *arg, struct err *err)
{
    struct auth_first *first = arg;
    if (user_insert_first(writer, err))
        return -1;
    return credential_insert(writer, USER_FIRST, "token", first->hash, "first start", 0, err);
}

int auth_first_start(struct db *db, struct err *err)
{
    struct auth_first first = {0};
    struct db_reader *reader = NULL;
    char token[SECRET_TEXT_MAX];
    if (db_reader_open(db, &reader, err))
        return -1;
    int failed = user_list(reader, auth_count, &first, err);
    db_reader_close(reader);
    if (failed || first.n_users)
        return failed;
    secret_make("token", token, sizeof token, first.hash);
    if (db_call(db, auth_insert_admin, &first, err))
        return -1;
    printf("user admin was made; shown only this once, its token: %s\n", token);
    fflush(stdout);
    return 0;
}
