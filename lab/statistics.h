/* statistics: mean and confidence interval over runs that differ in their seed, and spread
 * of a set of numbers. A value that is not finite means "not measured" and is skipped,
 * unless stated otherwise. Pure functions, any thread. */
#ifndef TOKENFATE_STATISTICS_H
#define TOKENFATE_STATISTICS_H

struct statistics {
    int n;       /* finite values */
    double mean; /* NaN without values */
    double sd;   /* n - 1 in the denominator; NaN below two values */
    /* Half width of the 95 % interval of the mean, t(n-1) sd / sqrt(n) (Student 1908); NaN
     * below two values. */
    double half;
};

/* Statistics of the n values values[0], values[stride], ... */
struct statistics statistics_of(const double *values, int n, int stride);

/* Spread of values[0 .. n-1], which are sorted in place. Returns their sd (n - 1 in the
 * denominator; NaN below two values, and if one is not finite). Fills the 5, 25, 50, 75 and
 * 95 % quantiles by linear interpolation (Hyndman & Fan 1996, definition 7; NaN without
 * values). */
enum { STATISTICS_QUANTILES = 5 };
double statistics_spread(double *values, int n, double quantiles[STATISTICS_QUANTILES]);

/* t with P(|T| <= t) = probability, for Student's distribution with `degrees` >= 1 degrees
 * of freedom; 0 < probability < 1. */
double statistics_t(int degrees, double probability);

#endif
