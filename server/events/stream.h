/* stream: the event streams (server-sent events) that clients read, and their set.
 *
 * Two threads share a stream. The HTTP thread opens it, copies bytes from its buffer and
 * frees it; the hub thread (hub.c) fills the buffer and moves the position. The set's mutex
 * guards the list and the buffers, and is never held while the database is read. A stream
 * that the hub is filling is pinned (`filling`): the HTTP thread then marks it `freed` and
 * leaves the freeing to the hub. A stream that nobody reads keeps one bounded buffer and
 * holds nobody up. */
#ifndef TOKENFATE_STREAM_H
#define TOKENFATE_STREAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "config/err.h"
#include "db/users.h"
#include "server/http/request.h"

/* Everything after event `id`, but of event `id` itself the epochs from `epoch` on when
 * epoch > 0. Positions are event ids of the database, so a stream resumes without gap or
 * repeat, across restarts too. */
struct stream_position {
    int64_t id, epoch;
};

struct stream {
    struct stream_set *set;
    struct MHD_Connection *connection;
    int fd;
    char *jobs; /* filter or NULL */
    struct stream_position position;
    int at_present; /* position is still to be set to the newest event */
    char *buffer;
    size_t n, taken;              /* bytes in it, bytes the HTTP thread has copied */
    int suspended;                /* libmicrohttpd sleeps on it */
    int gone;                     /* its client left, or it failed: end with an error */
    int ended;                    /* end after what is in the buffer */
    int filling, freed;           /* pinned by the hub thread; released meanwhile */
    int round;                    /* the last round of the hub that filled it */
    int64_t sent_ms;              /* last time something was handed over, 0: never */
    struct credential credential; /* it was opened with */
    int64_t checked_ms;           /* last look whether that is still good */
    struct stream *next;
};

struct stream_set {
    pthread_mutex_t mutex;
    int wake; /* eventfd that the hub thread sleeps on */
    atomic_int ending;
    int max, n;
    struct stream *first;
};

/* "123", or "123.0000456" for event 124 from epoch 456 on: the position inside a long
 * `epoch` event. ERR_INVALID (the pointer name). */
int stream_position_parse(const char *text, const char *name, struct stream_position *out,
                          struct err *err);

/* Answer the request with a stream of the events after position (NULL: from now on) of the
 * jobs (comma separated ids; NULL: of all). ERR_UNAVAILABLE at the limit or when the set is
 * ending. HTTP thread. */
int stream_open(struct stream_set *set, struct request *request,
                const struct stream_position *position, const char *jobs, struct err *err);

/* Wake the hub thread. Any thread. */
void stream_wake(struct stream_set *set);

/* With the mutex held: end streams whose client has left. Returns how many are alive. */
int stream_reap(struct stream_set *set);
/* With the mutex held: let libmicrohttpd find out what the stream has for it. */
void stream_resume(struct stream *stream);
/* Free a stream that is in no list and not pinned. */
void stream_free(struct stream *stream);

#endif
