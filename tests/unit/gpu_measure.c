/* gpu_measure: the record of an epoch against its definitions (SCIENCE sections
 * 1 and 2), written here as loops over every token-position pair of fully
 * materialised logits in double. Random small batches, overlapping groups,
 * tokens that fill the batch so that masks empty groups. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "gpu/measure.h"
#include "lab/random.h"

enum { V = 23, B_MAX = 4, T_MAX = 6, N_MAX = B_MAX * T_MAX, C = 5, G = 4, M_MAX = 40 };
enum { UNSEEN = 9 }; /* first ids that the text does not have */

/* One random case: a batch, a model's last layer, and groups. */
struct trial {
    int B, T, N, tied;
    double scale;
    int32_t inputs[N_MAX], targets[N_MAX];
    double h[N_MAX][C], w[V][C], input_w[V][C], bias[V];
    double start_output[V][C], start_input[V][C];
    int K; /* clusters of the output layer */
    unsigned char cluster_of[V];
    double logits[N_MAX][V], lse[CLUSTERS_MAX * N_MAX]; /* [K][N] */
    int64_t exposure[V];
    struct groups groups;
    int32_t ids[G][V], tokens[M_MAX];
    double losses[N_MAX], objective[N_MAX], h_sums[(B_MAX + G) * C], mean_p[M_MAX];
    double rows[M_MAX * C], row_bias[M_MAX], input_rows[M_MAX * C];
    double start_rows[M_MAX * C], start_input_rows[M_MAX * C];
    int64_t counts[V];
    struct frequency frequency;
    float scores[V];
    double part_norms[BACKEND_PARTS * M_MAX];
    struct model_observation observation;
};

static uint64_t draws;

static double normal(void)
{
    return random_normal(7, RANDOM_WEIGHTS, draws++);
}

static int below(int n)
{
    return (int)random_below(7, RANDOM_TOKENS, draws++, (uint64_t)n);
}

static int in_group(const struct trial *trial, int g, int32_t id)
{
    const struct group *group = &trial->groups.group[g];
    for (int i = 0; i < group->n; i++)
        if (group->ids[i] == id)
            return 1;
    return 0;
}

static int in_window(const struct trial *trial, int window, int32_t id)
{
    for (int t = 0; t < trial->T; t++)
        if (trial->inputs[window * trial->T + t] == id)
            return 1;
    return 0;
}

static int in_batch(const struct trial *trial, int32_t id)
{
    for (int w = 0; w < trial->B; w++)
        if (in_window(trial, w, id))
            return 1;
    return 0;
}

/* Does the pair (token of group g, position) count under a mask? */
static int keeps(const struct trial *trial, enum spec_mask mask, int g, int32_t id, int position)
{
    switch (mask) {
    case MASK_COLUMNS:
        return !in_batch(trial, id);
    case MASK_WINDOWS:
        return !in_window(trial, position / trial->T, id);
    case MASK_POSITIONS:
        return !in_group(trial, g, trial->inputs[position]);
    default:
        return 1;
    }
}

static double logp(const struct trial *trial, int position, int32_t id)
{
    return trial->logits[position][id] - trial->lse[trial->cluster_of[id] * trial->N + position];
}

/* Group 0 is small, 1 overlaps it, 2 has one token, 3 is every token that the
 * batch can hold, so that columns, windows and positions all empty it when
 * `flood` confines the batch to it. */
static void make_groups(struct trial *trial)
{
    static const int first[G] = {2, 4, 11, 0}, size[G] = {6, 9, 1, 4};
    trial->groups.n = G;
    trial->groups.tokens = trial->tokens;
    trial->groups.n_tokens = 0;
    for (int g = 0; g < G; g++) {
        struct group *group = &trial->groups.group[g];
        snprintf(group->name, sizeof group->name, "group%d", g);
        group->n = size[g];
        group->ids = trial->ids[g];
        for (int i = 0; i < size[g]; i++) {
            group->ids[i] = (first[g] + 2 * i) % V;
            trial->tokens[trial->groups.n_tokens++] = group->ids[i];
        }
    }
}

static void make_logits(struct trial *trial)
{
    for (int p = 0; p < trial->N; p++) {
        double sum = 0;
        for (int i = 0; i < V; i++) {
            double z = 0;
            for (int c = 0; c < C; c++)
                z += trial->h[p][c] * trial->w[i][c];
            trial->logits[p][i] = trial->scale * z + trial->bias[i];
            sum += exp(trial->logits[p][i]);
        }
        for (int k = 0; k < trial->K; k++)
            trial->lse[k * trial->N + p] = log(sum) + (k ? normal() : 0);
        trial->objective[p] = normal();
        trial->losses[p] = -logp(trial, p, trial->targets[p]);
    }
}

static void make_sums(struct trial *trial)
{
    for (int p = 0; p < trial->N; p++)
        for (int c = 0; c < C; c++) {
            trial->h_sums[p / trial->T * C + c] += trial->h[p][c];
            for (int g = 0; g < G; g++)
                if (!in_group(trial, g, trial->inputs[p]))
                    trial->h_sums[(trial->B + g) * C + c] += trial->h[p][c];
        }
    for (int m = 0; m < trial->groups.n_tokens; m++) {
        int32_t id = trial->tokens[m];
        for (int p = 0; p < trial->N; p++)
            trial->mean_p[m] += exp(logp(trial, p, id)) / trial->N;
        trial->row_bias[m] = trial->bias[id];
        for (int c = 0; c < C; c++) {
            trial->rows[m * C + c] = trial->w[id][c];
            trial->input_rows[m * C + c] = trial->input_w[id][c];
            trial->start_rows[m * C + c] = trial->start_output[id][c];
            trial->start_input_rows[m * C + c] = trial->start_input[id][c];
        }
    }
}

static void make_spectrum(struct trial *trial)
{
    trial->frequency = (struct frequency){.vocab = V, .counts = trial->counts};
    for (int i = 0; i < V; i++) {
        trial->counts[i] = i < UNSEEN ? 0 : (i - UNSEEN) * (i - UNSEEN) * (i % 3); /* up to 392 */
        double score = 0;
        for (int p = 0; p < trial->N; p++)
            score += trial->logits[p][i] / trial->N;
        trial->scores[i] = (float)score;
    }
    for (int i = 0; i < BACKEND_PARTS * trial->groups.n_tokens; i++)
        trial->part_norms[i] = fabs(normal());
}

/* flood: every input is a token of group 3. K: clusters, each with a logsumexp of
 * its own. */
static void make_trial(struct trial *trial, int B, int T, int K, int tied, int flood)
{
    memset(trial, 0, sizeof *trial);
    trial->B = B;
    trial->T = T;
    trial->N = B * T;
    trial->K = K;
    for (int i = 0; i < V; i++)
        trial->cluster_of[i] = (unsigned char)below(K);
    trial->tied = tied;
    trial->scale = tied ? 1 : 0.37;
    make_groups(trial);
    for (int p = 0; p < trial->N; p++) {
        trial->inputs[p] = flood ? trial->groups.group[3].ids[p % 4] : below(V);
        trial->targets[p] = below(V);
        for (int c = 0; c < C; c++)
            trial->h[p][c] = normal();
    }
    for (int i = 0; i < V; i++) {
        trial->bias[i] = tied ? 0 : normal();
        trial->exposure[i] = 0;
        for (int c = 0; c < C; c++) {
            trial->w[i][c] = normal();
            trial->input_w[i][c] = normal();
            trial->start_output[i][c] = normal();
            trial->start_input[i][c] = normal();
        }
    }
    make_logits(trial);
    make_sums(trial);
    make_spectrum(trial);
    trial->observation = (struct model_observation){
        .B = B,
        .T = T,
        .N = trial->N,
        .C = C,
        .M = trial->groups.n_tokens,
        .G = G,
        .losses = trial->losses,
        .lse = trial->lse,
        .objective = tied ? NULL : trial->objective,
        .h_sums = trial->h_sums,
        .mean_p = trial->mean_p,
        .output_rows = trial->rows,
        .output_bias = trial->row_bias,
        .input_rows = tied ? NULL : trial->input_rows,
        .V = V,
        .K = K,
        .cluster_of = trial->cluster_of,
        .scores = trial->scores,
        .part_norms = trial->part_norms,
        .logit_scale = trial->scale,
        .grad_norm = 0.75,
    };
}

static void check(double got, double want, const char *what)
{
    if (isnan(want) ? isnan(got) : fabs(got - want) <= 1e-11 * (1 + fabs(want)))
        return;
    fail_msg("%s: %.17g, should be %.17g", what, got, want);
}

static void check_masks(const struct trial *trial, int g, const double *values)
{
    static const char *const name[MASKS] = {"none", "columns", "windows", "positions"};
    const struct group *group = &trial->groups.group[g];
    for (int mask = 0; mask < MASKS; mask++) {
        double sum = 0, pairs = 0, kept = 0;
        for (int i = 0; i < group->n; i++) {
            double of_token = 0;
            for (int p = 0; p < trial->N; p++)
                if (keeps(trial, (enum spec_mask)mask, g, group->ids[i], p)) {
                    sum += logp(trial, p, group->ids[i]);
                    of_token++;
                }
            pairs += of_token;
            kept += of_token > 0;
        }
        char what[96];
        snprintf(what, sizeof what, "group %d, mask %s", g, name[mask]);
        check(values[record_at(g, (enum record_field)(RECORD_MEAN_LOGP_NONE + mask))],
              pairs > 0 ? sum / pairs : NAN, what);
        assert_true(values[record_at(g, (enum record_field)(RECORD_N_NONE + mask))] == pairs);
        assert_true(values[record_at(g, (enum record_field)(RECORD_KEPT_NONE + mask))] == kept);
    }
}

/* Quantile as the value that a walk along the sorted list meets. */
static double naive_quantile(const double *list, int n, double q)
{
    double sorted[V];
    memcpy(sorted, list, (size_t)n * sizeof *list);
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++)
            if (sorted[j] < sorted[i]) {
                double swap = sorted[i];
                sorted[i] = sorted[j];
                sorted[j] = swap;
            }
    double at = q * (n - 1);
    int low = (int)at;
    return low == n - 1 ? sorted[low] : sorted[low] * (low + 1 - at) + sorted[low + 1] * (at - low);
}

static double length(const double *a, const double *from)
{
    double sum = 0;
    for (int c = 0; c < C; c++)
        sum += pow(a[c] - (from ? from[c] : 0), 2);
    return sqrt(sum);
}

/* Mean of log p over the positions of windows that contain the token (1) or not. */
static double mean_in_windows(const struct trial *trial, int32_t id, int containing)
{
    double sum = 0;
    int n = 0;
    for (int p = 0; p < trial->N; p++)
        if (in_window(trial, p / trial->T, id) == containing) {
            sum += logp(trial, p, id);
            n++;
        }
    return n > 0 ? sum / n : NAN;
}

static double angle(const double *a, const double *b)
{
    double sum = 0;
    for (int c = 0; c < C; c++)
        sum += a[c] * b[c];
    return sum / length(a, NULL) / length(b, NULL);
}

static void mean_h(const struct trial *trial, double *out)
{
    for (int c = 0; c < C; c++) {
        out[c] = 0;
        for (int p = 0; p < trial->N; p++)
            out[c] += trial->h[p][c] / trial->N;
    }
}

/* Gradient, directions and advantage of group g, whose slots begin at `at`. */
static void want_mechanism(const struct trial *trial, int g, int at, double *want)
{
    const struct group *group = &trial->groups.group[g];
    const int n = group->n;
    double minus_h[C], row[C] = {0}, within = 0, advantage = 0, tokens = 0;
    mean_h(trial, minus_h);
    for (int part = 0; part < BACKEND_PARTS; part++)
        for (int i = 0; i < n; i++)
            want[RECORD_GRAD_SOFTMAX + part] +=
                trial->part_norms[part * trial->groups.n_tokens + at + i] / n;
    for (int c = 0; c < C; c++) {
        minus_h[c] = -minus_h[c];
        for (int i = 0; i < n; i++)
            row[c] += trial->w[group->ids[i]][c];
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            within += i == j ? 0 : angle(trial->w[group->ids[i]], trial->w[group->ids[j]]);
        const double gain =
            mean_in_windows(trial, group->ids[i], 1) - mean_in_windows(trial, group->ids[i], 0);
        advantage += isnan(gain) ? 0 : gain;
        tokens += !isnan(gain);
    }
    want[RECORD_COS_MINUS_H] = angle(row, minus_h);
    want[RECORD_COS_WITHIN] = n > 1 ? within / (n * (n - 1)) : NAN;
    want[RECORD_ADVANTAGE] = tokens > 0 ? advantage / tokens : NAN;
}

static void check_group(const struct trial *trial, int g, int at, const double *values,
                        const float *tokens)
{
    const struct group *group = &trial->groups.group[g];
    double of_token[V], mean = 0, squares = 0, want[RECORD_FIELDS] = {0};
    double hits = 0, loss = 0;
    for (int i = 0; i < group->n; i++) {
        int32_t id = group->ids[i];
        double p_sum = 0, logit = 0, n = group->n;
        of_token[i] = 0;
        for (int p = 0; p < trial->N; p++) {
            of_token[i] += logp(trial, p, id) / trial->N;
            p_sum += exp(logp(trial, p, id)) / trial->N;
            logit += trial->logits[p][id] / trial->N;
            if (trial->targets[p] == id) {
                hits++;
                loss -= logp(trial, p, id);
            }
        }
        mean += of_token[i] / n;
        want[RECORD_LN_MEAN_P] += log(p_sum) / n;
        want[RECORD_MEAN_P] += p_sum / n;
        want[RECORD_MASS] += p_sum;
        want[RECORD_MEAN_LOGIT] += logit / n;
        want[RECORD_EXPOSURE] += (double)trial->exposure[id] / n;
        want[RECORD_OUTPUT_NORM] += length(trial->w[id], NULL) / n;
        want[RECORD_OUTPUT_SHIFT] += length(trial->w[id], trial->start_output[id]) / n;
        want[RECORD_INPUT_NORM] += length(trial->input_w[id], NULL) / n;
        want[RECORD_INPUT_SHIFT] += length(trial->input_w[id], trial->start_input[id]) / n;
        assert_true(fabs(tokens[i] - of_token[i]) <= FLT_EPSILON * (1 + fabs(of_token[i])));
    }
    for (int i = 0; i < group->n; i++)
        squares += (of_token[i] - mean) * (of_token[i] - mean);
    want[RECORD_SD] = group->n > 1 ? sqrt(squares / (group->n - 1)) : NAN;
    static const double q[] = {0.05, 0.25, 0.5, 0.75, 0.95};
    for (int i = 0; i < 5; i++)
        want[RECORD_Q05 + i] = naive_quantile(of_token, group->n, q[i]);
    want[RECORD_TARGET_LOSS] = hits > 0 ? loss / hits : NAN;
    if (trial->tied)
        want[RECORD_INPUT_NORM] = want[RECORD_INPUT_SHIFT] = NAN;
    want_mechanism(trial, g, at, want);
    for (int field = RECORD_EVAL_MEAN_LOGP; field < RECORD_FIELDS; field++)
        want[field] = NAN; /* not from this batch */
    for (int field = RECORD_SD; field < RECORD_FIELDS; field++)
        check(values[record_at(g, (enum record_field)field)], want[field],
              record_field_pointer((enum record_field)field));
}

/* Mean log p of the tokens of each class of `counts`. */
static void check_spectrum(const struct trial *trial, const int64_t *counts, const double *logp_of,
                           const double *tokens_of)
{
    static const int64_t below[] = {1, 2, 4, 10, 30, 100, 1000, INT64_MAX};
    for (int class = 0; class < RECORD_CLASSES; class ++) {
        double sum = 0, n = 0;
        for (int i = 0; i < V; i++)
            if (counts[i] < below[class] && (class == 0 || counts[i] >= below[class - 1])) {
                for (int p = 0; p < trial->N; p++)
                    sum += logp(trial, p, i) / trial->N;
                n++;
            }
        assert_true(tokens_of[class] == n);
        if (n > 0)
            assert_true(fabs(logp_of[class] - sum / n) < 1e-6 * (1 + fabs(sum / n)));
        else
            assert_true(isnan(logp_of[class]));
    }
}

static void check_whole(const struct trial *trial, const struct measure *measure,
                        const double *values)
{
    double h[C], l1 = 0, logp_sum;
    mean_h(trial, h);
    for (int c = 0; c < C; c++)
        l1 += fabs(h[c]);
    check(values[RECORD_H_NORM], length(h, NULL), "h_norm");
    check(values[RECORD_H_L1], l1, "h_l1");
    check_spectrum(trial, trial->counts, values + RECORD_LOGP_BY_COUNT,
                   values + RECORD_TOKENS_BY_COUNT);
    check_spectrum(trial, trial->exposure, values + RECORD_LOGP_BY_EXPOSURE,
                   values + RECORD_TOKENS_BY_EXPOSURE);
    for (int i = 0; i < V; i++) {
        logp_sum = 0;
        for (int p = 0; p < trial->N; p++)
            logp_sum += logp(trial, p, i) / trial->N;
        assert_true(fabs((double)measure_spectrum(measure)[i] - logp_sum) < 1e-5);
    }
}

static void check_trial(struct trial *trial)
{
    struct err err = ERR_INIT;
    struct measure *measure = NULL;
    double values[RECORD_SCALARS + G * RECORD_FIELDS];
    float tokens[M_MAX];
    assert_int_equal(
        measure_open(&trial->groups, &trial->frequency, trial->B, trial->T, C, &measure, &err), 0);
    measure_set_start(measure, trial->start_rows, trial->tied ? NULL : trial->start_input_rows);
    for (int pass = 0; pass < 4; pass++) {
        measure_record(measure, &trial->observation, trial->inputs, trial->targets, values, tokens);
        double loss = 0, lse = 0, objective = 0;
        for (int p = 0; p < trial->N; p++) {
            objective += (trial->tied ? trial->losses[p] : trial->objective[p]) / trial->N;
            loss += trial->losses[p] / trial->N;
            lse += trial->lse[p] / trial->N;
        }
        check(values[RECORD_LOSS], loss, "loss");
        check(values[RECORD_OBJECTIVE], objective, "objective");
        check(values[RECORD_LOG_Z], lse, "log_z");
        check_whole(trial, measure, values);
        check(values[RECORD_GRAD_NORM], 0.75, "grad_norm");
        check(values[RECORD_TOKENS_PER_SECOND], NAN, "tokens_per_second");
        for (int g = 0, at = 0; g < G; at += trial->groups.group[g++].n) {
            check_masks(trial, g, values);
            check_group(trial, g, at, values, tokens + at);
        }
        measure_count_targets(measure, trial->targets);
        for (int p = 0; p < trial->N; p++)
            trial->exposure[trial->targets[p]]++;
        if (pass == 1) /* as when a checkpoint is loaded */
            for (int i = 0; i < V; i++)
                measure_exposures(measure)[i] = trial->exposure[i] = i < UNSEEN ? 0 : below(1200);
    }
    measure_close(measure);
}

static void test_definitions(void **state)
{
    (void)state;
    static struct trial trial;
    for (int i = 0; i < 60; i++) {
        make_trial(&trial, 1 + below(B_MAX), 1 + below(T_MAX), i / 2 % 2 ? 3 : 1, i % 2, 0);
        check_trial(&trial);
    }
}

static void test_masks_that_empty_a_group(void **state)
{
    (void)state;
    static struct trial trial;
    static const enum record_field means[] = {RECORD_MEAN_LOGP_COLUMNS, RECORD_MEAN_LOGP_WINDOWS,
                                              RECORD_MEAN_LOGP_POSITIONS};
    struct err err = ERR_INIT;
    make_trial(&trial, 2, 4, 1, 1, 1);
    check_trial(&trial);

    struct measure *measure = NULL;
    double values[RECORD_SCALARS + G * RECORD_FIELDS];
    float tokens[M_MAX];
    assert_int_equal(measure_open(&trial.groups, &trial.frequency, 2, 4, C, &measure, &err), 0);
    measure_set_start(measure, trial.start_rows, NULL);
    measure_record(measure, &trial.observation, trial.inputs, trial.targets, values, tokens);
    for (int i = 0; i < 3; i++)
        assert_true(isnan(values[record_at(3, means[i])]));
    assert_false(isnan(values[record_at(3, RECORD_MEAN_LOGP_NONE)]));
    measure_close(measure);
}

static void test_exposures_survive(void **state)
{
    (void)state;
    static struct trial trial;
    struct err err = ERR_INIT;
    make_trial(&trial, 1, 3, 1, 1, 0);
    struct measure *measure = NULL;
    assert_int_equal(measure_open(&trial.groups, &trial.frequency, 1, 3, C, &measure, &err), 0);
    const int32_t targets[3] = {5, 22, 5};
    measure_count_targets(measure, targets);
    assert_int_equal(measure_exposures(measure)[5], 2);
    assert_int_equal(measure_exposures(measure)[22], 1);
    assert_int_equal(measure_exposures(measure)[0], 0);
    measure_close(measure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions),
        cmocka_unit_test(test_masks_that_empty_a_group),
        cmocka_unit_test(test_exposures_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
