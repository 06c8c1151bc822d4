/* log: one line per event on stderr: `2026-01-31T12:00:00.123Z level text`, or as JSON
 * `{"time", "level", "message", "fields"}`.
 *
 * Only the top layers log (server threads, the two mains); rooms below return errors. Each
 * line is a single write(2), so that lines of threads and of trainer processes on the same
 * stream never interleave. */
#ifndef TOKENFATE_LOG_H
#define TOKENFATE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

enum { LOG_LINE_MAX = 2048 }; /* longer lines are cut, so that a line stays one atomic write */

/* Lines below this level are dropped. Default LOG_INFO. */
void log_set_level(enum log_level level);
/* Default LOG_TEXT. */
void log_set_format(enum log_format format);

/* Level of a name ("debug", "info", "warning", "error"), or -1; format of a name ("text",
 * "json"), or -1. */
int log_level_from_name(const char *name);
int log_format_from_name(const char *name);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with facts that programs look for. Lines of text do not show them: the message says
 * what people need. */
struct log_field { /* value: NULL and "" are null */
    const char *name, *value;
};
#define LOG_FIELDS(...)                                                                            \
    (const struct log_field[]){__VA_ARGS__},                                                       \
        (int)(sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
void log_with(enum log_level level, const struct log_field *fields, int n, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
