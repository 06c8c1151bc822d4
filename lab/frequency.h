/* frequency: how often each token of a vocabulary occurs. Pure functions. */
#ifndef TOKENFATE_FREQUENCY_H
#define TOKENFATE_FREQUENCY_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

struct frequency {
    int vocab;       /* V */
    int64_t *counts; /* [V] */
    int64_t total;   /* N */
    int types;       /* tokens with count > 0 */
    int once;        /* tokens with count 1 */
};

/* Count n ids, each in [0, vocab). ERR_NO_MEMORY. frequency_free frees. */
int frequency_count(const int32_t *ids, size_t n, int vocab, struct frequency *out,
                    struct err *err);

/* Gulliver's counts (variant lf, tokenizer gpt2), built in. */
int frequency_gulliver(struct frequency *out, struct err *err);

void frequency_free(struct frequency *frequency);

/* Lower bounds of the count classes of SCIENCE section 2: 0, 1, 2, 4, 10, 30,
 * 100, 1000. */
enum { FREQUENCY_CLASSES = 8 };
extern const int64_t frequency_class_from[FREQUENCY_CLASSES];
int frequency_class(int64_t count);

#endif
