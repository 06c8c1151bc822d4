/* slot: see slot.h. A slot with a job is busy from slot_hand_over to slot_release. Between
 * them the job is claimed and run, or, if the slot had no trainer, a trainer is started and
 * the job given back (slot_warm): only then is the free memory of the device known, and the
 * scheduler decides again. */
#include "server/queue/slot.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/emit.h"
#include "config/log.h"
#include "db/events.h"
#include "db/jobs.h"
#include "server/queue/job_run.h"
#include "server/queue/slot_proof.h"
#include "server/redact.h"

enum {
    SLOT_IDLE_MIN_MS = 1000,   /* least life of an idle trainer: time to be handed a job */
    SLOT_RETRY_MS = 1000,      /* first pause after a trainer that did not start; it doubles */
    SLOT_RETRY_MAX_MS = 60000, /* up to this */
    SLOT_REFRESH_MS = 30000,   /* age at which a reading of free memory is old */
    SLOT_REFUSED_MS = 60000    /* a refused job is not tried again on this slot for so long */
};

/* ---- the set ---- */

void slot_set_open(struct slot_set *set, const struct settings *settings, struct db *db,
                   struct datasets *datasets)
{
    pthread_condattr_t monotonic;
    set->settings = settings;
    set->db = db;
    set->datasets = datasets;
    set->changed = 1;
    pthread_mutex_init(&set->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&set->changed_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void slot_set_close(struct slot_set *set)
{
    pthread_cond_destroy(&set->changed_cond);
    pthread_mutex_destroy(&set->mutex);
}

void slot_set_changed(struct slot_set *set)
{
    pthread_mutex_lock(&set->mutex);
    set->changed = 1;
    pthread_cond_signal(&set->changed_cond);
    pthread_mutex_unlock(&set->mutex);
}

void slot_set_wait(struct slot_set *set, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&set->mutex);
    int waited = 0;
    while (!set->changed && waited == 0)
        waited = pthread_cond_timedwait(&set->changed_cond, &set->mutex, &until);
    set->changed = 0;
    pthread_mutex_unlock(&set->mutex);
}

/* ---- the device event ---- */

static int slot_write_event(struct db_writer *writer, void *arg, struct err *err)
{
    return events_add(writer, "device", "", 0, 0, arg, err);
}

/* The slots of a device stand one after the other. */
static struct slot *slot_of(struct slot_set *set, const struct device *device, int seat)
{
    return &set->slots[device->first + seat];
}

/* Data of a `device` event as JSON (malloc); NULL without memory. */
static char *slot_print(struct slot *slot)
{
    struct device *device = slot->device;
    const struct trainer_device *shown = &device->shown.device;
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    pthread_mutex_lock(&slot->set->mutex);
    emit_object(&json, NULL);
    emit_text(&json, "id", device->id);
    emit_bool(&json, "available", shown->available && !device->shown.unproved[0]);
    emit_text(&json, "reason", shown->available ? device->shown.unproved : shown->reason);
    emit_array(&json, "jobs");
    for (int i = 0; i < device->shown.capacity.n_seats; i++)
        if (slot_of(slot->set, device, i)->job[0])
            emit_text(&json, NULL, slot_of(slot->set, device, i)->job);
    emit_end(&json);
    emit_integer(&json, "faults", device->faults);
    emit_end(&json);
    pthread_mutex_unlock(&slot->set->mutex);
    return emit_close_text(&json);
}

/* Announce a change of the slot to the event streams and to the scheduler. */
static void slot_announce(struct slot *slot)
{
    struct err err = ERR_INIT;
    char *text = slot_print(slot);
    if (text && db_call(slot->set->db, slot_write_event, text, &err) < 0)
        log_with(LOG_WARNING, LOG_FIELDS({"device", slot->device->id}), "device %s: %s",
                 slot->device->id, err.message);
    free(text);
    slot_set_changed(slot->set);
}

/* ---- the memory of the device ---- */

/* Jobs that have told meanwhile that they are loaded. The caller holds the mutex. */
static void slot_count_loaded(struct slot_set *set, struct device *device)
{
    struct capacity *capacity = &device->shown.capacity;
    for (int i = 0; i < capacity->n_seats; i++)
        capacity->seats[i].loaded_at = atomic_load(&slot_of(set, device, i)->turn.started);
}

int slot_read_memory(struct slot_set *set, struct device *device, int64_t free)
{
    struct capacity *capacity = &device->shown.capacity;
    const int64_t before = capacity_left(capacity);
    slot_count_loaded(set, device);
    device->seen_at = clock_monotonic_ms();
    capacity_read(capacity, free, device->seen_at);
    return capacity_left(capacity) > before;
}

/* ---- its trainer ---- */

/* The slot has no trainer any more. The caller holds the mutex. */
static void slot_close(struct slot *slot)
{
    slot->pid = 0;
    capacity_close(&slot->device->shown.capacity, slot->seat);
    slot->device->seen_at = 0; /* what it had is free by and by */
}

static void slot_end_trainer(struct slot *slot, const char *why)
{
    char how[128];
    if (!slot->process)
        return;
    trainer_process_end(slot->process, SLOT_GRACE_MS, how, sizeof how);
    slot->process = NULL;
    pthread_mutex_lock(&slot->set->mutex);
    slot_close(slot);
    pthread_mutex_unlock(&slot->set->mutex);
    log_with(LOG_INFO, LOG_FIELDS({"device", slot->device->id}), "device %s: trainer %s (%s)",
             slot->device->id, how, why);
    slot_wake_all(slot->set, slot->device); /* another may wait for that with a proof */
}

/* 1 if another slot of the device has a trainer. The caller holds the mutex. */
static int slot_has_company(const struct slot *slot)
{
    for (int i = 0; i < slot->device->shown.capacity.n_seats; i++)
        if (i != slot->seat && slot_of(slot->set, slot->device, i)->pid)
            return 1;
    return 0;
}

/* No trainer can be started: show the device as unavailable until the next try. If others have it
 * open, it is a seat too many: a card that takes one process only (EXCLUSIVE_PROCESS). */
static void slot_unavailable(struct slot *slot, const char *reason)
{
    struct device *device = slot->device;
    slot->retry_pause = slot->retry_pause ? 2 * slot->retry_pause : SLOT_RETRY_MS;
    if (slot->retry_pause > SLOT_RETRY_MAX_MS)
        slot->retry_pause = SLOT_RETRY_MAX_MS;
    slot->retry_at = clock_monotonic_ms() + slot->retry_pause;
    pthread_mutex_lock(&slot->set->mutex);
    slot_close(slot);
    if (slot_has_company(slot)) {
        device->shown.capacity.seats[slot->seat].is_barred = 1;
    } else {
        device->shown.device.available = 0;
        snprintf(device->shown.device.reason, sizeof device->shown.device.reason, "%.255s", reason);
        redact_text(slot->set->settings, device->shown.device.reason); /* clients read it */
    }
    pthread_mutex_unlock(&slot->set->mutex);
    log_with(LOG_ERROR, LOG_FIELDS({"device", device->id}), "device %s: %s", device->id, reason);
}

/* This slot's device as the new trainer reports it, or NULL. */
static const struct trainer_device *slot_find(const struct slot *slot)
{
    int n;
    const struct trainer_device *devices = trainer_process_devices(slot->process, &n);
    for (int i = 0; i < n; i++)
        if (strcmp(devices[i].id, slot->device->id) == 0)
            return &devices[i];
    return NULL;
}

/* A trainer has started: take what it tells of the device. */
static void slot_opened(struct slot *slot, const struct trainer_device *device)
{
    struct device *shared = slot->device;
    struct placement_device *shown = &shared->shown;
    const char *build = trainer_process_build(slot->process);
    slot->retry_at = slot->retry_pause = 0;
    pthread_mutex_lock(&slot->set->mutex);
    shown->device = *device;
    if (strcmp(shown->facts.build, build) != 0) {
        shown->facts = (struct placement_facts){0};
        snprintf(shown->facts.build, sizeof shown->facts.build, "%s", build);
    }
    slot->pid = trainer_process_pid(slot->process);
    shown->capacity.total = device->memory_bytes;
    slot_count_loaded(slot->set, shared);
    shared->seen_at = clock_monotonic_ms();
    capacity_open(&shown->capacity, slot->seat, &slot->process_team, device->free_bytes,
                  shared->seen_at);
    pthread_mutex_unlock(&slot->set->mutex);
    slot_proof_look(slot);
}

/* 1 if there is a trainer that offers the device; it is started if there is none, for the job that
 * was handed over last. */
static int slot_ensure_trainer(struct slot *slot)
{
    struct slot_set *set = slot->set;
    struct err err = ERR_INIT;
    if (slot->process)
        return 1;
    pthread_mutex_lock(&set->mutex);
    slot->process_team = slot->device->shown.capacity.seats[slot->seat].team;
    pthread_mutex_unlock(&set->mutex);
    if (trainer_process_start_team(set->settings, slot->device->id, &slot->process_team,
                                   &slot->process, &err) < 0) {
        slot->process = NULL;
        slot_unavailable(slot, err.message);
        return 0;
    }
    const struct trainer_device *device = slot_find(slot);
    if (!device || !device->available) {
        char reason[sizeof device->reason];
        snprintf(reason, sizeof reason, "%s", device ? device->reason : "the trainer misses it");
        slot_end_trainer(slot, "device not available");
        slot_unavailable(slot, reason);
        return 0;
    }
    slot_opened(slot, device);
    return 1;
}

/* ---- its thread ---- */

/* Count for each job of the device those beside it. The caller holds the mutex. */
static void slot_count(struct slot *slot)
{
    const struct capacity *capacity = &slot->device->shown.capacity;
    const int n = capacity_taken(capacity);
    for (int i = 0; i < capacity->n_seats; i++)
        if (capacity->seats[i].is_taken)
            atomic_store(&slot_of(slot->set, slot->device, i)->turn.beside, n - 1);
}

/* The slot is idle again: whatever the end was, its seat is given back. */
static void slot_release(struct slot *slot)
{
    pthread_mutex_lock(&slot->set->mutex);
    slot->job[0] = '\0';
    atomic_store(&slot->turn.started, 0);
    capacity_give_back(&slot->device->shown.capacity, slot->seat);
    slot->device->seen_at = 0; /* its memory is free by and by */
    slot_count(slot);
    pthread_mutex_unlock(&slot->set->mutex);
    slot_announce(slot);
    slot_wake_all(slot->set, slot->device); /* another may wait for that with a proof */
}

/* Remember a refusal in place of the oldest one. The caller holds the mutex. */
static void slot_remember(struct device *device, const struct placement_refusal *refusal)
{
    int oldest = 0;
    for (int i = 1; i < PLACEMENT_REFUSALS; i++)
        if (device->refused_until[i] < device->refused_until[oldest])
            oldest = i;
    device->shown.refusals[oldest] = *refusal;
    device->refused_until[oldest] = clock_monotonic_ms() + SLOT_REFUSED_MS;
}

/* What the run has taught about the device. The caller holds the mutex. */
static void slot_learn(struct device *device, const struct job_run *run)
{
    struct placement_device *shown = &device->shown;
    device->faults += run->fault || run->wrong;
    if (run->notice[0])
        snprintf(shown->device.reason, sizeof shown->device.reason, "%s", run->notice);
    if (run->facts.device[0])
        shown->facts = run->facts;
    if (shown->capacity.cores.n)
        shown->facts.threads = 0; /* each job has its own number */
    if (run->refusal.job[0])
        slot_remember(device, &run->refusal);
}

/* Attempt of the job that is doubted on the device, 0: none. */
static int slot_doubted(const struct slot *slot, const char *job)
{
    const struct device *device = slot->device;
    int attempt = 0;
    pthread_mutex_lock(&slot->set->mutex);
    for (int i = 0; i < SLOT_DOUBTS; i++)
        if (strcmp(device->doubts[i].job, job) == 0 && device->doubts[i].attempt > attempt)
            attempt = device->doubts[i].attempt;
    pthread_mutex_unlock(&slot->set->mutex);
    return attempt;
}

/* Remember a wrong first batch. Jobs of the device that failed so, one after the other. */
static int slot_count_wrong(struct slot *slot, const char *job, const struct job_run *run)
{
    struct device *device = slot->device;
    pthread_mutex_lock(&slot->set->mutex);
    if (run->facts.device[0])
        device->wrong_jobs = 0; /* its first batch was right */
    if (run->wrong) {
        struct slot_doubt *doubt = &device->doubts[device->next_doubt];
        device->next_doubt = (device->next_doubt + 1) % SLOT_DOUBTS;
        snprintf(doubt->job, sizeof doubt->job, "%s", job);
        doubt->attempt = run->wrong;
        device->wrong_jobs += run->wrong == run->doubted;
    }
    const int wrong_jobs = device->wrong_jobs;
    pthread_mutex_unlock(&slot->set->mutex);
    return wrong_jobs;
}

/* Whether the device may be used after this run. It proves itself again after a fault, and when a
 * first batch was wrong. One that passes its proofs and fails its jobs would fail the whole queue. */
static void slot_judge(struct slot *slot, const char *job, const struct job_run *run)
{
    char reason[128];
    const int wrong_jobs = slot_count_wrong(slot, job, run);
    if (!run->fault && !run->wrong)
        return;
    snprintf(reason, sizeof reason,
             "it passes its proofs, but the first batches of %d jobs are not what the CPU computes",
             wrong_jobs);
    if (wrong_jobs < SLOT_WRONG_JOBS)
        slot_proof_doubt(slot);
    else
        slot_proof_condemn(slot, reason);
}

/* Run the job. The results are copied to the slot under the mutex before slot_release lets the
 * scheduler look: it finds a refusal before it could hand the job over again. */
static void slot_run(struct slot *slot, const char *job)
{
    struct slot_set *set = slot->set;
    char proof[PROOF_ID_MAX];
    slot_proof_id(slot, proof);
    pthread_mutex_lock(&set->mutex);
    const int64_t most = capacity_largest(&slot->device->shown.capacity);
    pthread_mutex_unlock(&set->mutex);
    struct job_run run = {.settings = set->settings,
                          .db = set->db,
                          .datasets = set->datasets,
                          .reader = slot->reader,
                          .device = slot->device->id,
                          .kind = slot->device->kind,
                          .proof = proof,
                          .most_bytes = most,
                          .turn = &slot->turn,
                          .wake_fd = slot->wake_fd,
                          .stopping = &set->stopping,
                          .doubted = slot_doubted(slot, job),
                          .process = slot->process};
    struct err err = ERR_INIT;
    slot_announce(slot);
    /* Conflict, not found: cancelled, or deleted too, since it was handed over. */
    const int failed = job_run(&run, job, &err);
    if (failed && err.code != ERR_CONFLICT && err.code != ERR_NOT_FOUND)
        log_with(LOG_ERROR, LOG_FIELDS({"job", job}), "job %s: %s", job, err.message);
    slot->process = run.process;
    pthread_mutex_lock(&set->mutex);
    slot_learn(slot->device, &run);
    if (!slot->process)
        slot_close(slot);
    pthread_mutex_unlock(&set->mutex);
    slot_judge(slot, job, &run);
    slot_release(slot);
}

/* A job for a slot without a trainer: start one and give the job back. With the new report on
 * the device (available or not, free memory) the scheduler decides again. */
static void slot_warm(struct slot *slot)
{
    slot_ensure_trainer(slot);
    slot_release(slot);
}

/* 1 if the trainer is one for the job that was handed over. */
static int slot_fits(struct slot *slot)
{
    pthread_mutex_lock(&slot->set->mutex);
    const struct trainer_team *team = &slot->device->shown.capacity.seats[slot->seat].team;
    const int fits = team->threads == slot->process_team.threads &&
                     CPU_EQUAL(&team->cores, &slot->process_team.cores);
    pthread_mutex_unlock(&slot->set->mutex);
    return fits;
}

/* Next task of the slot: a job (copied to `job`, else ""), a refresh (1), or none (0). One idle slot
 * takes the refresh. */
static int slot_next(struct slot *slot, char job[DB_ID_MAX])
{
    pthread_mutex_lock(&slot->set->mutex);
    memcpy(job, slot->job, sizeof slot->job);
    const int refresh = slot->device->refresh && !job[0] && !slot->device->shown.is_proving;
    if (refresh)
        slot->device->refresh = 0;
    pthread_mutex_unlock(&slot->set->mutex);
    return refresh;
}

/* An idle trainer has ended, or has sent a message, which an idle trainer does not. */
static void slot_lost(struct slot *slot)
{
    slot_end_trainer(slot, "it did not stay idle");
    pthread_mutex_lock(&slot->set->mutex);
    slot->device->faults++;
    pthread_mutex_unlock(&slot->set->mutex);
    slot_proof_doubt(slot);
    slot_announce(slot);
}

/* Wait for a wake, for `until` (ms, 0: never), or for the end of the idle trainer. The eventfd
 * is drained afterwards: slot_thread then reads the new state, so no wake is lost. */
static void slot_wait(struct slot *slot, int64_t until)
{
    struct message message = {0};
    struct err err = ERR_INIT;
    int64_t left = until - clock_monotonic_ms();
    int timeout = until == 0 ? -1 : left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
    eventfd_t woken;
    if (!slot->process) {
        struct pollfd fd = {.fd = slot->wake_fd, .events = POLLIN};
        poll(&fd, 1, timeout);
    } else if (trainer_process_receive(slot->process, timeout, slot->wake_fd, &message, &err) !=
               0) {
        slot_lost(slot);
    }
    message_clear(&message);
    eventfd_read(slot->wake_fd, &woken);
}

/* Start a new trainer, for a new report of the device's free memory or as another try. */
static void slot_refresh(struct slot *slot)
{
    slot_end_trainer(slot, "asking for free memory");
    slot_ensure_trainer(slot);
    slot_announce(slot);
}

/* Compare the GPU with the reference. No trainer of ours shall take memory of it meanwhile. */
static void slot_prove(struct slot *slot)
{
    slot_end_trainer(slot, "the device is compared with the reference");
    slot_announce(slot);
    slot_proof_run(slot);
    slot_announce(slot);
}

/* The time (ms) at which the thread has something to do without being woken; 0: none. */
static int64_t slot_next_time(struct slot *slot, int64_t idle_until)
{
    const int64_t at = slot->process ? idle_until : slot->retry_at, proof = slot_proof_next(slot);
    return !proof || (at && at < proof) ? at : proof;
}

static void *slot_thread(void *arg)
{
    struct slot *slot = arg;
    struct slot_set *set = slot->set;
    int64_t idle_ms = set->settings->idle_seconds * 1000, idle_since = clock_monotonic_ms();
    if (idle_ms < SLOT_IDLE_MIN_MS)
        idle_ms = SLOT_IDLE_MIN_MS;
    while (!atomic_load(&set->stopping)) {
        char job[DB_ID_MAX];
        int refresh = slot_next(slot, job);
        if (job[0]) {
            if (slot->process && !slot_fits(slot))
                slot_end_trainer(slot, "the next job computes with other threads");
            if (slot->process)
                slot_run(slot, job);
            else
                slot_warm(slot);
            idle_since = clock_monotonic_ms();
        } else if (slot_proof_begin(slot)) {
            slot_prove(slot);
        } else if (slot->process && slot_proof_waits(slot)) {
            slot_end_trainer(slot, "the device is to be compared with the reference");
            slot_announce(slot);
        } else if (refresh || (slot->retry_at && clock_monotonic_ms() >= slot->retry_at)) {
            slot_refresh(slot);
            idle_since = clock_monotonic_ms();
        } else if (slot->process && clock_monotonic_ms() >= idle_since + idle_ms) {
            slot_end_trainer(slot, "idle, the device is given back");
            slot_announce(slot);
        } else {
            slot_wait(slot, slot_next_time(slot, idle_since + idle_ms));
        }
    }
    slot_end_trainer(slot, "the server stops");
    return NULL;
}

/* ---- for the scheduler ---- */

void slot_wake(struct slot *slot)
{
    if (slot->wake_fd >= 0)
        eventfd_write(slot->wake_fd, 1);
}

void slot_wake_all(struct slot_set *set, const struct device *device)
{
    for (int i = 0; i < device->shown.capacity.n_seats; i++)
        slot_wake(&set->slots[device->first + i]);
}

/* Drop expired refusals. The caller holds the mutex. */
static void slot_forget(struct device *device)
{
    for (int i = 0; i < PLACEMENT_REFUSALS; i++)
        if (clock_monotonic_ms() >= device->refused_until[i])
            device->shown.refusals[i].job[0] = '\0';
}

void slot_set_snapshot(struct slot_set *set, struct placement_device *devices,
                       struct slot_jobs *jobs)
{
    pthread_mutex_lock(&set->mutex);
    for (int i = 0; i < set->n_devices; i++) {
        slot_forget(&set->devices[i]);
        devices[i] = set->devices[i].shown;
        devices[i].capacity.is_closing = set->devices[i].proof_due;
    }
    for (int i = 0; i < set->n_slots; i++)
        memcpy(jobs->job[i], set->slots[i].job, sizeof jobs->job[i]);
    pthread_mutex_unlock(&set->mutex);
}

void slot_give_way(struct slot *slot, enum job_way way)
{
    atomic_store(&slot->turn.way, way);
    slot_wake(slot);
}

void slot_hand_over(struct slot *slot, const struct slot_order *order)
{
    pthread_mutex_lock(&slot->set->mutex);
    capacity_take(&slot->device->shown.capacity, slot->seat, &order->team, order->bytes);
    atomic_store(&slot->turn.way, WAY_ON);
    atomic_store(&slot->turn.since, 0);
    atomic_store(&slot->turn.charged, 0);
    atomic_store(&slot->turn.started, 0);
    atomic_store(&slot->turn.share, order->share);
    atomic_store(&slot->turn.part, order->part);
    snprintf(slot->job, sizeof slot->job, "%s", order->job);
    slot_count(slot);
    pthread_mutex_unlock(&slot->set->mutex);
    slot_wake(slot);
}

/* The watch reads it anyway. */
void slot_refresh_memory(struct slot_set *set, struct device *device)
{
    pthread_mutex_lock(&set->mutex);
    const int due =
        !device->is_watched && clock_monotonic_ms() >= device->seen_at + SLOT_REFRESH_MS;
    device->refresh |= due;
    pthread_mutex_unlock(&set->mutex);
    if (due)
        slot_wake_all(set, device);
}

/* ---- start and stop ---- */

int slot_open(struct slot *slot, struct err *err)
{
    if (!slot->device->shown.device.available)
        return 0;
    slot->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (slot->wake_fd < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "no descriptor for a worker");
    if (db_reader_open(slot->set->db, &slot->reader, err) < 0)
        return -1;
    slot_proof_look(slot);
    return 0;
}

int slot_start(struct slot *slot, struct err *err)
{
    if (slot->wake_fd < 0)
        return 0;
    errno = pthread_create(&slot->thread, NULL, slot_thread, slot);
    if (errno)
        return err_set_errno(err, ERR_UNAVAILABLE, "a worker thread cannot start");
    slot->has_thread = 1;
    return 0;
}

void slot_join(struct slot *slot)
{
    if (slot->has_thread)
        pthread_join(slot->thread, NULL);
}

void slot_free(struct slot *slot)
{
    db_reader_close(slot->reader);
    if (slot->wake_fd >= 0)
        close(slot->wake_fd);
}
