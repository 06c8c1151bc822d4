/* clock: the monotonic clock, for durations and deadlines. It never jumps when the
 * system's time is set, and has no meaning outside this boot. Any thread. */
#ifndef TOKENFATE_CLOCK_H
#define TOKENFATE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC (POSIX) in milliseconds, and in seconds with its nanoseconds. */
int64_t clock_monotonic_ms(void);
double clock_monotonic_seconds(void);

#endif
