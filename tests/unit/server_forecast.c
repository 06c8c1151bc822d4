/* What is told of the queue, and what happens then: worlds of users, devices and jobs on a virtual
 * clock, whose jobs take the times that were recorded on a processor (tests/lib/step_times.h). What
 * is learned of them is what a server would have learned; nobody submits anything more.
 *
 *   FORECAST_SEED=17 build/tests/server_forecast     one world, with what was told of it
 *   FORECAST_WORLDS=2000 build/tests/server_forecast more of them: make bench-forecast */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/queue/pace.h"
#include "tests/lib/step_times.h"

enum {
    USERS = 4,
    JOBS_MAX = 48, /* of one world, at most */
    DEVICES = 3,
    TELLINGS = 3, /* of one world */
    WORLDS = 150
};

static const char *const names[USERS] = {"ada", "bob", "eve", "kim"};

enum { TO_COME, WAITS, RUNS, ENDED };

struct task {
    int user, priority, shape, state;
    uint32_t devices;
    double arrives, start, stop, epoch, epochs; /* seconds; what is true of it */
    double left, used, cost;
    double began, ended;               /* first placement; NAN: not yet */
    struct forecast_time starts, ends; /* as told */
};

struct place {
    int job;
    double since, computes, ends, leaves;
};

struct world {
    uint64_t random;
    double now;
    struct fair_rules rules;
    struct fair_user users[USERS];
    double waits_since[USERS];
    struct task jobs[JOBS_MAX];
    int n_jobs, n_devices, n_holders;
    struct fair_holder holders[DEVICES];
    struct place places[DEVICES];
    struct step_times times[STEP_SHAPES];
};

struct score {
    int64_t told, right, within, starts, ends;
};

static double uniform(struct world *w, double from, double to)
{
    uint64_t z = (w->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return from + (to - from) * (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static int below(struct world *w, int n)
{
    return (int)uniform(w, 0, n);
}

/* ---- a world ---- */

static void make_job(struct world *w, struct task *job)
{
    const int shape = below(w, STEP_SHAPES);
    const struct step_run *run = &step_shapes[shape].runs[below(w, STEP_RUNS)];
    const double seconds = 10 * exp(uniform(w, 0, log(360))); /* ten seconds to an hour */
    *job = (struct task){.user = below(w, USERS),
                         .priority = below(w, 8) ? 0 : below(w, 201) - 100,
                         .shape = shape,
                         .devices = (UINT32_C(1) << w->n_devices) - 1,
                         .start = run->start,
                         .stop = 0.1,
                         .epoch = run->epoch,
                         .epochs = ceil(seconds / run->epoch),
                         .began = NAN,
                         .ended = NAN};
    if (w->n_devices > 1 && below(w, 4) == 0)
        job->devices = UINT32_C(1) << below(w, w->n_devices);
    job->left = job->epochs * job->epoch;
}

static void make_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.random = seed};
    w->n_devices = 1 + below(w, DEVICES);
    w->n_jobs = 5 + below(w, JOBS_MAX - 5);
    w->rules = (struct fair_rules){.slice = uniform(w, 60, 900)};
    w->rules.credit = 2 * w->rules.slice;
    for (int i = 0; i < USERS; i++) {
        w->users[i] = (struct fair_user){.name = names[i], .share = below(w, 3) ? 1 : 2};
        w->waits_since[i] = NAN;
    }
    for (int i = 0; i < w->n_jobs; i++) {
        make_job(w, &w->jobs[i]);
        w->jobs[i].arrives = below(w, 3) ? 0 : uniform(w, 0, 1200);
    }
    /* Of most shapes jobs have run before. */
    for (int shape = 0; shape < STEP_SHAPES; shape++)
        for (int runs = below(w, 4); runs > 0; runs--) {
            const struct step_run *run = &step_shapes[shape].runs[below(w, STEP_RUNS)];
            const double epochs = ceil(30 / run->epoch);
            step_times_learn(&w->times[shape], epochs * run->epoch,
                             epochs * step_shapes[shape].cost, run->start, 0.1);
        }
}

/* ---- what happens: fair_next at every moment that it names ---- */

static int is_before(const struct task *a, const struct task *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a < b;
}

static int holds(const struct world *w, int user)
{
    int n = 0;
    for (int h = 0; h < w->n_holders; h++)
        n += w->holders[h].user == user;
    return n;
}

/* The first job of each user for each set of devices. */
static int gather(struct world *w, struct fair_job *heads)
{
    int n = 0;
    for (int i = 0; i < USERS; i++)
        w->users[i].waited = -1;
    for (int i = 0; i < w->n_jobs; i++) {
        struct task *job = &w->jobs[i];
        int at = 0;
        if (job->state != WAITS)
            continue;
        while (at < n && (heads[at].user != job->user || heads[at].devices != job->devices))
            at++;
        w->users[job->user].waited = 0;
        if (at < n && !is_before(job, &w->jobs[heads[at].id]))
            continue;
        n += at == n;
        heads[at] = (struct fair_job){.user = job->user,
                                      .priority = job->priority,
                                      .age = i,
                                      .devices = job->devices,
                                      .part = 1,
                                      .ends_in = INFINITY,
                                      .cost = job->cost,
                                      .id = i};
    }
    for (int i = 0; i < USERS; i++) {
        if (w->users[i].waited < 0 || holds(w, i)) {
            w->users[i].waited = -1;
            w->waits_since[i] = NAN;
            continue;
        }
        if (isnan(w->waits_since[i]))
            w->waits_since[i] = w->now;
        w->users[i].waited = w->now - w->waits_since[i];
    }
    for (int i = 0; i < n; i++)
        heads[i].waited = fmax(w->users[heads[i].user].waited, 0);
    return n;
}

static void place_job(struct world *w, int index, int device)
{
    struct task *job = &w->jobs[index];
    const int h = w->n_holders++;
    w->holders[h] = (struct fair_holder){.user = job->user,
                                         .device = device,
                                         .priority = job->priority,
                                         .part = 1,
                                         .cost = job->cost,
                                         .ends_in = INFINITY};
    w->places[h] = (struct place){.job = index,
                                  .since = w->now,
                                  .computes = w->now + job->start,
                                  .ends = w->now + job->start + job->left + job->stop,
                                  .leaves = INFINITY};
    job->state = RUNS;
    if (isnan(job->began))
        job->began = w->now;
}

static double decide(struct world *w)
{
    struct fair_job heads[JOBS_MAX];
    struct fair_action action = {.verb = FAIR_START};
    while (action.verb != FAIR_NONE) {
        struct fair_view view = {.rules = w->rules,
                                 .users = w->users,
                                 .jobs = heads,
                                 .holders = w->holders,
                                 .n_users = USERS,
                                 .n_jobs = gather(w, heads),
                                 .n_holders = w->n_holders,
                                 .n_devices = w->n_devices};
        fair_next(&view, &action);
        if (action.verb == FAIR_START)
            place_job(w, heads[action.job].id, action.device);
        if (action.verb != FAIR_STOP)
            continue;
        w->holders[action.holder].leaving = 1;
        w->places[action.holder].leaves = w->now + w->jobs[w->places[action.holder].job].stop;
    }
    return action.again;
}

static void leave(struct world *w, int h)
{
    const struct place *place = &w->places[h];
    struct task *job = &w->jobs[place->job];
    const double computed = w->now - place->computes - job->stop;
    const struct step_shape *shape = &step_shapes[job->shape];
    step_times_learn(&w->times[job->shape], fmax(computed, 0),
                     fmax(computed, 0) / job->epoch * shape->cost, job->start, job->stop);
    job->left = fmax(0, job->left - fmax(computed, 0));
    job->state = job->left > 1e-6 ? WAITS : ENDED;
    job->cost = job->start + job->stop;
    if (job->state == ENDED)
        job->ended = w->now;
    w->n_holders--;
    w->holders[h] = w->holders[w->n_holders];
    w->places[h] = w->places[w->n_holders];
}

static void pass_time(struct world *w, double to)
{
    for (int h = 0; h < w->n_holders; h++) {
        struct fair_user *user = &w->users[w->holders[h].user];
        w->holders[h].held += to - w->now;
        user->virtual += (to - w->now) / user->share;
    }
    w->now = to;
    for (int h = w->n_holders - 1; h >= 0; h--)
        if (fmin(w->places[h].ends, w->places[h].leaves) <= to + 1e-9)
            leave(w, h);
}

/* Users come back beside those that are there. */
static void arrive(struct world *w)
{
    int is_active[USERS] = {0};
    double least = INFINITY;
    for (int i = 0; i < w->n_jobs; i++)
        if (w->jobs[i].state == WAITS || w->jobs[i].state == RUNS)
            is_active[w->jobs[i].user] = 1;
    for (int i = 0; i < USERS; i++)
        least = is_active[i] ? fmin(least, w->users[i].virtual) : least;
    for (int i = 0; i < w->n_jobs; i++) {
        struct task *job = &w->jobs[i];
        if (job->state != TO_COME || job->arrives > w->now)
            continue;
        job->state = WAITS;
        if (!is_active[job->user] && least < INFINITY)
            w->users[job->user].virtual = fair_return(&w->rules, w->users[job->user].virtual,
                                                      least);
        is_active[job->user] = 1;
    }
}

/* Until `end`, or all jobs have ended. */
static void live(struct world *w, double end)
{
    while (w->now < end) {
        arrive(w);
        double next = fmin(end, w->now + fmax(decide(w), 1e-6));
        for (int i = 0; i < w->n_jobs; i++)
            if (w->jobs[i].state == TO_COME)
                next = fmin(next, w->jobs[i].arrives);
        for (int h = 0; h < w->n_holders; h++)
            next = fmin(next, fmin(w->places[h].ends, w->places[h].leaves));
        if (next == INFINITY)
            return;
        pass_time(w, next);
    }
}

/* ---- what is told ---- */

/* As step_times_get: of a shape that was not measured, the mean of the others. */
static struct step_times general(const struct world *w)
{
    double weight = 0, mean = 0, squares = 0;
    for (int i = 0; i < STEP_SHAPES; i++) {
        weight += w->times[i].weight;
        mean += w->times[i].weight * w->times[i].mean;
        squares += w->times[i].weight * w->times[i].mean * w->times[i].mean;
    }
    if (weight <= 0)
        return (struct step_times){0};
    mean /= weight;
    return (struct step_times){
        .weight = weight, .mean = mean, .variance = fmax(squares / weight - mean * mean, 0.02)};
}

static void tell_job(struct world *w, struct task *job, int holder, struct forecast_job *out)
{
    const struct step_times all = general(w), *times = &w->times[job->shape];
    const struct place *place = holder < 0 ? NULL : &w->places[holder];
    const double computed = place ? fmax(0, w->now - place->computes) : 0;
    const double epochs = floor(fmin(computed, job->left) / job->epoch);
    const double done = job->epochs - ceil(job->left / job->epoch - 1e-9);
    const struct pace_run run = {
        .epochs = epochs, .seconds = epochs * job->epoch, .since = computed - epochs * job->epoch};
    const struct job_work work = {.cost = step_shapes[job->shape].cost};
    *out = (struct forecast_job){.user = job->user,
                                 .priority = job->priority,
                                 .age = job - w->jobs,
                                 .devices = job->devices,
                                 .part = 1,
                                 .cost = job->cost,
                                 .limit = INFINITY,
                                 .device = -1};
    pace_estimate(&work, times->weight > 0 ? times : &all, "cpu", job->epochs - done - epochs,
                  epochs > 0 ? &run : NULL, out);
    if (!place)
        return;
    out->device = w->holders[holder].device;
    out->held = w->holders[holder].held;
    out->leaving = w->holders[holder].leaving;
    out->start = epochs > 0 ? fmin(out->start, out->held) : fmax(out->start, out->held);
}

static void tell(struct world *w)
{
    struct forecast_job jobs[JOBS_MAX];
    int of[JOBS_MAX], n = 0;
    struct err err = ERR_INIT;
    for (int i = 0; i < w->n_jobs; i++) {
        int holder = -1;
        for (int h = 0; h < w->n_holders; h++)
            holder = w->places[h].job == i ? h : holder;
        if (w->jobs[i].state != WAITS && holder < 0)
            continue;
        of[n] = i;
        tell_job(w, &w->jobs[i], holder, &jobs[n++]);
    }
    const struct forecast forecast = {.rules = w->rules,
                                      .users = w->users,
                                      .n_users = USERS,
                                      .n_devices = w->n_devices,
                                      .jobs = jobs,
                                      .n_jobs = n};
    assert_int_equal(forecast_run(&forecast, &err), 0);
    for (int i = 0; i < w->n_jobs; i++)
        w->jobs[i].ends.likely = NAN;
    for (int i = 0; i < n; i++) {
        w->jobs[of[i]].starts = jobs[i].starts;
        w->jobs[of[i]].ends = jobs[i].ends;
        assert_false(isnan(jobs[i].ends.likely));
    }
}

static int is_right(double told, double was)
{
    return fabs(told - was) <= 0.1 * was + 5;
}

static int is_within(struct forecast_time told, double was)
{
    return was >= told.low - 5 && was <= told.high + 5;
}

/* told: at the time `at`. */
static void judge(struct world *w, double at, struct score *score, int is_shown)
{
    for (int i = 0; i < w->n_jobs; i++) {
        const struct task *job = &w->jobs[i];
        if (isnan(job->ends.likely) || isnan(job->ended))
            continue;
        if (job->began > at) {
            score->told++;
            score->starts += is_right(job->starts.likely, job->began - at);
            score->right += is_right(job->starts.likely, job->began - at);
            score->within += is_within(job->starts, job->began - at);
        }
        score->told++;
        score->ends += is_right(job->ends.likely, job->ended - at);
        score->right += is_right(job->ends.likely, job->ended - at);
        score->within += is_within(job->ends, job->ended - at);
        if (is_shown)
            print_message("%s: start %.0f told %.0f, end %.0f told %.0f (%.0f to %.0f)\n",
                          step_shapes[job->shape].name, fmax(job->began - at, 0),
                          job->starts.likely, job->ended - at, job->ends.likely, job->ends.low,
                          job->ends.high);
    }
}

/* Told at some moments after the last submission; the world is lived to its end after each. */
static void run_world(uint64_t seed, struct score *score, int is_shown)
{
    struct world *w = malloc(sizeof *w), *then = malloc(sizeof *then);
    assert_non_null(w);
    assert_non_null(then);
    make_world(w, seed);
    double at = 1201;
    for (int i = 0; i < TELLINGS; i++, at += uniform(w, 0, 3600)) {
        live(w, at);
        decide(w);
        *then = *w;
        tell(then);
        live(then, INFINITY);
        judge(then, at, score, is_shown);
    }
    free(w);
    free(then);
}

static void test_told_is_true(void **state)
{
    (void)state;
    const char *seed = getenv("FORECAST_SEED"), *worlds = getenv("FORECAST_WORLDS");
    const int n = seed ? 1 : worlds ? atoi(worlds) : WORLDS;
    struct score score = {0};
    for (int i = 0; i < n; i++)
        run_world(seed ? strtoull(seed, NULL, 10) : (uint64_t)i + 1, &score, seed != NULL);
    print_message("%d worlds, %lld times told: %.1f %% within 10 %% + 5 s, %.1f %% inside their"
                  " range\n",
                  n, (long long)score.told, 100.0 * (double)score.right / (double)score.told,
                  100.0 * (double)score.within / (double)score.told);
    assert_true(seed || (double)score.right >= 0.9 * (double)score.told);
    assert_true(seed || (double)score.within >= 0.9 * (double)score.told);
}

/* ---- by hand ---- */

static struct fair_user two[2];

static struct forecast_job waiting(int user, int age, double seconds)
{
    return (struct forecast_job){.user = user,
                                 .age = age,
                                 .devices = 1,
                                 .part = 1,
                                 .seconds = seconds,
                                 .limit = INFINITY,
                                 .device = -1};
}

static struct forecast one_device(struct forecast_job *jobs, int n, double slice)
{
    for (int i = 0; i < 2; i++)
        two[i] = (struct fair_user){.name = names[i], .share = 1, .waited = -1};
    return (struct forecast){.rules = {.slice = slice, .credit = 2 * slice},
                             .users = two,
                             .n_users = 2,
                             .n_devices = 1,
                             .jobs = jobs,
                             .n_jobs = n};
}

static void test_order(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct forecast_job jobs[] = {waiting(0, 1, 100), waiting(0, 2, 10), waiting(0, 3, 20),
                                  waiting(0, 4, 5), waiting(0, 5, 5)};
    struct forecast forecast = one_device(jobs, 5, 0);
    jobs[0].device = 0; /* it runs, and has computed for a while */
    jobs[0].held = 50;
    jobs[0].spread = 0.1;
    jobs[2].priority = 1;
    jobs[2].start = 2;
    jobs[2].stop = 1;
    jobs[3].devices = 0; /* no device can take it */
    jobs[4].limit = 3;   /* its time is over before it has ended */
    assert_int_equal(forecast_run(&forecast, &err), 0);
    static const double starts[] = {0, 123, 100, NAN, 133}, ends[] = {100, 133, 123, NAN, 136};
    static const int places[] = {0, 2, 1, 0, 3};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(jobs[i].place, places[i]);
        assert_int_equal(isnan(jobs[i].ends.likely), isnan(ends[i]));
        if (isnan(ends[i]))
            continue;
        assert_true(fabs(jobs[i].starts.likely - starts[i]) < 1e-3);
        assert_true(fabs(jobs[i].ends.likely - ends[i]) < 1e-3);
    }
    /* What is uncertain of the first moves all others, but not their own times. */
    assert_true(fabs(jobs[0].ends.high - 100 - 1.645 * 0.1 * 100) < 8);
    assert_true(jobs[0].ends.low < 95 && jobs[0].starts.high < 1e-9);
    assert_true(fabs(jobs[2].starts.high - jobs[0].ends.high) < 1e-3);
    assert_true(fabs(jobs[4].ends.low - (jobs[0].ends.low + 36)) < 1e-3);
    forecast.is_closed = 1;
    assert_int_equal(forecast_run(&forecast, &err), 0);
    assert_true(fabs(jobs[0].ends.likely - 100) < 1e-3 && isnan(jobs[1].starts.likely));
}

/* Two users take turns of a minute: the shorter job ends at twice its own time. */
static void test_turns(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct forecast_job jobs[] = {waiting(0, 1, 600), waiting(1, 2, 290), waiting(0, 3, 60)};
    struct forecast forecast = one_device(jobs, 3, 60);
    assert_int_equal(forecast_run(&forecast, &err), 0);
    assert_true(jobs[0].starts.likely < 1e-3 && jobs[0].place == 1);
    assert_true(fabs(jobs[1].starts.likely - 60) < 2 && jobs[1].place == 2);
    assert_true(fabs(jobs[1].ends.likely - 590) < 5);
    assert_true(fabs(jobs[0].ends.likely - 890) < 5);
    assert_true(fabs(jobs[2].ends.likely - 950) < 5 && jobs[2].place == 3);
}

/* Ten thousand jobs of hours, with slices of a quarter of an hour, and many of seconds. */
static void test_cost(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    struct err err = ERR_INIT;
    struct forecast_job *jobs = calloc(MANY, sizeof *jobs);
    assert_non_null(jobs);
    for (int length = 10; length <= 100000; length *= 100) {
        struct forecast forecast = one_device(jobs, MANY, 900);
        for (int i = 0; i < MANY; i++)
            jobs[i] = waiting(i % 2, i, length * (0.5 + i % 100 / 100.0));
        const clock_t began = clock();
        assert_int_equal(forecast_run(&forecast, &err), 0);
        const double ms = (double)(clock() - began) * 1e3 / CLOCKS_PER_SEC;
        print_message("%d jobs of %d s: %.1f ms\n", MANY, length, ms);
        assert_true(ms < 1000); /* of processor, with sanitizers too; see `make bench-forecast` */
        for (int i = 0; i < MANY; i++)
            assert_true(jobs[i].ends.likely > 0 && jobs[i].place > 0);
    }
    free(jobs);
}

static void test_pace(void **state)
{
    (void)state;
    const struct job_work work = {.cost = 10};
    struct step_times times = {0};
    struct forecast_job job;
    pace_estimate(&work, &times, "cpu", 100, NULL, &job);
    const double guessed = job.spread;
    for (int i = 0; i < 5; i++)
        step_times_learn(&times, 20, 100, 3, 1); /* 0.2 s a billion */
    pace_estimate(&work, &times, "cpu", 100, NULL, &job);
    assert_true(fabs(job.seconds - 200) < 1 && fabs(job.start - 3) < 1e-9 && job.spread < guessed);
    step_times_learn(&times, 2000, 100, -1, -1); /* the machine slept */
    pace_estimate(&work, &times, "cpu", 100, NULL, &job);
    assert_true(job.seconds < 260 && fabs(job.start - 3) < 1e-9);
    /* It runs at half the speed: told more surely the longer it runs. */
    const struct pace_run soon = {.epochs = 1, .seconds = 4},
                          later = {.epochs = 100, .seconds = 400};
    pace_estimate(&work, &times, "cpu", 100, &soon, &job);
    const double first = job.seconds;
    pace_estimate(&work, &times, "cpu", 100, &later, &job);
    assert_true(first > 210 && first < job.seconds && fabs(job.seconds - 400) < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_cost),         cmocka_unit_test(test_pace),
        cmocka_unit_test(test_told_is_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
