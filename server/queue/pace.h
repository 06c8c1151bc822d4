/* pace: how long a job still computes, from what was measured of its shape, else of its device, else
 * from the cost of its work alone, corrected by what it has done since it runs. Pure functions. */
#ifndef TOKENFATE_PACE_H
#define TOKENFATE_PACE_H

#include "db/step_times.h"
#include "server/queue/forecast.h"

/* What a job has done in its present run. */
struct pace_run {
    double epochs, seconds; /* from its first record to its last one */
    double since;           /* seconds since its last record */
};

/* Fill seconds, spread, start and stop. epochs: that are left; times: with weight 0 nothing was
 * measured; run: NULL for a job that waits. */
void pace_estimate(const struct job_work *work, const struct step_times *times, const char *kind,
                   double epochs, const struct pace_run *run, struct forecast_job *out);

#endif
