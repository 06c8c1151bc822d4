/* train: the epoch loop of one job: open the dataset, build or resume the model,
 * measure, report, update, checkpoint. Knows nothing of processes and sockets:
 * everything that leaves goes through a table of callbacks. One thread.
 *
 * Epoch e: record of the batch of step e * steps_per_epoch, before its update;
 * then steps_per_epoch updates. Epoch E (= spec epochs) is measured only: E + 1
 * records, E * steps_per_epoch updates. Files below dir:
 *   checkpoint, checkpoint.previous    training state (gpu/checkpoint.h)
 *   model/epoch-NNNNNNN.safetensors    weights before epoch N's update, for
 *                                      every snapshot and the last epoch
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
    /* Training starts at first_epoch (> 0: resumed) and needs `bytes`. */
    void (*started)(void *self, int64_t first_epoch, int64_t bytes);
    /* Record of one epoch: values [record_size(groups)], tokens [groups.n_tokens]. */
    void (*epoch)(void *self, int64_t epoch, const double *values, int n_values,
                  const float *tokens, int n_tokens);
    /* After every optimiser step; also the place to look for orders. */
    enum train_order (*alive)(void *self, int64_t epoch);
    void (*checkpointed)(void *self, int64_t epoch);
    void (*log)(void *self, const char *line);
};

struct train_options {
    const char *dir;            /* NULL: write nothing */
    int resume;                 /* continue from dir's checkpoint if there is one */
    int64_t checkpoint_seconds; /* 0: after every epoch (tests) */
};

/* Runs to the end. 0: all epochs done. ERR_CANCELLED after TRAIN_CANCEL, or
 * after TRAIN_STOP (a checkpoint of the present epoch was written then);
 * ERR_DIVERGED with the epoch, ERR_IO, ERR_NO_MEMORY, ERR_CORRUPT (both
 * checkpoints damaged), ERR_DEVICE. *epoch: where it ended. */
int train_run(const struct spec *spec, const struct dataset *dataset, struct backend *backend,
              const struct train_options *options, const struct train_events *events,
              int64_t *epoch, struct err *err);

#endif
