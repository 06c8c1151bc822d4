/* scheduler: see scheduler.h. The thread sleeps in slot_set_wait until a slot or a job has
 * changed, or a slice may end, then makes one pass. A pass works on copies: the first jobs of each
 * lane as read from the database, and a snapshot of the slots. Both may be out of date; that is
 * harmless, because the claim (job_claim) is a compare-and-swap in the database, and a job that was
 * cancelled meanwhile is not claimed.
 *
 * A pass reads of each lane only as many jobs as it can place, and those before them that cannot be
 * placed for a reason of their own. So its cost grows with users and devices, not with the
 * queue. */
#include "server/queue/scheduler.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "config/file.h"
#include "config/log.h"
#include "db/accounts.h"
#include "db/jobs.h"
#include "db/limits.h"
#include "server/queue/fair.h"
#include "server/queue/placement.h"

enum {
    SCHEDULER_TICK_MS = 30000, /* a pass without a wake: refusals end by time */
    SCHEDULER_DISK_MS = 2000,  /* between two looks at a disk that was too full */
    LANE_ROWS = 8              /* jobs that are read at once */
};

/* What a pass remembers of a user and a kind of device for the next ones. */
struct competitor {
    struct account account; /* virtual: charged until now */
    int64_t waits_since;    /* ms, 0: it does not wait */
    int active, was_active; /* in this pass, in the one before */
    int holds, has_work;    /* devices held; a job waits that can be placed */
    double share;           /* scaled */
};

/* A job that is the first of its lane, and since when. */
struct waiter {
    char job[DB_ID_MAX];
    int64_t since; /* ms */
    int is_seen;   /* in this pass */
};

struct scheduler {
    struct slot_set *set;
    struct db_reader *reader; /* of the thread */
    pthread_t thread;
    struct competitor *competitors;
    int n_competitors, room;
    struct board board; /* what the last pass knew, for readers */
    struct waiter *waiters;
    int n_waiters, waiters_room;
};

/* A lane and its next job that can be placed. */
struct lane {
    struct job_lane name;
    const char *kind;
    struct job **jobs; /* LANE_ROWS of them from `skip` on */
    int n, next, skip;
    struct job *head; /* NULL: none */
    int turn;         /* of the head among those of its kind, from 1 on; 0: nothing starts */
    struct placement_look look;
    struct limits limits; /* of its user */
};

struct pass {
    struct scheduler *scheduler;
    struct placement_device devices[TRAINER_DEVICES_MAX];
    struct slot_jobs jobs;
    struct job *held[SLOTS_MAX]; /* jobs of the slots, NULL: idle */
    int n_devices, n_slots, n_lanes;
    struct lane *lanes;
    int64_t now;          /* ms */
    struct reason closed; /* why no job starts */
    int is_disk_short;    /* 1: that is why */
};

/* ---- lanes ---- */

/* 1 if a slot holds the job. The queue still contains a job that a slot is about to claim, or
 * has just put back; the slot itself tells when it is free (slot_release). */
static int pass_handed_over(const struct pass *pass, const char *job)
{
    for (int i = 0; i < pass->n_slots; i++)
        if (strcmp(pass->jobs.job[i], job) == 0)
            return 1;
    return 0;
}

static void lane_clear(struct lane *lane)
{
    for (int i = 0; i < lane->n; i++)
        job_free(lane->jobs[i]);
    free(lane->jobs);
    lane->jobs = NULL;
    lane->n = lane->next = 0;
}

/* The next row of the lane, NULL: none. It stays valid until the one after it is read. */
static struct job *lane_row(struct pass *pass, struct lane *lane)
{
    struct err err = ERR_INIT;
    if (lane->next < lane->n)
        return lane->jobs[lane->next++];
    const int was_last = lane->jobs && lane->n < LANE_ROWS;
    lane_clear(lane);
    if (was_last)
        return NULL;
    if (job_queue(pass->scheduler->reader, &lane->name, lane->skip, LANE_ROWS, &lane->jobs,
                  &lane->n, &err) < 0) {
        log_line(LOG_ERROR, "the queue cannot be read: %s", err.message);
        return NULL;
    }
    lane->skip += lane->n;
    return lane->n ? lane->jobs[lane->next++] : NULL;
}

static int pass_running(const struct pass *pass, const char *user)
{
    int running = 0;
    for (int i = 0; i < pass->n_slots; i++)
        running += pass->held[i] && strcmp(pass->held[i]->user, user) == 0;
    return running;
}

/* 1 if the limits of its user let the head of the lane start. */
static int lane_may_run(const struct pass *pass, const struct lane *lane, int *is_its_own)
{
    char why[REASON_MAX];
    return limits_may_run(&lane->limits, pass_running(pass, lane->name.user),
                          lane->head->memory_bytes, why, sizeof why, is_its_own);
}

/* 1 if the lane is of a sweep of which as many jobs run as may. */
static int lane_is_full(const struct pass *pass, const struct lane *lane)
{
    int64_t n = 0;
    for (int i = 0; i < pass->n_slots && lane->name.capped; i++)
        n += pass->held[i] && pass->held[i]->sweep &&
             strcmp(pass->held[i]->sweep, lane->name.sweep) == 0;
    return lane->name.capped && n >= lane->name.max_running;
}

/* Where the head of the lane can run. */
static void pass_place(struct pass *pass, struct lane *lane)
{
    struct slot_set *set = pass->scheduler->set;
    placement_look(lane->head, pass->devices, pass->n_devices, &lane->look);
    if (lane->look.stale >= 0)
        slot_refresh_memory(set, &set->devices[lane->look.stale]);
}

/* Go on to the next job that can be placed. If the device is the reason why one cannot, those behind
 * it need not be looked at. */
static void lane_advance(struct pass *pass, struct lane *lane)
{
    int is_its_own;
    while (!lane_is_full(pass, lane) && (lane->head = lane_row(pass, lane))) {
        if (pass_handed_over(pass, lane->head->id))
            continue;
        if (!lane_may_run(pass, lane, &is_its_own)) {
            if (is_its_own)
                continue;
            break;
        }
        pass_place(pass, lane);
        if (lane->look.devices)
            return;
        if (!lane->look.is_its_own)
            break;
    }
    lane->head = NULL;
}

/* A job of the user has started: the user's other lanes may have come to the limit by it. */
static void lanes_limit(struct pass *pass, const char *user)
{
    int is_its_own;
    for (int i = 0; i < pass->n_lanes; i++) {
        struct lane *lane = &pass->lanes[i];
        if (lane->head && strcmp(lane->name.user, user) == 0 &&
            !lane_may_run(pass, lane, &is_its_own))
            lane->head = NULL;
    }
}

static int pass_read_lanes(struct pass *pass, struct err *err)
{
    const struct settings *settings = pass->scheduler->set->settings;
    struct job_lane *names = NULL;
    int failed = 0;
    if (job_lanes(pass->scheduler->reader, &names, &pass->n_lanes, err) < 0)
        return -1;
    pass->lanes = calloc((size_t)pass->n_lanes + 1, sizeof *pass->lanes);
    for (int i = 0; pass->lanes && i < pass->n_lanes && !failed; i++) {
        pass->lanes[i].name = names[i];
        pass->lanes[i].kind = placement_kind(names[i].device, pass->devices, pass->n_devices);
        failed = limits_to_run(pass->scheduler->reader, settings, names[i].user,
                               &pass->lanes[i].limits, err) < 0;
        if (!failed)
            lane_advance(pass, &pass->lanes[i]);
    }
    free(names);
    if (failed)
        return -1;
    return pass->lanes ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for %d lanes", pass->n_lanes);
}

/* Seconds for which the job has been the first of its lane; without memory, 0. */
static double pass_waited(struct pass *pass, const char *job)
{
    struct scheduler *scheduler = pass->scheduler;
    for (int i = 0; i < scheduler->n_waiters; i++) {
        struct waiter *waiter = &scheduler->waiters[i];
        if (strcmp(waiter->job, job) != 0)
            continue;
        waiter->is_seen = 1;
        return (double)(pass->now - waiter->since) / 1e3;
    }
    if (scheduler->n_waiters == scheduler->waiters_room) {
        const int room = scheduler->waiters_room ? 2 * scheduler->waiters_room : 16;
        struct waiter *larger = realloc(scheduler->waiters, (size_t)room * sizeof *larger);
        if (!larger)
            return 0;
        scheduler->waiters = larger;
        scheduler->waiters_room = room;
    }
    struct waiter *new = &scheduler->waiters[scheduler->n_waiters++];
    *new = (struct waiter){.since = pass->now, .is_seen = 1};
    snprintf(new->job, sizeof new->job, "%s", job);
    return 0;
}

/* ---- competitors ---- */

/* The device of a slot. */
static int pass_device(const struct pass *pass, int slot)
{
    const struct slot_set *set = pass->scheduler->set;
    return (int)(set->slots[slot].device - set->devices);
}

/* 1 if a job runs on the slot, which is one of a device of the kind. */
static int pass_holds(const struct pass *pass, int slot, const char *kind)
{
    return pass->held[slot] && strcmp(pass->scheduler->set->slots[slot].device->kind, kind) == 0;
}

/* Index of the user's entry for a kind, -1 without memory. */
static int scheduler_competitor(struct scheduler *scheduler, const char *user, const char *kind)
{
    for (int i = 0; i < scheduler->n_competitors; i++)
        if (strcmp(scheduler->competitors[i].account.user, user) == 0 &&
            strcmp(scheduler->competitors[i].account.kind, kind) == 0)
            return i;
    if (scheduler->n_competitors == scheduler->room) {
        const int room = scheduler->room ? 2 * scheduler->room : 16;
        struct competitor *larger = realloc(scheduler->competitors, (size_t)room * sizeof *larger);
        if (!larger)
            return -1;
        scheduler->competitors = larger;
        scheduler->room = room;
    }
    struct competitor *new = &scheduler->competitors[scheduler->n_competitors];
    *new = (struct competitor){0};
    snprintf(new->account.user, sizeof new->account.user, "%s", user);
    snprintf(new->account.kind, sizeof new->account.kind, "%s", kind);
    return scheduler->n_competitors++;
}

/* Who competes for devices of the kind: users whose jobs hold or wait for one. */
static void pass_gather(struct pass *pass, const char *kind)
{
    struct scheduler *scheduler = pass->scheduler;
    for (int i = 0; i < pass->n_slots; i++) {
        const int c = pass_holds(pass, i, kind)
                          ? scheduler_competitor(scheduler, pass->held[i]->user, kind)
                          : -1;
        if (c >= 0)
            scheduler->competitors[c].holds++;
    }
    for (int i = 0; i < pass->n_lanes; i++) {
        const int c = pass->lanes[i].head && strcmp(pass->lanes[i].kind, kind) == 0
                          ? scheduler_competitor(scheduler, pass->lanes[i].name.user, kind)
                          : -1;
        if (c >= 0)
            scheduler->competitors[c].has_work = 1;
    }
}

static int scheduler_raise(struct db_writer *writer, void *arg, struct err *err)
{
    return account_raise(writer, arg, err);
}

/* A user that has become active comes back beside the least of those that were. */
static void pass_return(struct pass *pass, const struct fair_rules *rules, const char *kind)
{
    struct scheduler *scheduler = pass->scheduler;
    double least = INFINITY;
    struct err err = ERR_INIT;
    for (int i = 0; i < scheduler->n_competitors; i++) {
        const struct competitor *one = &scheduler->competitors[i];
        if (one->active && one->was_active && strcmp(one->account.kind, kind) == 0)
            least = fmin(least, one->account.virtual);
    }
    for (int i = 0; i < scheduler->n_competitors && least < INFINITY; i++) {
        struct competitor *one = &scheduler->competitors[i];
        const double raised = fair_return(rules, one->account.virtual, least);
        if (!one->active || one->was_active || strcmp(one->account.kind, kind) != 0 ||
            raised <= one->account.virtual)
            continue;
        one->account.virtual = raised;
        if (db_call(scheduler->set->db, scheduler_raise, &one->account, &err) < 0)
            log_line(LOG_WARNING, "the account of %s: %s", one->account.user, err.message);
    }
}

/* Seconds of the slot's job that its user has not been charged for yet, times its part. */
static double pass_uncharged(const struct pass *pass, int slot)
{
    struct job_turn *turn = &pass->scheduler->set->slots[slot].turn;
    const int64_t charged = atomic_load(&turn->charged);
    return charged && charged < pass->now
               ? (double)(pass->now - charged) / 1e3 * atomic_load(&turn->part)
               : 0;
}

/* Virtual times until now, and the shares in force, which running jobs are charged at from here
 * on. */
static void pass_settle(struct pass *pass, const struct fair_rules *rules, const char *kind)
{
    struct scheduler *scheduler = pass->scheduler;
    struct err err = ERR_INIT;
    const double now = (double)db_now() / 1e6;
    double used = 0;
    int n = 0;
    for (int i = 0; i < scheduler->n_competitors; i++) {
        struct competitor *one = &scheduler->competitors[i];
        if (strcmp(one->account.kind, kind) != 0)
            continue;
        one->active = one->holds || one->has_work;
        if (one->active && account_get(scheduler->reader, &one->account, &err) < 0) {
            log_line(LOG_ERROR, "the account of %s: %s", one->account.user, err.message);
            one->active = 0; /* its jobs wait for a pass that can read it */
        }
        if (!one->active)
            continue;
        const struct fair_account account = {.used = one->account.used,
                                             .used_at = (double)one->account.used_at / 1e6};
        one->account.used = fair_used(rules, &account, now);
        used += one->account.used;
        n++;
    }
    for (int i = 0; i < scheduler->n_competitors; i++) {
        struct competitor *one = &scheduler->competitors[i];
        if (one->active && strcmp(one->account.kind, kind) == 0)
            one->share = fair_scale(rules, one->account.share, one->account.used, used / n);
    }
    for (int i = 0; i < pass->n_slots; i++) {
        if (!pass_holds(pass, i, kind))
            continue;
        const int c = scheduler_competitor(scheduler, pass->held[i]->user, kind);
        if (c < 0 || !scheduler->competitors[c].active)
            continue;
        atomic_store(&scheduler->set->slots[i].turn.share, scheduler->competitors[c].share);
        scheduler->competitors[c].account.virtual +=
            pass_uncharged(pass, i) / scheduler->competitors[c].share;
    }
    pass_return(pass, rules, kind);
}

/* Forget who does not compete any more, and begin the next pass. */
static void scheduler_turn_over(struct scheduler *scheduler)
{
    int kept = 0;
    for (int i = 0; i < scheduler->n_competitors; i++) {
        struct competitor one = scheduler->competitors[i];
        if (!one.active)
            continue;
        one.was_active = 1;
        one.active = one.holds = one.has_work = 0;
        scheduler->competitors[kept++] = one;
    }
    scheduler->n_competitors = kept;
    kept = 0;
    for (int i = 0; i < scheduler->n_waiters; i++) {
        if (!scheduler->waiters[i].is_seen)
            continue;
        scheduler->waiters[i].is_seen = 0;
        scheduler->waiters[kept++] = scheduler->waiters[i];
    }
    scheduler->n_waiters = kept;
}

/* ---- the decisions of one kind ---- */

/* The view of fair.h and what its indices mean. */
struct round {
    struct fair_view view;
    struct fair_user *users;
    struct fair_job *jobs;
    struct fair_holder holders[SLOTS_MAX];
    int device_at[TRAINER_DEVICES_MAX]; /* device of the view to device */
    int device_of[TRAINER_DEVICES_MAX];
    int holder_slot[SLOTS_MAX];
    int *competitor_of; /* user of the view */
};

static double job_ends_in(const struct job *job, double held)
{
    return job->max_seconds
               ? fmax(0, (double)job->max_seconds - (double)job->device_ms / 1e3 - held)
               : INFINITY;
}

static int round_user(const struct pass *pass, const struct round *round, const char *user)
{
    for (int i = 0; i < round->view.n_users; i++)
        if (strcmp(pass->scheduler->competitors[round->competitor_of[i]].account.user, user) == 0)
            return i;
    return -1;
}

static void round_users(struct pass *pass, struct round *round, const char *kind)
{
    round->view.n_users = 0;
    for (int i = 0; i < pass->scheduler->n_competitors; i++) {
        struct competitor *one = &pass->scheduler->competitors[i];
        if (!one->active || strcmp(one->account.kind, kind) != 0)
            continue;
        const int waits = one->has_work && !one->holds;
        if (!waits)
            one->waits_since = 0;
        else if (!one->waits_since)
            one->waits_since = pass->now;
        round->competitor_of[round->view.n_users] = i;
        round->users[round->view.n_users++] =
            (struct fair_user){.name = one->account.user,
                               .share = one->share,
                               .virtual = one->account.virtual,
                               .waited = waits ? (double)(pass->now - one->waits_since) / 1e3 : -1};
    }
}

static void round_holders(struct pass *pass, struct round *round, const char *kind)
{
    round->view.n_holders = 0;
    for (int i = 0; i < pass->n_slots; i++) {
        const struct job *job = pass->held[i];
        struct job_turn *turn = &pass->scheduler->set->slots[i].turn;
        const int64_t since = atomic_load(&turn->since);
        const int user = pass_holds(pass, i, kind) ? round_user(pass, round, job->user) : -1;
        if (user < 0)
            continue;
        const double held = since ? (double)(pass->now - since) / 1e3 : 0;
        round->holder_slot[round->view.n_holders] = i;
        round->holders[round->view.n_holders++] =
            (struct fair_holder){.user = user,
                                 .device = round->device_of[pass_device(pass, i)],
                                 .urgent = job->urgent != NULL,
                                 .priority = job->priority,
                                 .part = atomic_load(&turn->part),
                                 .held = held,
                                 .cost = (double)job->cost_ms / 1e3,
                                 .ends_in = job_ends_in(job, held),
                                 .leaving = atomic_load(&turn->way) != WAY_ON};
    }
}

/* Bits of devices as bits of devices of the view. */
static uint32_t round_devices(const struct round *round, uint32_t devices)
{
    uint32_t bits = 0;
    for (int d = 0; d < round->view.n_devices; d++)
        bits |= (devices >> round->device_at[d] & 1) << d;
    return bits;
}

/* The part that a job takes of the devices on which it can run: the largest, if they differ. */
static double pass_part(const struct pass *pass, const struct job *job, uint32_t devices)
{
    double part = 0;
    for (int i = 0; i < pass->n_devices; i++) {
        const struct placement_device *device = &pass->devices[i];
        if (devices >> i & 1)
            part = fmax(part, capacity_part(&device->capacity, placement_threads(job, device),
                                            job->memory_bytes));
    }
    return part;
}

static void round_jobs(struct pass *pass, struct round *round, const char *kind)
{
    round->view.n_jobs = 0;
    for (int i = 0; i < pass->n_lanes; i++) {
        struct lane *lane = &pass->lanes[i];
        const int user = lane->head ? round_user(pass, round, lane->name.user) : -1;
        if (user < 0 || strcmp(lane->kind, kind) != 0)
            continue;
        pass_place(pass, lane); /* the room may have changed since the job was read */
        round->jobs[round->view.n_jobs++] =
            (struct fair_job){.user = user,
                              .urgent = lane->head->urgent != NULL,
                              .priority = lane->head->priority,
                              .age = lane->head->seq,
                              .devices = round_devices(round, lane->look.devices),
                              .full = round_devices(round, lane->look.full),
                              .part = pass_part(pass, lane->head, lane->look.devices),
                              .waited = pass_waited(pass, lane->head->id),
                              .ends_in = job_ends_in(lane->head, 0),
                              .cost = (double)lane->head->cost_ms / 1e3,
                              .id = i};
    }
}

/* 1 if a slot of the device has a job. */
static int pass_is_held(const struct pass *pass, int device)
{
    for (int i = 0; i < pass->n_slots; i++)
        if (pass->held[i] && pass_device(pass, i) == device)
            return 1;
    return 0;
}

/* The devices of the kind that are there. */
static void round_map(struct pass *pass, struct round *round, const char *kind)
{
    for (int i = 0; i < pass->n_devices; i++) {
        if (strcmp(pass->devices[i].device.kind, kind) != 0 ||
            (!pass->devices[i].device.available && !pass_is_held(pass, i)))
            continue;
        round->device_of[i] = round->view.n_devices;
        round->device_at[round->view.n_devices++] = i;
    }
}

/* Hand the head of a lane to a seat of a device. */
static void round_start(struct pass *pass, struct round *round, const struct fair_job *chosen,
                        int d)
{
    struct lane *lane = &pass->lanes[chosen->id];
    struct slot_set *set = pass->scheduler->set;
    struct placement_device *device = &pass->devices[round->device_at[d]];
    struct competitor *one = &pass->scheduler->competitors[round->competitor_of[chosen->user]];
    struct slot_order order = {.job = lane->head->id,
                               .share = one->share,
                               .part = chosen->part,
                               .bytes = lane->head->memory_bytes};
    struct err err = ERR_INIT;
    const int seat =
        capacity_seat(&device->capacity, placement_threads(lane->head, device), &order.team);
    const int slot = set->devices[round->device_at[d]].first + seat;
    capacity_take(&device->capacity, seat, &order.team, order.bytes);
    memcpy(pass->jobs.job[slot], lane->head->id, sizeof pass->jobs.job[slot]);
    slot_hand_over(&set->slots[slot], &order);
    if (job_get(pass->scheduler->reader, lane->head->id, &pass->held[slot], &err) < 0)
        pass->held[slot] = NULL; /* deleted: the slot will find that out */
    one->holds++;
    lane_advance(pass, lane);
    lanes_limit(pass, one->account.user);
    one->has_work = 0;
    for (int i = 0; i < pass->n_lanes; i++)
        if (lane_is_full(pass, &pass->lanes[i]))
            pass->lanes[i].head = NULL;
    for (int i = 0; i < pass->n_lanes; i++)
        if (pass->lanes[i].head && strcmp(pass->lanes[i].kind, one->account.kind) == 0 &&
            strcmp(pass->lanes[i].name.user, one->account.user) == 0)
            one->has_work = 1;
}

/* Decide until nothing is to be done; returns the seconds after which to look again. */
static double pass_kind(struct pass *pass, const struct fair_rules *rules, const char *kind)
{
    struct round round = {.view = {.rules = *rules}};
    struct fair_action action = {.verb = FAIR_START, .again = INFINITY};
    pass_gather(pass, kind);
    pass_settle(pass, rules, kind);
    const size_t n = (size_t)pass->scheduler->n_competitors + 1;
    round.view.users = round.users = calloc(n, sizeof *round.users);
    round.view.jobs = round.jobs = calloc((size_t)pass->n_lanes + 1, sizeof *round.jobs);
    round.competitor_of = calloc(n, sizeof *round.competitor_of);
    round.view.holders = round.holders;
    round_map(pass, &round, kind);
    while (round.users && round.jobs && round.competitor_of && !pass->closed.code &&
           action.verb != FAIR_NONE) {
        round_users(pass, &round, kind);
        round_holders(pass, &round, kind);
        round_jobs(pass, &round, kind);
        fair_next(&round.view, &action);
        if (action.verb == FAIR_START)
            round_start(pass, &round, &round.jobs[action.job], action.device);
        else if (action.verb == FAIR_STOP)
            slot_give_way(&pass->scheduler->set->slots[round.holder_slot[action.holder]],
                          WAY_SLICE);
    }
    /* The last decision has sorted what is left. */
    for (int i = 0; i < round.view.n_jobs && !pass->closed.code; i++)
        pass->lanes[round.jobs[i].id].turn = i + 1;
    free(round.users);
    free(round.jobs);
    free(round.competitor_of);
    return action.again;
}

/* ---- a pass ---- */

/* Nothing starts, and nobody gives way, while the disk has less than what is kept for the
 * checkpoints and records of running jobs. */
static void pass_look_at_disk(struct pass *pass)
{
    const struct settings *settings = pass->scheduler->set->settings;
    int64_t free_bytes;
    pass->is_disk_short = settings->disk_reserve &&
                          !file_free_bytes(settings->data, &free_bytes, NULL) &&
                          free_bytes < settings->disk_reserve;
    if (pass->is_disk_short)
        reason_set(&pass->closed, REASON_DISK,
                   "the disk has less than the %lld bytes free that running jobs may need",
                   (long long)settings->disk_reserve);
}

/* While the queue is not open nothing starts; paused, running jobs stop too. */
static int pass_look_at_queue(struct pass *pass, struct err *err)
{
    enum queue_state state = QUEUE_OPEN;
    char actor[DB_ACTOR_MAX] = "";
    if (queue_get(pass->scheduler->reader, &state, actor, err) < 0)
        return -1;
    if (state == QUEUE_OPEN)
        pass_look_at_disk(pass);
    else
        reason_set(&pass->closed, REASON_QUEUE_CLOSED, "the queue is %s (%s)",
                   queue_state_name(state), actor);
    for (int i = 0; state == QUEUE_PAUSED && i < pass->n_slots; i++)
        if (pass->held[i])
            slot_give_way(&pass->scheduler->set->slots[i], WAY_PAUSE);
    return 0;
}

static void pass_read_held(struct pass *pass)
{
    for (int i = 0; i < pass->n_slots; i++) {
        struct err err = ERR_INIT;
        if (pass->jobs.job[i][0] &&
            job_get(pass->scheduler->reader, pass->jobs.job[i], &pass->held[i], &err) < 0)
            pass->held[i] = NULL; /* deleted: the slot is about to be idle */
    }
}

/* Jobs of users who have had their device_hours stop with a checkpoint. */
static int pass_look_at_hours(struct pass *pass, struct err *err)
{
    for (int i = 0; i < pass->n_slots; i++) {
        struct limits limits;
        if (!pass->held[i])
            continue;
        if (limits_to_run(pass->scheduler->reader, pass->scheduler->set->settings,
                          pass->held[i]->user, &limits, err) < 0)
            return -1;
        if (limits_is_out_of_hours(&limits))
            slot_give_way(&pass->scheduler->set->slots[i], WAY_HOURS);
    }
    return 0;
}

static void pass_publish_lanes(const struct pass *pass, struct board_view *view)
{
    view->lanes = calloc((size_t)pass->n_lanes + 1, sizeof *view->lanes);
    view->n_lanes = view->lanes ? pass->n_lanes : 0;
    for (int i = 0; i < view->n_lanes; i++) {
        const struct lane *lane = &pass->lanes[i];
        view->lanes[i] = (struct board_lane){.name = lane->name,
                                             .turn = lane->turn,
                                             .is_full = lane_is_full(pass, lane),
                                             .limits = lane->limits,
                                             .running = pass_running(pass, lane->name.user)};
        if (lane->head)
            memcpy(view->lanes[i].head, lane->head->id, sizeof view->lanes[i].head);
    }
}

static void pass_publish_users(const struct pass *pass, struct board_view *view)
{
    const struct scheduler *scheduler = pass->scheduler;
    view->users = calloc((size_t)scheduler->n_competitors + 1, sizeof *view->users);
    for (int i = 0; view->users && i < scheduler->n_competitors; i++) {
        const struct competitor *one = &scheduler->competitors[i];
        if (!one->active)
            continue;
        struct board_user *user = &view->users[view->n_users++];
        memcpy(user->user, one->account.user, sizeof user->user);
        memcpy(user->kind, one->account.kind, sizeof user->kind);
        user->share = one->share;
        user->virtual = one->account.virtual;
        user->waits_since = one->waits_since;
    }
}

/* What this pass knows, for readers. Without memory they see no lanes or users. */
static void pass_publish(const struct pass *pass)
{
    struct board_view view = {.now = pass->now,
                              .jobs = pass->jobs,
                              .n_devices = pass->n_devices,
                              .n_slots = pass->n_slots,
                              .closed = pass->closed};
    memcpy(view.devices, pass->devices, (size_t)pass->n_devices * sizeof *pass->devices);
    pass_publish_lanes(pass, &view);
    pass_publish_users(pass, &view);
    board_put(&pass->scheduler->board, &view);
}

static void pass_free(struct pass *pass)
{
    for (int i = 0; i < pass->n_lanes && pass->lanes; i++)
        lane_clear(&pass->lanes[i]);
    for (int i = 0; i < pass->n_slots; i++)
        job_free(pass->held[i]);
    free(pass->lanes);
}

/* Each kind once: at its first device. */
static double pass_kinds(struct pass *pass)
{
    const struct settings *settings = pass->scheduler->set->settings;
    const struct fair_rules rules = {
        .slice = (double)settings->slice_seconds,
        .half_life = (double)settings->use_days * 86400,
        .credit = (double)(settings->share_credit * settings->slice_seconds)};
    double again = INFINITY;
    for (int i = 0; i < pass->n_devices; i++) {
        int first = 0;
        while (strcmp(pass->devices[first].device.kind, pass->devices[i].device.kind) != 0)
            first++;
        if (first == i)
            again = fmin(again, pass_kind(pass, &rules, pass->devices[i].device.kind));
    }
    return again;
}

/* One pass; returns ms until the next one is due without a change. */
static int scheduler_look(struct scheduler *scheduler)
{
    struct pass pass = {.scheduler = scheduler, .now = clock_monotonic_ms()};
    struct err err = ERR_INIT;
    double again = INFINITY;
    pass.n_devices = scheduler->set->n_devices;
    pass.n_slots = scheduler->set->n_slots;
    slot_set_snapshot(scheduler->set, pass.devices, &pass.jobs);
    pass_read_held(&pass);
    if (pass_look_at_queue(&pass, &err) < 0 || pass_look_at_hours(&pass, &err) < 0 ||
        pass_read_lanes(&pass, &err) < 0) {
        log_line(LOG_ERROR, "the queue cannot be read: %s", err.message);
    } else {
        again = pass_kinds(&pass);
        pass_publish(&pass);
        scheduler_turn_over(scheduler);
    }
    pass_free(&pass);
    if (pass.is_disk_short)
        again = SCHEDULER_DISK_MS / 1e3;
    return again * 1e3 < SCHEDULER_TICK_MS ? (int)ceil(again * 1e3) : SCHEDULER_TICK_MS;
}

static void *scheduler_thread(void *arg)
{
    struct scheduler *scheduler = arg;
    while (!atomic_load(&scheduler->set->stopping)) {
        int64_t began = clock_monotonic_ms();
        const int again = scheduler_look(scheduler);
        /* Pause as long as the pass took: constant change costs at most half a core. */
        poll(NULL, 0, (int)(clock_monotonic_ms() - began));
        slot_set_wait(scheduler->set, again);
    }
    return NULL;
}

int scheduler_start(struct slot_set *set, struct scheduler **out, struct err *err)
{
    struct scheduler *scheduler = calloc(1, sizeof *scheduler);
    if (!scheduler)
        return err_set(err, ERR_NO_MEMORY, "no memory for the scheduler");
    scheduler->set = set;
    if (db_reader_open(set->db, &scheduler->reader, err) < 0) {
        free(scheduler);
        return -1;
    }
    board_open(&scheduler->board);
    errno = pthread_create(&scheduler->thread, NULL, scheduler_thread, scheduler);
    if (errno) {
        err_set_errno(err, ERR_UNAVAILABLE, "the scheduler thread cannot start");
        board_close(&scheduler->board);
        db_reader_close(scheduler->reader);
        free(scheduler);
        return -1;
    }
    *out = scheduler;
    return 0;
}

struct board *scheduler_board(struct scheduler *scheduler)
{
    return &scheduler->board;
}

void scheduler_stop(struct scheduler *scheduler)
{
    if (!scheduler)
        return;
    pthread_join(scheduler->thread, NULL);
    db_reader_close(scheduler->reader);
    board_close(&scheduler->board);
    free(scheduler->competitors);
    free(scheduler->waiters);
    free(scheduler);
}
