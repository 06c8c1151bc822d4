/* theory: closed forms to draw beside the measurement (SCIENCE section 3).
 * Pure functions. */
#ifndef TOKENFATE_THEORY_H
#define TOKENFATE_THEORY_H

#include "config/spec.h"
#include "lab/frequency.h"
#include "lab/groups.h"

/* Mean log p (nats) of any token under the untrained model:
 * -ln V - s_z^2 / 2, s_z the standard deviation of the logits. After the final
 * layernorm |h|^2 = d, so s_z = scale * init_std * sqrt(d) (SCIENCE 3.1;
 * log-normal partition function). The head bias starts at 0 and changes nothing. */
double theory_untrained(const struct spec *spec, int vocab);

/* Standard deviation of the untrained logits. */
double theory_logit_std(const struct spec *spec);

/* Mean over the group of ln(c_i / N), the best context-free model (SCIENCE
 * 3.2); NaN if a count is 0 or the group is empty. */
double theory_context_free(const struct group *group, const struct frequency *frequency);

#endif
