/* retention: `tokenfate retention`: what of the jobs is to go, and when. */
#ifndef TOKENFATE_CLI_RETENTION_H
#define TOKENFATE_CLI_RETENTION_H

#include "config/settings.h"

/* Print it. Returns the exit code. */
int retention_command(const struct settings *settings, int argc, char **argv);

#endif
