/* request: one HTTP request: its input, its one answer, and its hand-over between threads.
 * http.c creates and frees it; handlers in api/ read and answer it.
 *
 * Ownership: exactly one thread owns a request and may touch it, so its members need no
 * mutex. The HTTP thread owns it first. A handler returns REQUEST_DONE after it set an answer
 * (request_reply, request_fail, ...), or REQUEST_LATER after it parked the request and handed
 * it to another thread: a pool thread (pool.c), the database writer (request_submit) or the
 * hub (hub_wait). That thread gives it back with request_finish and does not touch it after
 * that. The hand-over goes through a mutex in either direction (queue of the new owner,
 * libmicrohttpd's on resume), which orders the memory accesses of both owners.
 *
 * Every request gets exactly one answer, or none if its client has left (abandoned). An answer
 * that was begun and cannot be finished breaks the connection off. Only the owner calls
 * functions declared here. */
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
    REQUEST_SEGMENTS_MAX = 12, /* segments of a path; the longest route has seven */
    REQUEST_TARGET_MAX = 8192, /* bytes of path and query; a jobs= filter of 200 ids fits */
    REQUEST_ID_BYTES = 8,      /* random bytes in an X-Request-Id */
    REQUEST_CLIENT_MAX = 80    /* bytes of a client's name (client.h) */
};

enum request_result { REQUEST_DONE, REQUEST_LATER };

struct request;
struct pool_client;
struct request_list;
typedef enum request_result request_handler(struct request *request);

struct request {
    struct server *server;
    struct MHD_Connection *connection;
    int fd;       /* socket of the connection */
    int64_t uid;  /* of the account at its other end (peer.h) */
    double begun; /* clock_monotonic_seconds */
    const struct route *route;
    const char *method;
    char id[2 * REQUEST_ID_BYTES + 1];
    char *target;                         /* as sent: path and query */
    char *path;                           /* memory of the decoded segments */
    char *segments[REQUEST_SEGMENTS_MAX]; /* of the path, decoded */
    int n_segments;
    const char *params[REQUEST_PARAMS_MAX]; /* segments in place of the template's braces */
    struct request_list *lists;             /* query parameters that stand there repeatedly */
    struct user user;
    struct credential credential; /* that identified the user */

    char *body; /* n_body bytes and a zero, for routes with ROUTE_BODY_JSON */
    size_t n_body, body_room;
    uint64_t received; /* body bytes so far, kept or dropped */
    int upload_fd;     /* ROUTE_BODY_FILE: open file at upload_path, -1: none */
    char *upload_path; /* corpora/.upload-<id>; removed with the request (http_drop_upload) */

    struct db_reader *reader; /* of the thread that runs the handler */
    request_handler *work;    /* of a pool thread: the route's handler, then large_reply_more */
    void *work_arg;           /* of large_reply.c */
    request_handler *next;    /* runs on the HTTP thread after request_finish */
    void *state;              /* the handler's own; freed with the request by free_state */
    void (*free_state)(void *state);
    db_operation *operation; /* of request_submit, with its arg */
    void *operation_arg;
    int result;     /* of the operation: 0 or -1 */
    struct err err; /* of the operation; handlers use it for their own calls too */

    struct MHD_Response *response;
    unsigned status;

    int retry_seconds; /* Retry-After of a refusal, 0: the usual one */

    int abandoned; /* 1: given back without an answer, or in the middle of it; never cleared */

    struct request *pool_next;       /* of pool.c, while the request waits */
    struct pool_client *pool_client; /* of pool.c, from pool_push to pool_leave */

    /* of http.c: its callback has had the head; the rest of the body is dropped; libmicrohttpd
     * sleeps on the connection (set by request_park); the handler was called */
    int seen_head, refused, suspended, ran;
};

/* ---- answers: each sets the request's only answer and returns REQUEST_DONE ---- */

/* n bytes of body (malloc), which the answer takes over, also on failure. */
enum request_result request_reply(struct request *request, unsigned status, const char *type,
                                  char *body, size_t n);
/* A constant or short-lived text, copied. */
enum request_result request_reply_text(struct request *request, unsigned status, const char *type,
                                       const char *text);
/* 204. */
enum request_result request_reply_empty(struct request *request);
/* `size` bytes of an open file from `first` on; the answer takes the file over and closes it. */
enum request_result request_reply_fd(struct request *request, unsigned status, const char *type,
                                     int fd, uint64_t first, uint64_t size);
/* A problem document (problem.h) with the HTTP status of err; nothing if the request is
 * abandoned. */
enum request_result request_fail(struct request *request, const struct err *err);
/* 503 or 429 with Retry-After. */
enum request_result request_fail_later(struct request *request, const struct err *err, int seconds);
/* A response made by the caller (streams), which is taken over; it replaces an earlier one. */
enum request_result request_reply_response(struct request *request, unsigned status,
                                           struct MHD_Response *response);
/* 1 if If-None-Match names this tag, with its quotes: the client has the answer already. */
int request_has_tag(const struct request *request, const char *tag);
/* Add a header to the answer that was set. */
void request_header(struct request *request, const char *name, const char *value);

/* ---- answers in memory ---- */

/* A body in memory, written with stdio to `out` or as JSON to `json`. */
struct request_buffer {
    FILE *out;
    struct emit json; /* on out, EMIT_LINES */
    char *bytes;
    size_t n;
};
/* The headers of an answer whose size is not known, for HEAD. */
enum request_result request_reply_head(struct request *request, const char *type);
/* Open buffer->out for writing; -1: no memory, and the answer says so. */
int request_open(struct request *request, struct request_buffer *buffer);
/* Answer with the content; drop it if the request is abandoned. */
enum request_result request_close_reply(struct request *request, struct request_buffer *buffer,
                                        unsigned status, const char *type);
/* Drop the content and answer with the problem of err. */
enum request_result request_close_fail(struct request *request, struct request_buffer *buffer,
                                       const struct err *err);

/* ---- hand-over ---- */

/* Run the operation on the database writer's thread. `next` follows on the HTTP thread when
 * the operation is durable or has failed (request->result, request->err). arg must live until
 * then (in request->state). Always REQUEST_LATER. HTTP thread or pool thread. */
enum request_result request_submit(struct request *request, db_operation *operation, void *arg,
                                   request_handler *next);

/* Park the request: libmicrohttpd suspends its connection until request_finish, then `next`
 * runs (NULL: the answer set meanwhile is sent). Call it on the HTTP thread before another
 * thread can see the request: a resume that comes before the suspension would be lost. Of a
 * parked request (a pool thread hands it on) it only changes `next`. */
void request_park(struct request *request, request_handler *next);
/* The HTTP thread owns the request again, if it was parked. HTTP thread. */
void request_resumed(struct request *request);
/* Give a parked request back to the HTTP thread. The caller does not own it any more, and
 * must not read it: it may already be freed. Any thread. */
void request_finish(struct request *request);

/* ---- input of the client ---- */

/* Value of a query parameter, NULL without it. A list that stands there more than once
 * (ROUTE_QUERY_LIST) is the union of its values. */
const char *request_query(const struct request *request, const char *name);
const char *request_head(const struct request *request, const char *name);
/* Integer in [min, max] of a query parameter; fallback if it is absent. ERR_INVALID (pointer:
 * the parameter's name) for anything else. */
int request_query_int(const struct request *request, const char *name, int64_t min, int64_t max,
                      int64_t fallback, int64_t *out, struct err *err);
int request_is(const struct request *request, const char *method);

/* Check the query against the route: ERR_INVALID names every parameter that the route does not
 * have, that has no value, that has a zero byte, or that stands there again and is no list. */
int request_check_query(struct request *request, struct err *err);
/* Free what it joined. */
void request_free_lists(struct request *request);

/* Split the path of request->target, which may be a whole address with the host of the header
 * Host, into percent-decoded segments. ERR_LONG_TARGET above REQUEST_TARGET_MAX; ERR_MALFORMED
 * for a broken escape, a zero byte or bytes that are not UTF-8; ERR_NOT_FOUND for more segments
 * than any route has. */
int request_split_path(struct request *request, struct err *err);

#endif
