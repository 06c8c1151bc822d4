/* usage: see usage.h. */
#include "db/usage.h"

#include <string.h>

#include "db/connection.h"

#define DAY_US 86400000000 /* microseconds of a day; UTC has no leap seconds here */

static const char sql_add[] =
    "INSERT INTO usage (day, job, user, device, device_ms, succeeded, failed, cancelled)"
    " SELECT ?1, id, user, device, ?3, ?4 IS 'succeeded', ?4 IS 'failed', ?4 IS 'cancelled'"
    " FROM jobs WHERE id = ?2"
    " ON CONFLICT DO UPDATE SET device_ms = device_ms + excluded.device_ms,"
    " succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed,"
    " cancelled = cancelled + excluded.cancelled";
static const char sql_measured[] =
    "UPDATE jobs SET file_bytes = ?2 WHERE id = ?1 AND file_bytes <> ?2";
static const char sql_next[] =
    "SELECT seq, id, file_bytes FROM jobs WHERE seq > ?1 ORDER BY seq LIMIT 1";
#define STORED "sum(record_bytes + file_bytes)"
static const char sql_total[] = "SELECT " STORED " FROM jobs";
static const char sql_stored[] =
    "REPLACE INTO usage_stored (day, user, bytes) SELECT ?1, user, " STORED
    " FROM jobs GROUP BY user";
/* A user whose last job was deleted today takes nothing. */
static const char sql_stored_none[] =
    "UPDATE usage_stored SET bytes = 0 WHERE day = ?1 AND NOT EXISTS"
    " (SELECT 1 FROM jobs WHERE jobs.user = usage_stored.user)";
static const char sql_old[] =
    "SELECT coalesce(min(day), -1) FROM usage WHERE day < ?1 AND job <> ''";
/* A job that was on several devices is counted with the first. */
static const char sql_fold[] =
    "INSERT INTO usage (day, job, user, device, device_ms, succeeded, failed, cancelled, jobs)"
    " SELECT day, '', user, device, sum(device_ms), sum(succeeded), sum(failed), sum(cancelled),"
    " sum(iif(device = first, jobs, 0))"
    " FROM (SELECT *, min(device) OVER (PARTITION BY job) AS first FROM usage"
    " WHERE day = ?1 AND job <> '') GROUP BY user, device"
    " ON CONFLICT DO UPDATE SET device_ms = device_ms + excluded.device_ms,"
    " succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed,"
    " cancelled = cancelled + excluded.cancelled, jobs = jobs + excluded.jobs";
static const char sql_folded[] = "DELETE FROM usage WHERE day = ?1 AND job <> ''";

/* Rows of the days ?1 to ?2 of user ?3; ?4 groups after the first ?5, in the order of `order` and
 * their keys, each with its devices. A job that was on several devices or days is one: it is
 * counted by grouping, which is faster than count(DISTINCT). `more`: groups that have had nothing. */
#define WANTED " FROM usage WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR user = ?3)"
#define SUMS "sum(succeeded) AS succeeded, sum(failed) AS failed, sum(cancelled) AS cancelled"
#define READ(key, more, columns, joins, order)                                                     \
    "WITH whole AS (SELECT key, min(user) AS user, sum(ms) AS total, sum(jobs) AS jobs, " SUMS     \
    " FROM (SELECT " key " AS key, user, sum(device_ms) AS ms,"                                    \
    " iif(job = '', sum(jobs), 1) AS jobs, " SUMS WANTED " GROUP BY 1, job" more ")"               \
    " GROUP BY key ORDER BY " order "key LIMIT ?4 OFFSET ?5),"                                     \
    " part AS (SELECT " key " AS key, device, sum(device_ms) AS ms" WANTED                         \
    " AND device_ms > 0 AND " key " IN (SELECT key FROM whole) GROUP BY 1, 2)"                     \
    " SELECT w.key, p.device, p.ms, total, w.jobs, w.succeeded, w.failed, w.cancelled, " columns   \
    " FROM whole w LEFT JOIN part p ON p.key = w.key" joins " ORDER BY " order "w.key, p.device"
#define BY_TIME "total DESC, "
static const char *const sql_read[] = {
    [USAGE_USER] = READ("user",
                        " UNION ALL SELECT user, user, 0, 0, 0, 0, 0 FROM jobs"
                        " WHERE ?3 IS NULL OR user = ?3 GROUP BY user",
                        "coalesce(s.bytes, 0), NULL, NULL, NULL",
                        " LEFT JOIN (SELECT user, " STORED " AS bytes FROM jobs GROUP BY user) s"
                        " ON s.user = w.key",
                        BY_TIME),
    [USAGE_JOB] = READ("job", "",
                       "coalesce(j.record_bytes + j.file_bytes, 0), j.name,"
                       " iif(w.key = '', NULL, w.user), j.state",
                       " LEFT JOIN jobs j ON j.id = w.key", BY_TIME),
    [USAGE_DAY] = READ("day", "",
                       "(SELECT sum(bytes) FROM usage_stored s WHERE s.day = w.key"
                       " AND (?3 IS NULL OR s.user = ?3)), NULL, NULL, NULL",
                       "", ""),
    [USAGE_ALL] = READ("''", " UNION ALL SELECT '', '', 0, 0, 0, 0, 0",
                       "coalesce((SELECT " STORED " FROM jobs WHERE ?3 IS NULL OR user = ?3), 0),"
                       " NULL, NULL, NULL",
                       "", ""),
};
static const char sql_devices[] =
    "SELECT DISTINCT device FROM usage WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR user = ?3)"
    " AND device_ms > 0 ORDER BY device";

int64_t usage_day(int64_t time)
{
    return time / DAY_US;
}

static int usage_add(struct db_writer *writer, const char *job, int64_t device_ms,
                     const char *state, struct err *err)
{
    return connection_run(&writer->connection, sql_add,
                          VALUES(value_integer(usage_day(db_now())), value_text(job),
                                 value_integer(device_ms), value_text(state)),
                          err);
}

int usage_charge(struct db_writer *writer, const char *job, int64_t device_ms, struct err *err)
{
    return device_ms > 0 ? usage_add(writer, job, device_ms, NULL, err) : 0;
}

int usage_end(struct db_writer *writer, const char *job, const char *state, struct err *err)
{
    return usage_add(writer, job, 0, state, err);
}

int usage_measured(struct db_writer *writer, const char *job, int64_t bytes, struct err *err)
{
    return connection_run(&writer->connection, sql_measured,
                          VALUES(value_text(job), value_integer(bytes)), err);
}

int usage_next_job(struct db_reader *reader, int64_t *seq, char id[DB_ID_MAX], int64_t *bytes,
                   struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_next, VALUES(value_integer(*seq)), &statement,
                         err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0) {
        *seq = sqlite3_column_int64(statement, 0);
        column_copy(statement, 1, id, DB_ID_MAX);
        *bytes = sqlite3_column_int64(statement, 2);
    }
    statement_close(statement);
    return found;
}

int usage_stored(struct db_writer *writer, struct err *err)
{
    const struct value today = value_integer(usage_day(db_now()));
    if (connection_run(&writer->connection, sql_stored, VALUES(today), err) < 0)
        return -1;
    return connection_run(&writer->connection, sql_stored_none, VALUES(today), err);
}

int usage_total(struct db_reader *reader, int64_t *bytes, struct err *err)
{
    return connection_integer(&reader->connection, sql_total, NO_VALUES, 0, bytes, err);
}

int usage_fold(struct db_writer *writer, int64_t day, struct err *err)
{
    struct connection *connection = &writer->connection;
    int64_t oldest;
    if (connection_integer(connection, sql_old, VALUES(value_integer(day)), -1, &oldest, err) < 0)
        return -1;
    if (oldest < 0)
        return 0;
    if (connection_run(connection, sql_fold, VALUES(value_integer(oldest)), err) < 0 ||
        connection_run(connection, sql_folded, VALUES(value_integer(oldest)), err) < 0)
        return -1;
    return 1;
}

/* One row of sql_read. key: of the row before, which tells where a group begins. */
static void usage_fill(sqlite3_stmt *row, char key[DB_ACTOR_MAX], struct usage *usage)
{
    const char *found = (const char *)sqlite3_column_text(row, 0);
    *usage = (struct usage){.is_first = strcmp(found, key) != 0,
                            .key = key,
                            .day = sqlite3_column_int64(row, 0),
                            .device = (const char *)sqlite3_column_text(row, 1),
                            .device_ms = sqlite3_column_int64(row, 2),
                            .total_ms = sqlite3_column_int64(row, 3),
                            .jobs = sqlite3_column_int64(row, 4),
                            .succeeded = sqlite3_column_int64(row, 5),
                            .failed = sqlite3_column_int64(row, 6),
                            .cancelled = sqlite3_column_int64(row, 7),
                            .stored_bytes = sqlite3_column_type(row, 8) == SQLITE_NULL
                                                ? -1
                                                : sqlite3_column_int64(row, 8),
                            .name = (const char *)sqlite3_column_text(row, 9),
                            .user = (const char *)sqlite3_column_text(row, 10),
                            .state = (const char *)sqlite3_column_text(row, 11)};
    column_copy(row, 0, key, DB_ACTOR_MAX);
}

int usage_read(struct db_reader *reader, const struct usage_filter *filter, usage_row *row,
               void *self, struct err *err)
{
    sqlite3_stmt *statement;
    char key[DB_ACTOR_MAX] = "\n"; /* no user and no job has this one */
    if (connection_start(&reader->connection, sql_read[filter->by],
                         VALUES(value_integer(filter->since), value_integer(filter->until),
                                value_text(filter->user), value_integer(filter->limit),
                                value_integer(filter->skip)),
                         &statement, err) < 0)
        return -1;
    int result = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0) {
        struct usage usage;
        usage_fill(statement, key, &usage);
        stop = row(self, &usage);
    }
    statement_close(statement);
    return result < 0 ? -1 : 0;
}

int usage_devices(struct db_reader *reader, const struct usage_filter *filter,
                  int (*row)(void *self, const char *device), void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_devices,
                         VALUES(value_integer(filter->since), value_integer(filter->until),
                                value_text(filter->user)),
                         &statement, err) < 0)
        return -1;
    int result = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0)
        stop = row(self, (const char *)sqlite3_column_text(statement, 0));
    statement_close(statement);
    return result < 0 ? -1 : 0;
}
