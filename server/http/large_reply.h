/* large_reply: an answer of unbounded size, made in pieces while its client reads it. Handlers
 * of heavy routes call large_reply_start on pool threads.
 *
 * The handler's writer makes the first piece at once. If that is all, the answer is an
 * ordinary one with Content-Length. Otherwise it is sent in chunks: when libmicrohttpd has
 * taken a piece, its callback parks the request and pushes it to the pool, and a pool thread
 * makes the next piece when the client's turn has come. So a client that does not read keeps
 * one piece in memory and no pool thread, and a client that has left costs no further piece
 * (pool.h).
 *
 * Ownership of struct large_reply and of the writer's state follows that of the request
 * (request.h): the pool thread has both while the request is parked, the HTTP thread at all
 * other times. The response owns their memory and frees it last, perhaps after the request.
 *
 * Errors in the first piece are answered with a problem. A later one breaks the connection off
 * before the final chunk, so no client takes a part for the whole; the log has the reason.
 * (HTTP/1.0 has no chunks, and ends such an answer like a whole one.) */
#ifndef TOKENFATE_LARGE_REPLY_H
#define TOKENFATE_LARGE_REPLY_H

#include <stdio.h>

#include "server/http/request.h"

enum {
    /* Bytes after which a piece ends: some milliseconds of formatting, so that turns are short,
     * and 64 MB in memory for 500 clients that do not read. */
    LARGE_REPLY_PIECE = 128 << 10
};

struct large_reply {
    struct request *request; /* with the database reader of this piece's thread */
    FILE *out;               /* the same for all pieces */
    /* of large_reply.c */
    int (*write)(void *state, struct large_reply *reply, struct err *err);
    void *state;
    void (*free_state)(void *state);
    char *bytes; /* the present piece: n bytes, of which libmicrohttpd has had `taken` */
    size_t n, taken, room;
    int ended, failed;
};

/* Write to reply->out until large_reply_is_full or the end. Returns 1: more follows, 0: that
 * was the end, -1: *err. */
typedef int large_reply_writer(void *state, struct large_reply *reply, struct err *err);

int large_reply_is_full(const struct large_reply *reply);

/* Answer 200 with what the writer writes, or with the problem of the first piece. Takes the
 * state over, also on failure, and may already have freed it on return. */
enum request_result large_reply_start(struct request *request, const char *type,
                                      large_reply_writer *write, void *state,
                                      void (*free_state)(void *state));

#endif
