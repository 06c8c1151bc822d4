/* ones: see ones.h. A product's operands are one array of ones, as long as the longer operand. */
#include "gpu/ref/ones.h"

#include <math.h>
#include <stdlib.h>

/* 11528 = 180 * 64 + 8, 8648 = 135 * 64 + 8, 57608 = 900 * 64 + 8: a multiple of 64 that many
 * numbers of parts divide, and a rest. */
static const int lengths[] = {11528, 8648, 57608};
enum {
    LENGTHS = sizeof lengths / sizeof *lengths,
    SIDE = 64, /* of the results of the long sums */
    TURNS = 2
};

/* Positions of a batch and the width of the model, of `gulliver` and of the study. */
static const struct {
    int N, C;
} presets[] = {{8 * 64, 128}, {16 * 256, 768}};
enum { PRESETS = sizeof presets / sizeof *presets };

/* Rows and columns of a layer's weight, in widths: queries, keys and values; their mixture; there
 * and back again. */
static const int layers[][2] = {{1, 3}, {1, 1}, {1, 4}, {4, 1}};
enum { LAYERS = sizeof layers / sizeof *layers };

struct ones {
    struct backend *backend;
    void *ones, *out, *bias;
    double *host;
};

static void ones_close(struct ones *o)
{
    o->backend->free(o->backend, o->ones);
    o->backend->free(o->backend, o->out);
    o->backend->free(o->backend, o->bias);
    free(o->host);
}

/* ones ACT [n_ones], out and bias of either type [n_out]. On failure everything is freed. */
static int ones_open(struct ones *o, struct backend *be, int64_t n_ones, int64_t n_out,
                     struct err *err)
{
    const int64_t n = n_ones > n_out ? n_ones : n_out;
    *o = (struct ones){.backend = be, .host = malloc((size_t)n * sizeof *o->host)};
    if (!o->host)
        return err_set(err, ERR_NO_MEMORY, "no memory for a matrix of ones");
    o->ones = be->alloc(be, n_ones * (int64_t)be->act_bytes, err);
    o->out = o->ones ? be->alloc(be, n_out * (int64_t)be->real_bytes, err) : NULL;
    o->bias = o->out ? be->alloc(be, n_out * (int64_t)be->real_bytes, err) : NULL;
    if (!o->bias) {
        ones_close(o);
        return -1;
    }
    for (int64_t i = 0; i < n_ones; i++)
        o->host[i] = 1;
    be->upload(be, o->ones, NUMBER_ACT, o->host, NUMBER_DOUBLE, n_ones);
    be->zero(be, o->bias, n_out * (int64_t)be->real_bytes);
    return 0;
}

/* K as the nearest number of the type: of 24 or 8 significant bits. */
static double rounded(const struct ones *o, enum backend_number number, int K)
{
    const int bits = number == NUMBER_ACT && o->backend->precision == PRECISION_BF16 ? 8 : 24;
    int exponent;
    const double fraction = frexp(K, &exponent);
    return ldexp(rint(ldexp(fraction, bits)), exponent - bits);
}

static int expect(struct ones *o, const char *product, const void *from, enum backend_number number,
                  int64_t n, int K, struct err *err)
{
    const double expected = rounded(o, number, K);
    if (o->backend->download(o->backend, o->host, NUMBER_DOUBLE, from, number, n, err) != 0)
        return -1;
    for (int64_t i = 0; i < n; i++)
        if (o->host[i] != expected)
            return err_set(err, ERR_INTERNAL, "%s: a sum of %d ones is %.10g, number %lld of %lld",
                           product, K, o->host[i], (long long)i, (long long)n);
    return 0;
}

static void poison(struct ones *o, enum backend_number number, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        o->host[i] = NAN;
    o->backend->upload(o->backend, o->out, number, o->host, NUMBER_DOUBLE, n);
}

static int check_weight(struct ones *o, int N, int I, int O, struct err *err)
{
    struct backend *be = o->backend;
    poison(o, NUMBER_REAL, (int64_t)I * O);
    be->matmul_backward_weight(be, o->out, o->bias, o->ones, o->ones, N, I, O);
    const int result =
        expect(o, "the gradient of a weight", o->out, NUMBER_REAL, (int64_t)I * O, N, err) != 0
            ? -1
            : expect(o, "the gradient of a bias", o->bias, NUMBER_REAL, O, N, err);
    be->zero(be, o->bias, O * (int64_t)be->real_bytes);
    return result;
}

static int check_length(struct ones *o, int K, struct err *err)
{
    struct backend *be = o->backend;
    const int64_t n = SIDE * SIDE;
    poison(o, NUMBER_ACT, n);
    be->matmul_forward(be, o->out, o->ones, o->ones, o->bias, SIDE, K, SIDE);
    if (expect(o, "a product", o->out, NUMBER_ACT, n, K, err) != 0)
        return -1;
    poison(o, NUMBER_ACT, n);
    be->matmul_backward_input(be, o->out, o->ones, o->ones, SIDE, SIDE, K);
    if (expect(o, "the gradient of an input", o->out, NUMBER_ACT, n, K, err) != 0)
        return -1;
    return check_weight(o, K, SIDE, SIDE, err);
}

int ones_check_lengths(struct backend *backend, struct err *err)
{
    struct ones o;
    int longest = 0;
    for (int k = 0; k < LENGTHS; k++)
        longest = lengths[k] > longest ? lengths[k] : longest;
    if (ones_open(&o, backend, (int64_t)longest * SIDE, SIDE * SIDE, err) != 0)
        return -1;
    int result = 0;
    for (int turn = 0; turn < TURNS; turn++)
        for (int k = 0; result == 0 && k < LENGTHS; k++)
            result = check_length(&o, lengths[k], err);
    ones_close(&o);
    return result;
}

static int check_preset(struct backend *backend, int N, int C, struct err *err)
{
    enum { WIDEST = 4 };
    struct ones o;
    int result = ones_open(&o, backend, (int64_t)N * WIDEST * C, (int64_t)WIDEST * C * C, err);
    if (result != 0)
        return -1;
    for (int i = 0; result == 0 && i < LAYERS; i++)
        result = check_weight(&o, N, layers[i][0] * C, layers[i][1] * C, err);
    ones_close(&o);
    return result;
}

int ones_check_presets(struct backend *backend, struct err *err)
{
    for (int p = 0; p < PRESETS; p++)
        if (check_preset(backend, presets[p].N, presets[p].C, err) != 0)
            return -1;
    return 0;
}
