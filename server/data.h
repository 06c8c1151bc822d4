/* data: the data folder: paths below it, and the lock that reserves it for one process. Used
 * by the server and by the commands. Any thread.
 *
 * The lock is inherited by trainers: flock(2) belongs to the open file, so it holds until the
 * last process with a copy of the descriptor has closed it. A trainer of a killed server
 * therefore keeps a new server away until it has died too, and two trainers never write the
 * same job's files. */
#ifndef TOKENFATE_DATA_H
#define TOKENFATE_DATA_H

#include <stddef.h>

#include "config/err.h"
#include "config/settings.h"

enum {
    DATA_PATH_MAX = 4096,           /* bytes of a path, with its zero: Linux's PATH_MAX */
    DATA_ADDRESS_MAX = 300,         /* bytes of a server's address in an error */
    DATA_LOCK_TRIES = 50,           /* 5 seconds in all: a killed server's trainers die soon */
    DATA_LOCK_PAUSE_US = 100 * 1000 /* between two tries */
};

/* Format the path of a file below the data folder into path[n]. ERR_TOO_LARGE if it does not
 * fit. */
int data_path(const struct settings *settings, char *path, size_t n, struct err *err,
              const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The folder has what its users wrote and who they are: it is made with mode 0700. If it is this
 * user's and open to others, take their rights away: 1, and *mode is what it had. 0: nothing
 * to do. ERR_IO. */
int data_make_private(const struct settings *settings, unsigned *mode, struct err *err);

/* Take data/lock; it and its folder are created if missing. Returns a descriptor, which holds
 * the lock until it and the copies that child processes inherited are closed; -1 with
 * ERR_CONFLICT, which names the server's address, if another process holds it after
 * DATA_LOCK_TRIES tries, or ERR_IO. */
int data_lock(const struct settings *settings, struct err *err);
/* The same with one try. */
int data_lock_once(const struct settings *settings, struct err *err);

#endif
