/* train: see train.h. The state of a run is two numbers, the updates done
 * (step) and the first record to come (epoch), and everything else follows from
 * them: a record is due when step == epoch * steps_per_epoch. A checkpoint may
 * fall between two records, so that a stop never waits for a long epoch. Steps
 * are submitted ahead as far as the model allows and collected in order; `step`
 * counts what is collected, and whatever needs the state of a certain step (a
 * checkpoint, a model file) waits until nothing is under way.
 * Invariant: nothing that depends on time or on being resumed reaches a number
 * of the training; a model file is on disk before its record is reported. */
#include "gpu/train.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/record.h"
#include "gpu/checkpoint.h"
#include "gpu/evaluate.h"
#include "gpu/measure.h"
#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "gpu/safetensors.h"
#include "gpu/spectrum.h"
#include "lab/sampler.h"

enum { CHECKPOINT_SHARE = 10 }; /* writing checkpoints takes at most one part in ten */

struct run {
    const struct spec *spec;
    const struct dataset *dataset;
    struct backend *backend;
    const struct train_options *options;
    const struct train_events *events;
    struct sampler *sampler;
    struct model *model;
    struct measure *measure;
    struct evaluation *evaluation; /* NULL: nothing is evaluated */
    int64_t evaluated;             /* epoch of `evaluated_values`, -1: none yet */
    double *evaluated_values;      /* [record_size(G)] NaN but for what was evaluated */
    int32_t *inputs, *targets;     /* [B][T] */
    uint8_t *words;                /* [B][T] bits of held-out targets (lab/dataset.h) */
    double *values;                /* [record_size(G)] */
    float *tokens;                 /* [M] */
    float *parameters;             /* [n_parameters] one part of the state at a time */
    struct checkpoint origin;      /* what this run is; epoch and step are set when written */
    int64_t steps_per_epoch;
    int64_t step;  /* updates done and collected */
    int64_t ahead; /* first batch that is not submitted; step .. ahead - 1 are under way */
    int64_t last;  /* number of the last batch, which is only measured */
    int64_t epoch; /* first record to come */
    double next_checkpoint;
    double record_at; /* when the last record was made, and at which step; -1: none yet */
    int64_t record_step;
    int config_written;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int get_part(void *self, int part, float *host, struct err *err)
{
    return model_download(self, (enum model_part)part, host, err);
}

static int put_part(void *self, int part, const float *host, struct err *err)
{
    return model_upload(self, (enum model_part)part, host, err);
}

static struct checkpoint_parts parts_of(struct run *run)
{
    return (struct checkpoint_parts){.self = run->model,
                                     .get = get_part,
                                     .put = put_part,
                                     .buffer = run->parameters,
                                     .exposures = measure_exposures(run->measure)};
}

static int allocate(struct run *run, struct err *err)
{
    size_t N = (size_t)run->spec->train.batch_size * (size_t)run->spec->model.seq_len;
    const struct groups *groups = &run->dataset->groups;
    size_t n_parameters = (size_t)model_shapes(run->model)->n_parameters;
    run->inputs = calloc(N, sizeof *run->inputs);
    run->targets = calloc(N, sizeof *run->targets);
    run->words = calloc(N, sizeof *run->words);
    run->values = calloc((size_t)record_size(groups->n), sizeof *run->values);
    run->evaluated_values = calloc((size_t)record_size(groups->n), sizeof *run->evaluated_values);
    run->tokens = calloc((size_t)groups->n_tokens + 1, sizeof *run->tokens);
    run->parameters = calloc(n_parameters, sizeof *run->parameters);
    if (!run->inputs || !run->targets || !run->words || !run->values || !run->evaluated_values ||
        !run->tokens || !run->parameters)
        return err_set(err, ERR_NO_MEMORY, "no memory for a copy of %zu parameters", n_parameters);
    return 0;
}

static void copy_word(char to[CHECKPOINT_WORD], const char *word)
{
    snprintf(to, CHECKPOINT_WORD, "%s", word);
}

/* The bits of a card depend on which one it is: its library chooses by that. */
static void name_device(const struct backend *backend, char to[CHECKPOINT_WORD])
{
    if (backend->on_host)
        copy_word(to, backend->name);
    else
        snprintf(to, CHECKPOINT_WORD, "%s %.*s", backend->name, CHECKPOINT_WORD - 8,
                 backend->device);
}

static int describe(struct run *run, struct err *err)
{
    struct checkpoint *origin = &run->origin;
    name_device(run->backend, origin->device);
    copy_word(origin->precision, spec_precision_name(run->backend->precision));
    copy_word(origin->isa, run->backend->isa);
    copy_word(origin->build, run->options->build);
    origin->threads = run->backend->threads;
    origin->n_parts = model_parts(run->model);
    origin->n_parameters = model_shapes(run->model)->n_parameters;
    origin->vocab = run->dataset->vocab;
    return checkpoint_identity(run->spec, run->dataset, origin->identity, err);
}

static void on_progress(void *self)
{
    const struct run *run = self;
    run->events->busy(run->events->self, run->ahead / run->steps_per_epoch);
}

/* The weights of an earlier job, without the moments that its optimiser had. The
 * tokens keep the ranks that its adaptive head gave them. */
static int start_from(struct run *run, const char *path, struct err *err)
{
    int32_t *order = NULL;
    int result = -1;
    if (model_order(run->model)) {
        order = malloc((size_t)run->dataset->vocab * sizeof *order);
        if (!order)
            return err_set(err, ERR_NO_MEMORY, "no memory for the ranks of %d tokens",
                           run->dataset->vocab);
    }
    if (model_initialise(run->model, err) == 0 &&
        safetensors_read(path, run->spec, model_shapes(run->model), run->parameters, order, err) ==
            0 &&
        (!order || model_set_order(run->model, order, err) == 0))
        result = model_upload(run->model, MODEL_PARAMETERS, run->parameters, err);
    free(order);
    return result;
}

static int open_run(struct run *run, struct err *err)
{
    const struct spec *spec = run->spec;
    const struct dataset *dataset = run->dataset;
    const struct sampler_text text = dataset_text(dataset, NULL);
    if (sampler_open(spec, &text, &run->sampler, err) != 0 ||
        model_open(spec, dataset->vocab, &dataset->groups, run->backend, &run->model, err) != 0 ||
        model_set_frequency(run->model, &dataset->frequency, err) != 0 ||
        measure_open(&dataset->groups, &dataset->frequency, spec->train.batch_size,
                     spec->model.seq_len, spec->model.d_model, &run->measure, err) != 0 ||
        (spec->eval.windows > 0 &&
         evaluate_open(&dataset->groups, &dataset->frequency, spec->train.batch_size,
                       spec->model.seq_len, spec->model.d_model, &run->evaluation, err) != 0) ||
        allocate(run, err) != 0 || describe(run, err) != 0)
        return -1;
    run->steps_per_epoch = sampler_steps_per_epoch(run->sampler);
    run->evaluated = -1;
    run->last = spec->train.epochs * run->steps_per_epoch;
    model_on_progress(run->model, on_progress, run);
    return run->options->model ? start_from(run, run->options->model, err)
                               : model_initialise(run->model, err);
}

static void close_run(struct run *run)
{
    sampler_close(run->sampler);
    evaluate_close(run->evaluation);
    free(run->evaluated_values);
    model_close(run->model);
    measure_close(run->measure);
    free(run->inputs);
    free(run->targets);
    free(run->words);
    free(run->values);
    free(run->tokens);
    free(run->parameters);
}

/* Input rows of the tracked tokens, [M][C]. */
static int input_rows(struct run *run, double *rows, struct err *err)
{
    const struct groups *groups = &run->dataset->groups;
    const struct shapes *shapes = model_shapes(run->model);
    const int64_t C = run->spec->model.d_model,
                  offset = shapes->tensor[shapes_find(shapes, "transformer.wte.weight")].offset;
    if (model_download(run->model, MODEL_PARAMETERS, run->parameters, err) != 0)
        return -1;
    for (int64_t m = 0; m < groups->n_tokens; m++)
        for (int64_t c = 0; c < C; c++)
            rows[m * C + c] = (double)run->parameters[offset + groups->tokens[m] * C + c];
    return 0;
}

/* Shifts are measured from the model it started with, also after a resume: so this
 * comes before the checkpoint is loaded. */
static int set_start(struct run *run, struct err *err)
{
    const int tied = run->spec->model.tie == TIE_TIED;
    const size_t rows = (size_t)run->dataset->groups.n_tokens * (size_t)run->spec->model.d_model;
    double *output = calloc(rows + 1, sizeof *output);
    double *input = calloc(rows + 1, sizeof *input);
    int result = -1;
    if (!output || !input)
        err_set(err, ERR_NO_MEMORY, "no memory for the rows of %d tokens",
                run->dataset->groups.n_tokens);
    else if (model_output_rows(run->model, output, err) == 0 &&
             (tied || input_rows(run, input, err) == 0)) {
        measure_set_start(run->measure, output, tied ? NULL : input);
        result = 0;
    }
    free(output);
    free(input);
    return result;
}

static int make_dir(const char *path, struct err *err)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, "cannot create the folder %s", path);
    return 0;
}

static void tell(const struct run *run, const char *line)
{
    run->events->log(run->events->self, line);
}

/* Every record is safe, and with the last one its model: what is missing is the
 * word that the job is done, which was lost after the checkpoints had gone. */
static int is_complete(const struct run *run)
{
    char path[PATH_MAX];
    return run->options->resume == run->spec->train.epochs + 1 &&
           snprintf(path, sizeof path, "%s/model/" SAFETENSORS_NAME, run->options->dir,
                    (long long)run->spec->train.epochs) < (int)sizeof path &&
           access(path, R_OK) == 0;
}

/* Where to begin: at the newest usable checkpoint, or at the untrained model. */
static int find_start(struct run *run, struct err *err)
{
    const struct train_options *options = run->options;
    if (!options->dir)
        return 0;
    if (make_dir(options->dir, err) != 0)
        return -1;
    if (options->resume == 0)
        return checkpoint_remove(options->dir, err);
    if (is_complete(run)) {
        run->epoch = options->resume;
        tell(run, "every record and the last model are there: nothing is left to do");
        return 0;
    }

    char note[ERR_MESSAGE_MAX], line[ERR_MESSAGE_MAX + 64];
    struct checkpoint checkpoint;
    struct checkpoint_parts parts = parts_of(run);
    int found = 0;
    if (checkpoint_load(options->dir, &run->origin, options->resume, &parts, &checkpoint, &found,
                        note, err) != 0)
        return -1;
    if (note[0]) {
        snprintf(line, sizeof line, "%s; the previous one is used", note);
        tell(run, line);
    }
    if (!found) {
        tell(run, "no checkpoint to continue from: starting at epoch 0");
        return 0;
    }
    run->step = checkpoint.step;
    run->epoch = checkpoint.epoch;
    snprintf(line, sizeof line, "continuing from the checkpoint after %lld updates",
             (long long)run->step);
    tell(run, line);
    return 0;
}

static int write_checkpoint(struct run *run, struct err *err)
{
    double begin = now();
    struct checkpoint checkpoint = run->origin;
    struct checkpoint_parts parts = parts_of(run);
    checkpoint.epoch = run->epoch;
    checkpoint.step = run->step;
    run->events->flush(run->events->self);
    if (checkpoint_save(run->options->dir, &checkpoint, &parts, err) != 0)
        return -1;
    run->events->checkpointed(run->events->self, run->epoch);
    double cost = now() - begin, least = (CHECKPOINT_SHARE - 1) * cost;
    double wish = (double)run->options->checkpoint_seconds;
    run->next_checkpoint = now() + (wish > 0 && wish < least ? least : wish);
    return 0;
}

static int wants_snapshot(const struct run *run, int64_t epoch)
{
    if (!run->options->dir)
        return 0;
    for (int i = 0; i < run->spec->train.n_snapshots; i++)
        if (run->spec->train.snapshots[i] == epoch)
            return 1;
    return epoch == run->spec->train.epochs;
}

static int write_snapshot(struct run *run, int64_t epoch, struct err *err)
{
    char dir[PATH_MAX];
    const struct shapes *shapes = model_shapes(run->model);
    if (snprintf(dir, sizeof dir, "%s/model", run->options->dir) >= (int)sizeof dir)
        return err_set(err, ERR_IO, "the path %.80s... is too long", run->options->dir);
    if (!run->config_written) {
        if (make_dir(dir, err) != 0 || checkpoint_sync_dir(run->options->dir, err) != 0 ||
            safetensors_write_config(dir, run->spec, shapes, run->dataset->original, err) != 0)
            return -1;
        run->config_written = 1;
    }
    if (spectrum_write(dir, epoch, measure_spectrum(run->measure), run->dataset->vocab, err) != 0 ||
        model_download(run->model, MODEL_PARAMETERS, run->parameters, err) != 0)
        return -1;
    return safetensors_write(dir, epoch, run->spec, shapes, run->parameters,
                             model_order(run->model), err);
}

/* Tokens trained on since the record before, per second; no value at first. */
static double rate(struct run *run)
{
    double time = now(), tokens = (double)(run->step - run->record_step) *
                                  run->spec->train.batch_size * run->spec->model.seq_len;
    double result =
        run->record_at >= 0 && time > run->record_at ? tokens / (time - run->record_at) : NAN;
    run->record_at = time;
    run->record_step = run->step;
    return result;
}

static int report(struct run *run, const struct model_result *result, struct err *err)
{
    measure_record(run->measure, result->observation, result->inputs, result->targets, run->values,
                   run->tokens);
    run->values[RECORD_TOKENS_PER_SECOND] = rate(run);
    if (run->evaluated == run->epoch)
        for (int i = 0; i < record_size(run->dataset->groups.n); i++)
            if (!isnan(run->evaluated_values[i]))
                run->values[i] = run->evaluated_values[i];
    if (wants_snapshot(run, run->epoch) && write_snapshot(run, run->epoch, err) != 0)
        return -1;
    const struct groups *groups = &run->dataset->groups;
    run->events->epoch(run->events->self, run->epoch, run->values, record_size(groups->n),
                       run->tokens, groups->n_tokens);
    run->epoch++;
    return 0;
}

static int is_due(const struct run *run, int64_t step)
{
    return step % run->steps_per_epoch == 0;
}

/* Between this batch's gradient and its update, if it has one, the weights are
 * written to a file: so nothing else may be under way. */
static int stands_alone(const struct run *run, int64_t step)
{
    return step == run->last ||
           (is_due(run, step) && wants_snapshot(run, step / run->steps_per_epoch));
}

/* The weights before this batch's update are evaluated, so that the updates before
 * it must be done. */
static int wants_evaluation(const struct run *run, int64_t step)
{
    const int64_t epoch = step / run->steps_per_epoch;
    return run->evaluation && is_due(run, step) && run->evaluated != epoch &&
           (epoch % run->spec->eval.every == 0 || step == run->last);
}

static int may_submit(const struct run *run)
{
    if (run->ahead == run->step)
        return 1;
    if (wants_evaluation(run, run->ahead))
        return 0;
    return run->ahead - run->step < model_depth(run->model) && !stands_alone(run, run->ahead) &&
           !stands_alone(run, run->ahead - 1);
}

/* The oldest batch under way: its loss, its record if one is due, and what is
 * left to do of its update. */
static int collect(struct run *run, struct err *err)
{
    struct model_result result;
    if (model_collect(run->model, &result, err) != 0)
        return err_prefix(err, "epoch %lld, after %lld updates",
                          (long long)(run->step / run->steps_per_epoch), (long long)run->step);
    if (!isfinite(result.loss))
        return err_set(err, ERR_DIVERGED, "the loss became %s at epoch %lld, after %lld updates",
                       isnan(result.loss) ? "not a number" : "infinite",
                       (long long)(run->step / run->steps_per_epoch), (long long)run->step);
    if (result.observation && report(run, &result, err) != 0)
        return -1;
    if (run->step == run->last)
        return 0;
    measure_count_targets(run->measure, result.targets);
    if (stands_alone(run, run->step) && model_update(run->model, run->step + 1, err) != 0)
        return -1;
    run->step++;
    return 0;
}

static int collect_all(struct run *run, struct err *err)
{
    while (run->step < run->ahead) {
        if (collect(run, err) != 0)
            return -1;
        run->events->busy(run->events->self, run->step / run->steps_per_epoch);
    }
    return 0;
}

/* Of the last record, or of the first one if that is still to come. */
static int64_t epoch_at_hand(const struct run *run)
{
    return run->epoch > 0 ? run->epoch - 1 : 0;
}

/* Asks for an order and does what it says. */
static int obey(struct run *run, struct err *err)
{
    const enum train_order order = run->events->alive(run->events->self, epoch_at_hand(run));
    if (order == TRAIN_CANCEL)
        return err_set(err, ERR_CANCELLED, "cancelled at epoch %lld",
                       (long long)epoch_at_hand(run));
    int stop = order == TRAIN_STOP;
    if (run->options->dir && (stop || now() >= run->next_checkpoint) &&
        (collect_all(run, err) != 0 || write_checkpoint(run, err) != 0))
        return -1;
    if (stop)
        return err_set(err, ERR_CANCELLED, "stopped at epoch %lld", (long long)epoch_at_hand(run));
    return 0;
}

/* Window number `window` of a part of the text, as the w-th of the batch. */
static void take_window(struct run *run, enum sampler_part part, int window, int w)
{
    const int T = run->spec->model.seq_len;
    const ptrdiff_t at = (ptrdiff_t)w * T;
    sampler_evaluation(run->sampler, part, window, run->inputs + at, run->targets + at);
    if (part == SAMPLER_HELD_OUT && run->dataset->held_out_words)
        memcpy(run->words + at,
               run->dataset->held_out_words + 1 +
                   sampler_evaluation_start(run->sampler, part, window),
               (size_t)T);
}

/* Sums over the windows of a part of the text. A window stands in for those that
 * the last batch lacks. Nothing is under way meanwhile, so an order can be obeyed
 * between any two batches; who goes on from there evaluates anew. */
static int evaluate_part(struct run *run, enum sampler_part part, struct err *err)
{
    const int B = run->spec->train.batch_size;
    const int windows = sampler_evaluation_windows(run->sampler, part);
    const int has_words = part == SAMPLER_HELD_OUT && run->dataset->held_out_words;
    evaluate_begin(run->evaluation);
    for (int first = 0; first < windows; first += B) {
        const struct model_observation *seen;
        for (int w = 0; w < B; w++)
            take_window(run, part, first + w < windows ? first + w : 0, w);
        if (model_evaluate(run->model, run->inputs, run->targets, NULL, &seen, err) != 0)
            return -1;
        evaluate_add(run->evaluation, seen, run->targets, has_words ? run->words : NULL,
                     windows - first < B ? windows - first : B);
        if (obey(run, err) != 0)
            return -1;
    }
    return 0;
}

static int evaluate(struct run *run, int64_t epoch, struct err *err)
{
    for (int i = 0; i < record_size(run->dataset->groups.n); i++)
        run->evaluated_values[i] = NAN;
    const float *scores;
    if (evaluate_part(run, SAMPLER_TEXT, err) != 0 ||
        model_scores(run->model, evaluate_h(run->evaluation), &scores, err) != 0)
        return -1;
    evaluate_text(run->evaluation, scores, run->evaluated_values);
    if (run->spec->data.holdout > 0) {
        if (evaluate_part(run, SAMPLER_HELD_OUT, err) != 0)
            return -1;
        evaluate_held_out(run->evaluation, run->evaluated_values);
    }
    run->evaluated = epoch;
    return 0;
}

static int submit(struct run *run, struct err *err)
{
    unsigned what = MODEL_GRADIENT;
    if (wants_evaluation(run, run->ahead) &&
        evaluate(run, run->ahead / run->steps_per_epoch, err) != 0)
        return -1;
    if (is_due(run, run->ahead))
        what |= MODEL_OBSERVE;
    if (!stands_alone(run, run->ahead))
        what |= MODEL_UPDATE;
    sampler_batch(run->sampler, run->ahead, run->inputs, run->targets);
    if (model_submit(run->model, what, run->inputs, run->targets, run->ahead + 1, err) != 0)
        return -1;
    run->ahead++;
    return 0;
}

static int loop(struct run *run, struct err *err)
{
    if (run->epoch > run->spec->train.epochs)
        return 0;
    run->next_checkpoint = now() + (double)run->options->checkpoint_seconds;
    run->record_at = -1;
    run->ahead = run->step;
    for (;;) {
        while (may_submit(run))
            if (submit(run, err) != 0)
                return -1;
        if (collect(run, err) != 0)
            return -1;
        if (run->epoch > run->spec->train.epochs)
            return 0;
        if (obey(run, err) != 0)
            return -1;
    }
}

int train_run(const struct spec *spec, const struct dataset *dataset, struct backend *backend,
              const struct train_options *options, const struct train_events *events,
              int64_t *epoch, struct err *err)
{
    struct run run = {
        .spec = spec, .dataset = dataset, .backend = backend, .options = options, .events = events};
    int result = -1;
    if (open_run(&run, err) != 0 || set_start(&run, err) != 0)
        goto out;
    int refused = find_start(&run, err) != 0;
    if (!refused || err->code == ERR_UNAVAILABLE)
        events->started(events->self, run.epoch, model_bytes(run.model));
    if (refused)
        goto out;
    if (loop(&run, err) != 0)
        goto out;
    events->flush(events->self);
    result = options->dir ? checkpoint_remove(options->dir, err) : 0;
out:
    *epoch = result != 0 && (err->code == ERR_DIVERGED || err->code == ERR_DEVICE)
                 ? run.step / run.steps_per_epoch
             : run.epoch > 0 ? run.epoch - 1
                             : 0;
    close_run(&run);
    return result;
}
