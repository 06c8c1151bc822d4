/* housekeeping: see housekeeping.h. */
#include "db/housekeeping.h"

#include <stddef.h>

#include "config/clock.h"
#include "db/deletions.h"

enum {
    /* Work of one step before its COMMIT: a step stays below 20 ms also when the COMMIT
     * brings the WAL to 1,000 pages and copies them into the database. An operation that
     * arrives meanwhile waits for one statement and the COMMIT. */
    HOUSEKEEPING_STEP_MS = 4,
    /* After a step, and after an operation: leaves half of the processor and of the disk
     * to requests, and lets one that follows at once go first. */
    HOUSEKEEPING_PAUSE_MS = 4,
    /* A pause without an operation that makes the WAL worth truncating. Shorter ones
     * occur between the reports of a trainer, and the next commit would extend the
     * file again. */
    HOUSEKEEPING_IDLE_MS = 2000,
    /* Between two steps while operations never cease to wait. A step of 4 ms in 100 is
     * 4 % of the writer's time, and the longest that an operation waits more. */
    HOUSEKEEPING_SHARE_MS = 100,
    /* After an error, which is most likely a full disk or another program's lock. */
    HOUSEKEEPING_RETRY_MS = 10000,
};

/* Pages of one statement: about a millisecond. */
static const char sql_shrink[] = "PRAGMA incremental_vacuum(64)";
static const char sql_free[] = "PRAGMA freelist_count";
static const char sql_auto_vacuum[] = "PRAGMA auto_vacuum";
static const char sql_checkpoint[] = "PRAGMA wal_checkpoint(TRUNCATE)";

enum { AUTO_VACUUM_INCREMENTAL = 2 }; /* the answer of PRAGMA auto_vacuum */

/* 1 = there are more free pages. A file without incremental vacuum, made by an older
 * program, keeps its free pages for reuse until `tokenfate compact`. */
static int housekeeping_shrink(struct connection *connection, struct err *err)
{
    int64_t mode, before, after;
    if (connection_integer(connection, sql_auto_vacuum, NO_VALUES, 0, &mode, err) < 0 ||
        connection_integer(connection, sql_free, NO_VALUES, 0, &before, err) < 0)
        return -1;
    if (mode != AUTO_VACUUM_INCREMENTAL || before == 0)
        return 0;
    if (connection_run(connection, sql_shrink, NO_VALUES, err) < 0 ||
        connection_integer(connection, sql_free, NO_VALUES, 0, &after, err) < 0)
        return -1;
    return after > 0 && after < before;
}

/* Repeat the stage's statement in one transaction. 1 = the stage goes on.
 *
 * synchronous=NORMAL: the COMMIT does not sync the WAL, so an operation that waits for
 * it does not wait for the disk twice. A power failure may undo the step, which is then
 * done again. The next batch of operations syncs the WAL with all frames before its own
 * (db_batch_run), so the order of commits holds. The pragma acts when it is compiled,
 * and must not be a kept statement. */
static int housekeeping_transaction(struct connection *connection,
                                    int (*statement)(struct connection *, struct err *),
                                    int (*is_asked)(void *self), void *self, struct err *err)
{
    int64_t end = clock_monotonic_ms() + HOUSEKEEPING_STEP_MS;
    int more;
    if (connection_script(connection, "PRAGMA synchronous = NORMAL", err) < 0 ||
        connection_run(connection, "BEGIN IMMEDIATE", NO_VALUES, err) < 0)
        return -1;
    do
        more = statement(connection, err);
    while (more > 0 && clock_monotonic_ms() < end && !is_asked(self));
    if (more >= 0 && connection_run(connection, "COMMIT", NO_VALUES, err) == 0)
        return more;
    if (!sqlite3_get_autocommit(connection->handle))
        connection_run(connection, "ROLLBACK", NO_VALUES, NULL);
    return -1;
}

/* 1 = a reader still uses the WAL, which cannot be truncated yet. The busy timeout is
 * off, because the writer must not wait for a reader. */
static int housekeeping_checkpoint(struct connection *connection, struct err *err)
{
    int64_t is_busy = 0;
    sqlite3_busy_timeout(connection->handle, 0);
    int result = connection_integer(connection, sql_checkpoint, NO_VALUES, 0, &is_busy, err);
    sqlite3_busy_timeout(connection->handle, CONNECTION_BUSY_MS);
    return result < 0 ? -1 : is_busy != 0;
}

static void housekeeping_enter(struct housekeeping *housekeeping, enum housekeeping_stage stage,
                               int64_t pause_ms)
{
    housekeeping->stage = stage;
    housekeeping->due_ms = clock_monotonic_ms() + pause_ms;
}

void housekeeping_begin(struct housekeeping *housekeeping)
{
    housekeeping_enter(housekeeping, HOUSEKEEPING_DELETE, 0);
}

/* The pause before a step of a stage. */
static int64_t housekeeping_pause_ms(enum housekeeping_stage stage)
{
    return stage == HOUSEKEEPING_CHECKPOINT ? HOUSEKEEPING_IDLE_MS : HOUSEKEEPING_PAUSE_MS;
}

void housekeeping_written(struct housekeeping *housekeeping)
{
    if (housekeeping->stage == HOUSEKEEPING_DONE)
        housekeeping_enter(housekeeping, HOUSEKEEPING_CHECKPOINT, 0);
    int64_t due_ms = clock_monotonic_ms() + housekeeping_pause_ms(housekeeping->stage);
    if (housekeeping->due_ms < due_ms)
        housekeeping->due_ms = due_ms;
}

int64_t housekeeping_wait_ms(const struct housekeeping *housekeeping)
{
    if (housekeeping->stage == HOUSEKEEPING_DONE)
        return -1;
    int64_t wait_ms = housekeeping->due_ms - clock_monotonic_ms();
    return wait_ms > 0 ? wait_ms : 0;
}

int housekeeping_is_owed(const struct housekeeping *housekeeping)
{
    return housekeeping->stage < HOUSEKEEPING_CHECKPOINT &&
           clock_monotonic_ms() >= housekeeping->owed_ms;
}

int housekeeping_step(struct housekeeping *housekeeping, struct connection *connection,
                      int (*is_asked)(void *self), void *self, struct err *err)
{
    static int (*const statements[])(struct connection *, struct err *) = {
        [HOUSEKEEPING_DELETE] = deletions_step, [HOUSEKEEPING_SHRINK] = housekeeping_shrink};
    enum housekeeping_stage stage = housekeeping->stage;
    int more = stage == HOUSEKEEPING_CHECKPOINT
                   ? housekeeping_checkpoint(connection, err)
                   : housekeeping_transaction(connection, statements[stage], is_asked, self, err);
    const int64_t share_ms = more < 0 ? HOUSEKEEPING_RETRY_MS : HOUSEKEEPING_SHARE_MS;
    housekeeping->owed_ms = clock_monotonic_ms() + share_ms;
    if (more < 0) {
        housekeeping_enter(housekeeping, stage, HOUSEKEEPING_RETRY_MS);
        return -1;
    }
    if (more == 0)
        stage++;
    housekeeping_enter(housekeeping, stage, housekeeping_pause_ms(stage));
    return 0;
}
