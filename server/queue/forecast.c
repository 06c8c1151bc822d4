/* forecast: see forecast.h. Waiting jobs are sorted once into lanes, one for each user and set of
 * devices, each in the order in which they run; the first of each lane is what fair_next sees. A job
 * that gave way waits in front of its lane, in a list of its own. */
#include "server/queue/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A larger spread moves the runs no further: their median would depend on chance. Ranges are at least
 * those that the first run carries along then. */
#define FORECAST_CHANCE 0.15
/* Two events that are closer are one. */
#define FORECAST_TOGETHER 1e-6

struct lane {
    int next, end; /* of `order` */
    int returned;  /* first job that gave way, -1: none; linked by `behind` */
};

/* A job on a device. */
struct place {
    int job;
    double since, computes;    /* on the device; from when on it computes */
    double ends;               /* when it has ended, or its limit is reached */
    double leaves;             /* INFINITY: it was not told to */
    struct forecast_time from; /* of `since` */
};

/* What the clock keeps of a job. */
struct progress {
    int lane, behind;
    double left, used; /* seconds to compute; seconds on devices */
    double cost;       /* of stopping and starting, as far as the scheduler knows it */
};

/* What one run has told of a job. */
struct run {
    double starts, ends;
};

struct clock {
    const struct forecast *forecast;
    struct fair_view view;
    struct fair_user *users;
    double *waits_since; /* of each user, below 0: it does not wait */
    struct fair_job *heads;
    struct fair_holder holders[FORECAST_HOLDERS_MAX];
    struct place places[FORECAST_HOLDERS_MAX];
    struct forecast_time free[FAIR_DEVICES_MAX]; /* since when a device has its present room */
    struct progress *progress;
    struct lane *lanes;
    int *order;
    int n_lanes, n_placed;
    double now;
    int64_t decisions;
    /* of all runs */
    struct run *runs; /* [n_jobs][FORECAST_RUNS] */
    struct forecast_time
        *firsts; /* [n_jobs][2] starts and ends, with the ranges of the first run */
    int run;
};

/* ---- lanes ---- */

static int forecast_is_before(const struct forecast_job *a, const struct forecast_job *b)
{
    if (a->urgent != b->urgent)
        return a->urgent > b->urgent;
    return a->priority != b->priority ? a->priority > b->priority : a->age < b->age;
}

static int forecast_compare(const void *a, const void *b, void *jobs)
{
    const struct forecast_job *one = (struct forecast_job *)jobs + *(const int *)a;
    const struct forecast_job *two = (struct forecast_job *)jobs + *(const int *)b;
    if (one->user != two->user)
        return one->user - two->user;
    if (one->devices != two->devices)
        return one->devices < two->devices ? -1 : 1;
    return forecast_is_before(two, one) - forecast_is_before(one, two);
}

static void clock_sort(struct clock *clock)
{
    const struct forecast *forecast = clock->forecast;
    int n = 0;
    for (int i = 0; i < forecast->n_jobs; i++)
        if (forecast->jobs[i].devices)
            clock->order[n++] = i;
    qsort_r(clock->order, (size_t)n, sizeof *clock->order, forecast_compare, forecast->jobs);
    for (int i = 0; i < n; i++) {
        const struct forecast_job *job = &forecast->jobs[clock->order[i]];
        const struct forecast_job *last = i ? &forecast->jobs[clock->order[i - 1]] : NULL;
        if (!last || last->user != job->user || last->devices != job->devices)
            clock->lanes[clock->n_lanes++] = (struct lane){.next = i, .end = i, .returned = -1};
        clock->lanes[clock->n_lanes - 1].end++;
        clock->progress[clock->order[i]].lane = clock->n_lanes - 1;
    }
}

/* Jobs that run stand in the order too, so that they have a lane to return to; they are passed
 * over. */
static void lane_skip(const struct clock *clock, struct lane *lane)
{
    while (lane->next < lane->end && clock->forecast->jobs[clock->order[lane->next]].device >= 0)
        lane->next++;
}

/* The next job of the lane, -1: none. */
static int lane_head(const struct clock *clock, struct lane *lane)
{
    lane_skip(clock, lane);
    const int sorted = lane->next < lane->end ? clock->order[lane->next] : -1;
    if (sorted < 0 || lane->returned < 0)
        return sorted < 0 ? lane->returned : sorted;
    const struct forecast_job *jobs = clock->forecast->jobs;
    return forecast_is_before(&jobs[lane->returned], &jobs[sorted]) ? lane->returned : sorted;
}

static void lane_take(struct clock *clock, struct lane *lane)
{
    const int head = lane_head(clock, lane);
    if (head == lane->returned)
        lane->returned = clock->progress[head].behind;
    else
        lane->next++;
}

static void lane_return(struct clock *clock, int job)
{
    const struct forecast_job *jobs = clock->forecast->jobs;
    int *at = &clock->lanes[clock->progress[job].lane].returned;
    while (*at >= 0 && forecast_is_before(&jobs[*at], &jobs[job]))
        at = &clock->progress[*at].behind;
    clock->progress[job].behind = *at;
    *at = job;
}

/* ---- what fair_next sees ---- */

static int clock_holds(const struct clock *clock, int user)
{
    for (int h = 0; h < clock->view.n_holders; h++)
        if (clock->holders[h].user == user)
            return 1;
    return 0;
}

static void clock_heads(struct clock *clock)
{
    const struct forecast_job *jobs = clock->forecast->jobs;
    for (int i = 0; i < clock->view.n_users; i++)
        clock->users[i].waited = -1;
    clock->view.n_jobs = 0;
    for (int l = 0; l < clock->n_lanes; l++) {
        const int head = lane_head(clock, &clock->lanes[l]);
        if (head < 0)
            continue;
        const struct forecast_job *job = &jobs[head];
        clock->users[job->user].waited = 0;
        clock->heads[clock->view.n_jobs++] =
            (struct fair_job){.user = job->user,
                              .urgent = job->urgent,
                              .priority = job->priority,
                              .age = job->age,
                              .devices = job->devices,
                              .part = job->part,
                              .ends_in = job->limit - clock->progress[head].used,
                              .cost = clock->progress[head].cost,
                              .id = l};
    }
    for (int i = 0; i < clock->view.n_users; i++) {
        struct fair_user *user = &clock->users[i];
        if (user->waited < 0 || clock_holds(clock, i))
            clock->waits_since[i] = NAN, user->waited = -1;
        else if (isnan(clock->waits_since[i]))
            clock->waits_since[i] = clock->now;
        if (user->waited >= 0)
            user->waited = clock->now - clock->waits_since[i];
    }
    for (int i = 0; i < clock->view.n_jobs; i++)
        clock->heads[i].waited = fmax(clock->users[clock->heads[i].user].waited, 0);
}

/* ---- decisions ---- */

static void clock_hold(struct clock *clock, int index, int device, struct forecast_time from)
{
    const struct forecast_job *job = &clock->forecast->jobs[index];
    const int h = clock->view.n_holders++;
    const int goes_on = job->device >= 0 && clock->now <= 0; /* it ran at the snapshot */
    clock->holders[h] = (struct fair_holder){
        .user = job->user,
        .device = device,
        .urgent = job->urgent,
        .priority = job->priority,
        .part = job->part,
        .cost = clock->progress[index].cost,
        .held = goes_on ? job->held : 0,
        .ends_in = job->limit - clock->progress[index].used,
        .leaving = goes_on && job->leaving,
    };
    const double computes = clock->now + (goes_on ? fmax(job->start - job->held, 0) : job->start);
    clock->places[h] = (struct place){
        .job = index,
        .since = clock->now,
        .computes = computes,
        .ends = fmin(computes + clock->progress[index].left + job->stop,
                     clock->now + job->limit - clock->progress[index].used),
        .leaves = goes_on && job->leaving ? clock->now + job->stop : INFINITY,
        .from = from,
    };
}

static void clock_start(struct clock *clock, const struct fair_action *action)
{
    struct lane *lane = &clock->lanes[clock->heads[action->job].id];
    const int index = lane_head(clock, lane);
    struct forecast_job *job = &clock->forecast->jobs[index];
    struct forecast_time from = clock->free[action->device];
    lane_take(clock, lane);
    from.likely = clock->now;
    from.low = fmin(from.low, clock->now);
    from.high = fmax(from.high, clock->now);
    if (isnan(job->starts.likely)) {
        job->starts = from;
        job->place = job->device < 0 ? ++clock->n_placed : 0;
    }
    clock_hold(clock, index, action->device, from);
}

static void clock_stop(struct clock *clock, int h)
{
    clock->holders[h].leaving = 1;
    clock->places[h].leaves = clock->now + clock->forecast->jobs[clock->places[h].job].stop;
}

/* Decide until nothing is to be done; returns the seconds after which to look again. */
static double clock_decide(struct clock *clock)
{
    struct fair_action action = {.verb = FAIR_START};
    while (action.verb != FAIR_NONE && clock->view.n_holders < FORECAST_HOLDERS_MAX &&
           clock->decisions < FORECAST_DECISIONS_MAX) {
        clock_heads(clock);
        if (!clock->view.n_jobs)
            return INFINITY;
        fair_next(&clock->view, &action);
        if (++clock->decisions % FORECAST_DECISIONS == 0)
            clock->view.rules.slice *= 2;
        if (action.verb == FAIR_START)
            clock_start(clock, &action);
        else if (action.verb == FAIR_STOP)
            clock_stop(clock, action.holder);
    }
    return action.verb == FAIR_NONE ? action.again : INFINITY;
}

/* ---- time ---- */

static double place_leaves(const struct place *place)
{
    return fmin(place->leaves, place->ends);
}

static double clock_next(const struct clock *clock, double again)
{
    double next = INFINITY;
    for (int h = 0; h < clock->view.n_holders; h++)
        next = fmin(next, place_leaves(&clock->places[h]));
    return fmin(next, clock->now + fmax(again, FORECAST_TOGETHER));
}

static void clock_pass(struct clock *clock, double to)
{
    const double passed = to - clock->now;
    for (int h = 0; h < clock->view.n_holders; h++) {
        struct fair_holder *holder = &clock->holders[h];
        const struct place *place = &clock->places[h];
        struct progress *progress = &clock->progress[place->job];
        struct fair_user *user = &clock->users[holder->user];
        const double stop = clock->forecast->jobs[place->job].stop;
        const double until = fmin(to, place->leaves - stop); /* it writes a checkpoint then */
        const double computed = fmax(0, until - fmax(clock->now, place->computes));
        progress->left = fmax(0, progress->left - computed);
        progress->used += passed;
        holder->held += passed;
        holder->ends_in -= passed;
        user->virtual += passed * holder->part / user->share;
    }
    clock->now = to;
}

/* The job of a holder has left: it has ended, or waits again. */
static void clock_leave(struct clock *clock, int h)
{
    const struct place *place = &clock->places[h];
    struct forecast_job *job = &clock->forecast->jobs[place->job];
    struct progress *progress = &clock->progress[place->job];
    const double held = clock->now - place->since;
    struct forecast_time end = {place->from.low + held, clock->now, place->from.high + held};
    const int ended =
        progress->left <= FORECAST_TOGETHER || progress->used >= job->limit - FORECAST_TOGETHER;
    if (ended) {
        const double took = clock->now - job->starts.likely;
        end.low = fmin(clock->now, job->starts.low + took * exp(-FORECAST_WIDTH * job->spread));
        end.high = fmax(clock->now, job->starts.high + took * exp(FORECAST_WIDTH * job->spread));
        job->ends = end;
    } else {
        progress->cost = job->start + job->stop;
        lane_return(clock, place->job);
    }
    clock->free[clock->holders[h].device] = end;
    clock->view.n_holders--;
    clock->holders[h] = clock->holders[clock->view.n_holders];
    clock->places[h] = clock->places[clock->view.n_holders];
}

static void clock_run(struct clock *clock)
{
    for (;;) {
        const double again = clock->forecast->is_closed ? INFINITY : clock_decide(clock);
        const double next = clock_next(clock, again);
        if (next == INFINITY)
            return;
        clock_pass(clock, next);
        for (int h = clock->view.n_holders - 1; h >= 0; h--)
            if (place_leaves(&clock->places[h]) <= clock->now + FORECAST_TOGETHER)
                clock_leave(clock, h);
    }
}

/* ---- from a snapshot ---- */

/* A normal number of a run and a job (Box and Muller 1958; splitmix64), the same in each forecast:
 * what is told does not tremble. */
static double forecast_normal(uint64_t run, uint64_t job)
{
    double uniform[2];
    for (int i = 0; i < 2; i++) {
        uint64_t z = (2 * (run << 32 ^ job) + (uint64_t)i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        uniform[i] = (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
    }
    return sqrt(-2 * log(1 - uniform[0])) * cos(2 * M_PI * uniform[1]);
}

/* By how many standard deviations a job's time is off in this run: half of the variance is common to
 * all jobs. Runs come in pairs of opposite signs, after a first one that is not off. */
static double clock_chance(const struct clock *clock, const struct forecast_job *job)
{
    const uint64_t pair = (uint64_t)(clock->run + 1) / 2;
    const double own = forecast_normal(pair, (uint64_t)job->age);
    const double off = (forecast_normal(pair, UINT32_MAX) + own) * M_SQRT1_2;
    return clock->run == 0 ? 0 : clock->run % 2 ? off : -off;
}

static void clock_begin(struct clock *clock)
{
    const struct forecast *forecast = clock->forecast;
    clock->n_lanes = clock->n_placed = 0;
    clock->now = 0;
    clock->decisions = 0;
    memset(clock->free, 0, sizeof clock->free);
    clock->view = (struct fair_view){.rules = forecast->rules,
                                     .users = clock->users,
                                     .jobs = clock->heads,
                                     .holders = clock->holders,
                                     .n_users = forecast->n_users,
                                     .n_devices = forecast->n_devices};
    for (int i = 0; i < forecast->n_users; i++) {
        clock->users[i] = forecast->users[i];
        clock->waits_since[i] = clock->users[i].waited < 0 ? NAN : -clock->users[i].waited;
    }
    for (int i = 0; i < forecast->n_jobs; i++) {
        struct forecast_job *job = &forecast->jobs[i];
        job->place = 0;
        job->starts = job->ends = (struct forecast_time){NAN, NAN, NAN};
        clock->progress[i] =
            (struct progress){.behind = -1,
                              .left = job->seconds * exp(fmin(job->spread, FORECAST_CHANCE) *
                                                         clock_chance(clock, job)),
                              .cost = job->cost};
    }
    clock_sort(clock);
    for (int i = 0; i < forecast->n_jobs; i++) {
        struct forecast_job *job = &forecast->jobs[i];
        if (job->device < 0 || clock->view.n_holders == FORECAST_HOLDERS_MAX)
            continue;
        job->starts = (struct forecast_time){0};
        clock_hold(clock, i, job->device, job->starts);
    }
}

/* ---- several runs ---- */

static void clock_keep(struct clock *clock)
{
    for (int i = 0; i < clock->forecast->n_jobs; i++) {
        const struct forecast_job *job = &clock->forecast->jobs[i];
        clock->runs[(size_t)i * FORECAST_RUNS + (size_t)clock->run] =
            (struct run){job->starts.likely, job->ends.likely};
        if (clock->run > 0)
            continue;
        clock->firsts[2 * i] = job->starts;
        clock->firsts[2 * i + 1] = job->ends;
    }
}

static int forecast_compare_times(const void *a, const void *b)
{
    const double one = *(const double *)a, two = *(const double *)b;
    return (one > two) - (one < two);
}

/* The median of the runs, and a range from their standard deviation. */
static struct forecast_time forecast_middle(double *times, int n)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < n; i++)
        mean += times[i] / n;
    for (int i = 0; i < n; i++)
        variance += (times[i] - mean) * (times[i] - mean) / (n - 1);
    qsort(times, (size_t)n, sizeof *times, forecast_compare_times);
    const double likely = times[n / 2], off = FORECAST_WIDTH * sqrt(variance);
    return (struct forecast_time){fmin(likely, fmax(mean - off, 0)), likely,
                                  fmax(likely, mean + off)};
}

static struct forecast_time forecast_union(struct forecast_time one, struct forecast_time two)
{
    return (struct forecast_time){fmin(one.low, fmin(two.low, one.likely)), one.likely,
                                  fmax(one.high, fmax(two.high, one.likely))};
}

/* Replace what the first run has told. */
static void clock_sum(struct clock *clock, int n_runs)
{
    double spread = 0;
    for (int i = 0; i < clock->forecast->n_jobs; i++)
        spread = fmax(spread, clock->forecast->jobs[i].spread);
    for (int i = 0; i < clock->forecast->n_jobs; i++) {
        struct forecast_job *job = &clock->forecast->jobs[i];
        const struct run *runs = &clock->runs[(size_t)i * FORECAST_RUNS];
        double starts[FORECAST_RUNS], ends[FORECAST_RUNS];
        int is_known = 1;
        for (int r = 0; r < n_runs; r++) {
            starts[r] = runs[r].starts;
            ends[r] = runs[r].ends;
            is_known &= !isnan(starts[r]) && !isnan(ends[r]);
        }
        const struct forecast_time *first = &clock->firsts[2 * i];
        job->starts = is_known ? forecast_middle(starts, n_runs) : first[0];
        job->ends = is_known ? forecast_middle(ends, n_runs) : first[1];
        if (spread <= FORECAST_CHANCE)
            continue;
        job->starts = forecast_union(job->starts, first[0]);
        job->ends = forecast_union(job->ends, first[1]);
    }
}

static int forecast_compare_starts(const void *a, const void *b, void *jobs)
{
    const struct forecast_job *one = (struct forecast_job *)jobs + *(const int *)a;
    const struct forecast_job *two = (struct forecast_job *)jobs + *(const int *)b;
    const int order = forecast_compare_times(&one->starts.likely, &two->starts.likely);
    return order ? order : one->place - two->place;
}

/* Places in the order of the likely starts. */
static void clock_rank(struct clock *clock)
{
    struct forecast_job *jobs = clock->forecast->jobs;
    int n = 0;
    for (int i = 0; i < clock->forecast->n_jobs; i++)
        if (jobs[i].place && !isnan(jobs[i].starts.likely))
            clock->order[n++] = i;
        else
            jobs[i].place = 0;
    qsort_r(clock->order, (size_t)n, sizeof *clock->order, forecast_compare_starts, jobs);
    for (int i = 0; i < n; i++)
        jobs[clock->order[i]].place = i + 1;
}

/* As many runs as the decisions allow. A single one keeps the ranges that it carries along. */
static void clock_repeat(struct clock *clock)
{
    int64_t spent = 0;
    int n = 0;
    do {
        clock->run = n;
        clock_begin(clock);
        clock_run(clock);
        clock_keep(clock);
        spent += clock->decisions;
        n++;
        if (n == 1 && spent * FORECAST_RUNS_MIN > FORECAST_SPENT)
            break;
    } while (n < FORECAST_RUNS && spent + clock->decisions <= FORECAST_SPENT);
    if (n >= FORECAST_RUNS_MIN)
        clock_sum(clock, n);
    clock_rank(clock);
}

static void clock_free(struct clock *clock)
{
    free(clock->users);
    free(clock->waits_since);
    free(clock->heads);
    free(clock->progress);
    free(clock->lanes);
    free(clock->order);
    free(clock->runs);
    free(clock->firsts);
    free(clock);
}

int forecast_run(const struct forecast *forecast, struct err *err)
{
    struct clock *clock = calloc(1, sizeof *clock);
    if (!clock)
        return err_set(err, ERR_NO_MEMORY, "no memory for a forecast");
    const size_t n = (size_t)forecast->n_jobs + 1, n_users = (size_t)forecast->n_users + 1;
    clock->forecast = forecast;
    clock->users = calloc(n_users, sizeof *clock->users);
    clock->waits_since = calloc(n_users, sizeof *clock->waits_since);
    clock->heads = calloc(n, sizeof *clock->heads);
    clock->progress = calloc(n, sizeof *clock->progress);
    clock->lanes = calloc(n, sizeof *clock->lanes);
    clock->order = calloc(n, sizeof *clock->order);
    clock->firsts = calloc(2 * n, sizeof *clock->firsts);
    clock->runs = calloc(n * FORECAST_RUNS, sizeof *clock->runs);
    const int failed = !clock->users || !clock->waits_since || !clock->heads || !clock->progress ||
                       !clock->lanes || !clock->order || !clock->runs || !clock->firsts;
    if (!failed) {
        clock_repeat(clock);
    }
    clock_free(clock);
    return failed ? err_set(err, ERR_NO_MEMORY, "no memory for a forecast of %d jobs",
                            forecast->n_jobs)
                  : 0;
}
