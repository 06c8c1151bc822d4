/* commands: see commands.h. */
#include "server/cli/commands.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/emit.h"
#include "config/hash.h"
#include "config/options.h"
#include "config/utf8.h"
#include "db/bindings.h"
#include "db/compact.h"
#include "db/db.h"
#include "db/limits.h"
#include "db/users.h"
#include "server/cli/client.h"
#include "server/secret.h"
#include "server/data.h"
#include "server/server.h"

enum {
    COMMANDS_PATH_MAX = 128, /* "/users/NAME/tokens/ID/rotate" */
    COMMANDS_DAY_MAX = 32
};

#define COMMANDS_DAY "%Y-%m-%d"

static int commands_fail(const struct err *err)
{
    fprintf(stderr, "tokenfate: %s\n", err->message);
    return 1;
}

static int commands_usage(const char *usage)
{
    fprintf(stderr, "usage: %s\n", usage);
    return 2;
}

static int commands_database(const struct settings *settings, char *path, size_t n, struct err *err)
{
    return data_path(settings, path, n, err, "tokenfate.db");
}

/* One change, as a database operation and as a request to a server. */
struct commands_change {
    db_operation *operation; /* if no server runs */
    void *arg;
    const char *method;           /* if a server runs */
    char path[COMMANDS_PATH_MAX]; /* below /api/v1 */
    char *body;                   /* JSON (malloc), NULL: none */
    json_t *answer;               /* of the server */
};

/* Run the operation on the database. The caller has taken the lock; it is released here. */
static int commands_operate(const struct settings *settings, const struct commands_change *change,
                            int lock, struct err *err)
{
    struct db *db = NULL;
    char path[DATA_PATH_MAX];
    int failed = hash_init(err) || commands_database(settings, path, sizeof path, err) ||
                 db_open(path, &db, err) ||
                 db_call_as(db, USER_LOCAL, change->operation, change->arg, err);
    db_close(db);
    close(lock);
    return failed ? -1 : 0;
}

/* Make the change and free its body. The lock may be held by a server that starts or ends and
 * does not answer, or by a trainer of a server that was killed. Both pass, so try again as
 * long as a starting server would (DATA_LOCK_TRIES). Returns the exit code. */
static int commands_change(const struct settings *settings, struct commands_change *change)
{
    struct err err = ERR_INIT;
    int result = 1;
    for (int tries = 0; result > 0 && tries < DATA_LOCK_TRIES; tries++) {
        if (tries)
            usleep(DATA_LOCK_PAUSE_US);
        err_clear(&err);
        int lock = data_lock_once(settings, &err);
        if (lock >= 0)
            result = commands_operate(settings, change, lock, &err);
        else if (err.code != ERR_CONFLICT)
            result = -1;
        else
            result = client_request(settings, change->method, change->path, change->body,
                                    &change->answer, &err);
    }
    free(change->body);
    if (result > 0)
        err_prefix(&err, "a server holds %s but does not answer", settings->data);
    return result ? commands_fail(&err) : 0;
}

/* Read the database, beside a server or without one. Returns the exit code. */
static int commands_read(const struct settings *settings,
                         int (*read)(struct db_reader *reader, void *arg, struct err *err),
                         void *arg)
{
    struct err err = ERR_INIT;
    struct db_reader *reader = NULL;
    char path[DATA_PATH_MAX];
    int failed = commands_database(settings, path, sizeof path, &err) ||
                 db_reader_open_path(path, &reader, &err) || read(reader, arg, &err);
    db_reader_close(reader);
    return failed ? commands_fail(&err) : 0;
}

/* Microseconds since 1970 in UTC, as strftime formats it. */
static void commands_time(int64_t microseconds, const char *format, char *text, size_t n)
{
    time_t seconds = (time_t)(microseconds / 1000000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(text, n, format, &utc);
}

/* Body of a request (malloc) with a text and a flag; a NULL key omits that member. */
static char *commands_body(const char *text_key, const char *text, const char *flag_key, int flag)
{
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    emit_object(&json, NULL);
    if (text_key)
        emit_text(&json, text_key, text);
    if (flag_key)
        emit_bool(&json, flag_key, flag);
    emit_end(&json);
    return emit_close_text(&json);
}

static int commands_no_memory(struct err *err)
{
    err_set(err, ERR_NO_MEMORY, "no memory for a request");
    return commands_fail(err);
}

/* ---- user ---- */

struct commands_user {
    const char *name;
    int admin, disabled;
    int64_t uid; /* of an account of this machine, -1: none */
};

static int commands_user_insert(struct db_writer *writer, void *arg, struct err *err)
{
    const struct commands_user *user = arg;
    return user_insert(writer, user->name, user->admin, err);
}

static int commands_user_change(struct db_writer *writer, void *arg, struct err *err)
{
    const struct commands_user *user = arg;
    return user_change(writer, user->name, -1, user->disabled, err);
}

static int commands_user_bind(struct db_writer *writer, void *arg, struct err *err)
{
    const struct commands_user *user = arg;
    return binding_set(writer, user->name, user->uid, err);
}

static int commands_user_print(void *self, const struct user *user)
{
    char made[COMMANDS_DAY_MAX];
    commands_time(user->created_at, COMMANDS_DAY, made, sizeof made);
    fprintf(self, "%-24s %-6s %-9s %s", user->name, user->admin ? "admin" : "user",
            user->disabled ? "disabled" : "active", made);
    if (user->uid >= 0)
        fprintf(self, " uid %lld", (long long)user->uid);
    fputc('\n', self);
    return 0;
}

static int commands_user_list(struct db_reader *reader, void *arg, struct err *err)
{
    return user_list(reader, commands_user_print, arg, err);
}

static int commands_user_add(const struct settings *settings, struct commands_user *user)
{
    struct err err = ERR_INIT;
    struct commands_change change = {commands_user_insert, user, "POST", "/users", NULL, NULL};
    if (user_check_name(user->name, &err))
        return commands_fail(&err);
    change.body = commands_body("name", user->name, "admin", user->admin);
    if (!change.body)
        return commands_no_memory(&err);
    int code = commands_change(settings, &change);
    json_decref(change.answer);
    return code;
}

static int commands_user_set(const struct settings *settings, struct commands_user *user)
{
    struct err err = ERR_INIT;
    struct commands_change change = {commands_user_change, user, "PATCH", "", NULL, NULL};
    if (user_check_name(user->name, &err))
        return commands_fail(&err);
    snprintf(change.path, sizeof change.path, "/users/%s", user->name);
    change.body = commands_body(NULL, NULL, "disabled", user->disabled);
    if (!change.body)
        return commands_no_memory(&err);
    int code = commands_change(settings, &change);
    json_decref(change.answer);
    return code;
}

/* {"uid": 1000}, or null. */
static char *commands_uid_body(int64_t uid)
{
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    emit_object(&json, NULL);
    if (uid < 0)
        emit_null(&json, "uid");
    else
        emit_integer(&json, "uid", uid);
    emit_end(&json);
    return emit_close_text(&json);
}

/* word: the uid, NULL: none. */
static int commands_user_set_uid(const struct settings *settings, struct commands_user *user,
                                 const char *word)
{
    static const struct options_row row = {"uid",
                                           OPTIONS_INTEGER,
                                           offsetof(struct commands_user, uid),
                                           0,
                                           0,
                                           UINT32_MAX - 1,
                                           NULL,
                                           NULL,
                                           NULL};
    struct err err = ERR_INIT;
    struct commands_change change = {commands_user_bind, user, "PATCH", "", NULL, NULL};
    user->uid = -1;
    if (user_check_name(user->name, &err) || (word && options_store(&row, user, word, "UID", &err)))
        return commands_fail(&err);
    snprintf(change.path, sizeof change.path, "/users/%s", user->name);
    if (!(change.body = commands_uid_body(user->uid)))
        return commands_no_memory(&err);
    int code = commands_change(settings, &change);
    json_decref(change.answer);
    return code;
}

/* ---- limits of a user ---- */

struct commands_limits {
    const struct settings *settings;
    const char *user;
    int64_t values[LIMITS]; /* as of limits_set */
};

static int commands_limits_set(struct db_writer *writer, void *arg, struct err *err)
{
    const struct commands_limits *limits = arg;
    return limits_set(writer, limits->user, limits->values, err);
}

static void commands_limits_row(enum limit limit, int64_t value, int is_own, double present)
{
    char text[24] = "no limit", has[24] = "";
    if (value)
        snprintf(text, sizeof text, "%lld", (long long)value);
    if (limit != LIMIT_LARGEST_BYTES)
        snprintf(has, sizeof has, "%.15g", present);
    printf("%-14s %20s %-5s %20s\n", limit_name(limit), text, is_own ? "own" : "site", has);
}

static int commands_limits_print(struct db_reader *reader, void *arg, struct err *err)
{
    const struct commands_limits *asked = arg;
    struct limits limits;
    if (limits_get(reader, asked->settings, asked->user, &limits, err))
        return -1;
    for (int i = 0; i < LIMITS; i++)
        commands_limits_row((enum limit)i, limits.value[i], limits.is_own[i], limits.present[i]);
    return 0;
}

/* As the server tells them, whose settings may be others than this command's. */
static void commands_limits_answer(const json_t *answer)
{
    const json_t *limits = json_object_get(answer, "limits");
    for (int i = 0; i < LIMITS; i++) {
        const json_t *one = json_object_get(limits, limit_name((enum limit)i));
        commands_limits_row((enum limit)i, json_integer_value(json_object_get(one, "limit")),
                            json_is_true(json_object_get(one, "own")),
                            json_number_value(json_object_get(one, "present")));
    }
}

/* "queued=500", "queued=site". */
static int commands_limits_take(struct commands_limits *limits, const char *word, struct err *err)
{
    char name[24];
    const char *text = strchr(word, '=');
    char *end = NULL;
    snprintf(name, sizeof name, "%.*s", text ? (int)(text - word) : 0, word);
    const int limit = limit_from_name(name);
    if (limit < 0)
        return err_set(err, ERR_INVALID,
                       "\"%.60s\" is not LIMIT=VALUE with a limit of queued, running, "
                       "stored_bytes, device_hours, largest_bytes",
                       word);
    errno = 0;
    const long long value = strtoll(text + 1, &end, 10);
    const int is_site = strcmp(text + 1, "site") == 0;
    if (!is_site && (end == text + 1 || *end || value < 0 || errno))
        return err_set(err, ERR_INVALID,
                       "%s: \"%.40s\" is neither an integer from 0 on (0: no limit) nor \"site\"",
                       name, text + 1);
    limits->values[limit] = is_site ? LIMIT_OF_SITE : value;
    return 0;
}

/* Body of the request (malloc): {"limits": {...}}. */
static char *commands_limits_body(const struct commands_limits *limits)
{
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    emit_object(&json, NULL);
    emit_object(&json, "limits");
    for (int i = 0; i < LIMITS; i++)
        if (limits->values[i] == LIMIT_OF_SITE)
            emit_null(&json, limit_name((enum limit)i));
        else if (limits->values[i] != LIMIT_KEEP)
            emit_integer(&json, limit_name((enum limit)i), limits->values[i]);
    emit_end(&json);
    emit_end(&json);
    return emit_close_text(&json);
}

/* Show the limits of a user, after a change if there are words. */
static int commands_user_limits(const struct settings *settings, const char *user, int n,
                                char **words)
{
    struct err err = ERR_INIT;
    struct commands_limits limits = {.settings = settings, .user = user};
    struct commands_change change = {
        commands_limits_set, &limits, n ? "PATCH" : "GET", "", NULL, NULL};
    for (int i = 0; i < LIMITS; i++)
        limits.values[i] = LIMIT_KEEP;
    if (user_check_name(user, &err))
        return commands_fail(&err);
    for (int i = 0; i < n; i++)
        if (commands_limits_take(&limits, words[i], &err))
            return commands_fail(&err);
    snprintf(change.path, sizeof change.path, "/users/%s", user);
    if (n && !(change.body = commands_limits_body(&limits)))
        return commands_no_memory(&err);
    const int code = commands_change(settings, &change);
    const int is_local = !code && !change.answer;
    if (!code && change.answer)
        commands_limits_answer(change.answer);
    json_decref(change.answer);
    return is_local ? commands_read(settings, commands_limits_print, &limits) : code;
}

int commands_user(const struct settings *settings, int argc, char **argv)
{
    static const struct options_row rows[] = {
        {"admin", OPTIONS_FLAG, offsetof(struct commands_user, admin), 0, 0, 0, NULL, NULL,
         "may do everything"},
    };
    struct commands_user user = {0};
    const struct options options = {rows, sizeof rows / sizeof *rows, &user};
    struct err err = ERR_INIT;
    int n = 0;
    if (options_parse(&options, 1, argc, argv, &n, &err)) {
        commands_fail(&err);
        return 2;
    }
    const char *verb = n ? argv[0] : "";
    user.name = n > 1 ? argv[1] : "";
    user.disabled = strcmp(verb, "disable") == 0;
    if (strcmp(verb, "list") == 0 && n == 1 && !user.admin)
        return commands_read(settings, commands_user_list, stdout);
    if (strcmp(verb, "add") == 0 && n == 2)
        return commands_user_add(settings, &user);
    if ((user.disabled || strcmp(verb, "enable") == 0) && n == 2 && !user.admin)
        return commands_user_set(settings, &user);
    if (strcmp(verb, "limits") == 0 && n >= 2 && !user.admin)
        return commands_user_limits(settings, user.name, n - 2, argv + 2);
    if (strcmp(verb, "bind") == 0 && n == 3 && !user.admin)
        return commands_user_set_uid(settings, &user, argv[2]);
    if (strcmp(verb, "unbind") == 0 && n == 2 && !user.admin)
        return commands_user_set_uid(settings, &user, NULL);
    return commands_usage("tokenfate " COMMANDS_USER);
}

/* ---- token ---- */

struct commands_token {
    const char *user, *label;
    int64_t expires_in; /* seconds, 0: not given */
    const char *expires_at;
    int64_t end; /* of the two above, 0: never */
    char text[SECRET_TEXT_MAX], hash[HASH_HEX];
    struct token found;
};

static int commands_token_insert(struct db_writer *writer, void *arg, struct err *err)
{
    const struct commands_token *token = arg;
    return credential_insert(writer, token->user, "token", token->hash, token->label, token->end,
                             err);
}

/* Body (malloc) of the request that issues the token. */
static char *commands_token_body(const struct commands_token *token)
{
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    emit_object(&json, NULL);
    emit_text(&json, "label", token->label);
    if (token->end)
        emit_time(&json, "expires_at", token->end);
    emit_end(&json);
    return emit_close_text(&json);
}

/* Make the change that stores a new token, and print its text. A server makes a token of its
 * own; the one made here counts only without a server. */
static int commands_token_store(const struct settings *settings, struct commands_token *token,
                                struct commands_change *change)
{
    secret_make("token", token->text, sizeof token->text, token->hash);
    int code = commands_change(settings, change);
    const char *text = json_string_value(json_object_get(change->answer, "token"));
    if (!code)
        printf("%s\n", text ? text : token->text);
    json_decref(change->answer);
    return code;
}

static int commands_token_check(struct commands_token *token, struct err *err)
{
    const size_t n = strlen(token->label);
    if (token->expires_in && token->expires_at)
        return err_set(err, ERR_INVALID, "--expires-in and --expires-at exclude each other");
    if (token->expires_at && clock_parse(token->expires_at, &token->end))
        return err_set(err, ERR_INVALID,
                       "--expires-at: \"%.64s\" is not a time like 2026-12-31T12:00:00Z",
                       token->expires_at);
    if (token->expires_in)
        token->end = db_now() + token->expires_in * 1000000;
    if (utf8_valid(token->label, n) != n)
        return err_field(err, "/label", "\"%s\" is not UTF-8", token->label);
    return user_check_name(token->user, err) || token_check_expiry(token->end, err) ? -1 : 0;
}

static int commands_token_issue(const struct settings *settings, struct commands_token *token)
{
    struct err err = ERR_INIT;
    struct commands_change change = {commands_token_insert, token, "POST", "", NULL, NULL};
    if (commands_token_check(token, &err))
        return commands_fail(&err);
    snprintf(change.path, sizeof change.path, "/users/%s/tokens", token->user);
    if (!(change.body = commands_token_body(token)))
        return commands_no_memory(&err);
    return commands_token_store(settings, token, &change);
}

/* Find a token by its text or by its id. The text is tried first; only its hash is stored. */
static int commands_token_find(struct db_reader *reader, void *arg, struct err *err)
{
    struct commands_token *token = arg;
    char id[TOKEN_ID_MAX];
    token_id(token->hash, id);
    if (token_list(reader, NULL, id, token_take, &token->found, err) ||
        (!*token->found.id &&
         token_list(reader, NULL, token->text, token_take, &token->found, err)))
        return -1;
    return *token->found.id ? 0 : err_set(err, ERR_NOT_FOUND, "there is no such token");
}

/* Look up the token that `word` is or names, because a request needs its user and its id;
 * then format the path of the request. */
static int commands_token_look(const struct settings *settings, struct commands_token *token,
                               const char *word, const char *after, struct commands_change *change)
{
    snprintf(token->text, sizeof token->text, "%s", word);
    hash_sha256(token->text, strlen(token->text), token->hash);
    if (commands_read(settings, commands_token_find, token))
        return -1;
    snprintf(change->path, sizeof change->path, "/users/%s/tokens/%s%s", token->found.user,
             token->found.id, after);
    return 0;
}

static int commands_token_revoke_found(struct db_writer *writer, void *arg, struct err *err)
{
    const struct commands_token *token = arg;
    return token_revoke(writer, token->found.user, token->found.id, err);
}

static int commands_token_revoke(const struct settings *settings, struct commands_token *token,
                                 const char *word)
{
    struct commands_change change = {commands_token_revoke_found, token, "DELETE", "", NULL, NULL};
    if (commands_token_look(settings, token, word, "", &change))
        return 1;
    return commands_change(settings, &change);
}

static int commands_token_rotate_found(struct db_writer *writer, void *arg, struct err *err)
{
    const struct commands_token *token = arg;
    return token_rotate(writer, token->found.user, token->found.id, token->hash, err);
}

static int commands_token_rotate(const struct settings *settings, struct commands_token *token,
                                 const char *word)
{
    struct commands_change change = {commands_token_rotate_found, token, "POST", "", NULL, NULL};
    if (commands_token_look(settings, token, word, "/rotate", &change))
        return 1;
    return commands_token_store(settings, token, &change);
}

static int commands_token_print(void *self, const struct token *token)
{
    char made[COMMANDS_DAY_MAX], end[COMMANDS_DAY_MAX] = "-";
    commands_time(token->created_at, COMMANDS_DAY, made, sizeof made);
    if (token->expires_at)
        commands_time(token->expires_at, COMMANDS_DAY "T%H:%MZ", end, sizeof end);
    fprintf(self, "%s %-24s %s %-17s %s\n", token->id, token->user, made, end, token->label);
    return 0;
}

static int commands_token_list(struct db_reader *reader, void *arg, struct err *err)
{
    return token_list(reader, arg, NULL, commands_token_print, stdout, err);
}

int commands_token(const struct settings *settings, int argc, char **argv)
{
    static const struct options_row rows[] = {
        {"expires_in", OPTIONS_INTEGER, offsetof(struct commands_token, expires_in), 0, 1,
         TOKEN_SECONDS_MAX, NULL, NULL, "seconds that the token lives"},
        {"expires_at", OPTIONS_POINTER, offsetof(struct commands_token, expires_at), 0, 0, 0, NULL,
         NULL, "when the token ends"},
    };
    struct commands_token token = {.label = "command line"};
    const struct options options = {rows, sizeof rows / sizeof *rows, &token};
    struct err err = ERR_INIT;
    int n = 0;
    if (hash_init(&err))
        return commands_fail(&err);
    if (options_parse(&options, 1, argc, argv, &n, &err)) {
        commands_fail(&err);
        return 2;
    }
    const char *verb = n ? argv[0] : "";
    const int has_end = token.expires_in || token.expires_at;
    token.user = n > 1 ? argv[1] : NULL;
    token.label = n == 3 ? argv[2] : token.label;
    if (strcmp(verb, "issue") == 0 && (n == 2 || n == 3))
        return commands_token_issue(settings, &token);
    if (strcmp(verb, "list") == 0 && n <= 2 && !has_end)
        return commands_read(settings, commands_token_list, n > 1 ? argv[1] : NULL);
    if (strcmp(verb, "rotate") == 0 && n == 2 && !has_end)
        return commands_token_rotate(settings, &token, argv[1]);
    if (strcmp(verb, "revoke") == 0 && n == 2 && !has_end)
        return commands_token_revoke(settings, &token, argv[1]);
    return commands_usage("tokenfate " COMMANDS_TOKEN);
}

/* ---- compact ---- */

/* Only without a server: the one-writer rule (db.h) holds between processes too. */
int commands_compact(const struct settings *settings, int argc, char **argv)
{
    struct err err = ERR_INIT;
    char path[DATA_PATH_MAX];
    (void)argv;
    if (argc)
        return commands_usage("tokenfate compact");
    int lock = data_lock_once(settings, &err);
    if (lock < 0)
        return commands_fail(&err);
    int failed = commands_database(settings, path, sizeof path, &err) || compact(path, &err);
    close(lock);
    return failed ? commands_fail(&err) : 0;
}
