/* evaluate: see evaluate.h. Every mean over positions is a sum over batches. Logits follow from the
 * sum of h, as in measure: those of a group's tokens here, those of all tokens on the device. */
#include "gpu/evaluate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "gpu/arrays.h"
#include "lab/dataset.h"
#include "lab/statistics.h"

struct sums {
    double loss, lse[CLUSTERS_MAX]; /* lse: of each cluster of the output layer */
    int64_t positions;
    double class_loss[RECORD_CLASSES]; /* by the class of the target's count */
    int64_t class_positions[RECORD_CLASSES];
    double target_loss[SPEC_GROUPS_MAX];
    int64_t target_hits[SPEC_GROUPS_MAX];
    int full_batches;
    int has_words;
    struct word_sums {
        double loss;
        int64_t words, tokens;
    } seen, unseen;
};

struct evaluation {
    const struct groups *groups;
    int B, T, C, M, V;
    uint8_t *count_class;      /* [V] */
    const uint8_t *cluster_of; /* [V] owned by the model; NULL before the first batch */
    uint8_t *in_group;         /* [V] bit g: the token is of group g */
    double *h;                 /* [C] sum over the windows of the current batch */
    double *h_sum;             /* [C] over positions */
    double *h_mean;            /* [C] */
    double *logits;            /* [M] sum over positions */
    double *p;                 /* [M] sum over full batches of the mean over positions */
    double *logp;              /* [M] mean over positions; sorted within a group */
    struct sums sums;
};

/* Extents of the arrays: the vocabulary, tracked tokens, one row. */
enum { PER_VOCAB, PER_TOKEN, PER_ROW, EXTENTS };

#define ARRAY(member, extent) ARRAYS_FIELD(struct evaluation, member, extent)
static const struct arrays_field arrays[] = {
    ARRAY(count_class, PER_VOCAB), ARRAY(in_group, PER_VOCAB), ARRAY(h, PER_ROW),
    ARRAY(h_sum, PER_ROW),         ARRAY(h_mean, PER_ROW),     ARRAY(logits, PER_TOKEN),
    ARRAY(p, PER_TOKEN),           ARRAY(logp, PER_TOKEN),
};
enum { ARRAYS = sizeof arrays / sizeof *arrays };

int evaluate_open(const struct groups *groups, const struct frequency *frequency, int B, int T,
                  int C, struct evaluation **out, struct err *err)
{
    static_assert(SPEC_GROUPS_MAX <= 8, "in_group holds a bit for each group in a byte");
    struct evaluation *e = calloc(1, sizeof *e);
    const size_t extents[EXTENTS] = {[PER_VOCAB] = (size_t)frequency->vocab,
                                     [PER_TOKEN] = (size_t)groups->n_tokens,
                                     [PER_ROW] = (size_t)C};
    if (e)
        *e = (struct evaluation){
            .groups = groups, .B = B, .T = T, .C = C, .M = groups->n_tokens, .V = frequency->vocab};
    if (!e || arrays_allocate(e, arrays, ARRAYS, extents) != 0) {
        evaluate_close(e);
        return err_set(err, ERR_NO_MEMORY, "no memory to evaluate %d tokens", groups->n_tokens);
    }
    for (int i = 0; i < frequency->vocab; i++)
        e->count_class[i] = (uint8_t)frequency_class(frequency->counts[i]);
    for (int g = 0; g < groups->n; g++)
        for (int i = 0; i < groups->group[g].n; i++)
            e->in_group[groups->group[g].ids[i]] |= (uint8_t)(1u << g);
    *out = e;
    return 0;
}

void evaluate_close(struct evaluation *e)
{
    if (!e)
        return;
    arrays_free(e, arrays, ARRAYS);
    free(e);
}

void evaluate_begin(struct evaluation *e)
{
    e->sums = (struct sums){0};
    memset(e->h_sum, 0, (size_t)e->C * sizeof *e->h_sum);
    memset(e->logits, 0, (size_t)e->M * sizeof *e->logits);
    memset(e->p, 0, (size_t)e->M * sizeof *e->p);
}

static void add_position(struct evaluation *e, int32_t target, double loss)
{
    struct sums *sums = &e->sums;
    const int class = e->count_class[target];
    sums->class_loss[class] += loss;
    sums->class_positions[class]++;
    for (int g = 0; g < e->groups->n; g++)
        if (e->in_group[target] >> g & 1) {
            sums->target_loss[g] += loss;
            sums->target_hits[g]++;
        }
}

/* Add the words that lie within one window; losses [T] and words [T] are the window's. */
static void add_words(struct evaluation *e, const double *losses, const uint8_t *words)
{
    double loss = 0;
    int first = -1; /* first token of the current word; -1: it began before the window */
    for (int t = 0; t < e->T; t++) {
        if (words[t] & DATASET_WORD_FIRST) {
            first = t;
            loss = 0;
        }
        loss += losses[t];
        if (!(words[t] & DATASET_WORD_LAST) || first < 0)
            continue;
        struct word_sums *sums = words[t] & DATASET_WORD_UNSEEN ? &e->sums.unseen : &e->sums.seen;
        sums->loss += loss;
        sums->words++;
        sums->tokens += t + 1 - first;
    }
}

static void add_logits(struct evaluation *e, const struct model_observation *seen, int windows)
{
    memset(e->h, 0, (size_t)e->C * sizeof *e->h);
    for (int w = 0; w < windows; w++)
        for (int c = 0; c < e->C; c++)
            e->h[c] += seen->h_sums[(size_t)w * (size_t)e->C + (size_t)c];
    for (int c = 0; c < e->C; c++)
        e->h_sum[c] += e->h[c];
    for (int m = 0; m < e->M; m++) {
        const double *row = seen->output_rows + (size_t)m * (size_t)e->C;
        double dot = 0;
        for (int c = 0; c < e->C; c++)
            dot += e->h[c] * row[c];
        e->logits[m] += seen->logit_scale * dot + (double)windows * e->T * seen->output_bias[m];
    }
}

void evaluate_add(struct evaluation *e, const struct model_observation *seen,
                  const int32_t *targets, const uint8_t *words, int windows)
{
    assert(seen->B == e->B && seen->T == e->T && seen->M == e->M && seen->V == e->V);
    assert(windows >= 1 && windows <= e->B);
    for (int p = 0; p < windows * e->T; p++) {
        e->sums.loss += seen->losses[p];
        for (int k = 0; k < seen->K; k++)
            e->sums.lse[k] += seen->lse[(size_t)k * (size_t)seen->N + (size_t)p];
        e->sums.positions++;
        add_position(e, targets[p], seen->losses[p]);
    }
    e->sums.has_words |= words != NULL;
    for (int w = 0; words && w < windows; w++)
        add_words(e, seen->losses + (ptrdiff_t)w * e->T, words + (ptrdiff_t)w * e->T);
    add_logits(e, seen, windows);
    e->cluster_of = seen->cluster_of;
    if (windows < e->B)
        return;
    e->sums.full_batches++;
    for (int m = 0; m < e->M; m++)
        e->p[m] += seen->mean_p[m];
}

static double mean_of(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : NAN;
}

static void classes(const struct sums *sums, double *loss, double *positions)
{
    for (int class = 0; class < RECORD_CLASSES; class ++) {
        loss[class] = mean_of(sums->class_loss[class], sums->class_positions[class]);
        positions[class] = (double)sums->class_positions[class];
    }
}

const double *evaluate_h(struct evaluation *e)
{
    for (int c = 0; c < e->C; c++)
        e->h_mean[c] = mean_of(e->h_sum[c], e->sums.positions);
    return e->h_mean;
}

/* Mean over positions of the term that log p of a token subtracts from its logit. */
static double log_z_of(const struct evaluation *e, int32_t token)
{
    return e->cluster_of ? mean_of(e->sums.lse[e->cluster_of[token]], e->sums.positions) : NAN;
}

/* Mean log p over positions and the tokens of each class. */
static void spectrum(const struct evaluation *e, const float *scores, double *logp)
{
    double sum[RECORD_CLASSES] = {0};
    int64_t tokens[RECORD_CLASSES] = {0};
    for (int i = 0; e->sums.positions > 0 && i < e->V; i++) {
        const int class = e->count_class[i];
        sum[class] += (double)scores[i] - log_z_of(e, i);
        tokens[class]++;
    }
    for (int class = 0; class < RECORD_CLASSES; class ++)
        logp[class] = mean_of(sum[class], tokens[class]);
}

/* Record numbers of group g, whose tokens are [start, start + n). */
static void group_of(const struct evaluation *e, int g, int start, int n, double *fields)
{
    static_assert(RECORD_EVAL_Q95 == RECORD_EVAL_Q05 + STATISTICS_QUANTILES - 1,
                  "quantiles in a row");
    const struct sums *sums = &e->sums;
    double logits = 0, log_z = 0, p = 0, ln_p = 0;
    for (int m = start; m < start + n; m++) {
        const double logit = mean_of(e->logits[m], sums->positions),
                     z = log_z_of(e, e->groups->tokens[m]),
                     mean_p = mean_of(e->p[m], sums->full_batches);
        logits += logit;
        log_z += z;
        e->logp[m] = logit - z;
        p += mean_p;
        ln_p += log(mean_p);
    }
    fields[RECORD_EVAL_MEAN_LOGIT] = mean_of(logits, n);
    fields[RECORD_EVAL_MEAN_LOGP] = mean_of(logits - log_z, n);
    fields[RECORD_EVAL_MEAN_P] = mean_of(p, n);
    fields[RECORD_EVAL_LN_MEAN_P] = mean_of(ln_p, n);
    fields[RECORD_EVAL_TARGET_LOSS] = mean_of(sums->target_loss[g], sums->target_hits[g]);
    fields[RECORD_EVAL_SD] = statistics_spread(e->logp + start, n, fields + RECORD_EVAL_Q05);
}

void evaluate_text(const struct evaluation *e, const float *scores, double *values)
{
    const struct sums *sums = &e->sums;
    values[RECORD_EVAL_LOSS] = mean_of(sums->loss, sums->positions);
    values[RECORD_EVAL_LOG_Z] = mean_of(sums->lse[0], sums->positions);
    classes(sums, values + RECORD_EVAL_LOSS_BY_COUNT, values + RECORD_EVAL_N_BY_COUNT);
    spectrum(e, scores, values + RECORD_EVAL_LOGP_BY_COUNT);
    for (int g = 0, start = 0; g < e->groups->n; start += e->groups->group[g++].n)
        group_of(e, g, start, e->groups->group[g].n, values + record_at(g, 0));
}

/* The four numbers of one kind of words. */
static void words_of(const struct word_sums *sums, int has_words, double *values)
{
    values[0] = mean_of(sums->loss, sums->words);
    values[1] = mean_of(sums->loss, sums->tokens);
    values[2] = has_words ? (double)sums->words : NAN;
    values[3] = has_words ? (double)sums->tokens : NAN;
}

void evaluate_held_out(const struct evaluation *e, double *values)
{
    static_assert(RECORD_UNSEEN_WORD_TOKENS == RECORD_UNSEEN_WORD_LOSS + 3 &&
                      RECORD_SEEN_WORD_TOKENS == RECORD_SEEN_WORD_LOSS + 3,
                  "in the order of words_of");
    words_of(&e->sums.unseen, e->sums.has_words, values + RECORD_UNSEEN_WORD_LOSS);
    words_of(&e->sums.seen, e->sums.has_words, values + RECORD_SEEN_WORD_LOSS);
    values[RECORD_HOLDOUT_LOSS] = mean_of(e->sums.loss, e->sums.positions);
    values[RECORD_HOLDOUT_LOG_Z] = mean_of(e->sums.lse[0], e->sums.positions);
    classes(&e->sums, values + RECORD_HOLDOUT_LOSS_BY_COUNT, values + RECORD_HOLDOUT_N_BY_COUNT);
}
