/* job_run: one job on one trainer, from the claim to the stored end. The only
 * writer of the job's epochs and of its end (DESIGN section 2). Called by a
 * worker thread, which owns the trainer; whatever the trainer does, it returns
 * with the job's end stored (or, when the server is stopping and the database
 * cannot be written, with the job left running for the next start to find). */
#ifndef TOKENFATE_JOB_RUN_H
#define TOKENFATE_JOB_RUN_H

#include <stdatomic.h>

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"
#include "server/queue/placement.h"
#include "server/queue/trainer_process.h"

struct job_run {
    const struct settings *settings;
    struct db *db;
    struct db_reader *reader; /* of this thread */
    const char *device;
    int wake_fd; /* eventfd: look whether a cancel or a stop was asked for */
    const atomic_int *stopping;
    struct trainer_process *process;  /* NULL afterwards when it was lost or killed */
    struct placement_facts facts;     /* set when the trainer said `started` */
    int fault;                        /* 1: the trainer was lost by its own fault */
    struct placement_refusal refusal; /* set when the job is back in the queue because it
                                         cannot go on here now: other bits, a full disk */
};

/* ERR_CONFLICT: the job is not queued any more, nothing was done. */
int job_run(struct job_run *setup, const char *job, struct err *err);

#endif
