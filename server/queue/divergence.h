/* divergence: a job that failed because its loss became non-finite, and what its findings say
 * then. What was measured up to that epoch is no result of the experiment, so none of the
 * study's claims has a verdict. Called by GET /jobs/{id}/findings on a pool thread and by
 * `tokenfate show`. Pure. */
#ifndef TOKENFATE_DIVERGENCE_H
#define TOKENFATE_DIVERGENCE_H

#include <stddef.h>

#include "db/jobs.h"
#include "lab/findings.h"

/* 1 and "the run diverged at epoch 14" if the job failed so, else 0. */
int divergence_of(const struct job *job, char *sentence, size_t n);

/* Make all claims and their judged numbers undetermined, with this sentence. */
void divergence_unjudge(struct finding findings[FINDINGS_CLAIMS], const char *sentence);

#endif
