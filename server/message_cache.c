/* message_cache: see message_cache.h. A ring of the last messages and a ring of
 * the layouts (group names) of the last jobs. */
#include "server/message_cache.h"

#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "server/group_names.h"
#include "server/stream.h"

struct cached_message {
    int64_t id, first, next;
    char *text;
    size_t n;
};

struct cached_layout {
    char job[DB_ID_MAX];
    struct group_names names;
};

struct message_cache {
    struct db_reader *reader;
    struct cached_message messages[STREAM_CACHED];
    struct cached_layout layouts[STREAM_LAYOUTS];
    unsigned next_message, next_layout;
};

struct message_cache *message_cache_new(struct db_reader *reader)
{
    struct message_cache *cache = calloc(1, sizeof *cache);
    if (cache)
        cache->reader = reader;
    return cache;
}

void message_cache_free(struct message_cache *cache)
{
    if (!cache)
        return;
    for (int i = 0; i < STREAM_CACHED; i++)
        free(cache->messages[i].text);
    for (int i = 0; i < STREAM_LAYOUTS; i++)
        group_names_free(&cache->layouts[i].names);
    free(cache);
}

/* Group names of a job; NULL with ERR_NOT_FOUND when it is gone. */
static const struct group_names *message_layout(struct message_cache *cache, const char *id,
                                                struct err *err)
{
    for (int i = 0; i < STREAM_LAYOUTS; i++)
        if (strcmp(cache->layouts[i].job, id) == 0)
            return &cache->layouts[i].names;
    struct job *job = NULL;
    struct group_names names;
    if (job_get(cache->reader, id, &job, err))
        return NULL;
    int failed = group_names_split(job->group_names, &names, err);
    job_free(job);
    if (failed)
        return NULL;
    struct cached_layout *layout = &cache->layouts[cache->next_layout++ % STREAM_LAYOUTS];
    group_names_free(&layout->names);
    snprintf(layout->job, sizeof layout->job, "%s", id);
    layout->names = names;
    return &layout->names;
}

struct message_writer {
    FILE *out;
    const char *job;
    const struct group_names *names;
    int64_t from, to; /* epochs written */
    int n;
};

static int message_record(void *self, int64_t epoch, const double *values, int n_values,
                          const float *tokens, int n_tokens)
{
    struct message_writer *writer = self;
    (void)n_values, (void)tokens, (void)n_tokens;
    if (writer->n++)
        putc(',', writer->out);
    else
        writer->from = epoch;
    writer->to = epoch;
    record_print_json(writer->out, writer->job, epoch, values, writer->names->n,
                      writer->names->name);
    return 0;
}

/* {"job","from","to","records":[...]}: from and to stand behind the records,
 * because a record that is gone shortens the range. */
static int message_print_epochs(struct message_cache *cache, const struct event *event,
                                int64_t first, int64_t last, char **text, size_t *n,
                                struct err *err)
{
    struct message_writer writer = {.job = event->job};
    if (!(writer.names = message_layout(cache, event->job, err)))
        return -1;
    if (!(writer.out = open_memstream(text, n)))
        return err_set(err, ERR_NO_MEMORY, "no memory for an event");
    fprintf(writer.out, "event: epoch\ndata: {\"job\":\"%s\",\"records\":[", event->job);
    int failed = epochs_read(cache->reader, event->job, first, last, message_record, &writer, err);
    fprintf(writer.out, "],\"from\":%lld,\"to\":%lld}\n", (long long)writer.from,
            (long long)writer.to);
    if (fclose(writer.out) != 0 && !failed)
        failed = err_set(err, ERR_NO_MEMORY, "no memory for an event");
    if (failed || !writer.n) {
        free(*text);
        *text = NULL;
        *n = 0;
    }
    return failed ? -1 : 0;
}

static int message_print_data(const struct event *event, char **text, size_t *n, struct err *err)
{
    int length =
        asprintf(text, "event: %s\ndata: %s\n", event->type, event->data ? event->data : "{}");
    if (length < 0)
        return err_set(err, ERR_NO_MEMORY, "no memory for an event");
    *n = (size_t)length;
    return 0;
}

int message_cache_get(struct message_cache *cache, const struct event *event, int64_t first,
                      const char **text, size_t *n, int64_t *next, struct err *err)
{
    struct cached_message message = {.id = event->id, .first = first};
    for (int i = 0; i < STREAM_CACHED; i++)
        if (cache->messages[i].id == event->id && cache->messages[i].first == first) {
            *text = cache->messages[i].text;
            *n = cache->messages[i].n;
            *next = cache->messages[i].next;
            return 0;
        }
    int failed;
    if (strcmp(event->type, "epoch") == 0) {
        int64_t from = first > event->from ? first : event->from;
        int64_t last = from + STREAM_RECORDS - 1;
        if (last < event->to)
            message.next = last + 1;
        failed = message_print_epochs(cache, event, from, message.next ? last : event->to,
                                      &message.text, &message.n, err);
    } else {
        failed = message_print_data(event, &message.text, &message.n, err);
    }
    if (failed && err->code != ERR_NOT_FOUND)
        return -1;
    struct cached_message *slot = &cache->messages[cache->next_message++ % STREAM_CACHED];
    free(slot->text);
    *slot = message;
    *text = slot->text;
    *n = slot->n;
    *next = slot->next;
    return 0;
}
