/* histogram: how long something took, in a few classes, as monitoring wants it. Counters are
 * atomic: any thread observes, any thread reads; a reader may see an observation in one
 * counter and not yet in the other. */
#ifndef TOKENFATE_HISTOGRAM_H
#define TOKENFATE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS = 6 };

struct histogram {
    double
        bounds[HISTOGRAM_BOUNDS]; /* seconds, ascending: upper ends of all classes but the last */
    atomic_llong counts[HISTOGRAM_BOUNDS + 1];
    atomic_llong microseconds; /* of all observations */
};

/* One observation; a negative one (a clock that was set back) counts as 0. */
void histogram_observe(struct histogram *histogram, double seconds);

#endif
