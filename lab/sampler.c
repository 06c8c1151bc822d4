/* sampler: see sampler.h. One of three ways to fill a batch is chosen when it
 * is opened. Only the shuffled pass keeps something between batches, the order
 * of one pass, and that is a cache: any step can be asked for at any time. */
#include "lab/sampler.h"

#include <stdlib.h>
#include <string.h>

#include "lab/random.h"

/* The index of a draw: the step shifted by this many bits, plus the place. */
enum { WINDOW_BITS = 20, TOKEN_BITS = 21 };
_Static_assert(SPEC_BATCH_MAX <= 1 << WINDOW_BITS, "windows of a batch overflow into the step");
_Static_assert(SPEC_POSITIONS_MAX + SPEC_BATCH_MAX <= 1 << TOKEN_BITS,
               "tokens of a batch overflow into the step");

struct sampler {
    void (*fill)(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets);
    int batch_size, seq_len;
    uint64_t seed;
    const int32_t *ids; /* [n] */
    int64_t n;
    int64_t windows; /* of one pass */
    int64_t steps_per_epoch;
    int64_t pass;        /* whose order is in `order`, -1: none yet */
    int32_t *order;      /* [windows] of a shuffled pass */
    int n_types;         /* of a synthetic text */
    int32_t *types;      /* [n_types] ids that occur */
    int64_t *cumulative; /* [n_types] tokens of this type and those before it */
};

static void copy_window(const struct sampler *sampler, int64_t offset, int window, int32_t *inputs,
                        int32_t *targets)
{
    const size_t T = (size_t)sampler->seq_len, at = (size_t)window * T;
    memcpy(inputs + at, sampler->ids + offset, T * sizeof *inputs);
    memcpy(targets + at, sampler->ids + offset + 1, T * sizeof *targets);
}

static void fill_random(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    const uint64_t offsets = (uint64_t)(sampler->n - sampler->seq_len);
    for (int b = 0; b < sampler->batch_size; b++) {
        const uint64_t index = ((uint64_t)step << WINDOW_BITS) + (uint64_t)b;
        const uint64_t offset = random_below(sampler->seed, RANDOM_WINDOWS, index, offsets);
        copy_window(sampler, (int64_t)offset, b, inputs, targets);
    }
}

/* Fisher and Yates, as in Durstenfeld 1964. */
static void draw_pass(struct sampler *sampler, int64_t pass)
{
    const int64_t n = sampler->windows;
    for (int64_t i = 0; i < n; i++)
        sampler->order[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        const uint64_t index = (uint64_t)pass * (uint64_t)n + (uint64_t)i;
        const uint64_t j = random_below(sampler->seed, RANDOM_PASS, index, (uint64_t)i + 1);
        const int32_t swapped = sampler->order[i];
        sampler->order[i] = sampler->order[j];
        sampler->order[j] = swapped;
    }
    sampler->pass = pass;
}

static void fill_shuffled(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    for (int b = 0; b < sampler->batch_size; b++) {
        const int64_t place = step * sampler->batch_size + b;
        const int64_t pass = place / sampler->windows;
        if (pass != sampler->pass)
            draw_pass(sampler, pass);
        const int64_t window = sampler->order[place % sampler->windows];
        copy_window(sampler, window * sampler->seq_len, b, inputs, targets);
    }
}

/* Inverse of the cumulative counts, exact in integers. */
static int32_t draw_token(const struct sampler *sampler, uint64_t index)
{
    const uint64_t total = (uint64_t)sampler->cumulative[sampler->n_types - 1];
    const int64_t u = (int64_t)random_below(sampler->seed, RANDOM_TOKENS, index, total);
    int low = 0, high = sampler->n_types - 1;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (sampler->cumulative[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return sampler->types[low];
}

static void fill_synthetic(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    const int T = sampler->seq_len;
    for (int b = 0; b < sampler->batch_size; b++) {
        uint64_t index = ((uint64_t)step << TOKEN_BITS) + (uint64_t)b * ((uint64_t)T + 1);
        int32_t token = draw_token(sampler, index);
        for (int t = 0; t < T; t++) {
            inputs[b * T + t] = token;
            token = draw_token(sampler, ++index);
            targets[b * T + t] = token;
        }
    }
}

static int open_synthetic(struct sampler *sampler, const struct frequency *frequency,
                          struct err *err)
{
    sampler->types = calloc((size_t)frequency->types, sizeof *sampler->types);
    sampler->cumulative = calloc((size_t)frequency->types, sizeof *sampler->cumulative);
    if (!sampler->types || !sampler->cumulative)
        return err_set(err, ERR_NO_MEMORY, "no memory to draw from %d tokens", frequency->types);
    int64_t sum = 0;
    for (int32_t id = 0; id < frequency->vocab; id++)
        if (frequency->counts[id]) {
            sum += frequency->counts[id];
            sampler->types[sampler->n_types] = id;
            sampler->cumulative[sampler->n_types++] = sum;
        }
    sampler->fill = fill_synthetic;
    return 0;
}

static int open_shuffled(struct sampler *sampler, struct err *err)
{
    sampler->order = calloc((size_t)sampler->windows, sizeof *sampler->order);
    if (!sampler->order)
        return err_set(err, ERR_NO_MEMORY, "no memory for the order of %lld windows",
                       (long long)sampler->windows);
    sampler->pass = -1;
    sampler->fill = fill_shuffled;
    return 0;
}

int sampler_open(const struct spec *spec, const int32_t *ids, size_t n,
                 const struct frequency *frequency, struct sampler **out, struct err *err)
{
    const int64_t T = spec->model.seq_len, B = spec->train.batch_size;
    const int64_t length = ids ? (int64_t)n : frequency->total;
    if (length < T + 1)
        return err_field(err, "/model/seq_len", "%d needs %d tokens, the text has %lld", (int)T,
                         (int)T + 1, (long long)length);
    struct sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        return err_set(err, ERR_NO_MEMORY, "no memory for a sampler");
    const int64_t windows = (length - 1) / T;
    *sampler = (struct sampler){
        .fill = fill_random,
        .batch_size = (int)B,
        .seq_len = (int)T,
        .seed = spec_seed_data(spec),
        .ids = ids,
        .n = length,
        .windows = windows,
        .steps_per_epoch =
            spec->train.steps_per_epoch ? spec->train.steps_per_epoch : (windows + B - 1) / B,
    };
    if ((!ids && open_synthetic(sampler, frequency, err)) ||
        (ids && spec->train.sampling == SAMPLING_SHUFFLE && open_shuffled(sampler, err))) {
        sampler_close(sampler);
        return -1;
    }
    *out = sampler;
    return 0;
}

void sampler_close(struct sampler *sampler)
{
    if (!sampler)
        return;
    free(sampler->order);
    free(sampler->types);
    free(sampler->cumulative);
    free(sampler);
}

int64_t sampler_steps_per_epoch(const struct sampler *sampler)
{
    return sampler->steps_per_epoch;
}

void sampler_batch(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    sampler->fill(sampler, step, inputs, targets);
}
