/* record: the numbers of one epoch, as a table.
 *
 * An epoch record is a flat vector of float64: RECORD_SCALARS numbers of the
 * run, then RECORD_FIELDS numbers for each group, in the order of the two
 * enums. The trainer fills it, the protocol and the database carry it as is,
 * and JSON, CSV, series extraction (`/loss`,
 * `/groups/never_used/mean_logp/columns`) and comparison all come from the two
 * name tables of record.c: a new quantity is one enum line and one table line.
 * NaN means "no value" and prints as null. Both enums only ever grow at their
 * end, so that stored records stay readable (record_expand). Definitions:
 * SCIENCE section 2. Pure functions, any thread. */
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
    RECORD_OBJECTIVE, /* what is minimised, mean over positions; the loss without remedies */
    RECORD_H_NORM,    /* L2 and L1 norm of the mean over positions of h */
    RECORD_H_L1,
    RECORD_LOGP_BY_COUNT, /* mean over tokens and positions of log p, by count in the text */
    RECORD_TOKENS_BY_COUNT = RECORD_LOGP_BY_COUNT + RECORD_CLASSES,    /* tokens in each class */
    RECORD_LOGP_BY_EXPOSURE = RECORD_TOKENS_BY_COUNT + RECORD_CLASSES, /* by targets so far */
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
    /* Words of the held-out text that the training text never has, and the others. */
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
    RECORD_LN_MEAN_P,   /* mean over tokens of ln(mean over positions of p); float32: where the
                           most likely token is e^87 times as likely, p counts as that */
    RECORD_MEAN_P,      /* mean over tokens and positions of p */
    RECORD_MASS,        /* sum over tokens of the mean over positions of p */
    RECORD_MEAN_LOGIT,  /* mean over tokens and positions of the logit */
    RECORD_TARGET_LOSS, /* mean loss where the target is of the group */
    RECORD_EXPOSURE,    /* mean over tokens: times a target in the updates so far */
    RECORD_OUTPUT_NORM, /* mean L2 norm of the output rows (fp32 masters) */
    RECORD_OUTPUT_SHIFT,
    RECORD_INPUT_NORM, /* of the input rows; NaN when tied */
    RECORD_INPUT_SHIFT,
    RECORD_GRAD_SOFTMAX, /* mean L2 norm of the gradient of their output rows, before */
    RECORD_GRAD_TARGET,  /* clipping, in parts (backend_part), */
    RECORD_GRAD_ZLOSS,
    RECORD_GRAD_INPUT,     /* and of their input rows; tied: of what those add to the gradient */
    RECORD_COS_MINUS_H,    /* cosine of the group's mean output row to -mean h */
    RECORD_COS_WITHIN,     /* mean cosine of two of its output rows */
    RECORD_ADVANTAGE,      /* mean log p in the windows that contain the token minus in the others,
                           mean over tokens that some windows contain and some do not */
    RECORD_EVAL_MEAN_LOGP, /* mask none, on the fixed windows of the training text */
    RECORD_EVAL_LN_MEAN_P,
    RECORD_EVAL_MEAN_P,
    RECORD_EVAL_MEAN_LOGIT,
    RECORD_EVAL_TARGET_LOSS,
    RECORD_EVAL_SD,  /* of the per-token means over those windows, as RECORD_SD */
    RECORD_EVAL_Q05, /* and their quantiles */
    RECORD_EVAL_Q25,
    RECORD_EVAL_Q50,
    RECORD_EVAL_Q75,
    RECORD_EVAL_Q95,
    RECORD_FIELDS
};

/* Numbers in a record of n_groups groups. */
int record_size(int n_groups);

/* Index of a group's field in the vector. */
int record_at(int group, enum record_field field);

/* JSON pointer of a number below the record ("/loss", "/logp_by_count/0") or below
 * its group ("/mean_logp/none", "/quantiles/0"). */
const char *record_scalar_pointer(enum record_scalar scalar);
const char *record_field_pointer(enum record_field field);

/* Vector index of a pointer below the record (`/groups/NAME/...` included,
 * NAME escaped as RFC 6901 says), or -1 with ERR_INVALID naming it. */
int record_find(const char *pointer, int n_groups, const char *const *names, struct err *err);

/* The record as one JSON object (API.md, "An epoch"), an element of the open array or the
 * outermost value. job NULL: without the member "job". */
void record_emit(struct emit *json, const char *job, int64_t epoch, const double *values,
                 int n_groups, const char *const *names);
void record_print_json(FILE *out, const char *job, int64_t epoch, const double *values,
                       int n_groups, const char *const *names);

/* Copy a vector of an older layout (fewer scalars or fields) into the present
 * one, new numbers NaN. */
void record_expand(const double *old, int n_scalars, int n_fields, int n_groups, double *values);

/* CSV (RFC 4180): a header line, then one line per record; NaN is empty. Column
 * names are the pointers without the leading slash, with '.' between. */
void record_print_csv_header(FILE *out, int n_groups, const char *const *names);
void record_print_csv(FILE *out, int64_t epoch, const double *values, int n_groups);

/* A number as JSON: shortest of %.15g..%.17g that reads back the same bits;
 * null when not finite. */
void record_print_number(FILE *out, double value);

/* UTF-8 text as a JSON string, with its quotes. */
void record_print_string(FILE *out, const char *text);

/* 1 if both vectors have the same bits in every reproducible field (all but
 * tokens_per_second; every NaN equals every NaN). */
int record_same(const double *a, const double *b, int n_groups);

#endif
