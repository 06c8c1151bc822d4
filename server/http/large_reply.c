/* large_reply: see large_reply.h. large_reply_read and large_reply_free run on the HTTP thread,
 * all else on a pool thread. */
#include "server/http/large_reply.h"

#include <stdlib.h>
#include <string.h>

#include "config/log.h"
#include "server/http/pool.h"

enum { LARGE_REPLY_BLOCK = 32 << 10 }; /* libmicrohttpd's buffer for clients without chunks */

static void large_reply_free(void *self)
{
    struct large_reply *reply = self;
    if (reply->out)
        fclose(reply->out);
    reply->free_state(reply->state);
    free(reply->bytes);
    free(reply);
}

/* ---- pool thread: make a piece ---- */

/* Target of reply->out: appends to the present piece. */
static ssize_t large_reply_keep(void *self, const char *bytes, size_t n)
{
    struct large_reply *reply = self;
    if (reply->n + n > reply->room) {
        const size_t room = 2 * (reply->n + n);
        char *grown = realloc(reply->bytes, room);
        if (!grown)
            return 0; /* an error of the stream */
        reply->bytes = grown;
        reply->room = room;
    }
    memcpy(reply->bytes + reply->n, bytes, n);
    reply->n += n;
    return (ssize_t)n;
}

int large_reply_is_full(const struct large_reply *reply)
{
    return reply->n >= LARGE_REPLY_PIECE;
}

static int large_reply_piece(struct large_reply *reply, struct err *err)
{
    const int more = reply->write(reply->state, reply, err);
    if (more < 0)
        return -1;
    if (fflush(reply->out) || ferror(reply->out))
        return err_set(err, ERR_NO_MEMORY, "no memory for a piece of the answer");
    reply->ended = !more;
    return 0;
}

/* Work of a pool thread: the next piece of an answer that has begun. */
static enum request_result large_reply_more(struct request *request)
{
    struct large_reply *reply = request->work_arg;
    err_clear(&request->err);
    if (large_reply_piece(reply, &request->err)) {
        /* A job that was deleted or began anew breaks off what reads it: no fault here. */
        const enum err_code code = request->err.code;
        const int is_gone = code == ERR_CONFLICT || code == ERR_NOT_FOUND;
        log_with(is_gone ? LOG_INFO : LOG_ERROR,
                 LOG_FIELDS({"request", request->id}, {"user", request->user.name}),
                 "%s %.200s: broken off, %s (request %s)", request->method, request->target,
                 request->err.message, request->id);
        reply->failed = 1;
    }
    return REQUEST_DONE;
}

/* ---- HTTP thread: send it ---- */

static ssize_t large_reply_take(struct large_reply *reply, char *out, size_t max)
{
    const size_t left = reply->n - reply->taken, n = left < max ? left : max;
    memcpy(out, reply->bytes + reply->taken, n);
    reply->taken += n;
    if (reply->taken == reply->n) {
        free(reply->bytes); /* a request that waits for its turn holds no memory */
        reply->bytes = NULL;
        reply->n = reply->taken = reply->room = 0;
    }
    return (ssize_t)n;
}

/* libmicrohttpd's callback for bytes. No request is parked once the server is stopping; one
 * that read 0 here just before is no gap: it counts as running, and http_stop waits for it. */
static ssize_t large_reply_read(void *self, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct large_reply *reply = self;
    struct request *request = reply->request;
    request_resumed(request);
    if (reply->failed || request->abandoned)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (reply->n)
        return large_reply_take(reply, out, max);
    if (reply->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (atomic_load(&request->server->stopping))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    request_park(request, NULL);
    if (pool_push_again(request->server->pool, request)) {
        request->abandoned = 1;
        request_finish(request);
    }
    return 0;
}

/* ---- start ---- */

static struct large_reply *large_reply_new(struct request *request, large_reply_writer *write,
                                           void *state, void (*free_state)(void *state))
{
    static const cookie_io_functions_t target = {.write = large_reply_keep};
    struct large_reply *reply = calloc(1, sizeof *reply);
    if (!reply) {
        free_state(state);
        return NULL;
    }
    reply->request = request;
    reply->write = write;
    reply->state = state;
    reply->free_state = free_state;
    if (!(reply->out = fopencookie(reply, "w", target))) {
        large_reply_free(reply);
        return NULL;
    }
    return reply;
}

/* The whole answer is one piece. */
static enum request_result large_reply_whole(struct request *request, const char *type,
                                             struct large_reply *reply)
{
    char *bytes = reply->bytes;
    const size_t n = reply->n;
    reply->bytes = NULL;
    large_reply_free(reply);
    return request_reply(request, 200, type, bytes, n);
}

enum request_result large_reply_start(struct request *request, const char *type,
                                      large_reply_writer *write, void *state,
                                      void (*free_state)(void *state))
{
    struct large_reply *reply = large_reply_new(request, write, state, free_state);
    struct MHD_Response *response = NULL;
    if (!reply) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for the answer");
        return request_fail(request, &request->err);
    }
    if (large_reply_piece(reply, &request->err)) {
        large_reply_free(reply);
        return request_fail(request, &request->err);
    }
    if (reply->ended)
        return large_reply_whole(request, type, reply);
    if (request_is(request, "HEAD")) {
        large_reply_free(reply);
        return request_reply_head(request, type);
    }
    if (!(response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, LARGE_REPLY_BLOCK,
                                                       large_reply_read, reply, large_reply_free)))
        large_reply_free(reply);
    request->work = large_reply_more;
    request->work_arg = reply;
    request_reply_response(request, 200, response);
    request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return REQUEST_DONE;
}
