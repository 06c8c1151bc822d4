/* Epoch records: they are stored once; a replay with the same bits changes nothing, a
 * replay with other bits is refused. And the numbered events that announce them. */
#include "tests/unit/db_fixture.h"

#include <math.h>

#include "config/record.h"

enum { GROUPS = 2, TOKENS = 3, EPOCHS_MAX = 8 };

struct records {
    double values[EPOCHS_MAX][RECORD_SCALARS + GROUPS * RECORD_FIELDS];
    float tokens[EPOCHS_MAX][TOKENS];
};

static void fill(struct records *records)
{
    for (int e = 0; e < EPOCHS_MAX; e++) {
        for (int i = 0; i < record_size(GROUPS); i++)
            records->values[e][i] = i % 7 == 6 ? NAN : 1.0 / (e + 1) + i;
        for (int i = 0; i < TOKENS; i++)
            records->tokens[e][i] = (float)-e - (float)i / 3;
    }
}

static int body_append(struct db_writer *writer, struct call *call, struct err *err)
{
    return epochs_append(writer, call->id, call->from, call->n, call->values, call->n_values,
                         call->tokens, call->n_tokens, err);
}

static int append(struct fixture *f, const struct records *records, int64_t from, int n)
{
    int64_t row = from >= 0 && from < EPOCHS_MAX ? from : 0;
    struct call call = {.body = body_append,
                        .id = "one",
                        .from = from,
                        .n = n,
                        .values = records->values[row],
                        .n_values = record_size(GROUPS),
                        .tokens = records->tokens[row],
                        .n_tokens = TOKENS};
    return call_run(f, &call);
}

struct check {
    const struct records *records;
    int64_t next, stop_after;
};

static int check_row(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    struct check *check = self;
    assert_int_equal(epoch, check->next++);
    assert_int_equal(n_values, record_size(GROUPS));
    assert_int_equal(n_tokens, TOKENS);
    assert_memory_equal(values, check->records->values[epoch], (size_t)n_values * sizeof *values);
    assert_memory_equal(tokens, check->records->tokens[epoch], (size_t)n_tokens * sizeof *tokens);
    return check->next > check->stop_after;
}

static int64_t read_from(struct fixture *f, const struct records *records, int64_t from, int64_t to,
                         int64_t stop_after)
{
    struct check check = {records, from, stop_after};
    assert_int_equal(epochs_read(f->reader, "one", from, to, check_row, &check, &f->err), 0);
    return check.next - from;
}

static int count_epoch_events(void *self, const struct event *event)
{
    int64_t *range = self;
    if (strcmp(event->type, "epoch") != 0)
        return 0;
    assert_string_equal(event->job, "one");
    assert_null(event->data);
    assert_true(event->from == range[1] + 1 && event->to >= event->from);
    range[0]++;
    range[1] = event->to;
    return 0;
}

/* Number of epoch events; *last: the newest epoch that they announce. Their ranges
 * must follow each other without a gap. */
static int64_t epoch_events(struct fixture *f, int64_t *last)
{
    int64_t range[2] = {0, -1};
    assert_int_equal(events_read(f->reader, 0, NULL, 1000, count_epoch_events, range, &f->err), 0);
    *last = range[1];
    return range[0];
}

static void test_append_and_read(void **state)
{
    struct fixture *f = *state;
    struct records records;
    int64_t last;
    fill(&records);
    insert_example(f, "one");
    assert_int_equal(append(f, &records, 0, 1), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT); /* not running */
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(append(f, &records, 0, 1), 0);
    assert_int_equal(append(f, &records, 1, 3), 0);
    struct job *job = get(f, "one");
    assert_int_equal(job->epoch, 3);
    assert_true(job->loss == records.values[3][RECORD_LOSS]);
    job_free(job);
    assert_int_equal(read_from(f, &records, 0, 100, 100), 4);
    assert_int_equal(read_from(f, &records, 1, 2, 100), 2);
    assert_int_equal(read_from(f, &records, 0, 100, 2), 3 - 1 + 1);
    assert_int_equal(epoch_events(f, &last), 2);
    assert_int_equal(last, 3);
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    struct records records;
    fill(&records);
    insert_example(f, "one"); /* five epochs: records 0..5 */
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(append(f, &records, 1, 1), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT); /* a gap */
    assert_int_equal(append(f, &records, -1, 1), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT);
    assert_int_equal(append(f, &records, 0, 0), -1);
    assert_int_equal(append(f, &records, 0, 7), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT); /* beyond the last */
    struct call call = {.body = body_append,
                        .id = "one",
                        .n = 1,
                        .values = records.values[0],
                        .n_values = record_size(GROUPS) - 1,
                        .tokens = records.tokens[0],
                        .n_tokens = TOKENS};
    assert_int_equal(call_run(f, &call), -1);
    assert_int_equal(f->err.code, ERR_PROTOCOL);
    call.n_values++;
    call.n_tokens--;
    assert_int_equal(call_run(f, &call), -1);
    assert_int_equal(f->err.code, ERR_PROTOCOL);
    call.n_tokens++;
    call.id = "nobody";
    assert_int_equal(call_run(f, &call), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(read_from(f, &records, 0, 100, 100), 0);
    assert_int_equal(append(f, &records, 0, 6), 0);
}

static void test_replay(void **state)
{
    struct fixture *f = *state;
    struct records records, replayed;
    int64_t last;
    fill(&records);
    fill(&replayed);
    insert_example(f, "one");
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(append(f, &records, 0, 4), 0);
    assert_int_equal(finish(f, "one", JOB_END_FAULT), 0);
    assert_int_equal(claim(f, "one"), 0);

    /* The rate may differ, and all NaNs count as equal. */
    for (int e = 0; e < EPOCHS_MAX; e++)
        replayed.values[e][RECORD_TOKENS_PER_SECOND] = 5;
    replayed.values[2][6] = -NAN;
    assert_int_equal(append(f, &replayed, 2, 1), 0);
    assert_int_equal(epoch_events(f, &last), 1); /* neither stored nor announced again */
    assert_int_equal(read_from(f, &records, 0, 3, 100), 4);

    /* One replayed and one new epoch: only the new one is announced. */
    assert_int_equal(append(f, &records, 3, 2), 0);
    assert_int_equal(epoch_events(f, &last), 2);
    assert_int_equal(last, 4);

    replayed.values[4][RECORD_LOSS] = nextafter(replayed.values[4][RECORD_LOSS], 9);
    assert_int_equal(append(f, &replayed, 3, 3), -1);
    assert_int_equal(f->err.code, ERR_NONDETERMINISTIC);
    assert_non_null(strstr(f->err.message, "epoch 4"));
    assert_int_equal(read_from(f, &records, 0, 100, 100), 5); /* 5 was not stored either */

    fill(&replayed);
    replayed.tokens[3][1] = nextafterf(replayed.tokens[3][1], 0);
    assert_int_equal(append(f, &replayed, 3, 1), -1);
    assert_int_equal(f->err.code, ERR_NONDETERMINISTIC);
}

static void test_restart_starts_anew(void **state)
{
    struct fixture *f = *state;
    struct records records;
    int64_t last;
    fill(&records);
    insert_example(f, "one");
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(append(f, &records, 0, 4), 0);
    assert_int_equal(finish(f, "one", JOB_END_FAILED), 0);
    assert_int_equal(request(f, "one", JOB_RESTART), 0);
    struct job *job = get(f, "one");
    assert_int_equal(job->epoch, -1);
    assert_int_equal(job->attempt, 2);
    assert_int_equal(job->started_at, 0);
    assert_int_equal(job->finished_at, 0);
    assert_null(job->error);
    assert_null(job->provenance);
    assert_string_equal(job->device, "auto");
    assert_true(isnan(job->loss));
    job_free(job);
    assert_int_equal(read_from(f, &records, 0, 100, 100), 0);
    assert_int_equal(epoch_events(f, &last), 0);
    assert_int_equal(claim(f, "one"), 0);
    records.values[0][0] += 1;
    assert_int_equal(append(f, &records, 0, 2), 0);
    assert_int_equal(epoch_events(f, &last), 1);
}

/* A retry is the requeue of a job that has ended: what was stored stays, and what is computed
 * again is held to it. Without records there is nothing to go on from. */
static void test_retry_goes_on(void **state)
{
    struct fixture *f = *state;
    struct records records;
    int64_t last;
    fill(&records);
    insert_example(f, "one");
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(script(f, "UPDATE job_texts SET provenance = '{\"isa\":\"a\"}'"), 0);
    assert_int_equal(append(f, &records, 0, 4), 0);
    struct job *before = get(f, "one");
    assert_int_equal(finish(f, "one", JOB_END_FAILED), 0);
    assert_int_equal(request(f, "one", JOB_RETRY), 0);
    struct job *job = get(f, "one");
    assert_int_equal(job->state, JOB_QUEUED);
    assert_int_equal(job->epoch, 3);
    assert_int_equal(job->attempt, 2);
    assert_true(job->started_at == before->started_at && job->finished_at == 0);
    assert_true(job->loss == before->loss);
    assert_null(job->error);
    assert_string_equal(job->provenance, "{\"isa\":\"a\"}");
    assert_string_equal(job->device, "cpu");
    job_free(job);
    job_free(before);
    assert_int_equal(read_from(f, &records, 0, 100, 100), 4);
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(append(f, &records, 2, 3), 0);
    assert_int_equal(epoch_events(f, &last), 2);
    assert_int_equal(last, 4);
    records.values[4][0] += 1;
    assert_int_equal(append(f, &records, 4, 1), -1);
    assert_int_equal(f->err.code, ERR_NONDETERMINISTIC);

    insert_example(f, "two");
    assert_int_equal(claim(f, "two"), 0);
    assert_int_equal(script(f, "UPDATE job_texts SET provenance = '{}'"), 0);
    assert_int_equal(finish(f, "two", JOB_END_FAILED), 0);
    assert_int_equal(request(f, "two", JOB_RETRY), 0);
    job = get(f, "two");
    assert_null(job->provenance);
    assert_string_equal(job->device, "auto");
    job_free(job);
}

static int keep_row(void *self, int64_t epoch, const double *values, int n_values,
                    const float *tokens, int n_tokens)
{
    (void)epoch;
    (void)tokens;
    assert_int_equal(n_tokens, TOKENS);
    assert_int_equal(n_values, record_size(GROUPS));
    memcpy(self, values, (size_t)n_values * sizeof *values);
    return 1;
}

/* A record of three scalars and two fields a group, as an older program would
 * have stored it, is read in the present layout. */
static void test_older_layout(void **state)
{
    struct fixture *f = *state;
    struct records records;
    double read[RECORD_SCALARS + GROUPS * RECORD_FIELDS];
    fill(&records);
    insert_example(f, "one");
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(append(f, &records, 0, 1), 0);
    assert_int_equal(script(f, "UPDATE jobs SET record_scalars = 3, record_fields = 2;"
                               "UPDATE epochs SET record = substr(record, 1, 56)"),
                     0);
    assert_int_equal(epochs_read(f->reader, "one", 0, 0, keep_row, read, &f->err), 0);
    assert_true(read[0] == records.values[0][0] && read[2] == records.values[0][2]);
    assert_true(isnan(read[RECORD_TOKENS_PER_SECOND]));
    assert_true(read[record_at(0, RECORD_MEAN_LOGP_NONE)] == records.values[0][3]);
    assert_true(read[record_at(1, RECORD_MEAN_LOGP_NONE)] == records.values[0][5]);
    assert_true(isnan(read[record_at(1, RECORD_INPUT_SHIFT)]));
    assert_int_equal(script(f, "UPDATE epochs SET record = substr(record, 1, 48)"), 0);
    assert_int_equal(epochs_read(f->reader, "one", 0, 0, keep_row, read, &f->err), -1);
    assert_int_equal(f->err.code, ERR_CORRUPT);
}

struct seen {
    int n;
    int64_t last, sum;
};

static int see(void *self, const struct event *event)
{
    struct seen *seen = self;
    assert_true(event->id > seen->last);
    seen->last = event->id;
    seen->n++;
    seen->sum += event->id;
    return 0;
}

static void test_events_resume(void **state)
{
    struct fixture *f = *state;
    int64_t oldest, newest;
    assert_int_equal(events_range(f->reader, &oldest, &newest, &f->err), 0);
    assert_int_equal(oldest, 0);
    assert_int_equal(newest, 0);
    insert_example(f, "one");
    insert_example(f, "two");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(claim(f, "one"), 0);
        assert_int_equal(finish(f, "one", JOB_END_REQUEUE), 0);
    }
    struct seen whole = {0}, parts = {0}, filtered = {0}, none = {0};
    assert_int_equal(events_read(f->reader, 0, NULL, 1000, see, &whole, &f->err), 0);
    assert_int_equal(whole.n, 12);
    /* Read in pages of five; each starts after the last id of the page before. */
    for (int page = 0; page < 3; page++)
        assert_int_equal(events_read(f->reader, parts.last, NULL, 5, see, &parts, &f->err), 0);
    assert_int_equal(parts.n, whole.n);
    assert_int_equal(parts.sum, whole.sum);
    assert_int_equal(events_read(f->reader, 0, "x,two,y", 1000, see, &filtered, &f->err), 0);
    assert_int_equal(filtered.n, 1);
    assert_int_equal(script(f, "INSERT INTO events (type, job, epoch_first, epoch_last)"
                               " VALUES ('device', '', 0, 0)"),
                     0);
    assert_int_equal(events_read(f->reader, 0, "tw,two2,xone", 1000, see, &none, &f->err), 0);
    assert_int_equal(none.n, 0);
    assert_int_equal(events_range(f->reader, &oldest, &newest, &f->err), 0);
    assert_int_equal(oldest, 1);
    assert_int_equal(newest, whole.last + 1);
}

static int body_events(struct db_writer *writer, struct call *call, struct err *err)
{
    for (int i = 0; i < call->n; i++)
        if (events_add(writer, "device", "", 0, 0, "{}", err) < 0)
            return -1;
    return 0;
}

static void test_events_are_pruned(void **state)
{
    struct fixture *f = *state;
    int64_t oldest, newest;
    struct call call = {.body = body_events, .n = 10};
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(script(f, "UPDATE sqlite_sequence SET seq = 1000990 WHERE name = 'events'"),
                     0);
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(events_range(f->reader, &oldest, &newest, &f->err), 0);
    assert_int_equal(newest, 1001000);
    assert_int_equal(oldest, 1000991); /* 1..10 are older than EVENTS_KEPT */
    /* Ids are not used again when all events are deleted. */
    assert_int_equal(script(f, "DELETE FROM events"), 0);
    assert_int_equal(events_range(f->reader, &oldest, &newest, &f->err), 0);
    assert_int_equal(oldest, 0);
    assert_int_equal(newest, 1001000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_append_and_read),     test(test_refused),           test(test_replay),
        test(test_restart_starts_anew), test(test_retry_goes_on),     test(test_older_layout),
        test(test_events_resume),       test(test_events_are_pruned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
