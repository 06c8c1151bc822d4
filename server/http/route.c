/* route: see route.h. */
#include "server/http/route.h"

#include <stdio.h>
#include <string.h>

#include "server/http/word_list.h"

enum { ROUTE_QUERY_NAME_MAX = 64 }; /* bytes of a parameter's name, with a star and a zero */

/* A template segment "{id}" matches any one segment, any other matches itself. */
static int route_matches(const char *path, char *const *segments, int n_segments,
                         const char **params)
{
    int n = 0, n_params = 0;
    for (const char *at = path + 1; *at; n++) {
        size_t length = strcspn(at, "/");
        if (n == n_segments)
            return 0;
        if (*at == '{')
            params[n_params++] = segments[n];
        else if (strlen(segments[n]) != length || strncmp(at, segments[n], length) != 0)
            return 0;
        at += length + (at[length] == '/');
    }
    return n == n_segments;
}

static int route_takes(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Paths below /api are in the table or nowhere; all others may be files. */
static int route_is_file(char *const *segments, int n_segments)
{
    return n_segments > 0 && strcmp(segments[0], "api") != 0;
}

const struct route *route_find(const struct route_table *table, const char *method,
                               char *const *segments, int n_segments, const char **params,
                               int *known)
{
    *known = ROUTE_UNKNOWN;
    for (size_t i = 0; i < table->n; i++) {
        if (!route_matches(table->routes[i].path, segments, n_segments, params))
            continue;
        if (route_takes(&table->routes[i], method))
            return &table->routes[i];
        *known = ROUTE_KNOWN;
    }
    if (*known || !route_is_file(segments, n_segments))
        return NULL;
    *known = ROUTE_KNOWN_FILE;
    return route_takes(&table->files, method) ? &table->files : NULL;
}

enum route_query route_query(const struct route *route, const char *name)
{
    char starred[ROUTE_QUERY_NAME_MAX];
    if (!route->query || strchr(name, '*') ||
        (size_t)snprintf(starred, sizeof starred, "%s*", name) >= sizeof starred)
        return ROUTE_QUERY_NONE;
    if (word_list_has(route->query, starred))
        return ROUTE_QUERY_LIST;
    return word_list_has(route->query, name) ? ROUTE_QUERY_ONE : ROUTE_QUERY_NONE;
}

void route_allow(const struct route_table *table, char *const *segments, int n_segments, char *out,
                 size_t n)
{
    const char *params[REQUEST_PARAMS_MAX];
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i <= table->n && used < n; i++) {
        const struct route *route = i < table->n ? &table->routes[i] : &table->files;
        int fits = i < table->n ? route_matches(route->path, segments, n_segments, params)
                                : !used && route_is_file(segments, n_segments);
        if (fits)
            used +=
                (size_t)snprintf(out + used, n - used, "%s%s", used ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    }
}
