/* limits: the limits of a user in the API: as JSON, and as the check of what a request submits.
 * Pool threads, and the HTTP thread: every query is short (db/limits.h). */
#ifndef TOKENFATE_API_LIMITS_H
#define TOKENFATE_API_LIMITS_H

#include "config/emit.h"
#include "db/jobs.h"
#include "db/limits.h"
#include "server/http/request.h"

/* Write {"queued": {"limit", "own", "present"}, ...}; limit null: none. */
void api_limits_emit(struct emit *json, const char *key, const struct limits *limits);
/* The same with the limits of that user, read now. */
int api_limits_emit_of(struct emit *json, const char *key, struct request *request,
                       const char *user, struct err *err);

/* May the request's user have these n jobs? Errors of limits_admit. What it says holds until
 * others of the user's requests are stored; api_limits_stored decides. */
int api_limits_check(const struct request *request, const struct job *jobs, int n, struct err *err);
/* The same before n jobs are built, which takes seconds for a large sweep: only `queued` is known. */
int api_limits_check_queued(const struct request *request, int n, struct err *err);
/* The same inside the operation that has inserted the jobs, which fails with this. */
int api_limits_stored(struct db_writer *writer, const struct settings *settings,
                      const struct job *jobs, int n, struct err *err);

#endif
