/* bulk: see bulk.h. The jobs are found and then checked and changed one by one; the first unfit
 * one ends the changes unless it may be left out, and the rest is only counted. New jobs are
 * cancelled before old ones and old ones retried first, so that a job is rarely held for another
 * one of the same request that it waits for. */
#include "db/bulk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/connection.h"
#include "db/job_filter.h"

#define MATCHING                                                                                   \
    JOB_FILTER_WITH "SELECT j.id, j.user FROM jobs j LEFT JOIN job_texts t ON t.job = j.seq"       \
                    " LEFT JOIN sweeps s ON s.seq = j.sweep WHERE" JOB_FILTER
static const char sql_newest_first[] = MATCHING " ORDER BY j.seq DESC LIMIT ?8";
static const char sql_oldest_first[] = MATCHING " ORDER BY j.seq LIMIT ?8";
/* Ids of the filter that no job has. */
static const char sql_unknown[] =
    "SELECT e.value FROM json_each(?1) e"
    " WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = e.value) LIMIT ?2";
/* The tags of job ?1 without those of ?3 and with those of ?2, and how many these are. */
static const char sql_tags[] =
    "SELECT json_group_array(tag), count(*) FROM ("
    "SELECT t.value AS tag, 0 AS part, t.key AS at FROM jobs j, json_each(j.tags) t"
    " WHERE j.id = ?1 AND t.value NOT IN (SELECT value FROM json_each(?3))"
    " UNION ALL"
    " SELECT n.value, 1, n.key FROM json_each(?2) n WHERE n.value NOT IN"
    " (SELECT t.value FROM jobs j, json_each(j.tags) t WHERE j.id = ?1)"
    " ORDER BY part, at)";

struct bulk_job {
    char id[DB_ID_MAX], user[DB_ACTOR_MAX];
};

/* The request of an action that is one; -1: it is not. */
static const int bulk_requests[] = {
    [BULK_CANCEL] = JOB_CANCEL,
    [BULK_HOLD] = JOB_HOLD,
    [BULK_RELEASE] = JOB_RELEASE,
    [BULK_RETRY] = JOB_RETRY,
    [BULK_RESTART] = JOB_RESTART,
    [BULK_DELETE] = -1,
    [BULK_TAG] = -1,
    [BULK_PRIORITY] = -1,
};

/* ---- finding ---- */

static int bulk_rows(sqlite3_stmt *statement, struct bulk_job *jobs, int *n, struct err *err)
{
    int more = 0;
    while (*n <= BULK_MAX && (more = statement_step(statement, err)) > 0) {
        column_copy(statement, 0, jobs[*n].id, sizeof jobs->id);
        column_copy(statement, 1, jobs[*n].user, sizeof jobs->user);
        ++*n;
    }
    statement_close(statement);
    if (*n > BULK_MAX)
        return err_field(err, "/filter", "more than %d jobs match: name fewer at once", BULK_MAX);
    return more;
}

/* jobs: room for BULK_MAX + 1; an unknown id comes with the user "". */
static int bulk_find(struct connection *connection, const struct bulk *bulk, struct bulk_job *jobs,
                     int *n, struct err *err)
{
    const int is_again = bulk->action == BULK_RETRY || bulk->action == BULK_RESTART;
    sqlite3_stmt *statement;
    *n = 0;
    if (connection_start(connection, is_again ? sql_oldest_first : sql_newest_first,
                         VALUES(JOB_FILTER_VALUES(&bulk->filter), value_integer(BULK_MAX + 1)),
                         &statement, err) < 0 ||
        bulk_rows(statement, jobs, n, err) < 0)
        return -1;
    if (!bulk->filter.ids)
        return 0;
    if (connection_start(connection, sql_unknown,
                         VALUES(value_text(bulk->filter.ids), value_integer(BULK_MAX + 1)),
                         &statement, err) < 0)
        return -1;
    return bulk_rows(statement, jobs, n, err);
}

/* ---- one job ---- */

/* 0: *tags (malloc) are those that the job would have. */
static int bulk_tags(struct connection *connection, const struct bulk *bulk, const char *id,
                     char **tags, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql_tags,
                         VALUES(value_text(id), value_text(bulk->add), value_text(bulk->remove)),
                         &statement, err) < 0)
        return -1;
    int result = statement_step(statement, err) < 0 ? -1 : 0;
    const int n = result ? 0 : sqlite3_column_int(statement, 1);
    if (n > bulk->max_tags)
        result = err_set(err, ERR_CONFLICT, "job %s would have %d tags; %d are allowed", id, n,
                         bulk->max_tags);
    if (!result)
        result = column_text(statement, 0, tags, err);
    statement_close(statement);
    return result;
}

static int bulk_check(struct connection *connection, const struct bulk *bulk,
                      const struct bulk_job *job, struct err *err)
{
    char *tags = NULL;
    if (!job->user[0])
        return err_set(err, ERR_NOT_FOUND, "there is no job %s", job->id);
    if (bulk->may(bulk->self, job->user, err))
        return -1;
    if (bulk_requests[bulk->action] >= 0)
        return job_may_request(connection, job->id, (enum job_request)bulk_requests[bulk->action],
                               err);
    if (bulk->action == BULK_DELETE)
        return job_may_delete(connection, job->id, err);
    const int result =
        bulk->action == BULK_TAG ? bulk_tags(connection, bulk, job->id, &tags, err) : 0;
    free(tags);
    return result;
}

static int bulk_patch(struct db_writer *writer, const struct bulk *bulk, const char *id,
                      struct err *err)
{
    char *tags = NULL;
    if (bulk->action == BULK_TAG && bulk_tags(&writer->connection, bulk, id, &tags, err))
        return -1;
    const struct job_patch patch = {
        .tags = tags, .priority = bulk->action == BULK_PRIORITY ? &bulk->priority : NULL};
    const int result = job_patch(writer, id, &patch, err);
    free(tags);
    return result;
}

static int bulk_act(struct db_writer *writer, const struct bulk *bulk, const char *id,
                    struct err *err)
{
    enum job_state state;
    if (bulk_requests[bulk->action] >= 0)
        return job_request(writer, id, (enum job_request)bulk_requests[bulk->action], &state, err);
    if (bulk->action != BULK_DELETE)
        return bulk_patch(writer, bulk, id, err);
    return job_delete(writer, id, err) < 0 ? -1 : bulk->deleted(bulk->self, id, err);
}

/* ---- all of them ---- */

static void bulk_note(struct bulk_outcome *out, const char *id, const struct err *refusal)
{
    if (refusal->code == ERR_NONE) {
        if (out->done++ < BULK_SHOWN_MAX)
            memcpy(out->shown[out->n_shown++], id, DB_ID_MAX);
        return;
    }
    if (out->unfit++ >= BULK_SHOWN_MAX)
        return;
    struct bulk_refusal *one = &out->refused[out->n_refused++];
    memcpy(one->id, id, DB_ID_MAX);
    one->code = refusal->code;
    snprintf(one->message, sizeof one->message, "%.*s", (int)sizeof one->message - 1,
             refusal->message);
}

/* A failure that says nothing about the job ends everything. */
static int bulk_is_refusal(const struct err *err)
{
    return err->code == ERR_CONFLICT || err->code == ERR_FORBIDDEN || err->code == ERR_NOT_FOUND;
}

/* writer NULL: only look. */
static int bulk_each(struct connection *connection, struct db_writer *writer,
                     const struct bulk *bulk, const struct bulk_job *jobs, int n,
                     struct bulk_outcome *out, struct err *err)
{
    *out = (struct bulk_outcome){.matched = n};
    for (int i = 0; i < n; i++) {
        struct err refusal = ERR_INIT;
        if (bulk_check(connection, bulk, &jobs[i], &refusal) < 0 && !bulk_is_refusal(&refusal)) {
            *err = refusal;
            return -1;
        }
        bulk_note(out, jobs[i].id, &refusal);
        if (writer && refusal.code == ERR_NONE && (bulk->skip || !out->unfit) &&
            bulk_act(writer, bulk, jobs[i].id, err) < 0)
            return -1;
    }
    return 0;
}

static int bulk_go(struct connection *connection, struct db_writer *writer, const struct bulk *bulk,
                   struct bulk_outcome *out, struct err *err)
{
    struct bulk_job *jobs = calloc(BULK_MAX + 1, sizeof *jobs);
    int n;
    if (!jobs)
        return err_set(err, ERR_NO_MEMORY, "no memory for a list of jobs");
    int result = bulk_find(connection, bulk, jobs, &n, err);
    if (!result)
        result = bulk_each(connection, writer, bulk, jobs, n, out, err);
    free(jobs);
    return result;
}

int bulk_run(struct db_writer *writer, const struct bulk *bulk, struct bulk_outcome *out,
             struct err *err)
{
    if (bulk_go(&writer->connection, writer, bulk, out, err) < 0)
        return -1;
    if (bulk->skip || !out->unfit)
        return 0;
    out->done = out->n_shown = 0;
    return err_set(err, out->refused[0].code, "%s; nothing was done: %lld of %lld jobs are unfit",
                   out->refused[0].message, (long long)out->unfit, (long long)out->matched);
}

int bulk_try(struct db_reader *reader, const struct bulk *bulk, struct bulk_outcome *out,
             struct err *err)
{
    return bulk_go(&reader->connection, NULL, bulk, out, err);
}
