/* outlook: who runs, who waits, in which order, why, and when each will start and end. Made when
 * somebody asks, from the scheduler's last pass (board.h), the queue in the database and what was
 * measured (db/step_times.h), by forecast.h; stored nowhere.
 *
 * One table is shared by all readers for a second, because with 10,000 jobs it takes tens of
 * milliseconds of a processor. The HTTP thread makes one only where that takes less than
 * OUTLOOK_CHEAP_MS; else a thread of its own does, and readers see the last table meanwhile. */
#ifndef TOKENFATE_OUTLOOK_H
#define TOKENFATE_OUTLOOK_H

#include <stdint.h>

#include "config/err.h"
#include "config/reason.h"
#include "db/db.h"
#include "db/jobs.h"
#include "server/queue/board.h"
#include "server/queue/slot.h"

enum {
    OUTLOOK_MS = 1000,       /* for which a table is shared */
    OUTLOOK_STALE_MS = 5000, /* after which an old one is not shown */
    OUTLOOK_CHEAP_MS = 10
};

/* Microseconds since 1970, 0: not known. */
struct outlook_time {
    int64_t earliest, likely, latest;
};

struct outlook_job {
    char id[DB_ID_MAX], user[DB_ACTOR_MAX];
    char device[DB_DEVICE_MAX]; /* that it holds, or asks for */
    char kind[DB_DEVICE_MAX];   /* of the devices on which it can run, "": none */
    char *name, *urgent, *why;  /* urgent NULL: it is not; why: sentence of `code`, or NULL */
    enum reason_code code;
    int running, priority, place; /* place: among those that wait for the kind, 0: not known */
    int64_t seq, epoch, epochs;
    double seconds; /* of its device, that it still takes; 0: not known */
    struct outlook_time starts, ends;
};

struct outlook_table {
    int n,
        n_running; /* running jobs first, then those that wait, in the order in which they start */
    struct outlook_job *jobs;
    int *by_id; /* indices in order of id */
    int64_t pass, made;
    int refs; /* of outlook.c */
};

struct outlook;

/* Both are borrowed. ERR_NO_MEMORY, ERR_UNAVAILABLE, or an error of the database. */
int outlook_start(struct slot_set *set, struct board *board, struct outlook **out, struct err *err);
void outlook_stop(struct outlook *outlook);

/* The table of now, which the caller gives back. reader: of the calling thread. may_wait 0: at
 * once, *out may be NULL then. */
int outlook_take(struct outlook *outlook, struct db_reader *reader, int may_wait,
                 const struct outlook_table **out, struct err *err);
void outlook_give_back(struct outlook *outlook, const struct outlook_table *table);

/* NULL: the table has no such job. */
const struct outlook_job *outlook_find(const struct outlook_table *table, const char *id);

/* What would be told of a job that was queued now. Its strings are not filled. */
int outlook_try(struct outlook *outlook, struct db_reader *reader, const struct job *job,
                struct outlook_job *out, struct err *err);

#endif
