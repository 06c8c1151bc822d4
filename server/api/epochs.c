/* epochs: GET /jobs/{id}/epochs. The records of a job, as JSON or CSV, in pages of at most
 * EPOCHS_PER_ANSWER; `next` and a Link header say where the next page starts. With points=
 * or series= api_series answers instead.
 *
 * The route table calls api_epochs on a pool thread with that thread's database reader.
 * A page is written in pieces (large_reply.h), each from a read of its own, so neither memory
 * nor the life of a database snapshot grows with the page. The page's end is fixed when it
 * begins: an epoch that is stored later is in the next page. The answer owns its struct
 * epochs_page. */
#include "server/api/epochs.h"

#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/record.h"
#include "config/record_grid.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "server/api/series.h"
#include "server/group_names.h"
#include "server/http/csv.h"
#include "server/http/large_reply.h"

enum { EPOCHS_PER_ANSWER = 20000 }; /* some 90 MB of JSON */

struct epochs_page {
    struct large_reply *reply;
    struct emit json; /* on reply->out */
    char job[DB_ID_MAX];
    int attempt; /* of the job */
    struct group_names names;
    int csv;
    int64_t from, to, limit; /* as the client asked */
    int64_t next, last;      /* epoch to be written next; last epoch of the page */
    struct record_grid grid; /* of the job */
    int begun, more;         /* more: records follow after the page */
};

static void epochs_free(void *state)
{
    struct epochs_page *page = state;
    group_names_free(&page->names);
    free(page);
}

/* ---- pieces ---- */

/* Stops at a gap too: the records were deleted and are being written again. */
static int epochs_print(void *self, int64_t epoch, const double *values, int n_values,
                        const float *tokens, int n_tokens)
{
    struct epochs_page *page = self;
    (void)n_values, (void)tokens, (void)n_tokens;
    if (epoch != page->next)
        return 1;
    if (page->csv)
        record_print_csv(page->reply->out, epoch, values, page->names.n);
    else
        record_emit(&page->json, page->job, epoch, values, page->names.n, page->names.name);
    page->next = record_grid_from(page->grid, epoch + 1);
    return large_reply_is_full(page->reply);
}

static void epochs_begin(struct epochs_page *page)
{
    page->begun = 1;
    if (page->csv) {
        record_print_csv_header(page->reply->out, page->names.n, page->names.name);
        return;
    }
    emit_open(&page->json, page->reply->out, EMIT_LINES);
    emit_object(&page->json, NULL);
    emit_array(&page->json, "epochs");
}

/* CSV has no end; its next page is in the Link header. */
static void epochs_end(struct epochs_page *page)
{
    if (page->csv)
        return;
    emit_end(&page->json);
    if (page->more)
        emit_integer(&page->json, "next", page->last + 1);
    else
        emit_null(&page->json, "next");
    emit_end(&page->json);
}

/* Pieces of one answer come from one attempt of the job: a restart between two of them deletes
 * the records, and they may come back with other numbers. The check follows the read, because
 * the attempt changes in the transaction that deletes them. */
static int epochs_check_attempt(const struct epochs_page *page, struct db_reader *reader,
                                struct err *err)
{
    struct job *job = NULL;
    if (job_get(reader, page->job, &job, err))
        return -1;
    const int same = job->attempt == page->attempt;
    job_free(job);
    return same ? 0
                : err_set(err, ERR_CONFLICT, "job %s began anew while its epochs were read",
                          page->job);
}

static int epochs_write(void *state, struct large_reply *reply, struct err *err)
{
    struct epochs_page *page = state;
    struct db_reader *reader = reply->request->reader;
    page->reply = reply;
    if (!page->begun)
        epochs_begin(page);
    if (page->next <= page->last) {
        if (epochs_read(reader, page->job, page->next, page->last, epochs_print, page, err) ||
            epochs_check_attempt(page, reader, err))
            return -1;
        if (page->next <= page->last && !large_reply_is_full(reply))
            return err_set(err, ERR_CONFLICT, "job %s has no epoch %lld any more", page->job,
                           (long long)page->next);
    }
    if (page->next <= page->last)
        return 1;
    epochs_end(page);
    return 0;
}

/* ---- the answer ---- */

/* Text of the Link header; empty on the last page. */
static void epochs_link(const struct epochs_page *page, char *link, size_t n)
{
    link[0] = '\0';
    if (page->more)
        snprintf(link, n, "<?from=%lld&to=%lld&limit=%lld&format=%s>; rel=\"next\"",
                 (long long)page->last + 1, (long long)page->to, (long long)page->limit,
                 page->csv ? "csv" : "json");
}

/* The page is not touched after large_reply_start, which may have freed it. */
static enum request_result epochs_answer(struct request *request, struct epochs_page *page,
                                         const struct job *job)
{
    char link[256];
    strcpy(page->job, job->id);
    page->attempt = job->attempt;
    page->grid = (struct record_grid){job->record_every, job->epochs};
    page->next = record_grid_from(page->grid, page->from);
    page->last = page->to < job->epoch ? record_grid_to(page->grid, page->to) : job->epoch;
    if (page->next <= page->last &&
        record_grid_count(page->grid, page->last) - record_grid_count(page->grid, page->next) >=
            page->limit) {
        page->last = record_grid_ahead(page->grid, page->next, page->limit - 1);
        page->more = 1;
    }
    epochs_link(page, link, sizeof link);
    large_reply_start(request, page->csv ? CSV_TYPE : MEDIA_JSON, epochs_write, page, epochs_free);
    csv_vary(request);
    if (link[0] && request->status == 200)
        request_header(request, MHD_HTTP_HEADER_LINK, link);
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

static enum request_result epochs_records(struct request *request, const struct job *job)
{
    struct epochs_page *page = calloc(1, sizeof *page);
    if (!page) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a page of epochs");
        return request_fail(request, &request->err);
    }
    if (epochs_query(request, page, &request->err) ||
        group_names_split(job->group_names, &page->names, &request->err)) {
        epochs_free(page);
        return request_fail(request, &request->err);
    }
    return epochs_answer(request, page, job);
}

enum request_result api_epochs(struct request *request)
{
    struct job *job = NULL;
    if (job_get(request->reader, request->params[0], &job, &request->err))
        return request_fail(request, &request->err);
    if (!request_query(request, "points") && !request_query(request, "series"))
        epochs_records(request, job);
    else if (epochs_check_curves(request, &request->err))
        request_fail(request, &request->err);
    else
        api_series(request, job);
    job_free(job);
    return REQUEST_DONE;
}
