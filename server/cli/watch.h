/* watch: the command `tokenfate watch ID`: how far a job is, until it ends. Ctrl-C ends the command
 * and not the job. main.c calls it on the main thread; exit codes of remote.h. */
#ifndef TOKENFATE_WATCH_H
#define TOKENFATE_WATCH_H

#include "config/settings.h"

#define WATCH_USAGE "watch ID"

int watch_command(const struct settings *settings, int argc, char **argv);

#endif
