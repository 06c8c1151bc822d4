/* deletions: see deletions.h. The oldest deletion is finished first, its epochs in
 * ascending order. Its pages then come onto the free list from the start of the file
 * to its end, and incremental vacuum, which goes from the end of the file, finds each
 * page in the head of that list. */
#include "db/deletions.h"

/* Rows of one statement. The largest epoch (8 groups of 5,000 tokens) has 160 KB in 40
 * pages, so a statement frees at most 640 pages, which takes milliseconds. */
enum { DELETIONS_ROWS = 16 };

static const char *const event_names[] = {
    [DELETIONS_ALL_EVENTS] = "all", [DELETIONS_EPOCH_EVENTS] = "epoch"};

static const char sql_add[] =
    "INSERT INTO deletions (records, job, events, last_event)"
    " SELECT records, id, ?2,"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"
    " FROM jobs WHERE id = ?1";
static const char sql_oldest[] = "SELECT coalesce(min(seq), 0) FROM deletions";
static const char sql_epochs[] =
    "DELETE FROM epochs WHERE rowid IN ("
    "SELECT rowid FROM epochs WHERE records = (SELECT records FROM deletions WHERE seq = ?1)"
    " ORDER BY epoch LIMIT ?2)";
static const char sql_events[] =
    "DELETE FROM events WHERE id IN ("
    "SELECT e.id FROM deletions d JOIN events e ON e.job = d.job AND e.id <= d.last_event"
    " WHERE d.seq = ?1 AND (d.events = 'all' OR d.events = e.type)"
    " ORDER BY e.id LIMIT ?2)";
static const char sql_done[] = "DELETE FROM deletions WHERE seq = ?1";

int deletions_add(struct db_writer *writer, const char *job, enum deletions_events events,
                  struct err *err)
{
    writer->has_deletions = 1;
    return connection_run(&writer->connection, sql_add,
                          VALUES(value_text(job), value_text(event_names[events])), err);
}

int deletions_step(struct connection *connection, struct err *err)
{
    static const char *const sql_rows[] = {sql_epochs, sql_events};
    int64_t seq;
    if (connection_integer(connection, sql_oldest, NO_VALUES, 0, &seq, err) < 0)
        return -1;
    if (!seq)
        return 0;
    for (size_t i = 0; i < sizeof sql_rows / sizeof *sql_rows; i++) {
        if (connection_run(connection, sql_rows[i],
                           VALUES(value_integer(seq), value_integer(DELETIONS_ROWS)), err) < 0)
            return -1;
        if (connection_changes(connection) > 0)
            return 1;
    }
    return connection_run(connection, sql_done, VALUES(value_integer(seq)), err) < 0 ? -1 : 1;
}
