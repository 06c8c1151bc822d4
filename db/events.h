/* events: the numbered history that event streams replay. An event is written
 * in the transaction of the fact it tells of; ids grow for ever
 * (AUTOINCREMENT). `epoch` events hold only the range; the stream reads the
 * records. `job` events hold the state and headline. */
#ifndef TOKENFATE_EVENTS_H
#define TOKENFATE_EVENTS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

enum {
    EVENTS_KEPT = 1000000 /* oldest are dropped beyond this many: some 100 MB */
};

struct event {
    int64_t id;
    char type[16];       /* "job", "epoch", "device" */
    char job[DB_ID_MAX]; /* "" for device events */
    int64_t from, to;    /* epoch events */
    const char *data;    /* JSON object text of job and device events, or NULL */
};

int events_add(struct db_writer *writer, const char *type, const char *job, int64_t from,
               int64_t to, const char *data, struct err *err);

/* Events with id > after, ascending, at most limit. jobs: comma-separated ids,
 * NULL = all. Pointers are valid during the call. */
typedef int events_row(void *self, const struct event *event);
int events_read(struct db_reader *reader, int64_t after, const char *jobs, int limit,
                events_row *row, void *self, struct err *err);

/* Oldest id still kept and newest given out (0 and 0 when there was none). */
int events_range(struct db_reader *reader, int64_t *oldest, int64_t *newest, struct err *err);

#endif
