/* retention: see retention.h. The conditions are looked at again in the transaction that carries an
 * announcement out: a job may have been pinned, retried or named by another one since the pass. */
#include "db/retention.h"

#include <stdio.h>
#include <string.h>

#include "db/connection.h"
#include "db/history.h"
#include "db/jobs.h"

static const char *const part_names[RETENTION_PARTS] = {
    [RETENTION_STATE] = "state", [RETENTION_MODELS] = "models", [RETENTION_JOB] = "job"};

#define MAY_LOSE                                                                                   \
    "j.state IN ('succeeded', 'failed', 'cancelled') AND j.pinned = 0"                             \
    " AND NOT EXISTS (SELECT 1 FROM job_texts t WHERE json_extract(t.spec, '$.init_from') = j.id)" \
    " AND NOT EXISTS (SELECT 1 FROM job_after a JOIN jobs w ON w.seq = a.job"                      \
    " WHERE a.needs = j.seq AND w.state IN ('queued', 'held') AND w.started_at = 0)"
static const char sql_next[] =
    "SELECT j.seq, j.id, j.finished_at, j.record_bytes FROM jobs j WHERE j.seq > ?1 AND " MAY_LOSE
    " ORDER BY j.seq LIMIT 1";
static const char sql_announce[] =
    "INSERT INTO retention (job, part, bytes, announced_at, due_at, seen_at)"
    " SELECT seq, ?2, ?3, ?6, max(?4, ?6 + ?5), ?6 FROM jobs WHERE seq = ?1"
    " ON CONFLICT DO UPDATE SET bytes = excluded.bytes, seen_at = excluded.seen_at,"
    " due_at = max(?4, announced_at + ?5)";
static const char sql_forget[] = "DELETE FROM retention WHERE seen_at <> ?1";
static const char sql_list[] =
    "SELECT r.job, r.part, r.bytes, r.due_at, j.id, j.name, j.user, r.announced_at"
    " FROM retention r JOIN jobs j ON j.seq = r.job WHERE " MAY_LOSE
    " AND (?1 IS NULL OR j.user = ?1) AND (?2 IS NULL OR j.id = ?2)"
    " AND (?3 = 0 OR r.due_at <= ?3) ORDER BY r.due_at,"
    " instr('state models job', r.part), j.finished_at, r.job LIMIT ?4 OFFSET ?5";
static const char sql_due[] = "SELECT r.bytes FROM retention r JOIN jobs j ON j.seq = r.job"
                              " WHERE j.id = ?1 AND r.part = ?2 AND r.due_at <= ?3 AND " MAY_LOSE;
static const char sql_taken[] =
    "DELETE FROM retention WHERE job = (SELECT seq FROM jobs WHERE id = ?1) AND part = ?2";

const char *retention_part_name(enum retention_part part)
{
    return part_names[part];
}

int retention_next_job(struct db_reader *reader, struct retention_job *job, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_next, VALUES(value_integer(job->seq)), &statement,
                         err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0) {
        job->seq = sqlite3_column_int64(statement, 0);
        column_copy(statement, 1, job->id, sizeof job->id);
        job->finished_at = sqlite3_column_int64(statement, 2);
        job->record_bytes = sqlite3_column_int64(statement, 3);
    }
    statement_close(statement);
    return found;
}

int retention_announce(struct db_writer *writer, const struct retention_item *item, int64_t notice,
                       int64_t now, struct err *err)
{
    return connection_run(&writer->connection, sql_announce,
                          VALUES(value_integer(item->seq), value_text(part_names[item->part]),
                                 value_integer(item->bytes), value_integer(item->due),
                                 value_integer(notice), value_integer(now)),
                          err);
}

int retention_forget(struct db_writer *writer, int64_t now, struct err *err)
{
    return connection_run(&writer->connection, sql_forget, VALUES(value_integer(now)), err);
}

static enum retention_part part_of(const char *name)
{
    int part = 0;
    while (part < RETENTION_JOB && strcmp(part_names[part], name) != 0)
        part++;
    return (enum retention_part)part;
}

int retention_list(struct db_reader *reader, const struct retention_filter *filter,
                   retention_row_function *row, void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_list,
                         VALUES(value_text(filter->user), value_text(filter->job),
                                value_integer(filter->due_until), value_integer(filter->limit),
                                value_integer(filter->skip)),
                         &statement, err) < 0)
        return -1;
    int result = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0) {
        const struct retention_row found = {
            .item = {.seq = sqlite3_column_int64(statement, 0),
                     .part = part_of((const char *)sqlite3_column_text(statement, 1)),
                     .bytes = sqlite3_column_int64(statement, 2),
                     .due = sqlite3_column_int64(statement, 3)},
            .id = (const char *)sqlite3_column_text(statement, 4),
            .name = (const char *)sqlite3_column_text(statement, 5),
            .user = (const char *)sqlite3_column_text(statement, 6),
            .announced_at = sqlite3_column_int64(statement, 7)};
        stop = row(self, &found);
    }
    statement_close(statement);
    return result < 0 ? -1 : 0;
}

int retention_take(struct db_writer *writer, const char *id, enum retention_part part, int64_t now,
                   struct err *err)
{
    struct connection *connection = &writer->connection;
    const struct value job = value_text(id), name = value_text(part_names[part]);
    char detail[64];
    int64_t bytes;
    if (connection_integer(connection, sql_due, VALUES(job, name, value_integer(now)), -1, &bytes,
                           err) < 0)
        return -1;
    if (bytes < 0)
        return 0;
    snprintf(detail, sizeof detail, "%s, %lld bytes", part_names[part], (long long)bytes);
    const struct history entry = {
        .kind = "job", .object = id, .action = "retention", .detail = detail};
    if (history_add(writer, &entry, err) < 0 ||
        connection_run(connection, sql_taken, VALUES(job, name), err) < 0 ||
        (part == RETENTION_JOB && job_delete(writer, id, err) < 0))
        return -1;
    return 1;
}
