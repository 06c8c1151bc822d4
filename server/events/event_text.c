/* event_text: see event_text.h. Two caches, both rings that replace the oldest entry: texts,
 * keyed by event and first epoch, and layouts (group names), keyed by job. An entry never
 * becomes wrong: an event and the group names of a job do not change. */
#include "server/events/event_text.h"

#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/record.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "server/group_names.h"

struct kept_text {
    int64_t id, first, next;
    char *text;
    size_t n;
};

struct kept_layout {
    char job[DB_ID_MAX];
    struct group_names names;
};

struct event_texts {
    struct db_reader *reader;
    struct kept_text kept[EVENT_TEXT_KEPT];
    struct kept_layout layouts[EVENT_TEXT_LAYOUTS];
    unsigned next_kept, next_layout;
};

struct event_texts *event_texts_new(struct db_reader *reader)
{
    struct event_texts *texts = calloc(1, sizeof *texts);
    if (texts)
        texts->reader = reader;
    return texts;
}

void event_texts_free(struct event_texts *texts)
{
    if (!texts)
        return;
    for (int i = 0; i < EVENT_TEXT_KEPT; i++)
        free(texts->kept[i].text);
    for (int i = 0; i < EVENT_TEXT_LAYOUTS; i++)
        group_names_free(&texts->layouts[i].names);
    free(texts);
}

/* Group names of a job; NULL with ERR_NOT_FOUND if it was deleted. */
static const struct group_names *event_texts_layout(struct event_texts *texts, const char *id,
                                                    struct err *err)
{
    for (int i = 0; i < EVENT_TEXT_LAYOUTS; i++)
        if (strcmp(texts->layouts[i].job, id) == 0)
            return &texts->layouts[i].names;
    struct job *job = NULL;
    struct group_names names;
    if (job_get(texts->reader, id, &job, err))
        return NULL;
    int failed = group_names_split(job->group_names, &names, err);
    job_free(job);
    if (failed)
        return NULL;
    struct kept_layout *layout = &texts->layouts[texts->next_layout++ % EVENT_TEXT_LAYOUTS];
    group_names_free(&layout->names);
    snprintf(layout->job, sizeof layout->job, "%s", id);
    layout->names = names;
    return &layout->names;
}

struct epochs_writer {
    struct emit json;
    const char *job;
    const struct group_names *names;
    int64_t from, to; /* first and last epoch written */
    int n;            /* records written */
};

static int event_texts_record(void *self, int64_t epoch, const double *values, int n_values,
                              const float *tokens, int n_tokens)
{
    struct epochs_writer *writer = self;
    (void)n_values, (void)tokens, (void)n_tokens;
    if (!writer->n++)
        writer->from = epoch;
    writer->to = epoch;
    record_emit(&writer->json, writer->job, epoch, values, writer->names->n, writer->names->name);
    return 0;
}

/* Lines `event: epoch` and `data: {"job", "records", "from", "to"}`. from and to follow the
 * records, because they are known only then: a deleted record shortens the range. */
static int event_texts_write(struct event_texts *texts, struct epochs_writer *writer, int64_t first,
                             int64_t last, struct err *err)
{
    struct emit *json = &writer->json;
    fputs("event: epoch\ndata: ", json->out);
    emit_object(json, NULL);
    emit_text(json, "job", writer->job);
    emit_array(json, "records");
    int failed =
        epochs_read(texts->reader, writer->job, first, last, event_texts_record, writer, err);
    emit_end(json);
    emit_integer(json, "from", writer->from);
    emit_integer(json, "to", writer->to);
    emit_end(json);
    putc('\n', json->out);
    return failed;
}

static int event_texts_epochs(struct event_texts *texts, const struct event *event, int64_t first,
                              int64_t last, char **text, size_t *n, struct err *err)
{
    struct epochs_writer writer = {.job = event->job};
    if (!(writer.names = event_texts_layout(texts, event->job, err)))
        return -1;
    FILE *out = open_memstream(text, n);
    if (!out)
        return err_set(err, ERR_NO_MEMORY, "no memory for an event");
    emit_open(&writer.json, out, EMIT_COMPACT);
    int failed = event_texts_write(texts, &writer, first, last, err);
    if (fclose(out) != 0 && !failed)
        failed = err_set(err, ERR_NO_MEMORY, "no memory for an event");
    if (failed || !writer.n) {
        free(*text);
        *text = NULL;
        *n = 0;
    }
    return failed ? -1 : 0;
}

/* Lines of a `job` or `device` event: its stored JSON as it is. */
static int event_texts_data(const struct event *event, char **text, size_t *n, struct err *err)
{
    int length =
        asprintf(text, "event: %s\ndata: %s\n", event->type, event->data ? event->data : "{}");
    if (length < 0)
        return err_set(err, ERR_NO_MEMORY, "no memory for an event");
    *n = (size_t)length;
    return 0;
}

int event_texts_get(struct event_texts *texts, const struct event *event, int64_t first,
                    const char **text, size_t *n, int64_t *next, struct err *err)
{
    struct kept_text made = {.id = event->id, .first = first};
    for (int i = 0; i < EVENT_TEXT_KEPT; i++)
        if (texts->kept[i].id == event->id && texts->kept[i].first == first) {
            *text = texts->kept[i].text;
            *n = texts->kept[i].n;
            *next = texts->kept[i].next;
            return 0;
        }
    int failed;
    if (strcmp(event->type, "epoch") == 0) {
        int64_t from = first > event->from ? first : event->from;
        int64_t last = from + EVENT_TEXT_RECORDS - 1;
        if (last < event->to)
            made.next = last + 1;
        failed = event_texts_epochs(texts, event, from, made.next ? last : event->to, &made.text,
                                    &made.n, err);
    } else {
        failed = event_texts_data(event, &made.text, &made.n, err);
    }
    if (failed && err->code != ERR_NOT_FOUND)
        return -1;
    struct kept_text *slot = &texts->kept[texts->next_kept++ % EVENT_TEXT_KEPT];
    free(slot->text);
    *slot = made;
    *text = slot->text;
    *n = slot->n;
    *next = slot->next;
    return 0;
}
