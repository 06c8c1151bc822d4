/* sweeps: sets of jobs that are submitted in one transaction, all or none. A sweep
 * has no results of its own; they are those of its jobs. Write functions run inside
 * a db_operation, read functions on any reader. A struct sweep owns its strings:
 * sweep_free. */
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
    int64_t submitted_at;     /* microseconds; set by sweep_insert */
    char *base, *vary;        /* JSON, as posted */
    int64_t max_running;      /* jobs of it that run at once, 0: no limit */
    int64_t jobs[JOB_STATES]; /* number of its jobs in each state; set by the read functions */
};

void sweep_free(struct sweep *sweep);

/* Insert the sweep and its n jobs (each as for job_insert, with its setting). An
 * idempotency key is stored with the first job. *existing 1 = the same key and
 * body came before, and sweep->id is overwritten with the id of that sweep. Errors
 * as of job_insert; all n jobs count against max_queue. */
int sweep_insert(struct db_writer *writer, struct sweep *sweep, struct job *jobs, int n,
                 const char *idempotency_key, const char *body_sha256, int64_t max_queue,
                 int *existing, struct err *err);

/* Change how many jobs of the sweep run at once, 0: no limit. Those that run go on. ERR_NOT_FOUND.
 */
int sweep_limit(struct db_writer *writer, const char *id, int64_t max_running, struct err *err);

/* Cancel every job of the sweep that has not ended. *n: number of these jobs.
 * ERR_NOT_FOUND. */
int sweep_cancel(struct db_writer *writer, const char *id, int *n, struct err *err);

/* ERR_NOT_FOUND. */
int sweep_get(struct db_reader *reader, const char *id, struct sweep **out, struct err *err);

/* Newest first, at most `limit`; before_seq as in struct job_filter. *sweeps: an
 * array of *n pointers; the caller frees each sweep (sweep_free) and the array. */
int sweep_list(struct db_reader *reader, int64_t before_seq, int limit, struct sweep ***sweeps,
               int *n, struct err *err);

#endif
