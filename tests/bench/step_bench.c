/* step_bench: tokens per second of one training step, and each operation's share.
 * Stands between model and cpu backend: a table of operations that measure the
 * time of the real ones.
 *
 *   step_bench [threads [d_model n_layers n_heads seq_len batch [steps]]]
 *
 * Vocabulary 50257, tied, AdamW, observed in every step, as the `gulliver`
 * preset trains. Prints a table; not a test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gpu/cpu/cpu.h"
#include "gpu/model.h"
#include "lab/random.h"

enum { VOCABULARY = 50257, TRACKED = 300 };

struct timed {
    struct backend table; /* first */
    struct backend *inner;
};

static double spent[64];
static const char *name_of[64];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define INNER (((struct timed *)self)->inner)
#define TIMED(slot, op, parameters, ...)                                                           \
    static void timed_##op parameters                                                              \
    {                                                                                              \
        const double start = now();                                                                \
        name_of[slot] = #op;                                                                       \
        INNER->op(INNER, __VA_ARGS__);                                                             \
        spent[slot] += now() - start;                                                              \
    }

/* clang-format off */
TIMED(1, upload, (struct backend *self, void *d, enum backend_number to, const void *h, enum backend_number from, int64_t n), d, to, h, from, n)
TIMED(2, add, (struct backend *self, void *o, const void *a, const void *b, int64_t n), o, a, b, n)
TIMED(3, embedding_forward, (struct backend *self, void *o, const void *e, const void *p, const int32_t *i, int B, int T, int C), o, e, p, i, B, T, C)
TIMED(4, embedding_backward, (struct backend *self, void *e, void *p, const void *d, const int32_t *i, int B, int T, int C), e, p, d, i, B, T, C)
TIMED(5, layernorm_forward, (struct backend *self, void *o, void *m, void *r, const void *x, const void *g, const void *b, int N, int C), o, m, r, x, g, b, N, C)
TIMED(6, layernorm_backward, (struct backend *self, void *dx, void *dg, void *db, const void *d, const void *res, const void *x, const void *m, const void *r, const void *g, int N, int C), dx, dg, db, d, res, x, m, r, g, N, C)
TIMED(7, matmul_forward, (struct backend *self, void *o, const void *x, const void *w, const void *b, int N, int I, int O), o, x, w, b, N, I, O)
TIMED(8, matmul_backward_input, (struct backend *self, void *dx, const void *d, const void *w, int N, int I, int O), dx, d, w, N, I, O)
TIMED(9, matmul_backward_weight, (struct backend *self, void *dw, void *db, const void *x, const void *d, int N, int I, int O), dw, db, x, d, N, I, O)
TIMED(10, attention_forward, (struct backend *self, void *o, void *l, const void *q, int B, int T, int C, int NH), o, l, q, B, T, C, NH)
TIMED(11, attention_backward, (struct backend *self, void *dq, const void *d, const void *q, const void *o, const void *l, int B, int T, int C, int NH), dq, d, q, o, l, B, T, C, NH)
TIMED(12, activation_forward, (struct backend *self, void *o, const void *x, int64_t n, enum spec_activation k), o, x, n, k)
TIMED(13, activation_backward, (struct backend *self, void *dx, const void *d, const void *x, int64_t n, enum spec_activation k), dx, d, x, n, k)
TIMED(14, head, (struct backend *self, const struct backend_head *h), h)
TIMED(15, window_sums, (struct backend *self, void *o, const void *h, int B, int T, int C), o, h, B, T, C)
TIMED(16, weighted_sums, (struct backend *self, void *o, const void *w, const void *h, int K, int N, int C), o, w, h, K, N, C)
TIMED(17, gather_rows, (struct backend *self, void *o, const void *in, const int32_t *i, int M, int C), o, in, i, M, C)
TIMED(18, sum_squares, (struct backend *self, void *o, const void *in, int64_t n), o, in, n)
TIMED(19, update, (struct backend *self, const struct backend_update *u, void *w, void *c, const void *g, void *m1, void *m2, int64_t n), u, w, c, g, m1, m2, n)
TIMED(20, tracked, (struct backend *self, const struct backend_tracked *t), t)
/* clang-format on */

static void time_operations(struct timed *timed, struct backend *inner)
{
    struct backend *t = &timed->table;
    *t = *inner;
    timed->inner = inner;
    t->upload = timed_upload;
    t->add = timed_add;
    t->embedding_forward = timed_embedding_forward;
    t->embedding_backward = timed_embedding_backward;
    t->layernorm_forward = timed_layernorm_forward;
    t->layernorm_backward = timed_layernorm_backward;
    t->matmul_forward = timed_matmul_forward;
    t->matmul_backward_input = timed_matmul_backward_input;
    t->matmul_backward_weight = timed_matmul_backward_weight;
    t->attention_forward = timed_attention_forward;
    t->attention_backward = timed_attention_backward;
    t->activation_forward = timed_activation_forward;
    t->activation_backward = timed_activation_backward;
    t->head = timed_head;
    t->window_sums = timed_window_sums;
    t->weighted_sums = timed_weighted_sums;
    t->gather_rows = timed_gather_rows;
    t->sum_squares = timed_sum_squares;
    t->update = timed_update;
    t->tracked = timed_tracked;
}

/* The operations that the wrapper leaves alone get the real backend's state. */
static struct backend *inner_of(struct backend *self)
{
    return INNER;
}

static void *plain_alloc(struct backend *self, int64_t bytes, struct err *err)
{
    return inner_of(self)->alloc(inner_of(self), bytes, err);
}

static void plain_zero(struct backend *self, void *memory, int64_t bytes)
{
    inner_of(self)->zero(inner_of(self), memory, bytes);
}

static int plain_sync(struct backend *self, struct err *err)
{
    return inner_of(self)->sync(inner_of(self), err);
}

static int plain_download(struct backend *self, void *host, enum backend_number to,
                          const void *device, enum backend_number from, int64_t n, struct err *err)
{
    return inner_of(self)->download(inner_of(self), host, to, device, from, n, err);
}

static int argument(int argc, char **argv, int i, int otherwise)
{
    return argc > i ? atoi(argv[i]) : otherwise;
}

static void draw_batch(int32_t *ids, int n, uint64_t step)
{
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)random_below(1, RANDOM_TOKENS, step << 21 | (uint64_t)i, VOCABULARY);
}

/* One number of all parameters' bits: equal runs print equal numbers. */
static int checksum(struct model *model, uint64_t *sum, struct err *err)
{
    const int64_t n = model_shapes(model)->n_parameters;
    uint32_t *bits = malloc((size_t)n * sizeof *bits);
    if (!bits || model_download(model, MODEL_PARAMETERS, (float *)bits, err) != 0) {
        free(bits);
        return -1;
    }
    *sum = 14695981039346656037u; /* FNV-1a */
    for (int64_t i = 0; i < n; i++)
        *sum = (*sum ^ bits[i]) * 1099511628211u;
    free(bits);
    return 0;
}

static int run(struct spec *spec, int threads, int steps, struct err *err)
{
    struct backend *cpu;
    if (cpu_backend_open(threads, &cpu, err) != 0)
        return -1;
    static int32_t tracked[TRACKED];
    struct groups groups = {.n = 3, .n_tokens = TRACKED, .tokens = tracked};
    for (int i = 0; i < TRACKED; i++)
        tracked[i] = i * 167;
    for (int g = 0; g < 3; g++)
        groups.group[g] = (struct group){.n = TRACKED / 3, .ids = tracked + g * TRACKED / 3};
    struct timed timed;
    time_operations(&timed, cpu);
    timed.table.alloc = plain_alloc;
    timed.table.zero = plain_zero;
    timed.table.sync = plain_sync;
    timed.table.download = plain_download;

    struct model *model = NULL;
    const int N = spec->train.batch_size * spec->model.seq_len;
    int32_t *ids = malloc(((size_t)N + 1) * sizeof *ids);
    int result = -1;
    if (!ids || model_open(spec, VOCABULARY, &groups, &timed.table, &model, err) != 0 ||
        model_initialise(model, err) != 0)
        goto out;
    double loss = 0, start = 0;
    const struct model_observation *observation;
    for (int step = 0; step <= steps; step++) {
        if (step == 1) { /* the first one makes oneDNN's primitives */
            memset(spent, 0, sizeof spent);
            start = now();
        }
        draw_batch(ids, N + 1, (uint64_t)step);
        if (model_gradient(model, ids, ids + 1, &loss, &observation, err) != 0 ||
            model_update(model, step + 1, err) != 0)
            goto out;
    }
    const double total = now() - start;
    uint64_t sum;
    if (checksum(model, &sum, err) != 0)
        goto out;
    printf("%s, %s, %d threads: %d steps of %d tokens, %lld bytes\n", cpu->device, cpu->isa,
           cpu->threads, steps, N, (long long)model_bytes(model));
    printf("loss %.9g, parameters %016llx\n", loss, (unsigned long long)sum);
    printf("%.0f tokens/s, %.2f ms a step\n", N * steps / total, 1e3 * total / steps);
    for (int i = 0; i < 64; i++)
        if (name_of[i])
            printf("%-24s %8.3f ms %5.1f %%\n", name_of[i], 1e3 * spent[i] / steps,
                   100 * spent[i] / total);
    result = 0;
out:
    free(ids);
    model_close(model);
    cpu->close(cpu);
    return result;
}

int main(int argc, char **argv)
{
    struct err err;
    err_clear(&err);
    struct spec *spec = spec_default();
    if (!spec)
        return 1;
    spec->model.d_model = argument(argc, argv, 2, spec->model.d_model);
    spec->model.n_layers = argument(argc, argv, 3, spec->model.n_layers);
    spec->model.n_heads = argument(argc, argv, 4, spec->model.n_heads);
    spec->model.seq_len = argument(argc, argv, 5, spec->model.seq_len);
    spec->train.batch_size = argument(argc, argv, 6, spec->train.batch_size);
    const int result = run(spec, argument(argc, argv, 1, 0), argument(argc, argv, 7, 20), &err);
    if (result != 0)
        fprintf(stderr, "step_bench: %s\n", err.message);
    spec_free(spec);
    return result != 0;
}
