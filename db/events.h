/* events: the numbered history that event streams replay. An event is written in
 * the transaction of the change that it announces, so a committed change always
 * has its event and a rolled back one has none. Ids only grow and are never used
 * again (AUTOINCREMENT), so a stream can resume after the last id it saw. `epoch`
 * events hold only the range of epochs; the stream reads the records. `job` events
 * hold the state and headline. */
#ifndef TOKENFATE_EVENTS_H
#define TOKENFATE_EVENTS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

enum {
    EVENTS_KEPT = 1000000 /* about 100 MB; older events are deleted */
};

struct event {
    int64_t id;
    char type[16];       /* "job", "epoch", "device" */
    char job[DB_ID_MAX]; /* "" for device events */
    int64_t from, to;    /* epoch events */
    const char *data;    /* JSON object text of job and device events, or NULL */
};

/* Write an event; from and to are the range of an `epoch` event, else 0. */
int events_add(struct db_writer *writer, const char *type, const char *job, int64_t from,
               int64_t to, const char *data, struct err *err);

/* Call row for at most `limit` events with id > after, ascending, without those that
 * are detached (deletions.h); stops when row returns non-zero. jobs: ids separated by commas, NULL = all. Pointers are valid
 * during the call. */
typedef int events_row(void *self, const struct event *event);
int events_read(struct db_reader *reader, int64_t after, const char *jobs, int limit,
                events_row *row, void *self, struct err *err);

/* The oldest id that is still stored and the newest id ever given out; 0 and 0 if
 * there was no event. */
int events_range(struct db_reader *reader, int64_t *oldest, int64_t *newest, struct err *err);

#endif
