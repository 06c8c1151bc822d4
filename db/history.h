/* history: who changed jobs, texts and users. The write functions of jobs.h, corpora.h and
 * users.h add an entry in the transaction of each change, so that there is one exactly when
 * the change was committed. The actor is the one of the operation (db_call_as). An entry
 * outlives its object; the oldest of HISTORY_KEPT go. */
#ifndef TOKENFATE_HISTORY_H
#define TOKENFATE_HISTORY_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

enum {
    HISTORY_KEPT = 1000000 /* about 150 MB; a job of the usual kind has four */
};

/* Texts are borrowed; NULL stands for what does not apply. */
struct history {
    int64_t seq, time;
    const char *actor;  /* a user's name; NULL: the server itself */
    const char *kind;   /* "job", "text", "user", "queue" */
    const char *object; /* id of a job, sha256 of a text, name of a user */
    const char *action; /* a verb: "submit", "hold", "upload", "disable" */
    const char *from, *to;
    const char *detail;
};

/* Add an entry; seq, time and actor are set here. */
int history_add(struct db_writer *writer, const struct history *entry, struct err *err);

struct history_filter {
    const char *kind, *object, *actor; /* NULL matches all */
    int newest_first;
    int64_t cursor; /* only entries that come after this one in that order; 0: from the start */
    int limit;
};
/* Call row for the entries, and stop when it returns non-zero. */
typedef int history_row(void *self, const struct history *entry);
int history_read(struct db_reader *reader, const struct history_filter *filter, history_row *row,
                 void *self, struct err *err);

#endif
