/* history: GET /jobs/{id}/history, in the order of the changes, and GET /history, newest
 * first, for administrators. The route table calls both on pool threads. */
#include "server/api/history.h"

#include <string.h>

#include "db/history.h"
#include "db/jobs.h"
#include "server/api/job_json.h"

enum { HISTORY_DEFAULT = 200, HISTORY_MAX = 1000 };

struct history_writer {
    struct emit *json;
    const struct history_filter *filter;
    int n;
    int64_t last; /* written */
    int more;     /* there is one that the page does not hold */
};

static int history_write(void *self, const struct history *entry)
{
    struct history_writer *writer = self;
    struct emit *json = writer->json;
    if (++writer->n >= writer->filter->limit) {
        writer->more = 1;
        return 1;
    }
    writer->last = entry->seq;
    emit_object(json, NULL);
    emit_time(json, "time", entry->time);
    emit_text(json, "actor", entry->actor);
    if (writer->filter->newest_first) { /* of everything: which object */
        emit_text(json, "kind", entry->kind);
        emit_text(json, "object", entry->object);
    }
    emit_text(json, "action", entry->action);
    emit_text(json, "from", entry->from);
    emit_text(json, "to", entry->to);
    emit_text(json, "detail", entry->detail);
    emit_end(json);
    return 0;
}

/* filter->limit is one above the page: that entry tells whether a next page exists. */
static enum request_result history_answer(struct request *request,
                                          const struct history_filter *filter)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    struct history_writer writer = {.json = &buffer.json, .filter = filter};
    emit_object(&buffer.json, NULL);
    emit_array(&buffer.json, "history");
    if (history_read(request->reader, filter, history_write, &writer, &request->err))
        return request_close_fail(request, &buffer, &request->err);
    emit_end(&buffer.json);
    job_json_emit_next(&buffer.json, writer.more ? writer.last : 0);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

static int history_page(struct request *request, struct history_filter *filter)
{
    int64_t limit = HISTORY_DEFAULT;
    request_query_int(request, "limit", 1, HISTORY_MAX, HISTORY_DEFAULT, &limit, &request->err);
    request_query_int(request, "cursor", 1, INT64_MAX, 0, &filter->cursor, &request->err);
    filter->limit = (int)limit + 1;
    return request->err.n_fields ? -1 : 0;
}

enum request_result api_job_history(struct request *request)
{
    struct job *job = NULL;
    struct history_filter filter = {.kind = "job", .object = request->params[0]};
    if (history_page(request, &filter) ||
        job_get(request->reader, filter.object, &job, &request->err))
        return request_fail(request, &request->err);
    job_free(job);
    return history_answer(request, &filter);
}

enum request_result api_history(struct request *request)
{
    struct history_filter filter = {.kind = request_query(request, "kind"),
                                    .object = request_query(request, "object"),
                                    .actor = request_query(request, "actor"),
                                    .newest_first = 1};
    if (filter.kind && strcmp(filter.kind, "job") != 0 && strcmp(filter.kind, "text") != 0 &&
        strcmp(filter.kind, "user") != 0 && strcmp(filter.kind, "queue") != 0)
        err_field(&request->err, "kind", "\"%.40s\" is not job, text, user or queue", filter.kind);
    if (history_page(request, &filter))
        return request_fail(request, &request->err);
    return history_answer(request, &filter);
}
