/* data: the data folder: paths below it, and the lock that gives it to one process.
 * Any thread. */
#ifndef TOKENFATE_DATA_H
#define TOKENFATE_DATA_H

#include <stddef.h>

#include "config/err.h"
#include "config/settings.h"

enum {
    DATA_PATH_MAX = 4096,           /* bytes of a path, with its zero: Linux's PATH_MAX */
    DATA_LOCK_TRIES = 50,           /* the lock of a killed server stays with its trainers */
    DATA_LOCK_PAUSE_US = 100 * 1000 /* until they have died too: 5 seconds in all */
};

/* data/NAME[/NAME...] into path. ERR_TOO_LARGE if it does not fit. */
int data_path(const struct settings *settings, char *path, size_t n, struct err *err,
              const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Take data/lock (flock), made with its folder if missing. Returns the descriptor, which
 * holds the lock until it and the copies that child processes inherit are closed; -1 with
 * ERR_CONFLICT when a server holds it, ERR_IO. Tries DATA_LOCK_TRIES times. */
int data_lock(const struct settings *settings, struct err *err);
/* One try. */
int data_lock_once(const struct settings *settings, struct err *err);

#endif
