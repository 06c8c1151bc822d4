/* step_times: how long jobs of a shape compute on a device, learned while they run, and what each
 * queued job still has to compute. server/queue/outlook.c forecasts from both. Write functions run
 * inside a db_operation, on the writer thread; read functions run on any reader. */
#ifndef TOKENFATE_STEP_TIMES_H
#define TOKENFATE_STEP_TIMES_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"
#include "db/jobs.h"

/* Logarithm of the seconds of a billion operations. weight 0: nothing was measured. */
struct step_times {
    double weight, mean, variance;
    double start, stop; /* seconds from the claim to the first record, from the last to the end */
};

/* Take a measurement in: `seconds` for `cost` billions of operations; start and stop below 0: not
 * measured. Later ones count more; one that is far off counts as less far. Pure. */
void step_times_learn(struct step_times *times, double seconds, double cost, double start,
                      double stop);

/* Store the work of a job that has none, or another. ERR_NOT_FOUND. */
int step_times_put_work(struct db_writer *writer, const char *id, const struct job_work *work,
                        struct err *err);
/* shape "" if none is stored. */
int step_times_work(struct db_reader *reader, const char *id, struct job_work *out,
                    struct err *err);

/* Unfinished jobs whose work nobody has counted: those of a server that did not. row returns not 0 to
 * stop. */
int step_times_uncounted(struct db_reader *reader, int (*row)(void *self, const char *id),
                         void *self, struct err *err);

/* Learn from a job that runs. A job without work teaches nothing. */
int step_times_add(struct db_writer *writer, const char *id, const char *device, double seconds,
                   double cost_epochs, double start, double stop, struct err *err);
/* Of the shape on the device; else of all shapes on the device, whose variance is between shapes. */
int step_times_get(struct db_reader *reader, const char *shape, const char *device,
                   struct step_times *out, struct err *err);

/* The queued jobs of a lane as job_queue orders them, with their work and what was measured of
 * their shape on `device`. The rows have what placement needs: id, seq, name, priority, urgent,
 * precision, memory, epochs, limits, provenance, reason. They and their strings are the callee's until it
 * returns; it returns not 0 to stop. */
typedef int step_times_row(void *self, const struct job *job, const struct job_work *work,
                           const struct step_times *times);
int step_times_lane(struct db_reader *reader, const struct job_lane *lane, const char *device,
                    step_times_row *row, void *self, struct err *err);

#endif
