/* findings_words: a judged claim in words. Called by findings.c alone; callers include
 * findings.h. Pure functions, any thread. */
#ifndef TOKENFATE_FINDINGS_WORDS_H
#define TOKENFATE_FINDINGS_WORDS_H

#include "lab/findings.h"

/* Fill `measured` and `cause` of a finding of n >= 1 runs whose numbers and verdict are set.
 * Bit g of `good` is set if group g holds what its name says in every run. A sentence longer
 * than FINDINGS_TEXT is cut. */
void findings_words_put(struct finding *finding, const struct findings_run *runs, int n,
                        unsigned good);

#endif
