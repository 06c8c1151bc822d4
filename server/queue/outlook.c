/* outlook: see outlook.h. A making copies the board, reads lane after lane, and runs one forecast
 * for each kind of device. `mutex` guards the shared table; `making` lets one thread make it. */
#include "server/queue/outlook.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/clock.h"
#include "config/log.h"
#include "db/accounts.h"
#include "db/step_times.h"
#include "server/queue/forecast.h"
#include "server/queue/pace.h"

struct outlook {
    struct slot_set *set;
    struct board *board;
    struct db_reader *reader; /* of the thread */
    pthread_t thread;
    pthread_mutex_t mutex, making;
    pthread_cond_t asked_cond;
    int asked, stopping;         /* under the mutex, as all that follows */
    struct outlook_table *table; /* NULL: none yet */
    int64_t took;                /* ms of processor of the last making */
};

/* ---- a making ---- */

/* One kind of device: what forecast.h sees, and the row of the table of each of its jobs. */
struct world {
    char kind[DB_DEVICE_MAX];
    struct forecast_job *jobs;
    int *row_of;
    struct fair_user *users;
    int n_jobs, jobs_room, n_users, users_room;
    int device_of[TRAINER_DEVICES_MAX], n_devices; /* of a device of the machine */
};

struct making {
    struct slot_set *set;
    struct board *board;
    struct db_reader *reader;
    struct board_view *view;
    struct outlook_table *table;
    int room;
    struct world worlds[TRAINER_DEVICES_MAX];
    int n_worlds;
    /* of the lane that is read */
    struct world *world;
    const char *device;          /* whose measurements count */
    struct step_times general;   /* of that device, for shapes that were not measured */
    const struct job *candidate; /* to be put in as if it was queued; NULL: none */
    int64_t now;                 /* ms of the monotonic clock */
};

static void *grow(void *array, int n, int *room, size_t size)
{
    if (n < *room)
        return array;
    const int more = *room ? 2 * *room : 64;
    void *larger = realloc(array, (size_t)more * size);
    if (larger)
        *room = more;
    return larger;
}

static int making_short(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for the view of the queue");
}

/* NULL: no device is of that kind. */
static struct world *making_world(struct making *making, const char *kind)
{
    for (int i = 0; i < making->n_worlds; i++)
        if (strcmp(making->worlds[i].kind, kind) == 0)
            return &making->worlds[i];
    return NULL;
}

/* The device of a slot. */
static int making_device(const struct making *making, int slot)
{
    return (int)(making->set->slots[slot].device - making->set->devices);
}

static int making_is_held(const struct making *making, int device)
{
    for (int i = 0; i < making->view->n_slots; i++)
        if (making->view->jobs.job[i][0] && making_device(making, i) == device)
            return 1;
    return 0;
}

static void making_worlds(struct making *making)
{
    const struct board_view *view = making->view;
    for (int i = 0; i < view->n_devices; i++) {
        const struct trainer_device *device = &view->devices[i].device;
        struct world *world = making_world(making, device->kind);
        if (!world) {
            world = &making->worlds[making->n_worlds++];
            snprintf(world->kind, sizeof world->kind, "%s", device->kind);
        }
        world->device_of[i] =
            device->available || making_is_held(making, i) ? world->n_devices++ : -1;
    }
}

static uint32_t world_devices(const struct making *making, const struct world *world,
                              uint32_t devices)
{
    uint32_t mine = 0;
    for (int i = 0; i < making->view->n_devices; i++)
        if (devices >> i & 1 && strcmp(making->view->devices[i].device.kind, world->kind) == 0 &&
            world->device_of[i] >= 0)
            mine |= UINT32_C(1) << world->device_of[i];
    return mine;
}

/* The part that a job takes of these devices: the largest, if they differ. */
static double making_part(const struct making *making, const struct job *job, uint32_t devices)
{
    double part = 0;
    for (int i = 0; i < making->view->n_devices; i++) {
        const struct placement_device *device = &making->view->devices[i];
        if (devices >> i & 1)
            part = fmax(part, capacity_part(&device->capacity, placement_threads(job, device),
                                            job->memory_bytes));
    }
    return part > 0 ? part : 1;
}

/* Index of a user in a world, -1 with the error. A user whom the last pass did not see comes with
 * the account in the database, raised as the scheduler will raise it. */
static int world_user(struct making *making, struct world *world, const char *name, struct err *err)
{
    const struct settings *settings = making->set->settings;
    const struct fair_rules rules = {
        .credit = (double)(settings->share_credit * settings->slice_seconds)};
    const struct board_user *seen = NULL;
    double least = INFINITY;
    for (int i = 0; i < world->n_users; i++)
        if (strcmp(world->users[i].name, name) == 0)
            return i;
    void *larger = grow(world->users, world->n_users, &world->users_room, sizeof *world->users);
    if (!larger)
        return making_short(err);
    world->users = larger;
    for (int i = 0; i < making->view->n_users; i++) {
        const struct board_user *user = &making->view->users[i];
        if (strcmp(user->kind, world->kind) != 0)
            continue;
        least = fmin(least, user->virtual);
        if (strcmp(user->user, name) == 0)
            seen = user;
    }
    struct account account = {0};
    snprintf(account.user, sizeof account.user, "%s", name);
    snprintf(account.kind, sizeof account.kind, "%s", world->kind);
    if (!seen && account_get(making->reader, &account, err) < 0)
        return -1;
    struct fair_user *user = &world->users[world->n_users];
    *user = (struct fair_user){.name = strdup(name), .share = account.share, .waited = -1};
    if (!user->name)
        return making_short(err);
    if (seen) {
        user->share = seen->share;
        user->virtual = seen->virtual;
        user->waited = seen->waits_since ? (double)(making->now - seen->waits_since) / 1e3 : -1;
    } else {
        user->virtual = least < INFINITY ? fair_return(&rules, account.virtual, least)
                                         : account.virtual;
    }
    return world->n_users++;
}

/* A row of the table, and of the world if there is one. NULL with the error. */
static struct outlook_job *making_row(struct making *making, struct world *world,
                                      const struct job *job, struct forecast_job **forecast,
                                      struct err *err)
{
    struct outlook_table *table = making->table;
    void *rows = grow(table->jobs, table->n, &making->room, sizeof *table->jobs);
    if (!rows)
        return making_short(err), NULL;
    table->jobs = rows;
    struct outlook_job *row = &table->jobs[table->n];
    *row = (struct outlook_job){.seq = job->seq,
                                .priority = job->priority,
                                .epoch = job->epoch,
                                .epochs = job->epochs,
                                .name = strdup(job->name),
                                .urgent = job->urgent ? strdup(job->urgent) : NULL};
    memcpy(row->id, job->id, sizeof row->id);
    snprintf(row->user, sizeof row->user, "%s", job->user);
    snprintf(row->device, sizeof row->device, "%s", job->device);
    table->n++;
    if (!row->name || (job->urgent && !row->urgent))
        return making_short(err), NULL;
    if (!world)
        return row;
    snprintf(row->kind, sizeof row->kind, "%s", world->kind);
    const int user = world_user(making, world, job->user, err);
    int room = world->jobs_room;
    void *larger = grow(world->jobs, world->n_jobs, &room, sizeof *world->jobs);
    void *rows_of =
        larger ? grow(world->row_of, world->n_jobs, &world->jobs_room, sizeof(int)) : NULL;
    world->jobs = larger ? larger : world->jobs;
    world->row_of = rows_of ? rows_of : world->row_of;
    if (user < 0 || !larger || !rows_of)
        return user < 0 ? NULL : (making_short(err), NULL);
    world->row_of[world->n_jobs] = table->n - 1;
    *forecast = &world->jobs[world->n_jobs++];
    **forecast = (struct forecast_job){.user = user,
                                       .urgent = job->urgent != NULL,
                                       .priority = job->priority,
                                       .age = job->seq,
                                       .part = 1,
                                       .cost = (double)job->cost_ms / 1e3,
                                       .limit = INFINITY,
                                       .device = -1};
    if (job->max_seconds)
        (*forecast)->limit = fmax((double)job->max_seconds - (double)job->device_ms / 1e3, 0);
    return row;
}

static double job_epochs_left(const struct job *job)
{
    return (double)(job->epochs - (job->epoch > 0 ? job->epoch : 0));
}

/* A queued job of the lane that is read. */
static int making_waits(struct making *making, const struct job *job, const struct job_work *work,
                        const struct step_times *times, struct err *err)
{
    struct placement_look look;
    struct reason reason;
    struct forecast_job *forecast = NULL;
    struct outlook_job *row = making_row(making, making->world, job, &forecast, err);
    if (!row)
        return -1;
    board_reason(making->board, job, &reason);
    row->code = reason.code;
    row->why = reason.code ? strdup(reason.message) : NULL;
    if (!forecast)
        return 0;
    placement_look(job, making->view->devices, making->view->n_devices, &look);
    forecast->devices = world_devices(making, making->world, look.devices);
    forecast->part = making_part(making, job, look.devices);
    pace_estimate(work, times->weight > 0 ? times : &making->general, making->world->kind,
                  job_epochs_left(job), NULL, forecast);
    return 0;
}

struct making_call {
    struct making *making;
    struct err *err;
};

static int making_lane_row(void *self, const struct job *job, const struct job_work *work,
                           const struct step_times *times)
{
    const struct making_call *call = self;
    for (int i = 0; i < call->making->view->n_slots; i++)
        if (strcmp(call->making->view->jobs.job[i], job->id) == 0)
            return 0; /* handed over: told with those that run */
    return making_waits(call->making, job, work, times, call->err);
}

/* The world of a lane, and the device whose measurements count for it: the one that it names, else
 * the first of the kind. */
static int making_enter(struct making *making, const char *device, struct err *err)
{
    const struct board_view *view = making->view;
    making->world = making_world(making, placement_kind(device, view->devices, view->n_devices));
    making->device = NULL;
    for (int i = 0; making->world && i < view->n_devices; i++) {
        const struct trainer_device *here = &view->devices[i].device;
        if (strcmp(here->id, device) == 0 ||
            (!making->device && strcmp(here->kind, making->world->kind) == 0))
            making->device = here->id;
    }
    if (!making->device)
        making->device = device;
    return step_times_get(making->reader, "", making->device, &making->general, err);
}

static int making_lanes(struct making *making, struct err *err)
{
    struct job_lane *lanes = NULL;
    int n = 0, failed = 0;
    struct making_call call = {making, err};
    if (job_lanes(making->reader, &lanes, &n, err) < 0)
        return -1;
    for (int i = 0; i < n && !failed; i++)
        failed = making_enter(making, lanes[i].device, err) < 0 ||
                 step_times_lane(making->reader, &lanes[i], making->device, making_lane_row, &call,
                                 err) < 0 ||
                 err->code;
    free(lanes);
    return failed ? -1 : 0;
}

/* Jobs that wait for their text or for other jobs: nobody knows until when. */
static int making_apart(struct making *making, struct err *err)
{
    struct job **jobs = NULL;
    int n = 0, failed = job_apart(making->reader, &jobs, &n, err) < 0;
    for (int i = 0; i < n; i++) {
        struct forecast_job *none;
        struct reason reason;
        struct outlook_job *row = failed ? NULL : making_row(making, NULL, jobs[i], &none, err);
        failed = failed || !row;
        if (row) {
            board_reason(making->board, jobs[i], &reason);
            row->code = reason.code;
            row->why = reason.code ? strdup(reason.message) : NULL;
        }
        job_free(jobs[i]);
    }
    free(jobs);
    return failed ? -1 : 0;
}

/* The job of a slot. */
static int making_runs(struct making *making, int slot, const struct job *job, struct err *err)
{
    struct job_turn *turn = &making->set->slots[slot].turn;
    const int device = making_device(making, slot);
    const struct placement_device *shown = &making->view->devices[device];
    struct world *world = making_world(making, shown->device.kind);
    struct forecast_job *forecast = NULL;
    struct job_work work;
    struct step_times times;
    struct outlook_job *row = making_row(making, world, job, &forecast, err);
    if (!row || step_times_work(making->reader, job->id, &work, err) < 0 ||
        step_times_get(making->reader, work.shape, shown->device.id, &times, err) < 0)
        return -1;
    row->running = 1;
    snprintf(row->device, sizeof row->device, "%s", shown->device.id);
    const int64_t since = atomic_load(&turn->since), first_at = atomic_load(&turn->first_at);
    const int64_t epoch = atomic_load(&turn->epoch), at = atomic_load(&turn->epoch_at);
    const struct pace_run run = {.epochs = (double)(epoch - atomic_load(&turn->first_epoch)),
                                 .seconds = (double)(at - first_at) / 1e3,
                                 .since = (double)(making->now - at) / 1e3};
    pace_estimate(&work, &times, world->kind, job_epochs_left(job), since && first_at ? &run : NULL,
                  forecast);
    forecast->device = world->device_of[device];
    forecast->part = making_part(making, job, UINT32_C(1) << device);
    forecast->devices = UINT32_C(1) << forecast->device;
    forecast->held = since ? (double)(making->now - since) / 1e3 : 0;
    forecast->leaving = atomic_load(&turn->way) != WAY_ON;
    if (since && first_at)
        forecast->start = fmin(forecast->start, forecast->held); /* it computes */
    else
        forecast->start = fmax(forecast->start, forecast->held);
    return 0;
}

static int making_slots(struct making *making, struct err *err)
{
    for (int i = 0; i < making->view->n_slots; i++) {
        struct err gone = ERR_INIT;
        struct job *job = NULL;
        if (!making->view->jobs.job[i][0] ||
            job_get(making->reader, making->view->jobs.job[i], &job, &gone) < 0)
            continue; /* deleted, or none */
        const int is_live = job->state == JOB_QUEUED || job->state == JOB_RUNNING;
        const int failed = is_live && making_runs(making, i, job, err) < 0;
        job_free(job);
        if (failed)
            return -1;
    }
    making->table->n_running = making->table->n;
    return 0;
}

static int64_t outlook_at(int64_t now, double seconds)
{
    return isfinite(seconds) ? now + (int64_t)(seconds * 1e6) : 0;
}

static struct outlook_time outlook_times(int64_t now, struct forecast_time time)
{
    return (struct outlook_time){outlook_at(now, time.low), outlook_at(now, time.likely),
                                 outlook_at(now, time.high)};
}

/* Virtual times since the last pass: it may be half a minute ago. */
static void world_settle(const struct making *making, struct world *world)
{
    const double passed = (double)(making->now - making->view->now) / 1e3;
    for (int i = 0; i < world->n_jobs; i++) {
        struct fair_user *user = &world->users[world->jobs[i].user];
        if (world->jobs[i].device >= 0)
            user->virtual += fmin(passed, world->jobs[i].held) * world->jobs[i].part / user->share;
    }
}

static int making_forecast(struct making *making, struct world *world, struct err *err)
{
    const struct settings *settings = making->set->settings;
    const struct forecast forecast = {
        .rules = {.slice = (double)settings->slice_seconds,
                  .credit = (double)(settings->share_credit * settings->slice_seconds)},
        .users = world->users,
        .n_users = world->n_users,
        .n_devices = world->n_devices,
        .is_closed = making->view->closed.code != REASON_NONE,
        .jobs = world->jobs,
        .n_jobs = world->n_jobs};
    const int64_t now = db_now();
    world_settle(making, world);
    if (forecast_run(&forecast, err) < 0)
        return -1;
    for (int i = 0; i < world->n_jobs; i++) {
        struct outlook_job *row = &making->table->jobs[world->row_of[i]];
        const struct forecast_job *told = &world->jobs[i];
        row->place = told->place;
        row->seconds = told->seconds + told->start + told->stop;
        if (!row->running)
            row->starts = outlook_times(now, told->starts);
        row->ends = outlook_times(now, told->ends);
    }
    return 0;
}

static int outlook_compare(const void *a, const void *b)
{
    const struct outlook_job *one = a, *two = b;
    if (one->running != two->running)
        return two->running - one->running;
    if (one->starts.likely != two->starts.likely) /* those without a time are last */
        return !one->starts.likely                       ? 1
               : !two->starts.likely                     ? -1
               : one->starts.likely < two->starts.likely ? -1
                                                         : 1;
    if (one->place != two->place)
        return one->place - two->place;
    return (one->seq > two->seq) - (one->seq < two->seq);
}

static int outlook_compare_ids(const void *a, const void *b, void *jobs)
{
    const struct outlook_job *all = jobs;
    return strcmp(all[*(const int *)a].id, all[*(const int *)b].id);
}

static int making_sort(struct making *making, struct err *err)
{
    struct outlook_table *table = making->table;
    if (table->n)
        qsort(table->jobs, (size_t)table->n, sizeof *table->jobs, outlook_compare);
    table->by_id = calloc((size_t)table->n + 1, sizeof *table->by_id);
    if (!table->by_id)
        return making_short(err);
    for (int i = 0; i < table->n; i++)
        table->by_id[i] = i;
    qsort_r(table->by_id, (size_t)table->n, sizeof *table->by_id, outlook_compare_ids, table->jobs);
    return 0;
}

static void outlook_free(struct outlook_table *table)
{
    for (int i = 0; table && i < table->n; i++) {
        free(table->jobs[i].name);
        free(table->jobs[i].urgent);
        free(table->jobs[i].why);
    }
    if (table) {
        free(table->jobs);
        free(table->by_id);
    }
    free(table);
}

static void making_free(struct making *making)
{
    for (int i = 0; i < making->n_worlds; i++) {
        struct world *world = &making->worlds[i];
        for (int u = 0; u < world->n_users; u++)
            free((char *)(uintptr_t)world->users[u].name);
        free(world->users);
        free(world->jobs);
        free(world->row_of);
    }
    if (making->view)
        free(making->view->users);
    free(making->view);
}

/* The candidate as the last job of its lane. */
static int making_candidate(struct making *making, struct err *err)
{
    struct job job;
    struct step_times times;
    if (!making->candidate)
        return 0;
    job = *making->candidate;
    job.seq = INT64_MAX;
    if (making_enter(making, job.device, err) < 0 ||
        step_times_get(making->reader, job.work.shape, making->device, &times, err) < 0)
        return -1;
    return making_waits(making, &job, &job.work, &times, err);
}

/* A new table, with the candidate of `making` if it has one. */
static int outlook_make(struct outlook *outlook, struct making *making, struct err *err)
{
    making->set = outlook->set;
    making->board = outlook->board;
    making->now = clock_monotonic_ms();
    making->table = calloc(1, sizeof *making->table);
    making->view = calloc(1, sizeof *making->view);
    int failed = !making->table || !making->view ? making_short(err)
                                                 : board_get(outlook->board, making->view, err);
    if (!failed) {
        making_worlds(making);
        failed = making_slots(making, err) < 0 || making_lanes(making, err) < 0 ||
                 making_apart(making, err) < 0 || making_candidate(making, err) < 0;
    }
    for (int i = 0; i < making->n_worlds && !failed; i++)
        failed = making_forecast(making, &making->worlds[i], err) < 0;
    failed = failed || making_sort(making, err) < 0;
    if (!failed) {
        making->table->pass = making->view->pass;
        making->table->made = making->now;
    }
    making_free(making);
    if (failed)
        outlook_free(making->table);
    return failed ? -1 : 0;
}

/* ---- sharing ---- */

/* The caller holds the mutex. */
static void outlook_drop(struct outlook_table *table)
{
    if (table && --table->refs == 0)
        outlook_free(table);
}

/* 1 if the table may be shown as that of now: it is young, and the queue has not changed since; a
 * dear one is shown for its second nevertheless. The caller holds the mutex. */
static int outlook_is_fresh(const struct outlook *outlook)
{
    const struct outlook_table *table = outlook->table;
    return table && clock_monotonic_ms() - table->made < OUTLOOK_MS &&
           (outlook->took > OUTLOOK_CHEAP_MS || table->pass == board_pass(outlook->board));
}

static int64_t outlook_processor_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Make the shared table, unless another thread has just made it. */
static int outlook_renew(struct outlook *outlook, struct db_reader *reader, struct err *err)
{
    int failed = 0;
    pthread_mutex_lock(&outlook->making);
    pthread_mutex_lock(&outlook->mutex);
    const int is_fresh = outlook_is_fresh(outlook);
    pthread_mutex_unlock(&outlook->mutex);
    if (!is_fresh) {
        struct making making = {.reader = reader};
        const int64_t began = outlook_processor_ms();
        failed = outlook_make(outlook, &making, err);
        pthread_mutex_lock(&outlook->mutex);
        outlook->took = outlook_processor_ms() - began;
        if (!failed) {
            making.table->refs = 1;
            outlook_drop(outlook->table);
            outlook->table = making.table;
        }
        pthread_mutex_unlock(&outlook->mutex);
    }
    pthread_mutex_unlock(&outlook->making);
    return failed;
}

int outlook_take(struct outlook *outlook, struct db_reader *reader, int may_wait,
                 const struct outlook_table **out, struct err *err)
{
    pthread_mutex_lock(&outlook->mutex);
    const int is_fresh = outlook_is_fresh(outlook);
    const int is_dear = !may_wait && outlook->took > OUTLOOK_CHEAP_MS;
    if (!is_fresh && is_dear) {
        outlook->asked = 1;
        pthread_cond_signal(&outlook->asked_cond);
    }
    pthread_mutex_unlock(&outlook->mutex);
    if (!is_fresh && !is_dear && outlook_renew(outlook, reader, err))
        return -1;
    pthread_mutex_lock(&outlook->mutex);
    struct outlook_table *table = outlook->table;
    const int is_old = table && clock_monotonic_ms() - table->made > OUTLOOK_STALE_MS;
    *out = is_old ? NULL : table;
    if (*out)
        table->refs++;
    pthread_mutex_unlock(&outlook->mutex);
    return 0;
}

void outlook_give_back(struct outlook *outlook, const struct outlook_table *table)
{
    pthread_mutex_lock(&outlook->mutex);
    outlook_drop((struct outlook_table *)(uintptr_t)table);
    pthread_mutex_unlock(&outlook->mutex);
}

const struct outlook_job *outlook_find(const struct outlook_table *table, const char *id)
{
    int low = 0, high = table->n;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        const int order = strcmp(table->jobs[table->by_id[middle]].id, id);
        if (order == 0)
            return &table->jobs[table->by_id[middle]];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int outlook_try(struct outlook *outlook, struct db_reader *reader, const struct job *job,
                struct outlook_job *out, struct err *err)
{
    struct making making = {.reader = reader, .candidate = job};
    if (outlook_make(outlook, &making, err) < 0)
        return -1;
    const struct outlook_job *found = outlook_find(making.table, job->id);
    *out = found ? *found : (struct outlook_job){0};
    out->name = out->urgent = out->why = NULL;
    outlook_free(making.table);
    return 0;
}

/* ---- the thread ---- */

static void *outlook_thread(void *arg)
{
    struct outlook *outlook = arg;
    pthread_mutex_lock(&outlook->mutex);
    while (!outlook->stopping) {
        struct err err = ERR_INIT;
        if (!outlook->asked) {
            pthread_cond_wait(&outlook->asked_cond, &outlook->mutex);
            continue;
        }
        outlook->asked = 0;
        pthread_mutex_unlock(&outlook->mutex);
        if (outlook_renew(outlook, outlook->reader, &err))
            log_line(LOG_WARNING, "the view of the queue: %s", err.message);
        pthread_mutex_lock(&outlook->mutex);
    }
    pthread_mutex_unlock(&outlook->mutex);
    return NULL;
}

int outlook_start(struct slot_set *set, struct board *board, struct outlook **out, struct err *err)
{
    struct outlook *outlook = calloc(1, sizeof *outlook);
    if (!outlook)
        return making_short(err);
    outlook->set = set;
    outlook->board = board;
    pthread_mutex_init(&outlook->mutex, NULL);
    pthread_mutex_init(&outlook->making, NULL);
    pthread_cond_init(&outlook->asked_cond, NULL);
    int failed = db_reader_open(set->db, &outlook->reader, err);
    if (!failed && (errno = pthread_create(&outlook->thread, NULL, outlook_thread, outlook))) {
        db_reader_close(outlook->reader);
        failed = err_set_errno(err, ERR_UNAVAILABLE, "the thread of the queue's view cannot start");
    }
    if (failed)
        free(outlook);
    else
        *out = outlook;
    return failed;
}

void outlook_stop(struct outlook *outlook)
{
    if (!outlook)
        return;
    pthread_mutex_lock(&outlook->mutex);
    outlook->stopping = 1;
    pthread_cond_signal(&outlook->asked_cond);
    pthread_mutex_unlock(&outlook->mutex);
    pthread_join(outlook->thread, NULL);
    db_reader_close(outlook->reader);
    outlook_free(outlook->table);
    pthread_cond_destroy(&outlook->asked_cond);
    pthread_mutex_destroy(&outlook->making);
    pthread_mutex_destroy(&outlook->mutex);
    free(outlook);
}
