/* curves: see curves.h. */
#include "server/api/curves.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/record_grid.h"
#include "db/epochs.h"
#include "server/api/pointers.h"
#include "server/group_names.h"
#include "server/http/client.h"

void curves_free(struct curves *curves)
{
    free(curves->text), free(curves->epoch), free(curves->values);
    *curves = (struct curves){0};
}

const double *curves_of(const struct curves *curves, int job, int series)
{
    return curves->values + ((int64_t)job * curves->n_series + series) * curves->n_points;
}

void curves_emit_epochs(struct emit *json, const struct curves *curves)
{
    emit_array(json, "epochs");
    for (int p = 0; p < curves->n_points; p++)
        emit_integer(json, NULL, curves->epoch[p]);
    emit_end(json);
}

void curves_emit_points(struct emit *json, const char *key, const struct curves *curves, int job,
                        int series)
{
    const double *values = curves_of(curves, job, series);
    emit_array(json, key);
    for (int p = 0; p < curves->n_points; p++)
        emit_number(json, NULL, values[p]);
    emit_end(json);
}

/* ---- the series ---- */

/* "/groups/NAME/FIELD" and its zero, NAME escaped (RFC 6901). */
static void print_pointer(FILE *out, const char *name, const char *field)
{
    fputs("/groups/", out);
    for (const char *at = name; *at; at++)
        if (*at == '~' || *at == '/')
            fputs(*at == '~' ? "~0" : "~1", out);
        else
            putc(*at, out);
    fprintf(out, "/%s%c", field, '\0');
}

/* The series of a list of NULL (curves.h). text holds the pointers one after the other,
 * each with its zero. */
static int usual(struct curves *curves, const struct job *job, struct err *err)
{
    static const char *const fields[] = {"mean_logp/none", "ln_mean_p", "target_loss"};
    enum { FIELDS = sizeof fields / sizeof *fields };
    struct group_names names;
    size_t n = 0;
    if (group_names_split(job->group_names, &names, err))
        return -1;
    FILE *out = open_memstream(&curves->text, &n);
    if (out) {
        fprintf(out, "/loss%c", '\0');
        for (int i = 0; i < names.n * FIELDS; i++)
            print_pointer(out, names.name[i / FIELDS], fields[i % FIELDS]);
    }
    curves->n_series = 1 + names.n * FIELDS;
    group_names_free(&names);
    if (!out || fclose(out) != 0)
        return err_set(err, ERR_NO_MEMORY, "no memory for series");
    curves->pointer[0] = curves->text;
    for (int s = 1; s < curves->n_series; s++)
        curves->pointer[s] = curves->pointer[s - 1] + strlen(curves->pointer[s - 1]) + 1;
    return 0;
}

static int choose(struct curves *curves, const char *list, const struct job *first, struct err *err)
{
    if (!list)
        return usual(curves, first, err);
    if (!(curves->text = strdup(list)))
        return err_set(err, ERR_NO_MEMORY, "no memory for series");
    return pointers_split(curves->text, curves->pointer, CURVES_SERIES_MAX, &curves->n_series, err);
}

/* ---- reading ---- */

/* Least common multiple of the jobs' record_every; above `last`: no such epoch but 0. */
static int64_t shared_step(struct job *const *jobs, int n, int64_t last)
{
    int64_t step = 1;
    for (int j = 0; j < n && step <= last; j++) {
        int64_t a = step, b = jobs[j]->record_every;
        while (b) {
            const int64_t rest = a % b;
            a = b;
            b = rest;
        }
        step = step / a * jobs[j]->record_every;
    }
    return step;
}

/* The last epoch up to this one of which every job has a record that has come so far. */
static int64_t shared_epoch(struct job *const *jobs, int n, int64_t step, int64_t epoch)
{
    for (int j = 0; j < n; j++)
        if (epoch <= jobs[j]->epoch &&
            !record_grid_has((struct record_grid){jobs[j]->record_every, jobs[j]->epochs}, epoch))
            return epoch - epoch % step;
    return epoch;
}

static void choose_epochs(struct curves *curves, struct job *const *jobs, int64_t last)
{
    const int points = curves->n_points;
    const int64_t step = shared_step(jobs, curves->n_jobs, last);
    int n = 0;
    for (int p = 0; p < points; p++) {
        const int64_t wish = points == 1 ? last : p * last / (points - 1);
        const int64_t epoch = shared_epoch(jobs, curves->n_jobs, step, wish);
        if (!n || epoch > curves->epoch[n - 1])
            curves->epoch[n++] = epoch;
    }
    curves->n_points = n;
}

static int allocate(struct curves *curves, struct job *const *jobs, int64_t last, int points,
                    struct err *err)
{
    curves->n_points = points <= last ? points : (int)last + 1;
    const int64_t cells = (int64_t)curves->n_jobs * curves->n_series * curves->n_points;
    if (cells > CURVES_CELLS_MAX)
        return err_field(err, "points", "%lld numbers in one answer; at most %d are allowed",
                         (long long)cells, CURVES_CELLS_MAX);
    curves->epoch = calloc((size_t)curves->n_points, sizeof *curves->epoch);
    curves->values = malloc((size_t)(cells + 1) * sizeof *curves->values);
    if (!curves->epoch || !curves->values)
        return err_set(err, ERR_NO_MEMORY, "no memory for %lld numbers", (long long)cells);
    for (int64_t i = 0; i < cells; i++)
        curves->values[i] = NAN;
    choose_epochs(curves, jobs, last);
    return 0;
}

struct reading {
    struct curves *curves;
    int job, point;
    int index[CURVES_SERIES_MAX]; /* in this job's record; -1: not a number of it */
};

static int keep(void *self, int64_t epoch, const double *values, int n_values, const float *tokens,
                int n_tokens)
{
    const struct reading *reading = self;
    struct curves *curves = reading->curves;
    (void)epoch, (void)tokens, (void)n_tokens;
    for (int s = 0; s < curves->n_series; s++)
        if (reading->index[s] >= 0 && reading->index[s] < n_values)
            curves->values[((int64_t)reading->job * curves->n_series + s) * curves->n_points +
                           reading->point] = values[reading->index[s]];
    return 0;
}

/* Set the indices of this job. known[s] becomes 1 for every pointer that its record has. */
static int find(struct reading *reading, const struct job *job, int *known, struct err *err)
{
    struct group_names names;
    if (group_names_split(job->group_names, &names, err))
        return -1;
    for (int s = 0; s < reading->curves->n_series; s++) {
        struct err missing = ERR_INIT;
        reading->index[s] = record_find(reading->curves->pointer[s], names.n, names.name, &missing);
        known[s] |= reading->index[s] >= 0;
    }
    group_names_free(&names);
    return 0;
}

/* A record at a time, each from a page of its own: a look at the client costs little beside. */
static int read_jobs(struct request *request, struct job *const *jobs, struct curves *curves,
                     struct err *err)
{
    int known[CURVES_SERIES_MAX] = {0};
    for (int j = 0; j < curves->n_jobs; j++) {
        struct reading reading = {.curves = curves, .job = j};
        if (find(&reading, jobs[j], known, err))
            return -1;
        for (int p = 0; p < curves->n_points && curves->epoch[p] <= jobs[j]->epoch; p++) {
            reading.point = p;
            if (client_check(request, err) ||
                epochs_read(request->reader, jobs[j]->id, curves->epoch[p], curves->epoch[p], keep,
                            &reading, err))
                return -1;
        }
    }
    for (int s = 0; s < curves->n_series; s++)
        if (!known[s])
            err_field(err, "series", "no job has a number \"%.150s\"", curves->pointer[s]);
    return err->n_fields ? -1 : 0;
}

int curves_read(struct request *request, struct job *const *jobs, int n_jobs, const char *list,
                int64_t last, int points, struct curves *out, struct err *err)
{
    struct curves curves = {.n_jobs = n_jobs};
    if (choose(&curves, list, jobs[0], err) || allocate(&curves, jobs, last, points, err) ||
        read_jobs(request, jobs, &curves, err)) {
        curves_free(&curves);
        return -1;
    }
    *out = curves;
    return 0;
}
