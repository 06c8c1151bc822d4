/* Bulk actions: all or nothing, unfit jobs left out where that is asked for, a look without doing,
 * one event and one entry of history each, and the limit of jobs at once. */
#include "db_fixture.h"

#include <time.h>

#include "db/bulk.h"

struct bulk_call {
    struct bulk bulk;
    struct bulk_outcome out;
    char deleted[64];
};

static int may(void *self, const char *user, struct err *err)
{
    (void)self;
    return strcmp(user, "eve") ? 0 : err_set(err, ERR_FORBIDDEN, "this belongs to eve");
}

static int deleted(void *self, const char *id, struct err *err)
{
    struct bulk_call *call = self;
    (void)err;
    strcat(call->deleted, id);
    return 0;
}

static int run_operation(struct db_writer *writer, void *arg, struct err *err)
{
    struct bulk_call *call = arg;
    return bulk_run(writer, &call->bulk, &call->out, err);
}

static struct bulk_call *asked(enum bulk_action action, struct job_filter filter, int skip)
{
    static struct bulk_call call;
    call = (struct bulk_call){.bulk = {.action = action,
                                       .filter = filter,
                                       .skip = skip,
                                       .max_tags = 3,
                                       .add = "[]",
                                       .remove = "[]",
                                       .self = &call,
                                       .may = may,
                                       .deleted = deleted}};
    return &call;
}

static int run(struct fixture *f, struct bulk_call *call)
{
    err_clear(&f->err);
    return db_call(f->db, run_operation, call, &f->err);
}

static void counts(const struct bulk_call *call, int matched, int done, int unfit)
{
    assert_int_equal(call->out.matched, matched);
    assert_int_equal(call->out.done, done);
    assert_int_equal(call->out.unfit, unfit);
}

static int64_t number(struct fixture *f, const char *sql)
{
    int64_t n = -1;
    assert_int_equal(connection_integer(&f->reader->connection, sql, NO_VALUES, 0, &n, &f->err), 0);
    return n;
}

/* a, b queued; c succeeded; d of eve, queued. */
static void populate(struct fixture *f)
{
    static const char *const ids[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        struct job job = job_example(ids[i]);
        job.user = i == 3 ? "eve" : "ada";
        assert_int_equal(insert(f, &job), 0);
    }
    assert_int_equal(claim(f, "c"), 0);
    assert_int_equal(finish(f, "c", JOB_END_SUCCEEDED), 0);
}

static void test_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    populate(f);
    const int64_t events = number(f, "SELECT count(*) FROM events");
    const int64_t entries = number(f, "SELECT count(*) FROM history");
    struct bulk_call *call = asked(BULK_CANCEL, (struct job_filter){.user = "ada"}, 0);
    assert_int_equal(bulk_try(f->reader, &call->bulk, &call->out, &f->err), 0);
    counts(call, 3, 2, 1);
    assert_string_equal(call->out.shown[0], "b");
    assert_string_equal(call->out.shown[1], "a");
    assert_string_equal(call->out.refused[0].id, "c");
    assert_string_equal(call->out.refused[0].message, "job c is succeeded and cannot be cancelled");
    assert_int_equal(run(f, call), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT);
    assert_string_equal(f->err.message, "job c is succeeded and cannot be cancelled; nothing was "
                                        "done: 1 of 3 jobs are unfit");
    counts(call, 3, 0, 1);
    assert_int_equal(state_of(f, "a"), JOB_QUEUED);
    assert_int_equal(state_of(f, "b"), JOB_QUEUED);
    assert_int_equal(number(f, "SELECT count(*) FROM events"), events);

    call = asked(BULK_CANCEL, (struct job_filter){0}, 1);
    assert_int_equal(run(f, call), 0);
    counts(call, 4, 2, 2);
    assert_string_equal(call->out.refused[0].message, "this belongs to eve");
    assert_int_equal(call->out.refused[0].code, ERR_FORBIDDEN);
    assert_int_equal(state_of(f, "a"), JOB_CANCELLED);
    assert_int_equal(state_of(f, "d"), JOB_QUEUED);
    assert_int_equal(number(f, "SELECT count(*) FROM events"), events + 2);
    assert_int_equal(number(f, "SELECT count(*) FROM history"), entries + 2);
}

static void test_each_action(void **state)
{
    static const struct {
        enum bulk_action action;
        enum job_state state;
    } steps[] = {{BULK_HOLD, JOB_HELD},        {BULK_RELEASE, JOB_QUEUED},
                 {BULK_CANCEL, JOB_CANCELLED}, {BULK_RETRY, JOB_QUEUED},
                 {BULK_CANCEL, JOB_CANCELLED}, {BULK_RESTART, JOB_QUEUED},
                 {BULK_CANCEL, JOB_CANCELLED}};
    struct fixture *f = *state;
    populate(f);
    const struct job_filter two = {.ids = "[\"a\", \"b\"]"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct bulk_call *call = asked(steps[i].action, two, 0);
        assert_int_equal(run(f, call), 0);
        counts(call, 2, 2, 0);
        assert_int_equal(state_of(f, "a"), steps[i].state);
        assert_int_equal(state_of(f, "b"), steps[i].state);
    }
    struct bulk_call *call = asked(BULK_PRIORITY, two, 0);
    call->bulk.priority = 7;
    assert_int_equal(run(f, call), 0);
    assert_int_equal(number(f, "SELECT sum(priority) FROM jobs"), 14);
    call = asked(BULK_TAG, two, 0);
    call->bulk.add = "[\"z\",\"b\"]";
    call->bulk.remove = "[\"a\"]";
    assert_int_equal(run(f, call), 0);
    assert_int_equal(number(f, "SELECT count(*) FROM jobs WHERE tags = '[\"b\",\"z\"]'"), 2);
    call->bulk.add = "[\"x\",\"y\"]";
    assert_int_equal(run(f, call), -1);
    assert_string_equal(f->err.message, "job b would have 4 tags; 3 are allowed; nothing was done:"
                                        " 2 of 2 jobs are unfit");
    call = asked(BULK_DELETE, two, 0);
    assert_int_equal(run(f, call), 0);
    assert_string_equal(call->deleted, "ba");
    assert_int_equal(number(f, "SELECT count(*) FROM jobs"), 2);
    call = asked(BULK_HOLD, (struct job_filter){.ids = "[\"a\", \"d\"]"}, 0);
    assert_int_equal(run(f, call), -1);
    assert_int_equal(call->out.refused[1].code, ERR_NOT_FOUND);
    assert_string_equal(call->out.refused[1].message, "there is no job a");
}

static int body_many(struct db_writer *writer, struct call *call, struct err *err)
{
    for (int i = 0; i < call->n; i++) {
        struct job job = job_example("");
        snprintf(job.id, sizeof job.id, "%s%06d", call->id, i);
        if (job_insert(writer, &job, NULL, NULL, 1000000, &call->existing, err) < 0)
            return -1;
    }
    return 0;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Many jobs, in each action. With TIMES set as many as go at once, and the times are printed. */
static void test_many(void **state)
{
    static const struct {
        const char *name;
        enum bulk_action action;
    } steps[] = {{"hold", BULK_HOLD},     {"release", BULK_RELEASE},   {"tag", BULK_TAG},
                 {"cancel", BULK_CANCEL}, {"priority", BULK_PRIORITY}, {"retry", BULK_RETRY},
                 {"cancel", BULK_CANCEL}, {"delete", BULK_DELETE}};
    struct fixture *f = *state;
    const int n = getenv("TIMES") ? BULK_MAX : 500;
    struct call many = {.body = body_many, .id = "j", .n = n};
    double begun = seconds();
    assert_int_equal(call_run(f, &many), 0);
    if (getenv("TIMES"))
        printf("insert %.3f s\n", seconds() - begun);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct bulk_call *call = asked(steps[i].action, (struct job_filter){.user = "local"}, 0);
        call->bulk.add = "[\"new\"]";
        call->bulk.deleted = may;
        call->bulk.priority = 3;
        begun = seconds();
        assert_int_equal(run(f, call), 0);
        counts(call, n, n, 0);
        if (getenv("TIMES"))
            printf("%s %.3f s\n", steps[i].name, seconds() - begun);
    }
}

static void test_too_many(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        script(f, "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 10001)"
                  " INSERT INTO jobs (id, name, tags, user, state, priority, max_attempts,"
                  " submitted_at, epochs, device_asked, device, precision, memory_bytes, n_groups,"
                  " n_tokens) SELECT i, '', '[]', 'ada', iif(i = 1, 'held', 'queued'), 0, 1, 0, 1,"
                  " 'cpu', 'cpu', 'fp32', 0, 1, 1 FROM n"),
        0);
    struct bulk_call *call = asked(BULK_HOLD, (struct job_filter){.user = "ada"}, 1);
    assert_int_equal(run(f, call), -1);
    assert_string_equal(f->err.message, "/filter: more than 10000 jobs match: name fewer at once");
    call->bulk.filter.state = "queued";
    assert_int_equal(bulk_try(f->reader, &call->bulk, &call->out, &f->err), 0);
    counts(call, BULK_MAX, BULK_MAX, 0);
    assert_int_equal(call->out.n_shown, BULK_SHOWN_MAX);
}

static int count_one(void *count)
{
    ++*(int64_t *)count;
    return 0;
}

/* call->from: instructions of SQLite that deleting the job takes. */
static int body_delete(struct db_writer *writer, struct call *call, struct err *err)
{
    call->from = 0;
    sqlite3_progress_handler(writer->connection.handle, 1, count_one, &call->from);
    const int result = job_delete(writer, call->id, err);
    sqlite3_progress_handler(writer->connection.handle, 0, NULL, NULL);
    return result;
}

static int64_t cost_of_deleting(struct fixture *f, const char *id)
{
    struct call call = {.body = body_delete, .id = id};
    insert_example(f, id);
    assert_int_equal(request(f, id, JOB_CANCEL), 0);
    assert_int_equal(call_run(f, &call), 0);
    return call.from;
}

/* Who needs a job is found by indexes, however many jobs are unfinished. */
static void test_cost_of_deleting(void **state)
{
    struct fixture *f = *state;
    struct call many = {.body = body_many, .id = "j", .n = 1000};
    cost_of_deleting(f, "x");
    const int64_t cost = cost_of_deleting(f, "y");
    assert_int_equal(call_run(f, &many), 0);
    assert_in_range(cost_of_deleting(f, "z"), 1, cost + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {test(test_all_or_nothing), test(test_each_action),
                                       test(test_many), test(test_too_many),
                                       test(test_cost_of_deleting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
