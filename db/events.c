/* events: see events.h. Every EVENTS_PRUNE_STEPth event that is written deletes the
 * events that have become too old, so one transaction deletes only a few. */
#include "db/events.h"

#include "db/connection.h"

enum { EVENTS_PRUNE_STEP = 1000 };

static const char sql_add[] = "INSERT INTO events (type, job, epoch_first, epoch_last, data)"
                              " VALUES (?1, ?2, ?3, ?4, ?5)";
static const char sql_prune[] = "DELETE FROM events WHERE id <= ?1";
static const char sql_read[] =
    "SELECT id, type, job, epoch_first, epoch_last, data FROM events e"
    " WHERE id > ?1 AND (?2 IS NULL OR instr(',' || ?2 || ',', ',' || job || ',') > 0)"
    " AND NOT EXISTS (SELECT 1 FROM deletions d WHERE d.job = e.job AND e.id <= d.last_event"
    " AND (d.events = 'all' OR d.events = e.type))"
    " ORDER BY id LIMIT ?3";
static const char sql_oldest[] = "SELECT coalesce(min(id), 0) FROM events";
static const char sql_newest[] = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";

int events_add(struct db_writer *writer, const char *type, const char *job, int64_t from,
               int64_t to, const char *data, struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_run(connection, sql_add,
                       VALUES(value_text(type), value_text(job), value_integer(from),
                              value_integer(to), value_text(data)),
                       err) < 0)
        return -1;
    int64_t id = sqlite3_last_insert_rowid(connection->handle);
    if (id % EVENTS_PRUNE_STEP == 0 && id > EVENTS_KEPT &&
        connection_run(connection, sql_prune, VALUES(value_integer(id - EVENTS_KEPT)), err) < 0)
        return -1;
    writer->last_event = id;
    return 0;
}

int events_read(struct db_reader *reader, int64_t after, const char *jobs, int limit,
                events_row *row, void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_read,
                         VALUES(value_integer(after), value_text(jobs), value_integer(limit)),
                         &statement, err) < 0)
        return -1;
    int result;
    while ((result = statement_step(statement, err)) > 0) {
        struct event event = {.id = sqlite3_column_int64(statement, 0),
                              .from = sqlite3_column_int64(statement, 3),
                              .to = sqlite3_column_int64(statement, 4),
                              .data = (const char *)sqlite3_column_text(statement, 5)};
        column_copy(statement, 1, event.type, sizeof event.type);
        column_copy(statement, 2, event.job, sizeof event.job);
        if (row(self, &event)) {
            result = 0;
            break;
        }
    }
    statement_close(statement);
    return result;
}

int events_range(struct db_reader *reader, int64_t *oldest, int64_t *newest, struct err *err)
{
    int64_t first, last;
    /* Read the newest id first: an event that is added or pruned between the two
     * reads then leaves the reported range inside the stored one. */
    if (connection_integer(&reader->connection, sql_newest, NO_VALUES, 0, &last, err) < 0 ||
        connection_integer(&reader->connection, sql_oldest, NO_VALUES, 0, &first, err) < 0)
        return -1;
    *oldest = first;
    *newest = last;
    return 0;
}
