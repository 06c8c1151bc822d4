/* step_bench: training steps of the cpu backend on demand, timed as a whole and
 * by operation, for bench.mjs, which runs it beside its peers. One thread drives.
 *
 *   step_bench THREADS fp32|bf16
 *
 * Standard input: a spec (one line of JSON), then one command a line:
 *   step   one step with statistics, as a job trains
 *   pair   one step without and one with statistics; who goes first alternates
 *   end    (or end of file)
 * Standard output: one line of JSON for the opened engine, after a first step that
 * is not timed, and one for each command; milliseconds. Tokens are drawn, not read.
 *
 * Operations are timed by replacing the entries of the backend's table; the
 * engine itself knows nothing of it. TOKENFATE_ISA chooses the instruction set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/record.h"
#include "gpu/cpu/cpu.h"
#include "gpu/measure.h"
#include "gpu/model.h"
#include "gpu/model_state.h"
#include "lab/random.h"

enum { VOCABULARY = 50257, TRACKED = 300, LINE_MAX_BYTES = 1 << 16 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* ---- time by operation ---- */

#define OPERATIONS(X)                                                                              \
    X(upload)                                                                                      \
    X(add)                                                                                         \
    X(embedding_forward)                                                                           \
    X(embedding_backward)                                                                          \
    X(layernorm_forward)                                                                           \
    X(layernorm_backward)                                                                          \
    X(matmul_forward)                                                                              \
    X(matmul_backward_input)                                                                       \
    X(matmul_backward_weight)                                                                      \
    X(attention_forward)                                                                           \
    X(attention_backward)                                                                          \
    X(activation_forward)                                                                          \
    X(activation_backward)                                                                         \
    X(lm_head)                                                                                     \
    X(tracked)                                                                                     \
    X(window_sums)                                                                                 \
    X(weighted_sums)                                                                               \
    X(gather_rows)                                                                                 \
    X(scores)                                                                                      \
    X(sum_squares)                                                                                 \
    X(update)

/* SLOT_download and SLOT_measure: numbers back to the host, and the record made of them. */
#define SLOT(op) SLOT_##op,
enum { OPERATIONS(SLOT) SLOT_download, SLOT_measure, SLOTS };

static double spent[SLOTS];
static struct backend original; /* the table before its entries were replaced */

#define TIMED(op, parameters, ...)                                                                 \
    static void timed_##op parameters                                                              \
    {                                                                                              \
        const double start = now();                                                                \
        original.op(self, __VA_ARGS__);                                                            \
        spent[SLOT_##op] += now() - start;                                                         \
    }

/* clang-format off */
TIMED(upload, (struct backend *self, void *d, enum backend_number to, const void *h, enum backend_number from, int64_t n), d, to, h, from, n)
TIMED(add, (struct backend *self, void *o, const void *a, const void *b, int64_t n), o, a, b, n)
TIMED(embedding_forward, (struct backend *self, void *o, const void *e, const void *p, const int32_t *i, int B, int T, int C), o, e, p, i, B, T, C)
TIMED(embedding_backward, (struct backend *self, void *e, void *p, const void *d, const int32_t *i, int B, int T, int C), e, p, d, i, B, T, C)
TIMED(layernorm_forward, (struct backend *self, void *o, void *m, void *r, const void *x, const void *g, const void *b, int N, int C), o, m, r, x, g, b, N, C)
TIMED(layernorm_backward, (struct backend *self, void *dx, void *dg, void *db, const void *d, const void *res, const void *x, const void *m, const void *r, const void *g, int N, int C), dx, dg, db, d, res, x, m, r, g, N, C)
TIMED(matmul_forward, (struct backend *self, void *o, const void *x, const void *w, const void *b, int N, int I, int O), o, x, w, b, N, I, O)
TIMED(matmul_backward_input, (struct backend *self, void *dx, const void *d, const void *w, int N, int I, int O), dx, d, w, N, I, O)
TIMED(matmul_backward_weight, (struct backend *self, void *dw, void *db, const void *x, const void *d, int N, int I, int O), dw, db, x, d, N, I, O)
TIMED(attention_forward, (struct backend *self, void *o, void *l, const void *q, int B, int T, int C, int NH), o, l, q, B, T, C, NH)
TIMED(attention_backward, (struct backend *self, void *dq, const void *d, const void *q, const void *o, const void *l, int B, int T, int C, int NH), dq, d, q, o, l, B, T, C, NH)
TIMED(activation_forward, (struct backend *self, void *o, const void *x, int64_t n, enum spec_activation k), o, x, n, k)
TIMED(activation_backward, (struct backend *self, void *dx, const void *d, const void *x, int64_t n, enum spec_activation k), dx, d, x, n, k)
TIMED(lm_head, (struct backend *self, const struct backend_lm_head *h), h)
TIMED(tracked, (struct backend *self, const struct backend_tracked *t), t)
TIMED(window_sums, (struct backend *self, void *o, const void *h, int B, int T, int C), o, h, B, T, C)
TIMED(weighted_sums, (struct backend *self, void *o, const void *w, const void *h, int K, int N, int C), o, w, h, K, N, C)
TIMED(gather_rows, (struct backend *self, void *o, const void *in, const int32_t *i, int M, int C), o, in, i, M, C)
TIMED(scores, (struct backend *self, void *o, const void *w, enum backend_number k, const void *b, const void *x, double f, int V, int C), o, w, k, b, x, f, V, C)
TIMED(sum_squares, (struct backend *self, void *o, const void *in, int64_t n), o, in, n)
TIMED(update, (struct backend *self, const struct backend_update *u, void *w, void *c, const void *g, void *m1, void *m2, int64_t n), u, w, c, g, m1, m2, n)
/* clang-format on */

static int timed_download(struct backend *self, void *host, enum backend_number to,
                          const void *device, enum backend_number from, int64_t n, struct err *err)
{
    const double start = now();
    const int result = original.download(self, host, to, device, from, n, err);
    spent[SLOT_download] += now() - start;
    return result;
}

static void time_operations(struct backend *backend)
{
    original = *backend;
    backend->download = timed_download;
#define REPLACE(op) backend->op = timed_##op;
    OPERATIONS(REPLACE)
}

/* ---- an engine that steps ---- */

struct engine {
    struct backend *backend;
    struct model *model;
    struct measure *measure;
    struct groups groups;
    int B, T;
    int32_t tracked[TRACKED];
    int32_t *ids; /* [N + 1] */
    double *values;
    float tokens[TRACKED];
    int64_t step; /* of the last one */
    double loss;
};

static void make_groups(struct groups *groups, int32_t *tracked)
{
    *groups = (struct groups){.n = 3, .n_tokens = TRACKED, .tokens = tracked};
    for (int i = 0; i < TRACKED; i++)
        tracked[i] = i * (VOCABULARY / TRACKED);
    for (int g = 0; g < 3; g++)
        groups->group[g] =
            (struct group){.n = TRACKED / 3, .ids = tracked + (ptrdiff_t)g * (TRACKED / 3)};
}

static int engine_open(struct engine *e, const struct spec *spec, int threads,
                       enum spec_precision precision, struct err *err)
{
    e->B = spec->train.batch_size;
    e->T = spec->model.seq_len;
    make_groups(&e->groups, e->tracked);
    e->ids = malloc(((size_t)e->B * (size_t)e->T + 1) * sizeof *e->ids);
    e->values = malloc((size_t)record_size(e->groups.n) * sizeof *e->values);
    if (!e->ids || !e->values)
        return err_set(err, ERR_NO_MEMORY, "no memory for a batch");
    if (cpu_backend_open(threads, precision, &e->backend, err) != 0)
        return -1;
    time_operations(e->backend);
    if (model_open(spec, VOCABULARY, &e->groups, e->backend, &e->model, err) != 0 ||
        model_initialise(e->model, err) != 0)
        return -1;
    struct frequency frequency;
    if (frequency_gulliver(&frequency, err) != 0)
        return -1;
    const int result =
        measure_open(&e->groups, &frequency, e->B, e->T, spec->model.d_model, &e->measure, err);
    frequency_free(&frequency);
    return result;
}

static void engine_close(struct engine *e)
{
    measure_close(e->measure);
    model_close(e->model);
    if (e->backend)
        e->backend->close(e->backend);
    free(e->values);
    free(e->ids);
}

static void draw_batch(struct engine *e)
{
    for (int i = 0; i <= e->B * e->T; i++)
        e->ids[i] = (int32_t)random_below(1, RANDOM_TOKENS, (uint64_t)e->step << 21 | (uint64_t)i,
                                          VOCABULARY);
}

/* One step, as a job makes it; its milliseconds in *ms, its operations' in spent. */
static int engine_step(struct engine *e, int observed, double *ms, struct err *err)
{
    const unsigned what = MODEL_GRADIENT | MODEL_UPDATE | (observed ? MODEL_OBSERVE : 0);
    struct model_result result;
    e->step++;
    draw_batch(e);
    memset(spent, 0, sizeof spent);
    const double start = now();
    const int32_t *targets = e->ids + 1;
    if (model_submit(e->model, what, e->ids, targets, e->step, err) != 0 ||
        model_collect(e->model, &result, err) != 0)
        return -1;
    e->loss = result.loss;
    const double before = now();
    if (observed)
        measure_record(e->measure, result.observation, e->ids, targets, e->values, e->tokens);
    spent[SLOT_measure] += now() - before;
    measure_count_targets(e->measure, targets);
    *ms = now() - start;
    return 0;
}

/* ---- the conversation ---- */

static void print_operations(void)
{
    static const char *const name_of[] = {
#define NAME(op) #op,
        OPERATIONS(NAME) "download", "measure"};
    printf("\"operations\":{");
    for (int i = 0; i < SLOTS; i++)
        printf("%s\"%s\":%.4f", i ? "," : "", name_of[i], spent[i]);
    printf("}");
}

static int answer_step(struct engine *e, struct err *err)
{
    double ms;
    if (engine_step(e, 1, &ms, err) != 0)
        return -1;
    printf("{\"ms\":%.4f,\"loss\":%.9g,", ms, e->loss);
    print_operations();
    printf("}\n");
    return 0;
}

/* Printed between the two steps: the operations of the observed one. */
static int answer_pair(struct engine *e, int observed_first, struct err *err)
{
    double ms[2];
    printf("{");
    for (int i = 0; i < 2; i++) {
        const int observed = i == !observed_first;
        if (engine_step(e, observed, &ms[observed], err) != 0)
            return -1;
        if (observed)
            print_operations();
    }
    printf(",\"ms\":%.4f,\"unobserved_ms\":%.4f,\"loss\":%.9g}\n", ms[1], ms[0], e->loss);
    return 0;
}

static int converse(struct engine *e, char *line, struct err *err)
{
    double ms;
    if (engine_step(e, 1, &ms, err) != 0)
        return -1;
    printf("{\"device\":\"%s\",\"isa\":\"%s\",\"threads\":%d,\"bytes\":%lld}\n", e->backend->device,
           e->backend->isa, e->backend->threads, (long long)model_bytes(e->model));
    fflush(stdout);
    for (int pairs = 0; fgets(line, LINE_MAX_BYTES, stdin) && strcmp(line, "end\n") != 0;) {
        const int pair = strcmp(line, "pair\n") == 0;
        if (!pair && strcmp(line, "step\n") != 0)
            return err_set(err, ERR_INVALID, "unknown command %.20s", line);
        if ((pair ? answer_pair(e, pairs++ % 2, err) : answer_step(e, err)) != 0)
            return -1;
        fflush(stdout);
    }
    return 0;
}

static int run(const char *threads, const char *precision, struct err *err)
{
    static char line[LINE_MAX_BYTES];
    struct engine engine = {0};
    struct spec *spec = NULL;
    int result = -1;
    if (!fgets(line, sizeof line, stdin)) {
        err_set(err, ERR_INVALID, "no spec on standard input");
        goto out;
    }
    if (spec_parse(line, strlen(line), &spec, err) != 0)
        goto out;
    if (engine_open(&engine, spec, atoi(threads),
                    strcmp(precision, "bf16") == 0 ? PRECISION_BF16 : PRECISION_FP32, err) != 0)
        goto out;
    result = converse(&engine, line, err);
out:
    engine_close(&engine);
    spec_free(spec);
    return result;
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    if (argc != 3) {
        fprintf(stderr, "usage: step_bench THREADS fp32|bf16\n");
        return 2;
    }
    if (run(argv[1], argv[2], &err) == 0)
        return 0;
    fprintf(stderr, "step_bench: %s\n", err.message);
    return 1;
}
