/* Announcements of what goes: the notice, what protects a job, what is looked at again. */
#include "tests/unit/db_fixture.h"

#include "db/history.h"
#include "db/retention.h"

enum { NOTICE = 700, NOW = 1000 };

static int body_announce(struct db_writer *writer, struct call *call, struct err *err)
{
    const struct retention_item item = {
        .seq = call->n, .part = (enum retention_part)call->existing, .bytes = 5, .due = call->from};
    return retention_announce(writer, &item, NOTICE, call->number, err);
}

static int body_forget(struct db_writer *writer, struct call *call, struct err *err)
{
    return retention_forget(writer, call->number, err);
}

static int body_take(struct db_writer *writer, struct call *call, struct err *err)
{
    call->n =
        retention_take(writer, call->id, (enum retention_part)call->existing, call->number, err);
    return call->n < 0 ? -1 : 0;
}

static void announce(struct fixture *f, int seq, enum retention_part part, int64_t due, int64_t now)
{
    struct call call = {
        .body = body_announce, .n = seq, .existing = (int)part, .from = due, .number = now};
    assert_int_equal(call_run(f, &call), 0);
}

static int take(struct fixture *f, const char *id, enum retention_part part, int64_t now)
{
    struct call call = {.body = body_take, .id = id, .existing = (int)part, .number = now};
    assert_int_equal(call_run(f, &call), 0);
    return call.n;
}

static int note(void *self, const struct retention_row *row)
{
    char *text = self;
    sprintf(text + strlen(text), "%s %s %lld; ", row->id, retention_part_name(row->item.part),
            (long long)row->item.due);
    return 0;
}

static void check(struct fixture *f, int64_t due_until, const char *wanted)
{
    const struct retention_filter filter = {.due_until = due_until, .limit = 100};
    char text[512] = "";
    assert_int_equal(retention_list(f->reader, &filter, note, text, &f->err), 0);
    assert_string_equal(text, wanted);
}

static void end(struct fixture *f, const char *id, enum job_end how)
{
    assert_int_equal(claim(f, id), 0);
    assert_int_equal(finish(f, id, how), 0);
}

/* The jobs that may lose something. */
static void check_jobs(struct fixture *f, const char *wanted)
{
    struct retention_job job = {0};
    char ids[64] = "";
    int found;
    while ((found = retention_next_job(f->reader, &job, &f->err)) > 0)
        strcat(ids, job.id);
    assert_int_equal(found, 0);
    assert_string_equal(ids, wanted);
}

static void test_protected(void **state)
{
    struct fixture *f = *state;
    struct job child = job_example("C");
    child.spec = "{\"init_from\":\"A\",\"train\":{}}";
    insert_example(f, "A");
    insert_example(f, "B");
    check_jobs(f, "");
    end(f, "A", JOB_END_SUCCEEDED);
    end(f, "B", JOB_END_FAILED);
    check_jobs(f, "AB");
    assert_int_equal(insert(f, &child), 0);
    check_jobs(f, "B");
    end(f, "C", JOB_END_SUCCEEDED);
    check_jobs(f, "BC");
    assert_int_equal(script(f, "UPDATE jobs SET pinned = 1 WHERE id = 'C'"), 0);
    check_jobs(f, "B");
    assert_int_equal(request(f, "B", JOB_RETRY), 0);
    check_jobs(f, "");
}

/* The notice counts from the first announcement, and a later time of the rules holds. */
static void test_notice(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "A");
    end(f, "A", JOB_END_SUCCEEDED);
    announce(f, 1, RETENTION_MODELS, 10, NOW);
    check(f, 0, "A models 1700; ");
    announce(f, 1, RETENTION_MODELS, NOW + 500, NOW + 500);
    check(f, 0, "A models 1700; ");
    announce(f, 1, RETENTION_MODELS, 5000, NOW + 600);
    check(f, 0, "A models 5000; ");
    announce(f, 1, RETENTION_JOB, 10, NOW + 600);
    check(f, 4999, "A job 2300; ");
    struct call forget = {.body = body_forget, .number = NOW + 601};
    assert_int_equal(call_run(f, &forget), 0);
    check(f, 0, "");
}

static int last_action(void *self, const struct history *entry)
{
    snprintf(self, 128, "%s %s", entry->action, entry->detail ? entry->detail : "-");
    return 1;
}

static void test_take(void **state)
{
    struct fixture *f = *state;
    const struct history_filter newest = {
        .kind = "job", .object = "A", .newest_first = 1, .limit = 1};
    char last[128];
    insert_example(f, "A");
    end(f, "A", JOB_END_FAILED);
    announce(f, 1, RETENTION_STATE, 10, NOW);
    announce(f, 1, RETENTION_JOB, 10, NOW);
    assert_int_equal(take(f, "A", RETENTION_STATE, NOW + NOTICE - 1), 0);
    assert_int_equal(take(f, "A", RETENTION_MODELS, NOW + NOTICE), 0);
    assert_int_equal(script(f, "UPDATE jobs SET pinned = 1"), 0);
    assert_int_equal(take(f, "A", RETENTION_STATE, NOW + NOTICE), 0);
    assert_int_equal(script(f, "UPDATE jobs SET pinned = 0"), 0);
    assert_int_equal(take(f, "A", RETENTION_STATE, NOW + NOTICE), 1);
    assert_int_equal(history_read(f->reader, &newest, last_action, last, &f->err), 0);
    assert_string_equal(last, "retention state, 5 bytes");
    assert_int_equal(take(f, "A", RETENTION_STATE, NOW + NOTICE), 0);
    assert_int_equal(request(f, "A", JOB_RETRY), 0);
    assert_int_equal(take(f, "A", RETENTION_JOB, NOW + NOTICE), 0);
    end(f, "A", JOB_END_SUCCEEDED);
    assert_int_equal(take(f, "A", RETENTION_JOB, NOW + NOTICE), 1);
    struct job *job = NULL;
    assert_int_equal(job_get(f->reader, "A", &job, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    check(f, 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {test(test_protected), test(test_notice), test(test_take)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
