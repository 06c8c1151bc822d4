/* workers: the worker threads, one per slot of a device (slot.h), the scheduler that hands them jobs
 * (scheduler.h) and the device watch (device_watch.h), started, queried and stopped as one.
 * serve.c starts and stops them on the main thread; handlers call the rest on any thread.
 *
 * A worker owns one trainer process, and is the only writer of the epochs and of the end of
 * the job that it holds (DESIGN sections 2 and 3). */
#ifndef TOKENFATE_WORKERS_H
#define TOKENFATE_WORKERS_H

#include "config/err.h"
#include "config/reason.h"
#include "config/settings.h"
#include "db/db.h"
#include "db/jobs.h"
#include "db/proofs.h"
#include "server/datasets.h"
#include "server/queue/capacity.h"
#include "server/queue/trainer_process.h"

struct outlook;
struct workers;

/* Start the threads of each device that a first trainer reports as available, the scheduler and the
 * watch. Jobs must have been reconciled (job_reconcile).
 *
 * lock_fd (-1: none) is the lock of the data folder. Trainers inherit it: flock(2) holds until
 * the last copy of the descriptor is closed, so while a trainer of a killed server still
 * lives, no new server takes the folder and no two trainers write one job's files. */
int workers_start(const struct settings *settings, struct db *db, struct datasets *datasets,
                  int lock_fd, struct workers **out, struct err *err);

/* Wake scheduler and workers after a change of the queue (a job was submitted, released,
 * retried, cancelled). Call it after the commit. */
void workers_wake(struct workers *workers);

/* Why a job waits or is held; REASON_NONE if it does not (board.h). */
void workers_reason(struct workers *workers, const struct job *job, struct reason *out);

/* A job on a device. */
struct worker_job {
    char id[DB_ID_MAX];
    int threads;   /* 0: they are not counted (a GPU) */
    int64_t bytes; /* reserved for it */
};

/* Who runs, who waits and when (outlook.h). */
struct outlook *workers_outlook(struct workers *workers);

struct worker_status {
    struct trainer_device device;
    int n_seats, cores; /* jobs at once; cores for them, 0: they are not counted */
    int n_jobs;
    struct worker_job jobs[CAPACITY_SEATS_MAX];
    int pid;             /* of its first trainer, 0: none, the device is given back */
    int64_t faults;      /* trainers lost since the server started */
    int is_proof_needed; /* a GPU, and the setting cuda is auto: `proof` is about it */
    struct proof proof;  /* of all precisions (slot_proof.h) */
    char proof_id[PROOF_ID_MAX];
    char precision[8]; /* of proof.worst; "" = none */
};

/* Snapshot of all devices, available or not: *n of them, at most max. */
void workers_devices(struct workers *workers, struct worker_status *status, int max, int *n);

/* Have a GPU compared with the reference again, as soon as it has no job. ERR_NOT_FOUND;
 * ERR_CONFLICT: it is no GPU, cannot be used, or the setting cuda is not auto. */
int workers_prove(struct workers *workers, const char *device, struct err *err);

/* Check the device that a job names: `auto`, or a kind or id of this machine, available or
 * not. Else ERR_INVALID with the field /resources/device and the list of devices. */
int workers_check_device(struct workers *workers, const char *device, struct err *err);

/* Check the threads that a job names (0: none). Else ERR_INVALID with the field
 * /resources/threads and the number of cores. */
int workers_check_threads(struct workers *workers, int threads, struct err *err);

/* Graceful end: running jobs write a checkpoint and go back to `queued`, trainers exit, threads
 * are joined. A trainer that does not obey within cancel_seconds is killed. NULL is fine. */
void workers_stop(struct workers *workers);

#endif
