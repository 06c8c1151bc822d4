/* Sweeps: insertion of all jobs or none, idempotency keys, cancelling, deletion of
 * jobs, and the migration of a database of the first schema. */
#include "db_fixture.h"

#include <sqlite3.h>

#include "config/spec.h"
#include "db/sweeps.h"

struct sweep_call {
    struct sweep *sweep;
    struct job *jobs;
    int n, existing, cancelled;
    int64_t max_queue;
    const char *key, *body, *id;
};

static int insert_operation(struct db_writer *writer, void *arg, struct err *err)
{
    struct sweep_call *call = arg;
    return sweep_insert(writer, call->sweep, call->jobs, call->n, call->key, call->body,
                        call->max_queue, &call->existing, err);
}

static int cancel_operation(struct db_writer *writer, void *arg, struct err *err)
{
    struct sweep_call *call = arg;
    return sweep_cancel(writer, call->id, &call->cancelled, err);
}

/* Three jobs PREFIX1, PREFIX2, PREFIX3 of the sweep PREFIX. */
static int insert_sweep(struct fixture *f, const char *prefix, const char *key, int64_t max_queue,
                        struct sweep_call *call)
{
    static struct sweep sweep;
    static struct job jobs[3];
    sweep = (struct sweep){.name = "widths",
                           .user = "local",
                           .base = "{\"name\":\"widths\"}",
                           .vary = "{\"train.seed\":[1,2,3]}"};
    snprintf(sweep.id, sizeof sweep.id, "%s", prefix);
    for (int i = 0; i < 3; i++) {
        char id[16];
        snprintf(id, sizeof id, "%.4s%d", prefix, i + 1);
        jobs[i] = job_example(id);
        jobs[i].sweep = sweep.id;
        jobs[i].setting = "{\"train.seed\":1}";
    }
    *call = (struct sweep_call){
        .sweep = &sweep, .jobs = jobs, .n = 3, .key = key, .body = "body", .max_queue = max_queue};
    err_clear(&f->err);
    return db_call(f->db, insert_operation, call, &f->err);
}

static int count(struct fixture *f, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(f->reader->connection.handle, sql, -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int n = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return n;
}

static void a_sweep_and_its_jobs(void **state)
{
    struct fixture *f = *state;
    struct sweep_call call;
    struct sweep *sweep = NULL;
    struct job **jobs = NULL;
    int n = 0;
    assert_int_equal(insert_sweep(f, "S", NULL, 100, &call), 0);
    assert_int_equal(sweep_get(f->reader, "S", &sweep, &f->err), 0);
    assert_string_equal(sweep->name, "widths");
    assert_string_equal(sweep->vary, "{\"train.seed\":[1,2,3]}");
    assert_true(sweep->submitted_at > 0);
    assert_int_equal(sweep->jobs[JOB_QUEUED], 3);
    assert_int_equal(job_of_sweep(f->reader, "S", &jobs, &n, &f->err), 0);
    assert_int_equal(n, 3);
    for (int i = 0; i < n; i++) {
        assert_int_equal(jobs[i]->id[1], '1' + i);
        assert_string_equal(jobs[i]->sweep, "S");
        assert_string_equal(jobs[i]->setting, "{\"train.seed\":1}");
        job_free(jobs[i]);
    }
    free(jobs);
    sweep_free(sweep);
    insert_example(f, "alone");
    struct job *alone = get(f, "alone");
    assert_null(alone->sweep);
    assert_null(alone->setting);
    job_free(alone);
}

static void all_or_none(void **state)
{
    struct fixture *f = *state;
    struct sweep_call call;
    assert_int_equal(insert_sweep(f, "S", NULL, 2, &call), -1);
    assert_int_equal(f->err.code, ERR_TOO_MANY);
    assert_string_equal(f->err.message,
                        "3 jobs do not fit, 2 would: 0 are not finished, the limit is 2 in all");
    assert_int_equal(count(f, "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM sweeps)"
                              " + (SELECT count(*) FROM events)"),
                     0);
}

static void the_same_key_twice(void **state)
{
    struct fixture *f = *state;
    struct sweep_call call;
    assert_int_equal(insert_sweep(f, "S", "key", 100, &call), 0);
    assert_int_equal(call.existing, 0);
    assert_int_equal(insert_sweep(f, "T", "key", 100, &call), 0);
    assert_int_equal(call.existing, 1);
    assert_string_equal(call.sweep->id, "S");
    assert_int_equal(count(f, "SELECT 10 * (SELECT count(*) FROM sweeps)"
                              " + (SELECT count(*) FROM jobs)"),
                     13);
}

static void cancelling(void **state)
{
    struct fixture *f = *state;
    struct sweep_call call;
    assert_int_equal(insert_sweep(f, "S", NULL, 100, &call), 0);
    assert_int_equal(claim(f, "S1"), 0);
    assert_int_equal(claim(f, "S2"), 0);
    assert_int_equal(finish(f, "S2", JOB_END_SUCCEEDED), 0);
    call.id = "S";
    assert_int_equal(db_call(f->db, cancel_operation, &call, &f->err), 0);
    assert_int_equal(call.cancelled, 2);
    assert_int_equal(state_of(f, "S1"), JOB_RUNNING);
    assert_int_equal(state_of(f, "S2"), JOB_SUCCEEDED);
    assert_int_equal(state_of(f, "S3"), JOB_CANCELLED);
    struct job *running = get(f, "S1");
    assert_int_equal(running->cancel_requested, 1);
    job_free(running);
    call.id = "nothing";
    assert_int_equal(db_call(f->db, cancel_operation, &call, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
}

static int body_delete(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_delete(writer, call->id, err);
}

static void goes_with_its_last_job(void **state)
{
    struct fixture *f = *state;
    struct sweep_call sweep;
    assert_int_equal(insert_sweep(f, "S", NULL, 100, &sweep), 0);
    assert_int_equal(insert_sweep(f, "T", NULL, 100, &sweep), 0);
    static const char *const ids[] = {"S1", "S2", "S3"};
    for (int i = 0; i < 3; i++) {
        struct call call = {.body = body_delete, .id = ids[i]};
        assert_int_equal(count(f, "SELECT count(*) FROM sweeps"), 2);
        assert_int_equal(request(f, ids[i], JOB_CANCEL), 0);
        assert_int_equal(call_run(f, &call), 0);
    }
    assert_int_equal(count(f, "SELECT count(*) FROM sweeps WHERE id = 'T'"), 1);
    assert_int_equal(count(f, "SELECT count(*) FROM sweeps"), 1);
}

static void listing(void **state)
{
    struct fixture *f = *state;
    struct sweep_call call;
    struct sweep **sweeps = NULL;
    int n = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(insert_sweep(f, (const char *[]){"S", "T", "U"}[i], NULL, 100, &call), 0);
    assert_int_equal(sweep_list(f->reader, 0, 2, &sweeps, &n, &f->err), 0);
    assert_int_equal(n, 2);
    assert_string_equal(sweeps[0]->id, "U");
    int64_t before = sweeps[1]->seq;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < n; i++)
            sweep_free(sweeps[i]);
        free(sweeps);
        sweeps = NULL;
        n = 0;
        if (round == 0) {
            assert_int_equal(sweep_list(f->reader, before, 2, &sweeps, &n, &f->err), 0);
            assert_int_equal(n, 1);
            assert_string_equal(sweeps[0]->id, "S");
        }
    }
    struct job **jobs = NULL;
    struct job_filter filter = {.sweep = "T", .limit = 10};
    assert_int_equal(job_list(f->reader, &filter, &jobs, &n, &f->err), 0);
    assert_int_equal(n, 3);
    for (int i = 0; i < n; i++) {
        assert_int_equal(jobs[i]->id[0], 'T');
        job_free(jobs[i]);
    }
    free(jobs);
}

static int shuffle_offset(const char *json)
{
    struct spec *spec = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(spec_parse(json, strlen(json), &spec, &err), 0);
    const int is_on = spec->train.shuffle_offset;
    spec_free(spec);
    return is_on;
}

/* A database of the first schema that has jobs is migrated. Their shuffled passes keep their
 * places; a new spec without the field has offsets. */
static void from_the_first_schema(void **state)
{
    struct fixture *f = *state;
    char path[128], sql[32768];
    sqlite3 *handle;
    snprintf(path, sizeof path, "%s.old", f->path);
    FILE *file = fopen("db/schema/0001_initial.sql", "r");
    assert_non_null(file);
    size_t n = fread(sql, 1, sizeof sql - 1, file);
    fclose(file);
    sql[n] = '\0';
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(handle,
                     "INSERT INTO jobs (id, name, tags, user, state, priority, max_attempts,"
                     " submitted_at, epochs, device_asked, device, precision, memory_bytes,"
                     " n_groups, n_tokens) VALUES ('old', 'old', '[\"\xc3\x9c"
                     "ber\"]', 'local', 'queued', 0, 3, 1,"
                     " 5, 'auto', 'auto', 'fp32', 1, 2, 3),"
                     " ('drawn', 'old', '[]', 'local', 'queued', 0, 3, 1, 5, 'auto', 'auto',"
                     " 'fp32', 1, 2, 3);"
                     "INSERT INTO job_texts (job, notes, spec, facts, group_names, corpus_sha256)"
                     " VALUES (1, '', '{\"train\":{\"sampling\":\"shuffle\"}}', '{}', 'a', 'x'),"
                     " (2, '', '{\"train\":{\"sampling\":\"random\"}}', '{}', 'a', 'x');"
                     "PRAGMA user_version = 1;",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(f->reader->connection.handle, "PRAGMA application_id", -1,
                                        &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d", sqlite3_column_int(statement, 0));
    sqlite3_finalize(statement);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);

    struct fixture old = {0};
    assert_int_equal(db_open(path, &old.db, &f->err), 0);
    assert_int_equal(db_reader_open(old.db, &old.reader, &f->err), 0);
    struct job *job = get(&old, "old");
    assert_null(job->sweep);
    assert_string_equal(job->name, "old");
    assert_int_equal(shuffle_offset(job->spec), 0);
    job_free(job);
    job = get(&old, "drawn");
    assert_int_equal(shuffle_offset(job->spec), 1);
    job_free(job);
    assert_int_equal(shuffle_offset("{\"train\":{\"sampling\":\"shuffle\"}}"), 1);
    struct job **jobs;
    int found;
    assert_int_equal(
        job_list(old.reader,
                 &(struct job_filter){
                     .terms = "[{\"field\":\"word\",\"not\":0,\"values\":[\"uber\"]}]", .limit = 9},
                 &jobs, &found, &f->err),
        0);
    assert_int_equal(found, 1); /* what was stored before there was a search is found */
    job_free(jobs[0]);
    free(jobs);
    struct sweep_call call;
    assert_int_equal(insert_sweep(&old, "S", NULL, 100, &call), 0);
    db_reader_close(old.reader);
    db_close(old.db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_sweep_and_its_jobs),   test(all_or_none),
        test(the_same_key_twice),     test(cancelling),
        test(goes_with_its_last_job), test(listing),
        test(from_the_first_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
