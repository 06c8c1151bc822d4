/* retention: see retention.h. */
#include "server/api/retention.h"

#include "db/retention.h"
#include "db/usage.h"
#include "server/api/job_json.h"

enum { RETENTION_DEFAULT = 100, RETENTION_MAX = 1000 };

struct retention_writer {
    struct emit *json;
    const struct retention_filter *filter;
    int64_t n; /* one more than the page has tells that there is a next one */
};

static int write_row(void *self, const struct retention_row *row)
{
    struct retention_writer *writer = self;
    struct emit *json = writer->json;
    if (++writer->n >= writer->filter->limit)
        return 1;
    emit_object(json, NULL);
    emit_text(json, "job", row->id);
    emit_text(json, "name", row->name);
    emit_text(json, "user", row->user);
    emit_text(json, "part", retention_part_name(row->item.part));
    emit_integer(json, "bytes", row->item.bytes);
    emit_time(json, "announced_at", row->announced_at);
    emit_time(json, "due_at", row->item.due);
    emit_end(json);
    return 0;
}

static void write_settings(struct emit *json, const struct settings *settings)
{
    emit_object(json, "settings");
    emit_integer(json, "keep_state_days", settings->keep_state_days);
    emit_integer(json, "keep_model_days", settings->keep_model_days);
    emit_integer(json, "keep_job_days", settings->keep_job_days);
    emit_integer(json, "keep_bytes", settings->keep_bytes);
    emit_integer(json, "notice_days", settings->notice_days);
    emit_end(json);
}

/* filter->limit is one above the page. */
static int write_answer(struct request *request, struct emit *json,
                        const struct retention_filter *filter)
{
    int64_t stored;
    struct retention_writer writer = {.json = json, .filter = filter};
    if (usage_total(request->reader, &stored, &request->err) < 0)
        return -1;
    emit_object(json, NULL);
    write_settings(json, &request->server->settings);
    emit_integer(json, "stored_bytes", stored);
    emit_array(json, "retention");
    if (retention_list(request->reader, filter, write_row, &writer, &request->err))
        return -1;
    emit_end(json);
    job_json_emit_next(json, writer.n >= filter->limit ? filter->skip + filter->limit - 1 : 0);
    emit_end(json);
    return 0;
}

enum request_result api_retention(struct request *request)
{
    struct retention_filter filter = {.user = request_query(request, "user"),
                                      .job = request_query(request, "job")};
    struct err *err = &request->err;
    struct request_buffer buffer;
    request_query_int(request, "limit", 1, RETENTION_MAX, RETENTION_DEFAULT, &filter.limit, err);
    request_query_int(request, "cursor", 0, INT32_MAX, 0, &filter.skip, err);
    if (err->n_fields)
        return request_fail(request, err);
    filter.limit++;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    if (write_answer(request, &buffer.json, &filter))
        return request_close_fail(request, &buffer, err);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}
