/* Jobs that wait for others: what is refused, what is held and released, and a random walk over
 * everything that happens to jobs, compared after each step with a plain model. */
#include "db_fixture.h"

#include "db/after.h"

/* "a b?": must succeed; the mark: any end will do. */
static struct after_list list_of(const char *words)
{
    struct after_list list = {.pointer = "/after"};
    char copy[256], *at = copy, *word;
    snprintf(copy, sizeof copy, "%s", words);
    while ((word = strsep(&at, " ")))
        if (*word) {
            const size_t n = strcspn(word, "?");
            list.entry[list.n].any = word[n] == '?';
            word[n] = '\0';
            snprintf(list.entry[list.n++].job, DB_ID_MAX, "%s", word);
        }
    return list;
}

static int submit(struct fixture *f, const char *id, const char *after)
{
    const struct after_list list = list_of(after);
    struct job job = job_example(id);
    job.after = &list;
    return insert(f, &job);
}

static int body_set(struct db_writer *writer, struct call *call, struct err *err)
{
    const struct after_list list = list_of(call->text);
    return job_set_after(writer, call->id, &list, err);
}

static int set(struct fixture *f, const char *id, const char *after)
{
    struct call call = {.body = body_set, .id = id, .text = after};
    return call_run(f, &call);
}

static int body_delete(struct db_writer *writer, struct call *call, struct err *err)
{
    return job_delete(writer, call->id, err);
}

static int delete (struct fixture *f, const char *id)
{
    struct call call = {.body = body_delete, .id = id};
    return call_run(f, &call);
}

static void run(struct fixture *f, const char *id, enum job_end end)
{
    assert_int_equal(claim(f, id), 0);
    assert_int_equal(finish(f, id, end), 0);
}

static void is_waiting(struct fixture *f, const char *id, enum job_state state, const char *waits)
{
    struct job *job = get(f, id);
    assert_int_equal(job->state, state);
    if (waits)
        assert_string_equal(job->waits, waits);
    else
        assert_null(job->waits);
    job_free(job);
}

/* Ids of the jobs that the scheduler may place. */
static void can_run(struct fixture *f, const char *wanted)
{
    struct job_lane *lanes;
    int n_lanes, n;
    char ids[64] = "";
    assert_int_equal(job_lanes(f->reader, &lanes, &n_lanes, &f->err), 0);
    for (int i = 0; i < n_lanes; i++) {
        struct job **jobs;
        assert_int_equal(job_queue(f->reader, &lanes[i], 0, 20, &jobs, &n, &f->err), 0);
        for (int j = 0; j < n; j++) {
            strcat(ids, jobs[j]->id);
            job_free(jobs[j]);
        }
        free(jobs);
    }
    free(lanes);
    assert_string_equal(ids, wanted);
}

static void refused(struct fixture *f, int result, enum err_code code, const char *message)
{
    assert_int_equal(result, -1);
    assert_int_equal(f->err.code, code);
    assert_string_equal(f->err.message, message);
}

static void test_waits_and_starts(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "a");
    insert_example(f, "b");
    assert_int_equal(submit(f, "c", "a b?"), 0);
    can_run(f, "ab");
    is_waiting(f, "c", JOB_QUEUED, "job a is queued (and 1 more)");
    refused(f, claim(f, "c"), ERR_CONFLICT, "job c waits for other jobs");
    run(f, "b", JOB_END_FAILED);
    is_waiting(f, "c", JOB_QUEUED, "job a is queued");
    can_run(f, "a");
    run(f, "a", JOB_END_SUCCEEDED);
    is_waiting(f, "c", JOB_QUEUED, NULL);
    can_run(f, "c");
    /* Once it has started it waits for nothing. */
    assert_int_equal(claim(f, "c"), 0);
    assert_int_equal(request(f, "b", JOB_RETRY), 0);
    assert_int_equal(finish(f, "c", JOB_END_SLICED), 0);
    can_run(f, "bc");
    refused(f, set(f, "c", "b"), ERR_CONFLICT, "job c has started and waits for no other any more");
}

static void test_held_and_released(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "a");
    assert_int_equal(submit(f, "b", "a"), 0);
    assert_int_equal(submit(f, "c", "b"), 0);
    run(f, "a", JOB_END_FAILED);
    is_waiting(f, "b", JOB_HELD, "job a has failed");
    is_waiting(f, "c", JOB_QUEUED, "job b is held");
    refused(f, request(f, "b", JOB_RELEASE), ERR_CONFLICT,
            "job b is held (job a has failed): retry that job, or change what this one "
            "waits for");
    refused(f, delete (f, "a"), ERR_CONFLICT,
            "job a cannot be deleted: job b waits for it to succeed");
    /* One that comes later is held at once. */
    assert_int_equal(submit(f, "d", "a"), 0);
    is_waiting(f, "d", JOB_HELD, "job a has failed");
    assert_int_equal(request(f, "a", JOB_RETRY), 0);
    is_waiting(f, "b", JOB_QUEUED, "job a is queued");
    is_waiting(f, "d", JOB_QUEUED, "job a is queued");
    run(f, "a", JOB_END_SUCCEEDED);
    can_run(f, "bd");
    /* What is cancelled does not succeed either; a change of `after` lets go. */
    assert_int_equal(request(f, "b", JOB_CANCEL), 0);
    is_waiting(f, "c", JOB_HELD, "job b was cancelled");
    assert_int_equal(set(f, "c", ""), 0);
    can_run(f, "cd");
    assert_int_equal(delete (f, "b"), 0);
    /* Its user's hold stays. */
    insert_example(f, "e");
    assert_int_equal(submit(f, "g", "e"), 0);
    assert_int_equal(request(f, "g", JOB_HOLD), 0);
    run(f, "e", JOB_END_FAILED);
    is_waiting(f, "g", JOB_HELD, "it is held until it is released");
    refused(f, delete (f, "e"), ERR_CONFLICT,
            "job e cannot be deleted: job g waits for it to succeed");
    assert_int_equal(set(f, "g", "e?"), 0);
    is_waiting(f, "g", JOB_HELD, "it is held until it is released");
    assert_int_equal(delete (f, "e"), 0);
    assert_int_equal(request(f, "g", JOB_RELEASE), 0);
    can_run(f, "cdg");
}

static int body_was_read(struct db_writer *writer, struct call *call, struct err *err)
{
    struct job job = job_example(call->id);
    return job_was_read(writer, &job, err);
}

/* A text that has been read does not take the mark from a job that is held meanwhile. */
static void test_held_while_its_text_is_read(void **state)
{
    struct fixture *f = *state;
    struct call was_read = {.body = body_was_read, .id = "b"};
    insert_example(f, "a");
    const struct after_list list = list_of("a");
    struct job job = job_example("b");
    job.unread = 1;
    job.after = &list;
    assert_int_equal(insert(f, &job), 0);
    run(f, "a", JOB_END_FAILED);
    assert_int_equal(call_run(f, &was_read), 0);
    is_waiting(f, "b", JOB_HELD, "job a has failed");
    assert_int_equal(request(f, "a", JOB_RETRY), 0);
    run(f, "a", JOB_END_SUCCEEDED);
    can_run(f, "b");
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    insert_example(f, "a");
    refused(f, submit(f, "b", "a x"), ERR_INVALID, "/after/1/job: there is no job x");
    assert_int_equal(submit(f, "b", "a"), 0);
    assert_int_equal(submit(f, "c", "b?"), 0);
    refused(f, set(f, "a", "a"), ERR_INVALID, "/after/0/job: job a cannot wait for itself");
    refused(f, set(f, "a", "c?"), ERR_INVALID,
            "/after/0/job: job c waits for this one: neither would ever start");
    /* A retry would close the circle. */
    run(f, "a", JOB_END_FAILED);
    assert_int_equal(request(f, "b", JOB_CANCEL), 0);
    assert_int_equal(request(f, "a", JOB_RETRY), 0);
    refused(f, set(f, "a", "b?"), ERR_INVALID,
            "/after/0/job: job b waits for this one: neither would ever start");
    refused(f, set(f, "b", ""), ERR_CONFLICT, "job b has ended and waits for no other any more");
    refused(f, set(f, "x", ""), ERR_NOT_FOUND, "there is no job x");
}

static int body_many(struct db_writer *writer, struct call *call, struct err *err)
{
    const struct after_list list = list_of("a");
    for (int i = 0; i < call->n; i++) {
        struct job job = job_example("");
        snprintf(job.id, sizeof job.id, "%s%d", call->id, i);
        job.after = &list;
        if (job_insert(writer, &job, NULL, NULL, 100000, &call->existing, err) < 0)
            return -1;
    }
    return 0;
}

static int count_one(void *count)
{
    ++*(int64_t *)count;
    return 0;
}

/* Instructions of SQLite for what a pass of the scheduler reads. */
static int64_t pass_cost(struct fixture *f)
{
    int64_t count = 0;
    sqlite3_progress_handler(f->reader->connection.handle, 1, count_one, &count);
    can_run(f, "a");
    sqlite3_progress_handler(f->reader->connection.handle, 0, NULL, NULL);
    return count;
}

static void test_a_pass_does_not_meet_what_waits(void **state)
{
    struct fixture *f = *state;
    struct call few = {.body = body_many, .id = "few", .n = 10};
    struct call many = {.body = body_many, .id = "many", .n = 3000};
    insert_example(f, "a");
    assert_int_equal(call_run(f, &few), 0);
    const int64_t cost = pass_cost(f);
    assert_int_equal(call_run(f, &many), 0);
    assert_true(pass_cost(f) <= cost);
    /* All of them follow from one end. */
    run(f, "a", JOB_END_FAILED);
    is_waiting(f, "few9", JOB_HELD, "job a has failed");
    is_waiting(f, "many2999", JOB_HELD, "job a has failed");
    assert_int_equal(request(f, "a", JOB_RETRY), 0);
    can_run(f, "a");
}

/* ---- the random walk ---- */

enum { JOBS = 9, STEPS = 150, WALKS = 300, ATTEMPTS = 3 };
enum held { BY_NOBODY, BY_USER, BY_AFTER, BY_DISABLING };

struct model_job {
    int exists, has_started, has_epochs, faults, cancel, hold, is_bens;
    enum job_state state;
    enum held held;
    int edge[JOBS]; /* 0: none, 1: must succeed, 2: any */
};

struct walk {
    struct model_job job[JOBS];
    int is_disabled; /* the user ben */
    unsigned seed, random;
    struct db_writer *writer;
};

static int pick(struct walk *walk, int n)
{
    walk->random = walk->random * 1103515245U + 12345U;
    return (int)(walk->random >> 16 & 0x7fff) % n;
}

static int is_over(const struct model_job *job)
{
    return job->state >= JOB_SUCCEEDED;
}

static int model_unmet(const struct walk *walk, int i)
{
    int n = 0;
    for (int j = 0; j < JOBS && !walk->job[i].has_started; j++)
        n += walk->job[i].edge[j] && walk->job[j].state != JOB_SUCCEEDED &&
             !(walk->job[i].edge[j] == 2 && is_over(&walk->job[j]));
    return n;
}

static int model_broken(const struct walk *walk, int i)
{
    for (int j = 0; j < JOBS && !walk->job[i].has_started; j++)
        if (walk->job[i].edge[j] == 1 && walk->job[j].state > JOB_SUCCEEDED)
            return 1;
    return 0;
}

static int model_reaches(const struct walk *walk, int from, int to)
{
    int found = from == to;
    for (int j = 0; j < JOBS && !found; j++)
        found = walk->job[from].edge[j] && model_reaches(walk, j, to);
    return found;
}

static void model_hold(struct model_job *job, enum held held)
{
    job->state = JOB_HELD;
    job->held = held;
}

static void model_settle(struct walk *walk)
{
    for (int i = 0; i < JOBS; i++) {
        struct model_job *job = &walk->job[i];
        if (job->state == JOB_QUEUED && model_broken(walk, i))
            model_hold(job, BY_AFTER);
        if (job->state != JOB_HELD || job->held != BY_AFTER || model_broken(walk, i))
            continue;
        job->state = JOB_QUEUED;
        if (job->is_bens && walk->is_disabled)
            model_hold(job, BY_DISABLING);
    }
}

static const char *name_of(int i)
{
    static const char *const names[JOBS] = {"a", "b", "c", "d", "e", "g", "h", "i", "j"};
    return names[i];
}

/* Random edges of job i, in words; most of them name jobs that exist. */
static void random_edges(struct walk *walk, int i, int edge[JOBS], char *words)
{
    words[0] = '\0';
    for (int j = 0; j < JOBS; j++) {
        edge[j] = pick(walk, 4) ? 0 : 1 + pick(walk, 2);
        if (i == j || (!walk->job[j].exists && pick(walk, 20)))
            edge[j] = pick(walk, 200) ? 0 : edge[j];
        if (edge[j])
            sprintf(words + strlen(words), "%s%s ", name_of(j), edge[j] == 2 ? "?" : "");
    }
}

static int edges_fit(const struct walk *walk, int i, const int edge[JOBS], int is_new)
{
    for (int j = 0; j < JOBS; j++)
        if (edge[j] && (!walk->job[j].exists || (!is_new && model_reaches(walk, j, i))))
            return 0;
    return 1;
}

static int step_submit(struct walk *walk, int i, struct err *err, int *fits)
{
    struct model_job *job = &walk->job[i];
    struct model_job new = {.exists = 1, .state = JOB_QUEUED, .is_bens = pick(walk, 2)};
    struct job row = job_example(name_of(i));
    char words[64];
    int existing;
    random_edges(walk, i, new.edge, words);
    const struct after_list list = list_of(words);
    row.after = &list;
    row.user = new.is_bens ? "ben" : "ada";
    *fits = !job->exists && edges_fit(walk, i, new.edge, 1) && !new.edge[i];
    if (new.is_bens && walk->is_disabled)
        model_hold(&new, BY_DISABLING);
    if (job->exists)
        return err_set(err, ERR_CONFLICT, "it exists");
    if (*fits)
        *job = new;
    return job_insert(walk->writer, &row, NULL, NULL, 1000, &existing, err);
}

static int step_set(struct walk *walk, int i, struct err *err, int *fits)
{
    struct model_job *job = &walk->job[i];
    struct model_job bare = *job;
    int edge[JOBS];
    char words[64];
    random_edges(walk, i, edge, words);
    const struct after_list list = list_of(words);
    memset(job->edge, 0, sizeof job->edge);
    *fits = job->exists && !job->has_started &&
            (job->state == JOB_QUEUED || job->state == JOB_HELD) && edges_fit(walk, i, edge, 0);
    memcpy(job->edge, *fits ? edge : bare.edge, sizeof edge);
    return job_set_after(walk->writer, name_of(i), &list, err);
}

static int step_request(struct walk *walk, int i, struct err *err, int *fits)
{
    const enum job_request what = (enum job_request)pick(walk, 5);
    struct model_job *job = &walk->job[i];
    const int again = what == JOB_RETRY || what == JOB_RESTART;
    enum job_state state;
    *fits = job->exists &&
            ((what == JOB_CANCEL && !is_over(job)) ||
             (what == JOB_HOLD && (job->state == JOB_QUEUED || job->state == JOB_RUNNING)) ||
             (what == JOB_RELEASE && job->state == JOB_HELD && !model_broken(walk, i)) ||
             (again && job->state > JOB_SUCCEEDED));
    if (*fits && job->state == JOB_RUNNING) {
        job->cancel |= what == JOB_CANCEL;
        job->hold |= what == JOB_HOLD;
    } else if (*fits && again) {
        const int keeps = what == JOB_RETRY && job->has_epochs;
        job->state = JOB_QUEUED;
        job->faults = job->cancel = 0;
        job->has_started &= keeps;
        job->has_epochs &= keeps;
    } else if (*fits) {
        job->state = what == JOB_CANCEL ? JOB_CANCELLED : JOB_QUEUED;
        if (what == JOB_HOLD)
            model_hold(job, BY_USER);
    }
    return job_request(walk->writer, name_of(i), what, &state, err);
}

static int step_claim(struct walk *walk, int i, struct err *err, int *fits)
{
    struct model_job *job = &walk->job[i];
    *fits = job->exists && job->state == JOB_QUEUED && !model_unmet(walk, i);
    if (*fits) {
        job->state = JOB_RUNNING;
        job->has_started = 1;
    }
    if (job_claim(walk->writer, name_of(i), "cpu", err) < 0)
        return -1;
    if (!pick(walk, 2))
        return 0;
    job->has_epochs = 1;
    return connection_run(&walk->writer->connection,
                          "UPDATE jobs SET epoch = 3 WHERE state = 'running' AND id = ?1",
                          VALUES(value_text(name_of(i))), err);
}

static void model_finish(struct walk *walk, struct model_job *job, enum job_end end)
{
    const int again = end >= JOB_END_REQUEUE;
    job->faults += end == JOB_END_FAULT && !(again && job->cancel);
    if (again && job->cancel)
        job->state = JOB_CANCELLED;
    else if (again && job->faults < ATTEMPTS)
        job->state = JOB_QUEUED;
    else
        job->state = end == JOB_END_SUCCEEDED   ? JOB_SUCCEEDED
                     : end == JOB_END_CANCELLED ? JOB_CANCELLED
                                                : JOB_FAILED;
    if (job->state == JOB_QUEUED && job->hold)
        model_hold(job, BY_USER);
    else if (job->state == JOB_QUEUED && job->is_bens && walk->is_disabled)
        model_hold(job, BY_DISABLING);
    job->hold = job->cancel = 0;
}

static int step_finish(struct walk *walk, int i, struct err *err, int *fits)
{
    static const enum job_end ends[] = {JOB_END_SUCCEEDED, JOB_END_SUCCEEDED, JOB_END_FAILED,
                                        JOB_END_CANCELLED, JOB_END_REQUEUE,   JOB_END_FAULT};
    const enum job_end end = ends[pick(walk, 6)];
    struct model_job *job = &walk->job[i];
    *fits = job->exists && job->state == JOB_RUNNING;
    if (*fits)
        model_finish(walk, job, end);
    return job_finish(walk->writer, name_of(i), end, NULL, NULL, err);
}

static int step_delete(struct walk *walk, int i, struct err *err, int *fits)
{
    struct model_job *job = &walk->job[i];
    *fits = job->exists && is_over(job);
    for (int j = 0; j < JOBS; j++)
        *fits &= !(walk->job[j].edge[i] == 1 && job->state != JOB_SUCCEEDED &&
                   !walk->job[j].has_started &&
                   (walk->job[j].state == JOB_QUEUED || walk->job[j].state == JOB_HELD));
    for (int j = 0; j < JOBS && *fits; j++)
        walk->job[j].edge[i] = 0;
    if (*fits)
        *job = (struct model_job){0};
    return job_delete(walk->writer, name_of(i), err);
}

/* The server was killed and starts again. */
static int step_restart(struct walk *walk, int i, struct err *err, int *fits)
{
    int n;
    (void)i;
    *fits = 1;
    for (int j = 0; j < JOBS; j++)
        if (walk->job[j].exists && walk->job[j].state == JOB_RUNNING)
            model_finish(walk, &walk->job[j], JOB_END_REQUEUE);
    return job_reconcile(walk->writer, &n, err);
}

static int step_disable(struct walk *walk, int i, struct err *err, int *fits)
{
    (void)i;
    *fits = 1;
    walk->is_disabled = !walk->is_disabled;
    if (connection_run(&walk->writer->connection, "UPDATE users SET disabled = ?1",
                       VALUES(value_integer(walk->is_disabled)), err) < 0)
        return -1;
    for (int j = 0; j < JOBS; j++) {
        struct model_job *job = &walk->job[j];
        if (job->is_bens && walk->is_disabled && job->state == JOB_QUEUED)
            model_hold(job, BY_DISABLING);
        else if (job->is_bens && !walk->is_disabled && job->state == JOB_HELD &&
                 job->held == BY_DISABLING)
            job->state = JOB_QUEUED;
    }
    return walk->is_disabled ? job_hold_all(walk->writer, "ben", err)
                             : job_release_all(walk->writer, "ben", err);
}

static void walk_fail(const struct walk *walk, int step, const char *what, int i)
{
    fail_msg("seed %u, step %d, job %s: %s", walk->seed, step, name_of(i), what);
}

/* Every job as the model has it. */
static void walk_compare(const struct walk *walk, int step)
{
    for (int i = 0; i < JOBS; i++) {
        const struct model_job *job = &walk->job[i];
        sqlite3_stmt *row;
        struct err err = ERR_INIT;
        assert_int_equal(
            connection_start(
                &walk->writer->connection,
                "SELECT state, blocked, coalesce(waits_code, '') FROM jobs WHERE id = ?1",
                VALUES(value_text(name_of(i))), &row, &err),
            0);
        const int found = statement_step(row, &err);
        if (found != job->exists)
            walk_fail(walk, step, "exists", i);
        if (found) {
            const char *waits = (const char *)sqlite3_column_text(row, 2);
            if (strcmp((const char *)sqlite3_column_text(row, 0), job_state_name(job->state)) != 0)
                walk_fail(walk, step, job_state_name(job->state), i);
            if (job->state == JOB_QUEUED && sqlite3_column_int(row, 1) != model_unmet(walk, i))
                walk_fail(walk, step, "blocked", i);
            if (job->state == JOB_HELD && (strcmp(waits, "after") == 0) != (job->held == BY_AFTER))
                walk_fail(walk, step, waits, i);
        }
        statement_close(row);
    }
}

typedef int step(struct walk *walk, int i, struct err *err, int *fits);

/* A step in a savepoint of its own, as db.c runs operations. */
static void walk_step(struct walk *walk, int number, step *take)
{
    const struct walk before = *walk;
    struct connection *connection = &walk->writer->connection;
    struct err err = ERR_INIT;
    const int i = pick(walk, JOBS);
    int fits;
    assert_int_equal(connection_run(connection, "SAVEPOINT step", NO_VALUES, &err), 0);
    const int result = take(walk, i, &err, &fits);
    if ((result == 0) != fits)
        walk_fail(walk, number, fits ? err.message : "was not refused", i);
    if (result < 0) {
        memcpy(walk->job, before.job, sizeof walk->job);
        connection_run(connection, "ROLLBACK TO step", NO_VALUES, &err);
    }
    connection_run(connection, "RELEASE step", NO_VALUES, &err);
    model_settle(walk);
    walk_compare(walk, number);
}

/* Nothing is stuck: if holds are released and what failed is retried, every job succeeds. */
static void walk_drain(struct walk *walk)
{
    struct err err = ERR_INIT;
    enum job_state state;
    int left = 1;
    for (int round = 0; left && round < 4 * JOBS; round++) {
        left = 0;
        for (int i = 0; i < JOBS; i++) {
            struct model_job *job = &walk->job[i];
            if (!job->exists || job->state == JOB_SUCCEEDED)
                continue;
            left = 1;
            job_request(walk->writer, name_of(i), JOB_RESTART, &state, &err);
            job_request(walk->writer, name_of(i), JOB_RELEASE, &state, &err);
            if (job->state != JOB_RUNNING && job_claim(walk->writer, name_of(i), "cpu", &err) < 0)
                continue;
            assert_int_equal(
                job_finish(walk->writer, name_of(i), JOB_END_SUCCEEDED, NULL, NULL, &err), 0);
            job->state = JOB_SUCCEEDED;
        }
    }
    if (left)
        fail_msg("seed %u: a job is stuck", walk->seed);
}

static int body_walk(struct db_writer *writer, struct call *call, struct err *err)
{
    static step *const steps[] = {step_submit, step_submit, step_set,     step_set,    step_request,
                                  step_claim,  step_claim,  step_request, step_finish, step_finish,
                                  step_finish, step_delete, step_restart, step_disable};
    struct walk walk = {
        .seed = (unsigned)call->number, .random = (unsigned)call->number, .writer = writer};
    connection_script(&writer->connection,
                      "DELETE FROM jobs; DELETE FROM users; INSERT INTO users"
                      " (name, admin, created_at) VALUES ('ben', 0, 0)",
                      err);
    for (int i = 0; i < STEPS; i++)
        walk_step(&walk, i, steps[pick(&walk, sizeof steps / sizeof *steps)]);
    if (walk.is_disabled)
        walk_step(&walk, STEPS, step_disable);
    walk_drain(&walk);
    return 0;
}

static void test_random_walks(void **state)
{
    struct fixture *f = *state;
    const char *seed = getenv("SEED"); /* of a walk that failed */
    for (int i = 0; i < (seed ? 1 : WALKS); i++) {
        struct call call = {.body = body_walk, .number = seed ? atoi(seed) : i + 1};
        assert_int_equal(call_run(f, &call), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {test(test_waits_and_starts),
                                       test(test_held_and_released),
                                       test(test_held_while_its_text_is_read),
                                       test(test_refused),
                                       test(test_a_pass_does_not_meet_what_waits),
                                       test(test_random_walks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
