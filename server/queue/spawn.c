/* spawn: see spawn.h. */
#include "server/queue/spawn.h"

#include <signal.h>
#include <string.h>

int spawn_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGHUP);
    sigaddset(&defaults, SIGPIPE);
    int error = posix_spawnattr_init(attributes);
    if (error)
        return error;
    error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                     POSIX_SPAWN_SETSIGDEF);
    if (!error)
        error = posix_spawnattr_setpgroup(attributes, 0);
    if (!error)
        error = posix_spawnattr_setsigmask(attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(attributes, &defaults);
    if (error)
        posix_spawnattr_destroy(attributes);
    return error;
}

int spawn_trainer_path(const struct settings *settings, char path[SETTINGS_TEXT_MAX],
                       struct err *err)
{
    if (!settings->trainer[0])
        return settings_beside("tokenfate-trainer", path, SETTINGS_TEXT_MAX, err);
    strcpy(path, settings->trainer);
    return 0;
}
