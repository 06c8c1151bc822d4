/* hub: the hub thread, which feeds event streams and answers requests that wait for a job
 * (?wait=). serve.c starts and stops it; handlers call hub_open_stream and hub_wait on the
 * HTTP thread; the database writer calls hub_notify after a commit.
 *
 * The hub thread owns a database reader. After each commit that added events, it reads for
 * every stream whose buffer is empty the events after the stream's position, and hands them
 * over as one bounded buffer. The HTTP thread only copies bytes (stream.h). */
#ifndef TOKENFATE_HUB_H
#define TOKENFATE_HUB_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"
#include "server/events/stream.h"
#include "server/http/request.h"

enum {
    HUB_BUFFER_BYTES = 256 << 10, /* no event is added to a buffer that is this full */
    HUB_EVENTS = 64,              /* events read at a time for one stream */
    HUB_HEARTBEAT_SECONDS = 15,   /* a comment line, so that a lost client is noticed */
    HUB_CREDENTIAL_SECONDS = 1,   /* between two checks of a stream's credential */
    HUB_PAUSE_MS = 20,            /* between two rounds: several commits share one */
    HUB_JOBS_MAX = 200,           /* ids in a jobs= filter */
    HUB_WAITERS_MAX = 1000,       /* requests with ?wait= at the same time */
    HUB_WAIT_SECONDS_MAX = 300    /* largest ?wait= */
};

struct hub;

/* Start the thread. Streams take at most half of the connections and waiting requests a
 * quarter, because at the connection limit a new client hangs without an answer.
 * ERR_NO_MEMORY, ERR_IO. */
int hub_start(struct db *db, int64_t max_streams, int64_t max_connections, struct hub **out,
              struct err *err);

/* End all streams, answer all waiting requests, and refuse new ones. Returns at once; the hub
 * thread does the work. */
void hub_end_streams(struct hub *hub);
/* Join the thread and close its reader. After http_stop, because until then the HTTP thread
 * uses the set of streams. The database writer may call hub_notify until db_close, so
 * hub_free, which frees the set, comes after that. */
void hub_stop(struct hub *hub);
void hub_free(struct hub *hub);

/* Wake the hub thread: the callback of db_on_events. Any thread. */
void hub_notify(void *hub, int64_t last_event);

/* stream_open in the hub's set. The stream ends when the request's credential is revoked or
 * expires, or when its user is disabled. HTTP thread. */
int hub_open_stream(struct hub *hub, struct request *request,
                    const struct stream_position *position, const char *jobs, struct err *err);

/* Park the request until the job has left `state`, was deleted, or `seconds` have passed; then
 * `next` runs. ERR_UNAVAILABLE at the limit or when the server stops. HTTP thread. */
int hub_wait(struct hub *hub, struct request *request, const char *job, int state, int seconds,
             request_handler *next, struct err *err);

/* Number of open streams. Any thread. */
int hub_streams(struct hub *hub);

#endif
