/* curves: chosen numbers of several jobs' records at chosen epochs, as one
 * array, for answers that put jobs side by side (sweeps, comparison). Pool
 * threads, with their own reader. */
#ifndef TOKENFATE_CURVES_H
#define TOKENFATE_CURVES_H

#include <stdint.h>

#include "config/err.h"
#include "db/jobs.h"
#include "server/http/request.h"

enum {
    CURVES_SERIES_MAX = 64,    /* three numbers of the eight groups and as many again */
    CURVES_POINTS_MAX = 1000,  /* a chart is about that wide */
    CURVES_CELLS_MAX = 8 << 20 /* numbers of one answer: 64 MiB */
};

struct curves {
    int n_jobs, n_series, n_points;
    char *text; /* what pointer[] points into */
    const char *pointer[CURVES_SERIES_MAX];
    int64_t *epoch; /* [n_points] ascending, distinct */
    double *values; /* [n_jobs][n_series][n_points]; NaN: not stored, or no value */
};

/* Read `list` (record pointers, pointers.h) of the jobs at `points` epochs spread
 * evenly from 0 to `last`, both included, or at `last` alone if points is 1. NULL
 * reads what says most of the first job's groups: the loss, and of each group
 * mean log p (mask none), ln mean p and the loss where its tokens are the target.
 * A pointer must name a number of at least one of the jobs, else ERR_INVALID
 * (series). */
int curves_read(struct db_reader *reader, struct job *const *jobs, int n_jobs, const char *list,
                int64_t last, int points, struct curves *out, struct err *err);
void curves_free(struct curves *curves);

/* The points of one job's series, [n_points]. */
const double *curves_of(const struct curves *curves, int job, int series);

#endif
