/* hub: what the two halves of the event hub share: stream.c (HTTP thread: open,
 * read, wait, end) and hub.c (the hub thread). Nobody else includes this.
 *
 * One mutex guards the lists of streams and waiters and their buffers; it is
 * never held while the database is read. Only the hub thread moves a stream's
 * position; the HTTP thread takes bytes and frees. A stream being filled is
 * pinned (`filling`), so that the HTTP thread leaves the freeing to the hub. */
#ifndef TOKENFATE_HUB_H
#define TOKENFATE_HUB_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "server/message_cache.h"
#include "server/stream.h"

struct stream {
    struct hub *hub;
    struct MHD_Connection *connection;
    int fd;
    char *jobs; /* filter or NULL */
    struct stream_position position;
    int at_present; /* position is still to be set to the newest event */
    char *buffer;
    size_t n, taken;                            /* bytes in it, bytes the HTTP thread has copied */
    int suspended, gone, filling, freed, round; /* round: the last one that filled it */
    int ended;                                  /* after what is in the buffer */
    time_t sent_at;                             /* last time something was handed over */
    struct credential credential;               /* it was opened with */
    time_t checked_at;                          /* last look whether that is still good */
    struct stream *next;
};

struct waiter {
    struct request *request;
    char job[DB_ID_MAX];
    int state;
    time_t until;
    struct waiter *next;
};

struct hub {
    pthread_mutex_t mutex;
    pthread_t thread;
    int wake;           /* eventfd */
    struct pollfd *fds; /* [max_streams + 1] what the hub thread sleeps on */
    atomic_int ending;
    int stopping;
    int max_streams, max_waiters, n_streams, n_waiters;
    struct stream *streams;
    struct waiter *waiters;
    struct db_reader *reader; /* hub thread only, like the cache */
    struct message_cache *cache;
    int64_t oldest, newest; /* events that are kept */
};

/* Seconds of a clock that only goes forward. */
time_t hub_clock(void);
void hub_wake(struct hub *hub);

/* With the mutex held: end streams whose client has left; how many are alive. */
int hub_reap(struct hub *hub);

/* With the mutex held: let libmicrohttpd find out what the stream has for it. */
void stream_resume(struct stream *stream);
void stream_release(struct stream *stream);

#endif
