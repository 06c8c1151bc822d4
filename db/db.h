/* db: opening, migrating and the two ways in. The only room that knows SQLite.
 *
 * One connection writes and checkpoints (the WAL-reset bug of SQLite before
 * 3.51.3 needs two); it belongs to the writer thread, which takes queued
 * operations, runs as many as are waiting inside one BEGIN IMMEDIATE ... COMMIT
 * (each in its own SAVEPOINT, so that one that fails takes nothing with it), and
 * only then reports: an operation that reported success is durable
 * (synchronous=FULL). Readers are opened read-only, one per thread. */
#ifndef TOKENFATE_DB_H
#define TOKENFATE_DB_H

#include <stdint.h>

#include "config/err.h"

struct db;        /* the database and its writer thread */
struct db_writer; /* handed to an operation while its transaction is open */
struct db_reader; /* one thread's read-only connection */

enum {
    DB_QUEUE_MAX = 10000, /* operations waiting; beyond that ERR_UNAVAILABLE */
    DB_ID_MAX = 37        /* a UUID and its zero */
};

/* An operation: runs on the writer thread, returns 0 or -1 with *err; its
 * writes are rolled back on -1. It calls the write functions of jobs.h,
 * epochs.h, events.h, corpora.h, users.h. arg carries inputs and results. */
typedef int db_operation(struct db_writer *writer, void *arg, struct err *err);

/* Called on the writer thread once the operation is durable or has failed. */
typedef void db_done(void *arg, int result, const struct err *err);

/* Open or create PATH, migrate it, start the writer thread. ERR_IO, ERR_CORRUPT
 * (not our database, or newer than this program; the file is left as it was). */
int db_open(const char *path, struct db **out, struct err *err);

/* Finishes what is queued, checkpoints, closes. */
void db_close(struct db *db);

/* Queue an operation; done is called exactly once if this returns 0. */
int db_submit(struct db *db, db_operation *operation, void *arg, db_done *done, struct err *err);

/* Run an operation and wait until it is durable. Not from the writer thread,
 * not from the HTTP thread. */
int db_call(struct db *db, db_operation *operation, void *arg, struct err *err);

/* Called on the writer thread after each commit that added events, with the
 * newest event id: wakes the event streams. Set once after db_open. */
void db_on_events(struct db *db, void (*notify)(void *self, int64_t last_event), void *self);

/* One thread's reader. All are closed before db_close. */
int db_reader_open(struct db *db, struct db_reader **out, struct err *err);

/* A reader without a writer beside it in this process: for commands that look
 * into the database of a running server, or of none. ERR_NOT_FOUND, ERR_CORRUPT
 * (not our database, or of another version). */
int db_reader_open_path(const char *path, struct db_reader **out, struct err *err);
void db_reader_close(struct db_reader *reader);

/* Online copy of the whole database into a new file. ERR_CONFLICT if it exists. */
int db_backup(struct db_reader *reader, const char *path, struct err *err);

/* Microseconds since 1970 UTC, the unit of every time in the database. */
int64_t db_now(void);

#endif
