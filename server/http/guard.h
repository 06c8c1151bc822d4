/* guard: what a request's head must satisfy before anything looks at it: framing
 * that leaves no doubt where the body ends, a Host that names this server (DNS
 * rebinding), and an Origin that is this server's when a browser's ambient
 * authority could be abused (cross-site requests). HTTP thread; pure but for
 * reading the request. */
#ifndef TOKENFATE_GUARD_H
#define TOKENFATE_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "server/http/request.h"

/* Transfer-Encoding with Content-Length, two Content-Length, or one that is no
 * number: ERR_MALFORMED. *announced: Content-Length, 0 without. */
int guard_check_framing(struct request *request, uint64_t *announced, struct err *err);

/* ERR_MALFORMED without Host, ERR_FORBIDDEN for one that is not ours. */
int guard_check_host(struct request *request, struct err *err);

/* For methods that change something and requests without a bearer token:
 * ERR_FORBIDDEN when the browser says they come from another site. */
int guard_check_origin(struct request *request, struct err *err);

/* 1 if a Host header ("localhost:8080", "[::1]") names this server: a loopback
 * name, the address it listens on, any literal address if it listens on all of
 * them (a literal cannot be rebound), or one of allowed_hosts. */
int guard_host_is_ours(const struct server *server, const char *host);

/* "host:port" or "[v6]:port" apart. -1 if it is neither. */
int guard_split_address(const char *address, char *host, size_t host_bytes, char *port,
                        size_t port_bytes);

/* 1 if the host is a loopback name or address. */
int guard_is_loopback(const char *host);

#endif
