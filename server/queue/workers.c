/* workers: see workers.h. Order of the end: the watch first, because its thread writes to the
 * slots; then `stopping` is set and everyone woken; the scheduler is joined before the slots,
 * so that no job is handed to a slot that has ended. */
#include "server/queue/workers.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "config/log.h"
#include "lab/memory.h"
#include "server/queue/device_watch.h"
#include "server/queue/outlook.h"
#include "server/queue/scheduler.h"
#include "server/queue/slot.h"
#include "server/queue/slot_proof.h"

struct workers {
    struct slot_set set;
    struct scheduler *scheduler;
    struct outlook *outlook;
    struct device_watch *watch; /* NULL: no GPU to watch */
};

/* ---- the device watch ---- */

/* Take a reading of the GPU. 1: it has more room. The caller holds the mutex. */
static int workers_read(struct slot_set *set, struct device *device,
                        const struct trainer_device *watched)
{
    const int64_t all = device->shown.device.memory_bytes;
    device->is_watched = 1;
    device->watched = *watched;
    if (device->watched.free_bytes > all)
        device->watched.free_bytes = all;
    device->shown.device.free_bytes = device->watched.free_bytes;
    return slot_read_memory(set, device, device->watched.free_bytes);
}

/* Callback on the watch's thread. */
static void workers_watched(void *self, const struct trainer_device *watched)
{
    struct workers *workers = self;
    int has_room = 0;
    pthread_mutex_lock(&workers->set.mutex);
    for (int i = 0; i < workers->set.n_devices; i++) {
        struct device *device = &workers->set.devices[i];
        if (!watched)
            device->is_watched = 0;
        else if (strcmp(device->id, watched->id) == 0)
            has_room |= workers_read(&workers->set, device, watched);
    }
    pthread_mutex_unlock(&workers->set.mutex);
    if (has_room)
        slot_set_changed(&workers->set);
}

/* Start the watch if there is a GPU. An error is only logged: jobs run without a watch. */
static void workers_watch(struct workers *workers)
{
    struct err err = ERR_INIT;
    int gpus = 0;
    pthread_mutex_lock(&workers->set.mutex); /* the slots' threads run already */
    for (int i = 0; i < workers->set.n_devices; i++)
        gpus += workers->set.devices[i].shown.device.available &&
                strcmp(workers->set.devices[i].kind, "cuda") == 0;
    pthread_mutex_unlock(&workers->set.mutex);
    if (gpus && device_watch_start(workers->set.settings, workers_watched, workers, &workers->watch,
                                   &err) != 0)
        log_line(LOG_WARNING, "%s", err.message);
}

/* ---- start, wake, show, stop ---- */

static void workers_apply_setting(const struct settings *settings, struct trainer_device *device)
{
    if (strcmp(settings->cuda, "off") != 0 || strcmp(device->kind, "cuda") != 0 ||
        !device->available)
        return;
    device->available = 0;
    snprintf(device->reason, sizeof device->reason, "the setting cuda is off");
}

/* Seats, cores and memory of a device. */
static void workers_furnish(const struct settings *settings, const struct cores *cores,
                            struct device *device)
{
    struct capacity *capacity = &device->shown.capacity;
    const int is_cpu = strcmp(device->kind, "cpu") == 0;
    const int64_t seats = !is_cpu           ? settings->cuda_slots
                          : settings->slots ? settings->slots
                                            : cores->n;
    capacity->n_seats = seats > CAPACITY_SEATS_MAX ? CAPACITY_SEATS_MAX
                        : seats < 1                ? 1
                                                   : (int)seats;
    capacity->total = device->shown.device.memory_bytes;
    capacity->free = device->shown.device.free_bytes;
    capacity->with_job = memory_beside(device->kind, 1);
    capacity->opening = memory_beside(device->kind, 0) - capacity->with_job;
    if (!is_cpu)
        return;
    capacity->cores = *cores;
    device->shown.job_threads = settings->job_threads ? (int)settings->job_threads : cores->n;
}

static void workers_add_slots(struct slot_set *set, struct device *device)
{
    device->first = set->n_slots;
    for (int seat = 0; seat < device->shown.capacity.n_seats; seat++) {
        struct slot *slot = &set->slots[set->n_slots++];
        slot->set = set;
        slot->device = device;
        slot->seat = seat;
        slot->wake_fd = -1;
    }
}

/* Find the devices of this machine with a first trainer. It is not kept for a slot: a worker's
 * trainer must be spawned by the worker's own thread (trainer_process.h). */
static int workers_find_devices(struct workers *workers, const struct cores *cores, struct err *err)
{
    struct slot_set *set = &workers->set;
    struct trainer_process *process;
    char how[128];
    int n;
    if (trainer_process_start(set->settings, "cpu", &process, err) < 0)
        return err_prefix(err, "no trainer can be started");
    const struct trainer_device *devices = trainer_process_devices(process, &n);
    for (set->n_devices = 0; set->n_devices < n; set->n_devices++) {
        struct device *device = &set->devices[set->n_devices];
        struct trainer_device *shown = &device->shown.device;
        *shown = devices[set->n_devices];
        memcpy(device->id, shown->id, sizeof device->id);
        memcpy(device->kind, shown->kind, sizeof device->kind);
        device->seen_at = clock_monotonic_ms();
        workers_furnish(set->settings, cores, device);
        workers_add_slots(set, device);
        workers_apply_setting(set->settings, shown);
        if (!shown->available)
            log_line(LOG_INFO, "device %s is not available: %s", device->id, shown->reason);
    }
    trainer_process_end(process, SLOT_GRACE_MS, how, sizeof how);
    return 0;
}

static int workers_start_threads(struct workers *workers, struct err *err)
{
    for (int i = 0; i < workers->set.n_slots; i++)
        if (slot_open(&workers->set.slots[i], err) < 0)
            return -1;
    for (int i = 0; i < workers->set.n_slots; i++)
        if (slot_start(&workers->set.slots[i], err) < 0)
            return -1;
    if (scheduler_start(&workers->set, &workers->scheduler, err) < 0)
        return -1;
    return outlook_start(&workers->set, scheduler_board(workers->scheduler), &workers->outlook,
                         err);
}

static int workers_find_cores(const struct settings *settings, struct cores *cores, struct err *err)
{
    cores_find(settings->threads, cores);
    return settings->job_threads <= cores->n
               ? 0
               : err_set(err, ERR_INVALID, "job_threads is %lld, and jobs have %d cores here",
                         (long long)settings->job_threads, cores->n);
}

int workers_start(const struct settings *settings, struct db *db, struct datasets *datasets,
                  int lock_fd, struct workers **out, struct err *err)
{
    struct workers *workers = calloc(1, sizeof *workers);
    struct cores cores;
    if (!workers)
        return err_set(err, ERR_NO_MEMORY, "no memory for the workers");
    slot_set_open(&workers->set, settings, db, datasets);
    /* Not close-on-exec: trainers inherit the lock (workers.h). */
    if (lock_fd >= 0)
        fcntl(lock_fd, F_SETFD, 0);
    if (workers_find_cores(settings, &cores, err) < 0 ||
        workers_find_devices(workers, &cores, err) < 0 || workers_start_threads(workers, err) < 0) {
        workers_stop(workers);
        return -1;
    }
    workers_watch(workers);
    *out = workers;
    return 0;
}

void workers_wake(struct workers *workers)
{
    slot_set_changed(&workers->set);
    for (int i = 0; i < workers->set.n_slots; i++)
        slot_wake(&workers->set.slots[i]);
}

void workers_reason(struct workers *workers, const struct job *job, struct reason *out)
{
    board_reason(scheduler_board(workers->scheduler), job, out);
}

struct outlook *workers_outlook(struct workers *workers)
{
    return workers->outlook;
}

/* The caller holds the mutex. */
static void workers_show_proof(const struct workers *workers, const struct device *device,
                               struct worker_status *status)
{
    const char *precision;
    const struct slot *slot = &workers->set.slots[device->first];
    status->is_proof_needed = slot->has_thread && slot_proof_needed(slot);
    status->proof = slot_proof_sum(device->proofs, &precision);
    slot_proof_id(slot, status->proof_id);
    snprintf(status->precision, sizeof status->precision, "%s", precision ? precision : "");
    if (!status->device.available || !device->shown.unproved[0])
        return;
    status->device.available = 0;
    snprintf(status->device.reason, sizeof status->device.reason, "%.255s", device->shown.unproved);
}

/* The caller holds the mutex. */
static void workers_show_slots(const struct workers *workers, const struct device *device,
                               struct worker_status *status)
{
    const struct capacity *capacity = &device->shown.capacity;
    status->n_seats = capacity->n_seats;
    status->cores = capacity->cores.n;
    for (int i = 0; i < capacity->n_seats; i++) {
        const struct slot *slot = &workers->set.slots[device->first + i];
        if (!status->pid)
            status->pid = slot->pid;
        if (!slot->job[0])
            continue;
        struct worker_job *job = &status->jobs[status->n_jobs++];
        memcpy(job->id, slot->job, sizeof job->id);
        job->threads = capacity->seats[i].team.threads;
        job->bytes = capacity->seats[i].bytes;
    }
}

void workers_devices(struct workers *workers, struct worker_status *status, int max, int *n)
{
    pthread_mutex_lock(&workers->set.mutex);
    *n = workers->set.n_devices < max ? workers->set.n_devices : max;
    for (int i = 0; i < *n; i++) {
        const struct device *device = &workers->set.devices[i];
        status[i] =
            (struct worker_status){.device = device->shown.device, .faults = device->faults};
        workers_show_slots(workers, device, &status[i]);
        workers_show_proof(workers, device, &status[i]);
        /* A trainer reported once, at its start. Utilisation and temperature are shown as of
         * now, from the watch, or as unknown. */
        status[i].device.utilisation = device->is_watched ? device->watched.utilisation : -1;
        status[i].device.temperature = device->is_watched ? device->watched.temperature : -1;
        if (device->is_watched)
            status[i].device.free_bytes = device->watched.free_bytes;
    }
    pthread_mutex_unlock(&workers->set.mutex);
}

static struct device *workers_find(struct workers *workers, const char *id)
{
    for (int i = 0; i < workers->set.n_devices; i++)
        if (strcmp(workers->set.devices[i].id, id) == 0)
            return &workers->set.devices[i];
    return NULL;
}

int workers_prove(struct workers *workers, const char *id, struct err *err)
{
    struct device *device = workers_find(workers, id);
    if (!device)
        return err_set(err, ERR_NOT_FOUND, "there is no device %.60s here", id);
    if (strcmp(device->kind, "cuda") != 0)
        return err_set(err, ERR_CONFLICT, "%s has nothing to prove", id);
    struct slot *slot = &workers->set.slots[device->first];
    if (!slot->has_thread || !slot_proof_needed(slot))
        return err_set(err, ERR_CONFLICT, "%s is not to be proved: %s", id,
                       slot->has_thread ? "the setting cuda is force"
                                        : device->shown.device.reason);
    slot_proof_ask(slot);
    slot_wake_all(&workers->set, device);
    return 0;
}

int workers_check_device(struct workers *workers, const char *device, struct err *err)
{
    char there[ERR_DETAIL_MAX] = "";
    int found = strcmp(device, "auto") == 0;
    for (int i = 0; i < workers->set.n_devices; i++) {
        const struct device *here = &workers->set.devices[i];
        const size_t used = strlen(there);
        found |= strcmp(device, here->id) == 0 || strcmp(device, here->kind) == 0;
        snprintf(there + used, sizeof there - used, "%s%s", used ? ", " : "", here->id);
    }
    return found ? 0
                 : err_field(err, "/resources/device",
                             "there is no device %s here, there is %.120s", device, there);
}

int workers_check_threads(struct workers *workers, int threads, struct err *err)
{
    const struct device *cpu = workers_find(workers, "cpu");
    const int cores = cpu ? cpu->shown.capacity.cores.n : threads;
    return threads <= cores
               ? 0
               : err_field(err, "/resources/threads",
                           "%d threads are wanted, jobs have %d cores here", threads, cores);
}

void workers_stop(struct workers *workers)
{
    if (!workers)
        return;
    device_watch_stop(workers->watch);
    outlook_stop(workers->outlook);
    atomic_store(&workers->set.stopping, 1);
    workers_wake(workers);
    scheduler_stop(workers->scheduler);
    for (int i = 0; i < workers->set.n_slots; i++)
        slot_join(&workers->set.slots[i]);
    for (int i = 0; i < workers->set.n_slots; i++)
        slot_free(&workers->set.slots[i]);
    slot_set_close(&workers->set);
    free(workers);
}
