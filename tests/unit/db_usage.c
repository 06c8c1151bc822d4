/* The ledger of use: its sums are those of the jobs, it outlives them, it is folded. */
#include "tests/unit/db_fixture.h"

#include "config/record.h"
#include "db/usage.h"

static int body_charge(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_charge(writer, call->id, call->number, 0, 0, err);
}

static void charge(struct fixture *f, const char *id, int64_t ms)
{
    struct call call = {.body = body_charge, .id = id, .number = ms};
    assert_int_equal(call_run(f, &call), 0);
}

static int body_delete(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_delete(writer, call->id, err);
}

static int body_stored(struct db_writer *writer, struct call *call, struct err *err)
{
    return usage_measured(writer, call->id, call->number, err) < 0 ? -1 : usage_stored(writer, err);
}

static int body_fold(struct db_writer *writer, struct call *call, struct err *err)
{
    const int folded = usage_fold(writer, call->number, err);
    call->n += folded > 0;
    return folded < 0 ? -1 : 0;
}

/* What was read, one line for each row. */
static int note(void *self, const struct usage *usage)
{
    char *text = self, line[256];
    snprintf(line, sizeof line,
             "%s%s %s %s %s %s=%lld of %lld jobs %lld ends %lld %lld %lld %lld\n",
             usage->is_first ? "" : "+", usage->key, usage->name ? usage->name : "-",
             usage->user ? usage->user : "-", usage->state ? usage->state : "-",
             usage->device ? usage->device : "-", (long long)usage->device_ms,
             (long long)usage->total_ms, (long long)usage->jobs, (long long)usage->succeeded,
             (long long)usage->failed, (long long)usage->cancelled, (long long)usage->stored_bytes);
    strcat(text, line);
    return 0;
}

static void check(struct fixture *f, enum usage_by by, const char *user, const char *wanted)
{
    const struct usage_filter filter = {
        .by = by, .since = USAGE_FIRST_DAY, .until = USAGE_LAST_DAY, .user = user, .limit = 100};
    char text[4096] = "";
    assert_int_equal(usage_read(f->reader, &filter, note, text, &f->err), 0);
    assert_string_equal(text, wanted);
}

static void insert_of(struct fixture *f, const char *id, const char *user)
{
    struct job job = job_example(id);
    job.user = (char *)user;
    assert_int_equal(insert(f, &job), 0);
}

static void test_ledger(void **state)
{
    struct fixture *f = *state;
    insert_of(f, "one", "ada");
    insert_of(f, "two", "ada");
    insert_of(f, "three", "bob");
    assert_int_equal(claim(f, "one"), 0);
    charge(f, "one", 1000);
    charge(f, "one", 500);
    assert_int_equal(finish(f, "one", JOB_END_SLICED), 0);
    check(f, USAGE_USER, NULL,
          "ada - - - cpu=1500 of 1500 jobs 1 ends 0 0 0 0\n"
          "bob - - - -=0 of 0 jobs 0 ends 0 0 0 0\n");
    assert_int_equal(claim(f, "one"), 0);
    charge(f, "one", 250);
    assert_int_equal(finish(f, "one", JOB_END_FAILED), 0);
    assert_int_equal(request(f, "one", JOB_RESTART), 0);
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(script(f, "UPDATE jobs SET device = 'cuda:0' WHERE id = 'one'"), 0);
    charge(f, "one", 4000);
    assert_int_equal(finish(f, "one", JOB_END_SUCCEEDED), 0);
    assert_int_equal(request(f, "two", JOB_CANCEL), 0);
    assert_int_equal(claim(f, "three"), 0);
    charge(f, "three", 6000);

    struct job *one = get(f, "one");
    assert_int_equal(one->device_ms, 5750);
    job_free(one);
    check(f, USAGE_JOB, NULL,
          "three gulliver bob running cpu=6000 of 6000 jobs 1 ends 0 0 0 0\n"
          "one gulliver ada succeeded cpu=1750 of 5750 jobs 1 ends 1 1 0 0\n"
          "+one gulliver ada succeeded cuda:0=4000 of 5750 jobs 1 ends 1 1 0 0\n"
          "two gulliver ada cancelled -=0 of 0 jobs 1 ends 0 0 1 0\n");
    check(f, USAGE_ALL, "ada",
          " - - - cpu=1750 of 5750 jobs 2 ends 1 1 1 0\n"
          "+ - - - cuda:0=4000 of 5750 jobs 2 ends 1 1 1 0\n");

    /* A deleted job is still in the sums; it takes nothing. */
    struct call stored = {.body = body_stored, .id = "one", .number = 70};
    assert_int_equal(call_run(f, &stored), 0);
    check(f, USAGE_ALL, "ada",
          " - - - cpu=1750 of 5750 jobs 2 ends 1 1 1 70\n"
          "+ - - - cuda:0=4000 of 5750 jobs 2 ends 1 1 1 70\n");
    struct call gone = {.body = body_delete, .id = "one"};
    assert_int_equal(call_run(f, &gone), 0);
    check(f, USAGE_JOB, "ada",
          "one - ada - cpu=1750 of 5750 jobs 1 ends 1 1 0 0\n"
          "+one - ada - cuda:0=4000 of 5750 jobs 1 ends 1 1 0 0\n"
          "two gulliver ada cancelled -=0 of 0 jobs 1 ends 0 0 1 0\n");
}

/* Days of long ago: what single jobs have had is folded, the sums of users and days stay. */
static void test_fold(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(script(f, "INSERT INTO usage (day, job, user, device, device_ms, succeeded)"
                               " VALUES (10, 'a', 'ada', 'cpu', 100, 1),"
                               " (10, 'b', 'ada', 'cpu', 20, 0), (10, 'b', 'ada', 'cuda:0', 3, 1),"
                               " (10, 'c', 'bob', 'cpu', 50, 0), (11, 'a', 'ada', 'cpu', 7, 0),"
                               " (12, 'a', 'ada', 'cpu', 9, 0);"
                               "INSERT INTO usage_stored VALUES (11, 'ada', 5), (11, 'bob', 6)"),
                     0);
    static const char days[] = "10 - - - cpu=170 of 173 jobs 3 ends 2 0 0 -1\n"
                               "+10 - - - cuda:0=3 of 173 jobs 3 ends 2 0 0 -1\n"
                               "11 - - - cpu=7 of 7 jobs 1 ends 0 0 0 11\n"
                               "12 - - - cpu=9 of 9 jobs 1 ends 0 0 0 -1\n";
    check(f, USAGE_DAY, NULL, days);
    struct call fold = {.body = body_fold, .number = 12};
    for (int i = 0; i < 4; i++)
        assert_int_equal(call_run(f, &fold), 0);
    assert_int_equal(fold.n, 2);
    check(f, USAGE_DAY, NULL, days);
    check(f, USAGE_JOB, NULL,
          " - - - cpu=177 of 180 jobs 4 ends 2 0 0 0\n"
          "+ - - - cuda:0=3 of 180 jobs 4 ends 2 0 0 0\n"
          "a - ada - cpu=9 of 9 jobs 1 ends 0 0 0 0\n");
    const struct usage_filter skip = {
        .by = USAGE_DAY, .since = 10, .until = 11, .user = "ada", .limit = 1, .skip = 1};
    char text[512] = "";
    assert_int_equal(usage_read(f->reader, &skip, note, text, &f->err), 0);
    assert_string_equal(text, "11 - - - cpu=7 of 7 jobs 1 ends 0 0 0 5\n");
}

/* The bytes of records follow what is appended and what a restart drops. */
int main(void)
{
    const struct CMUnitTest tests[] = {test(test_ledger), test(test_fold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
