/* measure: see measure.h. A tracked token is a slot m < M in group order; a token in two groups has
 * two slots, linked from first[id] by next[]. One pass over the batch, window by window, finds the
 * slots that occur in each window; the masks are then sums over few rows:
 *   columns    kept tokens are those in no window;
 *   windows    per window, the whole group minus the slots that occur in it;
 *   positions  observation->h_sums row B + g, which leaves them out already.
 * Invariant: integers decide whether a mask empties a group, never a sum that happens to be
 * small. */
#include "gpu/measure.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "gpu/arrays.h"
#include "lab/statistics.h"

/* Accumulators of one group over the windows and positions of a batch. */
struct tally {
    double windows_logp; /* sum of log p over the pairs that mask `windows` keeps */
    int64_t windows_pairs;
    int64_t positions_in;                  /* positions with an input token of the group */
    double positions_in_lse[CLUSTERS_MAX]; /* sum of their logsumexp, for each cluster */
    int64_t tokens[CLUSTERS_MAX];          /* of the group, in each cluster */
    int64_t target_hits;                   /* positions with a target of the group */
    double target_loss;
    double bias_sum;  /* sum of the group's output biases */
    double advantage; /* sum over the tokens that occur in some windows but not all */
    int advantage_tokens;
};

struct measure {
    const struct groups *groups;
    int vocab, B, T, C, M;
    int32_t *first;       /* [V] first slot of a token, -1: not tracked */
    int32_t *next;        /* [M] next slot of the same token, -1: none */
    int32_t *group_of;    /* [M] */
    int32_t *last_window; /* [M] last window in which the slot occurred, -1: none yet */
    int32_t *windows_in;  /* [M] number of windows in which it occurs */
    int32_t *present;     /* [M] slots that occur in the current window */
    double *present_dots; /* [M] dot products of their rows with h of the window */
    double *in_windows;   /* [M] log p summed over the windows in which it occurs */
    int64_t *exposures;   /* [V] */
    uint8_t *count_class; /* [V] class of the token's count in the text */
    uint8_t *exposure_class;
    int is_classed; /* exposure_class and exposure_tokens are up to date */
    int64_t count_tokens[RECORD_CLASSES], exposure_tokens[RECORD_CLASSES]; /* in each class */
    float *spectrum;      /* [V] log p of the last record */
    double *start_output; /* [M][C] */
    double *start_input;  /* [M][C] */
    double *row_sums;     /* [G][C] sum of a group's output rows */
    double *h_mean;       /* [C] over all positions */
    double *unit_sum;     /* [C] sum of a group's output rows, each normalised to length 1 */
    double *token_logit;  /* [M] mean over positions */
    double *token_logp;   /* [M] */
    double *sorted;       /* [M] */
    double *output_norm, *output_shift, *input_norm, *input_shift; /* [M] */
    struct tally tally[SPEC_GROUPS_MAX];
};

/* Extents of the arrays: the vocabulary, tracked tokens, their rows, rows of groups, one row. */
enum { PER_VOCAB, PER_TOKEN, PER_TOKEN_ROW, PER_GROUP_ROW, PER_ROW, EXTENTS };

#define ARRAY(member, extent) ARRAYS_FIELD(struct measure, member, extent)
static const struct arrays_field arrays[] = {
    ARRAY(first, PER_VOCAB),
    ARRAY(next, PER_TOKEN),
    ARRAY(group_of, PER_TOKEN),
    ARRAY(last_window, PER_TOKEN),
    ARRAY(windows_in, PER_TOKEN),
    ARRAY(present, PER_TOKEN),
    ARRAY(present_dots, PER_TOKEN),
    ARRAY(in_windows, PER_TOKEN),
    ARRAY(exposures, PER_VOCAB),
    ARRAY(count_class, PER_VOCAB),
    ARRAY(exposure_class, PER_VOCAB),
    ARRAY(spectrum, PER_VOCAB),
    ARRAY(start_output, PER_TOKEN_ROW),
    ARRAY(start_input, PER_TOKEN_ROW),
    ARRAY(row_sums, PER_GROUP_ROW),
    ARRAY(h_mean, PER_ROW),
    ARRAY(unit_sum, PER_ROW),
    ARRAY(token_logit, PER_TOKEN),
    ARRAY(token_logp, PER_TOKEN),
    ARRAY(sorted, PER_TOKEN),
    ARRAY(output_norm, PER_TOKEN),
    ARRAY(output_shift, PER_TOKEN),
    ARRAY(input_norm, PER_TOKEN),
    ARRAY(input_shift, PER_TOKEN),
};
enum { ARRAYS = sizeof arrays / sizeof *arrays };

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Six independent accumulators hide the latency of addition. Each sum keeps the order that it has
 * by itself, so the bits do not depend on this number. */
enum { TOGETHER = 6 };

/* Pairs of rows of C numbers: row i of `rows` with row i of `others`, or with the same one always
 * if stride is 0. */
struct row_pairs {
    const double *rows, *others;
    const int32_t *which; /* indices of the rows; NULL: 0, 1, .. */
    ptrdiff_t stride;     /* numbers between two rows of `others` */
    int C;
};

static inline void sum_together(const struct row_pairs *pairs, int first, int n, int is_square,
                                double *out)
{
    const double *a[TOGETHER], *b[TOGETHER];
    double sum[TOGETHER] = {0};
    for (int j = 0; j < TOGETHER; j++) { /* the last group is filled up with its last row */
        const int i = first + (j < n ? j : n - 1), row = pairs->which ? pairs->which[i] : i;
        a[j] = pairs->rows + (ptrdiff_t)row * pairs->C;
        b[j] = pairs->others + row * pairs->stride;
    }
    for (int c = 0; c < pairs->C; c++)
        for (int j = 0; j < TOGETHER; j++)
            sum[j] += is_square ? (a[j][c] - b[j][c]) * (a[j][c] - b[j][c]) : a[j][c] * b[j][c];
    for (int j = 0; j < n; j++)
        out[first + j] = sum[j];
}

static inline int at_most(int n)
{
    return n < TOGETHER ? n : TOGETHER;
}

/* out[i] = row . other, for n rows. */
static void dots(const struct row_pairs *pairs, int n, double *out)
{
    for (int i = 0; i < n; i += TOGETHER)
        sum_together(pairs, i, at_most(n - i), 0, out);
}

/* out[i] = |row - other|, for n rows. */
static void distances(const struct row_pairs *pairs, int n, double *out)
{
    for (int i = 0; i < n; i += TOGETHER)
        sum_together(pairs, i, at_most(n - i), 1, out);
    for (int i = 0; i < n; i++)
        out[i] = sqrt(out[i]);
}

/* out[i] = |row|, for n rows. */
static void lengths(const double *rows, int n, int C, double *out)
{
    dots(&(struct row_pairs){rows, rows, NULL, C, C}, n, out);
    for (int i = 0; i < n; i++)
        out[i] = sqrt(out[i]);
}

static int cluster_of(const struct measure *measure, const struct model_observation *seen, int m)
{
    return seen->cluster_of[measure->groups->tokens[m]];
}

/* Sum of a cluster's logsumexp over positions [first, end). */
static double sum_lse(const struct model_observation *seen, int cluster, int first, int end)
{
    const double *lse = seen->lse + (size_t)cluster * (size_t)seen->N;
    double sum = 0;
    for (int p = first; p < end; p++)
        sum += lse[p];
    return sum;
}

/* sum / n; NaN for n = 0. */
static double mean_of(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : NAN;
}

static void link_slots(struct measure *measure)
{
    const struct groups *groups = measure->groups;
    for (int i = 0; i < measure->vocab; i++)
        measure->first[i] = -1;
    int m = 0;
    for (int g = 0; g < groups->n; g++) {
        for (int i = 0; i < groups->group[g].n; i++, m++) {
            int32_t id = groups->group[g].ids[i];
            assert(id >= 0 && id < measure->vocab);
            measure->group_of[m] = g;
            measure->next[m] = measure->first[id];
            measure->first[id] = m;
        }
    }
    assert(m == measure->M);
}

/* Class of each count, and the number of tokens in each class. */
static void classify(const int64_t *counts, int vocab, uint8_t *class_of,
                     int64_t tokens[RECORD_CLASSES])
{
    static_assert(RECORD_CLASSES == (int)FREQUENCY_CLASSES, "a number for each class");
    memset(tokens, 0, RECORD_CLASSES * sizeof *tokens);
    for (int i = 0; i < vocab; i++) {
        class_of[i] = (uint8_t)frequency_class(counts[i]);
        tokens[class_of[i]]++;
    }
}

int measure_open(const struct groups *groups, const struct frequency *frequency, int B, int T,
                 int C, struct measure **out, struct err *err)
{
    struct measure *measure = calloc(1, sizeof *measure);
    if (!measure)
        return err_set(err, ERR_NO_MEMORY, "no memory to measure %d tokens", groups->n_tokens);
    const size_t M = (size_t)groups->n_tokens, G = (size_t)groups->n, width = (size_t)C;
    const size_t extents[EXTENTS] = {[PER_VOCAB] = (size_t)frequency->vocab,
                                     [PER_TOKEN] = M,
                                     [PER_TOKEN_ROW] = M * width,
                                     [PER_GROUP_ROW] = G * width,
                                     [PER_ROW] = width};
    measure->groups = groups;
    measure->vocab = frequency->vocab;
    measure->B = B;
    measure->T = T;
    measure->C = C;
    measure->M = groups->n_tokens;
    if (arrays_allocate(measure, arrays, ARRAYS, extents) != 0) {
        measure_close(measure);
        return err_set(err, ERR_NO_MEMORY, "no memory to measure %d tokens of %d numbers",
                       groups->n_tokens, C);
    }
    link_slots(measure);
    classify(frequency->counts, measure->vocab, measure->count_class, measure->count_tokens);
    *out = measure;
    return 0;
}

void measure_close(struct measure *measure)
{
    if (!measure)
        return;
    arrays_free(measure, arrays, ARRAYS);
    free(measure);
}

void measure_set_start(struct measure *measure, const double *output_rows, const double *input_rows)
{
    size_t bytes = (size_t)measure->M * (size_t)measure->C * sizeof(double);
    memcpy(measure->start_output, output_rows, bytes);
    if (input_rows)
        memcpy(measure->start_input, input_rows, bytes);
}

void measure_count_targets(struct measure *measure, const int32_t *targets)
{
    for (int p = 0; p < measure->B * measure->T; p++) {
        const int32_t token = targets[p];
        const int64_t n = ++measure->exposures[token];
        const int class = measure->exposure_class[token];
        if (class + 1 == RECORD_CLASSES || n < frequency_class_from[class + 1])
            continue;
        measure->exposure_class[token]++;
        measure->exposure_tokens[class]--;
        measure->exposure_tokens[class + 1]++;
    }
}

int64_t *measure_exposures(struct measure *measure)
{
    measure->is_classed = 0; /* the caller may overwrite them */
    return measure->exposures;
}

const float *measure_spectrum(const struct measure *measure)
{
    return measure->spectrum;
}

static void sum_h_and_rows(struct measure *measure, const struct model_observation *seen)
{
    int C = measure->C;
    memset(measure->h_mean, 0, (size_t)C * sizeof(double));
    for (int w = 0; w < measure->B; w++)
        for (int c = 0; c < C; c++)
            measure->h_mean[c] += seen->h_sums[(size_t)w * (size_t)C + (size_t)c];
    for (int c = 0; c < C; c++)
        measure->h_mean[c] /= (double)seen->N;

    memset(measure->row_sums, 0, (size_t)measure->groups->n * (size_t)C * sizeof(double));
    memset(measure->tally, 0, sizeof measure->tally);
    for (int m = 0; m < measure->M; m++) {
        int g = measure->group_of[m];
        const double *row = seen->output_rows + (size_t)m * (size_t)C;
        double *sum = measure->row_sums + (size_t)g * (size_t)C;
        for (int c = 0; c < C; c++)
            sum[c] += row[c];
        measure->tally[g].bias_sum += seen->output_bias[m];
        measure->tally[g].tokens[cluster_of(measure, seen, m)]++;
    }
}

/* log_z: mean logsumexp of each cluster. */
static void measure_tokens(struct measure *measure, const struct model_observation *seen,
                           const double *log_z, float *tokens)
{
    const int M = measure->M, C = measure->C;
    dots(&(struct row_pairs){seen->output_rows, measure->h_mean, NULL, 0, C}, M,
         measure->token_logit);
    for (int m = 0; m < M; m++) {
        measure->token_logit[m] =
            seen->logit_scale * measure->token_logit[m] + seen->output_bias[m];
        measure->token_logp[m] = measure->token_logit[m] - log_z[cluster_of(measure, seen, m)];
        tokens[m] = (float)measure->token_logp[m];
    }
}

static void measure_rows(struct measure *measure, const struct model_observation *seen)
{
    const int M = measure->M, C = measure->C;
    lengths(seen->output_rows, M, C, measure->output_norm);
    distances(&(struct row_pairs){seen->output_rows, measure->start_output, NULL, C, C}, M,
              measure->output_shift);
    if (!seen->input_rows)
        return;
    lengths(seen->input_rows, M, C, measure->input_norm);
    distances(&(struct row_pairs){seen->input_rows, measure->start_input, NULL, C, C}, M,
              measure->input_shift);
}

/* Walk over the positions of one window: collect the slots that occur in it in present[], and
 * accumulate for mask `positions` and the target loss. */
static int tally_window(struct measure *measure, const struct model_observation *seen,
                        const int32_t *inputs, const int32_t *targets, int window)
{
    int n_present = 0;
    for (int p = window * measure->T; p < (window + 1) * measure->T; p++) {
        for (int m = measure->first[inputs[p]]; m >= 0; m = measure->next[m]) {
            struct tally *tally = &measure->tally[measure->group_of[m]];
            tally->positions_in++;
            for (int k = 0; k < seen->K; k++)
                tally->positions_in_lse[k] += seen->lse[(size_t)k * (size_t)seen->N + (size_t)p];
            if (measure->last_window[m] != window) {
                measure->last_window[m] = window;
                measure->windows_in[m]++;
                measure->present[n_present++] = m;
            }
        }
        for (int m = measure->first[targets[p]]; m >= 0; m = measure->next[m]) {
            struct tally *tally = &measure->tally[measure->group_of[m]];
            tally->target_hits++;
            tally->target_loss += seen->losses[p];
        }
    }
    return n_present;
}

/* Mask `windows`: log p summed over the window's positions and every token of a group, minus the
 * tokens that occur in the window. */
static void mask_window(struct measure *measure, const struct model_observation *seen, int window,
                        int n_present)
{
    int C = measure->C, T = measure->T;
    const double *h = seen->h_sums + (size_t)window * (size_t)C;
    double lse[CLUSTERS_MAX];
    for (int k = 0; k < seen->K; k++)
        lse[k] = sum_lse(seen, k, window * T, (window + 1) * T);
    for (int g = 0; g < measure->groups->n; g++) {
        struct tally *tally = &measure->tally[g];
        int n = measure->groups->group[g].n;
        tally->windows_logp +=
            seen->logit_scale * dot(h, measure->row_sums + (size_t)g * (size_t)C, C) +
            T * tally->bias_sum;
        for (int k = 0; k < seen->K; k++)
            tally->windows_logp -= (double)tally->tokens[k] * lse[k];
        tally->windows_pairs += (int64_t)n * T;
    }
    dots(&(struct row_pairs){seen->output_rows, h, measure->present, 0, C}, n_present,
         measure->present_dots);
    for (int i = 0; i < n_present; i++) {
        int m = measure->present[i];
        struct tally *tally = &measure->tally[measure->group_of[m]];
        const double logp = seen->logit_scale * measure->present_dots[i] +
                            T * seen->output_bias[m] - lse[cluster_of(measure, seen, m)];
        measure->in_windows[m] += logp;
        tally->windows_logp -= logp;
        tally->windows_pairs -= T;
    }
}

/* Advantage of occurring in the window: mean log p of a token in the windows that contain it minus
 * its mean log p in the others. */
static void tally_advantage(struct measure *measure)
{
    for (int m = 0; m < measure->M; m++) {
        const int in = measure->windows_in[m], out = measure->B - in, T = measure->T;
        if (in == 0 || out == 0)
            continue;
        struct tally *tally = &measure->tally[measure->group_of[m]];
        const double all = measure->token_logp[m] * measure->B * T;
        tally->advantage += measure->in_windows[m] / ((double)in * T) -
                            (all - measure->in_windows[m]) / ((double)out * T);
        tally->advantage_tokens++;
    }
}

static void record_spread(struct measure *measure, int start, int n, double *fields)
{
    static_assert(RECORD_Q95 == RECORD_Q05 + STATISTICS_QUANTILES - 1, "quantiles in a row");
    memcpy(measure->sorted, measure->token_logp + start, (size_t)n * sizeof(double));
    fields[RECORD_SD] = statistics_spread(measure->sorted, n, fields + RECORD_Q05);
}

/* The four masked means of group g, whose slots are [start, start + n). */
static void record_masks(const struct measure *measure, const struct model_observation *seen, int g,
                         int start, int n, const double *lse_sum, double *fields)
{
    const struct tally *tally = &measure->tally[g];
    int64_t N = seen->N, outside = N - tally->positions_in;
    double all = 0, kept = 0;
    int n_kept = 0, n_windows = 0;
    for (int m = start; m < start + n; m++) {
        all += measure->token_logp[m];
        n_windows += measure->windows_in[m] < measure->B;
        if (measure->windows_in[m] == 0) {
            kept += measure->token_logp[m];
            n_kept++;
        }
    }
    fields[RECORD_MEAN_LOGP_NONE] = mean_of(all, n);
    fields[RECORD_MEAN_LOGP_COLUMNS] = mean_of(kept, n_kept);
    fields[RECORD_MEAN_LOGP_WINDOWS] = mean_of(tally->windows_logp, tally->windows_pairs);

    const double *h = seen->h_sums + (size_t)(measure->B + g) * (size_t)measure->C;
    const double *rows = measure->row_sums + (size_t)g * (size_t)measure->C;
    double positions =
        seen->logit_scale * dot(h, rows, measure->C) + (double)outside * tally->bias_sum;
    for (int k = 0; k < seen->K; k++)
        positions -= (double)tally->tokens[k] * (lse_sum[k] - tally->positions_in_lse[k]);
    fields[RECORD_MEAN_LOGP_POSITIONS] = mean_of(positions, outside * n);

    fields[RECORD_N_NONE] = (double)(n * N);
    fields[RECORD_N_COLUMNS] = (double)(n_kept * N);
    fields[RECORD_N_WINDOWS] = (double)tally->windows_pairs;
    fields[RECORD_N_POSITIONS] = (double)(outside * n);
    fields[RECORD_KEPT_NONE] = n;
    fields[RECORD_KEPT_COLUMNS] = n_kept;
    fields[RECORD_KEPT_WINDOWS] = n_windows;
    fields[RECORD_KEPT_POSITIONS] = outside > 0 ? n : 0;
}

/* Means over the group's tokens of all per-token numbers. */
static void record_tokens(const struct measure *measure, const struct model_observation *seen,
                          int g, int start, int n, double *fields)
{
    double ln_p = 0, p = 0, logit = 0, exposure = 0;
    double output_norm = 0, output_shift = 0, input_norm = 0, input_shift = 0;
    for (int m = start; m < start + n; m++) {
        ln_p += log(seen->mean_p[m]);
        p += seen->mean_p[m];
        logit += measure->token_logit[m];
        exposure += (double)measure->exposures[measure->groups->tokens[m]];
        output_norm += measure->output_norm[m];
        output_shift += measure->output_shift[m];
        input_norm += measure->input_norm[m];
        input_shift += measure->input_shift[m];
    }
    const struct tally *tally = &measure->tally[g];
    fields[RECORD_LN_MEAN_P] = mean_of(ln_p, n);
    fields[RECORD_MEAN_P] = mean_of(p, n);
    fields[RECORD_MASS] = n > 0 ? p : NAN;
    fields[RECORD_MEAN_LOGIT] = mean_of(logit, n);
    fields[RECORD_TARGET_LOSS] = mean_of(tally->target_loss, tally->target_hits);
    fields[RECORD_EXPOSURE] = mean_of(exposure, n);
    fields[RECORD_OUTPUT_NORM] = mean_of(output_norm, n);
    fields[RECORD_OUTPUT_SHIFT] = mean_of(output_shift, n);
    fields[RECORD_INPUT_NORM] = seen->input_rows ? mean_of(input_norm, n) : NAN;
    fields[RECORD_INPUT_SHIFT] = seen->input_rows ? mean_of(input_shift, n) : NAN;
    fields[RECORD_ADVANTAGE] = mean_of(tally->advantage, tally->advantage_tokens);
}

static void record_gradient(const struct measure *measure, const struct model_observation *seen,
                            int start, int n, double *fields)
{
    static const enum record_field field_of[] = {
        [PART_SOFTMAX] = RECORD_GRAD_SOFTMAX,
        [PART_TARGET] = RECORD_GRAD_TARGET,
        [PART_ZLOSS] = RECORD_GRAD_ZLOSS,
        [PART_INPUT] = RECORD_GRAD_INPUT,
    };
    for (int part = 0; part < BACKEND_PARTS; part++) {
        double sum = 0;
        for (int m = start; m < start + n; m++)
            sum += seen->part_norms[(size_t)part * (size_t)measure->M + (size_t)m];
        fields[field_of[part]] = mean_of(sum, n);
    }
}

static double cosine(double dot_product, double square_a, double square_b)
{
    return square_a > 0 && square_b > 0 ? dot_product / sqrt(square_a * square_b) : NAN;
}

/* With u the normalised rows, the sum over all pairs of u_i . u_j is (|sum u|^2 - n) / 2. A row of
 * zeros has no direction: its group's value is NaN. */
static void record_cosines(const struct measure *measure, const struct model_observation *seen,
                           int g, int start, int n, double *fields)
{
    const int C = measure->C;
    const double *sum = measure->row_sums + (size_t)g * (size_t)C, *h = measure->h_mean;
    fields[RECORD_COS_MINUS_H] = cosine(-dot(sum, h, C), dot(sum, sum, C), dot(h, h, C));

    memset(measure->unit_sum, 0, (size_t)C * sizeof(double));
    for (int m = start; m < start + n; m++) {
        const double *row = seen->output_rows + (size_t)m * (size_t)C;
        const double length = measure->output_norm[m];
        for (int c = 0; c < C; c++)
            measure->unit_sum[c] += row[c] / length;
    }
    fields[RECORD_COS_WITHIN] =
        n > 1 ? (dot(measure->unit_sum, measure->unit_sum, C) - n) / ((double)n * (n - 1)) : NAN;
}

/* Independent accumulators hide the latency of addition. */
enum { SPECTRUM_LANES = 4 };

struct spectrum_sums {
    double of[RECORD_CLASSES][SPECTRUM_LANES];
};

static void record_classes(const struct spectrum_sums *sums, const int64_t n[RECORD_CLASSES],
                           double *logp, double *tokens)
{
    for (int class = 0; class < RECORD_CLASSES; class ++) {
        double sum = 0;
        for (int lane = 0; lane < SPECTRUM_LANES; lane++)
            sum += sums->of[class][lane];
        logp[class] = mean_of(sum, n[class]);
        tokens[class] = (double)n[class];
    }
}

static inline double token_logp(const struct model_observation *seen, const double *log_z, int i)
{
    return (double)seen->scores[i] - log_z[seen->cluster_of[i]];
}

/* 1 if SPECTRUM_LANES tokens from i on all have count and exposure 0. */
static inline int are_unseen(const struct measure *measure, int i)
{
    uint32_t count, exposure;
    static_assert(sizeof count == SPECTRUM_LANES, "a byte a token");
    memcpy(&count, measure->count_class + i, sizeof count);
    memcpy(&exposure, measure->exposure_class + i, sizeof exposure);
    return (count | exposure) == 0;
}

/* Fast path: most tokens never occur, so along a run of such tokens from `first` on the sums stay
 * in registers. Returns the first token that is not covered. */
static int sum_unseen(struct measure *measure, const struct model_observation *seen,
                      const double *log_z, int first, double count[SPECTRUM_LANES],
                      double exposure[SPECTRUM_LANES])
{
    double counted[SPECTRUM_LANES], exposed[SPECTRUM_LANES];
    int i = first;
    memcpy(counted, count, sizeof counted);
    memcpy(exposed, exposure, sizeof exposed);
    for (; i + SPECTRUM_LANES <= measure->vocab && are_unseen(measure, i); i += SPECTRUM_LANES)
        for (int lane = 0; lane < SPECTRUM_LANES; lane++) {
            const double logp = token_logp(seen, log_z, i + lane);
            measure->spectrum[i + lane] = (float)logp;
            counted[lane] += logp;
            exposed[lane] += logp;
        }
    memcpy(count, counted, sizeof counted);
    memcpy(exposure, exposed, sizeof exposed);
    return i;
}

/* Mean log p of every token of the vocabulary, and its means by class of count and of exposure. */
static void record_spectrum(struct measure *measure, const struct model_observation *seen,
                            const double *log_z, double *values)
{
    struct spectrum_sums count = {0}, exposure = {0};
    if (!measure->is_classed)
        classify(measure->exposures, measure->vocab, measure->exposure_class,
                 measure->exposure_tokens);
    measure->is_classed = 1;
    for (int i = 0; i < measure->vocab; i += SPECTRUM_LANES) {
        i = sum_unseen(measure, seen, log_z, i, count.of[0], exposure.of[0]);
        for (int k = i; k < measure->vocab && k < i + SPECTRUM_LANES; k++) {
            const double logp = token_logp(seen, log_z, k);
            measure->spectrum[k] = (float)logp;
            count.of[measure->count_class[k]][k % SPECTRUM_LANES] += logp;
            exposure.of[measure->exposure_class[k]][k % SPECTRUM_LANES] += logp;
        }
    }
    record_classes(&count, measure->count_tokens, values + RECORD_LOGP_BY_COUNT,
                   values + RECORD_TOKENS_BY_COUNT);
    record_classes(&exposure, measure->exposure_tokens, values + RECORD_LOGP_BY_EXPOSURE,
                   values + RECORD_TOKENS_BY_EXPOSURE);
}

void measure_record(struct measure *measure, const struct model_observation *observation,
                    const int32_t *inputs, const int32_t *targets, double *values, float *tokens)
{
    const struct model_observation *seen = observation;
    assert(seen->B == measure->B && seen->T == measure->T && seen->M == measure->M &&
           seen->V == measure->vocab && seen->K <= CLUSTERS_MAX);
    double losses = 0, objective = 0, lse[CLUSTERS_MAX], log_z[CLUSTERS_MAX];
    for (int k = 0; k < seen->K; k++) {
        lse[k] = sum_lse(seen, k, 0, seen->N);
        log_z[k] = lse[k] / seen->N;
    }
    for (int p = 0; p < seen->N; p++) {
        losses += seen->losses[p];
        objective += seen->objective ? seen->objective[p] : seen->losses[p];
    }
    for (int m = 0; m < measure->M; m++) {
        measure->last_window[m] = -1;
        measure->windows_in[m] = 0;
        measure->in_windows[m] = 0;
    }
    sum_h_and_rows(measure, seen);
    measure_tokens(measure, seen, log_z, tokens);
    measure_rows(measure, seen);
    for (int w = 0; w < measure->B; w++)
        mask_window(measure, seen, w, tally_window(measure, seen, inputs, targets, w));
    tally_advantage(measure);

    for (int i = 0; i < record_size(measure->groups->n); i++)
        values[i] = NAN;
    values[RECORD_LOSS] = losses / seen->N;
    values[RECORD_LOG_Z] = log_z[0];
    values[RECORD_GRAD_NORM] = seen->grad_norm;
    values[RECORD_OBJECTIVE] = objective / seen->N;
    values[RECORD_H_NORM] = sqrt(dot(measure->h_mean, measure->h_mean, measure->C));
    values[RECORD_H_L1] = 0;
    for (int c = 0; c < measure->C; c++)
        values[RECORD_H_L1] += fabs(measure->h_mean[c]);
    record_spectrum(measure, seen, log_z, values);
    for (int g = 0, start = 0; g < measure->groups->n; start += measure->groups->group[g++].n) {
        int n = measure->groups->group[g].n;
        double *fields = values + record_at(g, 0);
        record_masks(measure, seen, g, start, n, lse, fields);
        record_spread(measure, start, n, fields);
        record_tokens(measure, seen, g, start, n, fields);
        record_gradient(measure, seen, start, n, fields);
        record_cosines(measure, seen, g, start, n, fields);
    }
}
