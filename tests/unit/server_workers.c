/* Worker threads and the scheduler with a made-up trainer that behaves badly on
 * purpose (tests/lib/fake_trainer.c, beside this program): whatever it does, the
 * job ends as it should, no epoch is missing or doubled, and the next job runs. */
#include "tests/unit/db_fixture.h"

#include <libgen.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "config/log.h"
#include "db/accounts.h"
#include "db/sweeps.h"
#include "lab/memory.h"
#include "db/limits.h"
#include "server/queue/placement.h"
#include "server/queue/workers.h"

enum { PATIENCE_MS = 15000, LAST_EPOCH = 30 };

struct room {
    struct fixture *f;
    struct settings settings;
    struct workers *workers;
};

static void behave(const char *mode, const char *epoch, const char *ms)
{
    setenv("FAKE_TRAINER", mode, 1);
    setenv("FAKE_TRAINER_EPOCH", epoch, 1);
    setenv("FAKE_TRAINER_MS", ms, 1);
}

static int room_open(void **state)
{
    void *fixture = NULL;
    struct room *room = calloc(1, sizeof *room);
    char self[SETTINGS_TEXT_MAX - 32] = "";
    assert_non_null(room);
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    fixture_open(&fixture);
    room->f = fixture;
    room->settings = (struct settings){.checkpoint_seconds = 30,
                                       .heartbeat_seconds = 5,
                                       .idle_seconds = 30,
                                       .cancel_seconds = 5,
                                       .threads = 1,
                                       .max_queue = 100};
    snprintf(room->settings.trainer, sizeof room->settings.trainer, "%s/fake_trainer",
             dirname(self));
    snprintf(room->settings.data, sizeof room->settings.data, "%s", room->f->folder);
    behave("good", "3", "1");
    unsetenv("FAKE_TRAINER_PRECISION");
    unsetenv("FAKE_TRAINER_CARDS");
    log_set_level(LOG_ERROR + 1);
    *state = room;
    return 0;
}

static void start(struct room *room)
{
    if (workers_start(&room->settings, room->f->db, NULL, -1, &room->workers, &room->f->err) < 0)
        fail_msg("%s", room->f->err.message);
}

static void stop(struct room *room)
{
    workers_stop(room->workers);
    room->workers = NULL;
}

static int room_close(void **state)
{
    struct room *room = *state;
    char command[128];
    stop(room);
    snprintf(command, sizeof command, "rm -rf %s/jobs", room->f->folder);
    assert_int_equal(system(command), 0);
    void *fixture = room->f;
    fixture_close(&fixture);
    free(room);
    return 0;
}

/* A job of the made-up trainer: three groups of one token each. */
static struct job example(const char *id, const char *device)
{
    struct job job = job_example(id);
    job.device = (char *)device;
    job.epochs = LAST_EPOCH;
    job.n_groups = 3;
    job.n_tokens = 3;
    job.spec = "{\"train\":{\"epochs\":30},\"groups\":{\"size\":1}}";
    return job;
}

static void submit(struct room *room, struct job job)
{
    assert_int_equal(insert(room->f, &job), 0);
    if (room->workers)
        workers_wake(room->workers);
}

static void nap(int ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

/* Waits until a job is in the state and has stored the epoch. */
static struct job *wait_for(struct room *room, const char *id, enum job_state wanted, int64_t epoch)
{
    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        struct job *job = get(room->f, id);
        if (job->state == wanted && job->epoch >= epoch)
            return job;
        job_free(job);
        nap(5);
    }
    struct job *job = get(room->f, id);
    fail_msg("job %s is %s at epoch %lld: %s", id, job_state_name(job->state),
             (long long)job->epoch,
             job->error   ? job->error
             : job->waits ? job->waits
                          : "");
    return NULL;
}

static void wait_only(struct room *room, const char *id, enum job_state wanted, int64_t epoch)
{
    job_free(wait_for(room, id, wanted, epoch));
}

static void wait_for_waits(struct room *room, const char *id, enum reason_code code,
                           const char *words)
{
    char last[REASON_NAME_MAX + REASON_MAX] = "";
    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        struct job *job = get(room->f, id);
        struct reason reason;
        workers_reason(room->workers, job, &reason);
        int found =
            job->state == JOB_QUEUED && reason.code == code && strstr(reason.message, words);
        snprintf(last, sizeof last, "%s: %s", reason_name(reason.code), reason.message);
        job_free(job);
        if (found)
            return;
        nap(5);
    }
    fail_msg("job %s waits: %s, wanted: %s: %s", id, last, reason_name(code), words);
}

static struct worker_status cpu(struct room *room)
{
    struct worker_status status[TRAINER_DEVICES_MAX];
    int n;
    workers_devices(room->workers, status, TRAINER_DEVICES_MAX, &n);
    assert_int_equal(n, 2);
    assert_string_equal(status[0].device.id, "cpu");
    assert_false(status[1].device.available);
    return status[0];
}

static int next_epoch(void *self, int64_t epoch, const double *values, int n_values,
                      const float *tokens, int n_tokens)
{
    (void)values;
    (void)n_values;
    (void)tokens;
    (void)n_tokens;
    int64_t *next = self;
    assert_int_equal(epoch, *next);
    ++*next;
    return 0;
}

static void check_all_epochs(struct room *room, const char *id)
{
    int64_t next = 0;
    assert_int_equal(epochs_read(room->f->reader, id, 0, 1000, next_epoch, &next, &room->f->err),
                     0);
    assert_int_equal(next, LAST_EPOCH + 1);
}

/* The last line is written just after the state has changed. */
static void check_log(struct room *room, const char *id, const char *words)
{
    char path[128], text[8192] = "";
    snprintf(path, sizeof path, "%s/jobs/%s/log", room->f->folder, id);
    for (int waited = 0; waited < PATIENCE_MS && !strstr(text, words); waited += 5) {
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        nap(5);
    }
    if (!strstr(text, words))
        fail_msg("log of %s without \"%s\":\n%s", id, words, text);
}

static int count_in_log(struct room *room, const char *id, const char *words)
{
    char path[128], text[8192] = "";
    int n = 0;
    snprintf(path, sizeof path, "%s/jobs/%s/log", room->f->folder, id);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    for (const char *at = text; (at = strstr(at, words)); at++)
        n++;
    return n;
}

static struct worker_status idle_cpu(struct room *room)
{
    for (int waited = 0; cpu(room).n_jobs && waited < PATIENCE_MS; waited += 5)
        nap(5);
    assert_int_equal(cpu(room).n_jobs, 0);
    return cpu(room);
}

static void test_success(void **state)
{
    struct room *room = *state;
    start(room);
    submit(room, example("one", "auto"));
    struct job *job = wait_for(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    assert_string_equal(job->device, "cpu");
    assert_int_equal(job->attempt, 1);
    assert_int_equal(job->memory_bytes, 1000000);
    assert_non_null(strstr(job->provenance, "\"isa\":\"made-up\""));
    assert_non_null(strstr(job->provenance, "\"build\":\"fake\""));
    assert_null(job->waits);
    job_free(job);
    check_all_epochs(room, "one");
    check_log(room, "one", "succeeded at epoch 30");
    int pid = cpu(room).pid;
    assert_true(pid > 0);
    submit(room, example("two", "cpu"));
    wait_only(room, "two", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(idle_cpu(room).pid, pid); /* the trainer stays warm */
    assert_int_equal(cpu(room).faults, 0);
}

static void test_order_of_the_queue(void **state)
{
    struct room *room = *state;
    static const char *const ids[] = {"low", "middle", "high"};
    for (int i = 0; i < 3; i++) {
        struct job job = example(ids[i], "auto");
        job.priority = i;
        submit(room, job);
    }
    start(room);
    int64_t began[3];
    for (int i = 0; i < 3; i++) {
        struct job *job = wait_for(room, ids[i], JOB_SUCCEEDED, LAST_EPOCH);
        began[i] = job->started_at;
        job_free(job);
    }
    assert_true(began[2] < began[1] && began[1] < began[0]);
}

enum { SWEEP_JOBS = 6 };

static int body_sweep(struct db_writer *writer, struct call *call, struct err *err)
{
    struct sweep sweep = {.id = "sweep", .name = "", .user = "local", .base = "{}", .vary = "{}"};
    struct job jobs[SWEEP_JOBS];
    sweep.max_running = call->number;
    for (int i = 0; i < SWEEP_JOBS; i++) {
        char id[] = {'s', (char)('0' + i), '\0'};
        jobs[i] = example(id, i % 2 ? "cuda" : "auto");
        jobs[i].sweep = sweep.id;
        jobs[i].setting = "{}";
    }
    return sweep_insert(writer, &sweep, jobs, SWEEP_JOBS, NULL, NULL, 100, &call->existing, err);
}

static int body_limit(struct db_writer *writer, struct call *call, struct err *err)
{
    return sweep_limit(writer, "sweep", call->number, err);
}

/* The most jobs of the sweep that are seen to run at once until all have ended. */
static int64_t most_running(struct room *room)
{
    int64_t most = 0;
    for (int waited = 0; waited < PATIENCE_MS; waited += 2) {
        struct sweep *sweep;
        assert_int_equal(sweep_get(room->f->reader, "sweep", &sweep, &room->f->err), 0);
        const int64_t running = sweep->jobs[JOB_RUNNING], over = sweep->jobs[JOB_SUCCEEDED];
        sweep_free(sweep);
        most = running > most ? running : most;
        if (over == SWEEP_JOBS)
            return most;
        nap(2);
    }
    fail_msg("the sweep does not get on");
    return -1;
}

/* Three cards, and a sweep of which two jobs may run: the third card is for others. */
static void test_max_running(void **state)
{
    struct room *room = *state;
    struct call sweep = {.body = body_sweep, .number = 1};
    struct call limit = {.body = body_limit, .number = 2};
    setenv("FAKE_TRAINER_CARDS", "3", 1);
    behave("good", "3", "10");
    assert_int_equal(call_run(room->f, &sweep), 0);
    assert_int_equal(call_run(room->f, &limit), 0);
    submit(room, example("other", "cuda"));
    start(room);
    wait_for_waits(room, "s5", REASON_LIMIT_SWEEP, "max_running: 2 of its sweep run at once");
    assert_int_equal(most_running(room), 2);
    wait_only(room, "other", JOB_SUCCEEDED, LAST_EPOCH);
}

static void test_cancel(void **state)
{
    struct room *room = *state;
    behave("good", "3", "20");
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 2);
    int pid = cpu(room).pid;
    assert_string_equal(cpu(room).jobs[0].id, "one");
    assert_int_equal(request(room->f, "one", JOB_CANCEL), 0);
    workers_wake(room->workers);
    struct job *job = wait_for(room, "one", JOB_CANCELLED, 2);
    assert_true(job->epoch < LAST_EPOCH);
    job_free(job);
    submit(room, example("two", "auto"));
    wait_only(room, "two", JOB_RUNNING, 0);
    assert_int_equal(cpu(room).pid, pid);
}

static void test_cancel_that_is_ignored(void **state)
{
    struct room *room = *state;
    room->settings.cancel_seconds = 1;
    start(room);
    behave("deaf", "3", "50");
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 1);
    int pid = cpu(room).pid;
    assert_int_equal(request(room->f, "one", JOB_CANCEL), 0);
    workers_wake(room->workers);
    wait_only(room, "one", JOB_CANCELLED, 1);
    assert_int_equal(kill(pid, 0), -1);
    check_log(room, "one", "did not obey within 1 seconds");
}

static void test_killed_trainer(void **state)
{
    struct room *room = *state;
    behave("good", "3", "10");
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 5);
    assert_int_equal(kill(cpu(room).pid, SIGKILL), 0);
    struct job *job = wait_for(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(job->attempt, 2);
    job_free(job);
    assert_int_equal(idle_cpu(room).faults, 1);
    check_all_epochs(room, "one");
    check_log(room, "one", "killed by signal 9");
}

static void test_killed_idle_trainer(void **state)
{
    struct room *room = *state;
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(kill(idle_cpu(room).pid, SIGKILL), 0);
    for (int waited = 0; cpu(room).pid && waited < PATIENCE_MS; waited += 5)
        nap(5);
    assert_int_equal(cpu(room).pid, 0);
    submit(room, example("two", "auto"));
    wait_only(room, "two", JOB_SUCCEEDED, LAST_EPOCH);
}

static int charge_hours(struct db_writer *writer, void *arg, struct err *err)
{
    return limits_charge(writer, "ada", *(int64_t *)arg * 3600000, err);
}

/* A job of a user who has had the device_hours stops with a checkpoint and waits; when the limit
 * is raised, here with a new start, it goes on. Other users are not touched. */
static void test_device_hours(void **state)
{
    struct room *room = *state;
    int64_t hours = 2;
    behave("good", "3", "20");
    room->settings.user_device_hours = 2;
    start(room);
    struct job job = example("one", "auto");
    job.user = "ada";
    submit(room, job);
    wait_only(room, "one", JOB_RUNNING, 2);
    assert_int_equal(db_call(room->f->db, charge_hours, &hours, &room->f->err), 0);
    workers_wake(room->workers);
    wait_for_waits(room, "one", REASON_LIMIT_USER, "device_hours");
    check_log(room, "one", "order: device_hours of its user are over");
    struct job other = example("two", "auto");
    other.user = "bob";
    submit(room, other);
    wait_only(room, "two", JOB_SUCCEEDED, LAST_EPOCH);
    stop(room);
    room->settings.user_device_hours = 3;
    start(room);
    struct job *ended = wait_for(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(ended->attempt, 1);
    assert_int_equal(ended->slices, 0);
    job_free(ended);
    check_all_epochs(room, "one");
}

/* Each bad behaviour, the attempts it has, and the code the job fails with. */
static void test_bad_trainers(void **state)
{
    struct room *room = *state;
    static const struct {
        const char *mode, *code;
        int attempts, epoch, faults;
    } rows[] = {
        {"crash", "device", 3, 2, 3},
        {"garbage", "protocol", 1, 2, 1},
        {"hang", "timeout", 1, 2, 1},
        {"fail", "diverged", 3, 2, 0},
    };
    room->settings.heartbeat_seconds = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char code[64];
        behave(rows[i].mode, "3", "1");
        start(room);
        struct job bad = example(rows[i].mode, "auto");
        bad.max_attempts = rows[i].attempts;
        submit(room, bad);
        struct job *job = wait_for(room, rows[i].mode, JOB_FAILED, rows[i].epoch);
        snprintf(code, sizeof code, "\"code\":\"%s\"", rows[i].code);
        if (!strstr(job->error, code))
            fail_msg("%s: %s", rows[i].mode, job->error);
        assert_int_equal(job->epoch, rows[i].epoch);
        assert_int_equal(job->attempt, rows[i].faults > 0 ? rows[i].attempts : 1);
        job_free(job);
        assert_int_equal(idle_cpu(room).faults, rows[i].faults);
        stop(room);
    }
}

static void test_stop_and_go_on(void **state)
{
    struct room *room = *state;
    behave("good", "3", "10");
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 5);
    int pid = cpu(room).pid;
    stop(room);
    assert_int_equal(kill(pid, 0), -1);
    struct job *job = get(room->f, "one");
    assert_int_equal(job->state, JOB_QUEUED);
    assert_int_equal(job->attempt, 1);
    assert_true(job->epoch >= 5 && job->epoch < LAST_EPOCH);
    char resumed[64];
    snprintf(resumed, sizeof resumed, "started at epoch %lld on", (long long)job->epoch + 1);
    job_free(job);
    start(room);
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "one");
    check_log(room, "one", resumed);
}

/* Epochs that come again must be the same bits. */
static void test_replay(void **state)
{
    struct room *room = *state;
    behave("replay", "3", "10");
    start(room);
    submit(room, example("right", "auto"));
    wait_only(room, "right", JOB_RUNNING, 5);
    stop(room);
    start(room);
    wait_only(room, "right", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "right");
    submit(room, example("wrong", "auto"));
    wait_only(room, "wrong", JOB_RUNNING, 5);
    stop(room);
    assert_int_equal(script(room->f, "UPDATE epochs SET tokens = zeroblob(12) WHERE epoch = 2"), 0);
    start(room);
    struct job *job = wait_for(room, "wrong", JOB_FAILED, 5);
    assert_non_null(strstr(job->error, "\"code\":\"nondeterministic\""));
    assert_non_null(strstr(job->error, "epoch 2 "));
    assert_int_equal(job->attempt, 1);
    job_free(job);
    assert_int_equal(idle_cpu(room).pid, 0); /* it is not trusted with another job */
}

static void test_stop_that_is_ignored(void **state)
{
    struct room *room = *state;
    room->settings.cancel_seconds = 1;
    start(room);
    behave("deaf", "3", "50");
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 1);
    int64_t began = db_now();
    stop(room);
    assert_true(db_now() - began < 4000000);
    struct job *job = get(room->f, "one");
    assert_int_equal(job->state, JOB_QUEUED);
    assert_int_equal(job->attempt, 1); /* our stop is not the trainer's fault */
    job_free(job);
}

/* max_seconds count over all runs; more time and a release let the job go on. */
static void test_out_of_time(void **state)
{
    struct room *room = *state;
    behave("good", "3", "60");
    start(room);
    struct job limited = example("one", "auto");
    limited.max_seconds = 1;
    submit(room, limited);
    wait_only(room, "one", JOB_RUNNING, 5);
    stop(room); /* half of it is used up */
    start(room);
    struct job *job = wait_for(room, "one", JOB_HELD, 5);
    assert_int_equal(job->waits_code, REASON_TIME_LIMIT);
    assert_true(job->epoch < 22);
    assert_true(job->device_ms >= 1000 && job->device_ms < 1500);
    assert_int_equal(job->attempt, 1);
    job_free(job);
    assert_int_equal(request(room->f, "one", JOB_RELEASE), -1);
    assert_int_equal(script(room->f, "UPDATE jobs SET max_seconds = 0"), 0);
    assert_int_equal(request(room->f, "one", JOB_RELEASE), 0);
    workers_wake(room->workers);
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "one");
}

static void test_hold(void **state)
{
    struct room *room = *state;
    behave("good", "3", "20");
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 3);
    assert_int_equal(request(room->f, "one", JOB_HOLD), 0);
    workers_wake(room->workers);
    struct job *job = wait_for(room, "one", JOB_HELD, 3);
    assert_int_equal(job->attempt, 1);
    assert_true(job->epoch < LAST_EPOCH && job->cost_ms > 0 && job->stop_start_ms > 0);
    job_free(job);
    assert_int_equal(request(room->f, "one", JOB_RELEASE), 0);
    workers_wake(room->workers);
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "one");
}

/* Ben's job starts after a slice of ada's, who came first and has a higher priority; both end with
 * all their epochs. */
static void test_slices(void **state)
{
    struct room *room = *state;
    room->settings.slice_seconds = 1;
    room->settings.share_credit = 2;
    behave("good", "3", "120");
    start(room);
    struct job ada = example("a", "auto"), ben = example("b", "auto");
    ada.user = "ada";
    ada.priority = 100;
    ben.user = "ben";
    submit(room, ada);
    submit(room, ben);
    wait_only(room, "b", JOB_RUNNING, 0);
    wait_for_waits(room, "a", REASON_SLICED, "gave way");
    struct job *job = wait_for(room, "a", JOB_SUCCEEDED, LAST_EPOCH);
    assert_true(job->slices >= 1 && job->slices <= 4);
    assert_int_equal(job->attempt, 1);
    job_free(job);
    wait_only(room, "b", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "a");
    check_all_epochs(room, "b");
}

#define WITH_THREADS(threads)                                                                      \
    "{\"train\":{\"epochs\":30},\"groups\":{\"size\":1},\"resources\":{\"threads\":" #threads "}}"

static struct job threaded(const char *id, const char *user, const char *spec)
{
    struct job job = example(id, "cpu");
    job.user = (char *)user;
    job.spec = (char *)spec;
    return job;
}

/* Two jobs of one thread each run on two cores at once, each with its own trainer. What happens to
 * one is nothing to the other, and a third waits. Each is charged for half the device. */
static void test_two_at_once(void **state)
{
    struct room *room = *state;
    struct account account = {.user = "ada", .kind = "cpu"};
    room->settings.threads = 2;
    room->settings.job_threads = 1;
    behave("good", "3", "100");
    start(room);
    submit(room, threaded("a", "ada", WITH_THREADS(0)));
    submit(room, example("b", "cpu"));
    wait_only(room, "a", JOB_RUNNING, 1);
    wait_only(room, "b", JOB_RUNNING, 1);
    const struct worker_status both = cpu(room);
    assert_int_equal(both.n_jobs, 2);
    assert_int_equal(both.n_seats, 2);
    assert_true(both.jobs[0].threads == 1 && both.jobs[1].threads == 1);
    submit(room, example("c", "cpu"));
    submit(room, threaded("wide", "zoe", WITH_THREADS(2)));
    wait_for_waits(room, "c", REASON_BUSY, "cpu is busy");
    wait_for_waits(room, "wide", REASON_BUSY, "cpu is busy");
    assert_int_equal(request(room->f, "b", JOB_CANCEL), 0);
    workers_wake(room->workers);
    wait_only(room, "b", JOB_CANCELLED, 1);
    wait_only(room, "c", JOB_RUNNING, 1);
    wait_for_waits(room, "wide", REASON_BUSY, "cpu is busy");
    kill(cpu(room).pid, SIGKILL); /* of a's trainer or c's */
    struct job *a = wait_for(room, "a", JOB_SUCCEEDED, LAST_EPOCH);
    struct job *c = wait_for(room, "c", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(a->attempt + c->attempt, 3);
    wait_only(room, "wide", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "a");
    check_all_epochs(room, "c");
    assert_int_equal(account_get(room->f->reader, &account, &room->f->err), 0);
    assert_true(fabs(account.used - (double)a->device_ms / 2e3) < 0.05);
    job_free(a);
    job_free(c);
}

/* Whoever needs all cores is not kept out by jobs that need one, end before their slice, and never
 * at the same time. */
static void test_wide_job_among_narrow_ones(void **state)
{
    struct room *room = *state;
    char id[] = "a";
    room->settings.threads = 2;
    room->settings.job_threads = 1;
    room->settings.slice_seconds = 1;
    behave("good", "3", "25");
    submit(room, threaded("a", "ada", WITH_THREADS(1)));
    start(room);
    wait_only(room, "a", JOB_RUNNING, LAST_EPOCH / 2);
    for (id[0] = 'b'; id[0] <= 'z'; id[0]++)
        submit(room, threaded(id, "ada", WITH_THREADS(1)));
    wait_only(room, "b", JOB_RUNNING, 1);
    submit(room, threaded("wide", "zoe", WITH_THREADS(2)));
    wait_only(room, "wide", JOB_RUNNING, 1);
    int waiting = 0;
    for (id[0] = 'a'; id[0] <= 'z'; id[0]++) {
        struct job *job = get(room->f, id);
        waiting += job->state == JOB_QUEUED;
        job_free(job);
    }
    assert_true(waiting >= 8);
    assert_int_equal(cpu(room).jobs[0].threads, 2);
    wait_only(room, "wide", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "wide");
}

/* A device that takes one process at a time (a card in the mode EXCLUSIVE_PROCESS) runs one job, and
 * is not unavailable for that. */
static void test_device_for_one_process(void **state)
{
    struct room *room = *state;
    char lock[128];
    room->settings.threads = 2;
    room->settings.job_threads = 1;
    snprintf(lock, sizeof lock, "%s/lock", room->f->folder);
    setenv("FAKE_TRAINER_LOCK", lock, 1);
    behave("alone", "3", "40");
    submit(room, example("a", "cpu"));
    start(room);
    wait_only(room, "a", JOB_RUNNING, 1);
    submit(room, example("b", "cpu"));
    wait_for_waits(room, "b", REASON_BUSY, "cpu is busy");
    const struct worker_status alone = cpu(room);
    assert_true(alone.device.available);
    assert_int_equal(alone.n_jobs, 1);
    wait_only(room, "a", JOB_SUCCEEDED, LAST_EPOCH);
    wait_only(room, "b", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "b");
    unlink(lock);
}

/* Memory is reserved when a job is placed: of two that would each fit alone, one waits. The made-up
 * processor has 8 GiB, 4 of them free. */
static void test_memory_is_reserved(void **state)
{
    struct room *room = *state;
    room->settings.threads = 4;
    room->settings.job_threads = 1;
    behave("good", "3", "40");
    struct job a = example("a", "cpu"), b = example("b", "cpu"), c = example("c", "cpu");
    a.memory_bytes = b.memory_bytes = INT64_C(3000000000);
    c.memory_bytes = 1000000000;
    submit(room, a);
    submit(room, b);
    start(room);
    wait_for_waits(room, "b", REASON_MEMORY,
                   "it needs 3.00 GB, cpu has 1.29 GB free beside its jobs");
    c.user = "zoe";
    submit(room, c);
    wait_only(room, "c", JOB_RUNNING, 0);
    wait_only(room, "b", JOB_SUCCEEDED, LAST_EPOCH);
    struct job large = example("large", "cpu");
    large.memory_bytes = INT64_C(5000000000);
    submit(room, large);
    wait_for_waits(room, "large", REASON_MEMORY_FOREIGN, "it needs 5.00 GB, cpu has 4.29 GB free");
}

/* A job that finds too little memory goes back three times, with a higher estimate each, and then
 * fails with the numbers. A retry has as many turns again. */
static void test_out_of_memory(void **state)
{
    struct room *room = *state;
    static const int64_t bytes[] = {INT64_C(1250000000), INT64_C(1562500000), INT64_C(1953125000)};
    struct job job = example("one", "cpu"), *now;
    job.memory_bytes = INT64_C(1000000000);
    setenv("FAKE_TRAINER_CODE", "no_memory", 1);
    behave("fail", "0", "1");
    submit(room, job);
    for (int i = 0; i < 3; i++) { /* another start forgets the refusal, which lasts for a minute */
        start(room);
        for (int waited = 0;; waited += 5) {
            now = get(room->f, "one");
            const int done = now->memory_bytes == bytes[i];
            job_free(now);
            if (done)
                break;
            assert_true(waited < PATIENCE_MS);
            nap(5);
        }
        wait_for_waits(room, "one", REASON_MEMORY, "GB are reserved for it next time");
        stop(room);
    }
    start(room);
    now = wait_for(room, "one", JOB_FAILED, -1);
    assert_int_equal(now->attempt, 1);
    assert_non_null(strstr(now->error, "\"no_memory\""));
    assert_non_null(strstr(now->error, "out of memory 4 times when it was opened, at last with"
                                       " 1.95 GB reserved: the loss"));
    job_free(now);
    stop(room);
    assert_int_equal(request(room->f, "one", JOB_RETRY), 0);
    start(room);
    wait_for_waits(room, "one", REASON_MEMORY, "GB are reserved for it next time");
    stop(room);
    /* Loaded once, they are forgotten. */
    behave("good", "0", "1");
    start(room);
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    unsetenv("FAKE_TRAINER_CODE");
}

static int body_queue(struct db_writer *writer, struct call *call, struct err *err)
{
    return queue_set(writer, (enum queue_state)call->n, err);
}

static void set_queue(struct room *room, enum queue_state state)
{
    struct call call = {.body = body_queue, .n = (int)state};
    assert_int_equal(call_run(room->f, &call), 0);
    workers_wake(room->workers);
}

static void test_drain_and_pause(void **state)
{
    struct room *room = *state;
    behave("good", "3", "20");
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 1);
    set_queue(room, QUEUE_DRAINING);
    submit(room, example("two", "auto"));
    wait_for_waits(room, "two", REASON_QUEUE_CLOSED, "the queue is draining");
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    wait_for_waits(room, "two", REASON_QUEUE_CLOSED, "the queue is draining");
    set_queue(room, QUEUE_OPEN);
    wait_only(room, "two", JOB_RUNNING, 3);
    set_queue(room, QUEUE_PAUSED);
    wait_for_waits(room, "two", REASON_QUEUE_CLOSED, "the queue is paused");
    stop(room);
    start(room); /* it stays so */
    wait_for_waits(room, "two", REASON_QUEUE_CLOSED, "the queue is paused");
    set_queue(room, QUEUE_OPEN);
    wait_only(room, "two", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "two");
}

static void test_waits(void **state)
{
    struct room *room = *state;
    behave("good", "3", "300");
    start(room);
    submit(room, example("busy", "auto"));
    wait_only(room, "busy", JOB_RUNNING, 0);
    submit(room, example("behind", "auto"));
    wait_for_waits(room, "behind", REASON_BUSY, "cpu is busy");
    submit(room, example("third", "auto"));
    wait_for_waits(room, "third", REASON_ORDER, "other jobs of its user are before it");
    struct job other = example("of-zoe", "auto"), *stored;
    other.user = "zoe";
    submit(room, other);
    wait_for_waits(room, "of-zoe", REASON_BUSY, "cpu is busy");
    wait_for_waits(room, "behind", REASON_SHARE, "cpu is busy; other users have the next turns");
    assert_int_equal(request(room->f, "of-zoe", JOB_CANCEL), 0);
    stored = get(room->f, "third"); /* nothing is written for it */
    assert_int_equal(stored->waits_code, REASON_NONE);
    assert_null(stored->waits);
    job_free(stored);
    submit(room, example("cuda", "cuda"));
    wait_for_waits(room, "cuda", REASON_DEVICE_UNAVAILABLE,
                   "cuda:0 is not available: there is no GPU here");
    submit(room, example("cuda7", "cuda:7"));
    wait_for_waits(room, "cuda7", REASON_DEVICE_UNAVAILABLE, "there is no device cuda:7 here");
    struct job job = example("large", "cpu");
    job.memory_bytes = INT64_C(9) << 30;
    submit(room, job);
    wait_for_waits(room, "large", REASON_MEMORY, "it needs 9.66 GB, cpu has 8.59 GB in all");
    assert_int_equal(request(room->f, "busy", JOB_CANCEL), 0);
    workers_wake(room->workers);
    wait_only(room, "behind", JOB_RUNNING, 0); /* the others do not hold it up */
    struct job *behind = get(room->f, "behind");
    struct reason reason;
    workers_reason(room->workers, behind, &reason);
    assert_int_equal(reason.code, REASON_NONE);
    job_free(behind);
}

#define IN_PRECISION(precision)                                                                    \
    "{\"train\":{\"epochs\":30,\"precision\":\"" precision "\"},\"groups\":{\"size\":1}}"

/* A job in bf16 runs on the processor, and says so; none goes on in another precision
 * than it was asked for, or started in. */
static void test_precision(void **state)
{
    struct room *room = *state;
    behave("good", "3", "10");
    start(room);
    struct job in_bf16 = example("bf16", "cpu");
    in_bf16.spec = IN_PRECISION("bf16");
    submit(room, in_bf16);
    struct job *job = wait_for(room, "bf16", JOB_SUCCEEDED, LAST_EPOCH);
    assert_non_null(strstr(job->provenance, "\"precision\":\"bf16\""));
    job_free(job);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 5);
    stop(room);
    setenv("FAKE_TRAINER_PRECISION", "bf16", 1);
    start(room);
    wait_for_waits(room, "one", REASON_PROVENANCE,
                   "cpu: it started with precision fp32, here it is bf16; retried");
    struct job in_fp32 = example("fp32", "cpu");
    in_fp32.spec = IN_PRECISION("fp32");
    submit(room, in_fp32);
    wait_for_waits(room, "fp32", REASON_PROVENANCE,
                   "cpu: it asks for precision fp32, here it would be bf16");
}

static void test_other_provenance_waits(void **state)
{
    struct room *room = *state;
    behave("good", "3", "10");
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 5);
    stop(room);
    assert_int_equal(script(room->f, "UPDATE job_texts SET provenance ="
                                     " json_set(provenance, '$.threads', 64)"),
                     0);
    start(room);
    wait_for_waits(room, "one", REASON_PROVENANCE, "it started with 64 threads, here there are 1");
    struct job *job = get(room->f, "one");
    assert_int_equal(job->attempt, 1);
    job_free(job);
    /* Others run meanwhile, and a restart is not bound any more. */
    submit(room, example("two", "auto"));
    wait_only(room, "two", JOB_SUCCEEDED, LAST_EPOCH);
    wait_for_waits(room, "one", REASON_PROVENANCE, "64 threads");
    assert_int_equal(request(room->f, "one", JOB_CANCEL), 0);
    assert_int_equal(request(room->f, "one", JOB_RESTART), 0);
    workers_wake(room->workers);
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "one");
}

static int threads_of(struct room *room, const char *id)
{
    struct job *job = get(room->f, id);
    const int threads = job->threads;
    assert_non_null(job->provenance);
    job_free(job);
    return threads;
}

/* A job keeps the threads of its first start, whatever the settings say later, and a warm trainer
 * with another number is replaced. */
static void test_threads_stay(void **state)
{
    struct room *room = *state;
    room->settings.threads = 4;
    room->settings.job_threads = 3;
    behave("good", "3", "10");
    start(room);
    submit(room, example("one", "cpu"));
    wait_only(room, "one", JOB_RUNNING, 5);
    stop(room);
    room->settings.job_threads = 1;
    start(room);
    struct job own = example("own", "cpu");
    own.spec = "{\"train\":{\"epochs\":30},\"groups\":{\"size\":1},\"resources\":{\"threads\":2}}";
    submit(room, own);
    submit(room, example("other", "cpu"));
    wait_only(room, "other", JOB_SUCCEEDED, LAST_EPOCH);
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    wait_only(room, "own", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "one");
    assert_int_equal(threads_of(room, "one"), 3);
    assert_int_equal(threads_of(room, "own"), 2);
    assert_int_equal(threads_of(room, "other"), 1);
    check_log(room, "one", "made-up, 3 threads");
    struct job wide = example("wide", "cpu");
    wide.spec = "{\"train\":{\"epochs\":30},\"groups\":{\"size\":1},\"resources\":{\"threads\":5}}";
    submit(room, wide);
    wait_for_waits(room, "wide", REASON_THREADS, "it wants 5 threads, cpu has 4 cores for jobs");
    stop(room);
    room->settings.job_threads = 5;
    assert_int_equal(
        workers_start(&room->settings, room->f->db, NULL, -1, &room->workers, &room->f->err), -1);
    assert_string_equal(room->f->err.message, "job_threads is 5, and jobs have 4 cores here");
}

/* What is the machine's state fails no job: it waits, and is not tried again and
 * again; a retry is. */
static void test_put_off(void **state)
{
    struct room *room = *state;
    static const char *const codes[] = {"io", "unavailable"};
    for (int i = 0; i < 2; i++) {
        char id[] = {(char)('a' + i), '\0'};
        setenv("FAKE_TRAINER_CODE", codes[i], 1);
        behave("fail", "3", "1");
        start(room);
        submit(room, example(id, "auto"));
        wait_for_waits(room, id, REASON_REFUSED, "cpu: the loss is not finite");
        nap(100);
        struct job *job = get(room->f, id);
        assert_int_equal(job->state, JOB_QUEUED);
        assert_int_equal(job->attempt, 1);
        assert_int_equal(job->epoch, 2);
        job_free(job);
        assert_int_equal(count_in_log(room, id, "queued at epoch 2: cpu: the loss"), 1);
        assert_int_equal(idle_cpu(room).faults, 0);
        assert_int_equal(request(room->f, id, JOB_CANCEL), 0);
        assert_int_equal(request(room->f, id, JOB_RETRY), 0);
        workers_wake(room->workers);
        wait_for_waits(room, id, REASON_REFUSED, "cpu: the loss is not finite");
        assert_int_equal(count_in_log(room, id, "attempt 2"), 1);
        stop(room);
    }
    unsetenv("FAKE_TRAINER_CODE");
}

/* A job that another build has begun does not even start. */
static void test_other_build_waits(void **state)
{
    struct room *room = *state;
    behave("good", "3", "10");
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 5);
    stop(room);
    assert_int_equal(script(room->f, "UPDATE job_texts SET provenance ="
                                     " json_set(provenance, '$.build', 'older')"),
                     0);
    start(room);
    wait_for_waits(room, "one", REASON_PROVENANCE, "it started with build older, here it is fake");
    assert_int_equal(count_in_log(room, "one", "on cpu, trainer"), 1);
}

static void test_restart_drops_files(void **state)
{
    struct room *room = *state;
    char path[128];
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(script(room->f, "UPDATE jobs SET state = 'failed'"), 0);
    snprintf(path, sizeof path, "%s/jobs/one/model", room->f->folder);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/jobs/one/model/epoch", room->f->folder);
    fclose(fopen(path, "w"));
    assert_int_equal(request(room->f, "one", JOB_RESTART), 0);
    workers_wake(room->workers);
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(access(path, F_OK), -1);
    check_log(room, "one", "attempt 1");
    check_log(room, "one", "attempt 2");
}

static void test_device_is_given_back(void **state)
{
    struct room *room = *state;
    room->settings.idle_seconds = 1;
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    int pid = cpu(room).pid;
    for (int waited = 0; cpu(room).pid && waited < PATIENCE_MS; waited += 5)
        nap(5);
    assert_int_equal(cpu(room).pid, 0);
    assert_int_equal(kill(pid, 0), -1);
    assert_true(cpu(room).device.available);
    submit(room, example("two", "auto"));
    wait_only(room, "two", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(cpu(room).faults, 0);
}

static void test_trainer_that_cannot_start(void **state)
{
    struct room *room = *state;
    behave("exit", "3", "1");
    assert_int_equal(
        workers_start(&room->settings, room->f->db, NULL, -1, &room->workers, &room->f->err), -1);
    assert_int_equal(room->f->err.code, ERR_UNAVAILABLE);
    room->workers = NULL;
    /* Later than that, jobs wait, and go on when it starts again. */
    behave("good", "3", "1");
    start(room);
    behave("exit", "3", "1");
    submit(room, example("one", "auto"));
    wait_for_waits(room, "one", REASON_DEVICE_UNAVAILABLE,
                   "cpu is not available: the trainer ended before it was ready");
    assert_false(cpu(room).device.available);
    behave("good", "3", "1");
    struct job *job = wait_for(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    assert_int_equal(job->attempt, 1);
    job_free(job);
}

/* The full disk: the trainer waits, the job does not fail. */
static int body_pages(struct db_writer *writer, struct call *call, struct err *err)
{
    int64_t pages;
    char sql[64];
    if (connection_integer(&writer->connection, "PRAGMA page_count", NO_VALUES, 0, &pages, err) < 0)
        return -1;
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)(pages + call->number));
    return connection_script(&writer->connection, sql, err);
}

static void test_full_disk(void **state)
{
    struct room *room = *state;
    behave("good", "3", "20");
    start(room);
    submit(room, example("one", "auto"));
    wait_only(room, "one", JOB_RUNNING, 2);
    struct call limit = {.body = body_pages, .number = 1};
    assert_int_equal(call_run(room->f, &limit), 0);
    nap(1200);
    struct job *job = get(room->f, "one");
    assert_int_equal(job->state, JOB_RUNNING);
    assert_true(job->epoch < LAST_EPOCH);
    job_free(job);
    limit.number = 100000;
    assert_int_equal(call_run(room->f, &limit), 0);
    wait_only(room, "one", JOB_SUCCEEDED, LAST_EPOCH);
    check_all_epochs(room, "one");
}

static struct placement_device device(const char *id, const char *kind, int64_t gigabytes)
{
    struct placement_device one = {.device = {.available = 1}, .capacity = {.n_seats = 1}};
    snprintf(one.device.id, sizeof one.device.id, "%s", id);
    snprintf(one.device.kind, sizeof one.device.kind, "%s", kind);
    one.device.memory_bytes = one.device.free_bytes = gigabytes * 1000000000;
    one.capacity.total = one.capacity.free = one.device.memory_bytes;
    one.capacity.with_job = memory_beside(kind, 1);
    one.capacity.opening = memory_beside(kind, 0) - one.capacity.with_job;
    return one;
}

/* The first device with room on which the job can run, or -1. */
static int match(const struct job *job, const struct placement_device *devices, int n,
                 struct placement_look *look)
{
    placement_look(job, devices, n, look);
    for (int i = 0; i < n; i++)
        if ((look->devices & ~look->full) >> i & 1)
            return i;
    return -1;
}

static void test_match(void **state)
{
    (void)state;
    struct placement_look look;
    struct placement_device devices[] = {device("cpu", "cpu", 8), device("cuda:0", "cuda", 8),
                                         device("cuda:1", "cuda", 8)};
    const struct trainer_team none = {0};
    struct job job = {.device = "auto", .precision = "auto", .memory_bytes = 1000000000};
#define MATCH() match(&job, devices, 3, &look)
    assert_int_equal(MATCH(), 1);
    capacity_take(&devices[1].capacity, 0, &none, 1);
    assert_int_equal(MATCH(), 2);
    capacity_take(&devices[2].capacity, 0, &none, 1);
    assert_int_equal(MATCH(), -1); /* it waits for a GPU, it does not take the CPU */
    assert_non_null(strstr(look.waits, "is busy"));
    devices[1].device.available = devices[2].device.available = 0;
    assert_int_equal(MATCH(), 0);
    devices[1].device.available = 1;
    capacity_give_back(&devices[1].capacity, 0);
    capacity_close(&devices[1].capacity, 0);
    job.device = "cuda:1";
    assert_int_equal(MATCH(), -1);
    job.device = "cuda";
    assert_int_equal(MATCH(), 1);
    /* What CUDA takes beside a job counts; less of it where a trainer has the card open. */
    const int64_t at_first = memory_beside("cuda", 0), open = memory_beside("cuda", 1);
    devices[1].capacity.free = 999999999 + at_first;
    assert_int_equal(MATCH(), -1);
    assert_int_equal(look.stale, 1);
    assert_string_equal(look.waits,
                        "it needs 1.00 GB and cuda 1.07 GB beside it, cuda:0 has 2.07 GB free");
    devices[1].capacity.free++;
    assert_int_equal(MATCH(), 1);
    capacity_open(&devices[1].capacity, 0, &none, 0, 1);
    devices[1].capacity.free = 999999999 + open;
    assert_int_equal(MATCH(), -1);
    devices[1].capacity.free++;
    assert_int_equal(MATCH(), 1);
    job.memory_bytes = 8000000001 - at_first;
    assert_int_equal(MATCH(), -1);
    assert_int_equal(look.stale, -1);
    assert_string_equal(look.waits,
                        "it needs 6.93 GB and cuda 1.07 GB beside it, cuda:0 has 8.00 GB in all");
    job.memory_bytes = 1;

    struct placement_facts facts = {"a card", "sm_90", "v1", 4}, other = facts;
    job.provenance = placement_provenance(&facts, "bf16", "", "abc");
    assert_int_equal(MATCH(), 1); /* nothing is known of the slot yet */
    devices[1].facts = facts;
    assert_int_equal(MATCH(), 1);
    strcpy(other.build, "v2");
    devices[1].facts = other;
    assert_int_equal(MATCH(), -1);
    assert_string_equal(look.waits, "cuda:0: it started with build v1, here it is v2; retried from"
                                    " the start it runs here");
    free(job.provenance);
#undef MATCH
}

#define room_test(name) cmocka_unit_test_setup_teardown(name, room_open, room_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        room_test(test_success),
        room_test(test_order_of_the_queue),
        room_test(test_max_running),
        room_test(test_cancel),
        room_test(test_cancel_that_is_ignored),
        room_test(test_killed_trainer),
        room_test(test_killed_idle_trainer),
        room_test(test_bad_trainers),
        room_test(test_stop_and_go_on),
        room_test(test_replay),
        room_test(test_stop_that_is_ignored),
        room_test(test_out_of_time),
        room_test(test_hold),
        room_test(test_slices),
        room_test(test_two_at_once),
        room_test(test_wide_job_among_narrow_ones),
        room_test(test_device_for_one_process),
        room_test(test_memory_is_reserved),
        room_test(test_out_of_memory),
        room_test(test_drain_and_pause),
        room_test(test_waits),
        room_test(test_precision),
        room_test(test_other_provenance_waits),
        room_test(test_threads_stay),
        room_test(test_put_off),
        room_test(test_other_build_waits),
        room_test(test_restart_drops_files),
        room_test(test_device_is_given_back),
        room_test(test_trainer_that_cannot_start),
        room_test(test_full_disk),
        room_test(test_device_hours),
        cmocka_unit_test(test_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
