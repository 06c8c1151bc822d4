/* login: see login.h.
 *
 * Who asks on the Unix socket is told by the kernel, so this is the one request there that needs
 * no credential; its answer is a token, and every other request needs one as on TCP. That keeps
 * one rule for both: what a request may do depends on its credential and not on its way.
 *
 * The name of an account comes from the machine's directory, which may be another machine: so
 * api_login runs on the pool. The codes of api_login_link belong to the HTTP thread. */
#include "server/api/login.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "db/bindings.h"
#include "server/http/logins.h"
#include "server/http/peer.h"
#include "server/secret.h"

enum { LOGIN_ENTRY_MAX = 64 << 10 }; /* bytes of an entry of the directory: groups have members */

struct login_request {
    struct binding_login binding;
    char account[USER_NAME_MAX + 1], user[USER_NAME_MAX + 1];
    char text[SECRET_TEXT_MAX], hash[HASH_HEX];
};

/* ---- the account ---- */

/* The id of a group; -1: there is none. */
static int64_t login_group(const char *name)
{
    struct group entry, *found = NULL;
    char *room = malloc(LOGIN_ENTRY_MAX);
    if (room)
        getgrnam_r(name, &entry, room, LOGIN_ENTRY_MAX, &found);
    const int64_t id = found ? (int64_t)found->gr_gid : -1;
    free(room);
    return id;
}

int login_check_settings(const struct settings *settings, struct err *err)
{
    if (!settings->admin_group[0] || login_group(settings->admin_group) >= 0)
        return 0;
    return err_set(err, ERR_INVALID, "admin_group: this machine has no group \"%.64s\"",
                   settings->admin_group);
}

/* An account without a name, as in a container that has the uid of its host, gets one. */
static int login_account(int64_t uid, char name[USER_NAME_MAX + 1], struct err *err)
{
    struct passwd entry, *found = NULL;
    char *room = malloc(LOGIN_ENTRY_MAX);
    int failed = room ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for the name of an account");
    if (room && getpwuid_r((uid_t)uid, &entry, room, LOGIN_ENTRY_MAX, &found))
        failed = err_set(err, ERR_UNAVAILABLE, "the name of uid %lld cannot be found at present",
                         (long long)uid);
    if (!failed && !found)
        snprintf(name, USER_NAME_MAX + 1, "uid%lld", (long long)uid);
    else if (!failed && strlen(entry.pw_name) > USER_NAME_MAX)
        failed =
            err_set(err, ERR_INVALID, "the account's name is longer than %d bytes", USER_NAME_MAX);
    else if (!failed)
        strcpy(name, entry.pw_name);
    free(room);
    return failed;
}

/* uid 0, or a member of admin_group. */
static int login_may_be_admin(const struct request *request)
{
    const char *name = request->server->settings.admin_group;
    const int64_t group = name[0] ? login_group(name) : -1;
    return request->uid == 0 || (group >= 0 && peer_has_group(request->fd, (gid_t)group));
}

/* ---- POST /login ---- */

static int login_admit(const struct request *request, struct err *err)
{
    if (!request->server->auth)
        return err_set(err, ERR_CONFLICT, "no login is needed here: everybody is %s", USER_LOCAL);
    if (request->uid == PEER_NONE)
        return err_set(err, ERR_FORBIDDEN,
                       "who asks can be told on the Unix socket alone (setting socket)");
    if (!peer_is_person(request->uid))
        return err_set(err, ERR_FORBIDDEN, "uid %lld is an account of the system or of a service",
                       (long long)request->uid);
    return 0;
}

static int login_store(struct db_writer *writer, void *arg, struct err *err)
{
    struct login_request *login = arg;
    return binding_login(writer, &login->binding, login->user, err);
}

/* Where a browser reaches the server from this machine. */
static void login_address(const struct server *server, char *url, size_t n)
{
    const char *port = strrchr(server->url, ':');
    if (server->listen_any && port)
        snprintf(url, n, "%s://%s%s", server->tls ? "https" : "http",
                 strchr(server->listen_host, ':') ? "[::1]" : "127.0.0.1", port);
    else
        snprintf(url, n, "%s", server->url);
}

static enum request_result login_stored(struct request *request)
{
    const struct login_request *login = request->state;
    struct user user;
    struct request_buffer buffer;
    char id[TOKEN_ID_MAX], url[sizeof request->server->url];
    if (request->result)
        return request_fail(request, &request->err);
    if (user_get(request->reader, login->user, &user, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    token_id(login->hash, id);
    login_address(request->server, url, sizeof url);
    emit_object(&buffer.json, NULL);
    emit_text(&buffer.json, "name", user.name);
    emit_bool(&buffer.json, "admin", user.admin);
    emit_text(&buffer.json, "id", id);
    emit_text(&buffer.json, "token", login->text);
    emit_text(&buffer.json, "url", url);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 201, MEDIA_JSON);
}

enum request_result api_login(struct request *request)
{
    struct login_request *login = calloc(1, sizeof *login);
    request->state = login;
    request->free_state = free;
    if (!login)
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a login");
    if (!login || login_admit(request, &request->err) ||
        login_account(request->uid, login->account, &request->err))
        return request_fail(request, &request->err);
    secret_make("token", login->text, sizeof login->text, login->hash);
    login->binding = (struct binding_login){
        .uid = request->uid,
        .account = login->account,
        .may_create = strcmp(request->server->settings.socket_users, "create") == 0,
        .may_be_admin = login_may_be_admin(request),
        .hash = login->hash};
    return request_submit(request, login_store, login, login_stored);
}

/* ---- POST /login/link ---- */

/* Of the HTTP thread. */
static struct links links;

enum request_result api_login_link(struct request *request)
{
    struct link_owner owner;
    struct request_buffer buffer;
    char code[SECRET_TEXT_MAX], hash[HASH_HEX];
    if (!request->server->auth)
        err_set(&request->err, ERR_CONFLICT, "no login is needed here: everybody is %s",
                USER_LOCAL);
    else if (!request->credential.kind || strcmp(request->credential.kind, "token") != 0)
        err_set(&request->err, ERR_FORBIDDEN, "only a user's token makes a link for a browser");
    if (request->err.code != ERR_NONE)
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    strcpy(owner.user, request->user.name);
    token_id(request->credential.hash, owner.token);
    secret_make("link", code, sizeof code, hash);
    links_add(&links, hash, &owner, clock_monotonic_ms());
    emit_object(&buffer.json, NULL);
    emit_text(&buffer.json, "code", code);
    emit_integer(&buffer.json, "expires_in", LINKS_SECONDS);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 201, MEDIA_JSON);
}

int login_take(struct request *request, const char *code, struct link_owner *owner, struct err *err)
{
    struct credential credential = {.kind = "link"};
    const size_t n = strlen(code);
    if (n <= SECRET_TEXT_MAX)
        hash_sha256(code, n, credential.hash);
    if (credential.hash[0] && !links_take(&links, credential.hash, clock_monotonic_ms(), owner))
        return 0;
    err_set(err, ERR_UNAUTHORIZED, "this link is not known, was used, or is older than %d s",
            LINKS_SECONDS);
    logins_refuse(request, &credential, err);
    return -1;
}
