/* db_fixture: a new database in a temporary folder for each test, and helpers that
 * call the write functions from the thread of a test. Each db_*.c test program
 * includes it once. */
#ifndef TOKENFATE_TESTS_DB_FIXTURE_H
#define TOKENFATE_TESTS_DB_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "db/connection.h"
#include "db/db.h"
#include "db/epochs.h"
#include "db/events.h"
#include "db/jobs.h"

struct fixture {
    char folder[64], path[96];
    struct db *db;
    struct db_reader *reader;
    struct err err;
};

static int fixture_open(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    strcpy(f->folder, "/tmp/tokenfate-db-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/tokenfate.db", f->folder);
    if (db_open(f->path, &f->db, &f->err) < 0)
        fail_msg("%s", f->err.message);
    assert_int_equal(db_reader_open(f->db, &f->reader, &f->err), 0);
    *state = f;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"",          "-wal", "-shm",     ".copy",   ".copy-wal",
                                        ".copy-shm", ".old", ".old-wal", ".old-shm"};
    db_reader_close(f->reader);
    db_close(f->db);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", f->path, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->folder), 0);
    free(f);
    return 0;
}

/* A write function as an operation: body reads its arguments from the call and writes
 * its results to it. */
struct call {
    int (*body)(struct db_writer *writer, struct call *call, struct err *err);
    struct job *job;
    const struct job_patch *patch;
    const char *id, *text, *key;
    int64_t from, number;
    int n, existing;
    enum job_request request;
    enum job_end end;
    enum job_state state;
    const double *values;
    const float *tokens;
    int n_values, n_tokens;
};

static int call_operation(struct db_writer *writer, void *arg, struct err *err)
{
    struct call *call = arg;
    return call->body(writer, call, err);
}

static inline int call_run(struct fixture *f, struct call *call)
{
    err_clear(&f->err);
    return db_call(f->db, call_operation, call, &f->err);
}

/* A job as the server would insert it. */
static inline struct job job_example(const char *id)
{
    struct job job = {.name = "gulliver",
                      .notes = "",
                      .tags = "[\"a\",\"b\"]",
                      .user = "local",
                      .state = JOB_QUEUED,
                      .epochs = 5,
                      .device = "auto",
                      .memory_bytes = 1000,
                      .spec = "{\"name\":\"gulliver\",\"train\":{\"precision\":\"fp32\"}}",
                      .facts = "{}",
                      .group_names = "most_common\nnever_used",
                      .n_groups = 2,
                      .n_tokens = 3,
                      .corpus_sha256 = "gulliver-synthetic",
                      .max_attempts = 3};
    snprintf(job.id, sizeof job.id, "%s", id);
    return job;
}

static inline int body_insert(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_insert(writer, call->job, call->key, call->text, call->number, &call->existing, err);
}

static inline int insert(struct fixture *f, struct job *job)
{
    struct call call = {.body = body_insert, .job = job, .number = 10000};
    return call_run(f, &call);
}

static inline void insert_example(struct fixture *f, const char *id)
{
    struct job job = job_example(id);
    assert_int_equal(insert(f, &job), 0);
}

static inline int body_request(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_request(writer, call->id, call->request, &call->state, err);
}

static inline int request(struct fixture *f, const char *id, enum job_request what)
{
    struct call call = {.body = body_request, .id = id, .request = what};
    return call_run(f, &call);
}

static inline int body_claim(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_claim(writer, call->id, "cpu", err);
}

static inline int claim(struct fixture *f, const char *id)
{
    struct call call = {.body = body_claim, .id = id};
    return call_run(f, &call);
}

static inline int body_finish(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_finish(writer, call->id, call->end, call->text, &call->state, err);
}

static inline int finish(struct fixture *f, const char *id, enum job_end end)
{
    struct call call = {.body = body_finish, .id = id, .end = end, .text = "{\"code\":\"device\"}"};
    return call_run(f, &call);
}

static inline int body_script(struct db_writer *writer, struct call *call, struct err *err)
{
    return connection_script(&writer->connection, call->text, err);
}

static inline int script(struct fixture *f, const char *sql)
{
    struct call call = {.body = body_script, .text = sql};
    return call_run(f, &call);
}

static inline struct job *get(struct fixture *f, const char *id)
{
    struct job *job = NULL;
    assert_int_equal(job_get(f->reader, id, &job, &f->err), 0);
    return job;
}

static inline enum job_state state_of(struct fixture *f, const char *id)
{
    struct job *job = get(f, id);
    enum job_state state = job->state;
    job_free(job);
    return state;
}

#define test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

#endif
