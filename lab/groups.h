/* groups: the tokens an experiment follows (SCIENCE section 1). most_common,
 * least_common, never_used by count, ties drawn by seed or by lowest id; the two
 * published selections reproduced as published; custom groups. Pure functions
 * of counts and spec. */
#ifndef TOKENFATE_GROUPS_H
#define TOKENFATE_GROUPS_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/bpe.h"
#include "lab/frequency.h"

struct group {
    char name[RECORD_NAME_MAX]; /* "most_common", "least_common", "never_used" or custom */
    int n;
    int32_t *ids; /* [n], most frequent first; unique */
};

struct groups {
    int n;
    struct group group[SPEC_GROUPS_MAX];
    int n_tokens;    /* sum of group sizes: the tracked tokens, in group order */
    int32_t *tokens; /* [n_tokens]; a token in two groups stands twice */
};

/* Groups of a spec over these counts. bpe turns texts of custom tokens into ids
 * (NULL: only ids possible). ERR_INVALID with pointers (/groups/size,
 * /groups/custom/0/tokens/3, ...): size above half of the used types or above
 * the number of unused ones, an id outside the vocabulary, a text that is not
 * exactly one token. groups_free frees. */
int groups_build(const struct spec *spec, const struct frequency *frequency,
                 const struct bpe *bpe, struct groups *out, struct err *err);
void groups_free(struct groups *groups);

#endif
