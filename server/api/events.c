/* events: GET /events: reads the position and the filter of a request and hands it to the
 * hub, which answers with the stream. Runs on the HTTP thread. */
#include "server/api/events.h"

#include <stdio.h>
#include <string.h>
#include <uuid/uuid.h>

#include "server/events/hub.h"

/* Checks a list of job ids, at most HUB_JOBS_MAX. The jobs need not exist yet. */
static int events_check_jobs(const char *jobs, struct err *err)
{
    char id[DB_ID_MAX];
    uuid_t uuid;
    int n = 0;
    for (const char *at = jobs; *at; n++) {
        size_t length = strcspn(at, ",");
        snprintf(id, sizeof id, "%.*s", (int)(length < sizeof id ? length : sizeof id - 1), at);
        if (length != sizeof id - 1 || uuid_parse(id, uuid))
            return err_field(err, "jobs", "\"%.60s\" is not a list of job ids", jobs);
        at += length + (at[length] == ',');
    }
    if (n > HUB_JOBS_MAX)
        return err_field(err, "jobs", "%d ids, at most %d are possible", n, HUB_JOBS_MAX);
    return 0;
}

enum request_result api_events(struct request *request)
{
    struct stream_position position;
    struct err *err = &request->err;
    const char *jobs = request_query(request, "jobs");
    const char *last = request_head(request, "Last-Event-ID");
    /* A browser that reconnects repeats its address, so the header is the newer position. */
    const char *after = last ? last : request_query(request, "after");
    if (jobs && !*jobs)
        jobs = NULL;
    if (jobs)
        events_check_jobs(jobs, err);
    if (after)
        stream_position_parse(after, last ? "Last-Event-ID" : "after", &position, err);
    if (!err->n_fields && request_is(request, "HEAD"))
        return request_reply_head(request, "text/event-stream");
    if (err->n_fields ||
        hub_open_stream(request->server->hub, request, after ? &position : NULL, jobs, err))
        return request_fail(request, err);
    return REQUEST_DONE;
}
