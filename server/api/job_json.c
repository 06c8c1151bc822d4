/* job_json: see job_json.h. */
#include "server/api/job_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec_kind.h"
#include "db/epochs.h"
#include "server/api/after_json.h"
#include "server/api/link.h"
#include "server/api/notify_json.h"
#include "server/api/submission.h"
#include "server/group_names.h"
#include "server/queue/workers.h"

/* ---- the last record ---- */

struct job_last {
    int n_groups, found;
    double loss, log_z, rate;
    double mean[SPEC_GROUPS_MAX][MASKS], ln_mean_p[SPEC_GROUPS_MAX];
};

static int job_last_row(void *self, int64_t epoch, const double *values, int n_values,
                        const float *tokens, int n_tokens)
{
    struct job_last *last = self;
    (void)epoch, (void)n_values, (void)tokens, (void)n_tokens;
    last->found = 1;
    last->loss = values[RECORD_LOSS];
    last->log_z = values[RECORD_LOG_Z];
    last->rate = values[RECORD_TOKENS_PER_SECOND];
    for (int g = 0; g < last->n_groups; g++) {
        for (int mask = 0; mask < MASKS; mask++)
            last->mean[g][mask] =
                values[record_at(g, (enum record_field)(RECORD_MEAN_LOGP_NONE + mask))];
        last->ln_mean_p[g] = values[record_at(g, RECORD_LN_MEAN_P)];
    }
    return 0;
}

static int job_mask(const json_t *facts)
{
    const char *name = json_string_value(json_object_get(facts, "mask"));
    for (int mask = 0; name && mask < MASKS; mask++)
        if (strcmp(spec_mask_name((enum spec_mask)mask), name) == 0)
            return mask;
    return MASK_COLUMNS;
}

static void write_summary(struct emit *json, const struct job *job, const json_t *facts,
                          const struct job_last *last, const struct group_names *names)
{
    const int mask = job_mask(facts);
    if (!last->found) {
        emit_null(json, "summary");
        return;
    }
    emit_object(json, "summary");
    emit_integer(json, "epoch", job->epoch);
    emit_number(json, "loss", last->loss);
    emit_number(json, "log_z", last->log_z);
    emit_number(json, "tokens_per_second", last->rate);
    emit_text(json, "mask", spec_mask_name((enum spec_mask)mask));
    emit_object(json, "groups");
    for (int g = 0; g < names->n; g++) {
        emit_object(json, names->name[g]);
        emit_number(json, "mean_logp", last->mean[g][mask]);
        emit_number(json, "ln_mean_p", last->ln_mean_p[g]);
        emit_end(json);
    }
    emit_end(json);
    emit_end(json);
}

/* ---- the job ---- */

void job_json_emit_epoch(struct emit *json, const struct job *job)
{
    if (job->epoch >= 0)
        emit_integer(json, "epoch", job->epoch);
    else
        emit_null(json, "epoch");
}

void job_json_emit_value(struct emit *json, const char *key, const json_t *value)
{
    char *text = value ? spec_dumps(value) : NULL;
    emit_raw(json, key, text);
    free(text);
}

void job_json_emit_next(struct emit *json, int64_t seq)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)seq);
    emit_text(json, "next", seq ? text : NULL);
}

void job_json_emit_reason(struct emit *json, enum reason_code code, const char *message)
{
    if (!code) {
        emit_null(json, "waits");
        return;
    }
    emit_object(json, "waits");
    emit_text(json, "code", reason_name(code));
    emit_text(json, "message", message);
    emit_end(json);
}

static void write_time(struct emit *json, const char *key, const struct outlook_time *time)
{
    if (!time || !time->likely) {
        emit_null(json, key);
        return;
    }
    emit_object(json, key);
    emit_time(json, "likely", time->likely);
    emit_time(json, "earliest", time->earliest);
    emit_time(json, "latest", time->latest);
    emit_end(json);
}

void job_json_emit_outlook(struct emit *json, const struct outlook_job *row)
{
    if (row && row->place)
        emit_integer(json, "place", row->place);
    else
        emit_null(json, "place");
    write_time(json, "expected_start", row ? &row->starts : NULL);
    write_time(json, "expected_end", row ? &row->ends : NULL);
}

/* The answer of a pool thread may take the time that a forecast takes. */
static int write_outlook(struct emit *json, const struct job *job, struct request *request)
{
    struct outlook *outlook = workers_outlook(request->server->workers);
    const struct outlook_table *table = NULL;
    const int is_live = job->state == JOB_QUEUED || job->state == JOB_RUNNING;
    const int may_wait = request->reader != request->server->reader;
    if (is_live && outlook_take(outlook, request->reader, may_wait, &table, &request->err))
        return -1;
    const struct outlook_job *row = table ? outlook_find(table, job->id) : NULL;
    job_json_emit_outlook(json, row && row->running == (job->state == JOB_RUNNING) ? row : NULL);
    if (table)
        outlook_give_back(outlook, table);
    return 0;
}

static void write_state(struct emit *json, const struct job *job, struct workers *workers)
{
    emit_text(json, "id", job->id);
    emit_text(json, "name", job->name);
    emit_text(json, "notes", job->notes);
    emit_raw(json, "tags", job->tags);
    emit_text(json, "user", job->user);
    emit_text(json, "state", job_state_name(job->state));
    emit_integer(json, "priority", job->priority);
    emit_integer(json, "attempt", job->attempt);
    emit_bool(json, "cancel_requested", job->cancel_requested);
    emit_bool(json, "hold_requested", job->hold_requested);
    emit_text(json, "urgent", job->urgent);
    emit_bool(json, "pinned", job->pinned);
    emit_time(json, "submitted_at", job->submitted_at);
    emit_time(json, "started_at", job->started_at);
    emit_time(json, "finished_at", job->finished_at);
    job_json_emit_epoch(json, job);
    emit_integer(json, "epochs", job->epochs);
    emit_text(json, "device", job->device);
    if (job->unread)
        emit_null(json, "memory_bytes");
    else
        emit_integer(json, "memory_bytes", job->memory_bytes);
    if (job->unread)
        emit_null(json, "record_bytes");
    else
        emit_integer(json, "record_bytes", submission_record_bytes(job));
    emit_raw(json, "error", job->error);
    struct reason reason;
    workers_reason(workers, job, &reason);
    job_json_emit_reason(json, reason.code, reason.message);
    if (job->max_seconds)
        emit_integer(json, "max_seconds", job->max_seconds);
    else
        emit_null(json, "max_seconds");
    emit_number(json, "device_seconds", (double)job->device_ms / 1e3);
    emit_integer(json, "slices", job->slices);
    emit_number(json, "stop_start_seconds", (double)job->stop_start_ms / 1e3);
    emit_raw(json, "provenance", job->provenance);
    emit_text(json, "sweep", job->sweep);
    emit_raw(json, "setting", job->setting);
}

/* Seconds at the rate of the last record, to a tenth; null if the job does not run. */
static void write_eta(struct emit *json, const struct job *job, const json_t *facts,
                      const struct job_last *last)
{
    const double tokens = (double)json_integer_value(json_object_get(facts, "tokens_per_epoch"));
    const int has_rate = job->state == JOB_RUNNING && last->found && last->rate > 0;
    const double seconds =
        has_rate ? (double)(job->epochs - job->epoch) * tokens / last->rate : NAN;
    emit_number(json, "eta_seconds", round(seconds * 10) / 10);
}

/* null until the text is read */
static void write_count(struct emit *json, const char *key, const json_t *value)
{
    if (value)
        emit_integer(json, key, json_integer_value(value));
    else
        emit_null(json, key);
}

static void write_corpus(struct emit *json, const struct job *job, const json_t *facts)
{
    static const char *const counts[] = {"tokens", "held_out", "types", "once", "vocabulary"};
    emit_object(json, "corpus");
    emit_text(json, "name", json_string_value(json_object_get(facts, "corpus_name")));
    emit_text(json, "sha256", job->corpus_sha256);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        write_count(json, counts[i], json_object_get(facts, counts[i]));
    emit_end(json);
}

/* A stored number of the facts; null stays null. */
static void write_fact(struct emit *json, const char *key, const json_t *object)
{
    const json_t *value = json_object_get(object, key);
    emit_number(json, key, json_is_number(value) ? json_number_value(value) : NAN);
}

static void write_groups(struct emit *json, const json_t *facts)
{
    size_t i;
    json_t *group, *groups = json_object_get(facts, "groups");
    if (!groups) { /* the text is not read yet */
        emit_null(json, "groups");
        return;
    }
    emit_array(json, "groups");
    json_array_foreach(groups, i, group)
    {
        emit_object(json, NULL);
        emit_text(json, "name", json_string_value(json_object_get(group, "name")));
        emit_integer(json, "size", (int64_t)json_array_size(json_object_get(group, "ids")));
        emit_end(json);
    }
    emit_end(json);
}

static void write_theory(struct emit *json, const json_t *facts)
{
    size_t i;
    json_t *group;
    emit_object(json, "theory");
    write_fact(json, "untrained", facts);
    emit_object(json, "groups");
    json_array_foreach(json_object_get(facts, "groups"), i, group)
    {
        emit_object(json, json_string_value(json_object_get(group, "name")));
        write_fact(json, "context_free", group);
        emit_end(json);
    }
    emit_end(json);
    emit_end(json);
}

static void write_links(struct emit *json, const struct job *job, const char *root)
{
    static const char *const below[] = {"history", "epochs",   "tokens",     "spectrum",
                                        "theory",  "findings", "indicators", "checkpoint",
                                        "batch",   "probe",    "log"};
    char path[DB_ID_MAX + 64];
    emit_object(json, "links");
    snprintf(path, sizeof path, "%sjobs/%s", root, job->id);
    emit_text(json, "self", path);
    for (size_t i = 0; i < sizeof below / sizeof below[0]; i++) {
        snprintf(path, sizeof path, "%sjobs/%s/%s", root, job->id, below[i]);
        emit_text(json, below[i], path);
    }
    snprintf(path, sizeof path, "%sevents?jobs=%s", root, job->id);
    emit_text(json, "events", path);
    emit_end(json);
}

int job_json_emit(struct emit *json, const struct job *job, struct request *request, int with_spec)
{
    struct err *err = &request->err;
    struct job_last last = {.n_groups = job->n_groups};
    struct group_names names;
    if (job->epoch >= 0 &&
        epochs_read(request->reader, job->id, job->epoch, job->epoch, job_last_row, &last, err))
        return -1;
    if (group_names_split(job->group_names, &names, err))
        return -1;
    json_t *facts = json_loads(job->facts ? job->facts : "{}", 0, NULL);
    emit_object(json, NULL);
    write_state(json, job, request->server->workers);
    write_eta(json, job, facts, &last);
    write_corpus(json, job, facts);
    write_groups(json, facts);
    write_theory(json, facts);
    write_summary(json, job, facts, &last, &names);
    const struct notify_owner owner = {.job = job->id};
    int failed = (with_spec && write_outlook(json, job, request)) ||
                 after_json_emit(json, request->reader, job->id, with_spec, err);
    if (!failed && with_spec) {
        emit_raw(json, "spec", job->spec);
        failed = notify_json_emit_list(json, request->reader, &owner, err);
    }
    write_links(json, job, link_root(request));
    emit_end(json);
    json_decref(facts);
    group_names_free(&names);
    return failed ? -1 : 0;
}
