/* job_json: a job as the API shows it, and the members that several answers share.
 *
 * Called by the handlers of jobs, sweeps and comparisons, on a pool thread or the HTTP
 * thread, each with its own reader. No state of its own. */
#ifndef TOKENFATE_JOB_JSON_H
#define TOKENFATE_JOB_JSON_H

#include <jansson.h>

#include "config/emit.h"
#include "config/err.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "server/http/request.h"
#include "server/queue/outlook.h"

/* The job as one object, an element of the open array or the outermost value. Its last
 * record is read for the summary. with_spec 0 leaves the spec out, for lists. -1 with the error in
 * the request: an object may have been begun; the caller drops the answer. */
int job_json_emit(struct emit *json, const struct job *job, struct request *request, int with_spec);

/* Members "place", "expected_start" and "expected_end": null each for a job that does not wait or
 * run, and where nothing is known; row NULL: nothing is. */
void job_json_emit_outlook(struct emit *json, const struct outlook_job *row);
/* Member "waits". */
void job_json_emit_reason(struct emit *json, enum reason_code code, const char *message);

/* Member "epoch": the last stored epoch, null before the first. */
void job_json_emit_epoch(struct emit *json, const struct job *job);

/* A value of a spec, with the digits that a stored spec has; NULL is null. */
void job_json_emit_value(struct emit *json, const char *key, const json_t *value);

/* Member "next" of a list: the seq behind which the next page starts, as text; 0 (no
 * next page) is null. */
void job_json_emit_next(struct emit *json, int64_t seq);

#endif
