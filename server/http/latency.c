/* latency: see latency.h. One histogram for each route, then one for files and one for requests
 * without a route. serve.c makes and frees them; http.c observes, api/metrics.c reads. */
#include "server/http/latency.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/clock.h"
#include "config/histogram.h"
#include "server/http/route.h"

static const double latency_bounds[HISTOGRAM_BOUNDS] = {0.001, 0.005, 0.025, 0.1, 0.5, 2.5};

size_t latency_n(const struct server *server)
{
    return server->routes->n + 2;
}

int latency_open(struct server *server, struct err *err)
{
    server->latency = calloc(latency_n(server), sizeof *server->latency);
    if (!server->latency)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu histograms", latency_n(server));
    for (size_t i = 0; i < latency_n(server); i++)
        for (int k = 0; k < HISTOGRAM_BOUNDS; k++)
            server->latency[i].bounds[k] = latency_bounds[k];
    return 0;
}

void latency_close(struct server *server)
{
    free(server->latency);
    server->latency = NULL;
}

void latency_label(const struct server *server, size_t i, char *text)
{
    const struct route_table *table = server->routes;
    if (i < table->n)
        snprintf(text, LATENCY_LABEL_MAX, "%s %s", table->routes[i].method, table->routes[i].path);
    else
        snprintf(text, LATENCY_LABEL_MAX, "%s", i == table->n ? "files" : "none");
}

void latency_observe(const struct request *request)
{
    const struct server *server = request->server;
    const struct route_table *table = server->routes;
    const struct route *route = request->route;
    size_t i = table->n + 1;
    if (route == &table->files)
        i = table->n;
    else if (route)
        i = (size_t)(route - table->routes);
    /* Waiting for a change takes as long as its client wants. */
    if (!request_query(request, "wait"))
        histogram_observe(&server->latency[i], clock_monotonic_seconds() - request->begun);
}
