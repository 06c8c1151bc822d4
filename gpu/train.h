/* train: the epoch loop of one job: open the sampler, build or resume the model,
 * measure, report, update, checkpoint. Knows nothing of processes and sockets:
 * everything that leaves goes through a table of callbacks. One thread.
 *
 * Epoch e: record of the batch of step e * steps_per_epoch, before its update;
 * then steps_per_epoch updates. Epoch E (= spec epochs) is measured only: E + 1
 * records, E * steps_per_epoch updates. Files below dir:
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
    /* The first record to come is that of first_epoch (> 0: resumed); the job
     * needs `bytes` on the device. Also called before a checkpoint of another
     * environment is refused, so that who asked learns what this one is. */
    void (*started)(void *self, int64_t first_epoch, int64_t bytes);
    /* Record of one epoch: values [record_size(groups)], tokens [groups.n_tokens]. */
    void (*epoch)(void *self, int64_t epoch, const double *values, int n_values,
                  const float *tokens, int n_tokens);
    /* After every optimiser step, with the epoch it belongs to, and every batch
     * that is evaluated; also the place to look for orders. Not after steps that
     * were under way when a checkpoint was due. */
    enum train_order (*alive)(void *self, int64_t epoch);
    /* Within every step that the host goes through layer by layer, between layers,
     * with the epoch it belongs to: a sign of life and no more, orders wait for
     * `alive`. */
    void (*busy)(void *self, int64_t epoch);
    /* Before a checkpoint is written: every record reported so far must leave
     * now, so that no checkpoint on disk is ahead of what was sent. */
    void (*flush)(void *self);
    /* A checkpoint is on disk; `epoch` is the first record it would continue with. */
    void (*checkpointed)(void *self, int64_t epoch);
    void (*log)(void *self, const char *line);
};

struct train_options {
    const char *dir;   /* NULL: write nothing */
    const char *model; /* file whose weights it starts from; NULL: drawn ones */
    const char *build; /* of this program: a checkpoint continues only on the same one */
    /* 0: start anew. n > 0: records 0 .. n - 1 are already safe; continue from
     * the newest checkpoint of dir that wants no record beyond n, or start anew
     * if there is none. Records may come again, none is left out. epochs + 1, and
     * the last model is in dir: nothing is left to do. */
    int64_t resume;
    /* At most one checkpoint in that many seconds, and none that would make
     * writing them cost more than a tenth of the time. 0: after every step. */
    int64_t checkpoint_seconds;
};

/* Runs to the end. 0: all epochs done. ERR_CANCELLED after TRAIN_CANCEL, or
 * after TRAIN_STOP (a checkpoint of the present step was written then, if there
 * is a dir); ERR_DIVERGED with the epoch, ERR_IO, ERR_NO_MEMORY, ERR_CORRUPT
 * (no intact checkpoint), ERR_CONFLICT and ERR_UNAVAILABLE (checkpoint of another
 * experiment or environment), what safetensors_read says of `model`, ERR_DEVICE. *epoch: where it ended: of the last
 * record, or of the step that failed. */
int train_run(const struct spec *spec, const struct dataset *dataset, struct backend *backend,
              const struct train_options *options, const struct train_events *events,
              int64_t *epoch, struct err *err);

#endif
