/* usage: see usage.h. One read gives the rows of a page, another the sums of the whole period. The
 * database gives a row for each group and device; a group begins with the first of its rows. */
#include "server/api/usage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/clock.h"
#include "db/usage.h"
#include "server/api/job_json.h"
#include "server/http/csv.h"

enum {
    USAGE_DAYS = 30,        /* until today, if no day is named */
    USAGE_DEFAULT = 100,    /* groups of a page */
    USAGE_MAX = 10000,      /* 3 MB of JSON */
    USAGE_DEVICES_MAX = 64, /* columns of CSV; further devices are in the sum alone */
    USAGE_DAY_BYTES = 16    /* "2026-01-31" and its zero */
};

static const char *const by_names[] = {
    [USAGE_USER] = "user", [USAGE_JOB] = "job", [USAGE_DAY] = "day"};

/* ---- the question ---- */

static void day_text(int64_t day, char text[USAGE_DAY_BYTES])
{
    struct tm utc;
    const time_t seconds = (time_t)day * 86400;
    strftime(text, USAGE_DAY_BYTES, "%Y-%m-%d", gmtime_r(&seconds, &utc));
}

/* A day as "2026-01-31"; `fallback` without the parameter. */
static int64_t query_day(struct request *request, const char *name, int64_t fallback)
{
    char text[USAGE_DAY_BYTES + 16], again[USAGE_DAY_BYTES] = "";
    int64_t time = 0;
    const char *value = request_query(request, name);
    if (!value)
        return fallback;
    snprintf(text, sizeof text, "%.20sT00:00:00Z", value);
    if (clock_parse(text, &time) == 0)
        day_text(usage_day(time), again);
    if (strcmp(again, value) != 0)
        err_field(&request->err, name, "\"%.40s\" is no day like 2026-01-31 (UTC)", value);
    return usage_day(time);
}

static enum usage_by query_by(struct request *request)
{
    const char *by = request_query(request, "by");
    for (int i = 0; by && i < USAGE_ALL; i++)
        if (strcmp(by, by_names[i]) == 0)
            return (enum usage_by)i;
    if (by)
        err_field(&request->err, "by", "\"%.40s\" is not user, job or day", by);
    return USAGE_USER;
}

static int usage_query(struct request *request, struct usage_filter *filter, int *csv)
{
    const int64_t today = usage_day(db_now());
    struct err *err = &request->err;
    filter->by = query_by(request);
    filter->user = request_query(request, "user");
    filter->until = query_day(request, "until", today);
    filter->since = query_day(request, "since", filter->until - USAGE_DAYS + 1);
    request_query_int(request, "limit", 1, USAGE_MAX, USAGE_DEFAULT, &filter->limit, err);
    request_query_int(request, "cursor", 0, INT32_MAX, 0, &filter->skip, err);
    csv_wanted(request, csv, err);
    if (!err->n_fields && filter->since > filter->until)
        err_field(err, "since", "it is after until");
    return err->n_fields ? -1 : 0;
}

/* ---- JSON ---- */

struct usage_writer {
    struct emit *json;
    FILE *csv;
    const struct usage_filter *filter;
    int64_t n;   /* groups seen: one more than the page has tells that there is a next one */
    int is_open; /* a group is being written */
    int n_devices;
    char devices[USAGE_DEVICES_MAX][DB_DEVICE_MAX]; /* of CSV */
    double seconds[USAGE_DEVICES_MAX];              /* of the open group */
    struct usage group;                             /* the open one: its numbers alone */
};

static void emit_null_or_text(struct emit *json, const char *key, const char *text)
{
    emit_text(json, key, text && *text ? text : NULL);
}

static void write_sums(struct emit *json, const struct usage *usage)
{
    emit_number(json, "device_seconds", (double)usage->total_ms / 1e3);
    emit_integer(json, "jobs", usage->jobs);
    emit_integer(json, "succeeded", usage->succeeded);
    emit_integer(json, "failed", usage->failed);
    emit_integer(json, "cancelled", usage->cancelled);
    if (usage->stored_bytes < 0)
        emit_null(json, "stored_bytes");
    else
        emit_integer(json, "stored_bytes", usage->stored_bytes);
    emit_array(json, "devices");
}

static void write_key(struct emit *json, enum usage_by by, const struct usage *usage)
{
    char day[USAGE_DAY_BYTES];
    if (by == USAGE_DAY) {
        day_text(usage->day, day);
        emit_text(json, "day", day);
    } else if (by != USAGE_ALL) {
        emit_null_or_text(json, by_names[by], usage->key);
    }
    if (by == USAGE_JOB) {
        emit_text(json, "name", usage->name);
        emit_text(json, "user", usage->user);
        emit_text(json, "state", usage->state);
    }
}

static void close_group(struct usage_writer *writer)
{
    if (!writer->is_open)
        return;
    emit_end(writer->json);
    emit_end(writer->json);
    writer->is_open = 0;
}

/* The kind of a device is the part of its id before a colon. */
static void write_device(struct emit *json, const struct usage *usage)
{
    char kind[DB_DEVICE_MAX];
    snprintf(kind, sizeof kind, "%.*s", (int)strcspn(usage->device, ":"), usage->device);
    emit_object(json, NULL);
    emit_text(json, "device", usage->device);
    emit_text(json, "kind", kind);
    emit_number(json, "device_seconds", (double)usage->device_ms / 1e3);
    emit_end(json);
}

static int write_row(void *self, const struct usage *usage)
{
    struct usage_writer *writer = self;
    const enum usage_by by = writer->filter->by;
    if (usage->is_first) {
        close_group(writer);
        if (++writer->n >= writer->filter->limit)
            return 1;
        emit_object(writer->json, by == USAGE_ALL ? "total" : NULL);
        write_key(writer->json, by, usage);
        write_sums(writer->json, usage);
        writer->is_open = 1;
    }
    if (usage->device)
        write_device(writer->json, usage);
    return 0;
}

/* filter->limit is one above the page. */
static int write_json(struct request *request, const struct usage_filter *filter, struct emit *json)
{
    char day[USAGE_DAY_BYTES];
    struct usage_writer writer = {.json = json, .filter = filter};
    const struct usage_filter whole = {.by = USAGE_ALL,
                                       .since = filter->since,
                                       .until = filter->until,
                                       .user = filter->user,
                                       .limit = 2};
    struct usage_writer total = {.json = json, .filter = &whole};
    emit_object(json, NULL);
    emit_text(json, "by", by_names[filter->by]);
    day_text(filter->since, day);
    emit_text(json, "since", day);
    day_text(filter->until, day);
    emit_text(json, "until", day);
    emit_array(json, "usage");
    if (usage_read(request->reader, filter, write_row, &writer, &request->err))
        return -1;
    close_group(&writer);
    emit_end(json);
    if (usage_read(request->reader, &whole, write_row, &total, &request->err))
        return -1;
    close_group(&total);
    job_json_emit_next(json, writer.n >= filter->limit ? filter->skip + filter->limit - 1 : 0);
    emit_end(json);
    return 0;
}

/* ---- CSV ---- */

static int csv_device(void *self, const char *device)
{
    struct usage_writer *writer = self;
    snprintf(writer->devices[writer->n_devices++], DB_DEVICE_MAX, "%s", device);
    return writer->n_devices == USAGE_DEVICES_MAX;
}

/* A text as a cell (RFC 4180). */
static void csv_text(FILE *out, const char *text)
{
    putc('"', out);
    for (; text && *text; text++) {
        if (*text == '"')
            putc('"', out);
        putc(*text, out);
    }
    putc('"', out);
}

static void csv_head(const struct usage_writer *writer)
{
    fputs(by_names[writer->filter->by], writer->csv);
    if (writer->filter->by == USAGE_JOB)
        fputs(",name,user,state", writer->csv);
    fputs(",device_seconds,jobs,succeeded,failed,cancelled,stored_bytes", writer->csv);
    for (int i = 0; i < writer->n_devices; i++)
        fprintf(writer->csv, ",%s", writer->devices[i]);
    fputs("\r\n", writer->csv);
}

static void csv_key(FILE *out, enum usage_by by, const struct usage *usage)
{
    char day[USAGE_DAY_BYTES];
    if (by == USAGE_DAY)
        day_text(usage->day, day);
    fputs(by == USAGE_DAY ? day : usage->key, out);
    if (by == USAGE_JOB) {
        putc(',', out);
        csv_text(out, usage->name);
        fprintf(out, ",%s,%s", usage->user ? usage->user : "", usage->state ? usage->state : "");
    }
}

/* The cells of a group's devices follow its own, so they wait for its last row. */
static void csv_close(struct usage_writer *writer)
{
    if (!writer->is_open)
        return;
    for (int i = 0; i < writer->n_devices; i++)
        csv_write_number(writer->csv, writer->seconds[i]);
    fputs("\r\n", writer->csv);
    memset(writer->seconds, 0, sizeof writer->seconds);
    writer->is_open = 0;
}

static void csv_open(struct usage_writer *writer, const struct usage *usage)
{
    FILE *out = writer->csv;
    const double numbers[] = {
        (double)usage->total_ms / 1e3, (double)usage->jobs,
        (double)usage->succeeded,      (double)usage->failed,
        (double)usage->cancelled,      usage->stored_bytes < 0 ? NAN : (double)usage->stored_bytes};
    csv_key(out, writer->filter->by, usage);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        csv_write_number(out, numbers[i]);
    writer->is_open = 1;
}

static int csv_row(void *self, const struct usage *usage)
{
    struct usage_writer *writer = self;
    if (usage->is_first) {
        csv_close(writer);
        if (++writer->n >= writer->filter->limit)
            return 1;
        csv_open(writer, usage);
    }
    for (int i = 0; usage->device && i < writer->n_devices; i++)
        if (strcmp(writer->devices[i], usage->device) == 0)
            writer->seconds[i] = (double)usage->device_ms / 1e3;
    return 0;
}

static int write_csv(struct request *request, const struct usage_filter *filter, FILE *out,
                     int *more)
{
    struct usage_writer writer = {.csv = out, .filter = filter};
    if (usage_devices(request->reader, filter, csv_device, &writer, &request->err))
        return -1;
    csv_head(&writer);
    if (usage_read(request->reader, filter, csv_row, &writer, &request->err))
        return -1;
    csv_close(&writer);
    *more = writer.n >= filter->limit;
    return 0;
}

/* ---- the answer ---- */

/* CSV has no end; its next page is in the Link header. Names of users need no escape. */
static void write_link(struct request *request, const struct usage_filter *filter)
{
    char link[256], since[USAGE_DAY_BYTES], until[USAGE_DAY_BYTES];
    day_text(filter->since, since);
    day_text(filter->until, until);
    snprintf(link, sizeof link,
             "<?by=%s&since=%s&until=%s%s%s&limit=%lld&cursor=%lld&format=csv>; rel=\"next\"",
             by_names[filter->by], since, until, filter->user ? "&user=" : "",
             filter->user ? filter->user : "", (long long)filter->limit - 1,
             (long long)(filter->skip + filter->limit - 1));
    request_header(request, MHD_HTTP_HEADER_LINK, link);
}

enum request_result api_usage(struct request *request)
{
    struct usage_filter filter = {0};
    struct request_buffer buffer;
    int csv = 0, more = 0;
    if (usage_query(request, &filter, &csv))
        return request_fail(request, &request->err);
    filter.limit++;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    if (csv ? write_csv(request, &filter, buffer.out, &more)
            : write_json(request, &filter, &buffer.json))
        return request_close_fail(request, &buffer, &request->err);
    const enum request_result result =
        request_close_reply(request, &buffer, 200, csv ? CSV_TYPE : MEDIA_JSON);
    csv_vary(request);
    if (more)
        write_link(request, &filter);
    return result;
}
