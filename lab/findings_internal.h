/* findings_internal: what findings.c, which judges, and findings_words.c, which says
 * it in words, share. Not for callers: they include findings.h. */
#ifndef TOKENFATE_FINDINGS_INTERNAL_H
#define TOKENFATE_FINDINGS_INTERNAL_H

#include "lab/findings.h"

enum { MOST, LEAST, NEVER, BUILT_IN }; /* the groups that every run has, in the records' order */

/* The mask that the spec names (enum spec_mask); `columns`, the study's, where it names none. */
int findings_mask(const struct findings_run *run);

/* 0 for a job that starts from another model. */
int findings_is_untrained_first(const struct findings_run *run);

/* Mean log p of the three groups before training, nats (form 3.1). */
double findings_untrained_level_closed(const struct findings_run *run);

/* Fill `measured` and `cause` of a finding whose numbers and verdict stand, of n >= 1 runs.
 * Bit g of `good` is set if group g holds what its name says in every run. A sentence
 * that does not fit FINDINGS_TEXT is cut. */
void findings_put_words(struct finding *finding, const struct findings_run *runs, int n,
                        unsigned good);

#endif
