/* Opening, migration, refusal of foreign files, and the guarantees of the writer
 * thread: a successful operation is durable, a failed one is rolled back alone, and
 * a full disk does not stop the thread. */
#include "tests/unit/db_fixture.h"

#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "db/migrate.h"

enum { SCHEMAS = 22 }; /* files in db/schema */

static int64_t pragma(const char *path, const char *name)
{
    struct connection connection;
    struct err err = ERR_INIT;
    int64_t value;
    assert_int_equal(connection_open(&connection, path, 1, &err), 0);
    assert_int_equal(connection_integer(&connection, name, NO_VALUES, 0, &value, &err), 0);
    connection_close(&connection);
    return value;
}

static void test_new_file(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one");
    assert_int_equal(pragma(f->path, "PRAGMA application_id"), MIGRATE_APPLICATION_ID);
    assert_int_equal(pragma(f->path, "PRAGMA user_version"), SCHEMAS);
    assert_int_equal(
        pragma(f->path, "SELECT count(*) FROM pragma_table_list WHERE type = 'table' AND strict = 0"
                        " AND name NOT LIKE 'sqlite_%'"),
        0);
    /* Opening it again migrates nothing and loses nothing. */
    db_reader_close(f->reader);
    db_close(f->db);
    assert_int_equal(db_open(f->path, &f->db, &f->err), 0);
    assert_int_equal(db_reader_open(f->db, &f->reader, &f->err), 0);
    assert_int_equal(state_of(f, "one"), JOB_QUEUED);
}

/* Opening the file fails with an error that contains `word`, and leaves the file
 * unchanged. */
static void refuse(const char *path, const char *word)
{
    struct db *db = NULL;
    struct db_reader *reader = NULL;
    struct err err = ERR_INIT;
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(db_open(path, &db, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_non_null(strstr(err.message, word));
    assert_non_null(strstr(err.message, path));
    assert_null(db);
    assert_int_equal(db_reader_open_path(path, &reader, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
                after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
}

static void make_file(const char *path, const char *sql)
{
    struct connection connection;
    struct err err = ERR_INIT;
    unlink(path);
    assert_int_equal(connection_open(&connection, path, 0, &err), 0);
    assert_int_equal(connection_script(&connection, sql, &err), 0);
    connection_close(&connection);
}

static void test_foreign_files(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s.old", f->path);
    make_file(path, "CREATE TABLE photos (id INTEGER)");
    refuse(path, "not a tokenfate database");
    make_file(path, "PRAGMA application_id = 77; CREATE TABLE photos (id INTEGER)");
    refuse(path, "not a tokenfate database");
    make_file(path, "PRAGMA application_id = 1952866676; PRAGMA user_version = 99;"
                    "CREATE TABLE jobs (id INTEGER)");
    refuse(path, "schema 99");
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 500; i++)
        fputs("this is a letter, not a database\n", file);
    fclose(file);
    refuse(path, "not a tokenfate database");
    struct db *db;
    assert_int_equal(db_open("/nonexistent/folder/x.db", &db, &f->err), -1);
    assert_int_equal(f->err.code, ERR_IO);
    struct db_reader *reader;
    assert_int_equal(db_reader_open_path("/nonexistent/x.db", &reader, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
}

/* An empty file is a new database. */
static void test_empty_file(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s.old", f->path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    struct db *db;
    assert_int_equal(db_open(path, &db, &f->err), 0);
    db_close(db);
    assert_int_equal(pragma(path, "PRAGMA user_version"), SCHEMAS);
}

/* A database as it was before the migration whose file name contains `name`; then `sql`. */
static void make_old(const char *path, const char *name, const char *sql)
{
    struct connection connection;
    struct err err = ERR_INIT;
    glob_t files;
    size_t n = 0;
    char end[128];
    unlink(path);
    assert_int_equal(glob("db/schema/*.sql", 0, NULL, &files), 0);
    assert_int_equal(connection_open(&connection, path, 0, &err), 0);
    sqlite3_db_config(connection.handle, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    for (; n < files.gl_pathc && !strstr(files.gl_pathv[n], name); n++) {
        char *script = NULL;
        size_t size = 0;
        FILE *file = fopen(files.gl_pathv[n], "r");
        assert_true(file && getdelim(&script, &size, '\0', file) > 0);
        assert_int_equal(connection_script(&connection, script, &err), 0);
        free(script);
        fclose(file);
    }
    snprintf(end, sizeof end, "PRAGMA application_id = %d; PRAGMA user_version = %zu",
             MIGRATE_APPLICATION_ID, n);
    assert_int_equal(connection_script(&connection, end, &err), 0);
    assert_int_equal(connection_script(&connection, sql, &err), 0);
    connection_close(&connection);
    globfree(&files);
}

#define OLD_JOB(id, state, waits)                                                                  \
    "INSERT INTO jobs (id, name, tags, user, state, priority, max_attempts, submitted_at, epochs," \
    " device_asked, device, precision, memory_bytes, waits, n_groups, n_tokens) VALUES ('" id      \
    "', '', '[]', 'ada', '" state "', 0, 1, 1, 1, 'cpu', 'cpu', 'fp32', 1, " waits ", 1, 1);"

/* Sentences of old databases get their codes. */
static void test_old_reasons(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s.old", f->path);
    make_old(path, "_reasons.sql",
             OLD_JOB("limit", "held", "'time_limit'") OLD_JOB("by-hand", "held", "NULL")
                 OLD_JOB("user", "held", "'its user ada is disabled'")
                     OLD_JOB("busy", "queued", "'cpu is busy'"));
    struct db *db;
    assert_int_equal(db_open(path, &db, &f->err), 0);
    db_close(db);
#define MATCHES(id, holds) "SELECT count(*) FROM jobs WHERE id = '" id "' AND " holds
    assert_int_equal(pragma(path, MATCHES("limit", "waits_code = 'time_limit'")), 1);
    assert_int_equal(pragma(path, MATCHES("by-hand", "waits_code = 'held' AND waits > ''")), 1);
    assert_int_equal(pragma(path, MATCHES("user", "waits_code = 'user_disabled'")), 1);
    assert_int_equal(pragma(path, MATCHES("busy", "waits_code IS NULL AND waits IS NULL")), 1);
#undef MATCHES
}

static void test_path_reader(void **state)
{
    struct fixture *f = *state;
    struct db_reader *reader;
    struct job *job;
    insert_example(f, "one");
    assert_int_equal(db_reader_open_path(f->path, &reader, &f->err), 0);
    assert_int_equal(job_get(reader, "one", &job, &f->err), 0);
    job_free(job);
    assert_int_equal(connection_script(&reader->connection, "DELETE FROM jobs", &f->err), -1);
    assert_int_equal(f->err.code, ERR_UNAVAILABLE);
    db_reader_close(reader);
}

static void test_backup(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s.copy", f->path);
    insert_example(f, "one");
    assert_int_equal(db_backup(f->reader, path, &f->err), 0);
    assert_int_equal(db_backup(f->reader, path, &f->err), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT);
    assert_int_equal(db_backup(f->reader, "/nonexistent/copy", &f->err), -1);
    insert_example(f, "two");
    struct db *copy;
    struct db_reader *reader;
    struct job *job;
    assert_int_equal(db_open(path, &copy, &f->err), 0);
    assert_int_equal(db_reader_open(copy, &reader, &f->err), 0);
    assert_int_equal(job_get(reader, "one", &job, &f->err), 0);
    job_free(job);
    assert_int_equal(job_get(reader, "two", &job, &f->err), -1);
    db_reader_close(reader);
    db_close(copy);
}

enum { THREADS = 8, OPERATIONS = 60 };

struct worker {
    struct fixture *f;
    int index, wrong;
};

/* Inserts two jobs. Every third operation then fails, which must roll both back. */
static int body_two(struct db_writer *writer, struct call *call, struct err *err)
{
    struct job job = job_example(call->id);
    if (job_insert(writer, &job, NULL, NULL, 100000, &call->existing, err) < 0)
        return -1;
    strcat(job.id, "b");
    if (job_insert(writer, &job, NULL, NULL, 100000, &call->existing, err) < 0)
        return -1;
    return call->n % 3 == 0 ? err_set(err, ERR_INVALID, "third") : 0;
}

static void *hammer(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < OPERATIONS; i++) {
        char id[DB_ID_MAX];
        struct err err = ERR_INIT;
        snprintf(id, sizeof id, "%d-%d", worker->index, i);
        struct call call = {.body = body_two, .id = id, .n = i};
        int result = db_call(worker->f->db, call_operation, &call, &err);
        worker->wrong += result != (i % 3 == 0 ? -1 : 0);
        worker->wrong += err.code != (i % 3 == 0 ? ERR_INVALID : ERR_NONE);
    }
    return NULL;
}

static void test_group_commit(void **state)
{
    struct fixture *f = *state;
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    int64_t counts[JOB_STATES], oldest, newest;
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){f, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    assert_int_equal(job_counts(f->reader, counts, &f->err), 0);
    assert_int_equal(counts[JOB_QUEUED], THREADS * OPERATIONS * 2 / 3 * 2);
    assert_int_equal(events_range(f->reader, &oldest, &newest, &f->err), 0);
    assert_int_equal(newest - oldest + 1, counts[JOB_QUEUED]);
}

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t change;
    int inside, open, done, order_wrong;
    int64_t told;
};

/* Inserts a job, then waits for the gate with its transaction open. */
static int gated(struct db_writer *writer, void *arg, struct err *err)
{
    struct gate *gate = arg;
    struct job job = job_example("gated");
    int existing;
    if (job_insert(writer, &job, NULL, NULL, 10, &existing, err) < 0)
        return -1;
    pthread_mutex_lock(&gate->mutex);
    gate->inside = 1;
    pthread_cond_broadcast(&gate->change);
    while (!gate->open)
        pthread_cond_wait(&gate->change, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
    return 0;
}

static void gate_done(void *arg, int result, const struct err *err)
{
    struct gate *gate = arg;
    pthread_mutex_lock(&gate->mutex);
    gate->order_wrong |= result != 0 || err->code != ERR_NONE;
    gate->done++;
    pthread_cond_broadcast(&gate->change);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_notify(void *self, int64_t last_event)
{
    struct gate *gate = self;
    pthread_mutex_lock(&gate->mutex);
    gate->told = last_event;
    pthread_cond_broadcast(&gate->change);
    pthread_mutex_unlock(&gate->mutex);
}

static void test_readers_see_only_commits(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};
    struct job *job;
    db_on_events(f->db, gate_notify, &gate);
    assert_int_equal(db_submit(f->db, gated, &gate, gate_done, &f->err), 0);
    pthread_mutex_lock(&gate.mutex);
    while (!gate.inside)
        pthread_cond_wait(&gate.change, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
    assert_int_equal(job_get(f->reader, "gated", &job, &f->err), -1);
    assert_int_equal(gate.done, 0);

    pthread_mutex_lock(&gate.mutex);
    gate.open = 1;
    pthread_cond_broadcast(&gate.change);
    while (!gate.done || !gate.told)
        pthread_cond_wait(&gate.change, &gate.mutex);
    assert_false(gate.order_wrong);
    assert_int_equal(gate.told, 1);
    pthread_mutex_unlock(&gate.mutex);
    assert_int_equal(state_of(f, "gated"), JOB_QUEUED);
    db_on_events(f->db, NULL, NULL);
}

/* Ends the transaction inside an operation, as SQLite itself does when the disk is
 * full in the middle of a statement. */
static int body_rollback(struct db_writer *writer, struct call *call, struct err *err)
{
    (void)call;
    connection_script(&writer->connection, "ROLLBACK", err);
    return err_set(err, ERR_UNAVAILABLE, "the disk is full");
}

static int body_nothing(struct db_writer *writer, struct call *call, struct err *err)
{
    (void)writer;
    (void)call;
    (void)err;
    return 0;
}

static void count_failures(void *arg, int result, const struct err *err)
{
    struct call *call = arg;
    call->n = result;
    call->number = err->code;
}

static void test_a_lost_transaction_is_reported_to_all(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};
    struct job jobs[2] = {job_example("before"), job_example("after")};
    struct call calls[3] = {{.body = body_insert, .job = &jobs[0], .number = 100},
                            {.body = body_rollback},
                            {.body = body_insert, .job = &jobs[1], .number = 100}};
    struct call last = {.body = body_nothing};
    struct job *job;
    /* The first operation blocks the writer thread, so the next three are one batch. */
    assert_int_equal(db_submit(f->db, gated, &gate, gate_done, &f->err), 0);
    pthread_mutex_lock(&gate.mutex);
    while (!gate.inside)
        pthread_cond_wait(&gate.change, &gate.mutex);
    for (int i = 0; i < 3; i++)
        assert_int_equal(db_submit(f->db, call_operation, &calls[i], count_failures, &f->err), 0);
    gate.open = 1;
    pthread_cond_broadcast(&gate.change);
    pthread_mutex_unlock(&gate.mutex);
    assert_int_equal(call_run(f, &last) == 0 || f->err.code == ERR_UNAVAILABLE, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(calls[i].n, -1);
        assert_int_equal(calls[i].number, ERR_UNAVAILABLE);
    }
    assert_int_equal(state_of(f, "gated"), JOB_QUEUED);
    assert_int_equal(job_get(f->reader, "before", &job, &f->err), -1);
    assert_int_equal(job_get(f->reader, "after", &job, &f->err), -1);
    insert_example(f, "before");
}

static int body_limit(struct db_writer *writer, struct call *call, struct err *err)
{
    int64_t pages;
    char sql[64];
    if (connection_integer(&writer->connection, "PRAGMA page_count", NO_VALUES, 0, &pages, err) < 0)
        return -1;
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)(pages + call->number));
    return connection_script(&writer->connection, sql, err);
}

static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    char *big = malloc(60001);
    struct job job = job_example("big");
    memset(big, 'x', 60000);
    big[60000] = '\0';
    job.notes = big;
    insert_example(f, "one");
    struct call limit = {.body = body_limit, .number = 2};
    assert_int_equal(call_run(f, &limit), 0);
    assert_int_equal(insert(f, &job), -1);
    assert_int_equal(f->err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(f->err.message, "full"));
    /* No part of the job is stored, and readers still work. */
    struct job *read;
    int64_t oldest, newest;
    assert_int_equal(job_get(f->reader, "big", &read, &f->err), -1);
    assert_int_equal(state_of(f, "one"), JOB_QUEUED);
    assert_int_equal(events_range(f->reader, &oldest, &newest, &f->err), 0);
    assert_int_equal(newest, 1);
    assert_int_equal(insert(f, &job), -1);
    /* With free space the same writer thread works again. */
    limit.number = 100000;
    assert_int_equal(call_run(f, &limit), 0);
    assert_int_equal(insert(f, &job), 0);
    assert_int_equal(state_of(f, "big"), JOB_QUEUED);
    free(big);
}

static void child(const char *path, int fd)
{
    struct db *db;
    struct err err = ERR_INIT;
    if (db_open(path, &db, &err) < 0)
        _exit(1);
    for (int64_t i = 0;; i++) {
        char id[DB_ID_MAX];
        snprintf(id, sizeof id, "job-%lld", (long long)i);
        struct job job = job_example(id);
        struct call call = {.body = body_insert, .job = &job, .number = 1000000};
        if (db_call(db, call_operation, &call, &err) < 0 || write(fd, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

/* Operations that were reported as successful before kill -9 are stored. One more may
 * be: it was committed and not yet reported. */
static void test_durable(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    int64_t acknowledged = -1, number, there = 0;
    db_reader_close(f->reader);
    db_close(f->db);
    f->reader = NULL;
    f->db = NULL;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(f->path, fds[1]);
    close(fds[1]);
    while (acknowledged < 100 && read(fds[0], &number, sizeof number) == sizeof number)
        acknowledged = number;
    kill(pid, SIGKILL);
    while (read(fds[0], &number, sizeof number) == sizeof number)
        acknowledged = number;
    waitpid(pid, NULL, 0);
    close(fds[0]);
    assert_true(acknowledged >= 100);
    assert_int_equal(db_open(f->path, &f->db, &f->err), 0);
    assert_int_equal(db_reader_open(f->db, &f->reader, &f->err), 0);
    int64_t counts[JOB_STATES];
    assert_int_equal(job_counts(f->reader, counts, &f->err), 0);
    there = counts[JOB_QUEUED];
    assert_true(there == acknowledged + 1 || there == acknowledged + 2);
    char id[DB_ID_MAX];
    snprintf(id, sizeof id, "job-%lld", (long long)acknowledged);
    assert_int_equal(state_of(f, id), JOB_QUEUED);
    assert_int_equal(connection_integer(&f->reader->connection, "SELECT count(*) FROM job_texts",
                                        NO_VALUES, 0, &number, &f->err),
                     0);
    assert_int_equal(number, there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_new_file),
        test(test_foreign_files),
        test(test_empty_file),
        test(test_old_reasons),
        test(test_path_reader),
        test(test_backup),
        test(test_group_commit),
        test(test_readers_see_only_commits),
        test(test_a_lost_transaction_is_reported_to_all),
        test(test_full_disk),
        test(test_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
