/* route: what a server answers, as a table: method, path template, handler, and what a
 * request must be before the handler sees it. http.c admits by it; 404, 405 and Allow come
 * from it. The table itself is api/routes.c. Constant; any thread. */
#ifndef TOKENFATE_ROUTE_H
#define TOKENFATE_ROUTE_H

#include <stddef.h>

#include "server/http/request.h"

enum route_flag {
    ROUTE_SLOW = 1,      /* runs on the pool: reads files, tokenises, long answers */
    ROUTE_OPEN = 2,      /* needs no credentials even when authentication is on */
    ROUTE_BODY_JSON = 4, /* body required, application/json, at most max_body_bytes */
    ROUTE_BODY_FILE = 8, /* body streamed to a file, at most max_upload_bytes */
    ROUTE_ETAG = 16,     /* 200 answers carry an ETag and honour If-None-Match */
    ROUTE_ADMIN = 32     /* for administrators only */
};

struct route {
    const char *method;
    const char *path; /* "/api/v1/jobs/{id}" */
    request_handler *handler;
    unsigned flags;
    const char *query; /* parameters it knows, "a,b,c"; others are 422. NULL: none */
};

struct route_table {
    const struct route *routes;
    size_t n;
    struct route files; /* answers every path outside /api that no route owns */
};

/* The route of a method and a path in decoded segments; params gets the parts in braces.
 * NULL: *known tells whether the path exists under another method (ROUTE_KNOWN_FILE: it
 * does if there is a file). */
enum { ROUTE_UNKNOWN, ROUTE_KNOWN, ROUTE_KNOWN_FILE };
const struct route *route_find(const struct route_table *table, const char *method,
                               char *const *segments, int n_segments, const char **params,
                               int *known);

/* Methods of a path, "GET, HEAD, POST", for Allow. */
void route_allow(const struct route_table *table, char *const *segments, int n_segments, char *out,
                 size_t n);

#endif
