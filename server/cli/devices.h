/* devices: `tokenfate devices`: what the running server says of its devices and their proofs. */
#ifndef TOKENFATE_CLI_DEVICES_H
#define TOKENFATE_CLI_DEVICES_H

#include "config/settings.h"

/* Print them. Returns the exit code. */
int devices_command(const struct settings *settings, int argc, char **argv);

#endif
