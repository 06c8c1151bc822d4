/* commands: the commands `tokenfate user`, `token` and `compact`. main.c calls them on the main
 * thread. Each returns the exit code: 0, 1 failed, 2 usage.
 *
 * A database has one writer (db/db.h). So a command that changes something takes data/lock and
 * writes itself, or, if a server holds the lock, lets that server do it (client.h). Commands
 * that only read open the database read-only, beside a server or without one. */
#ifndef TOKENFATE_COMMANDS_H
#define TOKENFATE_COMMANDS_H

#include "config/settings.h"

/* The words of `user`, for its usage and for the list of all commands. */
#define COMMANDS_USER                                                                              \
    "user add NAME [--admin] | list | disable NAME | enable NAME | limits NAME [LIMIT=VALUE ...] " \
    "|"                                                                                            \
    " bind NAME UID | unbind NAME"

/* The words of `token`, for its usage and for the list of all commands. */
#define COMMANDS_TOKEN                                                                             \
    "token issue USER [LABEL] [--expires-in SECONDS | --expires-at TIME] | list [USER] |"          \
    " rotate TOKEN|ID | revoke TOKEN|ID"

/* argv: the words after the command's name, without the options of settings. */
int commands_user(const struct settings *settings, int argc, char **argv);
int commands_token(const struct settings *settings, int argc, char **argv);
int commands_compact(const struct settings *settings, int argc, char **argv);

#endif
