/* curves: chosen numbers of several jobs' records at chosen epochs, read into one array, for
 * answers that put jobs side by side (sweeps, compare) or a job's arrays over time
 * (spectrum). Pool threads, each with its own reader; a sweep's answer also on the HTTP
 * thread. No state of its own: struct curves belongs to the caller. */
#ifndef TOKENFATE_CURVES_H
#define TOKENFATE_CURVES_H

#include <stdint.h>

#include "config/emit.h"
#include "config/err.h"
#include "db/jobs.h"
#include "server/http/request.h"

enum {
    CURVES_SERIES_MAX = 64,    /* three numbers of each of eight groups, and as many again */
    CURVES_POINTS_MAX = 1000,  /* a chart is about that wide */
    CURVES_CELLS_MAX = 8 << 20 /* numbers of one answer: 64 MiB */
};

struct curves {
    int n_jobs, n_series, n_points;
    char *text; /* storage of pointer[] */
    const char *pointer[CURVES_SERIES_MAX];
    int64_t *epoch; /* [n_points] ascending, distinct */
    double *values; /* [n_jobs][n_series][n_points]; NaN: not stored, or not measured */
};

/* Read the series of `list` (record pointers, pointers.h) of the jobs at `points` epochs,
 * spread evenly from 0 to `last` with both ends included; with points 1 at `last` alone. An epoch
 * of which a job has no record (train.record_every) becomes the one before of which all have.
 * A list of NULL stands for the loss and, of each group of the first job, mean log p (mask
 * none), mean ln(mean p), and the loss where the target is of the group. ERR_INVALID: "series" for
 * a pointer that names no number of any job, "points" above CURVES_CELLS_MAX. ERR_CANCELLED: the
 * client has left (client_check). */
int curves_read(struct request *request, struct job *const *jobs, int n_jobs, const char *list,
                int64_t last, int points, struct curves *out, struct err *err);
void curves_free(struct curves *curves);

/* The points of one job's series, [n_points]. */
const double *curves_of(const struct curves *curves, int job, int series);

/* Member "epochs": the epochs of the points. */
void curves_emit_epochs(struct emit *json, const struct curves *curves);
/* The points of one job's series as an array; NaN is null. */
void curves_emit_points(struct emit *json, const char *key, const struct curves *curves, int job,
                        int series);

#endif
