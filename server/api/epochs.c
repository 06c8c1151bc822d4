/* epochs: GET /jobs/{id}/epochs. The records of a job, as JSON or CSV, in pages of at most
 * EPOCHS_PER_ANSWER; `next` and a Link header say where the next page starts. With points=
 * or series= api_series answers instead.
 *
 * The route table calls api_epochs on a pool thread with that thread's database reader.
 * Each request owns its struct epochs_page. Records stream from the database into the
 * answer's file, so memory does not grow with the page. */
#include "server/api/epochs.h"

#include <string.h>

#include "config/emit.h"
#include "config/record.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "server/api/series.h"
#include "server/group_names.h"
#include "server/http/csv.h"
#include "server/http/large_reply.h"

enum { EPOCHS_PER_ANSWER = 20000 }; /* some 50 MB of JSON, on disk (large_reply.h) */

struct epochs_page {
    FILE *out;
    struct emit json; /* on out */
    const char *job;
    struct group_names names;
    int csv;
    int64_t from, to, limit; /* as the client asked */
    int64_t n, last;         /* records written, epoch of the last of them */
};

static int epochs_print(void *self, int64_t epoch, const double *values, int n_values,
                        const float *tokens, int n_tokens)
{
    struct epochs_page *page = self;
    (void)n_values, (void)tokens, (void)n_tokens;
    if (page->csv)
        record_print_csv(page->out, epoch, values, page->names.n);
    else
        record_emit(&page->json, page->job, epoch, values, page->names.n, page->names.name);
    page->n++;
    page->last = epoch;
    return page->n == page->limit;
}

static void epochs_link(struct request *request, const struct epochs_page *page, int64_t next)
{
    char link[256];
    snprintf(link, sizeof link,
             "</api/v1/jobs/%.40s/epochs?from=%lld&to=%lld&limit=%lld&format=%s>; rel=\"next\"",
             page->job, (long long)next, (long long)page->to, (long long)page->limit,
             page->csv ? "csv" : "json");
    request_header(request, MHD_HTTP_HEADER_LINK, link);
}

static void epochs_begin(struct epochs_page *page)
{
    if (page->csv) {
        record_print_csv_header(page->out, page->names.n, page->names.name);
        return;
    }
    emit_open(&page->json, page->out, EMIT_LINES);
    emit_object(&page->json, NULL);
    emit_array(&page->json, "epochs");
}

/* CSV has no end; its next page is in the Link header. */
static void epochs_end(struct epochs_page *page, int more)
{
    if (page->csv)
        return;
    emit_end(&page->json);
    if (more)
        emit_integer(&page->json, "next", page->last + 1);
    else
        emit_null(&page->json, "next");
    emit_end(&page->json);
}

static enum request_result epochs_answer(struct request *request, struct epochs_page *page,
                                         const struct job *job)
{
    struct err *err = &request->err;
    int64_t last = page->to < job->epoch ? page->to : job->epoch;
    int64_t n = last - page->from + 1 < page->limit ? last - page->from + 1 : page->limit;
    if (!(page->out = large_reply_open(
              request, n * record_size(page->names.n) * LARGE_REPLY_NUMBER_BYTES, err)))
        return request_fail(request, err);
    epochs_begin(page);
    if (epochs_read(request->reader, page->job, page->from, page->to, epochs_print, page, err)) {
        fclose(page->out);
        return request_fail(request, err);
    }
    int more = page->n == page->limit && page->last < page->to && page->last < job->epoch;
    epochs_end(page, more);
    large_reply_send(request, page->out, page->csv ? CSV_TYPE : MEDIA_JSON);
    csv_vary(request);
    if (more)
        epochs_link(request, page, page->last + 1);
    return REQUEST_DONE;
}

static int epochs_query(struct request *request, struct epochs_page *page, struct err *err)
{
    request_query_int(request, "from", 0, SPEC_EPOCHS_MAX, 0, &page->from, err);
    request_query_int(request, "to", 0, SPEC_EPOCHS_MAX, SPEC_EPOCHS_MAX, &page->to, err);
    request_query_int(request, "limit", 1, EPOCHS_PER_ANSWER, EPOCHS_PER_ANSWER, &page->limit, err);
    csv_wanted(request, &page->csv, err);
    return err->n_fields ? -1 : 0;
}

/* Curves exist as JSON only, and have points instead of pages of records. */
static int epochs_check_curves(struct request *request, struct err *err)
{
    const char *format = request_query(request, "format");
    if (format && strcmp(format, "json") != 0)
        err_field(err, "format", "\"%.40s\": curves (points, series) are json only", format);
    if (request_query(request, "limit"))
        err_field(err, "limit", "goes with records, not with curves (points, series)");
    return err->n_fields ? -1 : 0;
}

enum request_result api_epochs(struct request *request)
{
    struct epochs_page page = {.job = request->params[0]};
    struct job *job = NULL;
    enum request_result result = REQUEST_DONE;
    if (job_get(request->reader, request->params[0], &job, &request->err))
        return request_fail(request, &request->err);
    if (request_query(request, "points") || request_query(request, "series"))
        result = epochs_check_curves(request, &request->err) ? request_fail(request, &request->err)
                                                             : api_series(request, job);
    else if (epochs_query(request, &page, &request->err) ||
             group_names_split(job->group_names, &page.names, &request->err))
        result = request_fail(request, &request->err);
    else
        result = epochs_answer(request, &page, job);
    group_names_free(&page.names);
    job_free(job);
    return result;
}
