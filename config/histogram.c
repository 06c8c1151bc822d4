/* histogram: see histogram.h. */
#include "config/histogram.h"

void histogram_observe(struct histogram *histogram, double seconds)
{
    int class = 0;
    const double taken = seconds > 0 ? seconds : 0;
    while (class < HISTOGRAM_BOUNDS && taken > histogram->bounds[class])
        class ++;
    atomic_fetch_add(&histogram->counts[class], 1);
    atomic_fetch_add(&histogram->microseconds, (long long)(taken * 1e6));
}
