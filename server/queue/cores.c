/* cores: see cores.h. */
#include "server/queue/cores.h"

void cores_find(int64_t threads, struct cores *out)
{
    CPU_ZERO(&out->all);
    if (sched_getaffinity(0, sizeof out->all, &out->all) != 0)
        CPU_SET(0, &out->all); /* more cores than the set has room for */
    out->n = threads ? (int)threads : CPU_COUNT(&out->all);
    out->is_bound = out->n == CPU_COUNT(&out->all);
}

int cores_take(const struct cores *cores, const cpu_set_t *taken, int n, cpu_set_t *out)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int core = 0; cores->is_bound && core < CPU_SETSIZE && CPU_COUNT(&set) < n; core++)
        if (CPU_ISSET(core, &cores->all) && !CPU_ISSET(core, taken))
            CPU_SET(core, &set);
    if (cores->is_bound && CPU_COUNT(&set) < n)
        return -1;
    *out = set;
    return 0;
}
