/* http: libmicrohttpd's daemon and the life of a request in it. serve.c starts and stops it.
 *
 * One polling thread of libmicrohttpd, the HTTP thread, runs every connection, so nothing on
 * it may block. A request is admitted from its head alone: guard, route, auth, query, media
 * type, announced size. Then its body is collected in memory (JSON) or streamed to a file in
 * the data folder (upload). Then its handler runs: on the HTTP thread, or on a pool thread if
 * the route is slow (ROUTE_SLOW).
 *
 * Threads of a request: request.h defines who owns it. A request that another thread owns is
 * suspended in libmicrohttpd, and server->suspended counts those. */
#ifndef TOKENFATE_HTTP_H
#define TOKENFATE_HTTP_H

#include <stddef.h>

#include "config/err.h"
#include "server/server.h"

enum {
    HTTP_DRAIN_MAX = 2000 << 20,           /* bytes of a refused body that are read and dropped, so
                                    that the client sees the answer and not a reset */
    HTTP_IDLE_SECONDS = 75,                /* a connection without progress is closed */
    HTTP_MEMORY_PER_CONNECTION = 48 << 10, /* bytes for a request's head and buffers */
    HTTP_STOP_SECONDS = 5                  /* http_stop waits this long for answers under way */
};

struct http;

/* Listen and answer; server->http and server->url are set before the first request. */
int http_start(struct server *server, struct err *err);

/* Close the listening socket, wait for requests under way, stop the daemon. The caller has
 * set server->stopping, called hub_end_streams and stopped the pool, so that every suspended
 * request ends soon: http_stop waits for all of them. NULL is fine. */
void http_stop(struct http *http);

#endif
