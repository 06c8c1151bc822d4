/* users: the handlers of users, to which the route table admits administrators alone
 * (ROUTE_ADMIN), and of bearer tokens, which are also for the user they belong to. The list runs on a pool thread, the others on the HTTP
 * thread.
 *
 * Every change is one durable operation. The text of a token is in the answer that made it
 * and nowhere else: the database keeps its hash. */
#include "server/api/link.h"
#include "server/api/users.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "config/hash.h"
#include "config/input.h"
#include "db/bindings.h"
#include "server/api/limits.h"
#include "server/http/auth.h"
#include "server/http/word_list.h"
#include "server/queue/workers.h"
#include "server/secret.h"

enum {
    USERS_VALUE_MAX = 60, /* bytes of a bad value that are quoted */
    UID_UNSAID = -2
};
#define UID_LARGEST 4294967294 /* the next one is no uid */

/* A change, as the request's state: what the body says, and a token that was made. */
struct people {
    char name[USER_NAME_MAX + 1], label[TOKEN_LABEL_MAX + 1];
    int admin, disabled; /* -1: not in the body */
    double share;        /* 0: not in the body */
    int64_t uid;         /* of an account of this machine, -1: none, UID_UNSAID: not in the body */
    int64_t limits[LIMITS]; /* as of limits_set */
    int64_t expires_at;     /* 0: never */
    char text[SECRET_TEXT_MAX], hash[HASH_HEX], id[TOKEN_ID_MAX];
};

/* ---- answers ---- */

/* The members of a token, in the open object. */
static void token_write(struct emit *json, const struct token *token)
{
    emit_text(json, "id", token->id);
    emit_text(json, "label", token->label);
    emit_time(json, "created_at", token->created_at);
    emit_time(json, "expires_at", token->expires_at);
}

struct people_writer {
    struct request *request;
    struct emit *json;
    int failed;
};

static int people_write_token(void *self, const struct token *token)
{
    struct emit *json = self;
    emit_object(json, NULL);
    token_write(json, token);
    emit_end(json);
    return 0;
}

/* For user_list, which stops when this fails but does not report it: hence `failed`. */
static int people_write_user(void *self, const struct user *user)
{
    struct people_writer *writer = self;
    struct emit *json = writer->json;
    emit_object(json, NULL);
    emit_text(json, "name", user->name);
    emit_bool(json, "admin", user->admin);
    emit_bool(json, "disabled", user->disabled);
    emit_number(json, "share", user->share);
    if (user->uid >= 0)
        emit_integer(json, "uid", user->uid);
    else
        emit_null(json, "uid");
    emit_time(json, "created_at", user->created_at);
    writer->failed =
        api_limits_emit_of(json, "limits", writer->request, user->name, &writer->request->err);
    if (writer->failed)
        return -1;
    emit_array(json, "tokens");
    writer->failed = token_list(writer->request->reader, user->name, NULL, people_write_token, json,
                                &writer->request->err);
    emit_end(json);
    emit_end(json);
    return writer->failed;
}

static enum request_result user_answer(struct request *request, const char *name, unsigned status)
{
    struct user user;
    struct request_buffer buffer;
    if (user_get(request->reader, name, &user, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    struct people_writer writer = {.request = request, .json = &buffer.json};
    if (people_write_user(&writer, &user))
        return request_close_fail(request, &buffer, &request->err);
    return request_close_reply(request, &buffer, status, MEDIA_JSON);
}

/* ---- the body ---- */

static void body_bad(const char *field, const json_t *value, const char *wanted, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    snprintf(pointer, sizeof pointer, "/%.90s", field);
    err_field(err, pointer, "%.*s: %s", USERS_VALUE_MAX, text ? text : "", wanted);
    free(text);
}

static void body_flag(const char *field, const json_t *value, int *out, struct err *err)
{
    if (json_is_boolean(value))
        *out = json_is_true(value);
    else
        body_bad(field, value, "must be true or false", err);
}

static void body_share(const char *field, const json_t *value, double *out, struct err *err)
{
    const double share = json_number_value(value); /* 0 for what is no number */
    if (share >= USER_SHARE_MIN && share <= USER_SHARE_MAX)
        *out = share;
    else
        body_bad(field, value, "must be a number from 0.01 to 100", err);
}

static void body_uid(const char *field, const json_t *value, int64_t *out, struct err *err)
{
    int64_t uid = -1;
    if (json_is_null(value) || (input_integer(value, &uid) && uid >= 0 && uid <= UID_LARGEST))
        *out = uid;
    else
        body_bad(field, value, "must be the number of an account, or null", err);
}

/* {"queued": 100, "running": null}: 0 is no limit, null the site's. */
static void body_limits(const char *field, const json_t *value, int64_t limits[LIMITS],
                        struct err *err)
{
    const char *name;
    json_t *one;
    if (!json_is_object(value)) {
        body_bad(field, value, "must be an object", err);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, one)
    {
        char path[USERS_VALUE_MAX];
        const int limit = limit_from_name(name);
        int64_t asked = LIMIT_OF_SITE;
        snprintf(path, sizeof path, "limits/%.40s", name);
        if (limit < 0)
            body_bad(path, one, "is not a limit", err);
        else if (!json_is_null(one) && (!input_integer(one, &asked) || asked < 0))
            body_bad(path, one, "must be an integer from 0 on (0: no limit), or null (the site's)",
                     err);
        else
            limits[limit] = asked;
    }
}

/* check bounds the length of the text to the room of out. */
static void body_text(const char *field, const json_t *value,
                      int (*check)(const char *text, struct err *err), char *out, struct err *err)
{
    if (!json_is_string(value))
        body_bad(field, value, "must be a string", err);
    else if (!check(json_string_value(value), err))
        strcpy(out, json_string_value(value));
}

/* The end of a token, in seconds from now or as a time. */
static void body_expiry(const char *field, const json_t *value, int64_t *out, struct err *err)
{
    const int is_length = strcmp(field, "expires_in") == 0;
    int64_t seconds;
    if (is_length && input_integer(value, &seconds) && seconds > 0 && seconds <= TOKEN_SECONDS_MAX)
        *out = db_now() + seconds * 1000000;
    else if (is_length)
        body_bad(field, value, "must be a number of seconds from 1 to ten years", err);
    else if (!json_is_string(value) || clock_parse(json_string_value(value), out))
        body_bad(field, value, "must be a time as RFC 3339 has it", err);
    else
        token_check_expiry(*out, err);
}

/* allowed: the fields of this request, "a,b". */
static void body_fields(json_t *body, const char *allowed, struct people *people, struct err *err)
{
    const char *field;
    json_t *value;
    json_object_foreach(body, field, value)
    {
        if (!word_list_has(allowed, field))
            body_bad(field, value, "is not a field of this request", err);
        else if (strcmp(field, "name") == 0)
            body_text(field, value, user_check_name, people->name, err);
        else if (strcmp(field, "label") == 0)
            body_text(field, value, token_check_label, people->label, err);
        else if (strcmp(field, "share") == 0)
            body_share(field, value, &people->share, err);
        else if (strcmp(field, "uid") == 0)
            body_uid(field, value, &people->uid, err);
        else if (strcmp(field, "limits") == 0)
            body_limits(field, value, people->limits, err);
        else if (strncmp(field, "expires_", 8) == 0)
            body_expiry(field, value, &people->expires_at, err);
        else
            body_flag(field, value,
                      strcmp(field, "admin") == 0 ? &people->admin : &people->disabled, err);
    }
}

static int body_read(const struct request *request, const char *allowed, struct people *people,
                     struct err *err)
{
    json_t *body = input_json(request->body, request->n_body, 0, err);
    if (!body)
        return -1;
    if (!json_is_object(body)) {
        err_set(err, ERR_MALFORMED, "the body must be a JSON object");
    } else {
        if (word_list_has(allowed, "name") && !json_object_get(body, "name"))
            err_field(err, "/name", "is missing");
        if (json_object_get(body, "expires_in") && json_object_get(body, "expires_at"))
            err_field(err, "/expires_in", "stands beside expires_at; give one of them");
        body_fields(body, allowed, people, err);
    }
    json_decref(body);
    return err->code == ERR_NONE ? 0 : -1;
}

/* The request's state. NULL: the request is answered. */
static struct people *people_new(struct request *request)
{
    struct people *people = calloc(1, sizeof *people);
    if (!people) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a user");
        request_fail(request, &request->err);
        return NULL;
    }
    request->state = people;
    request->free_state = free;
    people->admin = people->disabled = -1;
    people->uid = UID_UNSAID;
    for (int i = 0; i < LIMITS; i++)
        people->limits[i] = LIMIT_KEEP;
    return people;
}

/* The same, filled from the body. */
static struct people *people_begin(struct request *request, const char *allowed)
{
    struct people *people = people_new(request);
    if (!people)
        return NULL;
    if (body_read(request, allowed, people, &request->err)) {
        request_fail(request, &request->err);
        return NULL;
    }
    return people;
}

/* ---- users ---- */

enum request_result api_user_list(struct request *request)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    struct people_writer writer = {.request = request, .json = &buffer.json};
    emit_object(&buffer.json, NULL);
    emit_array(&buffer.json, "users");
    if (user_list(request->reader, people_write_user, &writer, &request->err) || writer.failed)
        return request_close_fail(request, &buffer, &request->err);
    emit_end(&buffer.json);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

enum request_result api_user_show(struct request *request)
{
    return user_answer(request, request->params[0], 200);
}

static int user_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct people *people = arg;
    return user_insert(writer, people->name, people->admin > 0, err);
}

static enum request_result user_stored(struct request *request)
{
    const struct people *people = request->state;
    char location[USER_NAME_MAX + 32];
    if (request->result)
        return request_fail(request, &request->err);
    user_answer(request, people->name, 201);
    snprintf(location, sizeof location, "%susers/%s", link_root(request), people->name);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    return REQUEST_DONE;
}

enum request_result api_user_create(struct request *request)
{
    struct people *people = people_begin(request, "name,admin");
    if (!people)
        return REQUEST_DONE;
    return request_submit(request, user_store, people, user_stored);
}

static int user_patch(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    const struct people *people = request->state;
    if (user_change(writer, request->params[0], people->admin, people->disabled, err) ||
        limits_set(writer, request->params[0], people->limits, err))
        return -1;
    if (people->uid != UID_UNSAID && binding_set(writer, request->params[0], people->uid, err))
        return -1;
    return people->share > 0 ? user_set_share(writer, request->params[0], people->share, err) : 0;
}

static enum request_result user_patched(struct request *request)
{
    if (request->result)
        return request_fail(request, &request->err);
    workers_wake(request->server->workers); /* jobs may have been released, or a limit raised */
    return user_answer(request, request->params[0], 200);
}

enum request_result api_user_patch(struct request *request)
{
    if (!people_begin(request, "admin,disabled,share,uid,limits"))
        return REQUEST_DONE;
    return request_submit(request, user_patch, request, user_patched);
}

/* ---- tokens ---- */

/* The tokens of the path's user are for that user and for administrators. 0, or -1: the
 * request is answered. */
static int token_refuse(struct request *request)
{
    if (!auth_may_change(request, request->params[0], &request->err))
        return 0;
    request_fail(request, &request->err);
    return -1;
}

enum request_result api_user_token_list(struct request *request)
{
    struct user user;
    struct request_buffer buffer;
    if (token_refuse(request))
        return REQUEST_DONE;
    if (user_get(request->reader, request->params[0], &user, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    emit_array(&buffer.json, "tokens");
    if (token_list(request->reader, user.name, NULL, people_write_token, &buffer.json,
                   &request->err))
        return request_close_fail(request, &buffer, &request->err);
    emit_end(&buffer.json);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* text: the token itself in the answer that made it, else NULL. */
static enum request_result token_answer(struct request *request, const char *id, const char *text,
                                        unsigned status)
{
    struct token token = {.id = ""};
    struct request_buffer buffer;
    const char *user = request->params[0];
    if (token_list(request->reader, user, id, token_take, &token, &request->err))
        return request_fail(request, &request->err);
    if (!*token.id) {
        err_set(&request->err, ERR_NOT_FOUND, "%.64s has no token %.64s", user, id);
        return request_fail(request, &request->err);
    }
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    token_write(&buffer.json, &token);
    if (text)
        emit_text(&buffer.json, "token", text);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, status, MEDIA_JSON);
}

enum request_result api_user_token_show(struct request *request)
{
    if (token_refuse(request))
        return REQUEST_DONE;
    return token_answer(request, request->params[1], NULL, 200);
}

static int token_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    const struct people *people = request->state;
    return credential_insert(writer, request->params[0], "token", people->hash, people->label,
                             people->expires_at, err);
}

static int token_replace(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    const struct people *people = request->state;
    return token_rotate(writer, request->params[0], request->params[1], people->hash, err);
}

static enum request_result token_stored(struct request *request)
{
    const struct people *people = request->state;
    char location[USER_NAME_MAX + TOKEN_ID_MAX + 32];
    if (request->result)
        return request_fail(request, &request->err);
    token_answer(request, people->id, people->text, 201);
    snprintf(location, sizeof location, "%susers/%s/tokens/%s", link_root(request),
             request->params[0], people->id);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    return REQUEST_DONE;
}

/* Make the text of a token for the request's state, and store it. */
static enum request_result token_make(struct request *request, db_operation *store)
{
    struct people *people = request->state;
    secret_make("token", people->text, sizeof people->text, people->hash);
    token_id(people->hash, people->id);
    return request_submit(request, store, request, token_stored);
}

enum request_result api_user_token_create(struct request *request)
{
    if (token_refuse(request) || !people_begin(request, "label,expires_in,expires_at"))
        return REQUEST_DONE;
    return token_make(request, token_store);
}

enum request_result api_user_token_rotate(struct request *request)
{
    if (token_refuse(request) || !people_new(request))
        return REQUEST_DONE;
    return token_make(request, token_replace);
}

static int token_delete(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    return token_revoke(writer, request->params[0], request->params[1], err);
}

static enum request_result token_deleted(struct request *request)
{
    if (request->result)
        return request_fail(request, &request->err);
    return request_reply_empty(request);
}

enum request_result api_user_token_delete(struct request *request)
{
    if (token_refuse(request))
        return REQUEST_DONE;
    return request_submit(request, token_delete, request, token_deleted);
}
