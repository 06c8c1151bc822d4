/* groups: the tokens that an experiment follows (SCIENCE section 1). Pure functions of
 * counts and spec, any thread. Selections of the three built-in groups:
 *   frequency       most_common: highest counts; least_common: lowest counts
 *                   above 0; never_used: count 0. Among equal counts a draw
 *                   (seed of the groups) or the lowest ids, as `ties` says.
 *   published-2025  u: used ids, ascending; o: positions in u by descending count.
 *                   most_common: the first of o, least_common: the last of o,
 *                   both taken for token ids; never_used: lowest unused ids.
 *   published-2026  most_common and least_common: the tokens at those positions;
 *                   never_used: the tokens at position n of u, n going through the
 *                   lowest unused ids.
 * The published programs sorted with an unstable algorithm, so their choice among equal
 * counts cannot be reproduced. Here both published selections take equal counts in ascending
 * order of id, whatever `ties` says.
 *
 * With data.inject there is a group dose_D for each dose D: never-used tokens that are in no
 * other group, drawn (seed of the groups) and dealt to the doses in turn. never_used is the
 * same as without insertions. With corpus.vocabulary "used", never_used has the unused
 * tokens of the vocabulary, at most `size`, mostly none: an empty group. */
#ifndef TOKENFATE_GROUPS_H
#define TOKENFATE_GROUPS_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/bpe.h"
#include "lab/frequency.h"

struct group {
    char name[RECORD_NAME_MAX]; /* "most_common", "least_common", "never_used", custom, "dose_4" */
    int n;                      /* may be 0: every mean of the group is NaN */
    int32_t *ids;               /* [n], unique; most frequent first, equal counts by id */
};

struct groups {
    int n;
    struct group group[SPEC_GROUPS_MAX];
    int n_tokens;    /* sum of group sizes: the tracked tokens, in group order */
    int32_t *tokens; /* [n_tokens]; a token of two groups is there twice */
};

/* Groups of a spec over these counts. original[vocab]: ids of the tokenizer for the counted
 * ids, ascending (NULL: the same). bpe turns texts of custom tokens into ids (NULL: ids
 * only).
 *
 * ERR_INVALID with every bad field: size above half of the used types or above the number of
 * unused ones (/groups/size), a text too short for published-2026 (/groups/selection), an id
 * outside the vocabulary, a text that is not exactly one token, a token twice in a group
 * (/groups/custom/0/tokens/3), more tokens to insert than are left (/data/inject/tokens).
 * ERR_NO_MEMORY. groups_free frees. */
int groups_build(const struct spec *spec, const struct frequency *frequency,
                 const int32_t *original, const struct bpe *bpe, struct groups *out,
                 struct err *err);
void groups_free(struct groups *groups);

/* The counted id of a tokenizer's id, or -1 if the vocabulary does not have it. */
int32_t groups_counted_id(int32_t id, const int32_t *original, int vocab);

/* Insertions of each token of group g; -1 if g is no group of a dose. Groups of doses are
 * the last ones, in the order of the spec. */
int groups_dose(const struct spec *spec, const struct groups *groups, int g);

#endif
