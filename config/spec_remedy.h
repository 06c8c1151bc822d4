/* spec_remedy: the kinds of fields that only the remedies have (SCIENCE section 6): a job to
 * start from, the cutoffs of an adaptive head, oversampling and insertions. Internal to the
 * spec*.c files. Pure functions, any thread.
 *
 * Invariant: null switches a remedy off, and a spec that does not use a remedy prints null. */
#ifndef TOKENFATE_SPEC_REMEDY_H
#define TOKENFATE_SPEC_REMEDY_H

#include "config/spec_kind.h"

extern const struct spec_kind spec_remedy_job, spec_remedy_cutoffs, spec_remedy_oversample,
    spec_remedy_inject;

#endif
