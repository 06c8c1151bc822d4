/* capacity: what a device has room for: its seats, its cores and its memory. Pure functions; slot.c
 * keeps the capacity of each device under the mutex of the set, the scheduler decides on a copy.
 *
 * A seat is the place of one job and of the trainer process that runs it. A seat is taken, with its
 * threads and its memory, when a job is placed, and given back at its end, whatever the end is. So
 * nothing is checked first and taken later.
 *
 * Memory. What is free was read at some time and may be used by anybody since. Left is what was
 * free, less all that is reserved on the seats and not seen in the reading yet. A reservation is seen
 * from the first reading on that surely has it, CAPACITY_SETTLE_MS after it was allocated. Until
 * then what is allocated of it counts twice, which is on the safe side. What is used and is not ours
 * belongs to strangers: other programs, of which we know only how much they had at the last reading.
 * A device whose memory is not known (total 0) has one job at a time.
 *
 * Part: the dominant share (Ghodsi et al., 2011) of a job: the largest of its parts of the seats, the
 * cores and the memory. */
#ifndef TOKENFATE_CAPACITY_H
#define TOKENFATE_CAPACITY_H

#include <stdint.h>

#include "server/queue/cores.h"
#include "server/queue/trainer_process.h"

/* Each seat has a thread, a connection to the database and mostly a process. */
enum { CAPACITY_SEATS_MAX = 16 };

enum {
    /* The watch reads every two seconds, and its message may be late by as much. */
    CAPACITY_LATE_MS = 2000,
    CAPACITY_SETTLE_MS = 5000
};

struct capacity_seat {
    int is_taken;                 /* a job runs here, or was handed over */
    int is_open;                  /* a process holds the device */
    int is_barred;                /* none could be started here beside the others a while ago */
    struct trainer_team team;     /* of the job, else of that process */
    int64_t bytes;                /* of the job and what comes with it, 0: no job */
    int64_t opened_at, loaded_at; /* ms; the process and the job have their memory; 0: not yet */
    int is_process_seen, is_job_seen; /* by the last reading */
};

struct capacity {
    int n_seats;
    struct cores cores;  /* n 0: they are not counted (a GPU) */
    int64_t opening;     /* bytes that a process takes by opening the device */
    int64_t with_job;    /* bytes that a job takes beside its own */
    int64_t total, free; /* bytes; total 0: unknown. free: at the last reading */
    int64_t told_at;     /* ms; a new process told it last; 0: none */
    int is_closing;      /* no more jobs until it is empty */
    struct capacity_seat seats[CAPACITY_SEATS_MAX];
};

enum capacity_fit {
    CAPACITY_FITS,
    CAPACITY_FULL,      /* seats or cores are taken */
    CAPACITY_MEMORY,    /* jobs of ours have the memory */
    CAPACITY_STRANGERS, /* others have it */
    CAPACITY_TOO_LARGE  /* it has not so much memory at all */
};

int capacity_taken(const struct capacity *capacity);            /* seats */
int capacity_cores_left(const struct capacity *capacity);       /* below 0: never */
int64_t capacity_left(const struct capacity *capacity);         /* bytes; may be below 0 */
int64_t capacity_of_strangers(const struct capacity *capacity); /* bytes at the last reading */

/* The seat for a job with so many threads (0: they are not counted): an idle one, if possible with a
 * process that has just these threads on cores that are free. -1: no seat, or too few cores. team:
 * the threads and their cores. */
int capacity_seat(const struct capacity *capacity, int threads, struct trainer_team *team);

/* Whether a job of so many threads and bytes has room now. */
enum capacity_fit capacity_look(const struct capacity *capacity, int threads, int64_t bytes);

/* Bytes of the largest job that has room on the device when nothing else is there, 0: unknown. */
int64_t capacity_largest(const struct capacity *capacity);

/* The part of the device that a job takes, above 0, at most 1. */
double capacity_part(const struct capacity *capacity, int threads, int64_t bytes);

/* A job is placed on an idle seat. */
void capacity_take(struct capacity *capacity, int seat, const struct trainer_team *team,
                   int64_t bytes);
/* Its end. The process stays. */
void capacity_give_back(struct capacity *capacity, int seat);
/* The process of a seat is there, and has told how much is free; it has gone. A job that was placed
 * meanwhile keeps its team. now: ms of a clock. */
void capacity_open(struct capacity *capacity, int seat, const struct trainer_team *team,
                   int64_t free, int64_t now);
void capacity_close(struct capacity *capacity, int seat);
/* The watch has read how much is free. A reading that may be older than what a new process has told
 * is dropped. */
void capacity_read(struct capacity *capacity, int64_t free, int64_t now);

#endif
