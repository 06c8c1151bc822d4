/* backup: the commands `tokenfate backup DIR` and `tokenfate restore DIR`. main.c calls them on
 * the main thread.
 *
 * A backup is a data folder: database, texts, and the files of jobs. What can be made anew
 * (tokens of texts) and what belongs to a running server stays out. The folder counts as a
 * backup once it has tokenfate.db, which comes last. */
#ifndef TOKENFATE_BACKUP_H
#define TOKENFATE_BACKUP_H

#include "config/settings.h"

/* argv: the words after the command's name. Both return the exit code: 0, 1 failed or files
 * that the database names are missing, 2 usage. */
int backup_command(const struct settings *settings, int argc, char **argv);
int restore_command(const struct settings *settings, int argc, char **argv);

#endif
