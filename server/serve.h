/* serve: the command `tokenfate serve`. Main thread. */
#ifndef TOKENFATE_SERVE_H
#define TOKENFATE_SERVE_H

#include "config/settings.h"

/* The whole life of a server: lock, database, workers, HTTP, wait for SIGTERM or SIGINT,
 * end. build: the version that /version shows. Returns the exit code, 0 or 1. */
int serve_command(const struct settings *settings, const char *build);

#endif
