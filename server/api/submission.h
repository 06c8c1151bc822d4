/* submission: a spec becomes the row of a new job: its text is resolved to an
 * address, it is checked against the text, its memory is counted. Nothing is
 * stored. Used by jobs posted alone and by sweeps, on a pool thread. */
#ifndef TOKENFATE_SUBMISSION_H
#define TOKENFATE_SUBMISSION_H

#include "config/spec.h"
#include "db/jobs.h"
#include "server/http/request.h"

/* Fills *job, which is all zeros, for the request's user; spec->corpus.id becomes the text's
 * sha256. ERR_INVALID with pointers into the spec. submission_free frees what
 * the job holds, not the job. */
int submission_build(const struct request *request, struct spec *spec, struct job *job,
                     struct err *err);

/* The job that was made when the same user posted the same body with the same
 * Idempotency-Key: 1 (*out, job_free), 0 without a key or such a job. Asked before
 * anything else is checked: what came before is answered, whatever has changed. */
int submission_known(const struct request *request, const char *key, const char *body_sha256,
                     struct job **out, struct err *err);
void submission_free(struct job *job);

#endif
