/* show: `tokenfate show JOB_ID`: the closing table and the findings of a stored job, beside
 * a running server or without one. Main thread. */
#ifndef TOKENFATE_SHOW_H
#define TOKENFATE_SHOW_H

#include "config/settings.h"

/* argv: the words behind `show`. Returns the exit code: 0, 1 failed, 2 usage. */
int show_command(const struct settings *settings, int argc, char **argv);

#endif
