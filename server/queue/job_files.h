/* job_files: the folder data/jobs/<id> at the end of its job. Deleting a job
 * takes two steps that a crash may part: inside the operation that deletes the
 * row the folder only gets another name (jobs/.deleted-<id>), once the row is
 * gone for good it is removed. The next start finishes or undoes what it finds
 * half done. Any thread. */
#ifndef TOKENFATE_JOB_FILES_H
#define TOKENFATE_JOB_FILES_H

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"

/* Give the job's folder its other name; a job without files is fine. */
int job_files_set_aside(const struct settings *settings, const char *id, struct err *err);

/* The row was not deleted after all. */
void job_files_put_back(const struct settings *settings, const char *id);

/* Remove what was set aside. ERR_IO names what is left. */
int job_files_remove(const struct settings *settings, const char *id, struct err *err);

/* At the start, before the first request: folders that were set aside go back to
 * jobs that are still there, the others are removed. */
int job_files_sweep(const struct settings *settings, struct db_reader *reader, struct err *err);

#endif
