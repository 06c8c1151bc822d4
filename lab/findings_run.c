/* findings_run: see findings_run.h. */
#include "lab/findings_run.h"

#include "lab/theory.h"

enum spec_mask findings_run_mask(const struct findings_run *run)
{
    const enum spec_mask mask = run->spec->groups.mask;
    return mask == MASK_NONE ? MASK_COLUMNS : mask;
}

int findings_run_is_untrained_first(const struct findings_run *run)
{
    return !run->spec->init_from[0];
}

double findings_run_untrained(const struct findings_run *run, int group)
{
    return theory_untrained_group(run->spec, &run->groups->group[group], run->frequency);
}

double findings_run_untrained_level(const struct findings_run *run)
{
    double sum = 0;
    if (run->spec->model.head == HEAD_FULL)
        return theory_untrained(run->spec, run->frequency->vocab);
    for (int group = 0; group < BUILT_IN; group++)
        sum += findings_run_untrained(run, group);
    return sum / BUILT_IN;
}
