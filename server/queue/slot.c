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
    SLOT_REFRESH_MS = 30000,   /* age at which a report of free memory is old */
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

/* Data of a `device` event as JSON (malloc); NULL without memory. */
static char *slot_print(struct slot *slot)
{
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    pthread_mutex_lock(&slot->set->mutex);
    emit_object(&json, NULL);
    emit_text(&json, "id", slot->shown.device.id);
    emit_bool(&json, "available", slot->shown.device.available && !slot->shown.unproved[0]);
    emit_text(&json, "reason",
              slot->shown.device.available ? slot->shown.unproved : slot->shown.device.reason);
    emit_text(&json, "job", slot->shown.job);
    emit_integer(&json, "pid", slot->pid);
    emit_integer(&json, "faults", slot->faults);
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
        log_with(LOG_WARNING, LOG_FIELDS({"device", slot->shown.device.id}), "device %s: %s",
                 slot->shown.device.id, err.message);
    free(text);
    slot_set_changed(slot->set);
}

/* ---- its trainer ---- */

static void slot_end_trainer(struct slot *slot, const char *why)
{
    char how[128], id[sizeof slot->shown.device.id];
    if (!slot->process)
        return;
    trainer_process_end(slot->process, SLOT_GRACE_MS, how, sizeof how);
    slot->process = NULL;
    pthread_mutex_lock(&slot->set->mutex);
    slot->pid = 0;
    memcpy(id, slot->shown.device.id, sizeof id);
    pthread_mutex_unlock(&slot->set->mutex);
    log_with(LOG_INFO, LOG_FIELDS({"device", id}), "device %s: trainer %s (%s)", id, how, why);
}

/* No trainer can be started: show the device as unavailable until the next try. */
static void slot_unavailable(struct slot *slot, const char *reason)
{
    slot->retry_pause = slot->retry_pause ? 2 * slot->retry_pause : SLOT_RETRY_MS;
    if (slot->retry_pause > SLOT_RETRY_MAX_MS)
        slot->retry_pause = SLOT_RETRY_MAX_MS;
    slot->retry_at = clock_monotonic_ms() + slot->retry_pause;
    pthread_mutex_lock(&slot->set->mutex);
    slot->shown.device.available = 0;
    snprintf(slot->shown.device.reason, sizeof slot->shown.device.reason, "%.255s", reason);
    redact_text(slot->set->settings, slot->shown.device.reason); /* clients read it */
    slot->refresh = 0;
    pthread_mutex_unlock(&slot->set->mutex);
    log_with(LOG_ERROR, LOG_FIELDS({"device", slot->shown.device.id}), "device %s: %s",
             slot->shown.device.id, reason);
}

/* This slot's device as the new trainer reports it, or NULL. */
static const struct trainer_device *slot_find(const struct slot *slot)
{
    int n;
    const struct trainer_device *devices = trainer_process_devices(slot->process, &n);
    for (int i = 0; i < n; i++)
        if (strcmp(devices[i].id, slot->shown.device.id) == 0)
            return &devices[i];
    return NULL;
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
    slot->process_team = slot->team;
    pthread_mutex_unlock(&set->mutex);
    if (trainer_process_start_team(set->settings, slot->shown.device.id, &slot->process_team,
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
    const char *build = trainer_process_build(slot->process);
    slot->retry_at = slot->retry_pause = 0;
    pthread_mutex_lock(&set->mutex);
    slot->shown.device = *device;
    if (strcmp(slot->shown.facts.build, build) != 0) {
        slot->shown.facts = (struct placement_facts){0};
        snprintf(slot->shown.facts.build, sizeof slot->shown.facts.build, "%s", build);
    }
    slot->seen_at = clock_monotonic_ms();
    slot->refresh = 0;
    slot->pid = trainer_process_pid(slot->process);
    pthread_mutex_unlock(&set->mutex);
    slot_proof_look(slot);
    return 1;
}

/* ---- its thread ---- */

/* The slot is idle again. */
static void slot_release(struct slot *slot)
{
    pthread_mutex_lock(&slot->set->mutex);
    slot->shown.job[0] = '\0';
    pthread_mutex_unlock(&slot->set->mutex);
    slot_announce(slot);
}

/* Remember a refusal in place of the oldest one. The caller holds the mutex. */
static void slot_remember(struct slot *slot, const struct placement_refusal *refusal)
{
    int oldest = 0;
    for (int i = 1; i < PLACEMENT_REFUSALS; i++)
        if (slot->refused_until[i] < slot->refused_until[oldest])
            oldest = i;
    slot->shown.refusals[oldest] = *refusal;
    slot->refused_until[oldest] = clock_monotonic_ms() + SLOT_REFUSED_MS;
}

/* Attempt of the job that is doubted here, 0: none. */
static int slot_doubted(const struct slot *slot, const char *job)
{
    int attempt = 0;
    for (int i = 0; i < SLOT_DOUBTS; i++)
        if (strcmp(slot->doubts[i].job, job) == 0 && slot->doubts[i].attempt > attempt)
            attempt = slot->doubts[i].attempt;
    return attempt;
}

/* Whether the device may be used after this run. It proves itself again after a fault, and when a
 * first batch was wrong. One that passes its proofs and fails its jobs would fail the whole queue. */
static void slot_judge(struct slot *slot, const char *job, const struct job_run *run)
{
    struct slot_doubt *doubt = &slot->doubts[slot->next_doubt];
    char reason[128];
    if (run->facts.device[0])
        slot->wrong_jobs = 0; /* its first batch was right */
    if (!run->fault && !run->wrong)
        return;
    if (run->wrong) {
        slot->next_doubt = (slot->next_doubt + 1) % SLOT_DOUBTS;
        snprintf(doubt->job, sizeof doubt->job, "%s", job);
        doubt->attempt = run->wrong;
        slot->wrong_jobs += run->wrong == run->doubted;
    }
    snprintf(reason, sizeof reason,
             "it passes its proofs, but the first batches of %d jobs are not what the CPU computes",
             slot->wrong_jobs);
    if (slot->wrong_jobs < SLOT_WRONG_JOBS)
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
    struct job_run run = {.settings = set->settings,
                          .db = set->db,
                          .datasets = set->datasets,
                          .reader = slot->reader,
                          .device = slot->shown.device.id,
                          .kind = slot->shown.device.kind,
                          .proof = proof,
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
    slot->faults += run.fault || run.wrong;
    if (run.notice[0])
        snprintf(slot->shown.device.reason, sizeof slot->shown.device.reason, "%s", run.notice);
    if (run.facts.device[0])
        slot->shown.facts = run.facts;
    if (slot->shown.cores)
        slot->shown.facts.threads = 0; /* each job has its own number */
    if (run.refusal.job[0])
        slot_remember(slot, &run.refusal);
    if (!slot->process)
        slot->pid = 0;
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
    const int fits = slot->team.threads == slot->process_team.threads &&
                     CPU_EQUAL(&slot->team.cores, &slot->process_team.cores);
    pthread_mutex_unlock(&slot->set->mutex);
    return fits;
}

/* Next task of the slot: a job (copied to `job`, else ""), a refresh (1), or none (0). */
static int slot_next(struct slot *slot, char job[DB_ID_MAX])
{
    pthread_mutex_lock(&slot->set->mutex);
    memcpy(job, slot->shown.job, sizeof slot->shown.job);
    int refresh = slot->refresh;
    pthread_mutex_unlock(&slot->set->mutex);
    return refresh;
}

/* An idle trainer has ended, or has sent a message, which an idle trainer does not. */
static void slot_lost(struct slot *slot)
{
    slot_end_trainer(slot, "it did not stay idle");
    pthread_mutex_lock(&slot->set->mutex);
    slot->faults++;
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

/* Drop expired refusals. The caller holds the mutex. */
static void slot_forget(struct slot *slot)
{
    for (int i = 0; i < PLACEMENT_REFUSALS; i++)
        if (clock_monotonic_ms() >= slot->refused_until[i])
            slot->shown.refusals[i].job[0] = '\0';
}

int slot_set_snapshot(struct slot_set *set, struct placement_slot *slots)
{
    pthread_mutex_lock(&set->mutex);
    for (int i = 0; i < set->n; i++) {
        slot_forget(&set->slots[i]);
        slots[i] = set->slots[i].shown;
        slots[i].is_open = set->slots[i].pid != 0;
    }
    pthread_mutex_unlock(&set->mutex);
    return set->n;
}

void slot_give_way(struct slot *slot, enum job_way way)
{
    atomic_store(&slot->turn.way, way);
    slot_wake(slot);
}

void slot_hand_over(struct slot *slot, const char *job, double share,
                    const struct trainer_team *team)
{
    pthread_mutex_lock(&slot->set->mutex);
    slot->team = *team;
    atomic_store(&slot->turn.way, WAY_ON);
    atomic_store(&slot->turn.since, 0);
    atomic_store(&slot->turn.charged, 0);
    atomic_store(&slot->turn.share, share);
    snprintf(slot->shown.job, sizeof slot->shown.job, "%s", job);
    pthread_mutex_unlock(&slot->set->mutex);
    slot_wake(slot);
}

void slot_refresh_memory(struct slot *slot)
{
    pthread_mutex_lock(&slot->set->mutex);
    int old = clock_monotonic_ms() - slot->seen_at >= SLOT_REFRESH_MS;
    slot->refresh |= old;
    pthread_mutex_unlock(&slot->set->mutex);
    if (old)
        slot_wake(slot);
}

/* ---- start and stop ---- */

int slot_start(struct slot *slot, struct err *err)
{
    if (!slot->shown.device.available)
        return 0;
    slot->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (slot->wake_fd < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "no descriptor for a worker");
    if (db_reader_open(slot->set->db, &slot->reader, err) < 0)
        return -1;
    slot_proof_look(slot);
    errno = pthread_create(&slot->thread, NULL, slot_thread, slot);
    if (errno)
        return err_set_errno(err, ERR_UNAVAILABLE, "a worker thread cannot start");
    slot->has_thread = 1;
    return 0;
}

void slot_stop(struct slot *slot)
{
    if (slot->has_thread)
        pthread_join(slot->thread, NULL);
    db_reader_close(slot->reader);
    if (slot->wake_fd >= 0)
        close(slot->wake_fd);
}
