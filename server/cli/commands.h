/* commands: the commands of `tokenfate` that read or change the database. Those that
 * write take data/lock, or ask the server that holds it; those that read open the
 * database read-only and work beside one. Main thread. Each returns the exit
 * code: 0, 1 failed, 2 usage. */
#ifndef TOKENFATE_COMMANDS_H
#define TOKENFATE_COMMANDS_H

#include "config/settings.h"

/* argv: what follows the command's name and the settings' options. */
int commands_user(const struct settings *settings, int argc, char **argv);
int commands_token(const struct settings *settings, int argc, char **argv);
int commands_backup(const struct settings *settings, int argc, char **argv);

#endif
