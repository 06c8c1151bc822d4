/* http: libmicrohttpd's daemon and the life of a request in it.
 *
 * One polling thread (the HTTP thread) runs every connection; nothing may block it. A
 * request is admitted from its head alone: guard, route, auth, media type, announced size.
 * Then its body is collected in memory or streamed to a file (http_body), then its handler
 * runs: on the HTTP thread, or on the pool when the route is slow. */
#ifndef TOKENFATE_HTTP_H
#define TOKENFATE_HTTP_H

#include <stddef.h>

#include "config/err.h"
#include "server/server.h"

enum {
    HTTP_DRAIN_MAX = 2000 << 20,           /* a refused body is read and dropped up to here, so that
                                    the client sees the answer and not a reset */
    HTTP_IDLE_SECONDS = 75,                /* a connection without progress is closed */
    HTTP_MEMORY_PER_CONNECTION = 48 << 10, /* request head and buffers */
    HTTP_STOP_SECONDS = 5                  /* answers under way get this long at the end */
};

struct http;

/* Bind, listen and answer; sets server->http before the first request. url gets
 * "http://host:port" with the real port. */
int http_start(struct server *server, char *url, size_t url_bytes, struct err *err);

/* No new connections; answers under way end; then the daemon. Streams must
 * have been told to end. */
void http_stop(struct http *http);

#endif
