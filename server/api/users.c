/* api_users: people and their bearer tokens, for administrators (ROUTE_ADMIN).
 * Every change is one durable operation; a token is shown by the answer that
 * made it and never again. HTTP thread (list: pool). */
#include "server/api/users.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "config/hash.h"
#include "server/http/auth.h"
#include "server/json.h"
#include "server/secret.h"
#include "server/http/word_list.h"

enum { USERS_VALUE_MAX = 60 }; /* bytes of a bad value that are quoted */

struct people {
    char name[USER_NAME_MAX + 1], label[TOKEN_LABEL_MAX + 1];
    int admin, disabled; /* -1: not said */
    char text[SECRET_TEXT_MAX], hash[HASH_HEX], id[TOKEN_ID_MAX];
};

/* ---- answers ---- */

static void token_write(FILE *out, const struct token *token)
{
    fprintf(out, "{\"id\":\"%s\",\"label\":", token->id);
    json_write_string(out, token->label);
    fputs(",\"created_at\":", out);
    json_write_time(out, token->created_at);
}

struct people_writer {
    struct request *request;
    FILE *out;
    int n_users, n_tokens, failed;
};

static int people_write_token(void *self, const struct token *token)
{
    struct people_writer *writer = self;
    fputs(writer->n_tokens++ ? "," : "", writer->out);
    token_write(writer->out, token);
    putc('}', writer->out);
    return 0;
}

static int people_write_user(void *self, const struct user *user)
{
    struct people_writer *writer = self;
    fputs(writer->n_users++ ? ",\n{\"name\":" : "{\"name\":", writer->out);
    json_write_string(writer->out, user->name);
    fprintf(writer->out,
            ",\"admin\":%s,\"disabled\":%s,\"created_at\":", user->admin ? "true" : "false",
            user->disabled ? "true" : "false");
    json_write_time(writer->out, user->created_at);
    fputs(",\"tokens\":[", writer->out);
    writer->n_tokens = 0;
    writer->failed = token_list(writer->request->reader, user->name, NULL, people_write_token,
                                writer, &writer->request->err);
    fputs("]}", writer->out);
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
    struct people_writer writer = {.request = request, .out = buffer.out};
    if (people_write_user(&writer, &user))
        return request_close_fail(request, &buffer, &request->err);
    putc('\n', buffer.out);
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

/* check also keeps the text within out. */
static void body_text(const char *field, const json_t *value,
                      int (*check)(const char *text, struct err *err), char *out, struct err *err)
{
    if (!json_is_string(value))
        body_bad(field, value, "must be a string", err);
    else if (!check(json_string_value(value), err))
        strcpy(out, json_string_value(value));
}

/* allowed: the fields that this request knows, "a,b". */
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
        else
            body_flag(field, value,
                      strcmp(field, "admin") == 0 ? &people->admin : &people->disabled, err);
    }
}

static int body_read(const struct request *request, const char *allowed, struct people *people,
                     struct err *err)
{
    json_error_t where;
    json_t *body = json_loadb(request->body ? request->body : "", request->n_body,
                              JSON_REJECT_DUPLICATES, &where);
    if (!body)
        return err_set(err, ERR_MALFORMED, "line %d, column %d: %s", where.line, where.column,
                       where.text);
    if (!json_is_object(body)) {
        err_set(err, ERR_MALFORMED, "the body must be a JSON object");
    } else {
        if (word_list_has(allowed, "name") && !json_object_get(body, "name"))
            err_field(err, "/name", "is missing");
        body_fields(body, allowed, people, err);
    }
    json_decref(body);
    return err->code == ERR_NONE ? 0 : -1;
}

/* The request's state, with what the body says. NULL: answered. */
static struct people *people_begin(struct request *request, const char *allowed)
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
    struct people_writer writer = {.request = request, .out = buffer.out};
    fputs("{\"users\":[\n", buffer.out);
    if (user_list(request->reader, people_write_user, &writer, &request->err) || writer.failed)
        return request_close_fail(request, &buffer, &request->err);
    fputs("]}\n", buffer.out);
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
    snprintf(location, sizeof location, "/api/v1/users/%s", people->name);
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
    return user_change(writer, request->params[0], people->admin, people->disabled, err);
}

static enum request_result user_patched(struct request *request)
{
    if (request->result)
        return request_fail(request, &request->err);
    return user_answer(request, request->params[0], 200);
}

enum request_result api_user_patch(struct request *request)
{
    if (!people_begin(request, "admin,disabled"))
        return REQUEST_DONE;
    return request_submit(request, user_patch, request, user_patched);
}

/* ---- tokens ---- */

/* text: the token itself, NULL where it is not shown. */
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
    token_write(buffer.out, &token);
    if (text)
        fprintf(buffer.out, ",\"token\":\"%s\"", text);
    fputs("}\n", buffer.out);
    return request_close_reply(request, &buffer, status, MEDIA_JSON);
}

enum request_result api_user_token_show(struct request *request)
{
    return token_answer(request, request->params[1], NULL, 200);
}

static int token_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    const struct people *people = request->state;
    return credential_insert(writer, request->params[0], "token", people->hash, people->label, 0,
                             err);
}

static enum request_result token_stored(struct request *request)
{
    const struct people *people = request->state;
    char location[USER_NAME_MAX + TOKEN_ID_MAX + 32];
    if (request->result)
        return request_fail(request, &request->err);
    token_answer(request, people->id, people->text, 201);
    snprintf(location, sizeof location, "/api/v1/users/%s/tokens/%s", request->params[0],
             people->id);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    return REQUEST_DONE;
}

enum request_result api_user_token_create(struct request *request)
{
    struct people *people = people_begin(request, "label");
    if (!people)
        return REQUEST_DONE;
    secret_make("token", people->text, sizeof people->text, people->hash);
    token_id(people->hash, people->id);
    return request_submit(request, token_store, request, token_stored);
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
    return request_submit(request, token_delete, request, token_deleted);
}
