/* compare: GET /compare: up to COMPARE_JOBS_MAX jobs side by side, as the fields in which
 * their specs differ and their curves at the same epochs. Runs on a pool thread; owns the
 * jobs and specs that it reads until the answer is set. */
#include "server/api/compare.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/jobs.h"
#include "server/api/curves.h"
#include "server/api/job_json.h"
#include "server/http/client.h"

enum { COMPARE_JOBS_MAX = 20, COMPARE_POINTS = 200 };

struct comparison {
    int n;
    struct job *jobs[COMPARE_JOBS_MAX];
    json_t *specs[COMPARE_JOBS_MAX];
    struct curves curves;
};

static void comparison_free(struct comparison *comparison)
{
    for (int j = 0; j < comparison->n; j++) {
        job_free(comparison->jobs[j]);
        json_decref(comparison->specs[j]);
    }
    curves_free(&comparison->curves);
}

static int read_jobs(const struct request *request, struct comparison *comparison, struct err *err)
{
    const char *list = request_query(request, "jobs");
    char *copy = strdup(list ? list : ""), *at = copy, *id;
    int failed = copy ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for a comparison");
    if (!failed && !*copy)
        failed = err_field(err, "jobs", "is missing: ids of jobs, separated by commas");
    while (!failed && (id = strsep(&at, ","))) {
        if (comparison->n == COMPARE_JOBS_MAX) {
            failed = err_field(err, "jobs", "more than %d jobs", COMPARE_JOBS_MAX);
        } else if (!(failed =
                         job_get(request->reader, id, &comparison->jobs[comparison->n], err))) {
            comparison->specs[comparison->n] =
                json_loads(comparison->jobs[comparison->n]->spec, 0, NULL);
            comparison->n++;
        }
    }
    free(copy);
    return failed;
}

/* ---- differences ---- */

static int all_equal(json_t *const *values, int n)
{
    for (int j = 1; j < n; j++)
        if (values[0] != values[j] && !(values[0] && values[j] && json_equal(values[0], values[j])))
            return 0;
    return 1;
}

static void write_difference(struct emit *json, const char *pointer, json_t *const *values, int n)
{
    emit_object(json, NULL);
    emit_text(json, "field", pointer);
    emit_array(json, "values");
    for (int j = 0; j < n; j++)
        job_json_emit_value(json, NULL, values[j]);
    emit_end(json);
    emit_end(json);
}

/* Fields that name an experiment and have no effect on it. */
static int is_label(const char *key)
{
    static const char *const labels[] = {"name", "notes", "tags"};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        if (strcmp(labels[i], key) == 0)
            return 1;
    return 0;
}

/* The union of the keys, in the order of the first object that has each. */
static json_t *all_keys(json_t *const *objects, int n)
{
    json_t *keys = json_object();
    for (int j = 0; j < n; j++)
        json_object_update_missing(keys, objects[j]);
    return keys;
}

/* Descends into objects, down to the values that differ. A stored spec has two levels of
 * sections, which bounds the recursion. A field that another build's spec lacks is null. */
static void write_differences(struct emit *json, const char *above, json_t *const *objects, int n)
{
    const char *key;
    json_t *value, *keys = all_keys(objects, n);
    json_object_foreach(keys, key, value)
    {
        char pointer[ERR_POINTER_MAX];
        json_t *values[COMPARE_JOBS_MAX];
        int objects_all = 1;
        for (int j = 0; j < n; j++) {
            values[j] = json_object_get(objects[j], key);
            objects_all &= !values[j] || json_is_object(values[j]);
        }
        snprintf(pointer, sizeof pointer, "%s/%s", above, key);
        if (all_equal(values, n) || (!*above && is_label(key)))
            continue;
        if (objects_all)
            write_differences(json, pointer, values, n);
        else
            write_difference(json, pointer, values, n);
    }
    json_decref(keys);
}

/* ---- the answer ---- */

static void write_curves(struct request *request, struct emit *json, const struct curves *curves)
{
    curves_emit_epochs(json, curves);
    emit_object(json, "series");
    for (int s = 0; s < curves->n_series && !client_gave_up(request); s++) {
        emit_array(json, curves->pointer[s]);
        for (int j = 0; j < curves->n_jobs; j++)
            curves_emit_points(json, NULL, curves, j, s);
        emit_end(json);
    }
    emit_end(json);
}

static void write_comparison(struct request *request, struct emit *json,
                             const struct comparison *comparison)
{
    emit_object(json, NULL);
    emit_array(json, "jobs");
    for (int j = 0; j < comparison->n; j++) {
        const struct job *job = comparison->jobs[j];
        emit_object(json, NULL);
        emit_text(json, "id", job->id);
        emit_text(json, "name", job->name);
        emit_text(json, "state", job_state_name(job->state));
        job_json_emit_epoch(json, job);
        emit_end(json);
    }
    emit_end(json);
    emit_array(json, "differs");
    write_differences(json, "", comparison->specs, comparison->n);
    emit_end(json);
    write_curves(request, json, &comparison->curves);
    emit_end(json);
}

/* The points are spread from 0 to the greatest last epoch of the jobs. */
static int read_curves(struct request *request, struct comparison *comparison, struct err *err)
{
    int64_t points, last = 0;
    if (request_query_int(request, "points", 1, CURVES_POINTS_MAX, COMPARE_POINTS, &points, err))
        return -1;
    for (int j = 0; j < comparison->n; j++)
        if (comparison->jobs[j]->epoch > last)
            last = comparison->jobs[j]->epoch;
    return curves_read(request, comparison->jobs, comparison->n, request_query(request, "series"),
                       last, (int)points, &comparison->curves, err);
}

enum request_result api_compare(struct request *request)
{
    struct comparison comparison = {0};
    struct request_buffer buffer;
    if (read_jobs(request, &comparison, &request->err) ||
        read_curves(request, &comparison, &request->err)) {
        request_fail(request, &request->err);
    } else if (!request_open(request, &buffer)) {
        write_comparison(request, &buffer.json, &comparison);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    comparison_free(&comparison);
    return REQUEST_DONE;
}
