/* findings_run: facts of one run that follow from its spec and its text, shared by
 * findings.c, which judges, and findings_words.c, which writes the sentences. Internal:
 * callers include findings.h. Pure functions, any thread. */
#ifndef TOKENFATE_FINDINGS_RUN_H
#define TOKENFATE_FINDINGS_RUN_H

#include "lab/findings.h"

enum { MOST, LEAST, NEVER, BUILT_IN }; /* the groups that every run has, in the records' order */

/* The mask of the spec, or MASK_COLUMNS, the mask of the study, if it has none. */
enum spec_mask findings_run_mask(const struct findings_run *run);

/* 0 for a job that starts from another model: its first record is where that model ended. */
int findings_run_is_untrained_first(const struct findings_run *run);

/* Mean log p of a group, and of the three groups, before training: nats (form 3.1). */
double findings_run_untrained(const struct findings_run *run, int group);
double findings_run_untrained_level(const struct findings_run *run);

#endif
