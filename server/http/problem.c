/* problem: see problem.h. */
#include "server/http/problem.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/json.h"

static void problem_fields(FILE *out, const struct err *err)
{
    fputs(",\"errors\":[", out);
    for (int i = 0; i < err->n_fields; i++) {
        fprintf(out, "%s{\"pointer\":", i ? "," : "");
        json_write_string(out, err->fields[i].pointer);
        fputs(",\"detail\":", out);
        json_write_string(out, err->fields[i].detail);
        putc('}', out);
    }
    putc(']', out);
    if (err->n_more)
        fprintf(out, ",\"more_errors\":%d", err->n_more);
}

char *problem_print(const struct err *err, const char *request_id, size_t *n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "{\"type\":\"urn:tokenfate:problem:%s\",\"title\":", err_name(err->code));
    json_write_string(out, err_title(err->code));
    fprintf(out, ",\"status\":%d,\"code\":\"%s\",\"detail\":", err_http_status(err->code),
            err_name(err->code));
    json_write_string(out, err->message);
    if (err->n_fields)
        problem_fields(out, err);
    fputs(",\"request_id\":", out);
    json_write_string(out, request_id);
    fputs("}\n", out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    *n = size;
    return text;
}
