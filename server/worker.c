/* worker: see worker.h. One worker thread per available device and one scheduler
 * thread. The scheduler alone decides: it reads the queue, hands a job to an
 * idle slot, and stores why the others wait. A worker thread starts its trainer,
 * runs the job it was handed (worker_run.c), keeps the trainer warm for
 * idle_seconds and then gives the device back.
 *
 * The mutex guards what a slot shows; `process` and what is below it belong to
 * the slot's own thread. */
#include "server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "config/log.h"
#include "db/events.h"
#include "db/jobs.h"
#include "server/device_watch.h"
#include "server/scheduler.h"
#include "server/worker_run.h"

enum {
    WORKER_GRACE_MS = 2000,      /* for a trainer to leave by itself */
    WORKER_IDLE_MIN_MS = 1000,   /* a new trainer lives long enough to be handed a job */
    WORKER_RETRY_MS = 1000,      /* first pause after a trainer that did not start, doubled */
    WORKER_RETRY_MAX_MS = 60000, /* up to this */
    WORKER_REFRESH_MS = 30000,   /* age of a free memory that is asked for again */
    WORKER_REFUSED_MS = 60000,   /* a job that was sent back is not tried again before */
    SCHEDULER_TICK_MS = 30000    /* a look at the queue without being called */
};

struct slot {
    struct workers *workers;
    pthread_t thread;
    int has_thread;
    int wake_fd; /* eventfd: something changed, stop, or a job was handed over */
    /* under the mutex */
    struct scheduler_slot shown;
    int64_t refused_until[SCHEDULER_REFUSALS]; /* ms; of shown.refusals */
    int refresh;                               /* its free memory shall be asked for again */
    int pid;
    int64_t faults;
    int64_t seen_at;               /* ms; when a trainer last told about the device */
    int is_watched;                /* `watched` holds */
    struct trainer_device watched; /* how the GPU is doing, from the watch */
    /* of its thread */
    struct trainer_process *process;
    struct db_reader *reader;
    int64_t retry_at, retry_pause; /* ms; after a trainer that did not start, else 0 */
};

struct workers {
    const struct settings *settings;
    struct db *db;
    struct db_reader *reader;   /* of the scheduler thread */
    struct device_watch *watch; /* NULL: no GPU to watch */
    pthread_t scheduler;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int changed; /* the scheduler shall look */
    atomic_int stopping;
    int n;
    struct slot slots[TRAINER_DEVICES_MAX];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void scheduler_wake(struct workers *workers)
{
    pthread_mutex_lock(&workers->mutex);
    workers->changed = 1;
    pthread_cond_signal(&workers->wake);
    pthread_mutex_unlock(&workers->mutex);
}

/* ---- a slot: what it shows ---- */

static int write_device_event(struct db_writer *writer, void *arg, struct err *err)
{
    return events_add(writer, "device", "", 0, 0, arg, err);
}

/* Tells the event streams and the scheduler that a slot has changed. */
static void slot_announce(struct slot *slot)
{
    struct workers *workers = slot->workers;
    struct err err;
    pthread_mutex_lock(&workers->mutex);
    json_t *root =
        json_pack("{s:s, s:b, s:s, s:s, s:i, s:I}", "id", slot->shown.device.id, "available",
                  slot->shown.device.available, "reason", slot->shown.device.reason, "job",
                  slot->shown.job, "pid", slot->pid, "faults", (json_int_t)slot->faults);
    pthread_mutex_unlock(&workers->mutex);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (text && db_call(workers->db, write_device_event, text, &err) < 0)
        log_line(LOG_WARNING, "device %s: %s", slot->shown.device.id, err.message);
    free(text);
    scheduler_wake(workers);
}

/* ---- a slot: its trainer ---- */

static void slot_end_trainer(struct slot *slot, const char *why)
{
    char how[128], id[sizeof slot->shown.device.id];
    if (!slot->process)
        return;
    trainer_process_end(slot->process, WORKER_GRACE_MS, how, sizeof how);
    slot->process = NULL;
    pthread_mutex_lock(&slot->workers->mutex);
    slot->pid = 0;
    memcpy(id, slot->shown.device.id, sizeof id);
    pthread_mutex_unlock(&slot->workers->mutex);
    log_line(LOG_INFO, "device %s: trainer %s (%s)", id, how, why);
}

/* No trainer can be had: the device is shown as unavailable for a while. */
static void slot_unavailable(struct slot *slot, const char *reason)
{
    slot->retry_pause = slot->retry_pause ? 2 * slot->retry_pause : WORKER_RETRY_MS;
    if (slot->retry_pause > WORKER_RETRY_MAX_MS)
        slot->retry_pause = WORKER_RETRY_MAX_MS;
    slot->retry_at = now_ms() + slot->retry_pause;
    pthread_mutex_lock(&slot->workers->mutex);
    slot->shown.device.available = 0;
    snprintf(slot->shown.device.reason, sizeof slot->shown.device.reason, "%.255s", reason);
    slot->refresh = 0;
    pthread_mutex_unlock(&slot->workers->mutex);
    log_line(LOG_ERROR, "device %s: %s", slot->shown.device.id, reason);
}

/* What the new trainer says of this slot's device, or NULL. */
static const struct trainer_device *slot_find(const struct slot *slot)
{
    int n;
    const struct trainer_device *devices = trainer_process_devices(slot->process, &n);
    for (int i = 0; i < n; i++)
        if (strcmp(devices[i].id, slot->shown.device.id) == 0)
            return &devices[i];
    return NULL;
}

/* 1 if a trainer is there (started now if need be) and offers the device. */
static int slot_ensure_trainer(struct slot *slot)
{
    struct workers *workers = slot->workers;
    struct err err;
    if (slot->process)
        return 1;
    if (trainer_process_start(workers->settings, slot->shown.device.id, &slot->process, &err) < 0) {
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
    pthread_mutex_lock(&workers->mutex);
    slot->shown.device = *device;
    if (strcmp(slot->shown.facts.build, build) != 0) {
        slot->shown.facts = (struct scheduler_facts){0};
        snprintf(slot->shown.facts.build, sizeof slot->shown.facts.build, "%s", build);
    }
    slot->seen_at = now_ms();
    slot->refresh = 0;
    slot->pid = trainer_process_pid(slot->process);
    pthread_mutex_unlock(&workers->mutex);
    return 1;
}

/* ---- a slot: its thread ---- */

/* The slot is free of its job. */
static void slot_release(struct slot *slot)
{
    pthread_mutex_lock(&slot->workers->mutex);
    slot->shown.job[0] = '\0';
    pthread_mutex_unlock(&slot->workers->mutex);
    slot_announce(slot);
}

/* With the mutex held: the refusal takes the place of the oldest one. */
static void slot_remember(struct slot *slot, const struct scheduler_refusal *refusal)
{
    int oldest = 0;
    for (int i = 1; i < SCHEDULER_REFUSALS; i++)
        if (slot->refused_until[i] < slot->refused_until[oldest])
            oldest = i;
    slot->shown.refusals[oldest] = *refusal;
    slot->refused_until[oldest] = now_ms() + WORKER_REFUSED_MS;
}

/* With the mutex held: what was refused long ago may be tried again. */
static void slot_forget(struct slot *slot)
{
    for (int i = 0; i < SCHEDULER_REFUSALS; i++)
        if (now_ms() >= slot->refused_until[i])
            slot->shown.refusals[i].job[0] = '\0';
}

static void slot_run(struct slot *slot, const char *job)
{
    struct workers *workers = slot->workers;
    struct worker_run run = {.settings = workers->settings,
                             .db = workers->db,
                             .reader = slot->reader,
                             .device = slot->shown.device.id,
                             .wake_fd = slot->wake_fd,
                             .stopping = &workers->stopping,
                             .process = slot->process};
    struct err err;
    slot_announce(slot);
    if (worker_run(&run, job, &err) < 0 && err.code != ERR_CONFLICT)
        log_line(LOG_ERROR, "job %s: %s", job, err.message);
    slot->process = run.process;
    pthread_mutex_lock(&workers->mutex);
    slot->faults += run.fault;
    if (run.facts.device[0])
        slot->shown.facts = run.facts;
    if (run.refusal.job[0])
        slot_remember(slot, &run.refusal);
    if (!slot->process)
        slot->pid = 0;
    pthread_mutex_unlock(&workers->mutex);
    slot_release(slot);
}

/* A job for a cold slot: with what the new trainer says of its device (there or
 * not, how much memory is free), the scheduler decides once more. */
static void slot_warm(struct slot *slot)
{
    slot_ensure_trainer(slot);
    slot_release(slot);
}

/* What the slot shall do next: a job (copied), a refresh, or neither. */
static int slot_next(struct slot *slot, char job[DB_ID_MAX])
{
    pthread_mutex_lock(&slot->workers->mutex);
    memcpy(job, slot->shown.job, sizeof slot->shown.job);
    int refresh = slot->refresh;
    pthread_mutex_unlock(&slot->workers->mutex);
    return refresh;
}

/* An idle trainer ended, or said what an idle trainer does not say. */
static void slot_lost(struct slot *slot)
{
    slot_end_trainer(slot, "it did not stay idle");
    pthread_mutex_lock(&slot->workers->mutex);
    slot->faults++;
    pthread_mutex_unlock(&slot->workers->mutex);
    slot_announce(slot);
}

/* Waits until woken, until `until` (ms, 0: never), or until the idle trainer
 * moves. */
static void slot_wait(struct slot *slot, int64_t until)
{
    struct message message = {0};
    struct err err;
    int64_t left = until - now_ms();
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

/* Asks for the device's free memory again, or tries a trainer once more. */
static void slot_refresh(struct slot *slot)
{
    slot_end_trainer(slot, "asking for free memory");
    slot_ensure_trainer(slot);
    slot_announce(slot);
}

static void *slot_thread(void *arg)
{
    struct slot *slot = arg;
    struct workers *workers = slot->workers;
    int64_t idle_ms = workers->settings->idle_seconds * 1000, idle_since = now_ms();
    if (idle_ms < WORKER_IDLE_MIN_MS)
        idle_ms = WORKER_IDLE_MIN_MS;
    while (!atomic_load(&workers->stopping)) {
        char job[DB_ID_MAX];
        int refresh = slot_next(slot, job);
        if (job[0]) {
            if (slot->process)
                slot_run(slot, job);
            else
                slot_warm(slot);
            idle_since = now_ms();
        } else if (refresh || (slot->retry_at && now_ms() >= slot->retry_at)) {
            slot_refresh(slot);
            idle_since = now_ms();
        } else if (slot->process && now_ms() >= idle_since + idle_ms) {
            slot_end_trainer(slot, "idle, the device is given back");
            slot_announce(slot);
        } else {
            slot_wait(slot, slot->process ? idle_since + idle_ms : slot->retry_at);
        }
    }
    slot_end_trainer(slot, "the server stops");
    return NULL;
}

/* ---- the scheduler thread ---- */

/* Sentences that have changed, to be stored in one transaction. */
struct waiting {
    int n;
    struct {
        const char *id;
        char waits[SCHEDULER_WAITS_MAX];
    } * jobs;
};

static int write_waits(struct db_writer *writer, void *arg, struct err *err)
{
    const struct waiting *waiting = arg;
    for (int i = 0; i < waiting->n; i++)
        if (job_set_waits(writer, waiting->jobs[i].id, waiting->jobs[i].waits, err) < 0)
            return -1;
    return 0;
}

static int scheduler_snapshot(struct workers *workers, struct scheduler_slot *slots)
{
    pthread_mutex_lock(&workers->mutex);
    for (int i = 0; i < workers->n; i++) {
        slot_forget(&workers->slots[i]);
        slots[i] = workers->slots[i].shown;
        slots[i].is_open = workers->slots[i].pid != 0;
    }
    pthread_mutex_unlock(&workers->mutex);
    return workers->n;
}

static void scheduler_hand_over(struct workers *workers, int index, const struct job *job)
{
    struct slot *slot = &workers->slots[index];
    pthread_mutex_lock(&workers->mutex);
    memcpy(slot->shown.job, job->id, sizeof slot->shown.job);
    pthread_mutex_unlock(&workers->mutex);
    eventfd_write(slot->wake_fd, 1);
}

static void scheduler_refresh(struct workers *workers, int index)
{
    struct slot *slot = &workers->slots[index];
    pthread_mutex_lock(&workers->mutex);
    int old = now_ms() - slot->seen_at >= WORKER_REFRESH_MS;
    slot->refresh |= old;
    pthread_mutex_unlock(&workers->mutex);
    if (old)
        eventfd_write(slot->wake_fd, 1);
}

/* The queue may still hold a job that a slot is about to claim, or has just put
 * back; the slot says when it is free of it. */
static int scheduler_handed_over(const struct scheduler_slot *slots, int n, const char *job)
{
    for (int i = 0; i < n; i++)
        if (strcmp(slots[i].job, job) == 0)
            return 1;
    return 0;
}

/* Every queued job in its order: started, or told why not. */
static void scheduler_pass(struct workers *workers, struct job **jobs, int n,
                           struct waiting *waiting)
{
    struct scheduler_slot slots[TRAINER_DEVICES_MAX];
    int n_slots = scheduler_snapshot(workers, slots);
    for (int i = 0; i < n; i++) {
        int stale;
        if (scheduler_handed_over(slots, n_slots, jobs[i]->id))
            continue;
        char *waits = waiting->jobs[waiting->n].waits;
        int index = scheduler_match(jobs[i], slots, n_slots, waits, SCHEDULER_WAITS_MAX, &stale);
        if (index >= 0) {
            memcpy(slots[index].job, jobs[i]->id, sizeof slots[index].job);
            scheduler_hand_over(workers, index, jobs[i]);
            continue;
        }
        if (stale >= 0)
            scheduler_refresh(workers, stale);
        if (!jobs[i]->waits || strcmp(jobs[i]->waits, waits) != 0)
            waiting->jobs[waiting->n++].id = jobs[i]->id;
    }
}

static void scheduler_look(struct workers *workers)
{
    struct job **jobs = NULL;
    struct waiting waiting = {0};
    struct err err;
    int n = 0;
    if (job_queue(workers->reader, (int)workers->settings->max_queue, &jobs, &n, &err) < 0) {
        log_line(LOG_ERROR, "the queue cannot be read: %s", err.message);
        return;
    }
    waiting.jobs = calloc((size_t)n + 1, sizeof *waiting.jobs);
    if (waiting.jobs)
        scheduler_pass(workers, jobs, n, &waiting);
    if (waiting.n > 0 && db_call(workers->db, write_waits, &waiting, &err) < 0)
        log_line(LOG_WARNING, "why jobs wait cannot be stored: %s", err.message);
    free(waiting.jobs);
    for (int i = 0; i < n; i++)
        job_free(jobs[i]);
    free(jobs);
}

static void scheduler_wait(struct workers *workers)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SCHEDULER_TICK_MS / 1000;
    pthread_mutex_lock(&workers->mutex);
    int waited = 0;
    while (!workers->changed && waited == 0)
        waited = pthread_cond_timedwait(&workers->wake, &workers->mutex, &until);
    workers->changed = 0;
    pthread_mutex_unlock(&workers->mutex);
}

static void *scheduler_thread(void *arg)
{
    struct workers *workers = arg;
    while (!atomic_load(&workers->stopping)) {
        int64_t began = now_ms();
        scheduler_look(workers);
        /* A long queue that changes all the time takes half a core at most. */
        poll(NULL, 0, (int)(now_ms() - began));
        scheduler_wait(workers);
    }
    return NULL;
}

/* ---- how the GPUs are doing ---- */

/* On the watch's thread. What other programs leave of a card counts for jobs while
 * no trainer of ours holds it; else the trainer's own word does, which takes off
 * neither its context nor its libraries. */
static void workers_watched(void *self, const struct trainer_device *device)
{
    struct workers *workers = self;
    int has_room = 0;
    pthread_mutex_lock(&workers->mutex);
    for (int i = 0; i < workers->n; i++) {
        struct slot *slot = &workers->slots[i];
        if (device && strcmp(slot->shown.device.id, device->id) != 0)
            continue;
        slot->is_watched = device != NULL;
        if (!device)
            continue;
        slot->watched = *device;
        if (slot->watched.free_bytes > slot->shown.device.memory_bytes)
            slot->watched.free_bytes = slot->shown.device.memory_bytes;
        if (slot->pid)
            continue;
        has_room |= slot->watched.free_bytes > slot->shown.device.free_bytes;
        slot->shown.device.free_bytes = slot->watched.free_bytes;
        slot->seen_at = now_ms();
    }
    pthread_mutex_unlock(&workers->mutex);
    if (has_room)
        scheduler_wake(workers);
}

/* Without a watch jobs run all the same: the log says what is missing. */
static void workers_watch(struct workers *workers)
{
    struct err err;
    int gpus = 0;
    for (int i = 0; i < workers->n; i++)
        gpus += workers->slots[i].shown.device.available &&
                strcmp(workers->slots[i].shown.device.kind, "cuda") == 0;
    err_clear(&err);
    if (gpus &&
        device_watch_start(workers->settings, workers_watched, workers, &workers->watch, &err) != 0)
        log_line(LOG_WARNING, "%s", err.message);
}

/* ---- start, wake, show, stop ---- */

/* The devices of this box, as a first trainer names them. It was spawned by a
 * thread that is not a worker's, so it is not kept. */
static int workers_probe(struct workers *workers, struct err *err)
{
    struct trainer_process *process;
    char how[128];
    int n;
    if (trainer_process_start(workers->settings, "cpu", &process, err) < 0)
        return err_prefix(err, "no trainer can be started");
    const struct trainer_device *devices = trainer_process_devices(process, &n);
    for (workers->n = 0; workers->n < n; workers->n++) {
        struct slot *slot = &workers->slots[workers->n];
        slot->workers = workers;
        slot->shown.device = devices[workers->n];
        slot->seen_at = now_ms();
        slot->wake_fd = -1;
        if (!slot->shown.device.available)
            log_line(LOG_INFO, "device %s is not available: %s", slot->shown.device.id,
                     slot->shown.device.reason);
    }
    trainer_process_end(process, WORKER_GRACE_MS, how, sizeof how);
    return 0;
}

static int slot_start(struct slot *slot, struct err *err)
{
    if (!slot->shown.device.available)
        return 0;
    slot->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (slot->wake_fd < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "no descriptor for a worker");
    if (db_reader_open(slot->workers->db, &slot->reader, err) < 0)
        return -1;
    errno = pthread_create(&slot->thread, NULL, slot_thread, slot);
    if (errno)
        return err_set_errno(err, ERR_UNAVAILABLE, "a worker thread cannot start");
    slot->has_thread = 1;
    return 0;
}

static int workers_start_threads(struct workers *workers, struct err *err)
{
    for (int i = 0; i < workers->n; i++)
        if (slot_start(&workers->slots[i], err) < 0)
            return -1;
    if (db_reader_open(workers->db, &workers->reader, err) < 0)
        return -1;
    errno = pthread_create(&workers->scheduler, NULL, scheduler_thread, workers);
    if (errno) {
        err_set_errno(err, ERR_UNAVAILABLE, "the scheduler thread cannot start");
        db_reader_close(workers->reader);
        workers->reader = NULL;
        return -1;
    }
    return 0;
}

int workers_start(const struct settings *settings, struct db *db, int lock_fd, struct workers **out,
                  struct err *err)
{
    struct workers *workers = calloc(1, sizeof *workers);
    pthread_condattr_t monotonic;
    if (!workers)
        return err_set(err, ERR_NO_MEMORY, "no memory for the workers");
    workers->settings = settings;
    workers->db = db;
    workers->changed = 1;
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&workers->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    /* While a trainer of ours lives, nobody else takes the data folder. */
    if (lock_fd >= 0)
        fcntl(lock_fd, F_SETFD, 0);
    if (workers_probe(workers, err) < 0 || workers_start_threads(workers, err) < 0) {
        workers_stop(workers);
        return -1;
    }
    workers_watch(workers);
    *out = workers;
    return 0;
}

void workers_wake(struct workers *workers)
{
    scheduler_wake(workers);
    for (int i = 0; i < workers->n; i++)
        if (workers->slots[i].wake_fd >= 0)
            eventfd_write(workers->slots[i].wake_fd, 1);
}

void workers_devices(struct workers *workers, struct worker_status *status, int max, int *n)
{
    pthread_mutex_lock(&workers->mutex);
    *n = workers->n < max ? workers->n : max;
    for (int i = 0; i < *n; i++) {
        const struct slot *slot = &workers->slots[i];
        status[i] = (struct worker_status){
            .device = slot->shown.device, .pid = slot->pid, .faults = slot->faults};
        memcpy(status[i].job, slot->shown.job, sizeof status[i].job);
        /* A trainer told of its start; these two are of now or not known. */
        status[i].device.utilisation = slot->is_watched ? slot->watched.utilisation : -1;
        status[i].device.temperature = slot->is_watched ? slot->watched.temperature : -1;
        if (slot->is_watched)
            status[i].device.free_bytes = slot->watched.free_bytes;
    }
    pthread_mutex_unlock(&workers->mutex);
}

int workers_check_device(struct workers *workers, const char *device, struct err *err)
{
    char there[ERR_DETAIL_MAX] = "";
    int found = strcmp(device, "auto") == 0;
    pthread_mutex_lock(&workers->mutex);
    for (int i = 0; i < workers->n; i++) {
        const struct trainer_device *here = &workers->slots[i].shown.device;
        const size_t used = strlen(there);
        found |= strcmp(device, here->id) == 0 || strcmp(device, here->kind) == 0;
        snprintf(there + used, sizeof there - used, "%s%s", used ? ", " : "", here->id);
    }
    pthread_mutex_unlock(&workers->mutex);
    return found ? 0
                 : err_field(err, "/resources/device",
                             "there is no device %s here, there is %.120s", device, there);
}

void workers_stop(struct workers *workers)
{
    if (!workers)
        return;
    device_watch_stop(workers->watch);
    atomic_store(&workers->stopping, 1);
    workers_wake(workers);
    if (workers->reader)
        pthread_join(workers->scheduler, NULL);
    for (int i = 0; i < workers->n; i++) {
        struct slot *slot = &workers->slots[i];
        if (slot->has_thread)
            pthread_join(slot->thread, NULL);
        db_reader_close(slot->reader);
        if (slot->wake_fd >= 0)
            close(slot->wake_fd);
    }
    db_reader_close(workers->reader);
    pthread_cond_destroy(&workers->wake);
    pthread_mutex_destroy(&workers->mutex);
    free(workers);
}
