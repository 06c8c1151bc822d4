/* keep: what of the jobs that have ended is to go, by the settings for age and bytes. Pure.
 *
 * By age each part of a job has its own setting: the training state of failed and cancelled jobs,
 * the models, the whole job. By bytes, if all that is stored is more than allowed, training states
 * go first, then models, then jobs, each from the job that ended first on, until the rest fits.
 * What is planned here is announced (db/retention.h) and goes when the notice is over. */
#ifndef TOKENFATE_KEEP_H
#define TOKENFATE_KEEP_H

#include <stdint.h>

#include "db/retention.h"

struct keep_rules {
    int64_t age[RETENTION_PARTS]; /* microseconds after the end of the job; 0: for ever */
    int64_t notice;               /* microseconds */
    int64_t bytes;                /* 0: any number */
};

struct keep_job {
    int64_t seq, finished_at;       /* microseconds */
    int64_t bytes[RETENTION_PARTS]; /* of RETENTION_JOB: what is left without the other parts */
};

/* Plan for `now`. stored: bytes of all jobs, also of those that are not in the array, which lose
 * nothing. Sorts the jobs by the time of their ends. items has room for RETENTION_PARTS * n;
 * returns how many there are. An item is due at once if bytes are the reason. */
int keep_plan(const struct keep_rules *rules, int64_t now, int64_t stored, struct keep_job *jobs,
              int n, struct retention_item *items);

#endif
