/* The adaptive head against its definition (SCIENCE section 6; Grave et al. 2017,
 * section 3), written down once more in the plainest double: log p of every token,
 * which sum to one at a position; losses, means, probabilities, and the parts of the
 * gradient; the whole gradient against central differences; what an update does to
 * rows of a cluster without a target; an evaluation. On the cpu backend, in both precisions, and on
 * the reference. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gpu/cpu/cpu.h"
#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "lab/random.h"
#include "lab/theory.h"
#include "gpu/ref/ref_backend.h"

enum { C = 64, V = 70, N_MAX = 12, K = 3, CUT1 = 6, CUT2 = 20, M = 7, G = 2 };

/* Of all clusters, in no order, one of them in two groups. */
static int32_t tracked[M] = {69, 3, 40, 12, 3, 0, 41};
static const struct groups groups = {
    .n = G,
    .group = {{.n = 4, .ids = tracked}, {.n = 3, .ids = tracked + 4}},
    .n_tokens = M,
    .tokens = tracked};

enum kind { FP32, BF16, REFERENCE, KINDS };

/* Relative to 1 + what is expected; bfloat16 has 8 bits of a weight. */
static const double allowed[KINDS] = {[FP32] = 2e-5, [BF16] = 2e-2, [REFERENCE] = 1e-9};

struct bench {
    struct spec *spec;
    struct backend *backend;
    struct model *model;
    const struct shapes *shapes;
    struct frequency frequency;
    int64_t counts[V];
    int32_t order[V];
    int N;
    enum kind kind;
    int32_t inputs[N_MAX], targets[N_MAX];
    float *parameters;
    struct err err;
};

static void expect_done(struct bench *b, int result)
{
    if (result)
        fail_msg("%s", b->err.message);
}

static void plain(struct spec *spec)
{
    (void)spec;
}

static void weighted(struct spec *spec)
{
    spec->loss.class_weight = 0.5;
}

/* Counts fall with (id * 3) mod V, so that no rank is an id by chance; the last
 * third of the ranks never occurs. */
static void count(struct bench *b)
{
    for (int v = 0; v < V; v++) {
        const int rank = v * 3 % V;
        b->counts[v] = rank < 2 * V / 3 ? 200 - 4 * rank : 0;
        b->frequency.total += b->counts[v];
        b->frequency.types += b->counts[v] > 0;
    }
    b->frequency.vocab = V;
    b->frequency.counts = b->counts;
    clusters_order(&b->frequency, b->order);
}

/* Targets by rank: of every cluster, and two positions with the same. */
static void set_batch(struct bench *b)
{
    static const int ranks[N_MAX] = {0, 30, 7, 19, 44, 5, 20, 6, 30, 1, 25, 0};
    for (int n = 0; n < b->N; n++) {
        b->inputs[n] = (int32_t)random_below(3, RANDOM_TOKENS, (uint64_t)n, V);
        b->targets[n] = b->order[ranks[n]];
    }
    b->inputs[0] = 40;
}

static void bench_open(struct bench *b, enum kind kind, int B, int T,
                       void (*tweak)(struct spec *spec))
{
    *b = (struct bench){.N = B * T, .kind = kind};
    assert_non_null(b->spec = spec_default());
    b->spec->model.d_model = C;
    b->spec->model.n_layers = 1;
    b->spec->model.n_heads = 2;
    b->spec->model.seq_len = T;
    b->spec->model.tie = TIE_UNTIED;
    b->spec->model.logit_scale = 0.75;
    b->spec->model.init_std = 0.2;
    b->spec->model.head = HEAD_ADAPTIVE;
    b->spec->model.n_cutoffs = K - 1;
    b->spec->model.cutoffs[0] = CUT1;
    b->spec->model.cutoffs[1] = CUT2;
    b->spec->train.batch_size = B;
    tweak(b->spec);
    count(b);
    b->spec->train.precision = PRECISION_AUTO;
    expect_done(b, kind == REFERENCE
                       ? ref_backend_open(&b->backend, &b->err)
                       : cpu_backend_open(2, kind == BF16 ? PRECISION_BF16 : PRECISION_FP32,
                                          &b->backend, &b->err));
    expect_done(b, model_open(b->spec, V, &groups, b->backend, &b->model, &b->err));
    expect_done(b, model_set_frequency(b->model, &b->frequency, &b->err));
    expect_done(b, model_initialise(b->model, &b->err));
    b->shapes = model_shapes(b->model);
    b->parameters = malloc((size_t)b->shapes->n_parameters * sizeof *b->parameters);
    assert_non_null(b->parameters);
    expect_done(b, model_download(b->model, MODEL_PARAMETERS, b->parameters, &b->err));
    set_batch(b);
}

static void bench_close(struct bench *b)
{
    model_close(b->model);
    b->backend->close(b->backend);
    spec_free(b->spec);
    free(b->parameters);
}

static const struct model_observation *gradient(struct bench *b, double *loss)
{
    const struct model_observation *seen;
    expect_done(b, model_gradient(b->model, b->inputs, b->targets, loss, &seen, &b->err));
    return seen;
}

/* ---- the definition ---- */

static const float *tensor(const struct bench *b, const float *vector, const char *name)
{
    const int i = shapes_find(b->shapes, name);
    if (i < 0)
        fail_msg("no tensor %s", name);
    return vector + b->shapes->tensor[i].offset;
}

static const float *tail_tensor(const struct bench *b, const float *vector, int k, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "lm_head.tail.%d.%s", k - 1, what);
    return tensor(b, vector, name);
}

static void log_softmax(double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp(x[i]);
    for (int i = 0; i < n; i++)
        x[i] -= log(sum);
}

/* What the definition says of one position: log p of every token, and of each token
 * within its cluster's softmax. */
struct naive {
    double h[C], logp[V], within[V];
    int cluster[V];
};

static void naive_position(struct bench *b, int n, struct naive *out)
{
    static const int first[K + 1] = {0, CUT1, CUT2, V}, width[K] = {C, C / 4, 8};
    const double s = b->spec->model.logit_scale;
    double head[CUT1 + K - 1] = {0};
    expect_done(b, model_hidden(b->model, n, out->h, &b->err));
    const float *rows = tensor(b, b->parameters, "lm_head.head.weight");
    for (int i = 0; i < CUT1 + K - 1; i++)
        for (int c = 0; c < C; c++)
            head[i] += s * (double)rows[i * C + c] * out->h[c];
    log_softmax(head, CUT1 + K - 1);
    for (int i = 0; i < CUT1; i++) {
        out->cluster[b->order[i]] = 0;
        out->logp[b->order[i]] = out->within[b->order[i]] = head[i];
    }
    for (int k = 1; k < K; k++) {
        const float *p = tail_tensor(b, b->parameters, k, "projection");
        const float *w = tail_tensor(b, b->parameters, k, "weight");
        double x[C] = {0}, tail[V] = {0};
        for (int d = 0; d < width[k]; d++)
            for (int c = 0; c < C; c++)
                x[d] += (double)p[c * width[k] + d] * out->h[c];
        for (int i = 0; i < first[k + 1] - first[k]; i++)
            for (int d = 0; d < width[k]; d++)
                tail[i] += s * (double)w[i * width[k] + d] * x[d];
        log_softmax(tail, first[k + 1] - first[k]);
        for (int i = 0; i < first[k + 1] - first[k]; i++) {
            const int32_t token = b->order[first[k] + i];
            out->cluster[token] = k;
            out->within[token] = tail[i];
            out->logp[token] = head[CUT1 + k - 1] + tail[i];
        }
    }
}

static double weight_of(const struct bench *b, int32_t target)
{
    double norm = 0;
    for (int v = 0; v < V; v++)
        norm += b->counts[v] ? pow((double)b->counts[v], 1 - b->spec->loss.class_weight) : 0;
    return pow((double)b->counts[target], -b->spec->loss.class_weight) *
           (double)b->frequency.total / norm;
}

static void check(const struct bench *b, double got, double want, const char *what)
{
    if (!(fabs(got - want) <= allowed[b->kind] * (1 + fabs(want))))
        fail_msg("%s is %.12g, not %.12g", what, got, want);
}

/* ---- tests ---- */

static void every_log_p(void **state)
{
    struct bench b;
    double loss;
    bench_open(&b, *(enum kind *)*state, 1, 1, plain);
    const double slack = b.kind == BF16 ? allowed[BF16] : 1e-5; /* scores are float32 */
    const struct model_observation *seen = gradient(&b, &loss);
    struct naive naive;
    naive_position(&b, 0, &naive);
    double sum = 0;
    for (int v = 0; v < V; v++) {
        const int k = seen->cluster_of[v];
        const double logp = (double)seen->scores[v] - seen->lse[k];
        assert_int_equal(k, naive.cluster[v]);
        if (!(fabs(logp - naive.logp[v]) < slack * (1 - naive.logp[v])))
            fail_msg("log p of token %d is %.9g, not %.9g", v, logp, naive.logp[v]);
        sum += exp(logp);
    }
    double h[C]; /* of the one position */
    float observed[V];
    const float *scores;
    memcpy(h, seen->h_sums, sizeof h);
    memcpy(observed, seen->scores, sizeof observed);
    expect_done(&b, model_scores(b.model, h, &scores, &b.err));
    for (int v = 0; v < V; v++)
        if (!(fabs((double)(scores[v] - observed[v])) < slack * (1 + fabs((double)observed[v]))))
            fail_msg("token %d scores %.9g, not %.9g", v, (double)scores[v], (double)observed[v]);
    assert_true(fabs(sum - 1) < slack);
    check(&b, loss, -naive.logp[b.targets[0]], "the loss");
    bench_close(&b);
}

/* Norms of the parts of the gradient of what multiplies h, (s/N) sum of coefficient
 * times h, where the token's cluster has a say. */
static void naive_parts(const struct bench *b, const struct naive *at, int32_t token,
                        double norms[2])
{
    double softmax[C] = {0}, target[C] = {0};
    const double factor = b->spec->model.logit_scale / b->N;
    norms[0] = norms[1] = 0;
    for (int n = 0; n < b->N; n++) {
        const int own = at[n].cluster[token];
        const int known = own == 0 || at[n].cluster[b->targets[n]] == own;
        const double omega = !known                            ? 0
                             : b->spec->loss.class_weight != 0 ? weight_of(b, b->targets[n])
                                                               : 1;
        for (int c = 0; c < C; c++) {
            softmax[c] += factor * omega * exp(at[n].within[token]) * at[n].h[c];
            target[c] -= factor * omega * (b->targets[n] == token) * at[n].h[c];
        }
    }
    for (int c = 0; c < C; c++) {
        norms[0] += softmax[c] * softmax[c];
        norms[1] += target[c] * target[c];
    }
}

static void check_observation(struct bench *b)
{
    double loss, losses = 0;
    struct naive *at = calloc((size_t)b->N, sizeof *at);
    assert_non_null(at);
    const struct model_observation *seen = gradient(b, &loss);
    for (int n = 0; n < b->N; n++) {
        naive_position(b, n, &at[n]);
        const double want = -at[n].logp[b->targets[n]];
        losses += want / b->N;
        check(b, seen->losses[n], want, "the loss of a position");
        if (b->spec->loss.class_weight != 0)
            check(b, seen->objective[n], weight_of(b, b->targets[n]) * want, "the objective");
    }
    check(b, loss, losses, "the loss");
    for (int m = 0; m < M; m++) {
        const int32_t token = tracked[m];
        const double *row = seen->output_rows + (ptrdiff_t)m * C,
                     *lse = seen->lse + (ptrdiff_t)seen->cluster_of[token] * b->N;
        double p = 0, norms[2];
        for (int n = 0; n < b->N; n++) {
            double logit = 0;
            for (int c = 0; c < C; c++)
                logit += seen->logit_scale * row[c] * at[n].h[c];
            check(b, logit - lse[n], at[n].logp[token], "log p from a row and logsumexp");
            p += exp(at[n].logp[token]) / b->N;
        }
        check(b, seen->mean_p[m], p, "mean p");
        naive_parts(b, at, token, norms);
        check(b, seen->part_norms[PART_SOFTMAX * M + m], sqrt(norms[0]), "the softmax part");
        check(b, seen->part_norms[PART_TARGET * M + m], sqrt(norms[1]), "the target part");
        check(b, seen->part_norms[PART_ZLOSS * M + m], 0, "the part of z-loss");
    }
    /* Input rows in the groups' order: token 40 is an input, and its slot is 2. */
    const float *wte = tensor(b, b->parameters, "transformer.wte.weight");
    for (int m = 0; m < M; m++)
        check(b, seen->input_rows[m * C + 1], (double)wte[tracked[m] * C + 1], "an input row");
    assert_true(seen->part_norms[PART_INPUT * M + 2] > 0);
    free(at);
}

static void observation(void **state)
{
    for (int with_weights = 0; with_weights < 2; with_weights++) {
        struct bench b;
        bench_open(&b, *(enum kind *)*state, 3, 4, with_weights ? weighted : plain);
        check_observation(&b);
        bench_close(&b);
    }
}

/* What is minimised, in double (the reference alone). */
static double objective(struct bench *b)
{
    double sum = 0;
    const struct model_observation *seen = gradient(b, NULL);
    for (int n = 0; n < b->N; n++)
        sum += (seen->objective ? seen->objective[n] : seen->losses[n]) / b->N;
    return sum;
}

static void central_differences(void **state)
{
    (void)state;
    for (int with_weights = 0; with_weights < 2; with_weights++) {
        struct bench b;
        bench_open(&b, REFERENCE, 3, 4, with_weights ? weighted : plain);
        gradient(&b, NULL);
        float *g = malloc((size_t)b.shapes->n_parameters * sizeof *g);
        assert_non_null(g);
        expect_done(&b, model_download(b.model, MODEL_GRADIENTS, g, &b.err));
        for (int t = 0; t < b.shapes->n_tensors; t++) {
            const struct shapes_tensor *x = &b.shapes->tensor[t];
            const int64_t n = x->file_rows * x->cols, of_head = x->name[0] == 'l';
            for (int64_t i = 0; i < n; i += 1 + n / (of_head ? 60 : 4)) {
                float *at = &b.parameters[x->offset + i];
                const float was = *at;
                const volatile float up = was + 0x1p-11f, down = was - 0x1p-11f;
                *at = up;
                expect_done(&b, model_upload(b.model, MODEL_PARAMETERS, b.parameters, &b.err));
                double difference = objective(&b);
                *at = down;
                expect_done(&b, model_upload(b.model, MODEL_PARAMETERS, b.parameters, &b.err));
                difference -= objective(&b);
                *at = was;
                difference /= (double)up - (double)down;
                if (!(fabs(difference - (double)g[x->offset + i]) < 1e-6 + 1e-4 * fabs(difference)))
                    fail_msg("gradient of %s [%lld] is %g, not %g", x->name, (long long)i,
                             (double)g[x->offset + i], difference);
            }
            /* Padding has none. */
            for (int64_t i = n; i < x->rows * x->cols; i++)
                assert_true(g[x->offset + i] == 0);
        }
        free(g);
        bench_close(&b);
    }
}

static void sgd(struct spec *spec)
{
    spec->train.optimizer = OPTIMIZER_SGD;
    spec->train.weight_decay = 0;
    spec->train.lr = 0.1;
}

/* The rows of a cluster of which no position has a target do not move, and those of the
 * others do: what sets this head apart from one softmax. */
static void a_cluster_without_targets_rests(void **state)
{
    struct bench b;
    bench_open(&b, *(enum kind *)*state, 3, 4, sgd);
    for (int n = 0; n < b.N; n++)
        b.targets[n] = b.order[n % CUT2];
    gradient(&b, NULL);
    expect_done(&b, model_update(b.model, 1, &b.err));
    float *after = malloc((size_t)b.shapes->n_parameters * sizeof *after);
    assert_non_null(after);
    expect_done(&b, model_download(b.model, MODEL_PARAMETERS, after, &b.err));
    assert_memory_equal(tail_tensor(&b, after, 2, "weight"),
                        tail_tensor(&b, b.parameters, 2, "weight"), (V - CUT2) * 8 * sizeof(float));
    assert_memory_equal(tail_tensor(&b, after, 2, "projection"),
                        tail_tensor(&b, b.parameters, 2, "projection"), C * 8 * sizeof(float));
    for (int i = 0; i < CUT2 - CUT1; i++)
        assert_memory_not_equal(tail_tensor(&b, after, 1, "weight") + (ptrdiff_t)i * C / 4,
                                tail_tensor(&b, b.parameters, 1, "weight") + (ptrdiff_t)i * C / 4,
                                C / 4 * sizeof(float));
    /* Their log p falls all the same: the entry of the cluster does. */
    assert_memory_not_equal(tensor(&b, after, "lm_head.head.weight") + (CUT1 + 1) * C,
                            tensor(&b, b.parameters, "lm_head.head.weight") + (CUT1 + 1) * C,
                            C * sizeof(float));
    free(after);
    bench_close(&b);
}

/* The rows that shifts are measured from are the observation's to the last bit. */
static void rows_at_the_start(void **state)
{
    struct bench b;
    double rows[M * C];
    bench_open(&b, *(enum kind *)*state, 3, 4, plain);
    expect_done(&b, model_output_rows(b.model, rows, &b.err));
    assert_memory_equal(rows, gradient(&b, NULL)->output_rows, sizeof rows);
    bench_close(&b);
}

/* Losses, means and log p of an evaluation are those of a step, to the last bit, and no
 * gradient is touched. */
static void an_evaluation(void **state)
{
    struct bench b;
    double loss, evaluated, losses[N_MAX], lse[K * N_MAX], objective[N_MAX], mean_p[M], rows[M * C];
    bench_open(&b, *(enum kind *)*state, 3, 4, weighted);
    const struct model_observation *seen = gradient(&b, &loss);
    memcpy(losses, seen->losses, sizeof losses);
    memcpy(lse, seen->lse, sizeof lse);
    memcpy(objective, seen->objective, sizeof objective);
    memcpy(mean_p, seen->mean_p, sizeof mean_p);
    memcpy(rows, seen->output_rows, sizeof rows);
    const size_t size = (size_t)b.shapes->n_parameters * sizeof(float);
    float *before = malloc(size), *after = malloc(size);
    assert_true(before && after);
    for (int n = 0; n < b.N; n++)
        b.targets[n] = b.order[(n * 7 + 3) % V];
    gradient(&b, NULL);
    expect_done(&b, model_download(b.model, MODEL_GRADIENTS, before, &b.err));
    set_batch(&b);
    expect_done(&b, model_evaluate(b.model, b.inputs, b.targets, &evaluated, &seen, &b.err));
    expect_done(&b, model_download(b.model, MODEL_GRADIENTS, after, &b.err));
    assert_true(evaluated == loss);
    assert_memory_equal(seen->losses, losses, sizeof losses);
    assert_memory_equal(seen->lse, lse, sizeof lse);
    assert_memory_equal(seen->objective, objective, sizeof objective);
    assert_memory_equal(seen->mean_p, mean_p, sizeof mean_p);
    assert_memory_equal(seen->output_rows, rows, sizeof rows);
    assert_true(isnan(seen->grad_norm) && !seen->scores && isnan(seen->part_norms[0]));
    assert_memory_equal(after, before, size);
    free(before);
    free(after);
    bench_close(&b);
}

static void small_weights(struct spec *spec)
{
    spec->model.init_std = 0.05;
    spec->model.logit_scale = 1;
}

/* Untrained (SCIENCE 3.1): the mean over a cluster is the closed form and what the one
 * row of its entry says, which is there by chance. */
static void untrained_levels(void **state)
{
    struct bench b;
    bench_open(&b, *(enum kind *)*state, 3, 4, small_weights);
    const struct model_observation *seen = gradient(&b, NULL);
    double mean[K] = {0}, entry[K] = {0}, h[C] = {0};
    for (int w = 0; w < 3; w++)
        for (int c = 0; c < C; c++)
            h[c] += seen->h_sums[w * C + c] / b.N;
    const float *rows = tensor(&b, b.parameters, "lm_head.head.weight");
    for (int k = 1; k < K; k++)
        for (int c = 0; c < C; c++)
            entry[k] += (double)rows[(CUT1 + k - 1) * C + c] * h[c];
    for (int v = 0; v < V; v++) {
        const int k = seen->cluster_of[v];
        double lse = 0;
        for (int n = 0; n < b.N; n++)
            lse += seen->lse[k * b.N + n] / b.N;
        mean[k] += ((double)seen->scores[v] - lse) / b.shapes->clusters.cluster[k].tokens;
    }
    const double std = theory_logit_std(b.spec);
    for (int k = 0; k < K; k++) {
        const int outputs = b.shapes->clusters.cluster[k].outputs;
        const double level = theory_untrained_cluster(b.spec, V, k);
        if (!(fabs(mean[k] - entry[k] - level) < 5 * std / sqrt(outputs)))
            fail_msg("cluster %d starts at %g less %g, not at %g", k, mean[k], entry[k], level);
    }
    /* One softmax would start at -ln 70 = -4.25 everywhere. */
    assert_true(mean[0] > -3 && mean[2] < -5);
    bench_close(&b);
}

static void what_is_refused(void **state)
{
    struct bench b;
    struct model *model = NULL;
    int32_t twice[V], outside[V];
    bench_open(&b, *(enum kind *)*state, 1, 1, plain);
    memcpy(twice, b.order, sizeof twice);
    memcpy(outside, b.order, sizeof outside);
    twice[7] = twice[8];
    outside[9] = V;
    assert_int_equal(model_set_order(b.model, twice, &b.err), -1);
    assert_int_equal(b.err.code, ERR_INVALID);
    assert_non_null(strstr(b.err.message, "rank 8 is token"));
    err_clear(&b.err);
    assert_int_equal(model_set_order(b.model, outside, &b.err), -1);
    assert_non_null(strstr(b.err.message, "rank 9 is token 70"));
    assert_memory_equal(model_order(b.model), b.order, sizeof b.order);
    err_clear(&b.err);
    b.spec->model.cutoffs[1] = V;
    assert_int_equal(model_open(b.spec, V, &groups, b.backend, &model, &b.err), -1);
    assert_int_equal(b.err.code, ERR_INVALID);
    assert_non_null(strstr(b.err.message, "70"));
    assert_null(model);
    b.spec->model.cutoffs[1] = CUT2;
    bench_close(&b);
}

#define ON(kind, test)                                                                             \
    {                                                                                              \
#test " (" #kind ")", test, NULL, NULL, &kinds[kind]                                       \
    }

int main(void)
{
    static enum kind kinds[] = {FP32, BF16, REFERENCE};
    const struct CMUnitTest tests[] = {
        ON(FP32, every_log_p),
        ON(BF16, every_log_p),
        ON(REFERENCE, every_log_p),
        ON(FP32, observation),
        ON(BF16, observation),
        ON(REFERENCE, observation),
        ON(REFERENCE, central_differences),
        ON(FP32, a_cluster_without_targets_rests),
        ON(BF16, a_cluster_without_targets_rests),
        ON(REFERENCE, a_cluster_without_targets_rests),
        ON(FP32, rows_at_the_start),
        ON(BF16, rows_at_the_start),
        ON(FP32, an_evaluation),
        ON(BF16, an_evaluation),
        ON(REFERENCE, an_evaluation),
        ON(FP32, untrained_levels),
        ON(REFERENCE, untrained_levels),
        ON(FP32, what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
