/* slot: one device of this box and the worker thread that owns it.
 *
 * A worker thread owns one trainer process, runs the job it was handed (job_run.h), keeps
 * the trainer warm for idle_seconds and then gives the device back. It survives whatever
 * its trainer does. The mutex of the set guards what a slot shows; `process` and what is
 * below it belong to the slot's own thread. */
#ifndef TOKENFATE_SLOT_H
#define TOKENFATE_SLOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"
#include "server/queue/placement.h"
#include "server/queue/trainer_process.h"

enum { SLOT_GRACE_MS = 2000 }; /* for a trainer to leave by itself */

struct slot {
    struct slot_set *set;
    pthread_t thread;
    int has_thread;
    int wake_fd; /* eventfd: something changed, stop, or a job was handed over; -1: none */
    /* under the mutex */
    struct placement_slot shown;
    int64_t refused_until[PLACEMENT_REFUSALS]; /* ms; of shown.refusals */
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

/* Every slot of the box, and how slots and scheduler wake each other. */
struct slot_set {
    const struct settings *settings;
    struct db *db;
    pthread_mutex_t mutex;
    pthread_cond_t changed_cond; /* monotonic clock */
    int changed;                 /* the scheduler shall look */
    atomic_int stopping;
    int n;
    struct slot slots[TRAINER_DEVICES_MAX];
};

void slot_set_open(struct slot_set *set, const struct settings *settings, struct db *db);
/* After every thread has ended. */
void slot_set_close(struct slot_set *set);

/* Start the worker thread of an available device; of another one nothing is started.
 * ERR_UNAVAILABLE, or an error of the database. */
int slot_start(struct slot *slot, struct err *err);
/* Join the thread, which ends when the set is stopping, and close what it used. */
void slot_stop(struct slot *slot);

/* Wake a slot's thread. Any thread. */
void slot_wake(struct slot *slot);

/* The scheduler shall look at the queue: a slot or a job has changed. Any thread. */
void slot_set_changed(struct slot_set *set);
/* Sleep until slot_set_changed, or for at most `seconds`. The scheduler's thread. */
void slot_set_wait(struct slot_set *set, int seconds);

/* Copy what the slots show into slots[set->n]; refusals that are over are forgotten first. */
int slot_set_snapshot(struct slot_set *set, struct placement_slot *slots);
/* Hand an idle slot a job, which its thread claims. */
void slot_hand_over(struct slot *slot, const char *job);
/* Have the slot's free memory asked for again, if what is known of it is old. */
void slot_refresh_memory(struct slot *slot);

#endif
