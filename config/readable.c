/* readable: see readable.h. */
#include "config/readable.h"

#include <math.h>
#include <stdio.h>

static const double readable_max = 1e6; /* seven digits and three decimals fill a column */

struct readable readable(double value, int decimals)
{
    struct readable out;
    snprintf(out.text, sizeof out.text, fabs(value) < readable_max ? "%.*f" : "%.*e", decimals,
             value);
    return out;
}

struct readable readable_signed(double value, int decimals)
{
    struct readable out;
    snprintf(out.text, sizeof out.text, fabs(value) < readable_max ? "%+.*f" : "%+.*e", decimals,
             value);
    return out;
}
