/* canary: the first batch of a job, computed by its device and by the processor in float32, before
 * the job trains on that device. A device that has proved itself (gpu/qualify.h) may fail later, or at
 * shapes that no proof has. Losses of all positions and every number of the gradient are compared,
 * by relative L2 errors; canary.c has their bounds and where they come from. One thread.
 *
 * It changes no number of the job: it trains nothing, and its random numbers are counted, not
 * drawn from a state. Called by train.c. */
#ifndef TOKENFATE_CANARY_H
#define TOKENFATE_CANARY_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"
#include "gpu/model.h"
#include "lab/dataset.h"

enum { CANARY_WHAT_MAX = 96, CANARY_NOTE_MAX = 256 };

#define CANARY_SECONDS 1.0 /* of the processor: a card is for jobs of minutes */

/* A job that is about to train. Everything is borrowed. */
struct canary_job {
    const struct spec *spec;
    const struct dataset *dataset;
    const struct backend *backend;
    struct model
        *model; /* with the weights to start from, no step in flight; its gradient is lost */
    const int32_t *inputs, *targets; /* [B][T] the batch to come */
    float *parameters;               /* [n_parameters] scratch */
    int threads;                     /* of the processor; 0: all */
    double seconds;                  /* CANARY_SECONDS */
    void (*progress)(void *self);    /* called between layers: a sign of life */
    void *self;
};

/* What was compared, and the error nearest to its bound. */
struct canary_result {
    int windows;     /* of the batch; 0: nothing was compared, `note` says why */
    int n_gradients; /* tensors whose gradient was compared */
    double error, bound;
    char what[CANARY_WHAT_MAX]; /* has that error: "losses", a tensor */
    char note[CANARY_NOTE_MAX];
    double seconds;
};

/* Compare. Where the processor would take longer than `seconds` for the gradient, compare the losses
 * of one window alone. 0: they agree, or the processor cannot be asked (no memory, a build without it, a loss that is not finite).
 * ERR_DEVICE_WRONG: they do not agree, with name, value and bound; ERR_DEVICE. */
int canary_compare(const struct canary_job *job, struct canary_result *out, struct err *err);

#endif
