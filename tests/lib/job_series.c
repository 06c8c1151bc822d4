/* job_series: see job_series.h. */
#include "tests/lib/job_series.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "config/record.h"
#include "gpu/train.h"
#include "lab/random.h"

/* Two epochs of two steps: each program runs once one by one, is recorded, and replayed. */
enum { EPOCHS = 2, TEXT = 600, WORDS = 50, VOCAB = 71, JSON_MAX = 512 };

struct heard {
    int64_t records;
    double loss;
    const char *fault; /* what must not happen; NULL: nothing did */
};

static void require(struct heard *heard, int holds, const char *fault)
{
    if (!holds)
        heard->fault = fault;
}

static void on_started(void *self, int64_t first, int64_t bytes)
{
    require(self, first == 0 && bytes > 0, "it started in the middle, or without memory");
}

static void on_epoch(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    struct heard *heard = self;
    require(heard, epoch == heard->records && n_values > 0 && tokens && n_tokens > 0,
            "a record came out of order, or is empty");
    heard->records++;
    heard->loss = values[RECORD_LOSS];
}

static enum train_order on_alive(void *self, int64_t epoch)
{
    require(self, epoch >= 0, "it is alive before its first epoch");
    return TRAIN_GO;
}

static void on_busy(void *self, int64_t epoch)
{
    require(self, epoch >= 0, "it is busy before its first epoch");
}

static void on_flush(void *self)
{
    (void)self;
}

static void on_checkpointed(void *self, int64_t epoch)
{
    require(self, epoch < 0, "a checkpoint came without a folder");
}

static void on_log(void *self, const char *line)
{
    require(self, line[0] != '\0', "an empty line for the log");
}

struct job_series_shape job_series_shape(int i)
{
    return (struct job_series_shape){.d_model = 6 + 2 * (i % 30),
                                     .n_heads = 1 + (i & 1),
                                     .seq_len = 4 + i / 30,
                                     .batch_size = 1 + i / 15 % 2,
                                     .evaluates = i % 3 == 1};
}

static int parse(const struct job_series_shape *shape, struct spec **spec, struct err *err)
{
    char json[JSON_MAX];
    snprintf(json, sizeof json,
             "{\"model\": {\"d_model\": %d, \"n_layers\": 1, \"n_heads\": %d, \"seq_len\": %d},"
             "\"train\": {\"epochs\": %d, \"steps_per_epoch\": 2, \"batch_size\": %d},"
             "\"groups\": {\"size\": 5}, \"eval\": {\"windows\": %d, \"every\": 1}}",
             shape->d_model, shape->n_heads, shape->seq_len, EPOCHS, shape->batch_size,
             shape->evaluates ? 2 * shape->batch_size : 0);
    return spec_parse(json, strlen(json), spec, err);
}

static int train(struct backend *backend, const struct spec *spec, struct dataset *dataset,
                 struct heard *heard, struct err *err)
{
    const struct train_events events = {heard,   on_started, on_epoch,        on_alive,
                                        on_busy, on_flush,   on_checkpointed, on_log};
    const struct train_options options = {.build = "build"};
    int64_t epoch = -1;
    if (frequency_count(dataset->ids, TEXT, VOCAB, &dataset->frequency, err) != 0 ||
        groups_build(spec, &dataset->frequency, NULL, NULL, &dataset->groups, err) != 0 ||
        train_run(spec, dataset, backend, &options, &events, &epoch, err) != 0)
        return -1;
    require(heard, heard->records == EPOCHS + 1 && isfinite(heard->loss), "a record is missing");
    return heard->fault ? err_set(err, ERR_INTERNAL, "%s", heard->fault) : 0;
}

int job_series_run(struct backend *backend, const struct job_series_shape *shape, double *loss,
                   struct err *err)
{
    static int32_t ids[TEXT];
    struct heard heard = {.loss = NAN};
    struct dataset dataset = {.vocab = VOCAB, .ids = ids, .n = TEXT};
    struct spec *spec = NULL;
    for (int i = 0; i < TEXT; i++)
        ids[i] = (int32_t)random_below(3, RANDOM_TOKENS, (uint64_t)i, WORDS);
    const int failed =
        parse(shape, &spec, err) != 0 || train(backend, spec, &dataset, &heard, err) != 0;
    groups_free(&dataset.groups);
    frequency_free(&dataset.frequency);
    spec_free(spec);
    *loss = heard.loss;
    return failed ? err_prefix(err, "width %d, %d windows of %d, %s", shape->d_model,
                               shape->batch_size, shape->seq_len,
                               spec_precision_name(backend->precision))
                  : 0;
}
