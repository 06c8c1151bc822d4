/* local: the Unix socket beside the address. A thread of its own accepts, and hands each connection
 * to libmicrohttpd's daemon, whose one thread runs it like any other. Everybody on the machine may
 * connect (mode 0666): who that is the kernel tells (peer.h). http.c starts and stops it. */
#ifndef TOKENFATE_LOCAL_H
#define TOKENFATE_LOCAL_H

#include <microhttpd.h>

#include "config/err.h"

struct local;

/* Listen at path, in a folder that exists, and start the thread. A socket that a killed server left
 * there is replaced. ERR_CONFLICT: a server answers there, or it is another kind of file; ERR_IO;
 * ERR_TOO_LARGE: no path of a socket is that long. */
int local_start(const char *path, struct MHD_Daemon *daemon, struct local **out, struct err *err);

/* Accept no more, and remove the socket. The daemon still runs. NULL is fine. */
void local_stop(struct local *local);

#endif
