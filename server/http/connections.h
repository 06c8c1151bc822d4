/* connections: who is connected, and what is taking too long. http.c tells it of every
 * connection and of the progress of its request; a thread of its own ends those that are late.
 *
 * Time limits: a client that sends its request a byte at a time would hold a connection for ever.
 * From its first byte on a head has head_seconds, and a body has them too and one second more for
 * each CONNECTIONS_BODY_RATE bytes. libmicrohttpd ends what makes no progress at all
 * (HTTP_IDLE_SECONDS), and that is the only limit between two requests and for an answer.
 *
 * Limits: above max_connections, or above the limit of its address, a new connection is ended at
 * once. Exempt from the second are unlimited_addresses and trusted_proxies. On the Unix socket an
 * account counts as an address, and none is exempt; a head is timed from its first whole line on.
 *
 * Answers: a connection that is ended before its answer has begun gets a problem document,
 * written to the socket as it is, because libmicrohttpd has no way to answer then. Not under TLS:
 * libmicrohttpd has the keys.
 *
 * One mutex guards all. libmicrohttpd closes a socket only after it has told so, so a descriptor
 * in the table is open. */
#ifndef TOKENFATE_CONNECTIONS_H
#define TOKENFATE_CONNECTIONS_H

#include <microhttpd.h>

#include "config/err.h"
#include "config/settings.h"

enum {
    CONNECTIONS_BODY_RATE = 1024, /* bytes a second, a tenth of the slowest usual line */
    CONNECTIONS_SPARE = 8         /* places for connections that are being refused: a client
                           without a place hangs */
};

/* What the client of a connection is at. */
enum connection_phase {
    CONNECTION_IDLE,  /* no byte of a request has come */
    CONNECTION_HEAD,  /* since its first byte */
    CONNECTION_BODY,  /* since the end of the head */
    CONNECTION_ANSWER /* the whole request is there, or an answer has begun */
};

struct connections;

/* Start the thread. settings live as long as the connections. */
int connections_start(const struct settings *settings, struct connections **out, struct err *err);
/* Stop it; libmicrohttpd may still close connections. NULL is fine. */
void connections_stop(struct connections *connections);
/* After libmicrohttpd has ended. NULL is fine. */
void connections_free(struct connections *connections);

/* The limit of connections for libmicrohttpd, which those that have a place never reach:
 * max_connections, CONNECTIONS_SPARE and one. */
unsigned connections_places(const struct connections *connections);
/* Take a place for a connection that is going to be handed to libmicrohttpd; 0: none is free. Its
 * beginning (connections_notify) uses it; give back one that does not begin. The listener's thread. */
int connections_reserve(struct connections *connections);
void connections_unreserve(struct connections *connections);

/* libmicrohttpd's callback for a connection that has begun or ended; self: the connections. */
void connections_notify(void *self, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode what);

/* The request of a connection is at this phase. -1: the connection was ended, do not answer.
 * HTTP thread. */
int connections_phase(struct MHD_Connection *connection, enum connection_phase phase);
/* n bytes of the body have come. HTTP thread. */
void connections_received(struct MHD_Connection *connection, uint64_t n);

#endif
