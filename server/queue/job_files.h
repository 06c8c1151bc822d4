/* job_files: size and removal of a job's folder data/jobs/<id>. api/jobs.c calls it when a job is
 * deleted, serve.c at the start, job_run.c and upkeep.c to measure. Any thread.
 *
 * A job's row and its folder cannot be deleted in one atomic step, so a crash may come between
 * the two. Invariant: a folder is removed only after its row is gone for good.
 * 1. Inside the database operation that deletes the row, the folder is renamed to
 *    jobs/.deleted-<id> (job_files_set_aside). If the operation fails, it is renamed back.
 * 2. After the commit the renamed folder is removed (job_files_remove).
 * The next start completes or undoes what a crash left between the steps (job_files_sweep). */
#ifndef TOKENFATE_JOB_FILES_H
#define TOKENFATE_JOB_FILES_H

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"
#include "db/retention.h"

/* Step 1: rename the job's folder. A job without files is fine. */
int job_files_set_aside(const struct settings *settings, const char *id, struct err *err);

/* Undo step 1: the row was not deleted. */
void job_files_put_back(const struct settings *settings, const char *id);

/* Step 2: remove the renamed folder. ERR_IO names what is left. */
int job_files_remove(const struct settings *settings, const char *id, struct err *err);

/* At the start, before the first request: a renamed folder gets its name back if its job
 * still has a row, else it is removed. */
int job_files_sweep(const struct settings *settings, struct db_reader *reader, struct err *err);

/* The same three steps for a part of a job, RETENTION_STATE or RETENTION_MODELS; the job stays. What
 * a crash leaves aside is removed at the next start. */
int job_files_part_set_aside(const struct settings *settings, const char *id,
                             enum retention_part part, struct err *err);
void job_files_part_put_back(const struct settings *settings, const char *id,
                             enum retention_part part);
int job_files_part_remove(const struct settings *settings, const char *id, enum retention_part part,
                          struct err *err);

/* Bytes of what lies in the folder: what training goes on from, models, and all with the log. */
struct job_sizes {
    int64_t state, model, total;
};
/* Measure a job's files. What is missing has no bytes. */
struct job_sizes job_files_measure(const struct settings *settings, const char *id);

#endif
