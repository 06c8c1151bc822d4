/* listener: the address and the Unix socket that the service listens on. A thread of its own accepts
 * on both, and hands each connection to libmicrohttpd's daemon, whose one thread runs them all.
 * http.c starts and stops it.
 *
 * Why not libmicrohttpd: it accepts on one socket. And a connection that is handed over while it has
 * as many as it may have locks its thread up for good (0.9.75), so nothing else may bring it
 * connections: the thread accepts only what has a place (connections_reserve). What has none waits
 * in the kernel. */
#ifndef TOKENFATE_LISTENER_H
#define TOKENFATE_LISTENER_H

#include <microhttpd.h>

#include "config/err.h"
#include "server/http/connections.h"

struct listener;

/* Listen on "address:port" and, if path is not "", on a Unix socket there, mode 0666, in a folder that
 * exists: everybody on the machine may connect, and who that is the kernel tells (peer.h). A socket
 * that a killed server left is replaced. No connection is accepted yet.
 * ERR_INVALID for an address that is none; ERR_CONFLICT: a server answers at path, or it is another
 * kind of file; ERR_TOO_LARGE: no path of a socket is that long; ERR_IO. */
int listener_open(const char *address, const char *path, struct listener **out, struct err *err);
/* The descriptor that listens on the address. */
int listener_fd(const struct listener *listener);
/* Start the thread. ERR_IO. */
int listener_start(struct listener *listener, struct MHD_Daemon *daemon,
                   struct connections *connections, struct err *err);
/* Accept no more, close both and remove the Unix socket. The daemon still runs. NULL is fine. */
void listener_close(struct listener *listener);

#endif
