/* serve: the command `tokenfate serve`. main.c calls it on the main thread. */
#ifndef TOKENFATE_SERVE_H
#define TOKENFATE_SERVE_H

#include "config/settings.h"

/* Run a server from start to end: lock, database, workers, HTTP, wait for SIGTERM or SIGINT,
 * end. build: the version that /version shows. Returns the exit code, 0 or 1. */
int serve_command(const struct settings *settings, const char *build);

#endif
