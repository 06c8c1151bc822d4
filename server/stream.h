/* stream: the hub of the event streams and of the requests that wait for a job.
 *
 * The hub thread owns a database reader. After each commit that added events it
 * reads, for every stream whose buffer is empty, what comes after the stream's
 * position, and hands it over as one bounded buffer; the HTTP thread only copies.
 * A stream that nobody reads keeps one buffer and holds nobody. Positions are
 * event ids of the database, so a stream resumes without gap or repeat, across
 * restarts too; inside a long `epoch` event a position names the event before it
 * and the next epoch ("123.0000456": event 124 from epoch 456 on). */
#ifndef TOKENFATE_STREAM_H
#define TOKENFATE_STREAM_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"
#include "server/http.h"

enum {
    STREAM_BUFFER_BYTES = 256 << 10, /* a stream's buffer is not filled beyond this */
    STREAM_EVENTS = 64,              /* events read at a time for one stream */
    STREAM_RECORDS = 50,             /* epochs in one message: some 100 kB */
    STREAM_CACHED = 32,              /* messages kept for the next stream that wants them */
    STREAM_LAYOUTS = 64,             /* jobs whose group names are kept */
    STREAM_HEARTBEAT_SECONDS = 15,
    STREAM_CREDENTIAL_SECONDS = 1, /* between two looks whether a stream's credential is good */
    STREAM_PAUSE_MS = 20,          /* between two rounds: wakes are collected */
    STREAM_JOBS_MAX = 200,         /* ids in a jobs= filter */
    STREAM_WAITERS_MAX = 1000,     /* requests with ?wait= at once */
    STREAM_WAIT_SECONDS_MAX = 300
};

struct hub;

/* Streams take at most half of the connections and requests that wait a quarter:
 * at the limit of connections a new client would hang without an answer. */
int hub_start(struct db *db, int64_t max_streams, int64_t max_connections, struct hub **out,
              struct err *err);

/* Ends all streams and answers all that wait; none is taken from then on. */
void hub_end_streams(struct hub *hub);
/* Joins the thread and closes its reader; after http_stop. hub_notify stays
 * possible until hub_free, which therefore comes after db_close. */
void hub_stop(struct hub *hub);
void hub_free(struct hub *hub);

/* Wakes the hub; the db_on_events callback. */
void hub_notify(void *hub, int64_t last_event);

/* Position of a stream: everything after event `id`, but of event `id` itself
 * the epochs from `epoch` on when epoch > 0. */
struct stream_position {
    int64_t id, epoch;
};
/* "123" or "123.0000456". ERR_INVALID (the pointer name). */
int stream_position_parse(const char *text, const char *name, struct stream_position *out,
                          struct err *err);

/* Answer with a stream of the events after position (NULL: from now on), which ends when
 * the credential that the request came with is revoked or expires, or its user is disabled. jobs:
 * comma separated ids or NULL. ERR_UNAVAILABLE at the limit. HTTP thread. */
int hub_open_stream(struct hub *hub, struct request *request,
                    const struct stream_position *position, const char *jobs, struct err *err);

/* Park the request until the job's state is not `state` any more, or seconds
 * have passed; then next runs. ERR_UNAVAILABLE at the limit. HTTP thread. */
int hub_wait(struct hub *hub, struct request *request, const char *job, int state, int seconds,
             request_handler *next, struct err *err);

/* Streams open now. */
int hub_streams(struct hub *hub);

#endif
