/* session: login and logout of a browser, and GET /whoami. A page cannot keep a bearer token
 * safe from scripts, so it posts the token, or a one-time code (login.h), once and gets a cookie that scripts cannot read
 * (HttpOnly). Runs on the HTTP thread; a session is stored and revoked by one durable
 * operation each, and only its hash is stored. */
#include "server/api/session.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/hash.h"
#include "config/input.h"
#include "server/api/limits.h"
#include "server/api/login.h"
#include "server/http/auth.h"
#include "server/http/client.h"
#include "server/secret.h"

struct session {
    char id[SECRET_TEXT_MAX], hash[HASH_HEX];
    char user[USER_NAME_MAX + 1], token[TOKEN_ID_MAX];
};

static enum request_result whoami_answer(struct request *request)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    emit_text(&buffer.json, "name", request->user.name);
    emit_bool(&buffer.json, "admin", request->user.admin);
    emit_bool(&buffer.json, "auth", request->server->auth);
    if (api_limits_emit_of(&buffer.json, "limits", request, request->user.name, &request->err))
        return request_close_fail(request, &buffer, &request->err);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

enum request_result api_whoami(struct request *request)
{
    return whoami_answer(request);
}

/* Without Path the cookie goes to the addresses beside this one, the API, and to nothing else
 * of the host: other programs behind the same proxy never see it. */
static void session_cookie(struct request *request, const char *id, int seconds)
{
    char cookie[SECRET_TEXT_MAX + 128];
    snprintf(cookie, sizeof cookie, "%s=%s; HttpOnly; SameSite=Strict; Max-Age=%d%s", AUTH_COOKIE,
             id, seconds, client_is_private(request) ? "; Secure" : "");
    request_header(request, MHD_HTTP_HEADER_SET_COOKIE, cookie);
}

static int session_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct session *session = arg;
    int64_t until = db_now() + (int64_t)AUTH_SESSION_SECONDS * 1000000;
    return credential_insert(writer, session->user, "session", session->hash, session->token, until,
                             err);
}

static enum request_result session_stored(struct request *request)
{
    const struct session *session = request->state;
    if (request->result)
        return request_fail(request, &request->err);
    whoami_answer(request);
    session_cookie(request, session->id, AUTH_SESSION_SECONDS);
    return REQUEST_DONE;
}

static int session_of_token(struct request *request, const char *token, struct session *session,
                            struct err *err)
{
    char hash[HASH_HEX];
    if (auth_token_user(request, token, &request->user, err))
        return -1;
    hash_sha256(token, strlen(token), hash);
    token_id(hash, session->token);
    strcpy(session->user, request->user.name);
    return 0;
}

/* The session is stored only if the token that asked for the link is still good. */
static int session_of_link(struct request *request, const char *code, struct session *session,
                           struct err *err)
{
    struct link_owner owner;
    if (login_take(request, code, &owner, err) ||
        user_get(request->server->reader, owner.user, &request->user, err))
        return -1;
    strcpy(session->token, owner.token);
    strcpy(session->user, owner.user);
    return 0;
}

/* Check the body, {"token": "..."} or {"link": "..."}; fill the session's user and token id, and
 * request->user. */
static int session_user(struct request *request, struct session *session, struct err *err)
{
    json_t *body = input_json(request->body, request->n_body, 0, err);
    if (!body)
        return -1;
    const char *token = json_string_value(json_object_get(body, "token"));
    const char *link = json_string_value(json_object_get(body, "link"));
    int failed;
    if ((!token && !link) || json_object_size(body) != 1)
        failed = err_field(err, json_object_get(body, "link") ? "/link" : "/token",
                           "must be the only field, a string");
    else
        failed = token ? session_of_token(request, token, session, err)
                       : session_of_link(request, link, session, err);
    json_decref(body);
    return failed;
}

/* The request's state. NULL: the request is answered. */
static struct session *session_new(struct request *request)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a session");
        request_fail(request, &request->err);
        return NULL;
    }
    request->state = session;
    request->free_state = free;
    return session;
}

enum request_result api_session_create(struct request *request)
{
    struct session *session = session_new(request);
    if (!session)
        return REQUEST_DONE;
    if (!request->server->auth) /* every request is the user `local`, no session needed */
        return whoami_answer(request);
    if (session_user(request, session, &request->err))
        return request_fail(request, &request->err);
    secret_make("session", session->id, sizeof session->id, session->hash);
    return request_submit(request, session_store, session, session_stored);
}

static int session_revoke(struct db_writer *writer, void *arg, struct err *err)
{
    const struct session *session = arg;
    return credential_revoke(writer, session->hash, err);
}

/* A session that is not stored any more is logged out already: not an error. */
static enum request_result session_revoked(struct request *request)
{
    if (request->result && request->err.code != ERR_NOT_FOUND)
        return request_fail(request, &request->err);
    request_reply_empty(request);
    session_cookie(request, "", 0);
    return REQUEST_DONE;
}

enum request_result api_session_delete(struct request *request)
{
    struct session *session = session_new(request);
    if (!session)
        return REQUEST_DONE;
    if (!auth_session(request, session->id, sizeof session->id))
        return request_reply_empty(request);
    hash_sha256(session->id, strlen(session->id), session->hash);
    return request_submit(request, session_revoke, session, session_revoked);
}
