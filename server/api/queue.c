/* queue: see queue.h. The state is a row of the database: it outlives the server. */
#include "server/api/queue.h"

#include <stdlib.h>
#include <string.h>

#include "db/accounts.h"
#include "server/api/job_json.h"
#include "server/queue/workers.h"

enum { QUEUE_DEFAULT = 100, QUEUE_MAX = 1000 };

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

/* The members that every answer has. */
static int write_queue(struct emit *json, struct request *request)
{
    enum queue_state state = QUEUE_OPEN;
    char actor[DB_ACTOR_MAX] = "";
    if (queue_get(request->reader, &state, actor, &request->err))
        return -1;
    emit_text(json, "state", queue_state_name(state));
    emit_text(json, "actor", *actor ? actor : NULL);
    emit_integer(json, "slice_seconds", request->server->settings.slice_seconds);
    emit_array(json, "accounts");
    if (account_list(request->reader, write_account, json, &request->err))
        return -1;
    emit_end(json);
    return 0;
}

static void write_row(struct emit *json, const struct outlook_job *row)
{
    emit_object(json, NULL);
    emit_text(json, "id", row->id);
    emit_text(json, "name", row->name);
    emit_text(json, "user", row->user);
    emit_text(json, "state", job_state_name(row->running ? JOB_RUNNING : JOB_QUEUED));
    emit_text(json, "device", row->device);
    emit_text(json, "kind", row->kind[0] ? row->kind : NULL);
    emit_integer(json, "priority", row->priority);
    emit_text(json, "urgent", row->urgent);
    if (row->epoch >= 0)
        emit_integer(json, "epoch", row->epoch);
    else
        emit_null(json, "epoch");
    emit_integer(json, "epochs", row->epochs);
    job_json_emit_reason(json, row->code, row->why);
    job_json_emit_outlook(json, row);
    emit_end(json);
}

static void write_rows(struct emit *json, const struct outlook_table *table, const char *user,
                       int from, int limit)
{
    int i = from, n = 0;
    emit_integer(json, "running", table->n_running);
    emit_integer(json, "waiting", table->n - table->n_running);
    emit_array(json, "jobs");
    for (; i < table->n && n < limit; i++)
        if (!user || strcmp(table->jobs[i].user, user) == 0) {
            write_row(json, &table->jobs[i]);
            n++;
        }
    emit_end(json);
    job_json_emit_next(json, i < table->n ? i : 0);
}

enum request_result api_queue(struct request *request)
{
    struct outlook *outlook = workers_outlook(request->server->workers);
    const struct outlook_table *table = NULL;
    struct request_buffer buffer;
    int64_t limit = QUEUE_DEFAULT, from = 0;
    request_query_int(request, "limit", 1, QUEUE_MAX, QUEUE_DEFAULT, &limit, &request->err);
    request_query_int(request, "cursor", 1, INT32_MAX, 0, &from, &request->err);
    if (request->err.n_fields || outlook_take(outlook, request->reader, 1, &table, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer)) {
        outlook_give_back(outlook, table);
        return REQUEST_DONE;
    }
    emit_object(&buffer.json, NULL);
    const int failed = write_queue(&buffer.json, request);
    write_rows(&buffer.json, table, request_query(request, "user"), (int)from, (int)limit);
    outlook_give_back(outlook, table);
    emit_end(&buffer.json);
    return failed ? request_close_fail(request, &buffer, &request->err)
                  : request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* After a change of the state: without the jobs, because this is the HTTP thread. */
static enum request_result queue_answer(struct request *request)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    const int failed = write_queue(&buffer.json, request);
    emit_end(&buffer.json);
    return failed ? request_close_fail(request, &buffer, &request->err)
                  : request_close_reply(request, &buffer, 200, MEDIA_JSON);
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
    return queue_answer(request);
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
