/* show: the command `tokenfate show JOB_ID`: the closing table and the findings of a stored
 * job. It reads the database only, beside a running server or without one. main.c calls it on
 * the main thread. */
#ifndef TOKENFATE_SHOW_H
#define TOKENFATE_SHOW_H

#include "config/settings.h"

/* argv: the words after `show`. Returns the exit code: 0, 1 failed, 2 usage. */
int show_command(const struct settings *settings, int argc, char **argv);

#endif
