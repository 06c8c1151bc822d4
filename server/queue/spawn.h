/* spawn: how a child of the server is set up, whatever it is. Used by trainer_process.c and
 * proof.c. */
#ifndef TOKENFATE_SPAWN_H
#define TOKENFATE_SPAWN_H

#include <spawn.h>
#include <stddef.h>

#include "config/err.h"
#include "config/settings.h"

/* Own process group, no blocked signal, and the default action for signals that this process
 * handles, blocks or ignores: all of these would be inherited. 0 and attributes that the caller
 * destroys, or an errno. */
int spawn_attributes(posix_spawnattr_t *attributes);

/* Path of the trainer: settings->trainer, else tokenfate-trainer beside this program. */
int spawn_trainer_path(const struct settings *settings, char path[SETTINGS_TEXT_MAX],
                       struct err *err);

#endif
