/* The limits of a user: where they come from, what counts, and what they let through. */
#include "db_fixture.h"

#include "config/record.h"
#include "db/limits.h"
#include "db/usage.h"
#include "db/users.h"

enum { HOUR_MS = 3600000 };

static const struct settings settings = {.user_queued = 3, .user_running = 2};

static int run(struct fixture *f, db_operation *operation, void *arg)
{
    return db_call(f->db, operation, arg, &f->err);
}

static struct limits limits_now(struct fixture *f, const char *user)
{
    struct limits limits;
    assert_int_equal(limits_get(f->reader, &settings, user, &limits, &f->err), 0);
    return limits;
}

static int make_ada(struct db_writer *writer, void *arg, struct err *err)
{
    (void)arg;
    return user_insert(writer, "ada", 0, err);
}

static int set_limits(struct db_writer *writer, void *arg, struct err *err)
{
    return limits_set(writer, "ada", arg, err);
}

static void test_own_and_of_the_site(void **state)
{
    struct fixture *f = *state;
    int64_t values[LIMITS] = {7, LIMIT_KEEP, 1000, LIMIT_KEEP, LIMIT_OF_SITE};
    assert_int_equal(run(f, set_limits, values), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(run(f, make_ada, NULL), 0);
    assert_int_equal(run(f, set_limits, values), 0);
    struct limits ada = limits_now(f, "ada"), bob = limits_now(f, "bob");
    assert_int_equal(ada.value[LIMIT_QUEUED], 7);
    assert_true(ada.is_own[LIMIT_QUEUED] && !ada.is_own[LIMIT_RUNNING]);
    assert_int_equal(ada.value[LIMIT_RUNNING], 2);
    assert_int_equal(ada.value[LIMIT_STORED_BYTES], 1000);
    assert_int_equal(bob.value[LIMIT_QUEUED], 3);
    values[LIMIT_QUEUED] = LIMIT_OF_SITE;
    values[LIMIT_STORED_BYTES] = 0;
    assert_int_equal(run(f, set_limits, values), 0);
    ada = limits_now(f, "ada");
    assert_int_equal(ada.value[LIMIT_QUEUED], 3);
    assert_false(ada.is_own[LIMIT_QUEUED]);
    assert_int_equal(ada.value[LIMIT_STORED_BYTES], 0);
    assert_true(ada.is_own[LIMIT_STORED_BYTES]);
}

static int charge(struct db_writer *writer, void *arg, struct err *err)
{
    return limits_charge(writer, "ada", *(int64_t *)arg, err);
}

static int age(struct db_writer *writer, void *arg, struct err *err)
{
    return connection_run(&writer->connection, "UPDATE device_use SET hour = hour - ?1",
                          VALUES(value_integer(*(int64_t *)arg)), err);
}

/* Seven days roll: an hour counts until it is 168 hours old. */
static void test_week(void **state)
{
    struct fixture *f = *state;
    int64_t ms = HOUR_MS / 2, hours = 100, more = 67, last = 1;
    assert_int_equal(run(f, charge, &ms), 0);
    assert_int_equal(run(f, age, &hours), 0);
    assert_int_equal(run(f, charge, &ms), 0);
    assert_true(limits_now(f, "ada").present[LIMIT_DEVICE_HOURS] == 1);
    assert_int_equal(run(f, age, &more), 0);
    assert_true(limits_now(f, "ada").present[LIMIT_DEVICE_HOURS] == 1);
    assert_int_equal(run(f, age, &last), 0);
    assert_true(limits_now(f, "ada").present[LIMIT_DEVICE_HOURS] == 0.5);
    assert_true(limits_now(f, "bob").present[LIMIT_DEVICE_HOURS] == 0);
    /* The hours before are forgotten with the next charge. */
    int64_t rows;
    assert_int_equal(run(f, charge, &ms), 0);
    assert_int_equal(connection_integer(&f->reader->connection, "SELECT count(*) FROM device_use",
                                        NO_VALUES, 0, &rows, &f->err),
                     0);
    assert_int_equal(rows, 2);
}

static int count_files(struct db_writer *writer, void *arg, struct err *err)
{
    return usage_measured(writer, "one", *(int64_t *)arg, err);
}

static int append(struct db_writer *writer, struct call *call, struct err *err)
{
    static double values[5 * 1000];
    static const float tokens[15];
    const int size = record_size(2);
    assert_true(5 * size <= (int)(sizeof values / sizeof *values));
    return epochs_append(writer, call->id, call->from, call->n, values, size, tokens, 3, err);
}

static int append_made_up(struct fixture *f, const char *id, int64_t from, int n)
{
    struct call call = {.body = append, .id = id, .from = from, .n = n};
    return call_run(f, &call);
}

static int body_delete(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_delete(writer, call->id, err);
}

static int delete_job(struct fixture *f, const char *id)
{
    struct call call = {.body = body_delete, .id = id};
    return call_run(f, &call);
}

/* Records, files and texts are stored; what is deleted does not count. */
static void test_stored_bytes(void **state)
{
    struct fixture *f = *state;
    struct job job = job_example("one");
    const int64_t row = epochs_row_bytes(job.n_groups, job.n_tokens);
    int64_t files = 5000;
    job.user = "ada";
    assert_int_equal(insert(f, &job), 0);
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(append_made_up(f, "one", 0, 3), 0);
    assert_true(limits_now(f, "ada").present[LIMIT_STORED_BYTES] == (double)(3 * row));
    assert_int_equal(append_made_up(f, "one", 1, 3), 0); /* two of them are replayed */
    assert_int_equal(run(f, count_files, &files), 0);
    assert_true(limits_now(f, "ada").present[LIMIT_STORED_BYTES] == (double)(4 * row + 5000));
    files = 70;
    assert_int_equal(run(f, count_files, &files), 0);
    assert_int_equal(finish(f, "one", JOB_END_FAILED), 0);
    assert_int_equal(request(f, "one", JOB_RESTART), 0);
    assert_true(limits_now(f, "ada").present[LIMIT_STORED_BYTES] == 70);
    assert_true(limits_now(f, "bob").present[LIMIT_STORED_BYTES] == 0);
    assert_int_equal(request(f, "one", JOB_CANCEL), 0);
    assert_int_equal(delete_job(f, "one"), 0);
    assert_true(limits_now(f, "ada").present[LIMIT_STORED_BYTES] == 0);
}

static void test_admission(void **state)
{
    struct fixture *f = *state;
    struct limits limits = {
        .user = "ada", .value = {10, 0, 1000, 0, 50}, .present = {8, 0, 600, 0, 0}};
    struct limits_ask asks[3] = {{100, 10}, {100, 10}, {100, 10}};
    assert_int_equal(limits_admit(&limits, asks, 2, &f->err), 0);
    assert_int_equal(limits_admit(&limits, asks, 3, &f->err), -1);
    assert_int_equal(f->err.code, ERR_TOO_MANY);
    assert_string_equal(f->err.limit.name, "queued");
    assert_int_equal(f->err.limit.fits, 2);
    assert_true(f->err.limit.value == 10 && f->err.limit.present == 8 && f->err.limit.asked == 3);
    asks[1].stored_bytes = 301;
    assert_int_equal(limits_admit(&limits, asks, 2, &f->err), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT);
    assert_string_equal(f->err.limit.name, "stored_bytes");
    assert_int_equal(f->err.limit.fits, 1);
    asks[0].memory_bytes = 51;
    assert_int_equal(limits_admit(&limits, asks, 2, &f->err), -1);
    assert_string_equal(f->err.limit.name, "largest_bytes");
    assert_true(f->err.limit.asked == 51);
    memset(limits.value, 0, sizeof limits.value);
    assert_int_equal(limits_admit(&limits, asks, 3, &f->err), 0);
}

static void test_start(void **state)
{
    (void)state;
    static const struct {
        int64_t value[LIMITS];
        double present[LIMITS];
        int running, memory, may, own;
        const char *word;
    } cases[] = {
        {{0}, {0, 9, 9, 9}, 9, 9, 1, 0, ""},
        {{[LIMIT_RUNNING] = 2}, {0}, 1, 9, 1, 0, ""},
        {{[LIMIT_RUNNING] = 2}, {0}, 2, 9, 0, 0, "(running) is 2"},
        {{[LIMIT_STORED_BYTES] = 9}, {0, 0, 8}, 0, 9, 1, 0, ""},
        {{[LIMIT_STORED_BYTES] = 9}, {0, 0, 9}, 0, 9, 0, 0, "(stored_bytes) is 9"},
        {{[LIMIT_DEVICE_HOURS] = 1}, {0, 0, 0, 0.99}, 0, 9, 1, 0, ""},
        {{[LIMIT_DEVICE_HOURS] = 1}, {0, 0, 0, 1}, 0, 9, 0, 0, "(device_hours) is 1"},
        {{[LIMIT_LARGEST_BYTES] = 9}, {0}, 0, 9, 1, 0, ""},
        {{[LIMIT_LARGEST_BYTES] = 9}, {0}, 0, 10, 0, 1, "(largest_bytes) is 9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct limits limits = {.user = "ada"};
        char why[200] = "";
        int is_its_own;
        memcpy(limits.value, cases[i].value, sizeof limits.value);
        memcpy(limits.present, cases[i].present, sizeof limits.present);
        assert_int_equal(limits_may_run(&limits, cases[i].running, cases[i].memory, why, sizeof why,
                                        &is_its_own),
                         cases[i].may);
        assert_int_equal(is_its_own, cases[i].own);
        assert_non_null(strstr(why, cases[i].word));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_own_and_of_the_site), test(test_week),
        test(test_stored_bytes),        test(test_admission),
        cmocka_unit_test(test_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
