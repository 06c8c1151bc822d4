/* jobs: the handlers that list, show, change and delete jobs. The list and DELETE run on a
 * pool thread, everything else on the HTTP thread.
 *
 * A change is one durable operation on the database writer; its answer is the job read
 * again after the operation. DELETE waits for the writer and removes files, so it must not
 * run on the HTTP thread. Permission to change a job: auth.h. */
#include "server/api/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/utf8.h"
#include "db/jobs.h"
#include "db/limits.h"
#include "server/api/job_changes.h"
#include "server/api/job_json.h"
#include "server/api/job_query.h"
#include "server/api/submission.h"
#include "server/events/hub.h"
#include "server/http/auth.h"
#include "server/queue/job_files.h"

enum { LIST_DEFAULT = 50, LIST_MAX = 200 };

static enum request_result job_answer(struct request *request, const struct job *job)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    if (job_json_emit(&buffer.json, job, request, 1))
        return request_close_fail(request, &buffer, &request->err);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* The job of the path, read again. */
static enum request_result job_answer_now(struct request *request)
{
    struct job *job = NULL;
    err_clear(&request->err);
    if (job_get(request->reader, request->params[0], &job, &request->err))
        return request_fail(request, &request->err);
    enum request_result result = job_answer(request, job);
    job_free(job);
    return result;
}

/* ---- GET ---- */

static int job_is_final(const struct job *job)
{
    return job->state == JOB_SUCCEEDED || job->state == JOB_FAILED || job->state == JOB_CANCELLED;
}

/* With wait= a long poll: a job that is not final parks the request in the hub until the
 * state changes or the seconds have passed. */
enum request_result api_job_show(struct request *request)
{
    struct job *job = NULL;
    int64_t seconds;
    if (request_query_int(request, "wait", 0, HUB_WAIT_SECONDS_MAX, 0, &seconds, &request->err) ||
        job_get(request->reader, request->params[0], &job, &request->err))
        return request_fail(request, &request->err);
    enum request_result result;
    if (!seconds || job_is_final(job))
        result = job_answer(request, job);
    else if (hub_wait(request->server->hub, request, job->id, (int)job->state, (int)seconds,
                      job_answer_now, &request->err))
        result = request_fail(request, &request->err);
    else
        result = REQUEST_LATER;
    job_free(job);
    return result;
}

int jobs_check_states(const char *states, const char *pointer, struct err *err)
{
    char *copy = strdup(states), *at = copy, *word;
    int bad = !copy;
    while (!bad && (word = strsep(&at, ",")))
        bad = job_state_from_name(word) < 0;
    free(copy);
    return bad ? err_field(err, pointer, "\"%.60s\" is not a state", states) : 0;
}

/* An empty parameter counts as absent. */
static const char *list_word(const struct request *request, const char *name)
{
    const char *word = request_query(request, name);
    return word && *word ? word : NULL;
}

/* *terms: memory of filter->terms, which the caller frees; NULL without a search. */
static int list_filter(struct request *request, struct job_filter *filter, char **terms,
                       struct err *err)
{
    int64_t limit = LIST_DEFAULT;
    const char *query = list_word(request, "q");
    *filter = (struct job_filter){
        .state = list_word(request, "state"),
        .user = list_word(request, "user"),
        .tag = list_word(request, "tag"),
        .sweep = list_word(request, "sweep"),
    };
    if (filter->state)
        jobs_check_states(filter->state, "state", err);
    if (query && job_query_parse(query, "q", request->user.name, terms, err) == 0)
        filter->terms = *terms;
    request_query_int(request, "limit", 1, LIST_MAX, LIST_DEFAULT, &limit, err);
    request_query_int(request, "cursor", 1, INT64_MAX, 0, &filter->before_seq, err);
    filter->limit = (int)limit;
    return err->code == ERR_NONE ? 0 : -1;
}

static int list_write(struct request *request, struct emit *json, struct job **jobs, int n,
                      int limit)
{
    emit_object(json, NULL);
    emit_array(json, "jobs");
    for (int i = 0; i < n && i < limit; i++)
        if (job_json_emit(json, jobs[i], request, 0))
            return -1;
    emit_end(json);
    job_json_emit_next(json, n > limit ? jobs[limit - 1]->seq : 0);
    emit_end(json);
    return 0;
}

enum request_result api_job_list(struct request *request)
{
    struct job_filter filter;
    struct job **jobs = NULL;
    struct request_buffer buffer;
    int n = 0;
    char *terms = NULL;
    const int failed = list_filter(request, &filter, &terms, &request->err);
    int limit = filter.limit++; /* one more row tells whether a next page exists */
    if (failed || job_list(request->reader, &filter, &jobs, &n, &request->err)) {
        free(terms);
        return request_fail(request, &request->err);
    }
    free(terms);
    if (!request_open(request, &buffer)) {
        if (list_write(request, &buffer.json, jobs, n, limit))
            request_close_fail(request, &buffer, &request->err);
        else
            request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    for (int i = 0; i < n; i++)
        job_free(jobs[i]);
    free(jobs);
    return REQUEST_DONE;
}

/* ---- state changes ---- */

struct change {
    char id[DB_ID_MAX], user[DB_ACTOR_MAX]; /* the job's user */
    const struct settings *settings;
    enum job_request request;
    enum job_state state;
    struct job_changes changes;
    int64_t seconds;    /* effective max_seconds of the changes */
    const char *urgent; /* as in job_patch */
    int is_aside;       /* DELETE has set the files aside */
};

static void change_free(void *state)
{
    struct change *change = state;
    job_changes_free(&change->changes);
    free(change);
}

/* A change of the path's job as the request's state, after checking that the job exists
 * and that the user may change it. NULL: the request is answered. */
static struct change *change_begin(struct request *request)
{
    struct job *job = NULL;
    struct change *change = NULL;
    if (job_get(request->reader, request->params[0], &job, &request->err)) {
        request_fail(request, &request->err);
        return NULL;
    }
    int refused = auth_may_change(request, job->user, &request->err);
    if (!refused && !(change = calloc(1, sizeof *change)))
        refused = err_set(&request->err, ERR_NO_MEMORY, "no memory for a change");
    if (refused) {
        request_fail(request, &request->err);
    } else {
        snprintf(change->id, sizeof change->id, "%s", job->id);
        snprintf(change->user, sizeof change->user, "%s", job->user);
        change->settings = &request->server->settings;
        request->state = change;
        request->free_state = change_free;
    }
    job_free(job);
    return change;
}

static int change_state(struct db_writer *writer, void *arg, struct err *err)
{
    struct change *change = arg;
    struct limits limits;
    if (job_request(writer, change->id, change->request, &change->state, err))
        return -1;
    if (change->request != JOB_RETRY && change->request != JOB_RESTART)
        return 0;
    if (limits_read(writer, change->settings, change->user, &limits, err))
        return -1;
    limits.present[LIMIT_QUEUED]--; /* the job itself */
    return limits_admit_queued(&limits, 1, err);
}

static enum request_result change_done(struct request *request)
{
    if (request->result)
        return request_fail(request, &request->err);
    submission_wake(request);
    return job_answer_now(request);
}

static enum request_result job_ask(struct request *request, enum job_request what)
{
    struct change *change = change_begin(request);
    if (!change)
        return REQUEST_DONE;
    change->request = what;
    return request_submit(request, change_state, change, change_done);
}

enum request_result api_job_cancel(struct request *request)
{
    return job_ask(request, JOB_CANCEL);
}

enum request_result api_job_hold(struct request *request)
{
    return job_ask(request, JOB_HOLD);
}

enum request_result api_job_release(struct request *request)
{
    return job_ask(request, JOB_RELEASE);
}

/* Goes on from the last checkpoint unless the start is asked for. */
enum request_result api_job_retry(struct request *request)
{
    const char *from = request_query(request, "from");
    if (from && strcmp(from, "checkpoint") != 0 && strcmp(from, "start") != 0) {
        err_field(&request->err, "from", "\"%.40s\" is neither checkpoint nor start", from);
        return request_fail(request, &request->err);
    }
    return job_ask(request, from && strcmp(from, "start") == 0 ? JOB_RESTART : JOB_RETRY);
}

/* ---- PATCH ---- */

static int patch_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct change *change = arg;
    const struct job_changes *changes = &change->changes;
    const struct job_patch patch = {.name = changes->name,
                                    .notes = changes->notes,
                                    .tags = changes->tags,
                                    .urgent = change->urgent,
                                    .priority = changes->has_priority ? &changes->priority : NULL,
                                    .max_seconds = changes->has_seconds ? &change->seconds : NULL,
                                    .asked_seconds = changes->max_seconds,
                                    .pinned = changes->has_pinned ? &changes->pinned : NULL};
    if (changes->after && job_set_after(writer, change->id, changes->after, err))
        return -1;
    return job_patch(writer, change->id, &patch, err);
}

/* What depends on the site and on who asks. */
static int patch_check(const struct request *request, struct change *change, struct err *err)
{
    const struct job_changes *changes = &change->changes;
    if (changes->urgent >= 0 && !request->user.admin)
        return err_set(err, ERR_FORBIDDEN, "only an administrator puts a job before all others");
    change->urgent = changes->urgent > 0 ? request->user.name : changes->urgent == 0 ? "" : NULL;
    return submission_seconds(&request->server->settings, changes->max_seconds, "/max_seconds",
                              &change->seconds, err);
}

enum request_result api_job_patch(struct request *request)
{
    struct change *change = change_begin(request);
    if (!change)
        return REQUEST_DONE;
    if (job_changes_parse(request->body ? request->body : "", request->n_body, &change->changes,
                          &request->err))
        return request_fail(request, &request->err);
    if (patch_check(request, change, &request->err))
        return request_fail(request, &request->err);
    return request_submit(request, patch_store, change, change_done);
}

/* ---- DELETE ---- */

/* Runs in the transaction that deletes the row: the files are set aside before its commit
 * and removed after it. A crash in between leaves files without a job, which are garbage,
 * and never a job without its files (job_files.h). */
static int delete_row(struct db_writer *writer, void *arg, struct err *err)
{
    const struct request *request = arg;
    struct change *change = request->state;
    if (job_delete(writer, change->id, err) ||
        job_files_set_aside(&request->server->settings, change->id, err))
        return -1;
    change->is_aside = 1;
    return 0;
}

enum request_result api_job_delete(struct request *request)
{
    const struct settings *settings = &request->server->settings;
    const struct change *change = change_begin(request);
    if (!change)
        return REQUEST_DONE;
    if (db_call_as(request->server->db, request->user.name, delete_row, request, &request->err)) {
        if (change->is_aside) /* the transaction was rolled back */
            job_files_put_back(settings, change->id);
        return request_fail(request, &request->err);
    }
    if (job_files_remove(settings, change->id, &request->err))
        return request_fail(request, &request->err);
    return request_reply_empty(request);
}
