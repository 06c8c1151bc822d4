/* log: see log.h. */
#include "config/log.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/emit.h"

static const char *const log_names[] = {"debug", "info", "warning", "error"};
static const char *const log_formats[] = {"text", "json"};
static atomic_int log_threshold = LOG_INFO, log_style = LOG_TEXT;

void log_set_level(enum log_level level)
{
    atomic_store(&log_threshold, (int)level);
}

void log_set_format(enum log_format format)
{
    atomic_store(&log_style, (int)format);
}

int log_level_from_name(const char *name)
{
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
        if (strcmp(log_names[level], name) == 0)
            return level;
    return -1;
}

int log_format_from_name(const char *name)
{
    for (int format = LOG_TEXT; format <= LOG_JSON; format++)
        if (strcmp(log_formats[format], name) == 0)
            return format;
    return -1;
}

/* A failed write of a log line cannot be reported anywhere. */
static void log_write(const char *line, size_t n)
{
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}

static void log_text(enum log_level level, const struct timespec *now, const char *message)
{
    struct tm utc;
    char line[LOG_LINE_MAX];
    gmtime_r(&now->tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    int wanted = snprintf(line + used, sizeof line - used - 1, ".%03ldZ %s %s",
                          now->tv_nsec / 1000000, log_names[level], message);
    if (wanted > 0)
        used += (size_t)wanted < sizeof line - used - 2 ? (size_t)wanted : sizeof line - used - 2;
    line[used++] = '\n';
    log_write(line, used);
}

/* One line (malloc) with the first n bytes of the message; NULL without memory. */
static char *log_object(enum log_level level, const struct timespec *now, const char *message,
                        size_t n, const struct log_field *fields, int n_fields)
{
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    emit_object(&json, NULL);
    emit_time(&json, "time", (int64_t)now->tv_sec * 1000000 + now->tv_nsec / 1000);
    emit_text(&json, "level", log_names[level]);
    emit_bytes(&json, "message", message, n);
    emit_object(&json, "fields");
    for (int i = 0; i < n_fields; i++)
        emit_text(&json, fields[i].name,
                  fields[i].value && *fields[i].value ? fields[i].value : NULL);
    emit_end(&json);
    emit_end(&json);
    putc('\n', json.out);
    return emit_close_text(&json);
}

/* Escapes make a message longer. It is cut until the line is one atomic write to a pipe too. */
static void log_json(enum log_level level, const struct timespec *now, const char *message,
                     const struct log_field *fields, int n_fields)
{
    char *line = NULL;
    size_t n = strlen(message);
    do {
        free(line);
        line = log_object(level, now, message, n, fields, n_fields);
        n /= 2;
    } while (line && n && strlen(line) > PIPE_BUF);
    if (line)
        log_write(line, strlen(line));
    free(line);
}

static void log_message(enum log_level level, const struct log_field *fields, int n_fields,
                        const char *format, va_list args)
{
    struct timespec now;
    char message[LOG_LINE_MAX];
    if ((int)level < atomic_load(&log_threshold))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    vsnprintf(message, sizeof message, format, args);
    if (atomic_load(&log_style) == LOG_JSON)
        log_json(level, &now, message, fields, n_fields);
    else
        log_text(level, &now, message);
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_message(level, NULL, 0, format, args);
    va_end(args);
}

void log_with(enum log_level level, const struct log_field *fields, int n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_message(level, fields, n, format, args);
    va_end(args);
}
