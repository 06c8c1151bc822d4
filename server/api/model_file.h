/* model_file: the files that the trainer writes of a job's model at an epoch, for the handlers
 * that serve or read them. Any thread, no state. */
#ifndef TOKENFATE_MODEL_FILE_H
#define TOKENFATE_MODEL_FILE_H

#include <stdint.h>

#include "config/err.h"
#include "config/settings.h"
#include "db/jobs.h"
#include "server/data.h"

enum model_file { MODEL_FILE_WEIGHTS, MODEL_FILE_SPECTRUM };

/* The path of a job's file of an epoch. ERR_NOT_FOUND if the job has none: it keeps them of
 * train.snapshots and of the last epoch. A job that was retried from the start has not reached an
 * epoch of the run before, whose files lie there until it starts. */
int model_file_find(const struct settings *settings, const struct job *job, enum model_file file,
                    int64_t epoch, char path[DATA_PATH_MAX], struct err *err);

#endif
