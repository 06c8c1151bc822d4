/* retention: what is to go of jobs that have ended, announced before it goes. server/queue/keep.h
 * decides what; here are the announcements and what protects a job. Write functions run inside a
 * db_operation, read functions on any reader. */
#ifndef TOKENFATE_RETENTION_H
#define TOKENFATE_RETENTION_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

/* In the order in which they go: what a failed or cancelled job would go on from, the models, the
 * job with its records. */
enum retention_part { RETENTION_STATE, RETENTION_MODELS, RETENTION_JOB, RETENTION_PARTS };
const char *retention_part_name(enum retention_part part);

/* A job that may lose something: it has ended, is not pinned, and no other job starts from its
 * model. */
struct retention_job {
    int64_t seq, finished_at, record_bytes;
    char id[DB_ID_MAX];
};
/* The next one after job->seq. 0: there is none. */
int retention_next_job(struct db_reader *reader, struct retention_job *job, struct err *err);

/* Announce, or find again at the pass `now`. It is due at `due`, but not before `notice`
 * microseconds have passed since it was announced first. */
struct retention_item {
    int64_t seq; /* of the job */
    enum retention_part part;
    int64_t bytes, due;
};
int retention_announce(struct db_writer *writer, const struct retention_item *item, int64_t notice,
                       int64_t now, struct err *err);
/* Take back what the pass `now` has not found. */
int retention_forget(struct db_writer *writer, int64_t now, struct err *err);

/* Of a row of the list; texts are borrowed. */
struct retention_row {
    struct retention_item item; /* due: with the notice */
    const char *id, *name, *user;
    int64_t announced_at;
};
struct retention_filter {
    const char *user, *job; /* name, id; NULL: all */
    int64_t due_until;      /* 0: all */
    int64_t limit, skip;
};
/* What is to go, in the order of time; stops when row returns non-zero. */
typedef int retention_row_function(void *self, const struct retention_row *row);
int retention_list(struct db_reader *reader, const struct retention_filter *filter,
                   retention_row_function *row, void *self, struct err *err);

/* 1: the announcement holds, and now it is carried out: it is gone from the list, and history has
 * it. For RETENTION_JOB the job is deleted. 0: the job is protected meanwhile, or it is not due. */
int retention_take(struct db_writer *writer, const char *id, enum retention_part part, int64_t now,
                   struct err *err);

#endif
