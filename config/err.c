/* err: see err.h. err_field collects; every other setter overwrites. */
#include "config/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
    const char *title;
} err_table[ERR_CODES] = {
    [ERR_NONE] = {"none", 200, "No error"},
    [ERR_MALFORMED] = {"malformed", 400, "Malformed request"},
    [ERR_INVALID] = {"invalid", 422, "Invalid field"},
    [ERR_UNAUTHORIZED] = {"unauthorized", 401, "Authentication needed"},
    [ERR_FORBIDDEN] = {"forbidden", 403, "Not allowed"},
    [ERR_NOT_FOUND] = {"not_found", 404, "Not found"},
    [ERR_METHOD] = {"method_not_allowed", 405, "Method not allowed"},
    [ERR_SLOW] = {"slow", 408, "Request Timeout"},
    [ERR_CONFLICT] = {"conflict", 409, "Conflict with the present state"},
    [ERR_TOO_LARGE] = {"too_large", 413, "Too large"},
    [ERR_LONG_TARGET] = {"target_too_long", 414, "Address too long"},
    [ERR_LARGE_HEAD] = {"head_too_large", 431, "Request head too large"},
    [ERR_MEDIA_TYPE] = {"media_type", 415, "Unsupported media type"},
    [ERR_RANGE] = {"range", 416, "Range not satisfiable"},
    [ERR_TOO_MANY] = {"too_many", 429, "Too many requests"},
    [ERR_UNAVAILABLE] = {"unavailable", 503, "Unavailable"},
    [ERR_IO] = {"io", 500, "Input or output failed"},
    [ERR_NO_MEMORY] = {"no_memory", 507, "Not enough memory"},
    [ERR_CORRUPT] = {"corrupt", 500, "Stored data are damaged"},
    [ERR_PROTOCOL] = {"protocol", 500, "Trainer protocol violated"},
    [ERR_DEVICE] = {"device", 500, "Device failed"},
    [ERR_DEVICE_WRONG] = {"device_wrong", 500, "Device computes wrongly"},
    [ERR_DIVERGED] = {"diverged", 500, "Training diverged"},
    [ERR_NONDETERMINISTIC] = {"nondeterministic", 500, "Replay differs from the record"},
    [ERR_CANCELLED] = {"cancelled", 409, "Cancelled"},
    [ERR_TIMEOUT] = {"timeout", 504, "Timed out"},
    [ERR_INTERNAL] = {"internal", 500, "Internal error"},
};

void err_clear(struct err *err)
{
    err->code = ERR_NONE;
    err->message[0] = '\0';
    err->limit.name[0] = '\0';
    err->n_fields = 0;
    err->n_more = 0;
}

static void err_vset(struct err *err, enum err_code code, const char *format, va_list args)
{
    err_clear(err);
    err->code = code;
    vsnprintf(err->message, sizeof err->message, format, args);
}

int err_set(struct err *err, enum err_code code, const char *format, ...)
{
    if (!err)
        return -1;
    va_list args;
    va_start(args, format);
    err_vset(err, code, format, args);
    va_end(args);
    return -1;
}

int err_set_limit(struct err *err, enum err_code code, const struct err_limit *limit,
                  const char *format, ...)
{
    if (!err)
        return -1;
    va_list args;
    va_start(args, format);
    err_vset(err, code, format, args);
    va_end(args);
    err->limit = *limit;
    return -1;
}

int err_set_errno(struct err *err, enum err_code code, const char *format, ...)
{
    int saved = errno;
    if (!err)
        return -1;
    if (code == ERR_IO && (saved == ENOSPC || saved == EDQUOT))
        code = ERR_UNAVAILABLE;
    va_list args;
    va_start(args, format);
    err_vset(err, code, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(saved));
    return -1;
}

int err_field(struct err *err, const char *pointer, const char *format, ...)
{
    if (!err)
        return -1;
    if (err->code != ERR_INVALID)
        err_clear(err);
    err->code = ERR_INVALID;
    if (err->n_fields == ERR_FIELDS_MAX) {
        err->n_more++;
        return -1;
    }
    struct err_field *field = &err->fields[err->n_fields++];
    snprintf(field->pointer, sizeof field->pointer, "%s", pointer);
    va_list args;
    va_start(args, format);
    vsnprintf(field->detail, sizeof field->detail, format, args);
    va_end(args);
    if (!err->message[0])
        snprintf(err->message, sizeof err->message, "%s: %s", field->pointer, field->detail);
    return -1;
}

int err_prefix(struct err *err, const char *format, ...)
{
    if (!err)
        return -1;
    char old[ERR_MESSAGE_MAX];
    memcpy(old, err->message, sizeof old);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", old);
    return -1;
}

static enum err_code err_known(enum err_code code)
{
    return code >= 0 && code < ERR_CODES ? code : ERR_INTERNAL;
}

const char *err_name(enum err_code code)
{
    return err_table[err_known(code)].name;
}

enum err_code err_from_name(const char *name)
{
    for (int code = 0; code < ERR_CODES; code++)
        if (strcmp(err_table[code].name, name) == 0)
            return (enum err_code)code;
    return ERR_INTERNAL;
}

int err_http_status(enum err_code code)
{
    return err_table[err_known(code)].status;
}

const char *err_title(enum err_code code)
{
    return err_table[err_known(code)].title;
}
