/* The order of the queue on a virtual clock: three users with a thousand jobs each, of mixed
 * lengths, in bursts, on devices that fail. Each seed is a world of its own; the bounds of
 * server/queue/fair.h are checked at every event. A seed that fails replays alone:
 *
 *   FAIR_SEED=17 build/tests/server_fair       one seed, with what it measured
 *   FAIR_SEEDS=100000 build/tests/server_fair  more of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/queue/fair.h"

enum {
    USERS = 3,
    JOBS = 1000, /* of each user */
    LANES = 3,   /* parts of a device: all, a half, a quarter */
    DEVICES = 4,
    HOLDERS = 4 * DEVICES,
    LONGEST = 15, /* slices that a job takes */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SEEDS = 50
#else
    SEEDS = 1000
#endif
};

static const double parts[LANES] = {1, 0.5, 0.25};
static const char *const names[USERS] = {"ada", "bob", "eve"};

struct job {
    double arrives, left, ready; /* ready: since when it waits */
    int lane, priority;
};

struct user {
    struct job jobs[JOBS];
    int heap[LANES][JOBS], n_heap[LANES];
    int arrived, ended;
    struct fair_account account;
    double waiting;        /* seconds that it has waited, -1: it does not */
    int losses;            /* devices lost while it waited */
    double service, began; /* seconds of devices since the interval began; virtual time then */
    int active;
    int first;           /* of its jobs that wait, the first one */
    double first_waited; /* seconds for which it has been that, while a device was there */
    int first_losses;
};

/* A job on a device. It computes from `computes` on; told to leave, it leaves at `leaves`. */
struct place {
    int job;
    double since, computes, leaves;
};

struct world {
    uint64_t random, seed;
    double now, step, checkpoint, start, cost; /* cost: the sum of the three before */
    int n_devices, has_parts, lost;
    struct fair_rules rules;
    struct user users[USERS];
    struct fair_holder holders[HOLDERS];
    struct place places[HOLDERS];
    int n_holders;
    double changes[DEVICES]; /* when the device fails or is back */
    int is_up[DEVICES];
    double uneven, even_since; /* all users runnable throughout since then, -1: not */
    /* measured */
    double worst_lag, worst_wait, worst_large, held; /* the first three as parts of their bounds */
    int64_t decisions, slices;
};

/* ---- random numbers: splitmix64 ---- */

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

/* ---- a user's queue: a heap for each part of a device ---- */

static int is_before(const struct user *u, int a, int b)
{
    return u->jobs[a].priority != u->jobs[b].priority ? u->jobs[a].priority > u->jobs[b].priority
                                                      : a < b;
}

static void push(struct user *u, int job, double now)
{
    int *heap = u->heap[u->jobs[job].lane], i = u->n_heap[u->jobs[job].lane]++;
    u->jobs[job].ready = now;
    for (; i > 0 && is_before(u, job, heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = job;
}

static int pop(struct user *u, int lane)
{
    int *heap = u->heap[lane], top = heap[0], last = heap[--u->n_heap[lane]], i = 0, n;
    for (n = u->n_heap[lane]; 2 * i + 1 < n;) {
        int child = 2 * i + 1;
        child += child + 1 < n && is_before(u, heap[child + 1], heap[child]);
        if (!is_before(u, heap[child], last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

static int waiting_jobs(const struct user *u)
{
    return u->n_heap[0] + u->n_heap[1] + u->n_heap[2];
}

/* ---- the world ---- */

static double length_of(struct world *w)
{
    const double kind = uniform(w, 0, 1), slice = w->rules.slice;
    return slice * (kind < 0.7   ? uniform(w, 0.01, 0.5)
                    : kind < 0.9 ? uniform(w, 0.5, 3)
                                 : uniform(w, 3, LONGEST));
}

/* Bursts of 1 to 300 jobs; between them users run out of work at times. */
static void make_jobs(struct world *w, struct user *u)
{
    double at = 0;
    for (int i = 0, left = 0; i < JOBS; i++, left--) {
        if (left <= 0) {
            left = 1 + below(w, below(w, 4) ? 300 : 4);
            at += i && below(w, 3) ? uniform(w, 0, 1.2 * left * w->rules.slice) : 0;
        }
        u->jobs[i] = (struct job){.arrives = at, .left = length_of(w)};
        u->jobs[i].priority = below(w, 10) ? 0 : below(w, 201) - 100;
        if (w->has_parts)
            u->jobs[i].lane = below(w, 20) ? 1 + below(w, 2) : 0;
    }
}

static void make_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .random = seed, .even_since = -1};
    w->n_devices = 1 + below(w, DEVICES);
    w->has_parts = seed % 4 == 3;
    w->rules = (struct fair_rules){.slice = uniform(w, 60, 1800)};
    w->rules.credit = 2 * w->rules.slice;
    /* Every fifth world has jobs that are slow to stop: their slices are longer. */
    w->cost = w->rules.slice * (seed % 5 ? uniform(w, 0.001, 0.05) : uniform(w, 0.05, 0.2));
    w->step = w->cost * uniform(w, 0.05, 0.5);
    w->checkpoint = w->start = (w->cost - w->step) / 2;
    for (int d = 0; d < w->n_devices; d++) {
        w->is_up[d] = 1;
        w->changes[d] = w->rules.slice * uniform(w, 0, 400);
    }
    for (int i = 0; i < USERS; i++) {
        w->users[i].waiting = -1;
        make_jobs(w, &w->users[i]);
    }
}

static double slice_of(const struct world *w)
{
    return fair_slice(&w->rules, w->cost);
}

static uint32_t devices_up(const struct world *w)
{
    uint32_t mask = 0;
    for (int d = 0; d < w->n_devices; d++)
        mask |= (uint32_t)w->is_up[d] << d;
    return mask;
}

#define check(world, condition, ...)                                                               \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("FAIR_SEED=%llu at %.1f s: ", (unsigned long long)(world)->seed,           \
                        (world)->now);                                                             \
            fail_msg(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

/* ---- bounds ---- */

/* The deadline of a wait, of one slice more for every device that was lost meanwhile. */
static double bound_of_wait(const struct world *w, const struct user *u)
{
    return (USERS + u->losses) * slice_of(w) + w->step + w->checkpoint;
}

static void check_wait(struct world *w, struct user *u, int i)
{
    if (u->waiting < 0)
        return;
    w->worst_wait = fmax(w->worst_wait, u->waiting / bound_of_wait(w, u));
    check(w, u->waiting <= bound_of_wait(w, u) + 1e-6, "%s waits for %.1f s, %.1f s are the bound",
          names[i], u->waiting, bound_of_wait(w, u));
}

/* A user's first job waits beside jobs of the same user that run and do not give way to it, on two
 * devices in turn, and for three slices of each user. Without such jobs check_wait is stricter. */
static void check_large(struct world *w, const struct user *u)
{
    const double bound =
        2 * LONGEST * w->rules.slice + (3 * USERS + u->first_losses) * slice_of(w) + w->cost;
    w->worst_large = fmax(w->worst_large, u->first_waited / bound);
    check(w, u->first_waited <= bound, "a first job waits for %.1f s, %.1f s are the bound",
          u->first_waited, bound);
}

/* The level up to which the users' virtual times are filled when all service is given to the
 * least one first: what each is entitled to, with the credit that it came with. */
static double level_of(const struct world *w, double sum)
{
    double level = INFINITY;
    for (int top = 0; top < USERS; top++) { /* users up to this one's virtual time get something */
        double begin = 0;
        int n = 0;
        for (int i = 0; i < USERS; i++)
            if (w->users[i].began <= w->users[top].began) {
                begin += w->users[i].began;
                n++;
            }
        const double filled = (sum + begin) / n;
        if (filled >= w->users[top].began)
            level = fmin(level, filled);
    }
    return level;
}

/* Since all users are runnable: service beside an equal part, and beside that part with the credit
 * that users came with; anything between the two is right. */
static void check_lag(struct world *w)
{
    double sum = 0;
    for (int i = 0; i < USERS; i++)
        sum += w->users[i].service;
    const double equal = sum / USERS, level = level_of(w, sum);
    for (int i = 0; i < USERS && w->even_since >= 0; i++) {
        const struct user *u = &w->users[i];
        const double filled = fmax(0, level - u->began);
        const double lag = fmax(fmin(equal, filled) - u->service, u->service - fmax(equal, filled));
        w->worst_lag = fmax(w->worst_lag, lag / slice_of(w));
        check(w, lag <= 1.5 * slice_of(w), "%s has had %.1f s, entitled to %.1f or %.1f", names[i],
              u->service, equal, filled);
    }
}

/* ---- time ---- */

static int count_held(const struct world *w, int user)
{
    int n = 0;
    for (int h = 0; h < w->n_holders; h++)
        n += w->holders[h].user == user;
    return n;
}

/* An interval counts while every user has enough jobs for all devices, from a slice after its
 * begin: slices that were under way then are over. */
static void look_for_interval(struct world *w)
{
    for (int i = 0; i < USERS; i++)
        if (w->has_parts || waiting_jobs(&w->users[i]) + count_held(w, i) < w->n_devices)
            w->uneven = w->now;
    const int even = w->now >= w->uneven + slice_of(w);
    if (even == (w->even_since >= 0))
        return;
    w->even_since = even ? w->now : -1;
    for (int i = 0; i < USERS; i++) {
        w->users[i].service = 0;
        w->users[i].began = w->users[i].account.virtual;
    }
}

static void pass_time(struct world *w, double to)
{
    const double passed = to - w->now;
    for (int h = 0; h < w->n_holders; h++) {
        struct fair_holder *holder = &w->holders[h];
        struct user *u = &w->users[holder->user];
        const double computed =
            fmax(0, fmin(to, w->places[h].leaves) - fmax(w->now, w->places[h].computes));
        holder->held += passed;
        w->held += passed;
        u->jobs[w->places[h].job].left -= computed;
        u->service += passed * holder->part;
        fair_charge(&w->rules, &u->account, 1, passed * holder->part, to);
    }
    for (int i = 0; i < USERS && devices_up(w); i++) {
        w->users[i].waiting += w->users[i].waiting >= 0 ? passed : 0;
        w->users[i].first_waited += passed;
    }
    w->now = to;
    check_lag(w);
}

/* ---- events ---- */

static void remove_holder(struct world *w, int h)
{
    w->holders[h] = w->holders[--w->n_holders];
    w->places[h] = w->places[w->n_holders];
}

/* Jobs that have ended, or have left with a checkpoint. */
static void end_jobs(struct world *w)
{
    for (int h = w->n_holders - 1; h >= 0; h--) {
        struct user *u = &w->users[w->holders[h].user];
        const int job = w->places[h].job;
        if (u->jobs[job].left <= 1e-6)
            u->ended++;
        else if (w->holders[h].leaving && w->places[h].leaves + w->checkpoint <= w->now + 1e-9)
            push(u, job, w->now);
        else
            continue;
        remove_holder(w, h);
    }
}

/* A device that fails loses what its jobs did since their last checkpoint. */
static void change_device(struct world *w, int d)
{
    w->is_up[d] = !w->is_up[d];
    w->changes[d] =
        w->now + w->rules.slice * (w->is_up[d] ? uniform(w, 50, 400) : uniform(w, 0, 20));
    if (w->is_up[d])
        return;
    for (int i = 0; i < USERS; i++) {
        w->users[i].losses++;
        w->users[i].first_losses++;
    }
    for (int h = w->n_holders - 1; h >= 0; h--) {
        struct user *u = &w->users[w->holders[h].user];
        if (w->holders[h].device != d)
            continue;
        u->jobs[w->places[h].job].left += uniform(w, 0, 0.02) * w->rules.slice;
        push(u, w->places[h].job, w->now);
        remove_holder(w, h);
    }
}

/* A user that gets work comes back beside the least of the active ones. */
static void arrive(struct world *w, int i)
{
    struct user *u = &w->users[i];
    double least = INFINITY;
    for (int other = 0; other < USERS; other++)
        if (w->users[other].active)
            least = fmin(least, w->users[other].account.virtual);
    if (!u->active && least < INFINITY)
        u->account.virtual = fair_return(&w->rules, u->account.virtual, least);
    u->active = 1;
    push(u, u->arrived++, w->now);
}

static void happen(struct world *w)
{
    for (int d = 0; d < w->n_devices; d++)
        if (w->changes[d] <= w->now)
            change_device(w, d);
    end_jobs(w);
    for (int i = 0; i < USERS; i++) {
        w->users[i].active = waiting_jobs(&w->users[i]) || count_held(w, i);
        while (w->users[i].arrived < JOBS &&
               w->users[i].jobs[w->users[i].arrived].arrives <= w->now)
            arrive(w, i);
    }
}

/* Time of the next event; again: seconds after which a decision is due. */
static double next_event(const struct world *w, double again)
{
    double at = w->now + again;
    for (int d = 0; d < w->n_devices; d++)
        at = fmin(at, w->changes[d]);
    for (int h = 0; h < w->n_holders; h++) {
        const struct place *place = &w->places[h];
        const double left = w->users[w->holders[h].user].jobs[place->job].left;
        const double ends = fmax(w->now, place->computes) + left;
        at = fmin(at, w->holders[h].leaving && place->leaves < ends ? place->leaves + w->checkpoint
                                                                    : ends);
        if (place->computes > w->now)
            at = fmin(at, place->computes);
        if (place->leaves > w->now)
            at = fmin(at, place->leaves);
    }
    for (int i = 0; i < USERS; i++)
        if (w->users[i].arrived < JOBS)
            at = fmin(at, w->users[i].jobs[w->users[i].arrived].arrives);
    return at;
}

/* ---- decisions ---- */

/* The first of the user's jobs that wait, -1: none. */
static void look_for_first(struct user *u)
{
    int first = -1;
    for (int lane = 0; lane < LANES; lane++)
        if (u->n_heap[lane] && (first < 0 || is_before(u, u->heap[lane][0], first)))
            first = u->heap[lane][0];
    if (first != u->first)
        u->first_waited = u->first_losses = 0;
    u->first = first;
}

/* The snapshot: the active users, and the head of each of their heaps. of[]: which user. */
static void look(struct world *w, struct fair_view *view, int of[USERS])
{
    int index[USERS];
    view->n_users = view->n_jobs = 0;
    for (int i = 0; i < USERS; i++) {
        struct user *u = &w->users[i];
        const int has_jobs = waiting_jobs(u) > 0, held = count_held(w, i);
        if (has_jobs && !held && u->waiting < 0)
            u->waiting = u->losses = 0;
        else if (!has_jobs || held) {
            check_wait(w, u, i);
            u->waiting = -1;
        }
        look_for_first(u);
        if (!has_jobs && !held)
            continue;
        index[i] = view->n_users;
        of[view->n_users] = i;
        view->users[view->n_users++] =
            (struct fair_user){.name = names[i],
                               .share = 1,
                               .virtual = u->account.virtual,
                               .waited = devices_up(w) ? u->waiting : -1};
        for (int lane = 0; lane < LANES; lane++) {
            if (!u->n_heap[lane])
                continue;
            const struct job *job = &u->jobs[u->heap[lane][0]];
            view->jobs[view->n_jobs++] = (struct fair_job){.user = index[i],
                                                           .priority = job->priority,
                                                           .age = u->heap[lane][0],
                                                           .devices = devices_up(w),
                                                           .part = parts[lane],
                                                           .waited = w->now - job->ready,
                                                           .ends_in = INFINITY,
                                                           .cost = w->cost,
                                                           .id = lane};
        }
    }
    for (int h = 0; h < w->n_holders; h++) {
        view->holders[h] = w->holders[h];
        view->holders[h].user = index[w->holders[h].user];
    }
    view->n_holders = w->n_holders;
}

static void start(struct world *w, int i, int lane, int device)
{
    struct user *u = &w->users[i];
    const int job = pop(u, lane);
    if (job == u->first)
        check_large(w, u);
    w->places[w->n_holders] = (struct place){
        .job = job, .since = w->now, .computes = w->now + w->start, .leaves = INFINITY};
    w->holders[w->n_holders++] = (struct fair_holder){.user = i,
                                                      .device = device,
                                                      .priority = u->jobs[job].priority,
                                                      .part = parts[lane],
                                                      .cost = w->cost,
                                                      .ends_in = INFINITY};
}

/* Told to stop, a job ends its step and writes a checkpoint. */
static void give_way(struct world *w, int h)
{
    w->holders[h].leaving = 1;
    w->places[h].leaves = w->now + uniform(w, 0, 1) * w->step;
    w->slices++;
}

static double decide(struct world *w)
{
    struct fair_user users[USERS];
    struct fair_job jobs[USERS * LANES];
    struct fair_holder holders[HOLDERS];
    struct fair_view view = {.rules = w->rules,
                             .users = users,
                             .jobs = jobs,
                             .holders = holders,
                             .n_devices = w->n_devices};
    struct fair_action action;
    for (;;) {
        int of[USERS];
        look(w, &view, of);
        fair_next(&view, &action);
        w->decisions++;
        if (action.verb == FAIR_NONE)
            return action.again;
        if (action.verb == FAIR_START)
            start(w, of[jobs[action.job].user], jobs[action.job].id, action.device);
        else
            give_way(w, action.holder);
    }
}

static void run(struct world *w)
{
    double again = 0;
    int ended = 0;
    while (ended < USERS * JOBS) {
        happen(w);
        again = decide(w);
        look_for_interval(w);
        const double at = next_event(w, again);
        check(w, at < INFINITY, "nothing happens any more, %d jobs have ended", ended);
        pass_time(w, at);
        ended = w->users[0].ended + w->users[1].ended + w->users[2].ended;
    }
}

/* What slices cost: each stop, checkpoint and start. */
static double overhead_of(const struct world *w)
{
    return (double)w->slices * w->cost / w->held;
}

static void test_seeds(void **state)
{
    (void)state;
    static struct world w;
    const char *one = getenv("FAIR_SEED"), *more = getenv("FAIR_SEEDS");
    const uint64_t first = one ? strtoull(one, NULL, 10) : 0;
    const uint64_t n = one ? 1 : more ? strtoull(more, NULL, 10) : SEEDS;
    double lag = 0, wait = 0, large = 0, overhead = 0;
    int64_t decisions = 0;
    for (uint64_t seed = first; seed < first + n; seed++) {
        make_world(&w, seed);
        run(&w);
        check(&w, overhead_of(&w) <= 1.0 / FAIR_COST_FACTOR, "slices cost %.4f of the time",
              overhead_of(&w));
        lag = fmax(lag, w.worst_lag);
        wait = fmax(wait, w.worst_wait);
        large = fmax(large, w.worst_large);
        overhead = fmax(overhead, overhead_of(&w));
        decisions += w.decisions;
    }
    print_message(
        "%llu seeds, %lld decisions; lag %.3f slices, waits %.3f and %.3f of their bounds,"
        " slices cost %.4f\n",
        (unsigned long long)n, (long long)decisions, lag, wait, large, overhead);
}

/* ---- single decisions ---- */

static struct fair_user two[2];
static struct fair_job waits[2];
static struct fair_holder holds[1];

/* One device: `ada` holds it for 900 s and is ahead by a slice, `bob` waits. */
static struct fair_view example(void)
{
    two[0] = (struct fair_user){.name = "ada", .share = 1, .virtual = 1800, .waited = -1};
    two[1] = (struct fair_user){.name = "bob", .share = 1, .virtual = 900, .waited = 10};
    waits[0] = (struct fair_job){.user = 1, .devices = 1, .part = 1, .ends_in = INFINITY};
    waits[1] = (struct fair_job){.user = 0, .devices = 1, .part = 1, .ends_in = INFINITY};
    holds[0] = (struct fair_holder){.user = 0, .part = 1, .held = 900, .ends_in = INFINITY};
    return (struct fair_view){.rules = {.slice = 900, .credit = 1800},
                              .users = two,
                              .jobs = waits,
                              .holders = holds,
                              .n_users = 2,
                              .n_jobs = 2,
                              .n_holders = 1,
                              .n_devices = 1};
}

static enum fair_verb verb_of(struct fair_view view, int *user)
{
    struct fair_action action;
    fair_next(&view, &action);
    if (action.verb != FAIR_NONE)
        *user = view.jobs[action.job].user;
    return action.verb;
}

static void test_slices(void **state)
{
    (void)state;
    int user = -1;
    assert_int_equal(verb_of(example(), &user), FAIR_STOP);
    assert_int_equal(user, 1);
    struct fair_view view = example();
    view.rules.slice = 0; /* never */
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
    view = example();
    holds[0].held = 899;
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
    view = example();
    holds[0].cost = 46; /* twenty times that are longer than the slice */
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
    view = example();
    two[1].virtual = 901; /* not behind by a slice */
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
    view = example();
    holds[0].urgent = 1;
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
    view = example();
    holds[0].leaving = 1; /* one stop is enough */
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
}

/* A user's own jobs give way to a higher priority only. */
static void test_own_jobs(void **state)
{
    (void)state;
    int user = -1;
    struct fair_view view = example();
    waits[0] = waits[1];
    view.n_jobs = 1;
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
    waits[0].priority = 1;
    assert_int_equal(verb_of(view, &user), FAIR_STOP);
}

static void test_order(void **state)
{
    (void)state;
    int user = -1;
    struct fair_view view = example();
    view.n_holders = 0;
    assert_int_equal(verb_of(view, &user), FAIR_START);
    assert_int_equal(user, 1); /* less virtual time */
    view = example();
    view.n_holders = 0;
    waits[1].priority = 100; /* orders the user's own jobs only */
    assert_int_equal(verb_of(view, &user), FAIR_START);
    assert_int_equal(user, 1);
    view = example();
    view.n_holders = 0;
    waits[1].urgent = 1;
    assert_int_equal(verb_of(view, &user), FAIR_START);
    assert_int_equal(user, 0);
    view = example();
    view.n_holders = 0;
    two[0].virtual = 900; /* the name decides */
    assert_int_equal(verb_of(view, &user), FAIR_START);
    assert_int_equal(user, 0);
}

/* A job that needs a whole device and has waited for a slice keeps others away, unless they have
 * surely ended before. */
static void test_reservation(void **state)
{
    (void)state;
    int user = -1;
    struct fair_view view = example();
    holds[0].part = 0.5;
    holds[0].held = 100;
    waits[0].waited = 900;
    waits[1].part = 0.5;
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
    view = example();
    holds[0].part = 0.5;
    holds[0].held = 100;
    waits[0].waited = 900;
    waits[1].part = 0.5;
    waits[1].ends_in = 800;
    assert_int_equal(verb_of(view, &user), FAIR_START);
    assert_int_equal(user, 0);
}

/* Room that the parts do not show to be missing: a start waits, others may have it. */
static void test_full(void **state)
{
    (void)state;
    int user = -1;
    struct fair_view view = example();
    view.n_holders = 0;
    waits[0].full = 1;
    assert_int_equal(verb_of(view, &user), FAIR_START);
    assert_int_equal(user, 0);
    view = example();
    view.n_holders = 0;
    waits[0].full = waits[1].full = 1;
    assert_int_equal(verb_of(view, &user), FAIR_NONE);
}

static void test_accounts(void **state)
{
    (void)state;
    struct fair_rules rules = {.slice = 900, .credit = 1800};
    struct fair_account account = {.virtual = 10};
    fair_charge(&rules, &account, 2, 100, 50);
    assert_true(account.virtual == 60 && account.used == 100 && account.used_at == 50);
    assert_true(fair_return(&rules, 10, 5000) == 3200);
    assert_true(fair_return(&rules, 4000, 5000) == 4000);
    assert_true(fair_scale(&rules, 3, 1e9, 1) == 3); /* off */
    rules.half_life = 100;
    assert_true(fair_used(&rules, &account, 150) == 50);
    assert_true(fair_scale(&rules, 3, 1e9, 1) == 1.5);
    assert_true(fair_scale(&rules, 3, 0, 1) == 6);
    assert_true(fair_scale(&rules, 3, 10, 10) == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices), cmocka_unit_test(test_own_jobs),
        cmocka_unit_test(test_order),  cmocka_unit_test(test_reservation),
        cmocka_unit_test(test_full),   cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
