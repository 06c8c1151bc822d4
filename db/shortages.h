/* shortages: jobs that found too little memory when they were opened. What such a job is taken to
 * need is raised, so that it is placed where there is more. Functions run inside a db_operation, on
 * the writer thread. */
#ifndef TOKENFATE_SHORTAGES_H
#define TOKENFATE_SHORTAGES_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

/* Count a shortage and raise the job's memory_bytes to a quarter above what was reserved for it, but
 * not above `most` bytes (0: no limit), which no device would have. *times: shortages since the job
 * last had enough; *bytes: its memory_bytes from now on. */
int shortages_add(struct db_writer *writer, const char *id, int64_t reserved, int64_t most,
                  int64_t *times, int64_t *bytes, struct err *err);
/* The job has had enough, or has ended. */
int shortages_clear(struct db_writer *writer, const char *id, struct err *err);

#endif
