/* after: see after.h. Every count is taken anew from the rows and never added to, so it cannot
 * drift. */
#include "db/after.h"

#include <stdio.h>

#include "db/connection.h"

static const char sql_seq[] = "SELECT seq FROM jobs WHERE id = ?1";
static const char sql_clear[] = "DELETE FROM job_after WHERE job = ?1";
static const char sql_add[] = "INSERT INTO job_after (job, needs, state) VALUES (?1, ?2, ?3)";
/* 1 if job ?1 waits for job ?2, over others or not. */
static const char sql_reaches[] =
    "WITH RECURSIVE chain (job) AS (VALUES (?1)"
    " UNION SELECT a.needs FROM chain JOIN job_after a ON a.job = chain.job)"
    " SELECT count(*) FROM chain WHERE job = ?2";

#define COUNT                                                                                      \
    "UPDATE jobs SET blocked = iif(started_at = 0, (SELECT count(*) FROM job_after a"              \
    " JOIN jobs n ON n.seq = a.needs WHERE a.job = jobs.seq AND " AFTER_UNMET "), 0)"
static const char sql_count[] = COUNT " WHERE seq = ?1";
static const char sql_count_waiting[] =
    COUNT " WHERE seq IN (SELECT job FROM job_after WHERE needs = ?1)";

#define BROKEN                                                                                     \
    " FROM job_after a JOIN jobs n ON n.seq = a.needs WHERE a.job = w.seq"                         \
    " AND a.state = 'succeeded' AND n.state IN ('failed', 'cancelled')"
static const char sql_is_broken[] =
    "SELECT (SELECT " AFTER_REASON " || n.id || iif(n.state = 'failed', ' has failed',"
    " ' was cancelled')" BROKEN " ORDER BY a.needs LIMIT 1) AS reason"
    " FROM jobs w WHERE w.seq = ?1 AND w.started_at = 0 AND reason IS NOT NULL";
#define WAITING " FROM job_after e JOIN jobs w ON w.seq = e.job WHERE e.needs = ?1"
static const char sql_next_broken[] =
    "SELECT w.seq, w.id" WAITING " AND e.job > ?2 AND w.state = 'queued' AND w.started_at = 0"
    " AND EXISTS (SELECT 1" BROKEN ") ORDER BY e.job LIMIT 1";
static const char sql_next_mended[] =
    "SELECT w.seq, w.id" WAITING " AND e.job > ?2 AND w.state = 'held'"
    " AND w.waits_code = 'after' AND NOT EXISTS (SELECT 1" BROKEN ")"
    " ORDER BY e.job LIMIT 1";
static const char sql_needed_by[] =
    "SELECT w.id" WAITING " AND e.state = 'succeeded' AND w.state IN ('queued', 'held')"
    " AND w.started_at = 0"
    " AND (SELECT state FROM jobs WHERE seq = ?1) <> 'succeeded' ORDER BY e.job LIMIT 1";
static const char sql_read[] =
    "SELECT n.id, n.name, n.state, a.state = 'any' FROM jobs w JOIN job_after a ON a.job = w.seq"
    " JOIN jobs n ON n.seq = a.needs WHERE w.id = ?1 ORDER BY a.needs";
static const char sql_read_waiting[] =
    "SELECT w.id, w.name, w.state, e.state = 'any' FROM jobs n JOIN job_after e ON e.needs = n.seq"
    " JOIN jobs w ON w.seq = e.job WHERE n.id = ?1 ORDER BY e.job LIMIT ?2";

/* ---- what a job waits for ---- */

static int after_seq(struct connection *connection, const struct after_list *list, int i,
                     int64_t *seq, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    if (connection_integer(connection, sql_seq, VALUES(value_text(list->entry[i].job)), 0, seq,
                           err) < 0)
        return -1;
    snprintf(pointer, sizeof pointer, "%s/%d/job", list->pointer, i);
    return *seq ? 0 : err_field(err, pointer, "there is no job %s", list->entry[i].job);
}

int after_check(struct db_reader *reader, const struct after_list *list, struct err *err)
{
    int64_t seq;
    int bad = 0;
    for (int i = 0; i < list->n; i++)
        bad |= after_seq(&reader->connection, list, i, &seq, err);
    return bad ? -1 : 0;
}

/* ERR_INVALID if the edge from job `seq` to entry i, which is job `needs`, would close a circle. */
static int after_check_circle(struct db_writer *writer, int64_t seq, int64_t needs,
                              const struct after_list *list, int i, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int64_t reaches;
    if (connection_integer(&writer->connection, sql_reaches,
                           VALUES(value_integer(needs), value_integer(seq)), 0, &reaches, err) < 0)
        return -1;
    if (!reaches)
        return 0;
    snprintf(pointer, sizeof pointer, "%s/%d/job", list->pointer, i);
    return seq == needs
               ? err_field(err, pointer, "job %s cannot wait for itself", list->entry[i].job)
               : err_field(err, pointer, "job %s waits for this one: neither would ever start",
                           list->entry[i].job);
}

int after_set(struct db_writer *writer, int64_t seq, const struct after_list *list, struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_run(connection, sql_clear, VALUES(value_integer(seq)), err) < 0)
        return -1;
    for (int i = 0; i < list->n; i++) {
        const char *state = list->entry[i].any ? "any" : "succeeded";
        int64_t needs;
        if (after_seq(connection, list, i, &needs, err) < 0 ||
            after_check_circle(writer, seq, needs, list, i, err) < 0 ||
            connection_run(connection, sql_add,
                           VALUES(value_integer(seq), value_integer(needs), value_text(state)),
                           err) < 0)
            return -1;
    }
    return after_count(writer, seq, err);
}

int after_count(struct db_writer *writer, int64_t seq, struct err *err)
{
    return connection_run(&writer->connection, sql_count, VALUES(value_integer(seq)), err);
}

int after_count_waiting(struct db_writer *writer, int64_t needs, struct err *err)
{
    return connection_run(&writer->connection, sql_count_waiting, VALUES(value_integer(needs)),
                          err);
}

/* ---- what follows from an end ---- */

int after_is_broken(struct connection *connection, int64_t seq, char reason[AFTER_REASON_MAX],
                    struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql_is_broken, VALUES(value_integer(seq)), &statement, err) <
        0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0)
        column_copy(statement, 0, reason, AFTER_REASON_MAX);
    statement_close(statement);
    return found;
}

static int after_next(struct db_writer *writer, const char *sql, int64_t needs, int64_t *seq,
                      char id[DB_ID_MAX], struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&writer->connection, sql,
                         VALUES(value_integer(needs), value_integer(*seq)), &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0) {
        *seq = sqlite3_column_int64(statement, 0);
        column_copy(statement, 1, id, DB_ID_MAX);
    }
    statement_close(statement);
    return found;
}

int after_next_broken(struct db_writer *writer, int64_t needs, int64_t *seq, char id[DB_ID_MAX],
                      struct err *err)
{
    return after_next(writer, sql_next_broken, needs, seq, id, err);
}

int after_next_mended(struct db_writer *writer, int64_t needs, int64_t *seq, char id[DB_ID_MAX],
                      struct err *err)
{
    return after_next(writer, sql_next_mended, needs, seq, id, err);
}

int after_needed_by(struct connection *connection, int64_t seq, char by[DB_ID_MAX], struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql_needed_by, VALUES(value_integer(seq)), &statement, err) <
        0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0)
        column_copy(statement, 0, by, DB_ID_MAX);
    statement_close(statement);
    return found;
}

/* ---- read ---- */

static int after_rows(sqlite3_stmt *statement, after_row *row, void *self, struct err *err)
{
    int more;
    while ((more = statement_step(statement, err)) > 0) {
        const struct after_edge edge = {.id = (const char *)sqlite3_column_text(statement, 0),
                                        .name = (const char *)sqlite3_column_text(statement, 1),
                                        .state = (const char *)sqlite3_column_text(statement, 2),
                                        .any = sqlite3_column_int(statement, 3)};
        row(self, &edge);
    }
    statement_close(statement);
    return more;
}

int after_read(struct db_reader *reader, const char *id, after_row *row, void *self,
               struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_read, VALUES(value_text(id)), &statement, err) <
        0)
        return -1;
    return after_rows(statement, row, self, err);
}

int after_read_waiting(struct db_reader *reader, const char *id, int limit, after_row *row,
                       void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_read_waiting,
                         VALUES(value_text(id), value_integer(limit)), &statement, err) < 0)
        return -1;
    return after_rows(statement, row, self, err);
}
