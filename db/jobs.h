/* jobs: the queue. Job states and their transitions (DESIGN section 3) as one
 * table; every transition is a compare-and-swap and writes its event in the same
 * transaction. Write functions run inside a db_operation, read functions on any
 * reader. Strings of a struct job are its own: job_free. */
#ifndef TOKENFATE_JOBS_H
#define TOKENFATE_JOBS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

enum job_state {
    JOB_QUEUED,
    JOB_HELD,
    JOB_RUNNING,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_STATES
};
const char *job_state_name(enum job_state state);
int job_state_from_name(const char *name); /* -1: none */

struct job {
    char id[DB_ID_MAX];
    int64_t seq; /* order of submission */
    char *name, *notes;
    char *tags; /* JSON array */
    char *user;
    enum job_state state;
    int priority;
    int attempt; /* 1 for the first run; grows with each fault of a trainer and each retry */
    int cancel_requested;
    int64_t submitted_at, started_at, finished_at; /* microseconds, 0 = not yet */
    int64_t epoch;                                 /* last stored epoch, -1 = none */
    int64_t epochs;                                /* epochs of the spec */
    char *device;    /* asked for until it starts ("auto", "cpu"), then the one it runs on */
    char *precision; /* asked for: train.precision of the spec */
    int64_t memory_bytes;
    char *error;            /* JSON {"code","message","epoch"} or NULL */
    char *waits;            /* why it is not running, or NULL */
    char *provenance;       /* JSON, fixed at the first start, or NULL */
    char *spec;             /* complete JSON */
    char *facts;            /* JSON made at submit: corpus counts, groups, closed forms */
    char *group_names;      /* names in order, separated by '\n' */
    int n_groups, n_tokens; /* layout of its epochs */
    char *corpus_sha256;
    char *sweep;   /* id of the sweep it belongs to, or NULL */
    char *setting; /* JSON: what of the spec its sweep varies, with its values; or NULL */
    int64_t max_attempts;
    double loss; /* of the last epoch, NaN if none */
};

void job_free(struct job *job);

/* ---- write, inside an operation ---- */

/* Insert (state queued or held; id, spec, facts, ... as given; times set here).
 * idempotency_key NULL or at most 200 bytes; body_sha256 the request body's.
 * *existing: 0 inserted; 1 the same key and body came before, and id is
 * overwritten with that job's. Keys belong to the job's user. ERR_INVALID
 * (/Idempotency-Key) for another body.
 * ERR_TOO_MANY when max_queue jobs are not finished. */
int job_insert(struct db_writer *writer, struct job *job, const char *idempotency_key,
               const char *body_sha256, int64_t max_queue, int *existing, struct err *err);

/* The job that the user's request with the same key and body made: 1 (id is set),
 * 0 there was none. Errors as of job_insert, which asks again. */
int job_of_key(struct db_reader *reader, const char *user, const char *key, const char *body_sha256,
               char id[DB_ID_MAX], struct err *err);

/* Change name, notes, tags, priority; NULL fields stay. ERR_NOT_FOUND. */
int job_patch(struct db_writer *writer, const char *id, const char *name, const char *notes,
              const char *tags, const int *priority, struct err *err);

/* What a user asks for. cancel: queued|held -> cancelled, running -> sets
 * cancel_requested; hold, release, retry (back to queued; epochs, error and
 * provenance are dropped now, the files by the next start). ERR_NOT_FOUND, or ERR_CONFLICT
 * with the present state in the message. *state: the state afterwards. */
enum job_request { JOB_CANCEL, JOB_HOLD, JOB_RELEASE, JOB_RETRY };
int job_request(struct db_writer *writer, const char *id, enum job_request request,
                enum job_state *state, struct err *err);

/* A finished job, its epochs and events, and its sweep if it was the last of it; one last `job` event says state
 * "deleted". ERR_CONFLICT if not finished, or if an unfinished job starts from it. */
int job_delete(struct db_writer *writer, const char *id, struct err *err);

/* queued -> running, only if still queued. */
int job_claim(struct db_writer *writer, const char *id, const char *device, struct err *err);

/* The trainer said `started`: provenance is stored if none is yet; if there is
 * one, the caller has compared it. */
int job_started(struct db_writer *writer, const char *id, const char *provenance,
                int64_t memory_bytes, struct err *err);

/* How a run ended. error is JSON or NULL.
 * succeeded | failed | cancelled: the final states.
 * requeue: running -> queued, not counted (server stops or was killed);
 * fault: attempt + 1, -> queued, or failed with error when max_attempts trainers
 * were lost since the submission or the retry. After a cancel was asked for,
 * requeue and fault end in cancelled. error is stored with failed only. */
enum job_end {
    JOB_END_SUCCEEDED,
    JOB_END_FAILED,
    JOB_END_CANCELLED,
    JOB_END_REQUEUE,
    JOB_END_FAULT
};
int job_finish(struct db_writer *writer, const char *id, enum job_end end, const char *error,
               enum job_state *state, struct err *err);

/* Set why a queued job waits (NULL clears); writes only what changed, and no
 * event. */
int job_set_waits(struct db_writer *writer, const char *id, const char *waits, struct err *err);

/* Every running job: cancel_requested -> cancelled, else -> queued. *n: how many.
 * Before the first request is answered. */
int job_reconcile(struct db_writer *writer, int *n, struct err *err);

/* ---- read ---- */

int job_get(struct db_reader *reader, const char *id, struct job **out, struct err *err);

struct job_filter {
    const char *state; /* one name or several, separated by commas; here and below NULL: any */
    const char *user, *tag, *sweep;
    const char *text;   /* text is looked for in name, notes and tags */
    int64_t before_seq; /* 0: from the newest */
    int limit;
};
/* Newest first; *jobs is an array of *n pointers, caller frees each and it. */
int job_list(struct db_reader *reader, const struct job_filter *filter, struct job ***jobs, int *n,
             struct err *err);

/* Queued jobs in the order they should run: priority, then submission. Without
 * notes, spec and facts (NULL): a long queue is read often. */
int job_queue(struct db_reader *reader, int limit, struct job ***jobs, int *n, struct err *err);

/* The jobs of a sweep in order of submission; without what job_queue leaves out. */
int job_of_sweep(struct db_reader *reader, const char *sweep, struct job ***jobs, int *n,
                 struct err *err);

/* Jobs per state. */
int job_counts(struct db_reader *reader, int64_t counts[JOB_STATES], struct err *err);

#endif
