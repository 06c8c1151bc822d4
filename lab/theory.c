/* theory: see theory.h. */
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
