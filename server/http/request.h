/* request: one HTTP request: what its client said, its one answer, and its hand-over
 * between threads.
 *
 * Ownership: a request has one owner at a time. The HTTP thread owns it first. A handler
 * returns REQUEST_DONE after it has set an answer (request_reply, request_fail, ...), or
 * REQUEST_LATER after it has parked the request and handed it to another thread, which
 * ends its ownership with request_finish; from then on only the HTTP thread touches it.
 * Every request gets exactly one answer. Functions here are called by the owner. */
#ifndef TOKENFATE_REQUEST_H
#define TOKENFATE_REQUEST_H

#include <microhttpd.h>
#include <stdint.h>
#include <stdio.h>

#include "config/emit.h"
#include "config/err.h"
#include "db/db.h"
#include "db/users.h"
#include "server/server.h"

#define MEDIA_JSON "application/json"

enum {
    REQUEST_PARAMS_MAX = 2,    /* braces in a path template */
    REQUEST_SEGMENTS_MAX = 12, /* parts of a path; the longest route has six */
    REQUEST_TARGET_MAX = 8192, /* bytes of path and query; a jobs= filter of 200 ids fits */
    REQUEST_ID_BYTES = 8       /* random bytes in an X-Request-Id */
};

enum request_result { REQUEST_DONE, REQUEST_LATER };

struct request;
typedef enum request_result request_handler(struct request *request);

struct request {
    struct server *server;
    struct MHD_Connection *connection;
    const struct route *route;
    const char *method;
    char id[2 * REQUEST_ID_BYTES + 1];
    char *target;                         /* as sent: path and query */
    char *path;                           /* decoded segments lie here */
    char *segments[REQUEST_SEGMENTS_MAX]; /* of the path, decoded */
    int n_segments;
    const char *params[REQUEST_PARAMS_MAX]; /* what stood where the template has braces */
    struct user user;
    struct credential credential; /* what showed who the user is */

    char *body; /* n_body bytes and a zero, for routes with ROUTE_BODY_JSON */
    size_t n_body, body_room;
    uint64_t received; /* body bytes seen, kept or dropped */
    int upload_fd;     /* ROUTE_BODY_FILE: an open file at upload_path, -1 none */
    char *upload_path;

    struct db_reader *reader; /* of the thread that runs the handler */
    request_handler *next;    /* runs on the HTTP thread after request_finish */
    void *state;              /* the handler's own, freed with free_state */
    void (*free_state)(void *state);
    db_operation *operation; /* given to request_submit, with its arg */
    void *operation_arg;
    int result;     /* what it returned */
    struct err err; /* and its error; also free for a handler's own calls */

    struct MHD_Response *response;
    unsigned status;

    /* owned by http.c */
    int seen_head, refused, suspended, ran;
};

/* ---- answers: each sets the request's only answer and returns REQUEST_DONE ---- */

/* n bytes of body, taken over (malloc). */
enum request_result request_reply(struct request *request, unsigned status, const char *type,
                                  char *body, size_t n);
/* A constant or short-lived text, copied. */
enum request_result request_reply_text(struct request *request, unsigned status, const char *type,
                                       const char *text);
/* 204. */
enum request_result request_reply_empty(struct request *request);
/* Size bytes of an open file, which is taken over. */
enum request_result request_reply_fd(struct request *request, unsigned status, const char *type,
                                     int fd, uint64_t size);
/* The problem of err. */
enum request_result request_fail(struct request *request, const struct err *err);
/* 503 or 429 with Retry-After. */
enum request_result request_fail_later(struct request *request, const struct err *err, int seconds);
/* A response made elsewhere (streams). */
enum request_result request_reply_response(struct request *request, unsigned status,
                                           struct MHD_Response *response);
/* Add a header to the answer that was set. */
void request_header(struct request *request, const char *name, const char *value);

/* ---- answers in memory ---- */

/* A body written with stdio, or as JSON with `json`. */
struct request_buffer {
    FILE *out;
    struct emit json; /* on out, EMIT_LINES */
    char *bytes;
    size_t n;
};
/* buffer->out is open for writing, or -1 and the request is answered. */
int request_open(struct request *request, struct request_buffer *buffer);
enum request_result request_close_reply(struct request *request, struct request_buffer *buffer,
                                        unsigned status, const char *type);
/* Drop what was written and answer the problem. */
enum request_result request_close_fail(struct request *request, struct request_buffer *buffer,
                                       const struct err *err);

/* ---- later ---- */

/* Runs the operation on the database writer; next follows on the HTTP thread
 * once it is durable or has failed (request->result, request->err). arg must
 * live until then (request->state). Always REQUEST_LATER. */
enum request_result request_submit(struct request *request, db_operation *operation, void *arg,
                                   request_handler *next);

/* Park the request until someone calls request_finish; then next runs. Call on
 * the HTTP thread before anyone else gets to know the request. */
void request_park(struct request *request, request_handler *next);
void request_finish(struct request *request);

/* ---- what the client said ---- */

const char *request_query(const struct request *request, const char *name);
const char *request_head(const struct request *request, const char *name);
/* Integer in [min, max] of a query parameter, fallback when absent. -1 and
 * ERR_INVALID (pointer: the parameter's name) for anything else. */
int request_query_int(const struct request *request, const char *name, int64_t min, int64_t max,
                      int64_t fallback, int64_t *out, struct err *err);
int request_is(const struct request *request, const char *method);

/* Percent-decode the path of request->target into segments. ERR_MALFORMED for a broken
 * escape, a zero byte or bytes that are not UTF-8; ERR_NOT_FOUND for more parts than any
 * route has. */
int request_split_path(struct request *request, struct err *err);

#endif
