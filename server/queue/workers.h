/* workers: the worker threads, one per device (slot.h), and the scheduler that hands them
 * jobs (scheduler.h), as one thing to start, ask and stop. A worker owns one trainer process, is the only writer of the
 * epochs and of the end of the job it holds, and survives whatever its trainer
 * does. DESIGN sections 2 and 3. Functions here may be called from any thread. */
#ifndef TOKENFATE_WORKERS_H
#define TOKENFATE_WORKERS_H

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"
#include "server/queue/trainer_process.h"

struct workers;

/* Starts one thread per device that a first trainer names as available, and the
 * scheduler. lock_fd is inherited by trainers (-1: none). Jobs must have been
 * reconciled. */
int workers_start(const struct settings *settings, struct db *db, int lock_fd, struct workers **out,
                  struct err *err);

/* Something changed in the queue: a job came, was released, retried, cancelled. */
void workers_wake(struct workers *workers);

struct worker_status {
    struct trainer_device device;
    char job[DB_ID_MAX]; /* "" = idle */
    int pid;             /* of the trainer, 0 = none (idle, device given back) */
    int64_t faults;      /* trainers lost since the server started */
};

/* Snapshot of every device, available or not. *n of at most max. */
void workers_devices(struct workers *workers, struct worker_status *status, int max, int *n);

/* A device that a job names must be one of this box, available or not; else
 * ERR_INVALID with the field /resources/device and what there is. */
int workers_check_device(struct workers *workers, const char *device, struct err *err);

/* Graceful end: running jobs checkpoint and go back to queued, trainers exit,
 * threads are joined. Bounded by cancel_seconds. */
void workers_stop(struct workers *workers);

#endif
