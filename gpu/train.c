/* train: see train.h. The state of a run is two numbers, the updates done (step) and the first
 * record to come (epoch); everything else follows from them: a record is due when step == epoch *
 * steps_per_epoch. A checkpoint may fall between two records, so a stop never waits for a long
 * epoch. Steps are submitted ahead as far as the model allows, and collected in order; `step`
 * counts collected ones. Whatever needs the state of a certain step (a checkpoint, a model file)
 * waits until no step is in flight.
 *
 * Invariants: no number of the training depends on time or on being resumed; a model file is on
 * disk before its record is reported. */
#include "gpu/train.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/file.h"
#include "config/record.h"
#include "config/record_grid.h"
#include "gpu/arrays.h"
#include "gpu/canary.h"
#include "gpu/checkpoint.h"
#include "gpu/evaluate.h"
#include "gpu/measure.h"
#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/safetensors.h"
#include "gpu/spectrum.h"
#include "lab/sampler.h"

enum { CHECKPOINT_SHARE = 10 }; /* writing checkpoints takes at most 1/10 of the time */

struct training {
    const struct spec *spec;
    const struct dataset *dataset;
    struct backend *backend;
    const struct train_options *options;
    const struct train_events *events;
    struct sampler *sampler;
    struct model *model;
    struct measure *measure;
    struct evaluation *evaluation; /* NULL: no evaluation */
    int64_t evaluated;             /* epoch of `evaluated_values`, -1: none yet */
    double *evaluated_values;      /* [record_size(G)] NaN where nothing was evaluated */
    int32_t *inputs, *targets;     /* [B][T] */
    uint8_t *words;                /* [B][T] word bits of held-out targets (lab/dataset.h) */
    double *values;                /* [record_size(G)] */
    float *tokens;                 /* [M] */
    float *parameters;             /* [n_parameters] one part of the state at a time */
    struct checkpoint origin;      /* of this run; epoch and step are set when it is written */
    int64_t steps_per_epoch;
    int64_t step;  /* updates done and collected */
    int64_t ahead; /* first batch not submitted; step .. ahead - 1 are in flight */
    int64_t last;  /* number of the last batch, which is only measured */
    int64_t epoch; /* first record to come */
    double next_checkpoint;
    double record_at; /* time and step of the last record; -1: none yet */
    int64_t record_step;
    int config_written;
};

static int get_part(void *self, int part, float *host, struct err *err)
{
    return model_download(self, (enum model_part)part, host, err);
}

static int put_part(void *self, int part, const float *host, struct err *err)
{
    return model_upload(self, (enum model_part)part, host, err);
}

static struct checkpoint_parts parts_of(struct training *training)
{
    return (struct checkpoint_parts){.self = training->model,
                                     .get = get_part,
                                     .put = put_part,
                                     .buffer = training->parameters,
                                     .exposures = measure_exposures(training->measure)};
}

/* Extents of the arrays: positions of a batch, a record, tracked tokens, parameters. */
enum { PER_POSITION, PER_VALUE, PER_TOKEN, PER_PARAMETER, EXTENTS };

#define ARRAY(member, extent) ARRAYS_FIELD(struct training, member, extent)
static const struct arrays_field arrays[] = {
    ARRAY(inputs, PER_POSITION),      ARRAY(targets, PER_POSITION),
    ARRAY(words, PER_POSITION),       ARRAY(values, PER_VALUE),
    ARRAY(tokens, PER_TOKEN),         ARRAY(evaluated_values, PER_VALUE),
    ARRAY(parameters, PER_PARAMETER),
};
enum { ARRAYS = sizeof arrays / sizeof *arrays };

static int allocate(struct training *training, struct err *err)
{
    const struct spec *spec = training->spec;
    const struct groups *groups = &training->dataset->groups;
    const size_t n_parameters = (size_t)model_shapes(training->model)->n_parameters;
    const size_t extents[EXTENTS] = {[PER_POSITION] = (size_t)spec->train.batch_size *
                                                      (size_t)spec->model.seq_len,
                                     [PER_VALUE] = (size_t)record_size(groups->n),
                                     [PER_TOKEN] = (size_t)groups->n_tokens,
                                     [PER_PARAMETER] = n_parameters};
    if (arrays_allocate(training, arrays, ARRAYS, extents) != 0)
        return err_set(err, ERR_NO_MEMORY, "no memory for a copy of %zu parameters", n_parameters);
    return 0;
}

static void copy_word(char to[CHECKPOINT_WORD], const char *word)
{
    snprintf(to, CHECKPOINT_WORD, "%s", word);
}

/* cuBLASLt chooses algorithms by card, so the card's name is part of the device. */
static void name_device(const struct backend *backend, char to[CHECKPOINT_WORD])
{
    if (backend->on_host)
        copy_word(to, backend->name);
    else
        snprintf(to, CHECKPOINT_WORD, "%s %.*s", backend->name, CHECKPOINT_WORD - 8,
                 backend->device);
}

static int describe(struct training *training, struct err *err)
{
    struct checkpoint *origin = &training->origin;
    name_device(training->backend, origin->device);
    copy_word(origin->precision, spec_precision_name(training->backend->precision));
    copy_word(origin->isa, training->backend->isa);
    copy_word(origin->build, training->options->build);
    origin->threads = training->backend->threads;
    origin->n_parts = model_parts(training->model);
    origin->n_parameters = model_shapes(training->model)->n_parameters;
    origin->vocab = training->dataset->vocab;
    return checkpoint_identity(training->spec, training->dataset, origin->identity, err);
}

static void on_progress(void *self)
{
    const struct training *training = self;
    training->events->busy(training->events->self, training->ahead / training->steps_per_epoch);
}

/* Initialise from the weights of an earlier job, without its optimiser's moments. The tokens keep
 * the ranks of its adaptive head. */
static int start_from(struct training *training, const char *path, struct err *err)
{
    int32_t *order = NULL;
    int result = -1;
    if (model_order(training->model)) {
        order = malloc((size_t)training->dataset->vocab * sizeof *order);
        if (!order)
            return err_set(err, ERR_NO_MEMORY, "no memory for the ranks of %d tokens",
                           training->dataset->vocab);
    }
    if (model_initialise(training->model, err) == 0 &&
        safetensors_read(path, training->spec, model_shapes(training->model), training->parameters,
                         order, err) == 0 &&
        (!order || model_set_order(training->model, order, err) == 0))
        result = model_upload(training->model, MODEL_PARAMETERS, training->parameters, err);
    free(order);
    return result;
}

static int open_training(struct training *training, struct err *err)
{
    const struct spec *spec = training->spec;
    const struct dataset *dataset = training->dataset;
    const struct sampler_text text = dataset_text(dataset, NULL);
    if (sampler_open(spec, &text, &training->sampler, err) != 0 ||
        model_open(spec, dataset->vocab, &dataset->groups, training->backend, &training->model,
                   err) != 0 ||
        model_set_frequency(training->model, &dataset->frequency, err) != 0 ||
        measure_open(&dataset->groups, &dataset->frequency, spec->train.batch_size,
                     spec->model.seq_len, spec->model.d_model, &training->measure, err) != 0 ||
        (spec->eval.windows > 0 &&
         evaluate_open(&dataset->groups, &dataset->frequency, spec->train.batch_size,
                       spec->model.seq_len, spec->model.d_model, &training->evaluation,
                       err) != 0) ||
        allocate(training, err) != 0 || describe(training, err) != 0)
        return -1;
    training->steps_per_epoch = sampler_steps_per_epoch(training->sampler);
    training->evaluated = -1;
    training->last = spec->train.epochs * training->steps_per_epoch;
    model_on_progress(training->model, on_progress, training);
    return training->options->model ? start_from(training, training->options->model, err)
                                    : model_initialise(training->model, err);
}

static void close_training(struct training *training)
{
    sampler_close(training->sampler);
    evaluate_close(training->evaluation);
    model_close(training->model);
    measure_close(training->measure);
    arrays_free(training, arrays, ARRAYS);
}

/* Input rows of the tracked tokens, [M][C]. */
static int input_rows(struct training *training, double *rows, struct err *err)
{
    const struct groups *groups = &training->dataset->groups;
    const struct shapes *shapes = model_shapes(training->model);
    const int64_t C = training->spec->model.d_model,
                  offset = shapes->tensor[shapes_find(shapes, "transformer.wte.weight")].offset;
    if (model_download(training->model, MODEL_PARAMETERS, training->parameters, err) != 0)
        return -1;
    for (int64_t m = 0; m < groups->n_tokens; m++)
        for (int64_t c = 0; c < C; c++)
            rows[m * C + c] = (double)training->parameters[offset + groups->tokens[m] * C + c];
    return 0;
}

/* Shifts are measured from the initial model, also after a resume, so this must precede loading the
 * checkpoint. */
static int set_start(struct training *training, struct err *err)
{
    const int tied = training->spec->model.tie == TIE_TIED;
    const size_t rows =
        (size_t)training->dataset->groups.n_tokens * (size_t)training->spec->model.d_model;
    double *output = calloc(rows + 1, sizeof *output);
    double *input = calloc(rows + 1, sizeof *input);
    int result = -1;
    if (!output || !input)
        err_set(err, ERR_NO_MEMORY, "no memory for the rows of %d tokens",
                training->dataset->groups.n_tokens);
    else if (model_output_rows(training->model, output, err) == 0 &&
             (tied || input_rows(training, input, err) == 0)) {
        measure_set_start(training->measure, output, tied ? NULL : input);
        result = 0;
    }
    free(output);
    free(input);
    return result;
}

static void tell(const struct training *training, const char *line)
{
    training->events->log(training->events->self, line);
}

/* Every record is safe, and the last one's model is on disk: only the message `done` was lost,
 * after the checkpoints had been removed. */
static int is_complete(const struct training *training)
{
    char path[PATH_MAX];
    return training->options->resume == training->spec->train.epochs + 1 &&
           snprintf(path, sizeof path, "%s/model/" SAFETENSORS_NAME, training->options->dir,
                    (long long)training->spec->train.epochs) < (int)sizeof path &&
           access(path, R_OK) == 0;
}

/* Start from the newest usable checkpoint, else from the initial model. */
static int find_start(struct training *training, struct err *err)
{
    const struct train_options *options = training->options;
    if (!options->dir)
        return 0;
    if (file_make_folder(options->dir, err) != 0)
        return -1;
    if (options->resume == 0)
        return checkpoint_remove(options->dir, err);
    if (is_complete(training)) {
        training->epoch = options->resume;
        training->step = training->last;
        tell(training, "every record and the last model are there: nothing is left to do");
        return 0;
    }

    char note[ERR_MESSAGE_MAX], line[ERR_MESSAGE_MAX + 64];
    struct checkpoint checkpoint;
    struct checkpoint_parts parts = parts_of(training);
    int found = 0;
    if (checkpoint_load(options->dir, &training->origin, options->resume, &parts, &checkpoint,
                        &found, note, err) != 0)
        return -1;
    if (note[0]) {
        snprintf(line, sizeof line, "%s; the previous one is used", note);
        tell(training, line);
    }
    if (!found) {
        tell(training, "no checkpoint to continue from: starting at epoch 0");
        return 0;
    }
    training->step = checkpoint.step;
    training->epoch = checkpoint.epoch;
    snprintf(line, sizeof line, "continuing from the checkpoint after %lld updates",
             (long long)training->step);
    tell(training, line);
    return 0;
}

/* Compare the batch to come with the processor, under the weights to start from. */
static int compare_first_batch(struct training *training, struct err *err)
{
    char line[ERR_MESSAGE_MAX];
    struct canary_result found;
    const struct canary_job job = {.spec = training->spec,
                                   .dataset = training->dataset,
                                   .backend = training->backend,
                                   .model = training->model,
                                   .inputs = training->inputs,
                                   .targets = training->targets,
                                   .parameters = training->parameters,
                                   .threads = training->options->threads,
                                   .seconds = CANARY_SECONDS,
                                   .progress = on_progress,
                                   .self = training};
    if (!training->options->compares || training->epoch > training->spec->train.epochs)
        return 0;
    training->ahead = training->step;
    sampler_batch(training->sampler, training->step, training->inputs, training->targets);
    if (canary_compare(&job, &found, err) != 0)
        return -1;
    if (found.windows > 0)
        snprintf(line, sizeof line,
                 "the first batch agrees with the CPU (%d windows, %d gradients; nearest to its "
                 "bound: %s, %.3g of %.3g) after %.2f s",
                 found.windows, found.n_gradients, found.what, found.error, found.bound,
                 found.seconds);
    else
        snprintf(line, sizeof line, "the first batch is not compared with the CPU: %s", found.note);
    tell(training, line);
    return 0;
}

static int write_checkpoint(struct training *training, struct err *err)
{
    double begin = clock_monotonic_seconds();
    struct checkpoint checkpoint = training->origin;
    struct checkpoint_parts parts = parts_of(training);
    checkpoint.epoch = training->epoch;
    checkpoint.step = training->step;
    training->events->flush(training->events->self);
    if (checkpoint_save(training->options->dir, &checkpoint, &parts, err) != 0)
        return -1;
    training->events->checkpointed(training->events->self, training->epoch);
    double cost = clock_monotonic_seconds() - begin, least = (CHECKPOINT_SHARE - 1) * cost;
    double wish = (double)training->options->checkpoint_seconds;
    training->next_checkpoint =
        clock_monotonic_seconds() + (wish > 0 && wish < least ? least : wish);
    return 0;
}

static int wants_snapshot(const struct training *training, int64_t epoch)
{
    if (!training->options->dir)
        return 0;
    for (int i = 0; i < training->spec->train.n_snapshots; i++)
        if (training->spec->train.snapshots[i] == epoch)
            return 1;
    return epoch == training->spec->train.epochs;
}

/* The weights come last: a file of weights implies that the epoch's spectrum and the configuration
 * are there. */
static int write_snapshot(struct training *training, int64_t epoch, struct err *err)
{
    char dir[PATH_MAX];
    const struct shapes *shapes = model_shapes(training->model);
    if (snprintf(dir, sizeof dir, "%s/model", training->options->dir) >= (int)sizeof dir)
        return err_set(err, ERR_IO, "the path %.80s... is too long", training->options->dir);
    if (!training->config_written) {
        if (file_make_folder(dir, err) != 0 || file_sync_folder(training->options->dir, err) != 0 ||
            safetensors_write_config(dir, training->spec, shapes, training->dataset->original,
                                     err) != 0)
            return -1;
        training->config_written = 1;
    }
    if (spectrum_write(dir, epoch, measure_spectrum(training->measure), training->dataset->vocab,
                       err) != 0 ||
        model_download(training->model, MODEL_PARAMETERS, training->parameters, err) != 0)
        return -1;
    return safetensors_write(dir, epoch, training->spec, shapes, training->parameters,
                             model_order(training->model), err);
}

/* Tokens trained per second since the previous record; NaN at first. */
static double rate(struct training *training)
{
    double time = clock_monotonic_seconds(),
           tokens = (double)(training->step - training->record_step) *
                    training->spec->train.batch_size * training->spec->model.seq_len;
    double result = training->record_at >= 0 && time > training->record_at
                        ? tokens / (time - training->record_at)
                        : NAN;
    training->record_at = time;
    training->record_step = training->step;
    return result;
}

static struct record_grid grid_of(const struct training *training)
{
    return (struct record_grid){training->spec->train.record_every, training->spec->train.epochs};
}

/* Of an epoch that has no record but a snapshot only the spectrum is kept. */
static int report(struct training *training, const struct model_result *result, struct err *err)
{
    const int64_t epoch = training->step / training->steps_per_epoch;
    const int has_record = record_grid_has(grid_of(training), epoch);
    measure_record(training->measure, result->observation, result->inputs, result->targets,
                   training->values, training->tokens);
    if (has_record)
        training->values[RECORD_TOKENS_PER_SECOND] = rate(training);
    if (training->evaluated == epoch)
        for (int i = 0; i < record_size(training->dataset->groups.n); i++)
            if (!isnan(training->evaluated_values[i]))
                training->values[i] = training->evaluated_values[i];
    if (wants_snapshot(training, epoch) && write_snapshot(training, epoch, err) != 0)
        return -1;
    if (!has_record)
        return 0;
    const struct groups *groups = &training->dataset->groups;
    training->events->epoch(training->events->self, epoch, training->values, record_size(groups->n),
                            training->tokens, groups->n_tokens);
    training->epoch = record_grid_from(grid_of(training), epoch + 1);
    return 0;
}

/* 1 if the batch is measured, for a record or a snapshot. */
static int is_due(const struct training *training, int64_t step)
{
    const int64_t epoch = step / training->steps_per_epoch;
    return step % training->steps_per_epoch == 0 &&
           (record_grid_has(grid_of(training), epoch) || wants_snapshot(training, epoch));
}

/* The weights are written to a file between this batch's gradient and its update, if it has one: no
 * other step may be in flight. */
static int stands_alone(const struct training *training, int64_t step)
{
    return step == training->last ||
           (is_due(training, step) && wants_snapshot(training, step / training->steps_per_epoch));
}

/* The weights before this batch's update are evaluated, so all earlier updates must be done. */
static int wants_evaluation(const struct training *training, int64_t step)
{
    const int64_t epoch = step / training->steps_per_epoch;
    return training->evaluation && is_due(training, step) && training->evaluated != epoch &&
           (epoch % training->spec->eval.every == 0 || step == training->last);
}

/* At least one step is always submitted. Steps ahead must not pass a batch that needs the state
 * of its own step on the host. */
static int may_submit(const struct training *training)
{
    if (training->ahead == training->step)
        return 1;
    if (wants_evaluation(training, training->ahead))
        return 0;
    return training->ahead - training->step < model_depth(training->model) &&
           !stands_alone(training, training->ahead) && !stands_alone(training, training->ahead - 1);
}

/* Collect the oldest step in flight: check its loss, report its record if one is due, and do the
 * update that was held back. */
static int collect(struct training *training, struct err *err)
{
    struct model_result result;
    if (model_collect(training->model, &result, err) != 0)
        return err_prefix(err, "epoch %lld, after %lld updates",
                          (long long)(training->step / training->steps_per_epoch),
                          (long long)training->step);
    if (!isfinite(result.loss))
        return err_set(err, ERR_DIVERGED, "the loss became %s at epoch %lld, after %lld updates",
                       isnan(result.loss) ? "not a number" : "infinite",
                       (long long)(training->step / training->steps_per_epoch),
                       (long long)training->step);
    if (result.observation && report(training, &result, err) != 0)
        return -1;
    if (training->step == training->last)
        return 0;
    measure_count_targets(training->measure, result.targets);
    if (stands_alone(training, training->step) &&
        model_update(training->model, training->step + 1, err) != 0)
        return -1;
    training->step++;
    return 0;
}

static int collect_all(struct training *training, struct err *err)
{
    while (training->step < training->ahead) {
        if (collect(training, err) != 0)
            return -1;
        training->events->busy(training->events->self, training->step / training->steps_per_epoch);
    }
    return 0;
}

/* The last epoch that is behind, or 0; never behind the last record. */
static int64_t epoch_at_hand(const struct training *training)
{
    const int64_t epoch = training->step / training->steps_per_epoch;
    return epoch < training->epoch ? epoch : training->epoch > 0 ? training->epoch - 1 : 0;
}

/* Fetch the caller's order and execute it. */
static int obey(struct training *training, struct err *err)
{
    const enum train_order order =
        training->events->alive(training->events->self, epoch_at_hand(training));
    if (order == TRAIN_CANCEL)
        return err_set(err, ERR_CANCELLED, "cancelled at epoch %lld",
                       (long long)epoch_at_hand(training));
    int stop = order == TRAIN_STOP;
    if (training->options->dir &&
        (stop || clock_monotonic_seconds() >= training->next_checkpoint) &&
        (collect_all(training, err) != 0 || write_checkpoint(training, err) != 0))
        return -1;
    if (stop)
        return err_set(err, ERR_CANCELLED, "stopped at epoch %lld",
                       (long long)epoch_at_hand(training));
    return 0;
}

/* Put window number `window` of a part of the text into row w of the batch. */
static void take_window(struct training *training, enum sampler_part part, int window, int w)
{
    const int T = training->spec->model.seq_len;
    const ptrdiff_t at = (ptrdiff_t)w * T;
    sampler_evaluation(training->sampler, part, window, training->inputs + at,
                       training->targets + at);
    if (part == SAMPLER_HELD_OUT && training->dataset->held_out_words)
        memcpy(training->words + at,
               training->dataset->held_out_words + 1 +
                   sampler_evaluation_start(training->sampler, part, window),
               (size_t)T);
}

/* Evaluate all windows of a part of the text. The last batch is filled up with a repeated window,
 * which is not counted. No step is in flight meanwhile, so an order can be executed between any two
 * batches; a resumed run evaluates anew. */
static int evaluate_part(struct training *training, enum sampler_part part, struct err *err)
{
    const int B = training->spec->train.batch_size;
    const int windows = sampler_evaluation_windows(training->sampler, part);
    const int has_words = part == SAMPLER_HELD_OUT && training->dataset->held_out_words;
    evaluate_begin(training->evaluation);
    for (int first = 0; first < windows; first += B) {
        const struct model_observation *seen;
        for (int w = 0; w < B; w++)
            take_window(training, part, first + w < windows ? first + w : 0, w);
        if (model_evaluate(training->model, training->inputs, training->targets, NULL, &seen,
                           err) != 0)
            return -1;
        evaluate_add(training->evaluation, seen, training->targets,
                     has_words ? training->words : NULL, windows - first < B ? windows - first : B);
        if (obey(training, err) != 0)
            return -1;
    }
    return 0;
}

static int evaluate(struct training *training, int64_t epoch, struct err *err)
{
    for (int i = 0; i < record_size(training->dataset->groups.n); i++)
        training->evaluated_values[i] = NAN;
    const float *scores;
    if (evaluate_part(training, SAMPLER_TEXT, err) != 0 ||
        model_scores(training->model, evaluate_h(training->evaluation), &scores, err) != 0)
        return -1;
    evaluate_text(training->evaluation, scores, training->evaluated_values);
    if (training->spec->data.holdout > 0) {
        if (evaluate_part(training, SAMPLER_HELD_OUT, err) != 0)
            return -1;
        evaluate_held_out(training->evaluation, training->evaluated_values);
    }
    training->evaluated = epoch;
    return 0;
}

static int submit(struct training *training, struct err *err)
{
    unsigned what = MODEL_GRADIENT;
    if (wants_evaluation(training, training->ahead) &&
        evaluate(training, training->ahead / training->steps_per_epoch, err) != 0)
        return -1;
    if (is_due(training, training->ahead))
        what |= MODEL_OBSERVE;
    if (!stands_alone(training, training->ahead))
        what |= MODEL_UPDATE;
    sampler_batch(training->sampler, training->ahead, training->inputs, training->targets);
    if (model_submit(training->model, what, training->inputs, training->targets,
                     training->ahead + 1, err) != 0)
        return -1;
    training->ahead++;
    return 0;
}

static int loop(struct training *training, struct err *err)
{
    if (training->epoch > training->spec->train.epochs)
        return 0;
    training->next_checkpoint =
        clock_monotonic_seconds() + (double)training->options->checkpoint_seconds;
    training->record_at = -1;
    training->ahead = training->step;
    for (;;) {
        while (may_submit(training))
            if (submit(training, err) != 0)
                return -1;
        if (collect(training, err) != 0)
            return -1;
        if (training->epoch > training->spec->train.epochs)
            return 0;
        if (obey(training, err) != 0)
            return -1;
    }
}

int train_run(const struct spec *spec, const struct dataset *dataset, struct backend *backend,
              const struct train_options *options, const struct train_events *events,
              int64_t *epoch, struct err *err)
{
    struct training training = {
        .spec = spec, .dataset = dataset, .backend = backend, .options = options, .events = events};
    int result = -1;
    if (open_training(&training, err) != 0 || set_start(&training, err) != 0)
        goto out;
    int refused = find_start(&training, err) != 0;
    if (!refused && compare_first_batch(&training, err) != 0)
        goto out;
    if (!refused || err->code == ERR_UNAVAILABLE)
        events->started(events->self, training.epoch, model_bytes(training.model));
    if (refused)
        goto out;
    if (loop(&training, err) != 0)
        goto out;
    events->flush(events->self);
    result = options->dir ? checkpoint_remove(options->dir, err) : 0;
out:
    *epoch = result != 0 && (err->code == ERR_DIVERGED || err->code == ERR_DEVICE)
                 ? training.step / training.steps_per_epoch
             : training.steps_per_epoch ? epoch_at_hand(&training)
                                        : 0;
    close_training(&training);
    return result;
}
