/* usage: the ledger of what jobs have had, by day (UTC), job and device, and what they take of
 * the disk. jobs.c writes it in the transaction of each charge and of each end, so its sums equal
 * the device_seconds of the jobs. It outlives the jobs.
 *
 * Size: a row of about 90 bytes for each day and job. After USAGE_JOB_DAYS the rows of a day are
 * folded into one for each user and device.
 *
 * Write functions run inside a db_operation, on the writer thread; usage_read on any reader. */
#ifndef TOKENFATE_USAGE_H
#define TOKENFATE_USAGE_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

enum {
    USAGE_JOB_DAYS = 400,    /* days of single jobs: a year and what is looked up after its end */
    USAGE_FIRST_DAY = 0,     /* 1970-01-01 */
    USAGE_LAST_DAY = 2932896 /* 9999-12-31 */
};

/* Days since 1970 of a time in microseconds. */
int64_t usage_day(int64_t time);

/* Add time on its device to a job's row of today. */
int usage_charge(struct db_writer *writer, const char *job, int64_t device_ms, struct err *err);
/* Count the end of a job; state: "succeeded", "failed" or "cancelled". */
int usage_end(struct db_writer *writer, const char *job, const char *state, struct err *err);

/* The bytes of a job's folder, as measured. A job that is gone is none. */
int usage_measured(struct db_writer *writer, const char *job, int64_t bytes, struct err *err);
/* The next job after *seq, and what its folder took; *seq becomes its own. 0: there is none. */
int usage_next_job(struct db_reader *reader, int64_t *seq, char id[DB_ID_MAX], int64_t *bytes,
                   struct err *err);
/* Store what the jobs of each user take, as that of today. */
int usage_stored(struct db_writer *writer, struct err *err);
/* Bytes of all jobs at present. */
int usage_total(struct db_reader *reader, int64_t *bytes, struct err *err);
/* Fold the oldest day before `day` that has rows of single jobs. 1: there was one, 0: none. */
int usage_fold(struct db_writer *writer, int64_t day, struct err *err);

enum usage_by { USAGE_USER, USAGE_JOB, USAGE_DAY, USAGE_ALL };

struct usage_filter {
    enum usage_by by;
    int64_t since, until; /* days, both included */
    const char *user;     /* NULL: all */
    int64_t limit, skip;  /* groups */
};

/* A group (a user, a job, a day, or all) on one device. Texts are borrowed. */
struct usage {
    int is_first;       /* of the group's rows, which follow each other */
    const char *key;    /* name of the user or id of the job; of a day NULL */
    int64_t day;        /* of USAGE_DAY */
    const char *name;   /* of USAGE_JOB; NULL: deleted */
    const char *user;   /* of USAGE_JOB */
    const char *state;  /* of USAGE_JOB; NULL: deleted */
    const char *device; /* NULL: the group had none */
    int64_t device_ms;  /* on it */
    int64_t total_ms;   /* of the group */
    int64_t jobs;       /* that had a device or ended */
    int64_t succeeded, failed, cancelled;
    int64_t stored_bytes; /* of jobs that are not deleted; of a day: at its end; -1: unknown */
};

/* Call row for every group and device: days in their order, other groups by falling time; stops
 * when row returns non-zero. */
typedef int usage_row(void *self, const struct usage *usage);
int usage_read(struct db_reader *reader, const struct usage_filter *filter, usage_row *row,
               void *self, struct err *err);
/* The devices that had a job in the days of the filter, in the order of their names. */
int usage_devices(struct db_reader *reader, const struct usage_filter *filter,
                  int (*row)(void *self, const char *device), void *self, struct err *err);

#endif
