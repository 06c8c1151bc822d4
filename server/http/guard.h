/* guard: checks of a request's head that come before routing. http.c calls them on the HTTP
 * thread; serve.c uses the two address functions at the start. Pure but for reading the
 * request's headers.
 *
 * Size: libmicrohttpd's memory of a connection holds a head that is somewhat larger than
 * GUARD_HEAD_MAX, so that this limit answers in the server's own form; one that does not fit
 * there at all gets libmicrohttpd's page.
 * Framing: a request whose length is stated twice is refused, because a proxy and this server
 * could disagree about where the body ends (request smuggling).
 * Host: a name that is not this server's is refused. A page of another site can point a name
 * of its own at 127.0.0.1 (DNS rebinding); its requests then carry that name.
 * Origin: a browser adds cookies, and the trust in loopback, to requests of any page
 * (cross-site request forgery). Requests that change something must come from this server's
 * pages, unless they carry an Authorization header: this server never makes a browser add
 * one by itself. */
#ifndef TOKENFATE_GUARD_H
#define TOKENFATE_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "server/http/request.h"

enum { GUARD_HEAD_MAX = 32 << 10 }; /* bytes of a head; browsers send some 2 KiB */

/* ERR_LARGE_HEAD above GUARD_HEAD_MAX. */
int guard_check_size(struct request *request, struct err *err);

/* ERR_MALFORMED for two of a header that has one value here (Host, Authorization, ...), for
 * Transfer-Encoding together with Content-Length or other than chunked, for two of either, and
 * for a Content-Length that is no number. *announced: Content-Length in bytes, 0 without. */
int guard_check_framing(struct request *request, uint64_t *announced, struct err *err);

/* ERR_MALFORMED without Host, ERR_FORBIDDEN for the name of another server. */
int guard_check_host(struct request *request, struct err *err);

/* ERR_FORBIDDEN if Sec-Fetch-Site or Origin names another site. GET, HEAD and requests with
 * an Authorization header always pass. Call it after guard_check_host, which makes sure that
 * there is a Host to compare Origin with. */
int guard_check_origin(struct request *request, struct err *err);

/* 1 if a Host header ("localhost:8080", "[::1]") names this server: a loopback name, the
 * address it listens on, one of allowed_hosts, or any literal address if the server listens
 * on a wildcard (no DNS answer can rebind a literal). The port is not compared. */
int guard_host_is_ours(const struct server *server, const char *host);

/* Split "host:port" or "[v6]:port". -1 if the text is neither, if the port is above 65535, or
 * if a part does not fit. */
int guard_split_address(const char *address, char *host, size_t host_bytes, char *port,
                        size_t port_bytes);

/* 1 if the host is a loopback name or address. */
int guard_is_loopback(const char *host);

#endif
