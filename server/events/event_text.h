/* event_text: the text that a stream carries for an event ("event: TYPE", "data: {...}"),
 * made once for all streams and kept for the next ones that want it. Used by the hub thread
 * only; its reader reads the records that an `epoch` event names. */
#ifndef TOKENFATE_EVENT_TEXT_H
#define TOKENFATE_EVENT_TEXT_H

#include <stddef.h>

#include "config/err.h"
#include "db/db.h"
#include "db/events.h"

enum {
    EVENT_TEXT_RECORDS = 50, /* epochs in one text: some 100 kB */
    EVENT_TEXT_KEPT = 32,    /* texts kept */
    EVENT_TEXT_LAYOUTS = 64  /* jobs whose group names are kept */
};

struct event_texts;

/* reader is borrowed. NULL without memory. */
struct event_texts *event_texts_new(struct db_reader *reader);
void event_texts_free(struct event_texts *texts);

/* The text of an event without its id line, from epoch `first` on for `epoch` events, at
 * most EVENT_TEXT_RECORDS records of it; *next: the first epoch that is not in it, 0 when
 * the event is complete. *text is valid until the next call; *n = 0 when there is nothing
 * to tell: the job or its records are gone. */
int event_texts_get(struct event_texts *texts, const struct event *event, int64_t first,
                    const char **text, size_t *n, int64_t *next, struct err *err);

#endif
