/* api_series: curves for charts: GET /jobs/{id}/epochs?points=N&series=...
 * The n epochs stored in [from, to] fall into N buckets, epoch number i of them
 * into bucket floor(i*N/n): the same question gets the same answer. Per bucket
 * its last epoch, and least, greatest and last value; values that are not finite
 * do not count, and a bucket without any has nulls. Pool. */
#include "server/api/series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "server/group_names.h"
#include "server/json.h"
#include "server/api/pointers.h"

enum { SERIES_MAX = 64, SERIES_POINTS_MAX = 10000, SERIES_POINTS_DEFAULT = 500 };

struct series_point {
    double min, max, last;
};

struct series {
    int n_series;
    char *text; /* pointers, cut apart */
    const char *pointer[SERIES_MAX];
    int index[SERIES_MAX];
    int64_t from, to, points, n; /* n: epochs stored in the range */
    int64_t *epoch;              /* [points] last epoch of each bucket, -1 = none */
    struct series_point *point;  /* [n_series][points] */
};

static void series_free(struct series *series)
{
    free(series->text), free(series->epoch), free(series->point);
}

static int series_pointers(struct request *request, struct series *series,
                           const struct group_names *names, struct err *err)
{
    const char *list = request_query(request, "series");
    if (!(series->text = strdup(list ? list : "/loss")))
        return err_set(err, ERR_NO_MEMORY, "no memory for series");
    if (pointers_split(series->text, series->pointer, SERIES_MAX, &series->n_series, err))
        return -1;
    for (int s = 0; s < series->n_series; s++) {
        struct err bad;
        err_clear(&bad);
        series->index[s] = record_find(series->pointer[s], names->n, names->name, &bad);
        if (series->index[s] < 0)
            err_field(err, "series", "%.200s", bad.message);
    }
    return err->n_fields ? -1 : 0;
}

static int series_query(struct request *request, struct series *series, const struct job *job,
                        struct err *err)
{
    request_query_int(request, "from", 0, SPEC_EPOCHS_MAX, 0, &series->from, err);
    request_query_int(request, "to", 0, SPEC_EPOCHS_MAX, SPEC_EPOCHS_MAX, &series->to, err);
    request_query_int(request, "points", 1, SERIES_POINTS_MAX, SERIES_POINTS_DEFAULT,
                      &series->points, err);
    if (err->n_fields)
        return -1;
    if (series->to > job->epoch)
        series->to = job->epoch;
    series->n = series->to >= series->from ? series->to - series->from + 1 : 0;
    if (series->points > series->n)
        series->points = series->n;
    return 0;
}

static int series_allocate(struct series *series, struct err *err)
{
    size_t cells = (size_t)series->points * (size_t)series->n_series;
    series->epoch = malloc(((size_t)series->points + 1) * sizeof *series->epoch);
    series->point = malloc((cells + 1) * sizeof *series->point);
    if (!series->epoch || !series->point)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu points", cells);
    for (int64_t i = 0; i < series->points; i++)
        series->epoch[i] = -1;
    for (size_t i = 0; i < cells; i++)
        series->point[i] = (struct series_point){NAN, NAN, NAN};
    return 0;
}

static int series_row(void *self, int64_t epoch, const double *values, int n_values,
                      const float *tokens, int n_tokens)
{
    struct series *series = self;
    (void)tokens, (void)n_tokens;
    int64_t bucket = (epoch - series->from) * series->points / series->n;
    series->epoch[bucket] = epoch;
    for (int s = 0; s < series->n_series; s++) {
        struct series_point *point = &series->point[s * series->points + bucket];
        double value = series->index[s] < n_values ? values[series->index[s]] : NAN;
        if (!isfinite(value))
            continue;
        point->min = isnan(point->min) || value < point->min ? value : point->min;
        point->max = isnan(point->max) || value > point->max ? value : point->max;
        point->last = value;
    }
    return 0;
}

static void series_column(FILE *out, const struct series *series, int s, const char *name,
                          size_t offset)
{
    int n = 0;
    fprintf(out, ",\"%s\":[", name);
    for (int64_t i = 0; i < series->points; i++)
        if (series->epoch[i] >= 0) {
            const struct series_point *point = &series->point[s * series->points + i];
            fputs(n++ ? "," : "", out);
            record_print_number(out, *(const double *)((const char *)point + offset));
        }
    putc(']', out);
}

static void series_write(FILE *out, const struct series *series)
{
    fputs("{\"series\":{", out);
    for (int s = 0; s < series->n_series; s++) {
        int n = 0;
        fputs(s ? ",\n" : "\n", out);
        json_write_string(out, series->pointer[s]);
        fputs(":{\"epoch\":[", out);
        for (int64_t i = 0; i < series->points; i++)
            if (series->epoch[i] >= 0)
                fprintf(out, "%s%lld", n++ ? "," : "", (long long)series->epoch[i]);
        putc(']', out);
        series_column(out, series, s, "min", offsetof(struct series_point, min));
        series_column(out, series, s, "max", offsetof(struct series_point, max));
        series_column(out, series, s, "last", offsetof(struct series_point, last));
        putc('}', out);
    }
    fputs("}}\n", out);
}

enum request_result api_series(struct request *request, const struct job *job)
{
    struct series series = {0};
    struct group_names names = {0};
    struct request_buffer buffer;
    struct err *err = &request->err;
    if (group_names_split(job->group_names, &names, err) ||
        series_pointers(request, &series, &names, err) ||
        series_query(request, &series, job, err) || series_allocate(&series, err) ||
        (series.n &&
         epochs_read(request->reader, job->id, series.from, series.to, series_row, &series, err))) {
        request_fail(request, err);
    } else if (!request_open(request, &buffer)) {
        series_write(buffer.out, &series);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    group_names_free(&names);
    series_free(&series);
    return REQUEST_DONE;
}
