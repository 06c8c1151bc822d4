/* readable: numbers in tables and sentences for people. Decimals up to a million, exponent form
 * beyond: a run that diverges has numbers of forty digits, which no column holds. Pure
 * functions, any thread. */
#ifndef TOKENFATE_READABLE_H
#define TOKENFATE_READABLE_H

enum { READABLE_BYTES = 32 };

/* A value, so that it can stand among the arguments of printf: readable(x, 2).text. */
struct readable {
    char text[READABLE_BYTES];
};

/* "-10.848" or "-1.085e+20", with 0 to 9 decimals. What is not finite is "nan", "inf", "-inf". */
struct readable readable(double value, int decimals);

/* The same with a plus before what is not negative. */
struct readable readable_signed(double value, int decimals);

#endif
