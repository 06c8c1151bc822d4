/* What is learned of the times of jobs, and the queue with it. */
#include "tests/unit/db_fixture.h"

#include <math.h>

#include "db/step_times.h"

static void insert_job(struct fixture *f, const char *id, const char *shape, int priority)
{
    struct job job = job_example(id);
    job.priority = priority;
    job.work.cost = 10;
    snprintf(job.work.shape, sizeof job.work.shape, "%s", shape);
    assert_int_equal(insert(f, &job), 0);
}

/* `number` ms for `n` epochs. */
static int body_learn(struct db_writer *writer, struct call *call, struct err *err)
{
    return step_times_add(writer, call->id, call->text, (double)call->number / 1e3, call->n, 2, 1,
                          err);
}

static void learn(struct fixture *f, const char *id, const char *device, int64_t ms, int epochs)
{
    struct call call = {.body = body_learn, .id = id, .text = device, .number = ms, .n = epochs};
    assert_int_equal(call_run(f, &call), 0);
}

static struct step_times times_of(struct fixture *f, const char *shape, const char *device)
{
    struct step_times times;
    assert_int_equal(step_times_get(f->reader, shape, device, &times, &f->err), 0);
    return times;
}

static int about(double seconds, const struct step_times *times)
{
    return fabs(exp(times->mean) - seconds) < 0.01 * seconds;
}

static void test_learn(void **state)
{
    struct fixture *f = *state;
    struct job_work work;
    insert_job(f, "one", "narrow", 0);
    insert_job(f, "two", "wide", 0);
    insert_job(f, "old", "", 0); /* of a server that did not count */
    assert_int_equal(step_times_work(f->reader, "one", &work, &f->err), 0);
    assert_string_equal(work.shape, "narrow");
    assert_true(work.cost == 10);
    assert_int_equal(step_times_work(f->reader, "old", &work, &f->err), 0);
    assert_string_equal(work.shape, "");
    assert_true(times_of(f, "narrow", "cpu").weight == 0);

    learn(f, "one", "cpu", 20000, 20); /* 0.1 s a billion */
    learn(f, "two", "cpu", 80000, 20); /* 0.4 s */
    learn(f, "old", "cpu", 5000, 20);
    struct step_times times = times_of(f, "narrow", "cpu");
    assert_true(about(0.1, &times) && times.start == 2 && times.stop == 1);
    const double sure = times.variance;
    times = times_of(f, "other", "cpu"); /* the mean of the others, less sure */
    assert_true(about(0.2, &times) && times.variance > sure);
    assert_true(times_of(f, "narrow", "cuda:0").weight == 0);
    for (int i = 0; i < 20; i++) /* the machine has become faster */
        learn(f, "one", "cpu", 10000, 20);
    times = times_of(f, "narrow", "cpu");
    assert_true(exp(times.mean) > 0.049 && exp(times.mean) < 0.06);
}

struct seen {
    char ids[64];
    double weights[8];
    int n, stop_at;
};

static int see(void *self, const struct job *job, const struct job_work *work,
               const struct step_times *times)
{
    struct seen *seen = self;
    strcat(strcat(seen->ids, job->id), " ");
    assert_string_equal(job->user, "local");
    assert_true(job->memory_bytes == 1000 && job->epochs == 5 && job->epoch == -1);
    assert_true(!work->shape[0] || work->cost == 10);
    seen->weights[seen->n++] = times->weight;
    return seen->n == seen->stop_at;
}

static void test_lane(void **state)
{
    struct fixture *f = *state;
    const struct job_lane lane = {.user = "local", .device = "auto"};
    struct seen seen = {.n = 0}, first = {.stop_at = 1};
    insert_job(f, "later", "narrow", 0);
    insert_job(f, "first", "wide", 5);
    insert_job(f, "last", "", -5);
    insert_job(f, "held", "wide", 0);
    assert_int_equal(request(f, "held", JOB_HOLD), 0);
    learn(f, "later", "cpu", 20000, 20);
    assert_int_equal(step_times_lane(f->reader, &lane, "cpu", see, &seen, &f->err), 0);
    assert_string_equal(seen.ids, "first later last ");
    assert_true(seen.weights[0] == 0 && seen.weights[1] > 0 && seen.weights[2] == 0);
    assert_int_equal(step_times_lane(f->reader, &lane, "cpu", see, &first, &f->err), 0);
    assert_string_equal(first.ids, "first ");
}

#define test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {test(test_learn), test(test_lane)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
