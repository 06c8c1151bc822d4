/* db: see db.h. The writer thread takes up to DB_BATCH_MAX waiting operations,
 * runs them in one transaction and reports after its COMMIT. An operation that
 * fails is rolled back to its own savepoint. SQLite itself ends the transaction
 * on some errors (disk full, I/O error): then nothing of the batch is stored,
 * and the whole batch is reported as failed. Success is reported only after the
 * COMMIT returned.
 *
 * Threads. The mutex guards the queue, `stopping` and the callback. The writer's
 * connection, the batch, `housekeeping` and `announced` belong to the writer thread
 * alone. */
#include "db/db.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/file.h"
#include "config/log.h"
#include "db/connection.h"
#include "db/housekeeping.h"
#include "db/migrate.h"

enum { DB_BATCH_MAX = 128 }; /* bounds the wait of a batch's first operation for the COMMIT */

struct db_request {
    db_operation *operation;
    void *arg;
    db_done *done;
    char actor[DB_ACTOR_MAX]; /* "": the server itself */
    struct db_request *next;
};

struct db_batch {
    int n;
    struct db_request *request[DB_BATCH_MAX];
    int result[DB_BATCH_MAX];
    struct err err[DB_BATCH_MAX];
};

struct db {
    char *path;
    struct db_writer writer;
    struct db_batch batch;
    struct housekeeping housekeeping;
    struct db_statistics statistics;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct db_request *first, **end;
    int waiting, stopping;
    void (*notify)(void *self, int64_t last_event);
    void *notify_self;
    int64_t announced; /* newest event id passed to notify */
};

int64_t db_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* An operation waits, or the database is closing: housekeeping ends its step. */
static int db_is_asked(void *self)
{
    struct db *db = self;
    pthread_mutex_lock(&db->mutex);
    int is_asked = db->first || db->stopping;
    pthread_mutex_unlock(&db->mutex);
    return is_asked;
}

/* The database is closing: what ends a step of housekeeping that operations wait for. */
static int db_is_closing(void *self)
{
    struct db *db = self;
    pthread_mutex_lock(&db->mutex);
    int is_closing = db->stopping;
    pthread_mutex_unlock(&db->mutex);
    return is_closing;
}

/* Block until an operation waits, the database is closing, or housekeeping is due. The
 * caller holds the mutex. */
static void db_wait(struct db *db)
{
    int64_t wait_ms;
    while (!db->first && !db->stopping &&
           (wait_ms = housekeeping_wait_ms(&db->housekeeping)) != 0) {
        if (wait_ms < 0) {
            pthread_cond_wait(&db->wake, &db->mutex);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t nanoseconds = until.tv_nsec + wait_ms % 1000 * 1000000;
        until.tv_sec += wait_ms / 1000 + nanoseconds / 1000000000;
        until.tv_nsec = nanoseconds % 1000000000;
        pthread_cond_timedwait(&db->wake, &db->mutex, &until);
    }
}

/* Move waiting operations into the batch, or leave it empty when housekeeping is due or owed.
 * Returns 0 when the queue is empty and the database is closing. */
static int db_take(struct db *db)
{
    struct db_batch *batch = &db->batch;
    batch->n = 0;
    pthread_mutex_lock(&db->mutex);
    db_wait(db);
    const int is_owed = !db->stopping && housekeeping_is_owed(&db->housekeeping);
    while (!is_owed && db->first && batch->n < DB_BATCH_MAX) {
        batch->request[batch->n++] = db->first;
        db->first = db->first->next;
        db->waiting--;
    }
    if (!db->first)
        db->end = &db->first;
    int is_open = batch->n > 0 || !db->stopping;
    pthread_mutex_unlock(&db->mutex);
    return is_open;
}

/* Run one operation in its savepoint. On failure last_event goes back too, since
 * the events that it counted are rolled back. If SQLite has already ended the
 * transaction, the savepoint is gone and autocommit is on. */
static int db_run_one(struct db_writer *writer, const struct db_request *request, struct err *err)
{
    struct connection *connection = &writer->connection;
    int64_t last_event = writer->last_event;
    writer->actor = request->actor;
    if (connection_run(connection, "SAVEPOINT operation", NO_VALUES, err) < 0)
        return -1;
    int result = request->operation(writer, request->arg, err);
    if (result == 0)
        result = connection_run(connection, "RELEASE operation", NO_VALUES, err);
    if (result == 0)
        return 0;
    writer->last_event = last_event;
    if (!sqlite3_get_autocommit(connection->handle)) {
        connection_run(connection, "ROLLBACK TO operation", NO_VALUES, NULL);
        connection_run(connection, "RELEASE operation", NO_VALUES, NULL);
    }
    return -1;
}

/* The transaction is lost: the operations that had succeeded fail with err. */
static void db_batch_fail(struct db_batch *batch, const struct err *err)
{
    for (int i = 0; i < batch->n; i++)
        if (batch->result[i] == 0) {
            batch->result[i] = -1;
            batch->err[i] = *err;
        }
}

static int db_commit(struct db *db, struct err *err)
{
    const double begun = clock_monotonic_seconds();
    if (connection_run(&db->writer.connection, "COMMIT", NO_VALUES, err) < 0)
        return -1;
    histogram_observe(&db->statistics.commit, clock_monotonic_seconds() - begun);
    return 0;
}

/* Durability is set again for each batch, because housekeeping commits without it. */
static int db_batch_run(struct db *db, struct err *err)
{
    struct db_writer *writer = &db->writer;
    struct db_batch *batch = &db->batch;
    struct connection *connection = &writer->connection;
    if (connection_script(connection, "PRAGMA synchronous = FULL", err) < 0 ||
        connection_run(connection, "BEGIN IMMEDIATE", NO_VALUES, err) < 0)
        return -1;
    for (int i = 0; i < batch->n; i++) {
        batch->result[i] = db_run_one(writer, batch->request[i], &batch->err[i]);
        if (sqlite3_get_autocommit(connection->handle)) {
            *err = batch->err[i];
            return -1;
        }
    }
    return db_commit(db, err);
}

static void db_batch_commit(struct db *db)
{
    struct db_batch *batch = &db->batch;
    struct db_writer *writer = &db->writer;
    int64_t last_event = writer->last_event;
    struct err err = ERR_INIT;
    for (int i = 0; i < batch->n; i++) {
        batch->result[i] = 0;
        err_clear(&batch->err[i]);
    }
    if (db_batch_run(db, &err) == 0)
        return;
    if (!sqlite3_get_autocommit(writer->connection.handle))
        connection_run(&writer->connection, "ROLLBACK", NO_VALUES, NULL);
    writer->last_event = last_event;
    db_batch_fail(batch, &err);
}

/* Call the callback outside the mutex: it may take locks of its own. */
static void db_announce(struct db *db)
{
    pthread_mutex_lock(&db->mutex);
    void (*notify)(void *, int64_t) = db->notify;
    void *self = db->notify_self;
    pthread_mutex_unlock(&db->mutex);
    if (db->writer.last_event == db->announced)
        return;
    db->announced = db->writer.last_event;
    if (notify)
        notify(self, db->announced);
}

static void db_batch_serve(struct db *db)
{
    db_batch_commit(db);
    for (int i = 0; i < db->batch.n; i++) {
        struct db_request *request = db->batch.request[i];
        request->done(request->arg, db->batch.result[i], &db->batch.err[i]);
        free(request);
    }
    db_announce(db);
    housekeeping_written(&db->housekeeping);
    if (db->writer.has_deletions)
        housekeeping_begin(&db->housekeeping);
    db->writer.has_deletions = 0;
}

/* Housekeeping has no caller that could be told of its errors, so they are logged. */
static void db_keep_house(struct db *db)
{
    struct err err = ERR_INIT;
    const int is_owed = housekeeping_is_owed(&db->housekeeping);
    if (housekeeping_step(&db->housekeeping, &db->writer.connection,
                          is_owed ? db_is_closing : db_is_asked, db, &err) < 0)
        log_line(LOG_ERROR, "%s: housekeeping will be tried again: %s", db->path, err.message);
}

static void *db_thread(void *arg)
{
    struct db *db = arg;
    while (db_take(db)) {
        if (db->batch.n > 0)
            db_batch_serve(db);
        else
            db_keep_house(db);
    }
    return NULL;
}

/* The wait for housekeeping counts on a clock that nobody sets. */
static void db_init_locks(struct db *db)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&db->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&db->mutex, NULL);
}

int db_open(const char *path, struct db **out, struct err *err)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db || !(db->path = strdup(path))) {
        free(db);
        return err_set(err, ERR_NO_MEMORY, "no memory for the database");
    }
    db->end = &db->first;
    db->statistics = (struct db_statistics){.commit.bounds = {0.001, 0.005, 0.02, 0.1, 0.5, 2},
                                            .queue_wait.bounds = {1, 10, 60, 600, 3600, 86400}};
    db->writer.queue_wait = &db->statistics.queue_wait;
    if (connection_open(&db->writer.connection, path, 0, err) < 0)
        goto failed;
    if (migrate(&db->writer.connection, err) < 0) {
        err_prefix(err, "%s", path);
        goto failed;
    }
    db_init_locks(db);
    housekeeping_begin(&db->housekeeping);
    int failed = pthread_create(&db->thread, NULL, db_thread, db);
    if (failed) {
        errno = failed;
        err_set_errno(err, ERR_UNAVAILABLE, "the database's writer thread cannot start");
        goto failed;
    }
    *out = db;
    return 0;

failed:
    connection_close(&db->writer.connection);
    free(db->path);
    free(db);
    return -1;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    pthread_mutex_lock(&db->mutex);
    db->stopping = 1;
    pthread_cond_signal(&db->wake);
    pthread_mutex_unlock(&db->mutex);
    pthread_join(db->thread, NULL);
    /* The checkpoint is incomplete while a reader is open; the rest of the WAL
     * then stays for the next start. */
    connection_script(&db->writer.connection, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
    connection_close(&db->writer.connection);
    pthread_cond_destroy(&db->wake);
    pthread_mutex_destroy(&db->mutex);
    free(db->path);
    free(db);
}

int db_submit(struct db *db, db_operation *operation, void *arg, db_done *done, struct err *err)
{
    return db_submit_as(db, "", operation, arg, done, err);
}

int db_submit_as(struct db *db, const char *actor, db_operation *operation, void *arg,
                 db_done *done, struct err *err)
{
    struct db_request *request = malloc(sizeof *request);
    if (!request)
        return err_set(err, ERR_NO_MEMORY, "no memory to queue a database operation");
    *request = (struct db_request){.operation = operation, .arg = arg, .done = done};
    snprintf(request->actor, sizeof request->actor, "%s", actor);
    int refused = 0;
    pthread_mutex_lock(&db->mutex);
    if (db->stopping)
        refused = err_set(err, ERR_UNAVAILABLE, "the database is closing");
    else if (db->waiting >= DB_QUEUE_MAX)
        refused = err_set(err, ERR_UNAVAILABLE, "%d database operations are waiting", db->waiting);
    if (!refused) {
        *db->end = request;
        db->end = &request->next;
        db->waiting++;
        pthread_cond_signal(&db->wake);
    }
    pthread_mutex_unlock(&db->mutex);
    if (refused)
        free(request);
    return refused;
}

/* State of one db_call, on the stack of its caller, which waits until `finished`
 * is set. The caller may leave db_call as soon as the mutex is released, so
 * db_waiter_done signals while it holds the mutex. */
struct db_waiter {
    db_operation *operation;
    void *arg;
    struct err *err;
    int result, finished;
    pthread_mutex_t mutex;
    pthread_cond_t finish;
};

static int db_waiter_run(struct db_writer *writer, void *arg, struct err *err)
{
    struct db_waiter *waiter = arg;
    return waiter->operation(writer, waiter->arg, err);
}

static void db_waiter_done(void *arg, int result, const struct err *err)
{
    struct db_waiter *waiter = arg;
    pthread_mutex_lock(&waiter->mutex);
    waiter->result = result;
    if (result < 0 && waiter->err)
        *waiter->err = *err;
    waiter->finished = 1;
    pthread_cond_signal(&waiter->finish);
    pthread_mutex_unlock(&waiter->mutex);
}

int db_call(struct db *db, db_operation *operation, void *arg, struct err *err)
{
    return db_call_as(db, "", operation, arg, err);
}

int db_call_as(struct db *db, const char *actor, db_operation *operation, void *arg,
               struct err *err)
{
    assert(!pthread_equal(pthread_self(), db->thread));
    struct db_waiter waiter = {.operation = operation, .arg = arg, .err = err};
    pthread_mutex_init(&waiter.mutex, NULL);
    pthread_cond_init(&waiter.finish, NULL);
    int result = db_submit_as(db, actor, db_waiter_run, &waiter, db_waiter_done, err);
    if (result == 0) {
        pthread_mutex_lock(&waiter.mutex);
        while (!waiter.finished)
            pthread_cond_wait(&waiter.finish, &waiter.mutex);
        pthread_mutex_unlock(&waiter.mutex);
        result = waiter.result;
    }
    pthread_cond_destroy(&waiter.finish);
    pthread_mutex_destroy(&waiter.mutex);
    return result;
}

void db_on_events(struct db *db, void (*notify)(void *self, int64_t last_event), void *self)
{
    pthread_mutex_lock(&db->mutex);
    db->notify = notify;
    db->notify_self = self;
    pthread_mutex_unlock(&db->mutex);
}

const struct db_statistics *db_statistics(const struct db *db)
{
    return &db->statistics;
}

/* Setting a number of the file's head writes its page, also when it is the same number. */
int db_try_to_write(struct db_writer *writer, void *arg, struct err *err)
{
    char pragma[64];
    (void)arg;
    snprintf(pragma, sizeof pragma, "PRAGMA application_id = %d", MIGRATE_APPLICATION_ID);
    return connection_script(&writer->connection, pragma, err);
}

static int db_reader_new(const char *path, struct db_reader **out, struct err *err)
{
    struct db_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return err_set(err, ERR_NO_MEMORY, "no memory for a database reader");
    if (connection_open(&reader->connection, path, 1, err) < 0) {
        free(reader);
        return -1;
    }
    *out = reader;
    return 0;
}

int db_reader_open(struct db *db, struct db_reader **out, struct err *err)
{
    return db_reader_new(db->path, out, err);
}

int db_reader_open_path(const char *path, struct db_reader **out, struct err *err)
{
    struct db_reader *reader = NULL;
    if (access(path, F_OK) < 0)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", path);
    if (db_reader_new(path, &reader, err) < 0)
        return -1;
    if (migrate_check(&reader->connection, err) < 0) {
        db_reader_close(reader);
        return err_prefix(err, "%s", path);
    }
    *out = reader;
    return 0;
}

void db_reader_close(struct db_reader *reader)
{
    if (!reader)
        return;
    connection_close(&reader->connection);
    free(reader);
}

int db_backup(struct db_reader *reader, const char *path, struct err *err)
{
    char partial[4096];
    if (snprintf(partial, sizeof partial, "%s.partial", path) >= (int)sizeof partial)
        return err_set(err, ERR_INVALID, "the backup's path is longer than %d bytes",
                       (int)sizeof partial);
    if (access(path, F_OK) == 0)
        return err_set(err, ERR_CONFLICT, "%s exists already", path);
    unlink(partial);
    int result =
        connection_run(&reader->connection, "VACUUM INTO ?1", VALUES(value_text(partial)), err);
    if (result == 0)
        result = file_sync(partial, err);
    /* link instead of rename: link fails when the target has appeared meanwhile,
     * rename would overwrite it. */
    if (result == 0 && link(partial, path) < 0)
        result = err_set_errno(err, errno == EEXIST ? ERR_CONFLICT : ERR_IO, "%s", path);
    unlink(partial);
    return result;
}
