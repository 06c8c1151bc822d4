/* frequency: see frequency.h. Gulliver's counts are data (gulliver_counts.inc, made by
 * make_counts.mjs), so that the synthetic corpus exists without the text. Called by
 * lab/dataset and the server's corpus pages, on any thread. Invariant: total, types and once
 * agree with counts, because one function derives them. */
#include "lab/frequency.h"

#include <stdlib.h>
#include <string.h>

const int64_t frequency_class_from[FREQUENCY_CLASSES] = {0, 1, 2, 4, 10, 30, 100, 1000};

static const struct {
    uint16_t gap, count;
} gulliver[] = {
#include "lab/gulliver_counts.inc"
};

enum { GULLIVER_TYPES = sizeof gulliver / sizeof *gulliver, GPT2_VOCABULARY = 50257 };

static int frequency_alloc(int vocab, struct frequency *out, struct err *err)
{
    *out = (struct frequency){.vocab = vocab};
    out->counts = calloc((size_t)vocab, sizeof *out->counts);
    if (!out->counts)
        return err_set(err, ERR_NO_MEMORY, "no memory for the counts of %d tokens", vocab);
    return 0;
}

static void frequency_sum(struct frequency *frequency)
{
    for (int i = 0; i < frequency->vocab; i++) {
        frequency->total += frequency->counts[i];
        frequency->types += frequency->counts[i] > 0;
        frequency->once += frequency->counts[i] == 1;
    }
}

int frequency_count(const int32_t *ids, size_t n, int vocab, struct frequency *out, struct err *err)
{
    struct frequency frequency;
    if (frequency_alloc(vocab, &frequency, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= vocab) {
            frequency_free(&frequency);
            return err_set(err, ERR_INTERNAL, "token %d at position %zu, vocabulary has %d", ids[i],
                           i, vocab);
        }
        frequency.counts[ids[i]]++;
    }
    frequency_sum(&frequency);
    *out = frequency;
    return 0;
}

int frequency_copy(const int64_t *counts, int vocab, struct frequency *out, struct err *err)
{
    struct frequency frequency;
    if (frequency_alloc(vocab, &frequency, err))
        return -1;
    memcpy(frequency.counts, counts, (size_t)vocab * sizeof *counts);
    frequency_sum(&frequency);
    *out = frequency;
    return 0;
}

int frequency_gulliver(struct frequency *out, struct err *err)
{
    struct frequency frequency;
    if (frequency_alloc(GPT2_VOCABULARY, &frequency, err))
        return -1;
    int id = -1;
    for (int i = 0; i < GULLIVER_TYPES; i++) {
        id += gulliver[i].gap + 1;
        frequency.counts[id] = gulliver[i].count;
    }
    frequency_sum(&frequency);
    *out = frequency;
    return 0;
}

void frequency_free(struct frequency *frequency)
{
    if (!frequency)
        return;
    free(frequency->counts);
    *frequency = (struct frequency){0};
}

int frequency_class(int64_t count)
{
    int i = FREQUENCY_CLASSES - 1;
    while (i > 0 && count < frequency_class_from[i])
        i--;
    return i;
}
