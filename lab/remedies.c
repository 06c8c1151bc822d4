/* remedies: see remedies.h. */
#include "lab/remedies.h"

#include <math.h>

void remedies_class_weights(const struct frequency *frequency, double exponent, double *weights)
{
    double sum = 0;
    for (int i = 0; i < frequency->vocab; i++)
        if (frequency->counts[i] > 0)
            sum += pow((double)frequency->counts[i], 1 - exponent);
    for (int i = 0; i < frequency->vocab; i++) {
        const double count = frequency->counts[i] > 0 ? (double)frequency->counts[i] : 1;
        weights[i] = pow(count, -exponent) * (double)frequency->total / sum;
    }
}

void remedies_adjustment(const struct frequency *frequency, double tau, double *adjustment)
{
    const double total = (double)(frequency->total + frequency->vocab);
    for (int i = 0; i < frequency->vocab; i++)
        adjustment[i] = tau * log(((double)frequency->counts[i] + 1) / total);
}
