/* pace: see pace.h. Seconds of an epoch are estimated as a logarithm, as the mean of what was known
 * before the run and of the run itself, each weighted by its certainty. */
#include "server/queue/pace.h"

#include <math.h>
#include <string.h>

/* Of a device on which nothing has run: seconds of a billion operations, and how sure that is. */
#define PACE_CPU 0.01
#define PACE_CUDA 1e-4
#define PACE_UNMEASURED 1.0
/* A job whose work nobody has counted. */
#define PACE_UNKNOWN_SECONDS 600.0
#define PACE_UNKNOWN 2.0
/* Variance that stays however long was measured, and that of a run of one second. */
#define PACE_LEAST 4e-4
#define PACE_OF_RUN 0.2
/* Seconds of a start and a stop of which nothing was measured. */
#define PACE_START 1.0
#define PACE_STOP 0.2

struct pace {
    double mean, variance; /* of the logarithm of an epoch's seconds */
};

static struct pace pace_before(const struct job_work *work, const struct step_times *times,
                               const char *kind, double epochs)
{
    if (work->cost <= 0)
        return (struct pace){log(PACE_UNKNOWN_SECONDS / fmax(epochs, 1)), PACE_UNKNOWN};
    if (times->weight <= 0)
        return (struct pace){log(work->cost * (strcmp(kind, "cuda") == 0 ? PACE_CUDA : PACE_CPU)),
                             PACE_UNMEASURED};
    return (struct pace){log(work->cost) + times->mean,
                         times->variance * (1 + 1 / times->weight) + PACE_LEAST};
}

void pace_estimate(const struct job_work *work, const struct step_times *times, const char *kind,
                   double epochs, const struct pace_run *run, struct forecast_job *out)
{
    struct pace pace = pace_before(work, times, kind, epochs);
    double since = 0;
    if (run && run->epochs > 0 && run->seconds > 0) {
        const struct pace seen = {log(run->seconds / run->epochs),
                                  PACE_OF_RUN / run->seconds + PACE_LEAST};
        const double share = pace.variance / (pace.variance + seen.variance);
        pace.mean += share * (seen.mean - pace.mean);
        pace.variance *= 1 - share;
        since = fmin(run->since, exp(pace.mean));
    }
    out->seconds = fmax(epochs * exp(pace.mean) - since, 0);
    out->spread = sqrt(pace.variance);
    out->start = times->start > 0 ? times->start : PACE_START;
    out->stop = times->stop > 0 ? times->stop : PACE_STOP;
}
