/* slot: devices and their slots. A device has one or more seats (capacity.h); a slot is a seat with the
 * worker thread that owns it. workers.c starts and stops the slots; the scheduler's thread hands
 * jobs over.
 *
 * Life of a trainer process: the worker thread starts one when it is handed a job and has
 * none, runs the job on it (job_run.h), keeps it warm for idle_seconds, and then ends it, so
 * that other programs can have the device. A trainer that is lost is replaced. If none can be
 * started, the device is shown as unavailable, and the next try comes after a pause that
 * doubles from one second to one minute.
 *
 * A job computes with its own number of threads: a trainer with another number is replaced.
 *
 * A GPU proves itself before its first job (slot_proof.h): a worker thread runs the checks while
 * no slot of the device has a job or a trainer.
 *
 * Guards: the mutex of the set guards every member under "under the mutex". `process` and the
 * members below it belong to the slot's own thread. The others never change once the threads
 * run. */
#ifndef TOKENFATE_SLOT_H
#define TOKENFATE_SLOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"
#include "db/proofs.h"
#include "server/datasets.h"
#include "server/queue/job_run.h"
#include "server/queue/placement.h"
#include "server/queue/capacity.h"
#include "server/queue/trainer_process.h"

enum {
    SLOT_GRACE_MS = 2000, /* for a trainer to exit by itself */
    SLOT_DOUBTS = 16,     /* jobs: one that is forgotten gets another proof */
    SLOT_WRONG_JOBS = 2   /* that fail one after the other, before the device is used no more */
};

/* A job whose first batch was not what the CPU computes, at this attempt. */
struct slot_doubt {
    char job[DB_ID_MAX];
    int attempt;
};

/* What the slots of a device have in common. */
struct device {
    char id[sizeof((struct trainer_device *)0)->id], kind[sizeof((struct trainer_device *)0)->kind];
    int first; /* its slots: from this one on, as many as `shown.capacity` has seats */
    /* under the mutex */
    struct placement_device shown;             /* the copy for the scheduler */
    int64_t refused_until[PLACEMENT_REFUSALS]; /* ms; of shown.refusals */
    int refresh;                               /* ask for the free memory again */
    int64_t seen_at;                           /* ms; of the last reading of the memory; 0: old */
    int64_t faults;                            /* trainers lost */
    int is_watched;                            /* `watched` is valid */
    struct trainer_device watched;             /* state of the GPU, from the watch */
    struct proof proofs[PROOF_PRECISIONS];     /* of the GPU (slot_proof.h) */
    struct slot_doubt doubts[SLOT_DOUBTS];
    int next_doubt;   /* the oldest one */
    int wrong_jobs;   /* that failed since one has started */
    int proof_due;    /* before the next job */
    int64_t proof_at; /* ms; time of another try, 0: none */
    int is_looked;    /* `identity` and `proofs` are those of the device */
    char identity[sizeof((struct trainer_device *)0)->identity]; /* that `proofs` is about */
};

struct slot {
    struct slot_set *set;
    struct device *device;
    int seat; /* of the device */
    pthread_t thread;
    int has_thread;
    int wake_fd; /* eventfd: a change, a stop, or a job that was handed over; -1: none */
    /* under the mutex */
    char job[DB_ID_MAX];  /* that runs on it or was handed over; "" = idle */
    int pid;              /* of the trainer, 0 = none */
    struct job_turn turn; /* of the job that was handed over; atomic */
    /* of its thread */
    struct trainer_process *process;
    struct trainer_team process_team; /* of the process */
    struct db_reader *reader;
    int64_t retry_at, retry_pause; /* ms; after a trainer that did not start, else 0 */
    char proof_told[sizeof((struct proof *)0)->reason]; /* the last reason that was logged */
};

enum { SLOTS_MAX = TRAINER_DEVICES_MAX * CAPACITY_SEATS_MAX };

/* All slots of the machine, and the condition that wakes the scheduler. */
struct slot_set {
    const struct settings *settings;
    struct db *db;
    struct datasets *datasets;
    pthread_mutex_t mutex;
    pthread_cond_t changed_cond; /* monotonic clock */
    int changed;                 /* under the mutex: a pass of the scheduler is due */
    atomic_int stopping;         /* set before the threads are woken; never cleared */
    int n_devices, n_slots;
    struct device devices[TRAINER_DEVICES_MAX];
    struct slot slots[SLOTS_MAX];
};

void slot_set_open(struct slot_set *set, const struct settings *settings, struct db *db,
                   struct datasets *datasets);
/* Call it after every thread of the set has ended. */
void slot_set_close(struct slot_set *set);

/* Open what the slot uses, and start its worker thread: an unavailable device gets none. Every slot
 * is opened before the first thread starts, because the threads wake each other. ERR_UNAVAILABLE,
 * or an error of the database. */
int slot_open(struct slot *slot, struct err *err);
int slot_start(struct slot *slot, struct err *err);
/* Join the thread, which ends when the set is stopping. */
void slot_join(struct slot *slot);
/* Close what the slot used. Every thread has been joined: they wake each other. */
void slot_free(struct slot *slot);

/* Wake the slot's thread. Any thread. */
void slot_wake(struct slot *slot);

/* Wake the scheduler: a slot or a job has changed. Any thread. */
void slot_set_changed(struct slot_set *set);
/* Sleep until slot_set_changed, or for at most `ms`. The scheduler's thread. */
void slot_set_wait(struct slot_set *set, int ms);

/* Jobs of the slots, "" = idle. */
struct slot_jobs {
    char job[SLOTS_MAX][DB_ID_MAX];
};

/* Copy what the devices show, and what their slots hold, into devices[set->n_devices] and
 * jobs[set->n_slots]; expired refusals are dropped first. */
void slot_set_snapshot(struct slot_set *set, struct placement_device *devices,
                       struct slot_jobs *jobs);

/* What a slot is handed with a job. */
struct slot_order {
    const char *job;
    double share; /* at which its user is charged */
    double part;  /* of the device, that is charged */
    int64_t bytes;
    struct trainer_team team;
};
/* Hand a job to an idle slot, whose thread claims it, and take its seat. */
void slot_hand_over(struct slot *slot, const struct slot_order *order);
/* Let the slot's job go back to the queue with a checkpoint. */
void slot_give_way(struct slot *slot, enum job_way way);
/* Have the free memory of the device read again, if the last reading is old. */
void slot_refresh_memory(struct slot_set *set, struct device *device);
/* The watch has read the free memory of the device. 1: more is left than before. The caller holds
 * the mutex. */
int slot_read_memory(struct slot_set *set, struct device *device, int64_t free);
/* Wake the threads of the device's slots. Any thread. */
void slot_wake_all(struct slot_set *set, const struct device *device);

#endif
