/* step_times: see step_times.h. */
#include "db/step_times.h"

#include <math.h>
#include <string.h>

#include "db/connection.h"

/* A measurement counts at least so much of the mean, so that a changed machine is learned. */
#define STEP_TIMES_LEAST 0.125
/* Seconds of a measurement with the weight 1. */
#define STEP_TIMES_SECONDS 10.0
/* With so much weight, a measurement counts as at most a factor e off. */
#define STEP_TIMES_SURE 3.0
/* Of the logarithm: what runs of a shape differ by, before it is known, and shapes at least. */
#define STEP_TIMES_RUNS 0.0025
#define STEP_TIMES_SHAPES 0.02

static const char sql_put[] =
    "INSERT INTO job_work (job, shape, cost) SELECT seq, ?2, ?3 FROM jobs WHERE id = ?1"
    " ON CONFLICT (job) DO UPDATE SET shape = ?2, cost = ?3";
static const char sql_work[] =
    "SELECT shape, cost FROM job_work WHERE job = (SELECT seq FROM jobs WHERE id = ?1)";
static const char sql_uncounted[] =
    "SELECT id FROM jobs LEFT JOIN job_work ON job = seq"
    " WHERE state IN ('queued', 'held', 'running') AND unread = 0 AND job IS NULL ORDER BY seq";
static const char sql_get[] = "SELECT weight, mean, variance, start, stop FROM step_times"
                              " WHERE shape = ?1 AND device = ?2";
static const char sql_device[] =
    "SELECT coalesce(sum(weight), 0), coalesce(sum(weight * mean) / sum(weight), 0),"
    " coalesce(sum(weight * mean * mean) / sum(weight), 0), coalesce(avg(start), 0),"
    " coalesce(avg(stop), 0) FROM step_times WHERE device = ?2";
static const char sql_set[] =
    "REPLACE INTO step_times (shape, device, weight, mean, variance, start, stop)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
static const char sql_lane[] =
    "SELECT j.id, j.seq, j.name, j.priority, j.attempt, j.epoch, j.epochs, j.precision,"
    " j.memory_bytes, j.urgent, j.max_seconds, j.device_ms, j.cost_ms, j.waits_code,"
    " t.provenance, w.shape, w.cost, s.weight, s.mean, s.variance, s.start, s.stop,"
    " coalesce(json_extract(t.provenance, '$.threads'),"
    " json_extract(t.spec, '$.resources.threads'), 0)"
    " FROM jobs j JOIN job_texts t ON t.job = j.seq LEFT JOIN job_work w ON w.job = j.seq"
    " LEFT JOIN step_times s ON s.shape = w.shape AND s.device = ?3"
    " WHERE j.state = 'queued' AND j.unread = 0 AND j.blocked = 0 AND j.user = ?1"
    " AND j.device = ?2 AND j.capped = ?4"
    " ORDER BY j.urgent IS NULL, j.priority DESC, j.seq";

static double step_times_blend(double old, double new, double share)
{
    return new < 0 ? old : old + share *(new - old);
}

void step_times_learn(struct step_times *times, double seconds, double cost, double start,
                      double stop)
{
    const double weight = fmin(seconds / STEP_TIMES_SECONDS, 1);
    if (seconds > 0 && cost > 0) {
        const double share = fmax(weight / (times->weight + weight), weight * STEP_TIMES_LEAST);
        const double seen = log(seconds / cost);
        const double most = times->weight >= STEP_TIMES_SURE ? 1 : INFINITY;
        const double off = fmax(-most, fmin(seen - times->mean, most));
        if (times->weight > 0) {
            times->mean += share * off;
            times->variance += share * (off * off - times->variance);
        } else {
            times->mean = seen;
            times->variance = STEP_TIMES_RUNS;
        }
        times->weight += weight;
    }
    times->start = step_times_blend(times->start, start, times->start > 0 ? 0.25 : 1);
    times->stop = step_times_blend(times->stop, stop, times->stop > 0 ? 0.25 : 1);
}

/* ---- write ---- */

int step_times_put_work(struct db_writer *writer, const char *id, const struct job_work *work,
                        struct err *err)
{
    return connection_run(&writer->connection, sql_put,
                          VALUES(value_text(id), value_text(work->shape), value_real(work->cost)),
                          err);
}

static void step_times_take(sqlite3_stmt *row, int column, struct step_times *out)
{
    *out = (struct step_times){.weight = sqlite3_column_double(row, column),
                               .mean = sqlite3_column_double(row, column + 1),
                               .variance = sqlite3_column_double(row, column + 2),
                               .start = sqlite3_column_double(row, column + 3),
                               .stop = sqlite3_column_double(row, column + 4)};
}

/* 1: found, 0: no row. */
static int step_times_read(struct connection *connection, const char *sql, const char *shape,
                           const char *device, struct step_times *out, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql, VALUES(value_text(shape), value_text(device)), &statement,
                         err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0)
        step_times_take(statement, 0, out);
    statement_close(statement);
    return found;
}

static int step_times_read_work(struct connection *connection, const char *id, struct job_work *out,
                                struct err *err)
{
    sqlite3_stmt *statement;
    *out = (struct job_work){0};
    if (connection_start(connection, sql_work, VALUES(value_text(id)), &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0) {
        column_copy(statement, 0, out->shape, sizeof out->shape);
        out->cost = sqlite3_column_double(statement, 1);
    }
    statement_close(statement);
    return found < 0 ? -1 : 0;
}

int step_times_add(struct db_writer *writer, const char *id, const char *device, double seconds,
                   double epochs, double start, double stop, struct err *err)
{
    struct connection *connection = &writer->connection;
    struct job_work work;
    struct step_times times = {0};
    if (step_times_read_work(connection, id, &work, err) < 0)
        return -1;
    if (!work.shape[0])
        return 0;
    if (step_times_read(connection, sql_get, work.shape, device, &times, err) < 0)
        return -1;
    step_times_learn(&times, seconds, epochs * work.cost, start, stop);
    if (times.weight <= 0)
        return 0;
    return connection_run(connection, sql_set,
                          VALUES(value_text(work.shape), value_text(device),
                                 value_real(times.weight), value_real(times.mean),
                                 value_real(times.variance), value_real(times.start),
                                 value_real(times.stop)),
                          err);
}

/* ---- read ---- */

int step_times_work(struct db_reader *reader, const char *id, struct job_work *out, struct err *err)
{
    return step_times_read_work(&reader->connection, id, out, err);
}

int step_times_get(struct db_reader *reader, const char *shape, const char *device,
                   struct step_times *out, struct err *err)
{
    *out = (struct step_times){0};
    const int found = step_times_read(&reader->connection, sql_get, shape, device, out, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (step_times_read(&reader->connection, sql_device, shape, device, out, err) < 0)
        return -1;
    /* The column holds the mean of squares. Two shapes may agree by chance. */
    out->variance = fmax(out->variance - out->mean * out->mean, STEP_TIMES_SHAPES);
    return 0;
}

int step_times_uncounted(struct db_reader *reader, int (*row)(void *self, const char *id),
                         void *self, struct err *err)
{
    sqlite3_stmt *statement;
    int result, stop = 0;
    if (connection_start(&reader->connection, sql_uncounted, NO_VALUES, &statement, err) < 0)
        return -1;
    while ((result = statement_step(statement, err)) > 0 && !stop)
        stop = row(self, (const char *)sqlite3_column_text(statement, 0));
    statement_close(statement);
    return result < 0 ? -1 : 0;
}

static void step_times_job(sqlite3_stmt *row, struct job *job)
{
    column_copy(row, 0, job->id, sizeof job->id);
    job->seq = sqlite3_column_int64(row, 1);
    job->name = (char *)sqlite3_column_text(row, 2);
    job->priority = sqlite3_column_int(row, 3);
    job->attempt = sqlite3_column_int(row, 4);
    job->epoch = sqlite3_column_int64(row, 5);
    job->epochs = sqlite3_column_int64(row, 6);
    job->precision = (char *)sqlite3_column_text(row, 7);
    job->memory_bytes = sqlite3_column_int64(row, 8);
    job->urgent = (char *)sqlite3_column_text(row, 9);
    job->max_seconds = sqlite3_column_int64(row, 10);
    job->device_ms = sqlite3_column_int64(row, 11);
    job->cost_ms = sqlite3_column_int64(row, 12);
    job->waits_code = reason_from_name((const char *)sqlite3_column_text(row, 13));
    job->provenance = (char *)sqlite3_column_text(row, 14);
    job->threads = sqlite3_column_int(row, 22);
}

int step_times_lane(struct db_reader *reader, const struct job_lane *lane, const char *device,
                    step_times_row *row, void *self, struct err *err)
{
    sqlite3_stmt *statement;
    int result, stop = 0;
    if (connection_start(&reader->connection, sql_lane,
                         VALUES(value_text(lane->user), value_text(lane->device),
                                value_text(device), value_integer(lane->capped)),
                         &statement, err) < 0)
        return -1;
    while (!stop && (result = statement_step(statement, err)) > 0) {
        struct job job = {.state = JOB_QUEUED,
                          .user = (char *)(uintptr_t)lane->user,
                          .device = (char *)(uintptr_t)lane->device,
                          .sweep = lane->capped ? (char *)(uintptr_t)lane->sweep : NULL};
        struct job_work work = {0};
        struct step_times times;
        step_times_job(statement, &job);
        if (sqlite3_column_type(statement, 15) != SQLITE_NULL)
            column_copy(statement, 15, work.shape, sizeof work.shape);
        work.cost = sqlite3_column_double(statement, 16);
        step_times_take(statement, 17, &times);
        stop = row(self, &job, &work, &times);
    }
    statement_close(statement);
    return !stop && result < 0 ? -1 : 0;
}
