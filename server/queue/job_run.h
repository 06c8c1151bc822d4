/* job_run: one attempt of a job on one trainer, from the claim to the stored end. slot.c calls
 * it on the worker thread that owns the trainer.
 *
 * One writer: while it runs, nothing else writes the job's epochs or its end (DESIGN section
 * 2). Whatever the trainer does, job_run returns with the end stored. One exception: if the
 * server stops while the database cannot be written, the row stays `running`, and the next
 * start requeues it (job_reconcile).
 *
 * Retry: job_run only reports how the attempt ended (enum job_end). After a fault of the
 * trainer it reports JOB_END_FAULT, and job_finish (db/jobs.h) decides whether the job runs
 * again or has failed.
 *
 * Checkpoint cadence: job_run passes the setting checkpoint_seconds on in the message `run`;
 * gpu/train.c decides when to write. */
#ifndef TOKENFATE_JOB_RUN_H
#define TOKENFATE_JOB_RUN_H

#include <stdatomic.h>

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"
#include "server/datasets.h"
#include "server/queue/placement.h"
#include "server/queue/trainer_process.h"

/* Whether a running job gives way: it goes on; another user's job is next (`sliced`); the queue is
 * paused; its user has had the device_hours of a week. The scheduler asks, and wakes the thread; job_run stops the job with a checkpoint. */
enum job_way { WAY_ON, WAY_SLICE, WAY_PAUSE, WAY_HOURS };

/* What scheduler and job_run tell each other about the turn of a job on a device. Atomic; ms of the
 * monotonic clock, 0: not yet. */
struct job_turn {
    atomic_int way;
    atomic_llong since, charged; /* claimed; until then its user has been charged */
    atomic_llong started;        /* its trainer has told that it is loaded */
    atomic_int beside;           /* other jobs on its device now */
    /* Seconds of the device * part / share are the virtual time of its user. */
    _Atomic double share, part;
    /* The first and the last record that this run has brought, and when. */
    atomic_llong first_epoch, first_at, epoch, epoch_at;
};

struct job_run {
    const struct settings *settings;
    struct db *db;
    struct datasets *datasets;
    struct db_reader *reader;  /* of the calling thread */
    const char *device, *kind; /* id and kind */
    const char *proof;         /* id of the device's proof, "" = none */
    int64_t most_bytes;        /* largest job that the device takes; 0: unknown */
    struct job_turn *turn;
    int wake_fd; /* eventfd: a cancel or a stop may have been requested */
    const atomic_int *stopping;
    /* Attempt of this job whose first batch was not what the CPU computes, on this device; 0: none.
     * If it is the attempt at hand, the job fails when that happens again. */
    int doubted;
    /* results, but for process, which is both */
    struct trainer_process *process;  /* NULL afterwards if it was lost or killed */
    struct placement_facts facts;     /* set by the trainer's `started` */
    char notice[256];                 /* what the trainer said of its device, or "" */
    int fault;                        /* 1: the trainer was lost by its own fault */
    int wrong;                        /* the attempt, if the device computes other numbers than
                                         the CPU: it shall prove itself again */
    struct placement_refusal refusal; /* set if the job went back to the queue because it
                                         cannot continue here now: other bits, a full disk */
};

/* Run the job. ERR_CONFLICT: the job is not queued any more, and nothing was done. */
int job_run(struct job_run *setup, const char *job, struct err *err);

#endif
