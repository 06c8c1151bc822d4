/* notify: see notify.h. A secret is stored as it is, because signing needs it, and shown by the
 * answer that made it alone. */
#include "server/api/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/input.h"
#include "db/notify.h"
#include "server/api/link.h"
#include "server/api/notify_json.h"
#include "server/http/auth.h"
#include "server/redact.h"
#include "server/secret.h"

enum { NOTIFY_SHOWN_MAX = 20 }; /* messages that are still to be delivered */

/* The request's state. */
struct asked {
    struct notify_list list; /* one address */
    char secret[SECRET_TEXT_MAX];
};

/* 0, or -1: the request is answered. Without logins the one user has no row. */
static int refuse(struct request *request)
{
    struct user user;
    const char *name = request->params[0];
    if (!auth_may_change(request, name, &request->err) &&
        (strcmp(name, request->user.name) == 0 ||
         !user_get(request->reader, name, &user, &request->err)))
        return 0;
    request_fail(request, &request->err);
    return -1;
}

static struct asked *asked_new(struct request *request)
{
    struct asked *asked = calloc(1, sizeof *asked);
    if (!asked) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for an address");
        request_fail(request, &request->err);
        return NULL;
    }
    request->state = asked;
    request->free_state = free;
    return asked;
}

/* ---- GET ---- */

static int write_pending(void *self, const struct notification *message)
{
    struct emit *json = self;
    char shown[256];
    redact_url(message->url, shown, sizeof shown);
    emit_object(json, NULL);
    emit_text(json, "id", message->id);
    emit_text(json, "subject", message->subject);
    emit_text(json, "url", shown);
    emit_time(json, "created_at", message->created_at);
    emit_integer(json, "tries", message->tries);
    emit_time(json, "due_at", message->due_at);
    emit_text(json, "error", message->error);
    emit_end(json);
    return 0;
}

static int write_answer(struct request *request, struct emit *json, struct notify_list *list)
{
    const char *user = request->params[0];
    const struct notify_owner owner = {.user = user};
    char secret[NOTIFY_SECRET_MAX];
    if (notify_targets(request->reader, &owner, list, &request->err) ||
        notify_secret(request->reader, user, secret, &request->err))
        return -1;
    emit_object(json, NULL);
    emit_array(json, "notify");
    for (int i = 0; i < list->n; i++)
        notify_json_emit(json, &list->targets[i], 1);
    emit_end(json);
    emit_bool(json, "has_secret", secret[0] != '\0');
    emit_array(json, "pending");
    if (notification_list(request->reader, user, NOTIFY_SHOWN_MAX, write_pending, json,
                          &request->err))
        return -1;
    emit_end(json);
    emit_end(json);
    return 0;
}

enum request_result api_notify_list(struct request *request)
{
    struct request_buffer buffer;
    struct asked *asked = refuse(request) ? NULL : asked_new(request);
    if (!asked || request_open(request, &buffer))
        return REQUEST_DONE;
    if (write_answer(request, &buffer.json, &asked->list))
        return request_close_fail(request, &buffer, &request->err);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* ---- POST ---- */

static int store_target(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    struct asked *asked = request->state;
    const struct notify_owner owner = {.user = request->params[0]};
    return notify_add(writer, &owner, &asked->list, err);
}

static enum request_result target_stored(struct request *request)
{
    const struct asked *asked = request->state;
    const struct notify_target *target = &asked->list.targets[0];
    struct request_buffer buffer;
    char location[DB_ACTOR_MAX + NOTIFY_ID_MAX + 32];
    if (request->result)
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    notify_json_emit(&buffer.json, target, 1);
    request_close_reply(request, &buffer, 201, MEDIA_JSON);
    snprintf(location, sizeof location, "%susers/%s/notify/%s", link_root(request),
             request->params[0], target->id);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    return REQUEST_DONE;
}

enum request_result api_notify_create(struct request *request)
{
    struct asked *asked = refuse(request) ? NULL : asked_new(request);
    if (!asked)
        return REQUEST_DONE;
    json_t *body =
        input_json(request->body ? request->body : "", request->n_body, 0, &request->err);
    const int failed = !body || notify_json_read(body, "", &asked->list.targets[0], &request->err);
    json_decref(body);
    if (failed)
        return request_fail(request, &request->err);
    asked->list.n = 1;
    return request_submit(request, store_target, request, target_stored);
}

/* ---- DELETE ---- */

static int remove_target(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    return notify_remove(writer, request->params[0], request->params[1], err);
}

static enum request_result target_removed(struct request *request)
{
    return request->result ? request_fail(request, &request->err) : request_reply_empty(request);
}

enum request_result api_notify_delete(struct request *request)
{
    if (refuse(request))
        return REQUEST_DONE;
    return request_submit(request, remove_target, request, target_removed);
}

/* ---- the secret ---- */

static int store_secret(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    const struct asked *asked = request->state;
    return notify_set_secret(writer, request->params[0], asked->secret, err);
}

static enum request_result secret_stored(struct request *request)
{
    const struct asked *asked = request->state;
    struct request_buffer buffer;
    if (request->result)
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    emit_text(&buffer.json, "secret", asked->secret);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 201, MEDIA_JSON);
}

enum request_result api_notify_secret(struct request *request)
{
    char hash[HASH_HEX];
    struct asked *asked = refuse(request) ? NULL : asked_new(request);
    if (!asked)
        return REQUEST_DONE;
    secret_make("notify", asked->secret, sizeof asked->secret, hash);
    return request_submit(request, store_secret, request, secret_stored);
}
