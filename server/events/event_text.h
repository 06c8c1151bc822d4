/* event_text: the text of an event in a stream (server-sent events): its lines `event: TYPE`
 * and `data: {...}`. hub.c calls it on the hub thread only, and adds the line `id:` and the
 * empty line that ends an event.
 *
 * The line `data:` of an `epoch` event is made here from the stored records of the range that
 * the event names; of any other event it is the JSON object stored with the event.
 * A text is made once and cached for all streams. */
#ifndef TOKENFATE_EVENT_TEXT_H
#define TOKENFATE_EVENT_TEXT_H

#include <stddef.h>

#include "config/err.h"
#include "db/db.h"
#include "db/events.h"

enum {
    EVENT_TEXT_RECORDS = 50, /* records in one text: some 100 kB */
    EVENT_TEXT_KEPT = 32,    /* cached texts */
    EVENT_TEXT_LAYOUTS = 64  /* jobs whose group names are cached */
};

struct event_texts;

/* An empty cache; reader is borrowed. NULL without memory. */
struct event_texts *event_texts_new(struct db_reader *reader);
void event_texts_free(struct event_texts *texts);

/* Text of an event, *n bytes. Of an `epoch` event: at most EVENT_TEXT_RECORDS records, from
 * epoch `first` on; *next is the first epoch after them, 0 when the event is complete. *text
 * is valid until the next call. *n = 0 if there is nothing to send, because the job or its
 * records were deleted. */
int event_texts_get(struct event_texts *texts, const struct event *event, int64_t first,
                    const char **text, size_t *n, int64_t *next, struct err *err);

#endif
