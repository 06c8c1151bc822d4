/* hub: the thread behind event streams and behind requests that wait for a job.
 *
 * The hub thread owns a database reader. After each commit that added events it reads, for
 * every stream whose buffer is empty, what comes after the stream's position, and hands it
 * over as one bounded buffer; the HTTP thread only copies (stream.h). The text of an event
 * is made once for all streams (event_text.h). */
#ifndef TOKENFATE_HUB_H
#define TOKENFATE_HUB_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"
#include "server/events/stream.h"
#include "server/http/request.h"

enum {
    HUB_BUFFER_BYTES = 256 << 10, /* a stream's buffer is not filled beyond this */
    HUB_EVENTS = 64,              /* events read at a time for one stream */
    HUB_HEARTBEAT_SECONDS = 15,   /* a comment, so that a client that left is noticed */
    HUB_CREDENTIAL_SECONDS = 1,   /* between two looks whether a stream's credential is good */
    HUB_PAUSE_MS = 20,            /* between two rounds: wakes are collected */
    HUB_JOBS_MAX = 200,           /* ids in a jobs= filter */
    HUB_WAITERS_MAX = 1000,       /* requests with ?wait= at once */
    HUB_WAIT_SECONDS_MAX = 300
};

struct hub;

/* Streams take at most half of the connections and requests that wait a quarter: at the
 * limit of connections a new client would hang without an answer. ERR_NO_MEMORY, ERR_IO. */
int hub_start(struct db *db, int64_t max_streams, int64_t max_connections, struct hub **out,
              struct err *err);

/* Ends all streams and answers all that wait; none is taken from then on. */
void hub_end_streams(struct hub *hub);
/* Joins the thread and closes its reader; after http_stop. hub_notify stays possible until
 * hub_free, which therefore comes after db_close. */
void hub_stop(struct hub *hub);
void hub_free(struct hub *hub);

/* Wakes the hub: the db_on_events callback. Any thread. */
void hub_notify(void *hub, int64_t last_event);

/* stream_open in the hub's set. The stream ends when the credential that the request came
 * with is revoked or expires, or its user is disabled. HTTP thread. */
int hub_open_stream(struct hub *hub, struct request *request,
                    const struct stream_position *position, const char *jobs, struct err *err);

/* Park the request until the job's state is not `state` any more, or seconds have passed;
 * then next runs. ERR_UNAVAILABLE at the limit. HTTP thread. */
int hub_wait(struct hub *hub, struct request *request, const char *job, int state, int seconds,
             request_handler *next, struct err *err);

/* Streams open now. Any thread. */
int hub_streams(struct hub *hub);

#endif
