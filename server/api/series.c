/* series: curves for charts, GET /jobs/{id}/epochs?points=N&series=... Called by epochs.c
 * on a pool thread.
 *
 * The n epochs stored in [from, to] fall into N buckets, the i-th of them into bucket
 * floor(i*N/n), so the same question always gets the same buckets. A bucket reports its last
 * epoch, and the least, the greatest and the last of its values. Values that are not finite
 * do not count; a bucket without a finite value has nulls. */
#include "server/api/series.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "server/api/pointers.h"
#include "server/group_names.h"
#include "server/http/client.h"

enum { SERIES_MAX = 64, SERIES_POINTS_MAX = 10000, SERIES_POINTS_DEFAULT = 500 };

struct series_point {
    double min, max, last;
};

struct series {
    int n_series;
    char *text; /* storage of pointer[] */
    const char *pointer[SERIES_MAX];
    int index[SERIES_MAX];       /* in the record */
    int64_t from, to, points, n; /* n: epochs stored in the range */
    int64_t *epoch;              /* [points] last epoch of each bucket, -1 = none */
    struct series_point *point;  /* [n_series][points] */
    struct request *request;
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
        struct err bad = ERR_INIT;
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
    if (client_gave_up_at(series->request, epoch))
        return 1;
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

/* One member of struct series_point over the buckets that have epochs. */
static void series_column(struct emit *json, const char *key, const struct series *series, int s,
                          size_t offset)
{
    emit_array(json, key);
    for (int64_t i = 0; i < series->points; i++) {
        const struct series_point *point = &series->point[s * series->points + i];
        if (series->epoch[i] >= 0)
            emit_number(json, NULL, *(const double *)((const char *)point + offset));
    }
    emit_end(json);
}

static void series_write(struct emit *json, const struct series *series)
{
    emit_object(json, NULL);
    emit_object(json, "series");
    for (int s = 0; s < series->n_series; s++) {
        emit_object(json, series->pointer[s]);
        emit_array(json, "epoch");
        for (int64_t i = 0; i < series->points; i++)
            if (series->epoch[i] >= 0)
                emit_integer(json, NULL, series->epoch[i]);
        emit_end(json);
        series_column(json, "min", series, s, offsetof(struct series_point, min));
        series_column(json, "max", series, s, offsetof(struct series_point, max));
        series_column(json, "last", series, s, offsetof(struct series_point, last));
        emit_end(json);
    }
    emit_end(json);
    emit_end(json);
}

enum request_result api_series(struct request *request, const struct job *job)
{
    struct series series = {.request = request};
    struct group_names names = {0};
    struct request_buffer buffer;
    struct err *err = &request->err;
    if (group_names_split(job->group_names, &names, err) ||
        series_pointers(request, &series, &names, err) ||
        series_query(request, &series, job, err) || series_allocate(&series, err) ||
        (series.n &&
         epochs_read(request->reader, job->id, series.from, series.to, series_row, &series, err))) {
        request_fail(request, err);
    } else if (!request->abandoned && !request_open(request, &buffer)) {
        series_write(&buffer.json, &series);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    group_names_free(&names);
    series_free(&series);
    return REQUEST_DONE;
}
