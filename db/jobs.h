/* jobs: the queue: job states, their transitions, the order of the queue and the
 * decision to retry.
 *
 * Two decisions are made here and not in the scheduler:
 * - Order of one user's jobs: job_queue returns them by priority (highest first), then
 *   by order of submission. Between users server/queue/fair.h decides.
 * - Retry after a fault: job_finish with JOB_END_FAULT puts the job back into the
 *   queue, or ends it as failed when max_attempts trainers were lost.
 *
 * States and transitions (DESIGN section 3) are one table in jobs.c. Every
 * transition is a compare-and-swap: it changes nothing if the job has left the
 * state that was read. It writes its event in the same transaction, so an event
 * exists exactly when its transition was committed. Write functions run inside a
 * db_operation, on the writer thread; read functions run on any reader. A struct
 * job owns its strings: job_free. */
#ifndef TOKENFATE_JOBS_H
#define TOKENFATE_JOBS_H

#include <stdint.h>

#include "config/err.h"
#include "config/hash.h"
#include "config/reason.h"
#include "db/after.h"
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
int job_state_from_name(const char *name); /* -1: no state has that name */

/* What it computes (lab/cost.h), for the forecast. */
struct job_work {
    char shape[HASH_HEX]; /* "": not known */
    double cost;          /* billions of operations of an epoch */
};

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
    int64_t record_every; /* its records: record_grid.h; set from the spec when it is inserted */
    char *device;    /* until the start the device asked for ("auto", "cpu"), then its device */
    char *precision; /* precision asked for: train.precision of the spec */
    int64_t memory_bytes;
    int64_t model_bytes; /* of the models that it will leave; set at the submission, not stored */
    char *error;         /* JSON {"code","message","epoch"} or NULL */
    enum reason_code waits_code; /* what is stored of the reason why it waits or is held */
    char *waits;                 /* its sentence, or NULL */
    char *provenance;            /* JSON, fixed at the first start, or NULL */
    char *spec;                  /* complete JSON */
    char *facts;                 /* JSON made at submit: corpus counts, groups, closed forms */
    char *group_names;           /* names in order, separated by '\n' */
    int n_groups, n_tokens;      /* layout of its epoch records */
    char *corpus_sha256;
    char *sweep;   /* id of the sweep it belongs to, or NULL */
    char *setting; /* JSON: the fields that its sweep varies, with this job's values; or NULL */
    int unread;    /* 1: its text is still to be read: no groups, no memory, not in the queue */
    int64_t max_attempts;
    char *urgent;                   /* administrator who put it before all others, or NULL */
    int hold_requested;             /* 1: it runs and shall be held */
    int64_t max_seconds;            /* of device, over all its runs; 0: no limit */
    int64_t device_ms;              /* that it has held devices */
    int64_t slices;                 /* times that it gave way to another user */
    int64_t stop_start_ms, cost_ms; /* of all its stops and starts; of the last ones */
    int threads; /* compute threads: of its provenance, else of its spec; 0: the setting */
    double loss; /* of the last epoch, NaN if none */
    const struct after_list *after; /* of a new job: what it waits for; borrowed, NULL: nothing */
    int pinned;                     /* 1: nothing of it goes by itself (retention.h) */
    struct job_work work;           /* to be stored; not read (step_times.h) */
};

void job_free(struct job *job);

/* ---- write, inside an operation ---- */

/* Insert a job in state queued or held, unread or not; id, spec, facts, ... are the caller's,
 * times are set here. idempotency_key: NULL or at most 200 bytes, one key space
 * per user; body_sha256: of the request body.
 * *existing: 0 = inserted; 1 = the same key and body came before, and job->id is
 * overwritten with the id of that job. A job that waits for one that has failed is held.
 * ERR_INVALID: as after_set; pointer /Idempotency-Key if the key came with another body,
 * /init_from if the source job has no model any more. ERR_TOO_MANY: max_queue
 * jobs are not finished. */
int job_insert(struct db_writer *writer, struct job *job, const char *idempotency_key,
               const char *body_sha256, int64_t max_queue, int *existing, struct err *err);

/* Find the job that the user's request with the same key and body created: 1 = id
 * is set, 0 = there is none. Key errors as of job_insert, which looks again inside
 * its transaction. */
int job_of_key(struct db_reader *reader, const char *user, const char *key, const char *body_sha256,
               char id[DB_ID_MAX], struct err *err);

/* What to change; NULL leaves a field. urgent: name of the administrator, "" takes it back. */
struct job_patch {
    const char *name, *notes, *tags, *urgent;
    const int *priority;
    const int64_t *max_seconds; /* effective one; the spec gets `asked_seconds` */
    int64_t asked_seconds;
    const int *pinned;
};
/* ERR_NOT_FOUND. */
int job_patch(struct db_writer *writer, const char *id, const struct job_patch *patch,
              struct err *err);

/* Replace what a job waits for that has not started. One that was held because another failed is
 * released if the new ones allow it. ERR_NOT_FOUND; ERR_CONFLICT; ERR_INVALID as after_set. */
int job_set_after(struct db_writer *writer, const char *id, const struct after_list *list,
                  struct err *err);

/* Requests of a user. cancel: queued|held -> cancelled; a running job gets
 * cancel_requested, and its worker ends it. hold: queued -> held; a running job gets
 * hold_requested, and its worker stops it with a checkpoint. release: held
 * -> queued. retry: failed|cancelled -> queued; epochs, provenance and files stay, and
 * the trainer goes on from its last checkpoint, as after a requeue. A job that diverged
 * is refused (ERR_CONFLICT): the same run diverges again. restart: failed|cancelled ->
 * queued; provenance is dropped here, epochs and their events are detached
 * (deletions.h), the files go at the next start. A retry of a job without epochs is a
 * restart. A job that waits for one that has failed is not released. ERR_NOT_FOUND; ERR_CONFLICT with the present state in the message. *state:
 * the state afterwards. */
enum job_request { JOB_CANCEL, JOB_HOLD, JOB_RELEASE, JOB_RETRY, JOB_RESTART };
int job_request(struct db_writer *writer, const char *id, enum job_request request,
                enum job_state *state, struct err *err);

struct connection; /* of this room: a reader's or the writer's */
/* 0 if job_request would carry that out at present, else -1 with its error. */
int job_may_request(struct connection *connection, const char *id, enum job_request request,
                    struct err *err);

/* Hold the queued and running jobs of a user who is being disabled (`user_disabled`). The other
 * one releases those that this held and that nobody has touched since. A job of a disabled user
 * that enters the queue in another way (its run ended with the server) is held too. */
int job_hold_all(struct db_writer *writer, const char *user, struct err *err);
int job_release_all(struct db_writer *writer, const char *user, struct err *err);

/* Delete a finished job, and its sweep with the last job of it. Its epochs and
 * events are detached (deletions.h): no reader finds them after the commit. One last `job` event has the state "deleted". ERR_CONFLICT if the job
 * is not finished, if an unfinished job starts from its model, or one waits for it to succeed. */
int job_delete(struct db_writer *writer, const char *id, struct err *err);
/* 0 if job_delete would do so at present, else -1 with its error. */
int job_may_delete(struct connection *connection, const char *id, struct err *err);

/* queued -> running; ERR_CONFLICT if the job is not queued any more. */
int job_claim(struct db_writer *writer, const char *id, const char *device, struct err *err);

/* Store what the trainer's `started` message says. Provenance is stored if the
 * job has none; otherwise the stored one stays, and the caller has compared it.
 * ERR_CONFLICT if the job is not running. */
int job_started(struct db_writer *writer, const char *id, const char *provenance,
                int64_t memory_bytes, struct err *err);

/* End a run, and decide whether the job runs again.
 * SUCCEEDED, FAILED, CANCELLED: the final states.
 * REQUEUE: running -> queued, does not count as an attempt (the server stops or
 * was killed). SLICED: the same, it gave way to another user's job. LIMIT: the same, and on to
 * held: max_seconds are used up.
 * FAULT: attempt + 1 and -> queued; -> failed with `error` when max_attempts
 * trainers were lost since the submission or the last retry.
 * After a cancel request all but the first three end in cancelled, after a hold request in held:
 * a request survives a crash. error: JSON or NULL, stored with the state failed only. *state: the state
 * afterwards; NULL is fine. */
enum job_end {
    JOB_END_SUCCEEDED,
    JOB_END_FAILED,
    JOB_END_CANCELLED,
    JOB_END_REQUEUE,
    JOB_END_SLICED,
    JOB_END_LIMIT,
    JOB_END_FAULT
};
int job_finish(struct db_writer *writer, const char *id, enum job_end end, const char *error,
               enum job_state *state, struct err *err);

/* Add to what the running job has had: milliseconds on its device (also to the ledger, usage.h), and
 * for stops and starts; cost_ms of the last stop and start, 0: not known. */
int job_charge(struct db_writer *writer, const char *id, int64_t device_ms, int64_t stop_start_ms,
               int64_t cost_ms, struct err *err);

/* Store a reason why a queued job waits that nobody could compute later (REASON_NONE clears it).
 * Writes only a change, and no event. */
int job_set_waits(struct db_writer *writer, const char *id, enum reason_code code,
                  const char *sentence, struct err *err);

/* The text of a job was read: store its groups, memory and facts, and let it into the queue.
 * Changes nothing if the job is gone, has ended or is not unread. */
int job_was_read(struct db_writer *writer, const struct job *job, struct err *err);
/* End an unread job as failed. ERR_NOT_FOUND, ERR_CONFLICT. */
int job_unreadable(struct db_writer *writer, const char *id, const char *error, struct err *err);
/* Take a queued job out of the queue until its text is read (again). */
int job_set_unread(struct db_writer *writer, const char *id, struct err *err);

/* Requeue the jobs that the last server left running; those with cancel_requested
 * become cancelled. *n: number of jobs. Call it before the first request is
 * answered. */
int job_reconcile(struct db_writer *writer, int *n, struct err *err);

/* ---- read ---- */

int job_get(struct db_reader *reader, const char *id, struct job **out, struct err *err);

struct job_filter {
    const char *state; /* names separated by commas; here and below NULL matches all */
    const char *user, *tag, *sweep;
    /* An array of terms, all of which fit: {"field", "path", "fallback", "op", "not", "values"}. field:
     * a name of the SQL text in jobs.c, `spec` (its `path`, as JSON path, and the default for specs
     * without it), or `word`: in name, notes or a tag, compared as fold.h says, or the first characters
     * of the id, at least four. op: "in" (one of the values) or < <= > >= (the first). */
    const char *terms;
    const char *ids;    /* a JSON array */
    int64_t before_seq; /* only jobs submitted before this one; 0: from the newest */
    int limit;
};
/* Newest first. *jobs: an array of *n pointers; the caller frees each job
 * (job_free) and the array. */
int job_list(struct db_reader *reader, const struct job_filter *filter, struct job ***jobs, int *n,
             struct err *err);

/* A user's queued jobs for one device, as job.device names it, are a lane; those of a sweep that
 * limits how many of its jobs run are one for themselves. The lanes in no order: *lanes: an array
 * of *n, which the caller frees. */
struct job_lane {
    char user[DB_ACTOR_MAX], device[DB_DEVICE_MAX];
    int64_t capped;        /* seq of the sweep with a limit, 0: none */
    char sweep[DB_ID_MAX]; /* its id, "": none */
    int64_t max_running;   /* jobs of it that may run at once */
};
int job_lanes(struct db_reader *reader, struct job_lane **lanes, int *n, struct err *err);

/* Queued jobs of a lane in the order in which they run, without unread ones: urgent ones, then the
 * highest priority first, then order of submission; `skip` of them are passed over. notes, spec
 * and facts stay NULL. */
int job_queue(struct db_reader *reader, const struct job_lane *lane, int skip, int limit,
              struct job ***jobs, int *n, struct err *err);

/* Queued and held jobs whose text is still to be read, in order of submission. */
int job_unread(struct db_reader *reader, struct job ***jobs, int *n, struct err *err);

/* Queued jobs that are in no lane, because they wait for their text or for other jobs, in order of
 * submission; notes, spec and facts stay NULL. */
int job_apart(struct db_reader *reader, struct job ***jobs, int *n, struct err *err);

/* The jobs of a sweep in order of submission; notes, spec and facts stay NULL. */
int job_of_sweep(struct db_reader *reader, const char *sweep, struct job ***jobs, int *n,
                 struct err *err);

/* Jobs per user and state, where there are any: of the max_users with most jobs, and of all
 * others together as "(others)". */
typedef void job_user_count(void *self, const char *user, const char *state, int64_t n);
int job_user_counts(struct db_reader *reader, int max_users, job_user_count *row, void *self,
                    struct err *err);

/* Jobs per state. */
int job_counts(struct db_reader *reader, int64_t counts[JOB_STATES], struct err *err);

#endif
