/* forecast: when jobs will start and end if nobody submits anything more. A pure function of a
 * snapshot of one kind of device: the decisions are those of fair.h, asked again and again on a
 * virtual clock. outlook.c makes the snapshots; tests/unit/server_forecast.c compares what is told
 * with what happens.
 *
 * Cost: a few decisions a job while the slices are those of the rules. After every
 * FORECAST_DECISIONS decisions the slices are doubled: what lies far ahead is told more coarsely,
 * and the whole stays bounded, however long the jobs are.
 *
 * Runs: where slices end depends on small differences, and so does who starts next. So the future
 * is run several times, each job's time off by chance as its spread says; told are the median, and a
 * range of FORECAST_WIDTH standard deviations. With so many jobs that few runs are affordable, the
 * first run alone is told, and ranges are carried along each device: the times of jobs behind each
 * other are taken to err together. */
#ifndef TOKENFATE_FORECAST_H
#define TOKENFATE_FORECAST_H

#include <stdint.h>

#include "config/err.h"
#include "server/queue/fair.h"

enum {
    FORECAST_DECISIONS = 4096,
    FORECAST_DECISIONS_MAX = 256 * FORECAST_DECISIONS, /* what starts later is not told */
    FORECAST_RUNS = 21,
    FORECAST_RUNS_MIN = 5,                      /* below, only the first one is told */
    FORECAST_SPENT = 8 * FORECAST_DECISIONS,    /* in all runs, but for the last one */
    FORECAST_HOLDERS_MAX = 4 * FAIR_DEVICES_MAX /* jobs on devices at once */
};
#define FORECAST_WIDTH 1.645 /* nine of ten */

/* Seconds from the snapshot on; NAN: not known. */
struct forecast_time {
    double low, likely, high;
};

struct forecast_job {
    int user; /* index */
    int urgent, priority;
    int64_t age;
    uint32_t devices;       /* on which it can run, 0: on none */
    double part;            /* of a device */
    double seconds, spread; /* that it still has to compute; standard deviation of its logarithm */
    double start, stop; /* seconds from a placement to the first step, from the last to the end */
    double cost;        /* seconds that stopping and starting it has cost, 0: it never stopped */
    double limit;       /* seconds on devices after which it is stopped, INFINITY */
    int device;         /* that it holds, -1: it waits */
    double held;        /* seconds, if it holds one */
    int leaving;        /* it was told to give way */
    /* told */
    int place; /* of a job that waits: the how manieth to start, 0: not known */
    struct forecast_time starts, ends;
};

struct forecast {
    struct fair_rules rules;
    const struct fair_user *users; /* waited: as of now */
    int n_users, n_devices;
    int is_closed; /* nothing starts */
    struct forecast_job *jobs;
    int n_jobs;
};

/* Fill in what is told of each job. ERR_NO_MEMORY. */
int forecast_run(const struct forecast *forecast, struct err *err);

#endif
