/* workers: see workers.h. Order of the end: the watch first, because its thread writes to the
 * slots; then `stopping` is set and everyone woken; the scheduler is joined before the slots,
 * so that no job is handed to a slot that has ended. */
#include "server/queue/workers.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "config/log.h"
#include "server/queue/device_watch.h"
#include "server/queue/scheduler.h"
#include "server/queue/slot.h"
#include "server/queue/slot_proof.h"

struct workers {
    struct slot_set set;
    struct scheduler *scheduler;
    struct device_watch *watch; /* NULL: no GPU to watch */
};

/* ---- the device watch ---- */

/* Callback on the watch's thread. While no trainer of this server holds a card, jobs are placed
 * by the free memory that the watch reports. While one does, its own report counts: it was made
 * with context and libraries loaded, as placement_slot.is_open says. */
static void workers_watched(void *self, const struct trainer_device *device)
{
    struct workers *workers = self;
    int has_room = 0;
    pthread_mutex_lock(&workers->set.mutex);
    for (int i = 0; i < workers->set.n; i++) {
        struct slot *slot = &workers->set.slots[i];
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
        slot->seen_at = clock_monotonic_ms();
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
    for (int i = 0; i < workers->set.n; i++)
        gpus += workers->set.slots[i].shown.device.available &&
                strcmp(workers->set.slots[i].shown.device.kind, "cuda") == 0;
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

/* Find the devices of this machine with a first trainer. It is not kept for a slot: a worker's
 * trainer must be spawned by the worker's own thread (trainer_process.h). */
static int workers_find_devices(struct workers *workers, struct err *err)
{
    const struct cores *cores = &workers->set.cores;
    const int asked = (int)workers->set.settings->job_threads;
    struct trainer_process *process;
    char how[128];
    int n;
    if (trainer_process_start(workers->set.settings, "cpu", &process, err) < 0)
        return err_prefix(err, "no trainer can be started");
    const struct trainer_device *devices = trainer_process_devices(process, &n);
    for (workers->set.n = 0; workers->set.n < n; workers->set.n++) {
        struct slot *slot = &workers->set.slots[workers->set.n];
        slot->set = &workers->set;
        slot->shown.device = devices[workers->set.n];
        slot->seen_at = clock_monotonic_ms();
        slot->wake_fd = -1;
        if (strcmp(slot->shown.device.kind, "cpu") == 0) {
            slot->shown.cores = cores->n;
            slot->shown.job_threads = asked ? asked : cores->n;
        }
        workers_apply_setting(workers->set.settings, &slot->shown.device);
        if (!slot->shown.device.available)
            log_line(LOG_INFO, "device %s is not available: %s", slot->shown.device.id,
                     slot->shown.device.reason);
    }
    trainer_process_end(process, SLOT_GRACE_MS, how, sizeof how);
    return 0;
}

static int workers_start_threads(struct workers *workers, struct err *err)
{
    for (int i = 0; i < workers->set.n; i++)
        if (slot_start(&workers->set.slots[i], err) < 0)
            return -1;
    return scheduler_start(&workers->set, &workers->scheduler, err);
}

int workers_start(const struct settings *settings, struct db *db, struct datasets *datasets,
                  int lock_fd, struct workers **out, struct err *err)
{
    struct workers *workers = calloc(1, sizeof *workers);
    if (!workers)
        return err_set(err, ERR_NO_MEMORY, "no memory for the workers");
    slot_set_open(&workers->set, settings, db, datasets);
    cores_find(settings->threads, &workers->set.cores);
    if (settings->job_threads > workers->set.cores.n) {
        err_set(err, ERR_INVALID, "job_threads is %lld, and jobs have %d cores here",
                (long long)settings->job_threads, workers->set.cores.n);
        workers_stop(workers);
        return -1;
    }
    /* Not close-on-exec: trainers inherit the lock (workers.h). */
    if (lock_fd >= 0)
        fcntl(lock_fd, F_SETFD, 0);
    if (workers_find_devices(workers, err) < 0 || workers_start_threads(workers, err) < 0) {
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
    for (int i = 0; i < workers->set.n; i++)
        slot_wake(&workers->set.slots[i]);
}

void workers_reason(struct workers *workers, const struct job *job, struct reason *out)
{
    board_reason(scheduler_board(workers->scheduler), job, out);
}

/* The caller holds the mutex. */
static void workers_show_proof(const struct slot *slot, struct worker_status *status)
{
    const char *precision;
    status->is_proof_needed = slot->has_thread && slot_proof_needed(slot);
    status->proof = slot_proof_sum(slot->proofs, &precision);
    slot_proof_id(slot, status->proof_id);
    snprintf(status->precision, sizeof status->precision, "%s", precision ? precision : "");
    if (!status->device.available || !slot->shown.unproved[0])
        return;
    status->device.available = 0;
    snprintf(status->device.reason, sizeof status->device.reason, "%.255s", slot->shown.unproved);
}

void workers_devices(struct workers *workers, struct worker_status *status, int max, int *n)
{
    pthread_mutex_lock(&workers->set.mutex);
    *n = workers->set.n < max ? workers->set.n : max;
    for (int i = 0; i < *n; i++) {
        const struct slot *slot = &workers->set.slots[i];
        status[i] = (struct worker_status){
            .device = slot->shown.device, .pid = slot->pid, .faults = slot->faults};
        memcpy(status[i].job, slot->shown.job, sizeof status[i].job);
        workers_show_proof(slot, &status[i]);
        /* A trainer reported once, at its start. Utilisation and temperature are shown as of
         * now, from the watch, or as unknown. */
        status[i].device.utilisation = slot->is_watched ? slot->watched.utilisation : -1;
        status[i].device.temperature = slot->is_watched ? slot->watched.temperature : -1;
        if (slot->is_watched)
            status[i].device.free_bytes = slot->watched.free_bytes;
    }
    pthread_mutex_unlock(&workers->set.mutex);
}

static struct slot *workers_find(struct workers *workers, const char *device)
{
    for (int i = 0; i < workers->set.n; i++)
        if (strcmp(workers->set.slots[i].shown.device.id, device) == 0)
            return &workers->set.slots[i];
    return NULL;
}

int workers_prove(struct workers *workers, const char *device, struct err *err)
{
    struct slot *slot = workers_find(workers, device);
    if (!slot)
        return err_set(err, ERR_NOT_FOUND, "there is no device %.60s here", device);
    if (strcmp(slot->shown.device.kind, "cuda") != 0)
        return err_set(err, ERR_CONFLICT, "%s has nothing to prove", device);
    if (!slot->has_thread || !slot_proof_needed(slot))
        return err_set(err, ERR_CONFLICT, "%s is not to be proved: %s", device,
                       slot->has_thread ? "the setting cuda is force" : slot->shown.device.reason);
    slot_proof_ask(slot);
    slot_wake(slot);
    return 0;
}

int workers_check_device(struct workers *workers, const char *device, struct err *err)
{
    char there[ERR_DETAIL_MAX] = "";
    int found = strcmp(device, "auto") == 0;
    pthread_mutex_lock(&workers->set.mutex);
    for (int i = 0; i < workers->set.n; i++) {
        const struct trainer_device *here = &workers->set.slots[i].shown.device;
        const size_t used = strlen(there);
        found |= strcmp(device, here->id) == 0 || strcmp(device, here->kind) == 0;
        snprintf(there + used, sizeof there - used, "%s%s", used ? ", " : "", here->id);
    }
    pthread_mutex_unlock(&workers->set.mutex);
    return found ? 0
                 : err_field(err, "/resources/device",
                             "there is no device %s here, there is %.120s", device, there);
}

int workers_check_threads(struct workers *workers, int threads, struct err *err)
{
    const int cores = workers->set.cores.n;
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
    atomic_store(&workers->set.stopping, 1);
    workers_wake(workers);
    scheduler_stop(workers->scheduler);
    for (int i = 0; i < workers->set.n; i++)
        slot_stop(&workers->set.slots[i]);
    slot_set_close(&workers->set);
    free(workers);
}
