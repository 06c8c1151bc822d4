/* train: the epoch loop of one job: open the sampler, build or resume the model, measure, report,
 * update, checkpoint. It knows neither processes nor sockets: all output goes through a table of
 * callbacks. One thread.
 *
 * Epoch e: the record of the batch of step e * steps_per_epoch, before its update; then
 * steps_per_epoch updates. Epoch E (= spec epochs) is only measured: E * steps_per_epoch updates.
 * train.record_every leaves records out (config/record_grid.h); all else stays bit for bit. Files below dir:
 *   checkpoint, checkpoint.previous    training state (gpu/checkpoint.h); removed
 *                                      when the job is done
 *   model/epoch-NNNNNNN.safetensors    weights before epoch N's update, for
 *                                      every snapshot and the last epoch
 *   model/spectrum-NNNNNNN.f32         mean log p of every token at that epoch
 *   model/config.json                  Hugging Face configuration */
#ifndef TOKENFATE_TRAIN_H
#define TOKENFATE_TRAIN_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"
#include "lab/dataset.h"

enum train_order { TRAIN_GO, TRAIN_CANCEL, TRAIN_STOP };

struct train_events {
    void *self;
    /* The next record is that of first_epoch (> 0: resumed); the job needs `bytes` on the device.
     * Also called before a checkpoint of another environment is refused, so that the caller learns
     * this environment. */
    void (*started)(void *self, int64_t first_epoch, int64_t bytes);
    /* Record of one epoch of the grid: values [record_size(groups)], tokens [groups.n_tokens]. */
    void (*epoch)(void *self, int64_t epoch, const double *values, int n_values,
                  const float *tokens, int n_tokens);
    /* After every optimiser step, with its epoch, and after every evaluated batch; the caller's
     * orders are its return value. Not called after steps that were in flight when a checkpoint was
     * due. */
    enum train_order (*alive)(void *self, int64_t epoch);
    /* Between two layers of a step that the host submits layer by layer, with its epoch: a sign of
     * life only; orders wait for `alive`. */
    void (*busy)(void *self, int64_t epoch);
    /* Before a checkpoint is written: send every record reported so far, so that no checkpoint on
     * disk is ahead of what was sent. */
    void (*flush)(void *self);
    /* A checkpoint is on disk; a resumed run would continue with record `epoch`. */
    void (*checkpointed)(void *self, int64_t epoch);
    void (*log)(void *self, const char *line);
};

struct train_options {
    const char *dir;   /* NULL: write nothing */
    const char *model; /* file of the initial weights; NULL: random ones */
    const char *build; /* of this program; a checkpoint continues on the same build only */
    /* 0: start anew. n > 0: the records before that of epoch n are safe already; continue from the newest
     * checkpoint of dir that needs no record beyond n, or start anew if there is none. Records may
     * repeat, none is skipped. epochs + 1 with the last model in dir: nothing is left to do. */
    int64_t resume;
    /* Seconds between two checkpoints at least; raised so that writing them takes no more than a
     * tenth of the time. 0: after every step. */
    int64_t checkpoint_seconds;
    /* Before training, compare the first batch with the processor (gpu/canary.h), on so many
     * threads, 0: all. */
    int compares, threads;
};

/* Run to the end. 0: all epochs done. ERR_CANCELLED after TRAIN_CANCEL, or after TRAIN_STOP (a
 * checkpoint of the current step was written then, if there is a dir); ERR_DIVERGED with the epoch;
 * ERR_IO; ERR_NO_MEMORY; ERR_CORRUPT (no intact checkpoint); ERR_CONFLICT and ERR_UNAVAILABLE
 * (checkpoint of another experiment or environment); the error of safetensors_read for `model`;
 * ERR_DEVICE; ERR_DEVICE_WRONG, before `started`. *epoch: of the last record, or of the step that
 * failed. */
int train_run(const struct spec *spec, const struct dataset *dataset, struct backend *backend,
              const struct train_options *options, const struct train_events *events,
              int64_t *epoch, struct err *err);

#endif
