/* fair: whose job is next, and which running job gives way, as pure functions of a snapshot.
 * scheduler.c calls them on its thread, tests/unit/server_fair.c on a virtual clock. One
 * snapshot is of one kind of device: users compete per kind.
 *
 * Order: start-time fair queueing (Goyal, Vin, Cheng 1996). A user's virtual time grows by
 * seconds * part of the device / share. Jobs are ordered by `urgent`, the virtual time of their
 * user, the user's name, priority, age. What the slices under way will still cost counts
 * already, so that devices that become free together go to different users.
 *
 * Slices: a job that has held its device for a slice gives way to a job of another user that
 * waits for it, if its own user is ahead by a slice of virtual time. A slice is at least
 * FAIR_COST_FACTOR times what stopping and starting the job costs.
 *
 * Deadlines: virtual time alone lets a user wait for two slices of each other user, and longer
 * with credit. So a user that waits has a deadline: slice * max(users, all shares / own share).
 * When the next start by virtual time would make another user late, the one with the earliest
 * deadline is next; when going on would, slices end for it.
 *
 * Reservation: the first job in order that lacks only capacity reserves the device that is
 * soonest free, after it has waited for a slice. Nothing behind it starts there unless it
 * surely ends before, and jobs of other users give way at their slice.
 *
 * Bounds, which the simulation checks. s: the slice, or FAIR_COST_FACTOR times the largest cost
 * if that is longer.
 * - Users of equal share that are runnable throughout an interval on equal devices: each has its
 *   equal part, or that part with the credit that it came with, or between, within 1.5 s. Slices
 *   that were under way at the begin of the interval are no part of it.
 * - A user with a job that can be placed starts within s * max(users, all shares / own share),
 *   one step and one checkpoint; each device that is lost meanwhile costs up to s more. That
 *   holds for a job that needs a whole device too.
 * - Stopping and starting for slices costs at most 1 / FAIR_COST_FACTOR of the time.
 * A decision costs O(n log n) for n users and devices; how many jobs wait does not matter. */
#ifndef TOKENFATE_FAIR_H
#define TOKENFATE_FAIR_H

#include <stdint.h>

enum {
    FAIR_DEVICES_MAX = 32, /* bits of a mask */
    FAIR_COST_FACTOR = 20  /* a slice is this many times the cost of stopping and starting */
};

/* Seconds. */
struct fair_rules {
    double slice;     /* 0: no job gives way */
    double half_life; /* of the use that scales the shares, 0: it does not */
    double credit;    /* of virtual time that an idle user keeps */
};

/* What one user has had of one kind of device. */
struct fair_account {
    double virtual; /* seconds / share */
    double used;    /* seconds, decayed until used_at */
    double used_at; /* seconds of any clock */
};

/* An active user: one that has jobs that wait or run. */
struct fair_user {
    const char *name;
    double share;   /* above 0, scaled (fair_scale) */
    double virtual; /* charged until now */
    double
        waited; /* seconds that it has had a job to place and none that runs; below 0: it has not */
    /* computed */
    double key, slack;
    int due;
};

/* A job that waits: of each user the first one for each set of devices is enough. */
struct fair_job {
    int user; /* index */
    int urgent, priority;
    int64_t age;      /* smaller is older */
    uint32_t devices; /* on which it can run once there is room */
    uint32_t full;    /* those of them that have none now, whatever the parts say: strangers have
                         the memory */
    double part;      /* of a device, above 0, at most 1 */
    double waited;    /* seconds */
    double ends_in;   /* seconds after which it has surely ended, INFINITY if unknown */
    double cost;      /* seconds that stopping and starting it costs */
    int id;           /* of the caller: fair_next sorts the jobs */
};

/* A job that runs. */
struct fair_holder {
    int user, device;
    int urgent, priority;
    double part, held, cost; /* seconds held; seconds that stopping and starting it costs */
    double ends_in;
    int leaving; /* it was told to give way */
};

struct fair_view {
    struct fair_rules rules;
    struct fair_user *users;
    struct fair_job *jobs;
    struct fair_holder *holders;
    int n_users, n_jobs, n_holders, n_devices;
};

enum fair_verb { FAIR_NONE, FAIR_START, FAIR_STOP };
struct fair_action {
    enum fair_verb verb;
    int job;      /* START: index in jobs, as sorted; STOP: for which one */
    int device;   /* START */
    int holder;   /* STOP: index */
    double again; /* NONE: seconds after which a look is due without a change, INFINITY: never */
};

/* The next decision. The caller carries it out in the view (a start makes a holder, a stop sets
 * `leaving`) and calls again until there is none. */
void fair_next(struct fair_view *view, struct fair_action *out);

/* Charge `seconds` of a part of a device, now (of the account's clock). share: as scaled. */
void fair_charge(const struct fair_rules *rules, struct fair_account *account, double share,
                 double seconds, double now);
/* Use decayed until now. */
double fair_used(const struct fair_rules *rules, const struct fair_account *account, double now);
/* The share in force: between half and twice the given one, less for who has used more than the
 * mean of the active users. */
double fair_scale(const struct fair_rules *rules, double share, double used, double mean);
/* Virtual time of a user that becomes active beside others; least: the smallest of theirs. */
double fair_return(const struct fair_rules *rules, double virtual, double least);
/* Seconds of a device after which a job that costs this to stop and start may be told to give
 * way. */
double fair_slice(const struct fair_rules *rules, double cost);

#endif
