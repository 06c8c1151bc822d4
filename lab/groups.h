/* groups: the tokens an experiment follows (SCIENCE section 1). Pure functions
 * of counts and spec, any thread. Selections of the three built-in groups:
 *   frequency       most_common: highest counts; least_common: lowest counts
 *                   above 0; never_used: count 0. Among equal counts a draw
 *                   (seed of the groups) or the lowest ids, as `ties` says.
 *   published-2025  u: used ids, ascending; o: places in u by descending count.
 *                   most_common: the first of o, least_common: the last of o,
 *                   both taken for token ids; never_used: lowest unused ids.
 *   published-2026  most_common and least_common: the tokens at those places;
 *                   never_used: the tokens at place n of u, n going through the
 *                   lowest unused ids.
 * With data.inject there is a group dose_D for each dose D: never-used tokens
 * that stand in no other group, drawn (seed of the groups) and dealt to the doses
 * in turn, so that never_used stays what it is without insertions.
 * With corpus.vocabulary "used" never_used holds what the vocabulary has of such
 * tokens, at most `size` and mostly none: an empty group.
 * The published programs sorted with an unstable algorithm, so which tokens of
 * equal count they put in a group cannot be reproduced: here both published
 * selections take equal counts in ascending order of id, whatever `ties` says. */
#ifndef TOKENFATE_GROUPS_H
#define TOKENFATE_GROUPS_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/bpe.h"
#include "lab/frequency.h"

struct group {
    char name[RECORD_NAME_MAX]; /* "most_common", "least_common", "never_used", custom, "dose_4" */
    int n;                      /* may be 0: every mean of it is NaN */
    int32_t *ids;               /* [n], unique; most frequent first, equal counts by id */
};

struct groups {
    int n;
    struct group group[SPEC_GROUPS_MAX];
    int n_tokens;    /* sum of group sizes: the tracked tokens, in group order */
    int32_t *tokens; /* [n_tokens]; a token in two groups stands twice */
};

/* Groups of a spec over these counts. original[vocab] are the tokenizer's ids of
 * the counted ones, ascending (NULL: the same). bpe turns texts of custom tokens
 * into ids (NULL: only ids possible). ERR_INVALID with every bad field: size above half
 * of the used types or above the number of unused ones (/groups/size), a text
 * too short for published-2026 (/groups/selection), an id outside the
 * vocabulary, a text that is not exactly one token, a token twice in a group
 * (/groups/custom/0/tokens/3), more tokens to insert than are left
 * (/data/inject/tokens). ERR_NO_MEMORY. groups_free frees. */
int groups_build(const struct spec *spec, const struct frequency *frequency,
                 const int32_t *original, const struct bpe *bpe, struct groups *out,
                 struct err *err);
void groups_free(struct groups *groups);

/* The id that counts have for a tokenizer's id, -1: it is not in their vocabulary. */
int32_t groups_counted_id(int32_t id, const int32_t *original, int vocab);

/* How often the spec inserts each token of group g; -1: it is not a dose's group.
 * Groups of doses are the last ones, in the order of the spec. */
int groups_dose(const struct spec *spec, const struct groups *groups, int g);

#endif
