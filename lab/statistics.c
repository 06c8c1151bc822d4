/* statistics: see statistics.h. For a whole number of degrees of freedom Student's
 * distribution is a finite trigonometric sum (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4).
 * Bisection finds its quantile to the last bits of a double, without a table. */
#include "lab/statistics.h"

#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;
static const double level = 0.95;

/* P(|T| <= t). */
static double within(int degrees, double t)
{
    const double angle = atan(t / sqrt(degrees)), c2 = cos(angle) * cos(angle);
    const int odd = degrees % 2;
    double term = odd ? cos(angle) : 1, sum = 0;
    for (int k = odd ? 1 : 0; k <= degrees - 2; k += 2) {
        sum += term;
        term *= c2 * (k + 1) / (k + 2);
    }
    return odd ? 2 / pi * (angle + sin(angle) * sum) : sin(angle) * sum;
}

double statistics_t(int degrees, double probability)
{
    double low = 0, high = 1;
    while (within(degrees, high) < probability)
        high *= 2;
    for (;;) {
        const double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            return middle;
        if (within(degrees, middle) < probability)
            low = middle;
        else
            high = middle;
    }
}

/* Everything but `half`, of the finite values. The mean of equal values is that value: the
 * rounding of their sum would be a spread. */
static struct statistics moments(const double *values, int n, int stride)
{
    struct statistics out = {0, NAN, NAN, NAN};
    double sum = 0, squares = 0, low = INFINITY, high = -INFINITY;
    for (int i = 0; i < n; i++)
        if (isfinite(values[i * stride])) {
            sum += values[i * stride];
            low = fmin(low, values[i * stride]);
            high = fmax(high, values[i * stride]);
            out.n++;
        }
    if (!out.n)
        return out;
    out.mean = low == high ? low : sum / out.n;
    for (int i = 0; i < n; i++)
        if (isfinite(values[i * stride]))
            squares += (values[i * stride] - out.mean) * (values[i * stride] - out.mean);
    if (out.n > 1)
        out.sd = sqrt(squares / (out.n - 1));
    return out;
}

struct statistics statistics_of(const double *values, int n, int stride)
{
    struct statistics out = moments(values, n, stride);
    if (out.n > 1)
        out.half = statistics_t(out.n - 1, level) * out.sd / sqrt(out.n);
    return out;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int n, double q)
{
    if (n == 0)
        return NAN;
    const double at = q * (n - 1);
    const int below = (int)floor(at);
    if (below + 1 >= n)
        return sorted[n - 1];
    return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

double statistics_spread(double *values, int n, double quantiles[STATISTICS_QUANTILES])
{
    static const double wanted[STATISTICS_QUANTILES] = {0.05, 0.25, 0.50, 0.75, 0.95};
    const struct statistics finite = moments(values, n, 1);
    if (n > 0)
        qsort(values, (size_t)n, sizeof *values, ascending);
    for (int i = 0; i < STATISTICS_QUANTILES; i++)
        quantiles[i] = quantile(values, n, wanted[i]);
    return finite.n == n ? finite.sd : NAN;
}
