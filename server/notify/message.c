/* message: see message.h. */
#include "server/notify/message.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* "3 succeeded, 1 failed" */
static void write_counts(FILE *out, json_t *counts)
{
    const char *state, *between = "";
    json_t *n;
    json_object_foreach(counts, state, n)
    {
        fprintf(out, "%s%lld %s", between, (long long)json_integer_value(n), state);
        between = ", ";
    }
}

static void write_job(FILE *out, const json_t *job, const char *event)
{
    const json_t *loss = json_object_get(job, "loss"), *epoch = json_object_get(job, "epoch");
    const char *waits = text_of(json_object_get(job, "waits"), "message");
    fprintf(out, "%s (%s) %s%s", text_of(job, "name"), text_of(job, "user"),
            strcmp(event, "held") == 0 ? "is " : "", event);
    if (json_is_integer(epoch))
        fprintf(out, " at epoch %lld of %lld", (long long)json_integer_value(epoch),
                (long long)json_integer_value(json_object_get(job, "epochs")));
    if (json_is_real(loss))
        fprintf(out, ", loss %.4g", json_real_value(loss));
    if (strcmp(event, "failed") == 0)
        fprintf(out, ": %s", text_of(json_object_get(job, "error"), "message"));
    else if (strcmp(event, "held") == 0 && *waits)
        fprintf(out, ": %s", waits);
}

/* One sentence (malloc); NULL without memory. */
static char *write_sentence(const json_t *message)
{
    char *text = NULL;
    size_t n = 0;
    const json_t *sweep = json_object_get(message, "sweep");
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    if (sweep) {
        fprintf(out, "sweep %s (%s): ", text_of(sweep, "name"), text_of(sweep, "user"));
        write_counts(out, json_object_get(sweep, "jobs"));
    } else {
        write_job(out, json_object_get(message, "job"), text_of(message, "event"));
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/* Slack reads these three as markup. https://api.slack.com/reference/surfaces/formatting */
static char *escape_slack(const char *sentence)
{
    static const char marks[] = "&<>";
    static const char *const escapes[] = {"&amp;", "&lt;", "&gt;"};
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    for (; *sentence; sentence++) {
        const char *mark = strchr(marks, *sentence);
        if (mark)
            fputs(escapes[mark - marks], out);
        else
            putc(*sentence, out);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static char *write_slack(const char *sentence)
{
    struct emit json;
    char *escaped = escape_slack(sentence), *body = NULL;
    if (escaped && !emit_open_text(&json)) {
        emit_object(&json, NULL);
        emit_text(&json, "text", escaped);
        emit_end(&json);
        body = emit_close_text(&json);
    }
    free(escaped);
    return body;
}

/* Titles of ntfy by event. */
static const char *title_of(const char *event)
{
    return strcmp(event, "succeeded") == 0 ? "tokenfate: succeeded"
           : strcmp(event, "failed") == 0  ? "tokenfate: failed"
                                           : "tokenfate: held";
}

int notify_message_write(enum notify_format format, const char *json, struct notify_message *out,
                         struct err *err)
{
    struct notify_message message = {.type = "application/json"};
    json_t *stored = json_loads(json, 0, NULL);
    char *sentence = stored && format != NOTIFY_JSON ? write_sentence(stored) : NULL;
    if (format == NOTIFY_JSON) {
        message.body = strdup(json);
    } else if (sentence && format == NOTIFY_SLACK) {
        message.body = write_slack(sentence);
    } else if (sentence) {
        message.body = strdup(sentence);
        message.type = "text/plain; charset=utf-8";
        message.title = title_of(text_of(stored, "event"));
    }
    free(sentence);
    json_decref(stored);
    if (!message.body)
        return err_set(err, ERR_NO_MEMORY, "no memory for a message");
    *out = message;
    return 0;
}
