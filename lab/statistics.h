/* statistics: a mean and how far it can be trusted, over runs that differ in
 * their seed, and how far numbers lie apart. A value that is not finite stands for
 * "not measured" and is left out, unless said otherwise. Pure functions, any thread. */
#ifndef TOKENFATE_STATISTICS_H
#define TOKENFATE_STATISTICS_H

struct statistics {
    int n;       /* finite values */
    double mean; /* NaN without values */
    double sd;   /* n - 1 in the denominator; NaN below two values */
    double half; /* half width of the 95 % interval of the mean, t(n-1) sd / sqrt(n) (Student
                    1908); NaN below two values */
};

/* Of values[0], values[stride], ... (n of them). */
struct statistics statistics_of(const double *values, int n, int stride);

/* How far values[0 .. n-1], which are sorted in place, lie apart: returns their sd (n - 1
 * in the denominator; NaN below two, and if one is not finite) and fills their 5, 25, 50, 75 and 95 % quantiles by
 * linear interpolation (Hyndman & Fan 1996, definition 7; NaN of none). */
enum { STATISTICS_QUANTILES = 5 };
double statistics_spread(double *values, int n, double quantiles[STATISTICS_QUANTILES]);

/* t with P(|T| <= t) = probability, T of Student's distribution with
 * `degrees` >= 1 degrees of freedom; 0 < probability < 1. */
double statistics_t(int degrees, double probability);

#endif
