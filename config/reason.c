/* reason: see reason.h. */
#include "config/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *sentence;
} reasons[REASON_CODES] = {
    [REASON_NONE] = {"", ""},
    [REASON_BUSY] = {"busy", "its device is busy"},
    [REASON_SHARE] = {"share", "other users have the next turns"},
    [REASON_ORDER] = {"order", "other jobs of its user are before it"},
    [REASON_SLICED] = {"sliced", "it gave way to another user, and goes on with its next turn"},
    [REASON_LIMIT_USER] = {"limit_user", "its user has as many running jobs as one may have"},
    [REASON_LIMIT_SWEEP] = {"limit_sweep", "as many jobs of its sweep run as may"},
    [REASON_MEMORY] = {"memory", "no device has the memory that it needs"},
    [REASON_MEMORY_FOREIGN] = {"memory_foreign", "other programs have the memory that it needs"},
    [REASON_THREADS] = {"threads", "it needs more threads than the device has"},
    [REASON_DEVICE_UNAVAILABLE] = {"device_unavailable", "its device is not available"},
    [REASON_PROVING] = {"proving", "its device is being compared with the reference"},
    [REASON_PROVENANCE] = {"provenance", "it would go on with other bits here"},
    [REASON_REFUSED] = {"refused", "its device could not run it, and tries again"},
    [REASON_READING] = {"reading", "its text is being read"},
    [REASON_QUEUE_CLOSED] = {"queue_closed", "the queue starts no jobs"},
    [REASON_DISK] = {"disk", "the disk has too little room left"},
    [REASON_AFTER] = {"after", "it waits for other jobs to end"},
    [REASON_HELD] = {"held", "it is held until it is released"},
    [REASON_USER_DISABLED] = {"user_disabled", "its user is disabled"},
    [REASON_TIME_LIMIT] = {"time_limit", "its max_seconds are used up"},
};

const char *reason_name(enum reason_code code)
{
    return reasons[code].name;
}

enum reason_code reason_from_name(const char *name)
{
    for (int code = REASON_CODES - 1; name && code > REASON_NONE; code--)
        if (strcmp(reasons[code].name, name) == 0)
            return (enum reason_code)code;
    return REASON_NONE;
}

const char *reason_sentence(enum reason_code code)
{
    return reasons[code].sentence;
}

void reason_set(struct reason *reason, enum reason_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reason->message, sizeof reason->message, format, args);
    va_end(args);
    reason->code = code;
}
