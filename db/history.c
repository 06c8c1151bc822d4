/* history: see history.h. Every HISTORY_PRUNE_STEPth entry that is written deletes those that
 * have become too old, so one transaction deletes only a few. */
#include "db/history.h"

#include "db/connection.h"

enum { HISTORY_PRUNE_STEP = 1000 };

static const char sql_add[] =
    "INSERT INTO history (time, actor, kind, object, action, from_state, to_state, detail)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
static const char sql_prune[] = "DELETE FROM history WHERE seq <= ?1";
#define MATCHING                                                                                   \
    "SELECT seq, time, nullif(actor, ''), kind, object, action, from_state, to_state, detail"      \
    " FROM history WHERE (?1 IS NULL OR kind = ?1) AND (?3 IS NULL OR actor = ?3)"
/* The index is used where an object is named, and the order of seq elsewhere. */
static const char sql_oldest[] = MATCHING " AND object = ?2 AND seq > ?4 ORDER BY seq LIMIT ?5";
static const char sql_newest[] = MATCHING " AND (?2 IS NULL OR object = ?2)"
                                          " AND (?4 = 0 OR seq < ?4) ORDER BY seq DESC LIMIT ?5";

int history_add(struct db_writer *writer, const struct history *entry, struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_run(connection, sql_add,
                       VALUES(value_integer(db_now()), value_text(writer->actor),
                              value_text(entry->kind), value_text(entry->object),
                              value_text(entry->action), value_text(entry->from),
                              value_text(entry->to), value_text(entry->detail)),
                       err) < 0)
        return -1;
    const int64_t seq = sqlite3_last_insert_rowid(connection->handle);
    if (seq % HISTORY_PRUNE_STEP != 0 || seq <= HISTORY_KEPT)
        return 0;
    return connection_run(connection, sql_prune, VALUES(value_integer(seq - HISTORY_KEPT)), err);
}

static void history_fill(sqlite3_stmt *row, struct history *entry)
{
    const char **const texts[] = {&entry->actor, &entry->kind, &entry->object, &entry->action,
                                  &entry->from,  &entry->to,   &entry->detail};
    entry->seq = sqlite3_column_int64(row, 0);
    entry->time = sqlite3_column_int64(row, 1);
    for (int i = 0; i < (int)(sizeof texts / sizeof *texts); i++)
        *texts[i] = (const char *)sqlite3_column_text(row, 2 + i);
}

int history_read(struct db_reader *reader, const struct history_filter *filter, history_row *row,
                 void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, filter->newest_first ? sql_newest : sql_oldest,
                         VALUES(value_text(filter->kind), value_text(filter->object),
                                value_text(filter->actor), value_integer(filter->cursor),
                                value_integer(filter->limit)),
                         &statement, err) < 0)
        return -1;
    int result = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0) {
        struct history entry;
        history_fill(statement, &entry);
        stop = row(self, &entry);
    }
    statement_close(statement);
    return result < 0 ? -1 : 0;
}
