/* theory: see theory.h. The formulas hold in expectation over the initial
 * weights, and for a vocabulary large enough that the mean over it is its
 * expectation. They are drawn beside what was measured, and are never put in its
 * place. No state, any thread. Invariant: what has no value (an empty group,
 * ln 0) is NaN, never a number. */
#include "lab/theory.h"

#include <math.h>

double theory_logit_std(const struct spec *spec)
{
    return spec->model.logit_scale * spec->model.init_std * sqrt(spec->model.d_model);
}

double theory_untrained(const struct spec *spec, int vocab)
{
    const double std = theory_logit_std(spec);
    return -log(vocab) - std * std / 2;
}

double theory_context_free(const struct group *group, const struct frequency *frequency)
{
    double sum = 0;
    for (int i = 0; i < group->n; i++) {
        const int64_t count = frequency->counts[group->ids[i]];
        if (!count)
            return NAN;
        sum += log((double)count / (double)frequency->total);
    }
    return group->n ? sum / group->n : NAN;
}
