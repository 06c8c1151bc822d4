/* submit: POST /jobs. The handler runs on a pool thread: it looks the request up by its
 * Idempotency-Key, parses the spec, resolves its text, checks the spec against the text and
 * counts its memory. One durable operation then stores the job; the answer follows on the
 * HTTP thread. A job that cannot run is refused and leaves nothing stored.
 *
 * A dry run goes the same way up to the end of the operation, which is then taken back: so it gets
 * the errors that the submission would get. */
#include "server/api/submit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/hash.h"
#include "config/record.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "server/api/after_json.h"
#include "server/api/job_json.h"
#include "server/api/limits.h"
#include "server/api/link.h"
#include "server/api/notify_json.h"
#include "server/api/submission.h"
#include "server/queue/workers.h"

struct submit {
    struct job job;
    struct after_list *after; /* of the job, NULL: nothing */
    char *key;
    char body_sha256[HASH_HEX];
    const struct settings *settings;
    int existing;
    struct notify_list notify;
    int is_stored; /* of a dry run: the operation has gone through */
};

static void submit_free(void *state)
{
    struct submit *submit = state;
    submission_free(&submit->job);
    free(submit->after);
    free(submit->key);
    free(submit);
}

static int submit_key(struct request *request, struct submit *submit, struct err *err)
{
    const char *key = request_head(request, "Idempotency-Key");
    if (!key)
        return 0;
    if (!(submit->key = strdup(key)))
        return err_set(err, ERR_NO_MEMORY, "no memory for a job");
    return 0;
}

/* 1 if the same request came before and made a job outside a sweep. */
static int submit_known(const struct request *request, struct submit *submit, struct err *err)
{
    struct job *job = NULL;
    const int known = submission_known(request, submit->key, submit->body_sha256, &job, err);
    submit->existing = known > 0 && !job->sweep;
    if (submit->existing)
        memcpy(submit->job.id, job->id, sizeof job->id);
    job_free(job);
    return known < 0 ? -1 : submit->existing;
}

/* The body is a spec, and beside it the jobs to wait for and who is told. */
static int submit_check(struct request *request, struct submit *submit, struct err *err)
{
    const char *body = request->body ? request->body : "";
    char *rest = NULL, *without = NULL;
    struct spec *spec = NULL;
    struct err bad = ERR_INIT, list = ERR_INIT;
    int failed = after_json_split(body, request->n_body, &rest, &submit->after, &bad) ||
                 (submit->after && after_check(request->reader, submit->after, &bad));
    size_t n = rest ? strlen(rest) : request->n_body;
    const char *text = rest ? rest : body;
    notify_json_split(text, n, &without, &submit->notify, &list);
    if (without) {
        text = without;
        n = strlen(without);
    }
    if (spec_parse(text, n, &spec, err) || submission_build(request, spec, &submit->job, err) ||
        api_limits_check(request, &submit->job, 1, err))
        failed = 1;
    submit->job.after = submit->after;
    spec_free(spec);
    free(rest);
    free(without);
    failed |= notify_json_blame(&list, err) != 0;
    if (bad.code == ERR_NONE)
        return failed ? -1 : 0;
    return err->code == ERR_NONE || err->code == ERR_INVALID ? submission_blame(&bad, err) : -1;
}

static int submit_store(struct db_writer *writer, void *arg, struct err *err)
{
    struct submit *submit = arg;
    if (submission_check_text(writer, &submit->job, err))
        return -1;
    const struct notify_owner owner = {.job = submit->job.id};
    if (job_insert(writer, &submit->job, submit->key, submit->body_sha256,
                   submit->settings->max_queue, &submit->existing, err))
        return -1;
    if (submit->existing)
        return 0;
    return api_limits_stored(writer, submit->settings, &submit->job, 1, err) ||
                   notify_add(writer, &owner, &submit->notify, err)
               ? -1
               : 0;
}

static enum request_result submit_stored(struct request *request)
{
    struct submit *submit = request->state;
    struct request_buffer buffer;
    struct job *job = NULL;
    char location[64];
    if (request->result)
        return request_fail(request, &request->err);
    if (!submit->existing)
        submission_wake(request);
    err_clear(&request->err);
    if (job_get(request->reader, submit->job.id, &job, &request->err))
        return request_fail(request, &request->err);
    if (!request_open(request, &buffer)) {
        if (job_json_emit(&buffer.json, job, request, 1))
            request_close_fail(request, &buffer, &request->err);
        else
            request_close_reply(request, &buffer, submit->existing ? 200 : 201, MEDIA_JSON);
    }
    snprintf(location, sizeof location, "%sjobs/%s", link_root(request), job->id);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    job_free(job);
    return REQUEST_DONE;
}

/* ---- a dry run ---- */

static int submit_is_dry(const struct request *request, struct err *err)
{
    const char *word = request_query(request, "dry_run");
    if (!word || strcmp(word, "false") == 0)
        return 0;
    return strcmp(word, "true") == 0
               ? 1
               : err_field(err, "dry_run", "\"%.40s\"; true and false are allowed", word);
}

/* Fails, so that it is taken back. */
static int submit_try(struct db_writer *writer, void *arg, struct err *err)
{
    struct submit *submit = arg;
    if (submit_store(writer, arg, err))
        return -1;
    submit->is_stored = 1;
    return err_set(err, ERR_CANCELLED, "a dry run stores nothing");
}

static int write_limits(struct emit *json, struct request *request, const struct submit *submit,
                        const int64_t counts[JOB_STATES])
{
    emit_object(json, "limits");
    emit_integer(json, "unfinished_jobs",
                 counts[JOB_QUEUED] + counts[JOB_HELD] + counts[JOB_RUNNING]);
    emit_integer(json, "max_queue", submit->settings->max_queue);
    if (submit->job.max_seconds)
        emit_integer(json, "max_seconds", submit->job.max_seconds);
    else
        emit_null(json, "max_seconds");
    const int failed = api_limits_emit_of(json, "user", request, request->user.name, &request->err);
    emit_end(json);
    return failed;
}

static int write_trial(struct emit *json, struct request *request, const struct submit *submit,
                       const struct outlook_job *row, const int64_t counts[JOB_STATES])
{
    const struct job *job = &submit->job;
    emit_object(json, NULL);
    job_json_emit_outlook(json, row);
    emit_number(json, "device_seconds", row->seconds > 0 ? row->seconds : NAN);
    if (job->unread) {
        emit_null(json, "memory_bytes");
        emit_null(json, "record_bytes");
    } else {
        emit_integer(json, "memory_bytes", job->memory_bytes);
        emit_integer(json, "record_bytes", submission_record_bytes(job));
    }
    const int failed = write_limits(json, request, submit, counts);
    emit_end(json);
    return failed;
}

static enum request_result submit_answer_trial(struct request *request)
{
    const struct submit *submit = request->state;
    struct outlook *outlook = workers_outlook(request->server->workers);
    struct outlook_job row = {0};
    int64_t counts[JOB_STATES];
    struct request_buffer buffer;
    err_clear(&request->err);
    if ((!submit->job.unread &&
         outlook_try(outlook, request->reader, &submit->job, &row, &request->err)) ||
        job_counts(request->reader, counts, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    if (write_trial(&buffer.json, request, submit, &row, counts))
        return request_close_fail(request, &buffer, &request->err);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* ---- POST /jobs ---- */

enum request_result api_job_create(struct request *request)
{
    struct submit *submit = calloc(1, sizeof *submit);
    if (!submit) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a job");
        return request_fail(request, &request->err);
    }
    request->state = submit;
    request->free_state = submit_free;
    submit->settings = &request->server->settings;
    hash_sha256(request->body, request->n_body, submit->body_sha256);
    if (submit_key(request, submit, &request->err))
        return request_fail(request, &request->err);
    const int is_dry = submit_is_dry(request, &request->err);
    const int known = is_dry < 0 ? -1 : submit_known(request, submit, &request->err);
    if (known > 0 && !is_dry)
        return submit_stored(request);
    if (known < 0 || submit_check(request, submit, &request->err))
        return request_fail(request, &request->err);
    if (is_dry) {
        free(submit->key); /* a known key would answer with its job */
        submit->key = NULL;
        db_call_as(request->server->db, request->user.name, submit_try, submit, &request->err);
        return submit->is_stored ? submit_answer_trial(request)
                                 : request_fail(request, &request->err);
    }
    return request_submit(request, submit_store, submit, submit_stored);
}
