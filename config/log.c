/* log: see log.h. */
#include "config/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const log_names[] = {"debug", "info", "warning", "error"};
static atomic_int log_threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store(&log_threshold, (int)level);
}

int log_level_from_name(const char *name)
{
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
        if (strcmp(log_names[level], name) == 0)
            return level;
    return -1;
}

void log_line(enum log_level level, const char *format, ...)
{
    if ((int)level < atomic_load(&log_threshold))
        return;
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char line[LOG_LINE_MAX];
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ %s ", now.tv_nsec / 1000000,
                             log_names[level]);
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    if (wanted > 0)
        used += (size_t)wanted < sizeof line - used - 2 ? (size_t)wanted : sizeof line - used - 2;
    line[used++] = '\n';
    /* A failed write of a log line cannot be reported anywhere. */
    ssize_t ignored = write(STDERR_FILENO, line, used);
    (void)ignored;
}
