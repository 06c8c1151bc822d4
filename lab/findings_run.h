/* findings_run: what one run says by its spec alone, shared by findings.c, which judges, and
 * findings_words.c, which puts the judgement into words. Not for callers: they include
 * findings.h. Pure functions, any thread. */
#ifndef TOKENFATE_FINDINGS_RUN_H
#define TOKENFATE_FINDINGS_RUN_H

#include "lab/findings.h"

enum { MOST, LEAST, NEVER, BUILT_IN }; /* the groups that every run has, in the records' order */

/* The mask that the spec names; MASK_COLUMNS, the study's, if it names none. */
enum spec_mask findings_run_mask(const struct findings_run *run);

/* 0 for a job that starts from another model. */
int findings_run_is_untrained_first(const struct findings_run *run);

/* Mean log p of a group, and of the three groups, before training: nats (form 3.1). */
double findings_run_untrained(const struct findings_run *run, int group);
double findings_run_untrained_level(const struct findings_run *run);

#endif
