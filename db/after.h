/* after: which jobs a job waits for before it starts, and how many of them have not ended as it
 * wants (`blocked`). jobs.c calls this with every change of a state and holds or releases the jobs
 * that are concerned; so the graph has no state of its own that a crash could lose.
 *
 * A named job is open until it has ended, broken if it failed or was cancelled where `succeeded` is
 * wanted, else met. A job that has started waits for nothing any more. The graph has no cycle: a
 * new job can name only jobs that exist, and a change that would make one is refused. Jobs that
 * have ended count in that, because a retry opens them again.
 *
 * Write functions run inside a db_operation, the others on any connection. */
#ifndef TOKENFATE_AFTER_H
#define TOKENFATE_AFTER_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

struct connection; /* of this room: a reader's or the writer's */

enum {
    AFTER_MAX = 100,       /* jobs that one waits for: each end of one counts all of them again */
    AFTER_REASON_MAX = 128 /* bytes of the reason why a job is held */
};

/* What to wait for. pointer: of the list in the request, for errors. */
struct after_list {
    int n;
    struct {
        char job[DB_ID_MAX];
        int any; /* 1: however it ends; 0: it must succeed */
    } entry[AFTER_MAX];
    const char *pointer;
};

/* Replace what the job waits for and count it. ERR_INVALID: a job that does not exist, that is the
 * waiting one, or that waits for it. */
int after_set(struct db_writer *writer, int64_t seq, const struct after_list *list,
              struct err *err);
/* ERR_INVALID names every job of the list that does not exist. */
int after_check(struct db_reader *reader, const struct after_list *list, struct err *err);

/* Count what the job waits for; or do so for all jobs that wait for this one. */
int after_count(struct db_writer *writer, int64_t seq, struct err *err);
int after_count_waiting(struct db_writer *writer, int64_t needs, struct err *err);

/* 1: a job that this one waits for is broken, and the reason names it. 0: none is. */
int after_is_broken(struct connection *connection, int64_t seq, char reason[AFTER_REASON_MAX],
                    struct err *err);

/* Of the jobs behind *seq that wait for this one, the next that is queued and broken, or is held
 * for that and is not broken any more. 1: *seq and id are set, 0: there is none. */
int after_next_broken(struct db_writer *writer, int64_t needs, int64_t *seq, char id[DB_ID_MAX],
                      struct err *err);
int after_next_mended(struct db_writer *writer, int64_t needs, int64_t *seq, char id[DB_ID_MAX],
                      struct err *err);

/* 1: the job `by` would never start if this one were deleted; 0: no job. */
int after_needed_by(struct connection *connection, int64_t seq, char by[DB_ID_MAX],
                    struct err *err);

/* One end of an edge: the other job, its state, and whether any end of the named one will do. */
struct after_edge {
    const char *id, *name, *state;
    int any;
};
typedef void after_row(void *self, const struct after_edge *edge);
/* The jobs that this one waits for, and at most `limit` of those that wait for it, in order of
 * submission. */
int after_read(struct db_reader *reader, const char *id, after_row *row, void *self,
               struct err *err);
int after_read_waiting(struct db_reader *reader, const char *id, int limit, after_row *row,
                       void *self, struct err *err);

/* SQL, of this room: begin of the sentence why a job is held, and the sentence of one that waits (of
 * a row t of jobs). */
#define AFTER_REASON "'job '"
#define AFTER_UNMET                                                                                \
    "(n.state <> 'succeeded' AND NOT (a.state = 'any' AND n.state IN ('failed', 'cancelled')))"
#define AFTER_WAITS(t)                                                                             \
    "(SELECT " AFTER_REASON " || n.id || ' is ' || n.state"                                        \
    " || iif(" t ".blocked > 1, ' (and ' || (" t ".blocked - 1) || ' more)', '')"                  \
    " FROM job_after a JOIN jobs n ON n.seq = a.needs WHERE a.job = " t ".seq AND " AFTER_UNMET    \
    " ORDER BY a.needs LIMIT 1)"

#endif
