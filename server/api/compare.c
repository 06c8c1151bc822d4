/* api_compare: GET /compare. Jobs side by side: the fields in which their specs
 * differ, and their curves at the same epochs. On a pool thread. */
#include "server/api/compare.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec_kind.h"
#include "server/api/curves.h"
#include "server/json.h"
#include "db/jobs.h"

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

static void write_difference(FILE *out, const char *pointer, json_t *const *values, int n,
                             int *written)
{
    fputs((*written)++ ? ",\n{\"field\":" : "\n{\"field\":", out);
    json_write_string(out, pointer);
    fputs(",\"values\":[", out);
    for (int j = 0; j < n; j++) {
        fputs(j ? "," : "", out);
        if (values[j])
            spec_dump(values[j], out);
        else
            fputs("null", out);
    }
    fputs("]}", out);
}

/* What a spec says of itself and not of the experiment. */
static int is_label(const char *key)
{
    static const char *const labels[] = {"name", "notes", "tags"};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        if (strcmp(labels[i], key) == 0)
            return 1;
    return 0;
}

/* Every key that one of the objects has, in the order of the first that has it. */
static json_t *all_keys(json_t *const *objects, int n)
{
    json_t *keys = json_object();
    for (int j = 0; j < n; j++)
        json_object_update_missing(keys, objects[j]);
    return keys;
}

/* Objects are walked into, down to the values that differ. A resolved spec has
 * two levels; what the spec of an older build lacks is null. */
static void write_differences(FILE *out, const char *above, json_t *const *objects, int n,
                              int *written)
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
            write_differences(out, pointer, values, n, written);
        else
            write_difference(out, pointer, values, n, written);
    }
    json_decref(keys);
}

/* ---- the answer ---- */

static void write_curves(FILE *out, const struct comparison *comparison)
{
    const struct curves *curves = &comparison->curves;
    fputs("],\n\"epochs\":[", out);
    for (int p = 0; p < curves->n_points; p++)
        fprintf(out, "%s%lld", p ? "," : "", (long long)curves->epoch[p]);
    fputs("],\"series\":{", out);
    for (int s = 0; s < curves->n_series; s++) {
        fputs(s ? ",\n" : "\n", out);
        json_write_string(out, curves->pointer[s]);
        fputs(":[", out);
        for (int j = 0; j < curves->n_jobs; j++) {
            fputs(j ? ",[" : "[", out);
            for (int p = 0; p < curves->n_points; p++) {
                fputs(p ? "," : "", out);
                record_print_number(out, curves_of(curves, j, s)[p]);
            }
            putc(']', out);
        }
        putc(']', out);
    }
    fputs("}}\n", out);
}

static void write_comparison(FILE *out, const struct comparison *comparison)
{
    int written = 0;
    fputs("{\"jobs\":[", out);
    for (int j = 0; j < comparison->n; j++) {
        const struct job *job = comparison->jobs[j];
        fprintf(out, "%s{\"id\":\"%s\",\"name\":", j ? "," : "", job->id);
        json_write_string(out, job->name);
        fprintf(out, ",\"state\":\"%s\",\"epoch\":", job_state_name(job->state));
        if (job->epoch >= 0)
            fprintf(out, "%lld}", (long long)job->epoch);
        else
            fputs("null}", out);
    }
    fputs("],\"differs\":[", out);
    write_differences(out, "", comparison->specs, comparison->n, &written);
    write_curves(out, comparison);
}

static int read_curves(const struct request *request, struct comparison *comparison,
                       struct err *err)
{
    int64_t points, last = 0;
    if (request_query_int(request, "points", 1, CURVES_POINTS_MAX, COMPARE_POINTS, &points, err))
        return -1;
    for (int j = 0; j < comparison->n; j++)
        if (comparison->jobs[j]->epoch > last)
            last = comparison->jobs[j]->epoch;
    return curves_read(request->reader, comparison->jobs, comparison->n,
                       request_query(request, "series"), last, (int)points, &comparison->curves,
                       err);
}

enum request_result api_compare(struct request *request)
{
    struct comparison comparison = {0};
    struct request_buffer buffer;
    if (read_jobs(request, &comparison, &request->err) ||
        read_curves(request, &comparison, &request->err)) {
        request_fail(request, &request->err);
    } else if (!request_open(request, &buffer)) {
        write_comparison(buffer.out, &comparison);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    comparison_free(&comparison);
    return REQUEST_DONE;
}
