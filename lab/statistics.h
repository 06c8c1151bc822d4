/* statistics: a mean and how far it can be trusted, over runs that differ in
 * their seed. A value that is not finite stands for "not measured" and is left
 * out. Pure functions, any thread. */
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

/* t with P(|T| <= t) = probability, T of Student's distribution with
 * `degrees` >= 1 degrees of freedom; 0 < probability < 1. */
double statistics_t(int degrees, double probability);

#endif
