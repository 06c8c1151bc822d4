/* message_cache: events as the text that streams carry, made once for all
 * streams. Used by the hub thread only (stream.c); its reader reads the records
 * that an `epoch` event names. */
#ifndef TOKENFATE_MESSAGE_CACHE_H
#define TOKENFATE_MESSAGE_CACHE_H

#include <stddef.h>

#include "config/err.h"
#include "db/db.h"
#include "db/events.h"

struct message_cache;

/* reader is borrowed. NULL without memory. */
struct message_cache *message_cache_new(struct db_reader *reader);
void message_cache_free(struct message_cache *cache);

/* The text of an event, from epoch `first` on for `epoch` events, at most
 * STREAM_RECORDS records of it; *next: the first epoch that is not in it, 0 when
 * the event is complete. *text is valid until the next call; *n = 0 when there is
 * nothing to tell (the job or its records are gone). */
int message_cache_get(struct message_cache *cache, const struct event *event, int64_t first,
                      const char **text, size_t *n, int64_t *next, struct err *err);

#endif
