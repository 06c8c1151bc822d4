/* clock: see clock.h. */
#include "config/clock.h"

#include <ctype.h>
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

/* A number of exactly n digits at *at, which moves past it; -1 for anything else. */
static int clock_digits(const char **at, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return -1;
        value = 10 * value + (**at - '0');
    }
    return value;
}

/* "Z" or an offset, at the end of the text, in seconds. */
static int clock_offset(const char *at, int64_t *seconds)
{
    const int sign = *at == '-' ? -1 : 1;
    *seconds = 0;
    if ((*at == 'Z' || *at == 'z') && !at[1])
        return 0;
    if (*at != '+' && *at != '-')
        return -1;
    at++;
    const int hours = clock_digits(&at, 2), colon = *at == ':';
    at += colon;
    const int minutes = clock_digits(&at, 2);
    *seconds = sign * (hours * 3600 + minutes * 60);
    return hours >= 0 && hours < 24 && colon && minutes >= 0 && minutes < 60 && !*at ? 0 : -1;
}

/* ".123" at *at, in microseconds; *at moves past it. Without a point: 0. */
static int clock_fraction(const char **at)
{
    int value = 0, digits = 0;
    if (**at != '.')
        return 0;
    for ((*at)++; isdigit((unsigned char)**at) && digits < 6; (*at)++, digits++)
        value = 10 * value + (**at - '0');
    for (int i = digits; i < 6; i++)
        value *= 10;
    return digits ? value : -1;
}

int clock_parse(const char *text, int64_t *microseconds)
{
    static const struct {
        int digits;
        char after;
    } parts[6] = {{4, '-'}, {2, '-'}, {2, 'T'}, {2, ':'}, {2, ':'}, {2, 0}};
    int part[6];
    const char *at = text;
    for (int i = 0; i < 6; i++) {
        if ((part[i] = clock_digits(&at, parts[i].digits)) < 0)
            return -1;
        if (parts[i].after && toupper((unsigned char)*at++) != parts[i].after)
            return -1;
    }
    struct tm given = {.tm_year = part[0] - 1900,
                       .tm_mon = part[1] - 1,
                       .tm_mday = part[2],
                       .tm_hour = part[3],
                       .tm_min = part[4],
                       .tm_sec = part[5]};
    struct tm utc = given;
    int64_t offset;
    const int fraction = clock_fraction(&at);
    if (fraction < 0 || clock_offset(at, &offset))
        return -1;
    /* timegm turns the 31st of June into the 1st of July, which is not what was written. */
    const int64_t seconds = timegm(&utc);
    if (utc.tm_mon != given.tm_mon || utc.tm_mday != given.tm_mday ||
        utc.tm_hour != given.tm_hour || utc.tm_min != given.tm_min || seconds < offset)
        return -1;
    *microseconds = (seconds - offset) * 1000000 + fraction;
    return 0;
}
