/* record: the numbers of one epoch, as a table. Used by the trainer (gpu/measure.c), the
 * database and the server. Pure functions; any thread.
 *
 * An epoch record is a flat vector of float64: RECORD_SCALARS numbers of the run, then
 * RECORD_FIELDS numbers for each group, in the order of the two enums. The trainer fills it;
 * the protocol and the database carry it unchanged. JSON, CSV with its header
 * (record_print_csv_header), series (`/loss`, `/groups/never_used/mean_logp/columns`) and
 * comparison derive from the two name tables of record.c. A new quantity is one line in an
 * enum and one line in its table.
 *
 * NaN means "no value" and prints as null. Invariant: both enums only grow at their end, so
 * that stored records stay readable (record_expand). Definitions: SCIENCE section 2. */
#ifndef TOKENFATE_RECORD_H
#define TOKENFATE_RECORD_H

#include <stdint.h>
#include <stdio.h>

#include "config/emit.h"
#include "config/err.h"

enum {
    RECORD_NAME_MAX = 64, /* longest group name in bytes, with its zero */
    RECORD_CLASSES = 8    /* of tokens, by a count (lab/frequency.h: 0, 1, 2-3, ... >= 1000) */
};

enum record_scalar {
    RECORD_LOSS,      /* plain cross-entropy in nats, mean over positions */
    RECORD_LOG_Z,     /* mean logsumexp of the logits; with an adaptive head of its first softmax */
    RECORD_GRAD_NORM, /* L2 norm of the whole gradient before clipping */
    RECORD_TOKENS_PER_SECOND, /* rate since the record before; not reproducible */
    RECORD_OBJECTIVE, /* minimised objective, mean over positions; equals the loss if no remedy */
    RECORD_H_NORM,    /* L2 and L1 norm of the mean over positions of h */
    RECORD_H_L1,
    RECORD_LOGP_BY_COUNT, /* mean over tokens and positions of log p, by count in the text */
    RECORD_TOKENS_BY_COUNT = RECORD_LOGP_BY_COUNT + RECORD_CLASSES,    /* tokens in each class */
    RECORD_LOGP_BY_EXPOSURE = RECORD_TOKENS_BY_COUNT + RECORD_CLASSES, /* log p by targets so far */
    RECORD_TOKENS_BY_EXPOSURE = RECORD_LOGP_BY_EXPOSURE + RECORD_CLASSES,
    /* On fixed windows of the training text, NaN in other epochs. */
    RECORD_EVAL_LOSS = RECORD_TOKENS_BY_EXPOSURE + RECORD_CLASSES,
    RECORD_EVAL_LOG_Z,
    RECORD_EVAL_LOSS_BY_COUNT, /* mean loss of the positions whose target is of the class */
    RECORD_EVAL_N_BY_COUNT = RECORD_EVAL_LOSS_BY_COUNT + RECORD_CLASSES, /* those positions */
    /* On fixed windows of the held-out text. */
    RECORD_HOLDOUT_LOSS = RECORD_EVAL_N_BY_COUNT + RECORD_CLASSES,
    RECORD_HOLDOUT_LOG_Z,
    RECORD_HOLDOUT_LOSS_BY_COUNT,
    RECORD_HOLDOUT_N_BY_COUNT = RECORD_HOLDOUT_LOSS_BY_COUNT + RECORD_CLASSES,
    /* mean log p of the tokens of each class over the windows of the training text */
    RECORD_EVAL_LOGP_BY_COUNT = RECORD_HOLDOUT_N_BY_COUNT + RECORD_CLASSES,
    /* Words of the held-out text that never occur in the training text, then all others. */
    RECORD_UNSEEN_WORD_LOSS = RECORD_EVAL_LOGP_BY_COUNT + RECORD_CLASSES, /* nats a word */
    RECORD_UNSEEN_WORD_TOKEN_LOSS,                                        /* nats a token */
    RECORD_UNSEEN_WORDS,
    RECORD_UNSEEN_WORD_TOKENS, /* of those words */
    RECORD_SEEN_WORD_LOSS,     /* the same four, in the same order */
    RECORD_SEEN_WORD_TOKEN_LOSS,
    RECORD_SEEN_WORDS,
    RECORD_SEEN_WORD_TOKENS,
    RECORD_SCALARS
};

enum record_field {
    RECORD_MEAN_LOGP_NONE, /* mean log p (nats) under each mask; NaN if the mask empties it */
    RECORD_MEAN_LOGP_COLUMNS,
    RECORD_MEAN_LOGP_WINDOWS,
    RECORD_MEAN_LOGP_POSITIONS,
    RECORD_N_NONE, /* token-position pairs that entered each mean */
    RECORD_N_COLUMNS,
    RECORD_N_WINDOWS,
    RECORD_N_POSITIONS,
    RECORD_KEPT_NONE, /* tokens of the group with at least one pair under each mask */
    RECORD_KEPT_COLUMNS,
    RECORD_KEPT_WINDOWS,
    RECORD_KEPT_POSITIONS,
    RECORD_SD,  /* of the per-token means (mask none), n - 1 in the denominator */
    RECORD_Q05, /* quantiles of the per-token means, linear interpolation (Hyndman-Fan 7) */
    RECORD_Q25,
    RECORD_Q50,
    RECORD_Q75,
    RECORD_Q95,
    RECORD_LN_MEAN_P,   /* mean over tokens of ln(mean over positions of p); float32: a p below
                           e^-87 of the most likely token's counts as that bound */
    RECORD_MEAN_P,      /* mean over tokens and positions of p */
    RECORD_MASS,        /* sum over tokens of the mean over positions of p */
    RECORD_MEAN_LOGIT,  /* mean over tokens and positions of the logit */
    RECORD_TARGET_LOSS, /* mean loss of the positions whose target is in the group */
    RECORD_EXPOSURE,    /* mean over tokens of the occurrences as target in updates so far */
    RECORD_OUTPUT_NORM, /* mean L2 norm of the output rows (fp32 masters) */
    RECORD_OUTPUT_SHIFT,
    RECORD_INPUT_NORM, /* of the input rows; NaN when tied */
    RECORD_INPUT_SHIFT,
    RECORD_GRAD_SOFTMAX, /* mean L2 norm of the gradient of the output rows before clipping, */
    RECORD_GRAD_TARGET,  /* in parts (backend_part) */
    RECORD_GRAD_ZLOSS,
    RECORD_GRAD_INPUT,     /* the same of the input rows; tied: their part of the gradient */
    RECORD_COS_MINUS_H,    /* cosine of the group's mean output row to -mean h */
    RECORD_COS_WITHIN,     /* mean cosine of two of its output rows */
    RECORD_ADVANTAGE,      /* mean log p in windows that contain the token, minus that in the other
                           windows; mean over the tokens that have windows of both kinds */
    RECORD_EVAL_MEAN_LOGP, /* mask none, on the fixed windows of the training text */
    RECORD_EVAL_LN_MEAN_P,
    RECORD_EVAL_MEAN_P,
    RECORD_EVAL_MEAN_LOGIT,
    RECORD_EVAL_TARGET_LOSS,
    RECORD_EVAL_SD,  /* of the per-token means over those windows, as RECORD_SD */
    RECORD_EVAL_Q05, /* quantiles of the same, as RECORD_Q05 */
    RECORD_EVAL_Q25,
    RECORD_EVAL_Q50,
    RECORD_EVAL_Q75,
    RECORD_EVAL_Q95,
    RECORD_FIELDS
};

/* Length of the vector with n_groups groups. */
int record_size(int n_groups);

/* Index of a group's field in the vector. */
int record_at(int group, enum record_field field);

/* JSON pointer (RFC 6901) of a number, relative to the record ("/loss", "/logp_by_count/0") or
 * to its group ("/mean_logp/none", "/quantiles/0"). */
const char *record_scalar_pointer(enum record_scalar scalar);
const char *record_field_pointer(enum record_field field);

/* Vector index of a pointer relative to the record (also `/groups/NAME/...`, with NAME escaped
 * as in RFC 6901), or -1 with ERR_INVALID. */
int record_find(const char *pointer, int n_groups, const char *const *names, struct err *err);

/* Write the record as one JSON object (API.md, "An epoch"): as an element of the open array or
 * as the outermost value. job NULL: without the member "job". */
void record_emit(struct emit *json, const char *job, int64_t epoch, const double *values,
                 int n_groups, const char *const *names);

/* Copy a stored vector of an older layout (fewer scalars or fields per group) into the present
 * one; numbers that it lacks become NaN. */
void record_expand(const double *old, int n_scalars, int n_fields, int n_groups, double *values);

/* CSV (RFC 4180): the header line, then one line per record; NaN is an empty cell. Column
 * names: "epoch", then the pointers without the leading slash and with '.' for '/'
 * ("logp_by_count.0", "groups.NAME.mean_logp.none"). */
void record_print_csv_header(FILE *out, int n_groups, const char *const *names);
void record_print_csv(FILE *out, int64_t epoch, const double *values, int n_groups);

/* 1 if both vectors have the same bits in every number but tokens_per_second, which is not
 * reproducible. Every NaN equals every NaN. */
int record_same(const double *a, const double *b, int n_groups);

#endif
