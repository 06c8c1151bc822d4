/* queue: see queue.h. The state is a row of the database: it outlives the server. */
#include "server/api/queue.h"

#include <stdlib.h>

#include "db/accounts.h"
#include "server/queue/workers.h"

static int write_account(void *self, const struct account *account)
{
    struct emit *json = self;
    emit_object(json, NULL);
    emit_text(json, "user", account->user);
    emit_text(json, "kind", account->kind);
    emit_number(json, "share", account->share);
    emit_number(json, "virtual_seconds", account->virtual);
    emit_number(json, "used_seconds", account->used);
    emit_time(json, "used_at", account->used_at);
    emit_end(json);
    return 0;
}

enum request_result api_queue(struct request *request)
{
    const struct settings *settings = &request->server->settings;
    enum queue_state state = QUEUE_OPEN;
    char actor[DB_ACTOR_MAX] = "";
    struct request_buffer buffer;
    if (queue_get(request->reader, &state, actor, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    struct emit *json = &buffer.json;
    emit_object(json, NULL);
    emit_text(json, "state", queue_state_name(state));
    emit_text(json, "actor", *actor ? actor : NULL);
    emit_integer(json, "slice_seconds", settings->slice_seconds);
    emit_array(json, "accounts");
    if (account_list(request->reader, write_account, json, &request->err))
        return request_close_fail(request, &buffer, &request->err);
    emit_end(json);
    emit_end(json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

static int queue_store(struct db_writer *writer, void *arg, struct err *err)
{
    return queue_set(writer, *(const enum queue_state *)arg, err);
}

static enum request_result queue_stored(struct request *request)
{
    if (request->result)
        return request_fail(request, &request->err);
    workers_wake(request->server->workers);
    return api_queue(request);
}

static enum request_result queue_ask(struct request *request, enum queue_state wanted)
{
    enum queue_state *state = malloc(sizeof *state);
    if (!state) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a change");
        return request_fail(request, &request->err);
    }
    *state = wanted;
    request->state = state;
    request->free_state = free;
    return request_submit(request, queue_store, state, queue_stored);
}

enum request_result api_queue_drain(struct request *request)
{
    return queue_ask(request, QUEUE_DRAINING);
}

enum request_result api_queue_pause(struct request *request)
{
    return queue_ask(request, QUEUE_PAUSED);
}

enum request_result api_queue_resume(struct request *request)
{
    return queue_ask(request, QUEUE_OPEN);
}
