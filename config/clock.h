/* clock: the monotonic clock, for durations and deadlines, which never jumps when the
 * system's time is set and has no meaning outside this boot; and times that people write.
 * Any thread. */
#ifndef TOKENFATE_CLOCK_H
#define TOKENFATE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC (POSIX) in milliseconds, and in seconds with its nanoseconds. */
int64_t clock_monotonic_ms(void);
double clock_monotonic_seconds(void);

/* Microseconds since 1970 of a time as RFC 3339 has it, from 1970 to 9999:
 * "2026-01-31T12:00:00Z", with a fraction of up to six digits or an offset ("+01:00") if
 * wanted. -1 if the text is anything else. */
int clock_parse(const char *text, int64_t *microseconds);

#endif
