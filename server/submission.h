/* submission: a spec becomes the row of a new job: its text is resolved to an
 * address, it is checked against the text, its memory is counted. Nothing is
 * stored. Used by jobs posted alone and by sweeps, on a pool thread. */
#ifndef TOKENFATE_SUBMISSION_H
#define TOKENFATE_SUBMISSION_H

#include "config/spec.h"
#include "db/jobs.h"
#include "server/http.h"

/* Fills *job, which is all zeros, for the request's user; spec->corpus.id becomes the text's
 * sha256. ERR_INVALID with pointers into the spec. submission_free frees what
 * the job holds, not the job. */
int submission_build(const struct request *request, struct spec *spec, struct job *job,
                     struct err *err);
void submission_free(struct job *job);

#endif
