/* limits: what one user may have, and has. A limit is a setting of the site (user_queued, ...), or
 * what an administrator has set for the user. 0 is no limit. Write functions run inside a
 * db_operation, on the writer thread; read functions run on any reader.
 *
 * queued, stored_bytes and largest_bytes are checked when a job is submitted (limits_admit).
 * running, device_hours, stored_bytes and largest_bytes are checked when a job would start
 * (limits_may_run), because values change while it waits. */
#ifndef TOKENFATE_LIMITS_H
#define TOKENFATE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"

enum limit {
    LIMIT_QUEUED,        /* jobs that are queued or held */
    LIMIT_RUNNING,       /* jobs that run */
    LIMIT_STORED_BYTES,  /* of records, files of jobs, and texts */
    LIMIT_DEVICE_HOURS,  /* hours of devices in the last seven days */
    LIMIT_LARGEST_BYTES, /* memory of one job */
    LIMITS
};

struct limits {
    char user[DB_ACTOR_MAX];
    int64_t value[LIMITS];  /* 0: no limit */
    int is_own[LIMITS];     /* 1: set for this user, 0: the site's setting */
    double present[LIMITS]; /* in the unit of the limit; 0 for LIMIT_LARGEST_BYTES */
};

const char *limit_name(enum limit limit);
int limit_from_name(const char *name); /* -1: no limit has that name */

/* The limits of a user and what it has. */
int limits_get(struct db_reader *reader, const struct settings *settings, const char *user,
               struct limits *out, struct err *err);
int limits_read(struct db_writer *writer, const struct settings *settings, const char *user,
                struct limits *out, struct err *err);

/* The same with only what limits_may_run asks for: the scheduler reads it of every lane. */
int limits_to_run(struct db_reader *reader, const struct settings *settings, const char *user,
                  struct limits *out, struct err *err);

/* Values of limits_set beside a limit. */
enum { LIMIT_KEEP = -2, LIMIT_OF_SITE = -1 };
/* Set limits of a user, with an entry of history if one changes. ERR_NOT_FOUND. */
int limits_set(struct db_writer *writer, const char *user, const int64_t values[LIMITS],
               struct err *err);

/* What a new job asks for. memory_bytes 0: not known before its text is read. */
struct limits_ask {
    int64_t stored_bytes, memory_bytes;
};
/* May the user have n more jobs? All of them, or none: ERR_TOO_MANY if too many would be queued,
 * which passes by itself, ERR_CONFLICT for the other limits. err->limit has the numbers. */
int limits_admit(const struct limits *limits, const struct limits_ask *asks, int n,
                 struct err *err);
/* The same for jobs that exist and come back into the queue: only `queued` counts. */
int limits_admit_queued(const struct limits *limits, int n, struct err *err);
/* May the user store so many bytes more, of no job? ERR_CONFLICT. */
int limits_admit_bytes(const struct limits *limits, int64_t bytes, struct err *err);

/* 1 if a job of the user may start while `running` others of it run. Else 0, and why[size] tells
 * the limit. *is_its_own 1: a smaller job of the user might start. */
int limits_may_run(const struct limits *limits, int running, int64_t memory_bytes, char *why,
                   size_t size, int *is_its_own);
/* 1 if the user has had its device_hours: its running jobs stop too. */
int limits_is_out_of_hours(const struct limits *limits);

/* Count time on a device for its user. */
int limits_charge(struct db_writer *writer, const char *user, int64_t ms, struct err *err);

#endif
