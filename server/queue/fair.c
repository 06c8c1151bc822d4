/* fair: see fair.h. One pass over the waiting jobs in fair order: the first that fits starts;
 * one that does not fit takes the room that leaving jobs will give back, or makes a job give
 * way. */
#include "server/queue/fair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums of parts of a device, and multiples of slices: this much is rounding. */
#define FAIR_ROUNDING 1e-9
/* With slices off, a start counts in advance as so many seconds. */
#define FAIR_ADVANCE 900.0
/* A lead of virtual time that grows is looked at so many times in a slice. */
#define FAIR_LOOKS 50
/* No look is due sooner: what is due then has become so. */
#define FAIR_SOONEST 1e-3

/* ---- accounts ---- */

double fair_used(const struct fair_rules *rules, const struct fair_account *account, double now)
{
    const double passed = now > account->used_at ? now - account->used_at : 0;
    return rules->half_life > 0 ? account->used * exp2(-passed / rules->half_life) : account->used;
}

void fair_charge(const struct fair_rules *rules, struct fair_account *account, double share,
                 double seconds, double now)
{
    account->virtual += seconds / share;
    account->used = fair_used(rules, account, now) + seconds;
    account->used_at = now;
}

double fair_scale(const struct fair_rules *rules, double share, double used, double mean)
{
    if (rules->half_life <= 0 || mean <= 0)
        return share;
    const double factor = used > 0 ? mean / used : 2;
    return share * (factor < 0.5 ? 0.5 : factor > 2 ? 2 : factor);
}

double fair_return(const struct fair_rules *rules, double virtual, double least)
{
    return fmax(virtual, least - rules->credit);
}

double fair_slice(const struct fair_rules *rules, double cost)
{
    return fmax(rules->slice, FAIR_COST_FACTOR * cost);
}

/* ---- order ---- */

/* The state of one pass. */
struct fair_pass {
    struct fair_view *view;
    double slice;   /* the longest one in force */
    double round;   /* the same, and the time that stopping takes */
    int hurried;    /* user whose deadline decides, -1: none */
    int is_due;     /* slices end for that user */
    int reserved;   /* device that is kept for `reserver`, -1: none */
    int reserver;   /* index of a job */
    double room_in; /* seconds until that device has room */
    double room[FAIR_DEVICES_MAX], leaving[FAIR_DEVICES_MAX];
};

/* The part of a slice that is still to come counts as held. */
static void fair_keys(struct fair_pass *pass)
{
    struct fair_view *view = pass->view;
    for (int i = 0; i < view->n_users; i++)
        view->users[i].key = view->users[i].virtual;
    double cost = 0;
    for (int i = 0; i < view->n_jobs; i++)
        cost = fmax(cost, view->jobs[i].cost);
    for (int i = 0; i < view->n_holders; i++) {
        const struct fair_holder *holder = &view->holders[i];
        struct fair_user *user = &view->users[holder->user];
        const double slice =
            view->rules.slice > 0 ? fair_slice(&view->rules, holder->cost) : FAIR_ADVANCE;
        cost = fmax(cost, holder->cost);
        pass->room[holder->device] -= holder->part;
        if (holder->leaving)
            pass->leaving[holder->device] += holder->part;
        else if (holder->held < slice)
            user->key += (slice - holder->held) * holder->part / user->share;
    }
    pass->slice = fair_slice(&view->rules, cost);
    pass->round = pass->slice + cost;
}

/* 1 if a waiting user would be late, the user `but` aside, when the next starts of waiting users
 * are `ahead` seconds and then a round apart. With k devices, b rounds place b * k users. So nobody
 * is late as long as, for every b, at most b * k users have less than b + 1 rounds left.
 * users[b].due counts those with b whole rounds; who has more rounds left than there are users is
 * never late. *again: seconds until a count changes. */
static int fair_late(const struct fair_pass *pass, double ahead, int but, double *again)
{
    struct fair_view *view = pass->view;
    int count = 0, late = 0;
    for (int i = 0; i < view->n_users; i++)
        view->users[i].due = 0;
    for (int i = 0; i < view->n_users; i++) {
        if (view->users[i].waited < 0 || i == but)
            continue;
        const double left = view->users[i].slack + pass->round - ahead;
        const double whole = fmax(floor(left / pass->round + FAIR_ROUNDING), 0);
        if (whole < view->n_users)
            view->users[(int)whole].due++;
        if (left > whole * pass->round)
            *again = fmin(*again, left - whole * pass->round);
    }
    for (int b = 0; b < view->n_users; b++) {
        count += view->users[b].due;
        late |= count > b * view->n_devices;
    }
    return late;
}

/* The user whose jobs are first by virtual time, -1: none. */
static int fair_first(const struct fair_view *view)
{
    int first = -1;
    for (int i = 0; i < view->n_jobs; i++) {
        const int user = view->jobs[i].user;
        if (!view->jobs[i].devices)
            continue;
        if (first < 0 || view->users[user].key < view->users[first].key ||
            (view->users[user].key <= view->users[first].key &&
             strcmp(view->users[user].name, view->users[first].name) < 0))
            first = user;
    }
    return first;
}

/* Deadlines: the waiting user with the earliest one is next if a start of the first user by
 * virtual time would make another one late, by a round; and slices end for it if their going on
 * would, by the time that a stop takes. */
static void fair_hurry(struct fair_pass *pass, double *again)
{
    struct fair_view *view = pass->view;
    double shares = 0;
    int next = -1;
    for (int i = 0; i < view->n_users; i++)
        shares += view->users[i].share;
    for (int i = 0; i < view->n_users; i++) {
        struct fair_user *user = &view->users[i];
        if (user->waited < 0)
            continue;
        user->slack = fmax(view->n_users, shares / user->share) * pass->slice - user->waited;
        if (next < 0 || user->slack < view->users[next].slack ||
            (user->slack <= view->users[next].slack &&
             strcmp(user->name, view->users[next].name) < 0))
            next = i;
    }
    pass->is_due = fair_late(pass, pass->round - pass->slice, -1, again);
    if (pass->is_due || fair_late(pass, pass->round, fair_first(view), again))
        pass->hurried = next;
}

static int fair_compare(const void *a, const void *b, void *self)
{
    const struct fair_pass *pass = self;
    const struct fair_job *one = a, *two = b;
    const struct fair_user *users = pass->view->users;
    if (one->urgent != two->urgent)
        return two->urgent - one->urgent;
    if (one->user != two->user) {
        if (one->user == pass->hurried || two->user == pass->hurried)
            return one->user == pass->hurried ? -1 : 1;
        if (users[one->user].key < users[two->user].key)
            return -1;
        if (users[one->user].key > users[two->user].key)
            return 1;
        return strcmp(users[one->user].name, users[two->user].name);
    }
    if (one->priority != two->priority)
        return two->priority - one->priority;
    return (one->age > two->age) - (one->age < two->age);
}

/* ---- devices ---- */

/* Seconds until the holder leaves: told so already, at its end, or at its slice. */
static double fair_leaves_in(const struct fair_pass *pass, const struct fair_holder *holder)
{
    if (holder->leaving)
        return holder->cost;
    const double left = fair_slice(&pass->view->rules, holder->cost) - holder->held;
    return fmin(holder->ends_in, fmax(left, 0) + holder->cost);
}

/* Reserve the device that has room for the job soonest. */
static void fair_reserve(struct fair_pass *pass, int index)
{
    const struct fair_view *view = pass->view;
    double room_in[FAIR_DEVICES_MAX] = {0};
    for (int i = 0; i < view->n_holders; i++) {
        const struct fair_holder *holder = &view->holders[i];
        room_in[holder->device] = fmax(room_in[holder->device], fair_leaves_in(pass, holder));
    }
    pass->reserver = index;
    for (int d = 0; d < view->n_devices; d++) {
        if (!(view->jobs[index].devices >> d & 1))
            continue;
        if (pass->reserved >= 0 && room_in[d] >= pass->room_in)
            continue;
        pass->reserved = d;
        pass->room_in = room_in[d];
    }
}

/* 1 if the job starts now. */
static int fair_start(struct fair_pass *pass, int index, struct fair_action *out)
{
    const struct fair_job *job = &pass->view->jobs[index];
    for (int d = 0; d < pass->view->n_devices; d++) {
        if (!((job->devices & ~job->full) >> d & 1) || pass->room[d] + FAIR_ROUNDING < job->part)
            continue;
        if (d == pass->reserved && job->ends_in > pass->room_in)
            continue;
        *out = (struct fair_action){.verb = FAIR_START, .job = index, .device = d};
        return 1;
    }
    return 0;
}

/* 1 if a device will have room for the job once the leaving ones have left; that room is taken
 * then. */
static int fair_promised(struct fair_pass *pass, const struct fair_job *job)
{
    for (int d = 0; d < pass->view->n_devices; d++) {
        if (!(job->devices >> d & 1) || pass->leaving[d] <= 0 ||
            pass->room[d] + pass->leaving[d] + FAIR_ROUNDING < job->part)
            continue;
        pass->leaving[d] -= fmin(job->part, pass->leaving[d]);
        return 1;
    }
    return 0;
}

/* Seconds until the holder gives way to the job: 0: it does. */
static double fair_gives_way(const struct fair_pass *pass, const struct fair_holder *holder,
                             int index)
{
    const struct fair_view *view = pass->view;
    const struct fair_job *job = &view->jobs[index];
    const struct fair_user *users = view->users;
    const double slice = fair_slice(&view->rules, holder->cost), left = slice - holder->held;
    const int is_forced =
        job->urgent > holder->urgent ||
        (holder->user == job->user
             ? job->urgent == holder->urgent && job->priority > holder->priority
             : job->urgent == holder->urgent &&
                   ((pass->is_due && job->user == pass->hurried) ||
                    (index == pass->reserver && holder->device == pass->reserved)));
    if (is_forced)
        return fmax(left, 0);
    if (holder->user == job->user || holder->urgent > job->urgent)
        return INFINITY;
    const double lead = users[holder->user].virtual - users[job->user].key;
    if (lead >= slice)
        return fmax(left, 0);
    return fmax(left, slice / FAIR_LOOKS);
}

/* 1 if the holders on the device that give way make room for the job. *which: the one that is
 * furthest ahead. *in: seconds until the first of them would. */
static int fair_makes_room(struct fair_pass *pass, int index, int d, int *which, double *in)
{
    const struct fair_view *view = pass->view;
    const struct fair_job *job = &view->jobs[index];
    double room = pass->room[d] + pass->leaving[d];
    *which = -1;
    for (int i = 0; i < view->n_holders; i++) {
        const struct fair_holder *holder = &view->holders[i];
        if (holder->device != d || holder->leaving)
            continue;
        const double wait = fair_gives_way(pass, holder, index);
        if (wait > 0) {
            *in = fmin(*in, wait);
            continue;
        }
        room += holder->part;
        if (*which < 0 ||
            view->users[holder->user].virtual > view->users[view->holders[*which].user].virtual)
            *which = i;
    }
    return *which >= 0 && room + FAIR_ROUNDING >= job->part;
}

/* 1 if a job is told to give way to this one: of all devices the one furthest ahead. */
static int fair_stop(struct fair_pass *pass, int index, struct fair_action *out, double *again)
{
    const struct fair_view *view = pass->view;
    int best = -1;
    for (int d = 0; d < view->n_devices; d++) {
        int which;
        if (!(view->jobs[index].devices >> d & 1) ||
            !fair_makes_room(pass, index, d, &which, again))
            continue;
        if (best < 0 || view->users[view->holders[which].user].virtual >
                            view->users[view->holders[best].user].virtual)
            best = which;
    }
    if (best < 0)
        return 0;
    *out = (struct fair_action){.verb = FAIR_STOP, .job = index, .holder = best};
    return 1;
}

/* ---- the decision ---- */

void fair_next(struct fair_view *view, struct fair_action *out)
{
    struct fair_pass pass = {.view = view, .hurried = -1, .reserved = -1, .reserver = -1};
    const int has_slices = view->rules.slice > 0;
    double again = INFINITY;
    for (int d = 0; d < view->n_devices; d++)
        pass.room[d] = 1;
    fair_keys(&pass);
    if (has_slices)
        fair_hurry(&pass, &again);
    qsort_r(view->jobs, (size_t)view->n_jobs, sizeof *view->jobs, fair_compare, &pass);
    for (int i = 0; i < view->n_jobs; i++) {
        struct fair_job *job = &view->jobs[i];
        struct fair_user *user = &view->users[job->user];
        if (!job->devices)
            continue;
        if (fair_start(&pass, i, out))
            return;
        if (!has_slices)
            continue;
        if (pass.reserved < 0 && job->waited >= pass.slice)
            fair_reserve(&pass, i);
        else if (pass.reserved < 0)
            again = fmin(again, pass.slice - job->waited);
        if (!fair_promised(&pass, job)) {
            if (fair_stop(&pass, i, out, &again))
                return;
            continue;
        }
        user->key += view->rules.slice * job->part / user->share;
        if (job->user == pass.hurried)
            pass.hurried = -1;
    }
    *out = (struct fair_action){.verb = FAIR_NONE, .again = fmax(again, FAIR_SOONEST)};
}
