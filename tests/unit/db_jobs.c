/* The queue: every transition of every state, compare-and-swap, idempotent
 * submission, lists, deletion, and the running jobs after a restart. */
#include "tests/unit/db_fixture.h"

#include "db/history.h"

#include <math.h>

#include "db/shortages.h"

static const char *const ways[JOB_STATES] = {
    [JOB_QUEUED] = "",      [JOB_HELD] = "h",    [JOB_RUNNING] = "r",
    [JOB_SUCCEEDED] = "rs", [JOB_FAILED] = "rf", [JOB_CANCELLED] = "c",
};

/* Bring a queued job into a state by the steps in `ways`. */
static void walk(struct fixture *f, const char *id, enum job_state state)
{
    for (const char *step = ways[state]; *step; step++) {
        int result = *step == 'h'   ? request(f, id, JOB_HOLD)
                     : *step == 'c' ? request(f, id, JOB_CANCEL)
                     : *step == 'r' ? claim(f, id)
                     : *step == 's' ? finish(f, id, JOB_END_SUCCEEDED)
                                    : finish(f, id, JOB_END_FAILED);
        assert_int_equal(result, 0);
    }
    assert_int_equal(state_of(f, id), state);
}

static void bring(struct fixture *f, const char *id, enum job_state state)
{
    insert_example(f, id);
    walk(f, id, state);
}

/* The transitions of DESIGN section 3, written down independently of jobs.c. One
 * letter for each state before (queued held running succeeded failed cancelled): the
 * initial of the state after, '-' for a conflict. */
static const struct {
    const char *name;
    int kind, what; /* 0 request, 1 claim, 2 end */
    const char *after;
} expected[] = {
    {"cancel", 0, JOB_CANCEL, "ccr---"},           {"hold", 0, JOB_HOLD, "h-r---"},
    {"release", 0, JOB_RELEASE, "-q----"},         {"retry", 0, JOB_RETRY, "----qq"},
    {"restart", 0, JOB_RESTART, "----qq"},         {"claim", 1, 0, "r-----"},
    {"succeeded", 2, JOB_END_SUCCEEDED, "--s---"}, {"failed", 2, JOB_END_FAILED, "--f---"},
    {"cancelled", 2, JOB_END_CANCELLED, "--c---"}, {"requeue", 2, JOB_END_REQUEUE, "--q---"},
    {"fault", 2, JOB_END_FAULT, "--q---"},         {"sliced", 2, JOB_END_SLICED, "--q---"},
    {"limit", 2, JOB_END_LIMIT, "--h---"},
};

static void test_transitions(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        for (int before = 0; before < JOB_STATES; before++) {
            char id[DB_ID_MAX];
            snprintf(id, sizeof id, "%s-%d", expected[i].name, before);
            bring(f, id, (enum job_state)before);
            int result = expected[i].kind == 0 ? request(f, id, (enum job_request)expected[i].what)
                         : expected[i].kind == 1 ? claim(f, id)
                                                 : finish(f, id, (enum job_end)expected[i].what);
            char letter = expected[i].after[before];
            enum job_state after = state_of(f, id);
            if (letter == '-') {
                assert_int_equal(result, -1);
                assert_int_equal(f->err.code, ERR_CONFLICT);
                assert_non_null(strstr(f->err.message, job_state_name((enum job_state)before)));
                assert_int_equal(after, before);
            } else {
                assert_int_equal(result, 0);
                assert_int_equal(job_state_name(after)[0], letter);
            }
        }
    assert_int_equal(request(f, "nobody", JOB_CANCEL), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < JOB_STATES; i++)
        assert_int_equal(job_state_from_name(job_state_name((enum job_state)i)), i);
    assert_int_equal(job_state_from_name("sleeping"), -1);
}

static void test_insert_and_get(void **state)
{
    struct fixture *f = *state;
    struct job job = job_example("one");
    job.notes = "page \xc3\xa9";
    job.priority = 7;
    assert_int_equal(insert(f, &job), 0);
    struct job *read = get(f, "one");
    assert_string_equal(read->notes, "page \xc3\xa9");
    assert_string_equal(read->tags, "[\"a\",\"b\"]");
    assert_string_equal(read->spec, job.spec);
    assert_string_equal(read->precision, "fp32");
    assert_string_equal(read->group_names, job.group_names);
    assert_string_equal(read->corpus_sha256, "gulliver-synthetic");
    assert_int_equal(read->priority, 7);
    assert_int_equal(read->attempt, 1);
    assert_int_equal(read->epoch, -1);
    assert_int_equal(read->seq, job.seq);
    assert_true(read->submitted_at == job.submitted_at && read->submitted_at > 0);
    assert_true(isnan(read->loss));
    assert_null(read->error);
    assert_null(read->provenance);
    job_free(read);
    assert_int_equal(insert(f, &job), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT);
    assert_int_equal(job_get(f->reader, "two", &read, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
}

static int submit(struct fixture *f, struct job *job, const char *key, const char *body,
                  int *existing)
{
    struct call call = {
        .body = body_insert, .job = job, .key = key, .text = body, .number = 3, .existing = -1};
    int result = call_run(f, &call);
    *existing = call.existing;
    return result;
}

static void test_idempotency(void **state)
{
    struct fixture *f = *state;
    int existing;
    struct job first = job_example("first"), again = job_example("again");
    assert_int_equal(submit(f, &first, "key", "body", &existing), 0);
    assert_int_equal(existing, 0);
    assert_int_equal(submit(f, &again, "key", "body", &existing), 0);
    assert_int_equal(existing, 1);
    assert_string_equal(again.id, "first");

    struct job other = job_example("other");
    assert_int_equal(submit(f, &other, "key", "another body", &existing), -1);
    assert_int_equal(f->err.code, ERR_INVALID);
    assert_string_equal(f->err.fields[0].pointer, "/Idempotency-Key");
    other.user = "ada"; /* each user has an own key space */
    assert_int_equal(submit(f, &other, "key", "another body", &existing), 0);
    assert_int_equal(existing, 0);

    char key[202];
    memset(key, 'k', 201);
    key[201] = '\0';
    struct job third = job_example("third"), fourth = job_example("fourth");
    assert_int_equal(submit(f, &third, key, "body", &existing), -1);
    assert_int_equal(submit(f, &third, "", "body", &existing), -1);
    assert_int_equal(submit(f, &third, key + 1, "body", &existing), 0);

    /* The queue is full with three jobs; a repeated request still gets its answer. */
    assert_int_equal(submit(f, &fourth, NULL, NULL, &existing), -1);
    assert_int_equal(f->err.code, ERR_TOO_MANY);
    assert_int_equal(submit(f, &fourth, "key", "body", &existing), 0);
    assert_string_equal(fourth.id, "first");
    fourth = job_example("fourth");
    assert_int_equal(request(f, "third", JOB_CANCEL), 0);
    assert_int_equal(submit(f, &fourth, NULL, NULL, &existing), 0);
}

static int body_started(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_started(writer, call->id, call->text, 4711, err);
}

static int started(struct fixture *f, const char *id, const char *provenance)
{
    struct call call = {.body = body_started, .id = id, .text = provenance};
    return call_run(f, &call);
}

static void test_provenance_is_fixed(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one");
    assert_int_equal(started(f, "one", "{\"isa\":\"a\"}"), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT);
    assert_int_equal(claim(f, "one"), 0);
    struct job *job = get(f, "one");
    int64_t first_start = job->started_at;
    assert_true(first_start > 0);
    assert_string_equal(job->device, "cpu");
    job_free(job);

    /* The trainer has not said `started`: the job may go to another device. */
    assert_int_equal(finish(f, "one", JOB_END_REQUEUE), 0);
    job = get(f, "one");
    assert_string_equal(job->device, "auto");
    job_free(job);

    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(started(f, "one", "{\"isa\":\"a\"}"), 0);
    assert_int_equal(finish(f, "one", JOB_END_REQUEUE), 0);
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(started(f, "one", "{\"isa\":\"b\"}"), 0);
    job = get(f, "one");
    assert_string_equal(job->provenance, "{\"isa\":\"a\"}");
    assert_string_equal(job->device, "cpu");
    assert_int_equal(job->memory_bytes, 4711);
    assert_true(job->started_at == first_start);
    assert_int_equal(job->attempt, 1);
    job_free(job);
}

static void test_faults_use_up_attempts(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one");
    for (int fault = 1; fault <= 3; fault++) {
        assert_int_equal(claim(f, "one"), 0);
        assert_int_equal(finish(f, "one", JOB_END_REQUEUE), 0); /* not counted */
        assert_int_equal(claim(f, "one"), 0);
        assert_int_equal(finish(f, "one", JOB_END_FAULT), 0);
        struct job *job = get(f, "one");
        assert_int_equal(job->state, fault < 3 ? JOB_QUEUED : JOB_FAILED);
        assert_int_equal(job->attempt, fault < 3 ? fault + 1 : 3);
        assert_int_equal(job->error != NULL, fault == 3);
        job_free(job);
    }
    /* A retry resets the count of faults. */
    assert_int_equal(request(f, "one", JOB_RETRY), 0);
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(finish(f, "one", JOB_END_FAULT), 0);
    assert_int_equal(state_of(f, "one"), JOB_QUEUED);
}

static void add_count(void *self, const char *user, const char *state, int64_t n)
{
    char *list = self;
    sprintf(list + strlen(list), "%s %s %d, ", user, state, (int)n);
}

/* The users with most jobs have names of their own, all others are one. */
static void test_user_counts(void **state)
{
    struct fixture *f = *state;
    static const char *const users[] = {"ada", "ben", "ada", "cy", "ben", "ada", "dan"};
    char list[300] = "";
    for (int i = 0; i < 7; i++) {
        char id[2] = {(char)('a' + i), 0};
        struct job job = job_example(id);
        job.user = (char *)(uintptr_t)users[i];
        assert_int_equal(insert(f, &job), 0);
    }
    assert_int_equal(request(f, "a", JOB_CANCEL), 0);
    assert_int_equal(request(f, "d", JOB_CANCEL), 0);
    assert_int_equal(job_user_counts(f->reader, 2, add_count, list, &f->err), 0);
    assert_string_equal(list, "(others) cancelled 1, (others) queued 1, ada cancelled 1, "
                              "ada queued 2, ben queued 2, ");
}

static long long waits_counted(struct fixture *f)
{
    long long n = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++)
        n += atomic_load(&db_statistics(f->db)->queue_wait.counts[i]);
    return n;
}

/* A job waits once: until its first start. */
static void test_queue_wait(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one");
    assert_int_equal(waits_counted(f), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(claim(f, "one"), 0);
        assert_int_equal(waits_counted(f), 1);
        assert_int_equal(finish(f, "one", JOB_END_REQUEUE), 0);
    }
    assert_int_equal(request(f, "one", JOB_CANCEL), 0);
    assert_int_equal(request(f, "one", JOB_RESTART), 0);
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(waits_counted(f), 1);
}

static void test_cancel_wins(void **state)
{
    struct fixture *f = *state;
    static const enum job_end ends[] = {JOB_END_REQUEUE, JOB_END_FAULT, JOB_END_CANCELLED};
    for (int i = 0; i < 3; i++) {
        char id[2] = {(char)('a' + i), 0};
        insert_example(f, id);
        assert_int_equal(claim(f, id), 0);
        assert_int_equal(request(f, id, JOB_CANCEL), 0);
        assert_int_equal(request(f, id, JOB_CANCEL), 0); /* a second request is no conflict */
        struct job *job = get(f, id);
        assert_int_equal(job->state, JOB_RUNNING);
        assert_int_equal(job->cancel_requested, 1);
        job_free(job);
        assert_int_equal(finish(f, id, ends[i]), 0);
        job = get(f, id);
        assert_int_equal(job->state, JOB_CANCELLED);
        assert_int_equal(job->cancel_requested, 0);
        assert_true(job->finished_at > 0);
        job_free(job);
    }
}

static int body_reconcile(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_reconcile(writer, &call->n, err);
}

static void test_reconcile(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < JOB_STATES; i++)
        bring(f, job_state_name((enum job_state)i), (enum job_state)i);
    bring(f, "asked", JOB_RUNNING);
    assert_int_equal(request(f, "asked", JOB_CANCEL), 0);
    struct call call = {.body = body_reconcile};
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(call.n, 2);
    assert_int_equal(state_of(f, "running"), JOB_QUEUED);
    assert_int_equal(state_of(f, "asked"), JOB_CANCELLED);
    assert_int_equal(state_of(f, "held"), JOB_HELD);
    assert_int_equal(state_of(f, "succeeded"), JOB_SUCCEEDED);
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(call.n, 0);
}

static int body_patch(struct db_writer *writer, struct call *call, struct err *err)
{
    const struct job_patch patch = {.name = call->text,
                                    .notes = call->key,
                                    .tags = call->job ? call->job->tags : NULL,
                                    .priority = call->n ? &call->n : NULL};
    return job_patch(writer, call->id, &patch, err);
}

static int body_patch_as(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_patch(writer, call->id, call->patch, err);
}

static void test_patch(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one");
    struct call call = {.body = body_patch, .id = "one", .text = "new \"name\""};
    assert_int_equal(call_run(f, &call), 0);
    struct job *job = get(f, "one");
    assert_string_equal(job->name, "new \"name\"");
    assert_string_equal(job->notes, "");
    assert_string_equal(job->tags, "[\"a\",\"b\"]");
    job_free(job);

    struct job tags = {.tags = "[\"x\"]"};
    call = (struct call){.body = body_patch, .id = "one", .key = "notes", .job = &tags, .n = -5};
    assert_int_equal(call_run(f, &call), 0);
    job = get(f, "one");
    assert_string_equal(job->name, "new \"name\"");
    assert_string_equal(job->notes, "notes");
    assert_string_equal(job->tags, "[\"x\"]");
    assert_int_equal(job->priority, -5);
    assert_non_null(strstr(job->spec, "\"name\":\"new \\\"name\\\"\""));
    assert_non_null(strstr(job->spec, "\"tags\":[\"x\"]"));
    assert_non_null(strstr(job->spec, "\"priority\":-5"));
    assert_non_null(strstr(job->spec, "\"precision\":\"fp32\""));
    job_free(job);
    call.id = "nobody";
    assert_int_equal(call_run(f, &call), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
}

static int keep_detail(void *self, const struct history *entry)
{
    snprintf(self, 256, "%s", entry->detail ? entry->detail : "");
    return 1;
}

/* History tells each field that has changed, and nothing of those that have not. */
static void test_patch_is_told(void **state)
{
    struct fixture *f = *state;
    const int64_t hour = 3600;
    const int yes = 1;
    const struct job_patch patches[] = {{.notes = "why"},
                                        {.max_seconds = &hour, .asked_seconds = hour},
                                        {.urgent = "ada"},
                                        {.urgent = "", .pinned = &yes}};
    static const char *const wanted[] = {"notes", "max_seconds 0 to 3600", "urgent",
                                         "not urgent; pinned"};
    const struct history_filter filter = {
        .kind = "job", .object = "one", .newest_first = 1, .limit = 1};
    insert_example(f, "one");
    for (int i = 0; i < 4; i++) {
        char detail[256] = "";
        struct call call = {.body = body_patch_as, .id = "one", .patch = &patches[i]};
        assert_int_equal(call_run(f, &call), 0);
        assert_int_equal(history_read(f->reader, &filter, keep_detail, detail, &f->err), 0);
        assert_string_equal(detail, wanted[i]);
    }
    struct job *job = get(f, "one");
    assert_int_equal(job->pinned, 1);
    assert_null(job->urgent);
    job_free(job);
}

static void check_lane(struct fixture *f, const struct job_lane *lane, int skip, const char *ids)
{
    struct job **jobs;
    int n;
    assert_int_equal(job_queue(f->reader, lane, skip, 10, &jobs, &n, &f->err), 0);
    assert_int_equal(n, strlen(ids));
    for (int i = 0; i < n; i++) {
        assert_int_equal(jobs[i]->id[0], ids[i]);
        assert_null(jobs[i]->spec);
        job_free(jobs[i]);
    }
    free(jobs);
}

static void check_list(struct fixture *f, struct job_filter filter, const char *wanted)
{
    struct job **jobs;
    int n;
    char ids[64] = "";
    if (!filter.limit)
        filter.limit = 100;
    assert_int_equal(job_list(f->reader, &filter, &jobs, &n, &f->err), 0);
    for (int i = 0; i < n; i++) {
        assert_non_null(jobs[i]->spec);
        strcat(ids, jobs[i]->id);
        job_free(jobs[i]);
    }
    free(jobs);
    assert_string_equal(ids, wanted);
}

/* The terms of a search for one word; valid until the next. */
static const char *word(const char *text)
{
    static char terms[256];
    snprintf(terms, sizeof terms, "[{\"field\":\"word\",\"not\":0,\"values\":[\"%s\"]}]", text);
    return terms;
}

/* Case, accents, forms of Unicode and white space make no difference, in what is stored and in
 * what is asked for; fields stay apart. */
static void test_search(void **state)
{
    static const struct {
        const char *text, *found;
    } searches[] = {
        {"\xc3\xbc"
         "ber",
         "A"},             /* composed, other case */
        {"UBER DIE", "A"}, /* without accents */
        {"u\xcc\x88"
         "ber",
         "A"}, /* decomposed */
        {"  \xc3\x9c"
         "BER\\t",
         "A"},                /* blanks around it */
        {"brobdingnag", "B"}, /* stored decomposed, with an accent */
        {"STRASSE", "C"},
        {"stra\xc3\x9f"
         "e",
         "C"},
        {"\xce\xa3\xce\x91\xce\xa3", "C"}, /* final and other sigma */
        {"fine", "D"},                     /* stored with a ligature */
        {"two lines", "D"},                /* stored with a line end between */
        {"50%", "D"},
        {"_", ""},
        {"notes tag", ""}, /* the end of one field and the start of the next */
        {"gulliver", "DCBA"},
        {"    ", "DCBA"},
    };
    struct fixture *f = *state;
    static const char *const names[] = {"\xc3\x9c"
                                        "ber die gulliver",
                                        "gulliver Bro\xcc\x81"
                                        "bdingnag",
                                        "gulliver Stra\xc3\x9f"
                                        "e",
                                        "gulliver \xef\xac\x81"
                                        "ne"};
    static const char *const ids[] = {"A", "B", "C", "D"};
    for (int i = 0; i < 4; i++) {
        struct job job = job_example(ids[i]);
        job.name = (char *)(uintptr_t)names[i];
        job.notes = i == 2 ? "\xcf\x83\xce\xb1\xcf\x82" : i == 3 ? "two\nlines\nnotes" : "";
        job.tags = i == 3 ? "[\"tag\",\"50%\"]" : "[]";
        assert_int_equal(insert(f, &job), 0);
    }
    for (size_t i = 0; i < sizeof searches / sizeof *searches; i++)
        check_list(f, (struct job_filter){.terms = word(searches[i].text)}, searches[i].found);
    struct call call = {.body = body_patch, .id = "A", .text = "\xc3\x84nderung"};
    assert_int_equal(call_run(f, &call), 0);
    check_list(f, (struct job_filter){.terms = word("anderung")}, "A");
    check_list(f, (struct job_filter){.terms = word("uber")}, "");
}

static void test_search_by_id(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "0195cafe-0000");
    insert_example(f, "0196cafe-0000");
    check_list(f, (struct job_filter){.terms = word("0195cafe")}, "0195cafe-0000");
    check_list(f, (struct job_filter){.terms = word("0195CAFE")}, "0195cafe-0000");
    check_list(f, (struct job_filter){.terms = word("0195cafe-0000")}, "0195cafe-0000");
    check_list(f, (struct job_filter){.terms = word("0196")}, "0196cafe-0000");
    check_list(f, (struct job_filter){.terms = word("019")}, "");
    check_list(f, (struct job_filter){.terms = word("cafe")}, "");
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"A", "B", "C", "D"};
    int64_t seq[4];
    for (int i = 0; i < 4; i++) {
        struct job job = job_example(ids[i]);
        job.user = i < 2 ? "ada" : "ben";
        job.tags = i == 3 ? "[\"sweep\",\"50%\"]" : "[]";
        job.name = i == 0 ? "Lilliput" : "gulliver";
        job.notes = i == 2 ? "the LilliPut run" : "";
        job.priority = i == 2;
        assert_int_equal(insert(f, &job), 0);
        seq[i] = job.seq;
    }
    assert_int_equal(claim(f, "B"), 0);
    check_list(f, (struct job_filter){0}, "DCBA");
    check_list(f, (struct job_filter){.limit = 2}, "DC");
    check_list(f, (struct job_filter){.limit = 2, .before_seq = seq[2]}, "BA");
    check_list(f, (struct job_filter){.state = "running"}, "B");
    check_list(f, (struct job_filter){.state = "running,queued"}, "DCBA");
    check_list(f, (struct job_filter){.state = "succeeded"}, "");
    check_list(f, (struct job_filter){.user = "ada"}, "BA");
    check_list(f, (struct job_filter){.tag = "sweep"}, "D");
    check_list(f, (struct job_filter){.tag = "swee"}, "");
    check_list(f, (struct job_filter){.terms = word("lilliput")}, "CA");
    check_list(f, (struct job_filter){.terms = word("0%")}, "D");
    check_list(f, (struct job_filter){.terms = word("_")}, "");
    check_list(f, (struct job_filter){.terms = word("lilliput"), .user = "ben"}, "C");

    /* Lanes, and in each one priority before age. */
    struct job_lane *lanes;
    int n;
    assert_int_equal(job_lanes(f->reader, &lanes, &n, &f->err), 0);
    assert_int_equal(n, 2);
    assert_string_equal(lanes[0].user, "ada");
    assert_string_equal(lanes[1].user, "ben");
    assert_string_equal(lanes[0].device, "auto");
    check_lane(f, &lanes[0], 0, "A");
    check_lane(f, &lanes[1], 0, "CD");
    check_lane(f, &lanes[1], 1, "D");
    free(lanes);

    int64_t counts[JOB_STATES];
    assert_int_equal(job_counts(f->reader, counts, &f->err), 0);
    assert_int_equal(counts[JOB_QUEUED], 3);
    assert_int_equal(counts[JOB_RUNNING], 1);
    assert_int_equal(counts[JOB_FAILED], 0);
}

/* A hold of a running job outlives whatever ends its run. */
static void test_hold_of_a_running_job(void **state)
{
    struct fixture *f = *state;
    static const enum job_end ends[] = {JOB_END_REQUEUE, JOB_END_SLICED, JOB_END_FAULT};
    for (int i = 0; i < 3; i++) {
        char id[] = {(char)('a' + i), '\0'};
        bring(f, id, JOB_RUNNING);
        assert_int_equal(request(f, id, JOB_HOLD), 0);
        struct job *job = get(f, id);
        assert_int_equal(job->state, JOB_RUNNING);
        assert_int_equal(job->hold_requested, 1);
        job_free(job);
        assert_int_equal(finish(f, id, ends[i]), 0);
        job = get(f, id);
        assert_int_equal(job->state, JOB_HELD);
        assert_int_equal(job->hold_requested, 0);
        assert_int_equal(job->waits_code, REASON_HELD);
        assert_string_equal(job->waits, reason_sentence(REASON_HELD));
        job_free(job);
    }
    bring(f, "both", JOB_RUNNING);
    assert_int_equal(request(f, "both", JOB_HOLD), 0);
    assert_int_equal(request(f, "both", JOB_CANCEL), 0);
    assert_int_equal(finish(f, "both", JOB_END_REQUEUE), 0);
    assert_int_equal(state_of(f, "both"), JOB_CANCELLED);
}

static int body_charge(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_charge(writer, call->id, call->number, 7, 0, err);
}

static int body_more_time(struct db_writer *writer, struct call *call, struct err *err)
{
    const struct job_patch patch = {.max_seconds = &call->number, .asked_seconds = call->number};
    return job_patch(writer, call->id, &patch, err);
}

/* What a job has had is kept over runs. A job that has used up its time is released after it got
 * more. */
static void test_time_of_a_job(void **state)
{
    struct fixture *f = *state;
    struct job example = job_example("one");
    example.max_seconds = 2;
    assert_int_equal(insert(f, &example), 0);
    struct call charge = {.body = body_charge, .id = "one", .number = 1000};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(claim(f, "one"), 0);
        assert_int_equal(call_run(f, &charge), 0);
        assert_int_equal(finish(f, "one", i == 0 ? JOB_END_SLICED : JOB_END_LIMIT), 0);
        struct job *now = get(f, "one");
        assert_int_equal(now->waits_code, i == 0 ? REASON_SLICED : REASON_TIME_LIMIT);
        assert_string_equal(now->waits, reason_sentence(now->waits_code));
        job_free(now);
    }
    struct job *job = get(f, "one");
    assert_int_equal(job->state, JOB_HELD);
    assert_int_equal(job->device_ms, 2000);
    assert_int_equal(job->stop_start_ms, 14);
    assert_int_equal(job->slices, 1);
    assert_int_equal(job->attempt, 1);
    job_free(job);
    assert_int_equal(request(f, "one", JOB_RELEASE), -1);
    assert_non_null(strstr(f->err.message, "used up its max_seconds"));
    struct call more = {.body = body_more_time, .id = "one", .number = 3};
    assert_int_equal(call_run(f, &more), 0);
    assert_int_equal(request(f, "one", JOB_RELEASE), 0);
}

static int body_shortage(struct db_writer *writer, struct call *call, struct err *err)
{
    int64_t times;
    if (call->n < 0)
        return shortages_clear(writer, call->id, err);
    if (shortages_add(writer, call->id, call->number, call->n, &times, &call->number, err) < 0)
        return -1;
    call->n = (int)times;
    return 0;
}

static void check_shortage(struct fixture *f, int64_t reserved, int most, int times, int64_t bytes)
{
    struct call call = {.body = body_shortage, .id = "one", .number = reserved, .n = most};
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(call.n, times);
    assert_int_equal(call.number, bytes);
}

/* Each shortage raises the estimate by a quarter, not above the limit, and never lowers it. */
static void test_shortages(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one"); /* of 1000 bytes */
    check_shortage(f, 1000, 0, 1, 1250);
    check_shortage(f, 1250, 1300, 2, 1300);
    check_shortage(f, 1200, 900, 3, 1300);
    struct call clear = {.body = body_shortage, .id = "one", .n = -1};
    assert_int_equal(call_run(f, &clear), 0);
    check_shortage(f, 1300, 0, 1, 1625);
}

static int body_waits(struct db_writer *writer, struct call *call, struct err *err)
{
    if (job_set_waits(writer, call->id, (enum reason_code)call->n, call->text, err) < 0)
        return -1;
    call->number = connection_changes(&writer->connection);
    return 0;
}

static void test_waits(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one");
    struct call call = {
        .body = body_waits, .id = "one", .n = REASON_READING, .text = "tried again"};
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(call.number, 1);
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(call.number, 0);
    struct job *job = get(f, "one");
    assert_int_equal(job->waits_code, REASON_READING);
    assert_string_equal(job->waits, "tried again");
    job_free(job);
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(call_run(f, &call), 0); /* only a queued job waits */
    job = get(f, "one");
    assert_null(job->waits);
    job_free(job);
}

static int body_delete(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_delete(writer, call->id, err);
}

static int count_event(void *self, const struct event *event)
{
    int *counts = self;
    counts[event->data && strstr(event->data, "deleted") ? 1 : 0]++;
    return 0;
}

/* A job cannot be deleted while an unfinished one starts from its model. A job that
 * was deleted or has not succeeded cannot be the source of another. */
static void test_source_of_another(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < JOB_STATES; i++) {
        char source[DB_ID_MAX], user[DB_ID_MAX], spec[80];
        snprintf(source, sizeof source, "source-%d", i);
        snprintf(user, sizeof user, "user-%d", i);
        snprintf(spec, sizeof spec, "{\"init_from\":\"%s\"}", source);
        struct job job = job_example(user);
        job.spec = spec;
        assert_int_equal(insert(f, &job), -1); /* the source does not exist */
        assert_string_equal(f->err.fields[0].pointer, "/init_from");
        insert_example(f, source);
        assert_int_equal(insert(f, &job), -1); /* the source is not finished */
        assert_int_equal(claim(f, source), 0);
        assert_int_equal(finish(f, source, JOB_END_SUCCEEDED), 0);
        assert_int_equal(insert(f, &job), 0);
        walk(f, user, (enum job_state)i);
        struct call call = {.body = body_delete, .id = source};
        assert_int_equal(call_run(f, &call), i >= JOB_SUCCEEDED ? 0 : -1);
        assert_int_equal(strstr(f->err.message, user) != NULL, i < JOB_SUCCEEDED);
    }
}

static void test_delete(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < JOB_STATES; i++) {
        const char *id = job_state_name((enum job_state)i);
        bring(f, id, (enum job_state)i);
        struct call call = {.body = body_delete, .id = id};
        int finished = i >= JOB_SUCCEEDED;
        assert_int_equal(call_run(f, &call), finished ? 0 : -1);
        assert_int_equal(f->err.code, finished ? ERR_NONE : ERR_CONFLICT);
        int counts[2] = {0, 0};
        assert_int_equal(events_read(f->reader, 0, id, 100, count_event, counts, &f->err), 0);
        assert_int_equal(counts[1], finished);
        assert_int_equal(counts[0] == 0, finished);
    }
}

static int keep_data(void *self, const struct event *event)
{
    free(*(char **)self);
    *(char **)self = strdup(event->data);
    return 0;
}

/* An event has the formats of GET /jobs/{id}: microseconds, true and false, null. */
static void check_event_of_a_start(struct fixture *f)
{
    char *data = NULL, digit;
    assert_int_equal(events_read(f->reader, 0, NULL, 100, keep_data, &data, &f->err), 0);
    assert_non_null(strstr(data, "\"epoch\":null"));
    assert_non_null(strstr(data, "\"cancel_requested\":false"));
    assert_non_null(strstr(data, "\"started_at\":null"));
    const char *at = strstr(data, "\"submitted_at\":\"");
    assert_non_null(at);
    assert_int_equal(
        sscanf(at, "\"submitted_at\":\"%*4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*6[0-9]Z%c", &digit), 1);
    assert_int_equal(digit, '"');
    free(data);
}

static void test_event_of_a_change(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "one");
    check_event_of_a_start(f);
    assert_int_equal(claim(f, "one"), 0);
    assert_int_equal(finish(f, "one", JOB_END_FAILED), 0);
    char *data = NULL;
    assert_int_equal(events_read(f->reader, 0, NULL, 100, keep_data, &data, &f->err), 0);
    assert_non_null(strstr(data, "\"id\":\"one\""));
    assert_non_null(strstr(data, "\"state\":\"failed\""));
    assert_non_null(strstr(data, "\"error\":{\"code\":\"device\"}"));
    assert_non_null(strstr(data, "\"tags\":[\"a\",\"b\"]"));
    assert_non_null(strstr(data, "\"loss\":null"));
    assert_non_null(strstr(data, "\"started_at\":\"20"));
    free(data);
    /* A request that is refused leaves no event. */
    int64_t oldest, newest, after;
    assert_int_equal(events_range(f->reader, &oldest, &newest, &f->err), 0);
    assert_int_equal(request(f, "one", JOB_HOLD), -1);
    assert_int_equal(events_range(f->reader, &oldest, &after, &f->err), 0);
    assert_int_equal(after, newest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_transitions),
        test(test_names),
        test(test_insert_and_get),
        test(test_idempotency),
        test(test_provenance_is_fixed),
        test(test_user_counts),
        test(test_queue_wait),
        test(test_faults_use_up_attempts),
        test(test_cancel_wins),
        test(test_reconcile),
        test(test_hold_of_a_running_job),
        test(test_time_of_a_job),
        test(test_patch),
        test(test_patch_is_told),
        test(test_list),
        test(test_search),
        test(test_search_by_id),
        test(test_shortages),
        test(test_waits),
        test(test_delete),
        test(test_source_of_another),
        test(test_event_of_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
