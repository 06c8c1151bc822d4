/* notify: see notify.h. */
#include "db/notify.h"

#include <stdio.h>
#include <string.h>

#include "config/hash.h"
#include "db/connection.h"

static const char *const format_names[NOTIFY_FORMATS] = {
    [NOTIFY_JSON] = "json", [NOTIFY_SLACK] = "slack", [NOTIFY_NTFY] = "ntfy"};

static const struct {
    enum notify_event event;
    const char *name;
} events[] = {{NOTIFY_SUCCEEDED, "succeeded"}, {NOTIFY_FAILED, "failed"}, {NOTIFY_HELD, "held"}};
enum { EVENTS = sizeof events / sizeof events[0] };

/* Parameters ?1 to ?3 name the owner: user, job, sweep. */
#define OWNED                                                                                      \
    "(user = ?1 OR job = (SELECT seq FROM jobs WHERE id = ?2)"                                     \
    " OR sweep = (SELECT seq FROM sweeps WHERE id = ?3))"
static const char sql_count[] = "SELECT count(*) FROM notify_targets WHERE " OWNED;
static const char sql_add[] =
    "INSERT INTO notify_targets (user, job, sweep, id, url, events, format)"
    " VALUES (?1, (SELECT seq FROM jobs WHERE id = ?2), (SELECT seq FROM sweeps WHERE id = ?3),"
    " ?4, ?5, (SELECT json_group_array(value) FROM json_each('[\"succeeded\",\"failed\",\"held\"]')"
    " WHERE (1 << key) & ?6), ?7)";
static const char sql_remove[] = "DELETE FROM notify_targets WHERE user = ?1 AND id = ?2";
static const char sql_targets[] =
    "SELECT id, url, format, (SELECT sum(CASE value WHEN 'succeeded' THEN 1 WHEN 'failed' THEN 2"
    " ELSE 4 END) FROM json_each(events)) FROM notify_targets WHERE " OWNED " ORDER BY seq";
static const char sql_set_secret[] = "REPLACE INTO notify_secrets (user, secret) VALUES (?1, ?2)";
static const char sql_secret[] = "SELECT secret FROM notify_secrets WHERE user = ?1";

/* The sweep of job ?1 when none of its jobs waits or runs any more, and what is to be told then:
 * held jobs first, because somebody has to release them. */
static const char sql_rest[] =
    "SELECT sweep, CASE WHEN sum(state IN ('queued', 'running')) > 0 THEN NULL"
    " WHEN sum(state = 'held') > 0 THEN 'held' WHEN sum(state = 'failed') > 0 THEN 'failed'"
    " WHEN sum(state = 'succeeded') > 0 THEN 'succeeded' END"
    " FROM jobs WHERE sweep = (SELECT sweep FROM jobs WHERE seq = ?1) GROUP BY sweep";
/* Addresses of job ?1 and its user, or of sweep ?2 and its user, that are told ?3; those after ?4.
 * An address that stands in both is told once in a format. */
static const char sql_next[] =
    "SELECT min(t.seq), t.url, t.format FROM notify_targets t WHERE t.seq IN"
    " (SELECT seq FROM notify_targets WHERE job = ?1 AND ?2 IS NULL"
    " UNION ALL SELECT seq FROM notify_targets WHERE sweep = ?2"
    " UNION ALL SELECT seq FROM notify_targets"
    " WHERE user = (SELECT user FROM jobs WHERE seq = ?1))"
    " AND EXISTS (SELECT 1 FROM json_each(t.events) WHERE value = ?3)"
    " GROUP BY t.url, t.format HAVING min(t.seq) > ?4 ORDER BY 1 LIMIT 1";
#define TIME(value)                                                                                \
    "strftime('%Y-%m-%dT%H:%M:%S', " value " / 1000000, 'unixepoch')"                              \
    " || printf('.%06dZ', " value " % 1000000)"
#define MESSAGE                                                                                    \
    "INSERT INTO notifications (id, url, format, created_at, due_at, subject, user, body)"         \
    " SELECT ?3, ?4, ?5, ?6, ?6, "
static const char sql_job[] = MESSAGE "id, user, json_object('id', ?3, 'event', ?2, 'time', " TIME(
    "?6") ", 'job', json_object('id', id, 'name', name, 'tags', json(tags), 'user', user,"
          " 'state', state, 'epoch', iif(epoch < 0, NULL, epoch), 'epochs', epochs,"
          " 'loss', loss, 'device', device, 'device_seconds', device_ms / 1e3,"
          " 'error', json(error), 'waits', json(iif(waits_code IS NULL, NULL,"
          " json_object('code', waits_code, 'message', waits))))) FROM jobs WHERE seq = ?1";
static const char sql_sweep[] =
    MESSAGE "s.id, s.user, json_object('id', ?3, 'event', ?2, 'time', " TIME(
        "?6") ", 'sweep', json_object('id', s.id, 'name', s.name, 'user', s.user, 'jobs',"
              " (SELECT json_group_object(state, n) FROM (SELECT state, count(*) AS n FROM jobs"
              " WHERE sweep = s.seq GROUP BY state)))) FROM sweeps s WHERE s.seq = ?1";
/* Several jobs of a sweep may come to rest in one operation: the last message holds. */
static const char sql_replaced[] =
    "DELETE FROM notifications WHERE subject = (SELECT id FROM sweeps WHERE seq = ?1)"
    " AND tries = 0 AND url = ?2 AND format = ?3";
#define COLUMNS                                                                                    \
    "SELECT seq, created_at, tries, due_at, id, subject, user, url, body, error, format"           \
    " FROM notifications "
static const char sql_due[] = COLUMNS "WHERE due_at <= ?1 ORDER BY due_at, seq LIMIT 1";
static const char sql_list[] = COLUMNS "WHERE user = ?1 ORDER BY seq LIMIT ?2";
static const char sql_done[] = "DELETE FROM notifications WHERE seq = ?1";
static const char sql_failed[] =
    "UPDATE notifications SET tries = tries + 1, error = ?3 WHERE seq = ?1";
static const char sql_later[] = "UPDATE notifications SET due_at = max(due_at, ?2)"
                                " WHERE url = (SELECT url FROM notifications WHERE seq = ?1)";

const char *notify_format_name(enum notify_format format)
{
    return format_names[format];
}

int notify_format_from_name(const char *name)
{
    for (int format = 0; format < NOTIFY_FORMATS; format++)
        if (strcmp(format_names[format], name) == 0)
            return format;
    return -1;
}

const char *notify_event_name(enum notify_event event)
{
    int i = 0;
    while (i < EVENTS - 1 && events[i].event != event)
        i++;
    return events[i].name;
}

#define OWNER(owner) value_text((owner)->user), value_text((owner)->job), value_text((owner)->sweep)

int notify_add(struct db_writer *writer, const struct notify_owner *owner, struct notify_list *list,
               struct err *err)
{
    int64_t n;
    if (connection_integer(&writer->connection, sql_count, VALUES(OWNER(owner)), 0, &n, err) < 0)
        return -1;
    if (n + list->n > NOTIFY_TARGETS_MAX)
        return err_set(err, ERR_CONFLICT, "there are %lld addresses; at most %d are told",
                       (long long)n, NOTIFY_TARGETS_MAX);
    for (int i = 0; i < list->n; i++) {
        struct notify_target *target = &list->targets[i];
        hash_random_hex((NOTIFY_ID_MAX - 1) / 2, target->id);
        if (connection_run(&writer->connection, sql_add,
                           VALUES(OWNER(owner), value_text(target->id), value_text(target->url),
                                  value_integer(target->events),
                                  value_text(format_names[target->format])),
                           err) < 0)
            return -1;
    }
    return 0;
}

int notify_remove(struct db_writer *writer, const char *user, const char *id, struct err *err)
{
    if (connection_run(&writer->connection, sql_remove, VALUES(value_text(user), value_text(id)),
                       err) < 0)
        return -1;
    return connection_changes(&writer->connection) == 1
               ? 0
               : err_set(err, ERR_NOT_FOUND, "%.64s has no address %.64s", user, id);
}

int notify_targets(struct db_reader *reader, const struct notify_owner *owner,
                   struct notify_list *out, struct err *err)
{
    sqlite3_stmt *statement;
    int result;
    if (connection_start(&reader->connection, sql_targets, VALUES(OWNER(owner)), &statement, err) <
        0)
        return -1;
    out->n = 0;
    while ((result = statement_step(statement, err)) > 0 && out->n < NOTIFY_TARGETS_MAX) {
        struct notify_target *target = &out->targets[out->n++];
        column_copy(statement, 0, target->id, sizeof target->id);
        column_copy(statement, 1, target->url, sizeof target->url);
        target->format = (enum notify_format)notify_format_from_name(
            (const char *)sqlite3_column_text(statement, 2));
        target->events = sqlite3_column_int(statement, 3);
    }
    statement_close(statement);
    return result < 0 ? -1 : 0;
}

int notify_set_secret(struct db_writer *writer, const char *user, const char *secret,
                      struct err *err)
{
    return connection_run(&writer->connection, sql_set_secret,
                          VALUES(value_text(user), value_text(secret)), err);
}

int notify_secret(struct db_reader *reader, const char *user, char secret[NOTIFY_SECRET_MAX],
                  struct err *err)
{
    sqlite3_stmt *statement;
    secret[0] = '\0';
    if (connection_start(&reader->connection, sql_secret, VALUES(value_text(user)), &statement,
                         err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0)
        column_copy(statement, 0, secret, NOTIFY_SECRET_MAX);
    statement_close(statement);
    return found < 0 ? -1 : 0;
}

/* ---- what happened ---- */

/* What is told of a job, or with a sweep of that. */
struct happening {
    int64_t job, sweep; /* sweep 0: the job has none */
    char event[16];     /* "": nothing */
};

/* 1 = url and format are those of the next target after *seq, 0 = there are no more. */
static int happening_next(struct db_writer *writer, const struct happening *what, int64_t *seq,
                          char url[NOTIFY_URL_MAX], char format[16], struct err *err)
{
    sqlite3_stmt *statement;
    const struct value sweep = what->sweep ? value_integer(what->sweep) : value_text(NULL);
    if (connection_start(
            &writer->connection, sql_next,
            VALUES(value_integer(what->job), sweep, value_text(what->event), value_integer(*seq)),
            &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0) {
        *seq = sqlite3_column_int64(statement, 0);
        column_copy(statement, 1, url, NOTIFY_URL_MAX);
        column_copy(statement, 2, format, 16);
    }
    statement_close(statement);
    return found;
}

static int happening_tell(struct db_writer *writer, const struct happening *what, struct err *err)
{
    struct connection *connection = &writer->connection;
    char url[NOTIFY_URL_MAX], format[16], id[NOTIFY_ID_MAX];
    int64_t seq = 0;
    int found;
    while ((found = happening_next(writer, what, &seq, url, format, err)) > 0) {
        hash_random_hex((NOTIFY_ID_MAX - 1) / 2, id);
        if (what->sweep &&
            connection_run(connection, sql_replaced,
                           VALUES(value_integer(what->sweep), value_text(url), value_text(format)),
                           err) < 0)
            return -1;
        if (connection_run(connection, what->sweep ? sql_sweep : sql_job,
                           VALUES(value_integer(what->sweep ? what->sweep : what->job),
                                  value_text(what->event), value_text(id), value_text(url),
                                  value_text(format), value_integer(db_now())),
                           err) < 0)
            return -1;
    }
    return found;
}

int notify_change(struct db_writer *writer, int64_t job, const char *state, struct err *err)
{
    sqlite3_stmt *statement;
    struct happening what = {.job = job};
    if (connection_start(&writer->connection, sql_rest, VALUES(value_integer(job)), &statement,
                         err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0) {
        what.sweep = sqlite3_column_int64(statement, 0);
        column_copy(statement, 1, what.event, sizeof what.event);
    } else {
        snprintf(what.event, sizeof what.event, "%s", state);
    }
    statement_close(statement);
    if (found < 0)
        return -1;
    return what.event[0] ? happening_tell(writer, &what, err) : 0;
}

/* ---- messages ---- */

static void notification_fill(sqlite3_stmt *row, struct notification *message)
{
    const char **const texts[] = {&message->id,  &message->subject, &message->user,
                                  &message->url, &message->body,    &message->error};
    message->seq = sqlite3_column_int64(row, 0);
    message->created_at = sqlite3_column_int64(row, 1);
    message->tries = sqlite3_column_int64(row, 2);
    message->due_at = sqlite3_column_int64(row, 3);
    for (int i = 0; i < (int)(sizeof texts / sizeof *texts); i++)
        *texts[i] = (const char *)sqlite3_column_text(row, 4 + i);
    message->format =
        (enum notify_format)notify_format_from_name((const char *)sqlite3_column_text(row, 10));
}

/* Give the rows of a started statement to `row`, and close it; returns how many there were. */
static int notification_give(sqlite3_stmt *statement, notification_row *row, void *self,
                             struct err *err)
{
    int result, n = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0) {
        struct notification message;
        notification_fill(statement, &message);
        stop = row(self, &message);
        n++;
    }
    statement_close(statement);
    return result < 0 ? -1 : n;
}

int notification_due(struct db_reader *reader, int64_t now, notification_row *row, void *self,
                     struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_due, VALUES(value_integer(now)), &statement,
                         err) < 0)
        return -1;
    return notification_give(statement, row, self, err);
}

int notification_list(struct db_reader *reader, const char *user, int limit, notification_row *row,
                      void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_list,
                         VALUES(value_text(user), value_integer(limit)), &statement, err) < 0)
        return -1;
    return notification_give(statement, row, self, err) < 0 ? -1 : 0;
}

int notification_done(struct db_writer *writer, int64_t seq, struct err *err)
{
    return connection_run(&writer->connection, sql_done, VALUES(value_integer(seq)), err);
}

int notification_failed(struct db_writer *writer, int64_t seq, int64_t due, const char *error,
                        struct err *err)
{
    if (connection_run(&writer->connection, sql_failed,
                       VALUES(value_integer(seq), value_integer(due), value_text(error)), err) < 0)
        return -1;
    return connection_run(&writer->connection, sql_later,
                          VALUES(value_integer(seq), value_integer(due)), err);
}
