/* db: the database handle: open, migrate, submit writes, open readers, back up.
 * The db room is the only one that includes sqlite3.h.
 *
 * One-writer invariant. Exactly one connection writes and checkpoints, and it
 * belongs to the writer thread. SQLite before 3.51.3 (Debian 12 has 3.40) can
 * corrupt its WAL when two connections write or checkpoint (the WAL-reset bug);
 * with one connection the bug cannot occur. Every other connection is opened
 * read-only, one per thread.
 *
 * Group commit. The writer thread takes the operations that are waiting and runs
 * them inside one BEGIN IMMEDIATE ... COMMIT, so that one fsync serves all of
 * them. Each operation has its own SAVEPOINT: one that fails is rolled back
 * alone. Results are reported after the COMMIT, and synchronous=FULL makes that
 * COMMIT reach the disk first: an operation that reported success is durable.
 *
 * Housekeeping. When no operation waits, the writer thread removes detached rows
 * (deletions.h), gives free pages back and truncates the WAL, in steps that end when
 * an operation arrives. Under a load that never pauses it has one step in 100 ms.
 *
 * Order of commit and event. An operation writes its event in the transaction of
 * the change itself. The writer thread commits, then calls every db_done, then
 * db_on_events' callback: a reader that this callback wakes finds the event and
 * the change that it announces. */
#ifndef TOKENFATE_DB_H
#define TOKENFATE_DB_H

#include <stdint.h>

#include "config/err.h"
#include "config/histogram.h"

struct db;        /* the database and its writer thread */
struct db_writer; /* handed to an operation while its transaction is open */
struct db_reader; /* one thread's read-only connection */

enum {
    DB_QUEUE_MAX = 10000, /* operations waiting; beyond that ERR_UNAVAILABLE */
    DB_ID_MAX = 37,       /* a UUID and its terminating zero */
    DB_ACTOR_MAX = 65,    /* a user's name and its terminating zero */
    DB_DEVICE_MAX = 32    /* id or kind of a device and its terminating zero */
};

/* An operation: runs on the writer thread, returns 0 or -1 with *err; its
 * writes are rolled back on -1. It calls the write functions of jobs.h,
 * sweeps.h, epochs.h, events.h, corpora.h, users.h. arg carries inputs and
 * results. */
typedef int db_operation(struct db_writer *writer, void *arg, struct err *err);

/* Called on the writer thread once the operation is durable or has failed. */
typedef void db_done(void *arg, int result, const struct err *err);

/* Open or create PATH, migrate it, start the writer thread. ERR_IO; ERR_CORRUPT
 * for a file that is not a tokenfate database or has a newer schema than this
 * program; such a file stays unchanged. */
int db_open(const char *path, struct db **out, struct err *err);

/* Run the operations that are queued, checkpoint the WAL, close. */
void db_close(struct db *db);

/* Queue an operation; done is called exactly once if this returns 0. */
int db_submit(struct db *db, db_operation *operation, void *arg, db_done *done, struct err *err);

/* The same for a user, who is the actor in the history of what is changed (history.h). The
 * actor of the other functions is the server itself. */
int db_submit_as(struct db *db, const char *actor, db_operation *operation, void *arg,
                 db_done *done, struct err *err);

/* Run an operation and wait until it is durable. The writer thread must not call
 * it (it would wait for itself), nor the HTTP thread (it must never block). */
int db_call(struct db *db, db_operation *operation, void *arg, struct err *err);
int db_call_as(struct db *db, const char *actor, db_operation *operation, void *arg,
               struct err *err);

/* Set the callback that wakes the event streams. The writer thread calls it
 * after each commit that added events, with the newest event id. Set it once
 * after db_open. */
void db_on_events(struct db *db, void (*notify)(void *self, int64_t last_event), void *self);

/* Open one thread's reader. Close all readers before db_close. */
int db_reader_open(struct db *db, struct db_reader **out, struct err *err);

/* Open a reader without a writer in this process: for commands that read the
 * database of a running or a stopped server. ERR_NOT_FOUND; ERR_CORRUPT for a
 * file that is not a tokenfate database or has another schema version. */
int db_reader_open_path(const char *path, struct db_reader **out, struct err *err);
void db_reader_close(struct db_reader *reader);

/* Copy the whole database into a new file while it is in use. ERR_CONFLICT if
 * the file exists. */
int db_backup(struct db_reader *reader, const char *path, struct err *err);

/* What monitoring wants to know, from the start of the program on. */
struct db_statistics {
    struct histogram commit;     /* COMMIT of a batch of operations, with its fsync */
    struct histogram queue_wait; /* of a job, from its submission to its first start */
};
const struct db_statistics *db_statistics(const struct db *db);

/* Operation: write a page of the file and nothing else, so that a disk that is full or a file
 * that cannot be written is known before somebody's operation fails. */
int db_try_to_write(struct db_writer *writer, void *arg, struct err *err);

/* Microseconds since 1970 UTC, the unit of every time in the database. */
int64_t db_now(void);

#endif
