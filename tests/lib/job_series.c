/* job_series: see job_series.h. */
#include "tests/lib/job_series.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config/record.h"
#include "gpu/train.h"
#include "lab/random.h"

/* Two epochs of two steps: each program runs once one by one, is recorded, and replayed. */
enum { EPOCHS = 2, TEXT = 600, WORDS = 50, VOCAB = 71, JSON_MAX = 512 };

struct heard {
    int64_t records;
    double loss;
};

static void on_started(void *self, int64_t first, int64_t bytes)
{
    assert_true(self && first == 0 && bytes > 0);
}

static void on_epoch(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    struct heard *heard = self;
    assert_true(epoch == heard->records && n_values > 0 && tokens && n_tokens > 0);
    heard->records++;
    heard->loss = values[RECORD_LOSS];
}

static enum train_order on_alive(void *self, int64_t epoch)
{
    assert_true(self && epoch >= 0);
    return TRAIN_GO;
}

static void on_busy(void *self, int64_t epoch)
{
    assert_true(self && epoch >= 0);
}

static void on_flush(void *self)
{
    assert_true(self != NULL);
}

static void on_checkpointed(void *self, int64_t epoch)
{
    fail_msg("%p: a checkpoint at %lld without a folder", self, (long long)epoch);
}

static void on_log(void *self, const char *line)
{
    assert_true(self && line[0]);
}

struct job_series_shape job_series_shape(int i)
{
    return (struct job_series_shape){.d_model = 6 + 2 * (i % 30),
                                     .n_heads = 1 + (i & 1),
                                     .seq_len = 4 + i / 30,
                                     .batch_size = 1 + i / 15 % 2,
                                     .evaluates = i % 3 == 1};
}

static struct spec *spec_of(const struct job_series_shape *shape)
{
    char json[JSON_MAX];
    struct spec *spec = NULL;
    struct err err = ERR_INIT;
    snprintf(json, sizeof json,
             "{\"model\": {\"d_model\": %d, \"n_layers\": 1, \"n_heads\": %d, \"seq_len\": %d},"
             "\"train\": {\"epochs\": %d, \"steps_per_epoch\": 2, \"batch_size\": %d},"
             "\"groups\": {\"size\": 5}, \"eval\": {\"windows\": %d, \"every\": 1}}",
             shape->d_model, shape->n_heads, shape->seq_len, EPOCHS, shape->batch_size,
             shape->evaluates ? 2 * shape->batch_size : 0);
    if (spec_parse(json, strlen(json), &spec, &err) != 0)
        fail_msg("%s: %s", json, err.message);
    return spec;
}

double job_series_run(struct backend *backend, const struct job_series_shape *shape)
{
    static int32_t ids[TEXT];
    struct heard heard = {.loss = NAN};
    const struct train_events events = {&heard,  on_started, on_epoch,        on_alive,
                                        on_busy, on_flush,   on_checkpointed, on_log};
    const struct train_options options = {.build = "build"};
    struct dataset dataset = {.vocab = VOCAB, .ids = ids, .n = TEXT};
    struct spec *spec = spec_of(shape);
    struct err err = ERR_INIT;
    int64_t epoch = -1;
    for (int i = 0; i < TEXT; i++)
        ids[i] = (int32_t)random_below(3, RANDOM_TOKENS, (uint64_t)i, WORDS);
    if (frequency_count(ids, TEXT, VOCAB, &dataset.frequency, &err) != 0 ||
        groups_build(spec, &dataset.frequency, NULL, NULL, &dataset.groups, &err) != 0 ||
        train_run(spec, &dataset, backend, &options, &events, &epoch, &err) != 0)
        fail_msg("width %d, %d windows of %d, %s: %s", shape->d_model, shape->batch_size,
                 shape->seq_len, spec_precision_name(backend->precision), err.message);
    groups_free(&dataset.groups);
    frequency_free(&dataset.frequency);
    spec_free(spec);
    assert_true(heard.records == EPOCHS + 1 && isfinite(heard.loss));
    return heard.loss;
}
