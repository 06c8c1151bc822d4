/* clock: see clock.h. */
#include "config/clock.h"

#include <time.h>

static struct timespec clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now;
}

int64_t clock_monotonic_ms(void)
{
    const struct timespec now = clock_now();
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

double clock_monotonic_seconds(void)
{
    const struct timespec now = clock_now();
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
