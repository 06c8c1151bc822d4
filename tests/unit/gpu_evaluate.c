/* evaluate: the numbers of fixed windows against their definitions, written here
 * as loops over every position of every window with all logits at hand: several
 * batches, the last one not full, overlapping groups, classes without a position. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "config/record.h"
#include "gpu/evaluate.h"
#include "lab/dataset.h"
#include "lab/random.h"

enum { V = 19, B = 3, T = 4, N = B * T, C = 5, G = 2, BATCHES = 3, M = 7 };

static int32_t tokens[M] = {1, 2, 3, 2, 3, 17, 18};
static const struct groups groups = {
    .n = G,
    .group = {{.n = 3, .ids = tokens}, {.n = 4, .ids = tokens + 3}},
    .n_tokens = M,
    .tokens = tokens};
static int64_t counts[V] = {5000, 120, 40, 11, 9, 8, 3, 2, 2, 1, 1, 1};
/* Of the output layer; each has a logsumexp of its own. */
enum { K = 3 };
static const unsigned char cluster_of[V] = {0, 1, 2, 0, 1, 2, 0, 0, 1, 1, 2, 2, [17] = 1, [18] = 2};
static const struct frequency frequency = {.vocab = V, .counts = counts};

struct batch {
    double h[N][C], logits[N][V], lse[K * N], losses[N], h_sums[(B + G) * C], mean_p[M];
    int32_t targets[N];
};

static double weight[V][C], bias[V], rows[M * C], row_bias[M];
static struct batch batches[BATCHES];
static uint64_t draws;

static double normal(void)
{
    return random_normal(3, RANDOM_WEIGHTS, draws++);
}

static double logp(const struct batch *batch, int position, int32_t token)
{
    return batch->logits[position][token] - batch->lse[cluster_of[token] * N + position];
}

static void make_batch(struct batch *batch)
{
    *batch = (struct batch){0};
    for (int p = 0; p < N; p++) {
        double sum = 0;
        for (int c = 0; c < C; c++) {
            batch->h[p][c] = normal();
            batch->h_sums[p / T * C + c] += batch->h[p][c];
        }
        for (int v = 0; v < V; v++) {
            batch->logits[p][v] = bias[v];
            for (int c = 0; c < C; c++)
                batch->logits[p][v] += 0.7 * batch->h[p][c] * weight[v][c];
            sum += exp(batch->logits[p][v]);
        }
        batch->targets[p] = (int32_t)random_below(3, RANDOM_TOKENS, draws++, 12);
        for (int k = 0; k < K; k++)
            batch->lse[k * N + p] = log(sum) + k * fabs(normal());
        batch->losses[p] = -logp(batch, p, batch->targets[p]);
    }
    for (int m = 0; m < M; m++)
        for (int p = 0; p < N; p++)
            batch->mean_p[m] += exp(logp(batch, p, tokens[m])) / N;
}

static void make_all(void)
{
    for (int v = 0; v < V; v++) {
        bias[v] = normal();
        for (int c = 0; c < C; c++)
            weight[v][c] = normal();
    }
    for (int m = 0; m < M; m++) {
        row_bias[m] = bias[tokens[m]];
        for (int c = 0; c < C; c++)
            rows[m * C + c] = weight[tokens[m]][c];
    }
    for (int b = 0; b < BATCHES; b++)
        make_batch(&batches[b]);
}

static void check(double got, double want, const char *what)
{
    if (isnan(want) ? isnan(got) : fabs(got - want) <= 1e-11 * (1 + fabs(want)))
        return;
    fail_msg("%s: %.17g, should be %.17g", what, got, want);
}

/* Is position p of batch b in the text, when the last batch has one window? */
static int counts_in(int b, int p)
{
    return b < BATCHES - 1 || p < T;
}

static int class_of(int64_t count)
{
    return count == 0     ? 0
           : count == 1   ? 1
           : count < 4    ? 2
           : count < 10   ? 3
           : count < 30   ? 4
           : count < 100  ? 5
           : count < 1000 ? 6
                          : 7;
}

static void check_classes(const double *loss_of, const double *n_of)
{
    for (int class = 0; class < RECORD_CLASSES; class ++) {
        double loss = 0, n = 0;
        for (int b = 0; b < BATCHES; b++)
            for (int p = 0; p < N; p++)
                if (counts_in(b, p) && class_of(counts[batches[b].targets[p]]) == class) {
                    loss += batches[b].losses[p];
                    n++;
                }
        assert_true(n_of[class] == n);
        check(loss_of[class], n > 0 ? loss / n : NAN, "loss by class");
    }
    assert_true(n_of[0] == 0 && n_of[1] > 0);
}

/* Tokens of a group at which or below which a share q of the others lies, without sorting:
 * the k-th lowest is the one that k of the others are below. */
static double naive_quantile(const double *list, int n, double q)
{
    const double at = q * (n - 1);
    double low = NAN, high = NAN;
    for (int i = 0; i < n; i++) {
        int below = 0;
        for (int j = 0; j < n; j++)
            below += list[j] < list[i];
        low = below == (int)at ? list[i] : low;
        high = below == (int)ceil(at) ? list[i] : high;
    }
    return low + (at - (int)at) * (high - low);
}

/* Of the per-token means over every position of the text. */
static void check_spread(int at, int n, const double *fields)
{
    static const double q[] = {0.05, 0.25, 0.5, 0.75, 0.95};
    double means[M] = {0}, mean = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        for (int b = 0; b < BATCHES; b++)
            for (int p = 0; p < N; p++)
                if (counts_in(b, p))
                    means[i] += logp(&batches[b], p, tokens[at + i]) / ((BATCHES - 1) * N + T);
        mean += means[i] / n;
    }
    for (int i = 0; i < n; i++)
        squares += (means[i] - mean) * (means[i] - mean);
    check(fields[RECORD_EVAL_SD], sqrt(squares / (n - 1)), "sd");
    for (int i = 0; i < 5; i++)
        check(fields[RECORD_EVAL_Q05 + i], naive_quantile(means, n, q[i]), "quantile");
}

static void check_group(int g, int at, const double *fields)
{
    const struct group *group = &groups.group[g];
    double logit = 0, logp_sum = 0, p_sum = 0, ln_p = 0, loss = 0, hits = 0,
           positions = (BATCHES - 1) * N + T;
    for (int i = 0; i < group->n; i++) {
        double p_of = 0;
        for (int b = 0; b < BATCHES; b++)
            for (int p = 0; p < N; p++) {
                if (!counts_in(b, p))
                    continue;
                logit += batches[b].logits[p][tokens[at + i]] / positions / group->n;
                logp_sum += logp(&batches[b], p, tokens[at + i]) / positions / group->n;
                if (batches[b].targets[p] == tokens[at + i]) {
                    loss += batches[b].losses[p];
                    hits++;
                }
                if (b < BATCHES - 1) /* full ones */
                    p_of += exp(logp(&batches[b], p, tokens[at + i])) / ((BATCHES - 1) * N);
            }
        p_sum += p_of / group->n;
        ln_p += log(p_of) / group->n;
    }
    check(fields[RECORD_EVAL_MEAN_LOGIT], logit, "mean logit");
    check(fields[RECORD_EVAL_MEAN_LOGP], logp_sum, "mean log p");
    check(fields[RECORD_EVAL_MEAN_P], p_sum, "mean p");
    check(fields[RECORD_EVAL_LN_MEAN_P], ln_p, "mean ln(mean p)");
    check(fields[RECORD_EVAL_TARGET_LOSS], hits > 0 ? loss / hits : NAN, "target loss");
    check_spread(at, group->n, fields);
}

/* log p at every position, of every token of a class; the scores that it is made of come
 * from the mean h that the evaluation shows. */
static void check_spectrum(struct evaluation *evaluation, double *values)
{
    const double *h = evaluate_h(evaluation);
    const double positions = (BATCHES - 1) * N + T;
    float scores[V];
    for (int v = 0; v < V; v++) {
        double score = bias[v];
        for (int c = 0; c < C; c++)
            score += 0.7 * h[c] * weight[v][c];
        scores[v] = (float)score;
    }
    evaluate_text(evaluation, scores, values);
    for (int class = 0; class < RECORD_CLASSES; class ++) {
        double sum = 0, of_class = 0;
        for (int v = 0; v < V; v++) {
            of_class += class_of(counts[v]) == class;
            for (int b = 0; b < BATCHES; b++)
                for (int p = 0; p < N; p++)
                    if (counts_in(b, p) && class_of(counts[v]) == class)
                        sum += logp(&batches[b], p, v) / positions;
        }
        assert_true(of_class > 0);
        const double got = values[RECORD_EVAL_LOGP_BY_COUNT + class], want = sum / of_class;
        if (!(fabs(got - want) < 1e-6 * (1 + fabs(want)))) /* scores are float32 */
            fail_msg("log p of class %d: %.9g, should be %.9g", class, got, want);
    }
}

/* Tokens of words among the targets of a batch. Some begin in one window and end in the
 * next, which is another place of the text. */
static const struct {
    int batch, first, n, unseen;
} words[] = {{0, 0, 1, 0}, {0, 1, 2, 1}, {0, 3, 3, 1}, {0, 6, 1, 0}, {0, 8, 4, 1}, {1, 2, 2, 0},
             {1, 7, 2, 0}, {1, 9, 1, 1}, {2, 0, 3, 1}, {2, 3, 1, 0}, {2, 4, 4, 1}};
enum { WORDS = sizeof words / sizeof *words };

static void mark_words(int batch, uint8_t *bits)
{
    memset(bits, 0, N);
    for (int i = 0; i < WORDS; i++) {
        if (words[i].batch != batch)
            continue;
        memset(bits + words[i].first, words[i].unseen ? DATASET_WORD_UNSEEN : DATASET_WORD_SEEN,
               (size_t)words[i].n);
        bits[words[i].first] |= DATASET_WORD_FIRST;
        bits[words[i].first + words[i].n - 1] |= DATASET_WORD_LAST;
    }
}

/* The numbers of seen or of unseen words. */
static void check_words(int unseen, const double *values)
{
    double loss = 0, n = 0, n_tokens = 0;
    for (int i = 0; i < WORDS; i++) {
        const int last = words[i].first + words[i].n - 1;
        if (words[i].unseen != unseen || words[i].first / T != last / T ||
            !counts_in(words[i].batch, last))
            continue;
        for (int p = words[i].first; p <= last; p++)
            loss += batches[words[i].batch].losses[p];
        n++;
        n_tokens += words[i].n;
    }
    assert_true(n > 1 && n_tokens > n);
    check(values[0], loss / n, "loss of a word");
    check(values[1], loss / n_tokens, "loss of a word's token");
    check(values[2], n, "words");
    check(values[3], n_tokens, "tokens of words");
}

static void add_all(struct evaluation *evaluation)
{
    uint8_t bits[N];
    evaluate_begin(evaluation);
    for (int b = 0; b < BATCHES; b++) {
        const struct model_observation seen = {.B = B,
                                               .T = T,
                                               .N = N,
                                               .C = C,
                                               .M = M,
                                               .G = G,
                                               .V = V,
                                               .K = K,
                                               .cluster_of = cluster_of,
                                               .losses = batches[b].losses,
                                               .lse = batches[b].lse,
                                               .h_sums = batches[b].h_sums,
                                               .mean_p = batches[b].mean_p,
                                               .output_rows = rows,
                                               .output_bias = row_bias,
                                               .logit_scale = 0.7};
        mark_words(b, bits);
        evaluate_add(evaluation, &seen, batches[b].targets, bits, b < BATCHES - 1 ? B : 1);
    }
}

static void test_definitions(void **state)
{
    (void)state;
    struct evaluation *evaluation = NULL;
    struct err err = ERR_INIT;
    double values[RECORD_SCALARS + G * RECORD_FIELDS], loss = 0, lse = 0;
    const double positions = (BATCHES - 1) * N + T;
    make_all();
    assert_int_equal(evaluate_open(&groups, &frequency, B, T, C, &evaluation, &err), 0);
    for (int b = 0; b < BATCHES; b++)
        for (int p = 0; p < N; p++)
            if (counts_in(b, p)) {
                loss += batches[b].losses[p] / positions;
                lse += batches[b].lse[p] / positions;
            }
    for (int twice = 0; twice < 2; twice++) {
        add_all(evaluation);
        check_spectrum(evaluation, values);
        check(values[RECORD_EVAL_LOSS], loss, "loss");
        check(values[RECORD_EVAL_LOG_Z], lse, "log z");
        check_classes(values + RECORD_EVAL_LOSS_BY_COUNT, values + RECORD_EVAL_N_BY_COUNT);
        for (int g = 0, at = 0; g < G; at += groups.group[g++].n)
            check_group(g, at, values + record_at(g, 0));
        evaluate_held_out(evaluation, values);
        check(values[RECORD_HOLDOUT_LOSS], loss, "held-out loss");
        check(values[RECORD_HOLDOUT_LOG_Z], lse, "held-out log z");
        check_classes(values + RECORD_HOLDOUT_LOSS_BY_COUNT, values + RECORD_HOLDOUT_N_BY_COUNT);
        check_words(0, values + RECORD_SEEN_WORD_LOSS);
        check_words(1, values + RECORD_UNSEEN_WORD_LOSS);
    }
    evaluate_close(evaluation);
}

static void test_nothing_has_no_value(void **state)
{
    (void)state;
    struct evaluation *evaluation = NULL;
    struct err err = ERR_INIT;
    double values[RECORD_SCALARS + G * RECORD_FIELDS];
    assert_int_equal(evaluate_open(&groups, &frequency, B, T, C, &evaluation, &err), 0);
    evaluate_begin(evaluation);
    evaluate_text(evaluation, NULL, values);
    assert_true(isnan(values[RECORD_EVAL_LOSS]));
    for (int class = 0; class < RECORD_CLASSES; class ++)
        assert_true(isnan(values[RECORD_EVAL_LOGP_BY_COUNT + class]));
    assert_true(isnan(values[record_at(1, RECORD_EVAL_MEAN_LOGP)]));
    assert_true(isnan(values[record_at(1, RECORD_EVAL_LN_MEAN_P)]));
    for (int field = RECORD_EVAL_SD; field <= RECORD_EVAL_Q95; field++)
        assert_true(isnan(values[record_at(1, (enum record_field)field)]));
    assert_true(values[RECORD_EVAL_N_BY_COUNT] == 0);
    evaluate_held_out(evaluation, values);
    for (int i = RECORD_UNSEEN_WORD_LOSS; i <= RECORD_SEEN_WORD_TOKENS; i++)
        assert_true(isnan(values[i])); /* nobody has said what words are */
    evaluate_close(evaluation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions),
        cmocka_unit_test(test_nothing_has_no_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
