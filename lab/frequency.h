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

/* Count n ids. ERR_NO_MEMORY; ERR_INTERNAL for an id outside [0, vocab).
 * frequency_free frees. */
int frequency_count(const int32_t *ids, size_t n, int vocab, struct frequency *out,
                    struct err *err);

/* Copy counts[vocab]. ERR_NO_MEMORY. */
int frequency_copy(const int64_t *counts, int vocab, struct frequency *out, struct err *err);

/* Gulliver's counts (variant lf, tokenizer gpt2), built in. ERR_NO_MEMORY. */
int frequency_gulliver(struct frequency *out, struct err *err);

void frequency_free(struct frequency *frequency);

/* Lower bounds of the count classes of SCIENCE section 2: 0, 1, 2, 4, 10, 30,
 * 100, 1000. */
enum { FREQUENCY_CLASSES = 8 };
extern const int64_t frequency_class_from[FREQUENCY_CLASSES];

/* Class of a count: index of the largest lower bound not above it. */
int frequency_class(int64_t count);

#endif
