/* sweeps: see sweeps.h. The rules of jobs (queue limit, idempotency, events) stay in
 * jobs.c. The row of the sweep is inserted before its jobs, because job_insert looks
 * it up by its id. */
#include "db/sweeps.h"

#include <stdlib.h>

#include "db/connection.h"

static const char sql_insert[] = "INSERT INTO sweeps (id, name, user, submitted_at, base, vary,"
                                 " max_running) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
static const char sql_limit[] = "UPDATE sweeps SET max_running = ?2 WHERE id = ?1";
/* The lane of its jobs. */
static const char sql_limit_jobs[] =
    "UPDATE jobs SET capped = iif(?2, sweep, 0), waits = iif(state = 'queued', NULL, waits)"
    " WHERE sweep = (SELECT seq FROM sweeps WHERE id = ?1) AND (capped <> 0) <> (?2 <> 0)";
static const char sql_of_job[] =
    "SELECT s.id FROM sweeps s JOIN jobs j ON j.sweep = s.seq WHERE j.id = ?1";
static const char sql_drop[] = "DELETE FROM sweeps WHERE id = ?1";
static const char sql_open[] =
    "SELECT j.id FROM jobs j JOIN sweeps s ON s.seq = j.sweep WHERE s.id = ?1"
    " AND j.state IN ('queued', 'held', 'running') AND NOT j.cancel_requested"
    " ORDER BY j.seq DESC LIMIT 1";
static const char sql_exists[] = "SELECT count(*) FROM sweeps WHERE id = ?1";
static const char sql_states[] = "SELECT state, count(*) FROM jobs WHERE sweep = ?1 GROUP BY state";

/* Columns in the order sweep_read reads them. */
#define ROW "SELECT id, seq, name, user, submitted_at, base, vary, max_running FROM sweeps"
static const char sql_get[] = ROW " WHERE id = ?1";
static const char sql_list[] = ROW " WHERE ?1 = 0 OR seq < ?1 ORDER BY seq DESC LIMIT ?2";

void sweep_free(struct sweep *sweep)
{
    if (!sweep)
        return;
    free(sweep->name), free(sweep->user), free(sweep->base), free(sweep->vary);
    free(sweep);
}

/* ---- write ---- */

/* Get the id of the sweep of a job that an earlier request inserted. */
static int sweep_of_job(struct db_writer *writer, const char *job, struct sweep *sweep,
                        struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&writer->connection, sql_of_job, VALUES(value_text(job)), &statement,
                         err) < 0)
        return -1;
    int found = statement_step(statement, err);
    if (found > 0)
        column_copy(statement, 0, sweep->id, sizeof sweep->id);
    statement_close(statement);
    if (found == 0)
        return err_set(err, ERR_INTERNAL, "job %s was submitted as a sweep and has none", job);
    return found < 0 ? -1 : 0;
}

/* Correct the numbers in a queue limit error: job_insert has counted the first
 * `stored` jobs of this sweep as not finished. */
static int sweep_does_not_fit(int n, int stored, struct err *err)
{
    struct err_limit limit = err->limit;
    if (err->code != ERR_TOO_MANY)
        return -1;
    limit.present -= stored;
    limit.asked = n;
    limit.fits = stored;
    return err_set_limit(
        err, ERR_TOO_MANY, &limit,
        "%d jobs do not fit, %d would: %.0f are not finished, the limit is %.0f in "
        "all",
        n, stored, limit.present, limit.value);
}

int sweep_insert(struct db_writer *writer, struct sweep *sweep, struct job *jobs, int n,
                 const char *idempotency_key, const char *body_sha256, int64_t max_queue,
                 int *existing, struct err *err)
{
    struct connection *connection = &writer->connection;
    const int64_t now = db_now();
    int known = 0;
    if (connection_run(connection, sql_insert,
                       VALUES(value_text(sweep->id), value_text(sweep->name),
                              value_text(sweep->user), value_integer(now), value_text(sweep->base),
                              value_text(sweep->vary), value_integer(sweep->max_running)),
                       err) < 0)
        return -1;
    for (int i = 0; i < n && !known; i++)
        if (job_insert(writer, &jobs[i], i ? NULL : idempotency_key, body_sha256, max_queue, &known,
                       err) < 0)
            return sweep_does_not_fit(n, i, err);
    if (known && (connection_run(connection, sql_drop, VALUES(value_text(sweep->id)), err) < 0 ||
                  sweep_of_job(writer, jobs[0].id, sweep, err) < 0))
        return -1;
    sweep->submitted_at = now;
    *existing = known;
    return 0;
}

static int sweep_not_found(const char *id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no sweep %s", id);
}

int sweep_limit(struct db_writer *writer, const char *id, int64_t max_running, struct err *err)
{
    struct connection *connection = &writer->connection;
    const struct value values[] = {value_text(id), value_integer(max_running)};
    if (connection_run(connection, sql_limit, values, 2, err) < 0)
        return -1;
    if (connection_changes(connection) != 1)
        return sweep_not_found(id, err);
    return connection_run(connection, sql_limit_jobs, values, 2, err);
}

/* 1 = *job has not ended and has no cancel request, 0 = there is no such job left. */
static int sweep_open_job(struct db_writer *writer, const char *id, char job[DB_ID_MAX],
                          struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&writer->connection, sql_open, VALUES(value_text(id)), &statement, err) <
        0)
        return -1;
    int found = statement_step(statement, err);
    if (found > 0)
        column_copy(statement, 0, job, DB_ID_MAX);
    statement_close(statement);
    return found;
}

int sweep_cancel(struct db_writer *writer, const char *id, int *n, struct err *err)
{
    char job[DB_ID_MAX];
    enum job_state state;
    int64_t exists;
    int found, count = 0;
    if (connection_integer(&writer->connection, sql_exists, VALUES(value_text(id)), 0, &exists,
                           err) < 0)
        return -1;
    if (!exists)
        return sweep_not_found(id, err);
    for (; (found = sweep_open_job(writer, id, job, err)) > 0; count++)
        if (job_request(writer, job, JOB_CANCEL, &state, err) < 0)
            return -1;
    if (found < 0)
        return -1;
    *n = count;
    return 0;
}

/* ---- read ---- */

static int sweep_count_jobs(struct db_reader *reader, struct sweep *sweep, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_states, VALUES(value_integer(sweep->seq)),
                         &statement, err) < 0)
        return -1;
    int more;
    while ((more = statement_step(statement, err)) > 0)
        sweep->jobs[job_state_from_name((const char *)sqlite3_column_text(statement, 0))] =
            sqlite3_column_int64(statement, 1);
    statement_close(statement);
    return more;
}

static struct sweep *sweep_read(struct db_reader *reader, sqlite3_stmt *row, struct err *err)
{
    struct sweep *sweep = calloc(1, sizeof *sweep);
    if (!sweep) {
        err_set(err, ERR_NO_MEMORY, "no memory for a sweep");
        return NULL;
    }
    column_copy(row, 0, sweep->id, sizeof sweep->id);
    sweep->seq = sqlite3_column_int64(row, 1);
    sweep->submitted_at = sqlite3_column_int64(row, 4);
    sweep->max_running = sqlite3_column_int64(row, 7);
    if (column_text(row, 2, &sweep->name, err) < 0 || column_text(row, 3, &sweep->user, err) < 0 ||
        column_text(row, 5, &sweep->base, err) < 0 || column_text(row, 6, &sweep->vary, err) < 0 ||
        sweep_count_jobs(reader, sweep, err) < 0) {
        sweep_free(sweep);
        return NULL;
    }
    return sweep;
}

int sweep_get(struct db_reader *reader, const char *id, struct sweep **out, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_get, VALUES(value_text(id)), &statement, err) < 0)
        return -1;
    int found = statement_step(statement, err);
    if (found == 0)
        sweep_not_found(id, err);
    struct sweep *sweep = found > 0 ? sweep_read(reader, statement, err) : NULL;
    statement_close(statement);
    if (!sweep)
        return -1;
    *out = sweep;
    return 0;
}

int sweep_list(struct db_reader *reader, int64_t before_seq, int limit, struct sweep ***sweeps,
               int *n, struct err *err)
{
    sqlite3_stmt *statement;
    struct sweep **list = calloc((size_t)limit + 1, sizeof *list);
    if (!list)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d sweeps", limit);
    int count = 0, more = connection_start(&reader->connection, sql_list,
                                           VALUES(value_integer(before_seq), value_integer(limit)),
                                           &statement, err);
    if (more == 0) {
        while ((more = statement_step(statement, err)) > 0)
            if (!(list[count++] = sweep_read(reader, statement, err))) {
                more = -1;
                break;
            }
        statement_close(statement);
    }
    if (more < 0) {
        for (int i = 0; i < count; i++)
            sweep_free(list[i]);
        free(list);
        return -1;
    }
    *sweeps = list;
    *n = count;
    return 0;
}
