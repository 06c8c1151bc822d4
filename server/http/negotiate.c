/* negotiate: see negotiate.h. */
#include "server/http/negotiate.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Acceptance of a media type by a header. */
struct taken {
    int exactness; /* of the deciding range: 0 none, 1 all types, 2 "text/...", 3 the type */
    double weight; /* its q; 0: not accepted */
    int place;     /* its index in the header */
};

static const char blanks[] = " \t";

/* Length of the range in bytes, without parameters and trailing blanks. */
static size_t negotiate_range(const char *range, size_t n)
{
    size_t bytes = 0;
    while (bytes < n && range[bytes] != ';')
        bytes++;
    while (bytes && strchr(blanks, range[bytes - 1]))
        bytes--;
    return bytes;
}

static int negotiate_exactness(const char *range, size_t n, const char *type)
{
    const size_t family = strcspn(type, "/") + 1;
    if (n == strlen(type) && strncasecmp(range, type, n) == 0)
        return 3;
    if (n == family + 1 && range[family] == '*' && strncasecmp(range, type, family) == 0)
        return 2;
    return n == 3 && strncmp(range, "*/*", n) == 0;
}

/* "q" parameter of a range; 1 without one. */
static double negotiate_weight(const char *range, size_t n)
{
    for (size_t at = 0; at < n; at++) {
        if (range[at] != ';')
            continue;
        const char *name = range + at + 1 + strspn(range + at + 1, blanks);
        if (strncasecmp(name, "q=", 2) == 0)
            return strtod(name + 2, NULL);
    }
    return 1;
}

/* The most exact range decides; among equally exact ones the first. */
static struct taken negotiate_take(const char *header, const char *type)
{
    struct taken taken = {0, 0, 0};
    int place = 0;
    for (const char *at = header; *at; place++) {
        at += strspn(at, blanks);
        const size_t n = strcspn(at, ",");
        const int exactness = negotiate_exactness(at, negotiate_range(at, n), type);
        if (exactness > taken.exactness)
            taken = (struct taken){exactness, negotiate_weight(at, n), place};
        at += n + (at[n] == ',');
    }
    return taken;
}

int negotiate_prefers(const char *header, const char *type, const char *usual)
{
    if (!header)
        return 0;
    const struct taken x = negotiate_take(header, type), y = negotiate_take(header, usual);
    if (x.weight != y.weight)
        return x.weight > y.weight;
    if (x.exactness != y.exactness)
        return x.weight > 0 && x.exactness > y.exactness;
    return x.weight > 0 && x.place < y.place;
}
