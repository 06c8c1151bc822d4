/* stream: the event streams (server-sent events) that clients read, and their set. hub.c
 * calls it; handlers call only stream_position_parse.
 *
 * Two threads share a stream. The HTTP thread opens it, copies bytes from its buffer and
 * frees it. The hub thread fills the buffer and moves the position. The mutex of the set
 * guards the list, the buffers and the flags, and is never held while the database is read.
 *
 * Suspension: a stream without bytes suspends its connection in libmicrohttpd, else the HTTP
 * thread would spin on it. Whoever adds bytes or ends the stream resumes it (stream_resume).
 * `suspended` and the suspension change together under the mutex, so no resume is lost.
 *
 * Lifetime: the hub pins a stream while it fills it (`filling`). If the connection ends in
 * that time, the HTTP thread marks the stream `freed`, and the hub frees it at unpinning.
 *
 * A stream that nobody reads keeps one bounded buffer and delays no other stream. */
#ifndef TOKENFATE_STREAM_H
#define TOKENFATE_STREAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "config/err.h"
#include "db/users.h"
#include "server/http/request.h"

/* Position in the sequence of events: next come the events after `id` if epoch is 0, else
 * event `id` itself from that epoch on. Ids are those of the database, so a stream resumes
 * without gap or repetition, also after a restart of the server. */
struct stream_position {
    int64_t id, epoch;
};

struct stream {
    struct stream_set *set;
    struct MHD_Connection *connection;
    int fd;                          /* socket of the connection */
    char *jobs;                      /* filter or NULL; constant */
    struct stream_position position; /* of the hub thread */
    int at_present;                  /* begins at the newest event when the hub first fills it */
    char *buffer;
    size_t n, taken;              /* bytes in it; bytes the HTTP thread has copied */
    int suspended;                /* libmicrohttpd has suspended the connection */
    int gone;                     /* its client left, or it failed: end with an error */
    int ended;                    /* end after the bytes in the buffer */
    int filling, freed;           /* pinned by the hub thread; released meanwhile */
    int round;                    /* last round of the hub that filled it */
    int64_t sent_ms;              /* time of the last bytes, 0: none; of the hub thread */
    struct credential credential; /* of the request that opened it */
    int64_t checked_ms;           /* last check of that credential; of the hub thread */
    struct stream *next;
};

struct stream_set {
    pthread_mutex_t mutex;
    int wake;          /* eventfd that the hub thread sleeps on */
    atomic_int ending; /* set under the mutex; the hub thread also reads it without */
    int max, n;
    struct stream *first;
};

/* Parse an event id of a stream (Last-Event-ID): "123" is the position after event 123;
 * "123.0000456" is event 124 from epoch 456 on, a position inside a long `epoch` event.
 * ERR_INVALID (pointer: name). */
int stream_position_parse(const char *text, const char *name, struct stream_position *out,
                          struct err *err);

/* Answer the request with a stream of the events after position (NULL: from the newest on) of
 * the jobs (comma-separated ids; NULL: all). ERR_UNAVAILABLE at the limit or when the set is
 * ending. HTTP thread. */
int stream_open(struct stream_set *set, struct request *request,
                const struct stream_position *position, const char *jobs, struct err *err);

/* Wake the hub thread. Any thread. */
void stream_wake(struct stream_set *set);

/* Mark streams whose client has left and resume them, so that the HTTP thread frees them.
 * Returns the number of the others. The caller holds the mutex. */
int stream_reap(struct stream_set *set);
/* Resume the connection if it is suspended; libmicrohttpd then asks for bytes (stream_read).
 * The caller holds the mutex. */
void stream_resume(struct stream *stream);
/* Free a stream that is in no list and not pinned. */
void stream_free(struct stream *stream);

#endif
