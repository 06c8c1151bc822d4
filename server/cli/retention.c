/* retention: see retention.h. */
#include "server/cli/retention.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "server/cli/client.h"

static const char *retention_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* Time in UTC to the minute, size, part, user, job. */
static void retention_print(const json_t *row)
{
    const char *due = retention_text(row, "due_at"), *part = retention_text(row, "part");
    const double bytes = json_number_value(json_object_get(row, "bytes"));
    printf("%.10s %.5sZ %10.1f MB  %-8s %s  %s (%s)\n", due, strlen(due) > 11 ? due + 11 : "",
           bytes / 1e6, strcmp(part, "job") == 0 ? "whole job" : part, retention_text(row, "job"),
           retention_text(row, "name"), retention_text(row, "user"));
}

/* Print a page and where the next one starts ("": there is none). Rows printed, or -1. */
static int retention_page(const struct settings *settings, char cursor[24], struct err *err)
{
    char path[64];
    size_t i;
    json_t *row, *answer = NULL;
    snprintf(path, sizeof path, "/retention?limit=1000&cursor=%s", cursor);
    const int result = client_request(settings, "GET", path, NULL, &answer, err);
    if (result != 0) {
        fprintf(stderr, "tokenfate: %s%s\n", result > 0 ? "no server runs here: " : "",
                err->message);
        return -1;
    }
    const json_t *rows = json_object_get(answer, "retention");
    json_array_foreach(rows, i, row)
    {
        retention_print(row);
    }
    const int n = (int)json_array_size(rows);
    snprintf(cursor, 24, "%s", retention_text(answer, "next"));
    json_decref(answer);
    return n;
}

int retention_command(const struct settings *settings, int argc, char **argv)
{
    struct err err = ERR_INIT;
    char cursor[24] = "0";
    int total = 0;
    (void)argv;
    if (argc != 0) {
        fprintf(stderr, "usage: tokenfate retention\n");
        return 2;
    }
    while (*cursor) {
        const int n = retention_page(settings, cursor, &err);
        if (n < 0)
            return 1;
        total += n;
    }
    if (!total)
        printf("Nothing is to go.\n");
    return 0;
}
