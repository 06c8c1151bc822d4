/* sweeps: sets of jobs submitted in one transaction, all or none. A sweep owns
 * no result: what its jobs measured is read through them. Write functions run
 * inside a db_operation, read functions on any reader. Strings of a struct sweep
 * are its own: sweep_free. */
#ifndef TOKENFATE_SWEEPS_H
#define TOKENFATE_SWEEPS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"
#include "db/jobs.h"

struct sweep {
    char id[DB_ID_MAX];
    int64_t seq; /* order of submission */
    char *name, *user;
    int64_t submitted_at;     /* microseconds; set when inserted */
    char *base, *vary;        /* JSON, as posted */
    int64_t jobs[JOB_STATES]; /* how many of its jobs are in each state; set when read */
};

void sweep_free(struct sweep *sweep);

/* Insert the sweep and its n jobs (each as for job_insert, with its setting).
 * The key, if any, is kept with the first job; *existing 1: the same key and
 * body came before, and sweep->id is overwritten with that sweep's. Errors are
 * those of job_insert; max_queue counts all n. */
int sweep_insert(struct db_writer *writer, struct sweep *sweep, struct job *jobs, int n,
                 const char *idempotency_key, const char *body_sha256, int64_t max_queue,
                 int *existing, struct err *err);

/* Cancel every job of it that has not ended. *n: how many that were.
 * ERR_NOT_FOUND. */
int sweep_cancel(struct db_writer *writer, const char *id, int *n, struct err *err);

int sweep_get(struct db_reader *reader, const char *id, struct sweep **out, struct err *err);

/* Newest first, at most `limit`, before_seq as in struct job_filter. *sweeps is
 * an array of *n pointers, caller frees each and it. */
int sweep_list(struct db_reader *reader, int64_t before_seq, int limit, struct sweep ***sweeps,
               int *n, struct err *err);

#endif
