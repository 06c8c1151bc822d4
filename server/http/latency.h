/* latency: how long answers take, by route. Labels are the templates of the table of routes,
 * never a path that a client sent, so their number is fixed. */
#ifndef TOKENFATE_LATENCY_H
#define TOKENFATE_LATENCY_H

#include <stddef.h>

#include "server/http/request.h"

/* Make server->latency for the routes of server->routes. ERR_NO_MEMORY. */
int latency_open(struct server *server, struct err *err);
void latency_close(struct server *server);

/* Number of histograms, and the label of one: "GET /api/v1/jobs/{id}", "files", or "none" for
 * what no route takes. text: LATENCY_LABEL_MAX bytes. */
enum { LATENCY_LABEL_MAX = 96 };
size_t latency_n(const struct server *server);
void latency_label(const struct server *server, size_t i, char *text);

/* The answer of a request begins: count the time since its first line. HTTP thread. */
void latency_observe(const struct request *request);

#endif
