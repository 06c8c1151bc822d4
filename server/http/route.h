/* route: lookup in the table of routes. A route has a method, a path template, a handler, and
 * flags that state what a request must fulfil before the handler sees it. http.c admits
 * requests by it and derives 404, 405 and Allow from it. The table itself is api/routes.c and
 * constant. Pure; any thread. */
#ifndef TOKENFATE_ROUTE_H
#define TOKENFATE_ROUTE_H

#include <stddef.h>

#include "server/http/request.h"

enum route_flag {
    ROUTE_SLOW = 1,      /* runs on the pool: reads files, tokenises, has long answers */
    ROUTE_OPEN = 2,      /* needs no credentials even when authentication is on */
    ROUTE_BODY_JSON = 4, /* body required, application/json, at most max_body_bytes */
    ROUTE_BODY_FILE = 8, /* body streamed to a file, at most max_upload_bytes */
    ROUTE_ETAG = 16,     /* 200 answers carry an ETag and honour If-None-Match */
    ROUTE_ADMIN = 32,    /* for administrators only */
    /* With ROUTE_SLOW: work that grows with the records of a job or with a text, or that needs
     * a process. Has threads of its own, and a GET is dropped when its client leaves (pool.h). */
    ROUTE_HEAVY = 64
};

struct route {
    const char *method;
    const char *path; /* "/api/v1/jobs/{id}" */
    request_handler *handler;
    unsigned flags;
    /* Accepted parameters, "a,b*": others are 422. One with a star is a list separated by commas,
     * and may stand there more than once. NULL: none. */
    const char *query;
};

struct route_table {
    const struct route *routes;
    size_t n;
    struct route files; /* for every path outside /api that no route has */
};

/* Route of a method and a path in decoded segments; params gets the segments in place of
 * braces. HEAD takes the route of GET. NULL: *known tells whether the path exists with another
 * method: ROUTE_KNOWN yes, ROUTE_KNOWN_FILE only if there is such a file. */
enum { ROUTE_UNKNOWN, ROUTE_KNOWN, ROUTE_KNOWN_FILE };
const struct route *route_find(const struct route_table *table, const char *method,
                               char *const *segments, int n_segments, const char **params,
                               int *known);

/* What a query parameter is to a route. */
enum route_query { ROUTE_QUERY_NONE, ROUTE_QUERY_ONE, ROUTE_QUERY_LIST };
enum route_query route_query(const struct route *route, const char *name);

/* Methods of a path for the Allow header: "GET, HEAD, POST". */
void route_allow(const struct route_table *table, char *const *segments, int n_segments, char *out,
                 size_t n);

#endif
