/* problem: see problem.h. */
#include "server/http/problem.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/emit.h"

enum { PROBLEM_URI_MAX = 64 }; /* bytes of a problem's type; names of err_table are short */

/* Every bad field, and the number of those that err had no room for. */
static void problem_fields(struct emit *json, const struct err *err)
{
    emit_array(json, "errors");
    for (int i = 0; i < err->n_fields; i++) {
        emit_object(json, NULL);
        emit_text(json, "pointer", err->fields[i].pointer);
        emit_text(json, "detail", err->fields[i].detail);
        emit_end(json);
    }
    emit_end(json);
    if (err->n_more)
        emit_integer(json, "more_errors", err->n_more);
}

static void problem_limit(struct emit *json, const struct err_limit *limit)
{
    emit_object(json, "limit");
    emit_text(json, "name", limit->name);
    emit_number(json, "value", limit->value);
    emit_number(json, "present", limit->present);
    emit_number(json, "asked", limit->asked);
    emit_integer(json, "fits", limit->fits);
    emit_text(json, "change", limit->change);
    emit_end(json);
}

static void problem_write(struct emit *json, const struct err *err, const char *request_id)
{
    char type[PROBLEM_URI_MAX];
    snprintf(type, sizeof type, "urn:tokenfate:problem:%s", err_name(err->code));
    emit_object(json, NULL);
    emit_text(json, "type", type);
    emit_text(json, "title", err_title(err->code));
    emit_integer(json, "status", err_http_status(err->code));
    emit_text(json, "code", err_name(err->code));
    emit_text(json, "detail", err->message);
    if (err->n_fields)
        problem_fields(json, err);
    if (err->limit.name[0])
        problem_limit(json, &err->limit);
    emit_text(json, "request_id", request_id);
    emit_end(json);
}

char *problem_print(const struct err *err, const char *request_id, size_t *n)
{
    char *text = NULL;
    size_t size = 0;
    struct emit json;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    emit_open(&json, out, EMIT_LINES);
    problem_write(&json, err, request_id);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    *n = size;
    return text;
}
