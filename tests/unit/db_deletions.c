/* Deletion in short steps: what was deleted or stored before a retry is gone for every
 * reader at once, its rows go later, also after a kill; then the file shrinks and the
 * WAL is truncated. Files of the schema before are migrated in place. */
#include "tests/unit/db_fixture.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "config/clock.h"
#include "config/record.h"
#include "db/compact.h"
#include "db/housekeeping.h"
#include "db/migrate.h"

enum {
    ROWS = 6000,     /* epochs of a long job: 18 MB, several steps of housekeeping */
    STEP_ROWS = 16,  /* the most that one statement of a deletion removes */
    WAIT_MS = 60000, /* for housekeeping, also under valgrind and sanitizers */
    PAUSE_US = 2000, /* between two looks */
    FAST_MS = 1500,  /* an operation that waits for no reader; the busy timeout is 5 s */
    SMALL = 1 << 20  /* bytes of a file that has given its pages back */
};

/* Epochs and events as a trainer would have stored them; ?1 = the job's records. */
#define FILL(records)                                                                              \
    "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 5999)"              \
    " INSERT INTO epochs SELECT " records ", i, zeroblob(1800), zeroblob(1200) FROM n;"            \
    "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 599)"               \
    " INSERT INTO events (type, job, epoch_first, epoch_last)"                                     \
    " SELECT 'epoch', 'long', 10 * i, 10 * i + 9 FROM n;"                                          \
    "UPDATE jobs SET epoch = 5999, epochs = 5999 WHERE id = 'long'"

static int64_t number(struct db_reader *reader, const char *sql)
{
    struct err err = ERR_INIT;
    int64_t value;
    if (connection_integer(&reader->connection, sql, NO_VALUES, 0, &value, &err) < 0)
        fail_msg("%s: %s", sql, err.message);
    return value;
}

static const char sql_rows[] = "SELECT count(*) FROM epochs";
static const char sql_epoch_events[] = "SELECT count(*) FROM events WHERE type = 'epoch'";
static const char sql_deletions[] = "SELECT count(*) FROM deletions";
static const char sql_pages[] = "PRAGMA page_count";
static const char sql_auto_vacuum[] = "PRAGMA auto_vacuum";

static void wait_for(struct db_reader *reader, const char *sql, int64_t wanted)
{
    int64_t end = clock_monotonic_ms() + WAIT_MS;
    while (number(reader, sql) != wanted) {
        assert_true(clock_monotonic_ms() < end);
        usleep(PAUSE_US);
    }
}

static int64_t size_of(const char *path, const char *suffix)
{
    char name[160];
    struct stat file;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &file) < 0 ? 0 : file.st_size;
}

static void wait_for_size_below(const char *path, const char *suffix, int64_t bytes)
{
    int64_t end = clock_monotonic_ms() + WAIT_MS;
    while (size_of(path, suffix) >= bytes) {
        assert_true(clock_monotonic_ms() < end);
        usleep(PAUSE_US);
    }
}

static void make_long(struct fixture *f)
{
    insert_example(f, "long");
    assert_int_equal(claim(f, "long"), 0);
    assert_int_equal(script(f, FILL("1")), 0);
    assert_int_equal(finish(f, "long", JOB_END_FAILED), 0);
    assert_int_equal(number(f->reader, sql_rows), ROWS);
}

static int body_delete(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_delete(writer, call->id, err);
}

static void delete_long(struct fixture *f)
{
    struct call call = {.body = body_delete, .id = "long"};
    assert_int_equal(call_run(f, &call), 0);
}

static int count_row(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    (void)epoch, (void)values, (void)n_values, (void)tokens, (void)n_tokens;
    ++*(int *)self;
    return 0;
}

static int epochs_of(struct fixture *f, const char *id)
{
    int n = 0;
    assert_int_equal(epochs_read(f->reader, id, 0, ROWS, count_row, &n, &f->err), 0);
    return n;
}

/* Counts `epoch` events and, one by one, the others. */
static int count_event(void *self, const struct event *event)
{
    int *counts = self;
    counts[strcmp(event->type, "epoch") == 0 ? 0 : 1]++;
    return 0;
}

static void events_of(struct fixture *f, const char *id, int counts[2])
{
    counts[0] = counts[1] = 0;
    assert_int_equal(events_read(f->reader, 0, id, 10000, count_event, counts, &f->err), 0);
}

static void stop(struct fixture *f)
{
    db_reader_close(f->reader);
    db_close(f->db);
    f->reader = NULL;
    f->db = NULL;
}

static void start(struct fixture *f)
{
    assert_int_equal(db_open(f->path, &f->db, &f->err), 0);
    assert_int_equal(db_reader_open(f->db, &f->reader, &f->err), 0);
}

static int asked(void *self)
{
    ++*(int *)self;
    return 1;
}

/* Within one operation, so that housekeeping cannot come between. */
static int body_delete_and_count(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_delete(writer, call->id, err) < 0 ||
                   connection_integer(&writer->connection, sql_rows, NO_VALUES, 0, &call->number,
                                      err) < 0
               ? -1
               : 0;
}

/* SQL that nobody else runs: the answer is fixed when the statement is compiled. */
static int body_synchronous(struct db_writer *writer, struct call *call, struct err *err)
{
    return connection_integer(&writer->connection, "PRAGMA main.synchronous", NO_VALUES, 0,
                              &call->number, err);
}

static void test_gone_at_once_removed_later(void **state)
{
    struct fixture *f = *state;
    struct job *job = NULL;
    int counts[2];
    make_long(f);
    insert_example(f, "other");
    struct call call = {.body = body_delete_and_count, .id = "long"};
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(call.number, ROWS); /* DELETE removes none of the rows itself */
    assert_int_equal(job_get(f->reader, "long", &job, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(epochs_of(f, "long"), 0);
    events_of(f, "long", counts);
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[1], 1); /* the event of the deletion itself */
    wait_for(f->reader, sql_deletions, 0);
    assert_int_equal(number(f->reader, sql_rows), 0);
    assert_int_equal(number(f->reader, sql_epoch_events), 0);
    assert_int_equal(number(f->reader, "SELECT count(*) FROM events WHERE job = 'long'"), 1);
    struct call synchronous = {.body = body_synchronous};
    assert_int_equal(call_run(f, &synchronous), 0);
    assert_int_equal(synchronous.number, 2); /* FULL: operations stay durable */
    assert_int_equal(state_of(f, "other"), JOB_QUEUED);
}

/* A step during which an operation arrives removes the rows of one statement. */
static void test_a_step_ends_for_an_operation(void **state)
{
    struct fixture *f = *state;
    struct connection connection;
    struct housekeeping housekeeping;
    int steps = 0, n_asked = 0;
    make_long(f);
    stop(f);
    assert_int_equal(connection_open(&connection, f->path, 0, &f->err), 0);
    assert_int_equal(connection_script(&connection,
                                       "INSERT INTO deletions (records, job, events, last_event)"
                                       " VALUES (1, 'long', 'all', 1000000)",
                                       &f->err),
                     0);
    int64_t rows, before = ROWS;
    housekeeping_begin(&housekeeping);
    while (housekeeping.stage == HOUSEKEEPING_DELETE) {
        assert_int_equal(housekeeping_step(&housekeeping, &connection, asked, &n_asked, &f->err),
                         0);
        assert_int_equal(connection_integer(&connection, sql_rows, NO_VALUES, 0, &rows, &f->err),
                         0);
        assert_true(before - rows <= STEP_ROWS);
        before = rows;
        steps++;
    }
    assert_int_equal(rows, 0);
    assert_true(steps >= ROWS / STEP_ROWS);
    assert_true(n_asked > 0);
    connection_close(&connection);
    start(f);
}

/* An operation that submits itself again before its batch is over: one always waits. */
struct load {
    struct fixture *f;
    atomic_int stop, done;
};

static void load_again(void *arg, int result, const struct err *err);

static int load_run(struct db_writer *writer, void *arg, struct err *err)
{
    (void)arg;
    return connection_script(&writer->connection, "UPDATE jobs SET priority = priority + 1", err);
}

static void load_start(struct load *load)
{
    struct err err = ERR_INIT;
    assert_int_equal(db_submit(load->f->db, load_run, load, load_again, &err), 0);
}

static void load_again(void *arg, int result, const struct err *err)
{
    struct load *load = arg;
    (void)result, (void)err;
    atomic_fetch_add(&load->done, 1);
    if (!atomic_load(&load->stop))
        load_start(load);
}

/* Under a load that never pauses deletions go on, and take a small part of the time. */
static void test_goes_on_under_load(void **state)
{
    struct fixture *f = *state;
    struct load load = {.f = f};
    make_long(f);
    insert_example(f, "other");
    load_start(&load);
    delete_long(f);
    wait_for(f->reader, sql_deletions, 0);
    const int done = atomic_load(&load.done);
    atomic_store(&load.stop, 1);
    assert_int_equal(number(f->reader, sql_rows), 0);
    assert_true(done > 100);
    struct call last = {.body = body_synchronous}; /* the load has ended when this is answered */
    assert_int_equal(call_run(f, &last), 0);
    assert_int_equal(call_run(f, &last), 0);
    assert_int_equal(last.number, 2);
}

static void child(const char *path, int fd)
{
    struct fixture f = {0};
    if (db_open(path, &f.db, &f.err) < 0)
        _exit(1);
    struct call call = {.body = body_delete, .id = "long"};
    if (call_run(&f, &call) < 0 || write(fd, "", 1) != 1)
        _exit(1);
    pause();
}

/* Killed as soon as the deletion is acknowledged: the job stays deleted, some rows are
 * still there, and the next start removes them. */
static void test_goes_on_after_a_kill(void **state)
{
    struct fixture *f = *state;
    struct db_reader *reader;
    struct job *job = NULL;
    int fds[2];
    char byte;
    make_long(f);
    stop(f);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(f->path, fds[1]);
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(fds[0]);
    assert_int_equal(db_reader_open_path(f->path, &reader, &f->err), 0);
    assert_true(number(reader, sql_rows) > 0);
    assert_int_equal(number(reader, sql_deletions), 1);
    db_reader_close(reader);
    start(f);
    assert_int_equal(job_get(f->reader, "long", &job, &f->err), -1);
    wait_for(f->reader, sql_deletions, 0);
    assert_int_equal(number(f->reader, sql_rows), 0);
    assert_int_equal(number(f->reader, sql_epoch_events), 0);
}

static int body_append(struct db_writer *writer, struct call *call, struct err *err)
{
    return epochs_append(writer, call->id, call->from, 1, call->values, call->n_values,
                         call->tokens, call->n_tokens, err);
}

static void append_one(struct fixture *f, const char *id)
{
    static double values[RECORD_SCALARS + 2 * RECORD_FIELDS];
    static const float tokens[3];
    struct call call = {.body = body_append,
                        .id = id,
                        .values = values,
                        .n_values = record_size(2),
                        .tokens = tokens,
                        .n_tokens = 3};
    assert_int_equal(call_run(f, &call), 0);
}

/* The records of the attempt before are invisible from the commit of the restart on, also
 * while they are still stored, and the new ones survive their removal. */
static void test_a_restart_sees_nothing_old(void **state)
{
    struct fixture *f = *state;
    int counts[2];
    make_long(f);
    struct job *job = get(f, "long");
    int64_t seq = job->seq;
    job_free(job);
    assert_int_equal(request(f, "long", JOB_RESTART), 0);
    assert_int_equal(epochs_of(f, "long"), 0);
    events_of(f, "long", counts);
    assert_int_equal(counts[0], 0);
    assert_true(counts[1] >= 3); /* inserted, claimed, failed, queued: those stay */
    job = get(f, "long");
    assert_int_equal(job->seq, seq);
    assert_int_equal(job->epoch, -1);
    job_free(job);
    assert_int_equal(claim(f, "long"), 0);
    append_one(f, "long");
    assert_int_equal(epochs_of(f, "long"), 1);
    wait_for(f->reader, sql_deletions, 0);
    assert_int_equal(number(f->reader, sql_rows), 1);
    assert_int_equal(epochs_of(f, "long"), 1);
    events_of(f, "long", counts);
    assert_int_equal(counts[0], 1);
}

/* Jobs and sets of records share one sequence: a job that comes after a retry does not
 * find the records of the retried one. */
static void test_numbers_are_used_once(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one");
    assert_int_equal(request(f, "one", JOB_CANCEL), 0);
    assert_int_equal(request(f, "one", JOB_RETRY), 0);
    assert_int_equal(claim(f, "one"), 0);
    append_one(f, "one");
    insert_example(f, "two");
    assert_int_equal(epochs_of(f, "one"), 1);
    assert_int_equal(epochs_of(f, "two"), 0);
    assert_int_equal(claim(f, "two"), 0);
    append_one(f, "two");
    assert_int_equal(number(f->reader, "SELECT count(DISTINCT records) FROM jobs"), 2);
    assert_int_equal(number(f->reader, "SELECT seq FROM jobs WHERE id = 'one'"), 1);
}

static void test_space_is_given_back(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(number(f->reader, sql_auto_vacuum), 2);
    make_long(f);
    int64_t pages = number(f->reader, sql_pages);
    assert_true(pages > ROWS / 2);
    delete_long(f);
    wait_for(f->reader, sql_deletions, 0);
    wait_for(f->reader, "PRAGMA freelist_count", 0);
    assert_true(number(f->reader, sql_pages) < pages / 10);
    wait_for_size_below(f->path, "-wal", 1);
    assert_true(size_of(f->path, "") < SMALL);
}

/* A reader in the middle of a statement keeps the WAL from being truncated. The writer
 * does not wait for it, and truncates when the reader is through. */
static void test_wal_is_truncated_when_idle(void **state)
{
    struct fixture *f = *state;
    sqlite3_stmt *statement;
    insert_example(f, "one");
    assert_true(size_of(f->path, "-wal") > 0);
    wait_for_size_below(f->path, "-wal", 1);
    insert_example(f, "two");
    assert_int_equal(connection_start(&f->reader->connection, "SELECT id FROM jobs", NO_VALUES,
                                      &statement, &f->err),
                     0);
    assert_int_equal(statement_step(statement, &f->err), 1);
    insert_example(f, "three");
    for (int64_t end = clock_monotonic_ms() + 4000; clock_monotonic_ms() < end;) {
        int64_t begun = clock_monotonic_ms();
        assert_int_equal(script(f, ""), 0);
        assert_true(clock_monotonic_ms() - begun < FAST_MS);
        usleep(2100000);
    }
    assert_true(size_of(f->path, "-wal") > 0);
    statement_close(statement);
    wait_for_size_below(f->path, "-wal", 1);
    assert_int_equal(state_of(f, "three"), JOB_QUEUED);
}

static void run_file(sqlite3 *handle, const char *path)
{
    char sql[32768];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(sql, 1, sizeof sql - 1, file);
    fclose(file);
    sql[n] = '\0';
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* A file as a program with two migrations has left it, with a long job. */
static void make_old(const char *path)
{
    sqlite3 *handle;
    char pragma[64];
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "PRAGMA journal_mode = WAL", NULL, NULL, NULL),
                     SQLITE_OK);
    run_file(handle, "db/schema/0001_initial.sql");
    run_file(handle, "db/schema/0002_sweeps.sql");
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = 2; PRAGMA application_id = %d;",
             MIGRATE_APPLICATION_ID);
    assert_int_equal(sqlite3_exec(handle, pragma, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(handle,
                     "INSERT INTO jobs (id, name, tags, user, state, priority, max_attempts,"
                     " submitted_at, epochs, device_asked, device, precision, memory_bytes,"
                     " n_groups, n_tokens, record_scalars, record_fields)"
                     " VALUES ('first', 'old', '[]', 'local', 'cancelled', 0, 3, 1, 5, 'auto',"
                     " 'auto', 'fp32', 1, 0, 300, 225, 0),"
                     " ('long', 'old', '[]', 'local', 'cancelled', 0, 3, 1, 5, 'auto', 'auto',"
                     " 'fp32', 1, 0, 300, 225, 0);"
                     "INSERT INTO job_texts (job, notes, spec, facts, group_names, corpus_sha256)"
                     " SELECT seq, '', '{}', '{}', 'a', 'x' FROM jobs;" FILL(
                         "2") ";"
                              "DELETE FROM jobs WHERE id = 'first';",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(handle);
}

static void test_an_old_file(void **state)
{
    struct fixture *f = *state;
    struct fixture old = {0};
    snprintf(old.path, sizeof old.path, "%.80s.old", f->path);
    make_old(old.path);
    int64_t bytes = size_of(old.path, "");
    start(&old);
    assert_int_equal(number(old.reader, "SELECT count(*) FROM pragma_foreign_key_list('epochs')"),
                     0);
    assert_int_equal(number(old.reader, "SELECT count(*) FROM pragma_integrity_check"
                                        " WHERE integrity_check = 'ok'"),
                     1);
    /* Migrated in place: a rewrite of 18 MB would pass through the WAL. */
    assert_true(size_of(old.path, "-wal") < SMALL);
    assert_true(number(old.reader, sql_pages) * 4096 < bytes + SMALL);
    assert_int_equal(number(old.reader, "SELECT records FROM jobs WHERE id = 'long'"), 2);
    assert_int_equal(number(old.reader, sql_rows), ROWS);
    delete_long(&old);
    wait_for(old.reader, sql_deletions, 0);
    assert_int_equal(number(old.reader, sql_rows), 0);
    insert_example(&old, "new");
    stop(&old);
    assert_true(size_of(old.path, "") > bytes / 2); /* such a file only reuses its pages */

    assert_int_equal(compact(old.path, &f->err), 0);
    assert_true(size_of(old.path, "") < SMALL);
    start(&old);
    assert_int_equal(number(old.reader, sql_auto_vacuum), 2);
    assert_int_equal(state_of(&old, "new"), JOB_QUEUED);
    stop(&old);
}

/* compact finishes what a server has left detached. */
static void test_compact(void **state)
{
    struct fixture *f = *state;
    make_long(f);
    stop(f);
    struct connection connection;
    assert_int_equal(connection_open(&connection, f->path, 0, &f->err), 0);
    assert_int_equal(connection_script(&connection,
                                       "INSERT INTO deletions (records, job, events, last_event)"
                                       " VALUES (1, 'long', 'all', 1000000)",
                                       &f->err),
                     0);
    connection_close(&connection);
    assert_int_equal(compact(f->path, &f->err), 0);
    assert_true(size_of(f->path, "") < SMALL);
    assert_int_equal(compact("/nonexistent/x.db", &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    start(f);
    assert_int_equal(number(f->reader, sql_rows), 0);
    assert_int_equal(number(f->reader, sql_deletions), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_gone_at_once_removed_later),
        test(test_a_step_ends_for_an_operation),
        test(test_goes_on_under_load),
        test(test_goes_on_after_a_kill),
        test(test_a_restart_sees_nothing_old),
        test(test_numbers_are_used_once),
        test(test_space_is_given_back),
        test(test_wal_is_truncated_when_idle),
        test(test_an_old_file),
        test(test_compact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
