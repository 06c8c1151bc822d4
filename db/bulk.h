/* bulk: one action for all jobs that match a filter, in one transaction. Each job takes it as if
 * it had been asked alone, with an event and an entry of history of its own: the rules are those of
 * jobs.h. A job that cannot take the action, or that the caller may not change, is unfit. */
#ifndef TOKENFATE_BULK_H
#define TOKENFATE_BULK_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"
#include "db/jobs.h"

enum {
    BULK_MAX = 10000,    /* jobs at once: what a full queue holds; the writer is busy until then */
    BULK_SHOWN_MAX = 100 /* jobs of each kind that the outcome lists */
};

enum bulk_action {
    BULK_CANCEL,
    BULK_HOLD,
    BULK_RELEASE,
    BULK_RETRY,
    BULK_RESTART,
    BULK_DELETE,
    BULK_TAG,
    BULK_PRIORITY
};

/* Borrowed texts. The callbacks have the same self. */
struct bulk {
    enum bulk_action action;
    struct job_filter filter; /* before_seq and limit do not count */
    int skip;                 /* 1: unfit jobs are left out; 0: with one nothing is done */
    int priority;
    const char *add, *remove; /* tags, JSON arrays */
    int max_tags;
    void *self;
    int (*may)(void *self, const char *user, struct err *err);   /* 0: its jobs may be changed */
    int (*deleted)(void *self, const char *id, struct err *err); /* in the transaction; -1: undo */
};

struct bulk_outcome {
    int64_t matched, done, unfit; /* done: what would be done, of a dry run */
    int n_shown, n_refused;
    char shown[BULK_SHOWN_MAX][DB_ID_MAX]; /* the first ones of `done` */
    struct bulk_refusal {
        char id[DB_ID_MAX];
        enum err_code code;
        char message[ERR_DETAIL_MAX];
    } refused[BULK_SHOWN_MAX]; /* the first ones of `unfit` */
};

/* Do it. ERR_INVALID (/filter): more than BULK_MAX match. Without skip the error of the first unfit job,
 * with how many there are; then the outcome is set too, and nothing is done. */
int bulk_run(struct db_writer *writer, const struct bulk *bulk, struct bulk_outcome *out,
             struct err *err);

/* What bulk_run would do at present, without doing it. ERR_INVALID. */
int bulk_try(struct db_reader *reader, const struct bulk *bulk, struct bulk_outcome *out,
             struct err *err);

#endif
