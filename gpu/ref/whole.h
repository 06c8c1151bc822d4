/* whole: checks of a whole model on a backend, at awkward shapes: gradients against the reference,
 * the same bits however a step comes about. Callers: the qualification of a device (gpu/qualify.h),
 * the programs of tests/gpu. One thread.
 *
 * ERR_INTERNAL names what is wrong, ERR_NONDETERMINISTIC what does not repeat; ERR_DEVICE,
 * ERR_NO_MEMORY. */
#ifndef TOKENFATE_WHOLE_H
#define TOKENFATE_WHOLE_H

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

/* small: two tiles and one more position, heads of 12; untied, adaptive: the other output layers;
 * tensor, wide: heads of 64 and 128, which tensor cores take in bfloat16; odd: rows of 30 numbers,
 * which start at multiples of 16 bytes in neither precision; gulliver: the preset, whose reference
 * takes half a minute. */
enum whole_shape {
    WHOLE_SMALL,
    WHOLE_UNTIED,
    WHOLE_ADAPTIVE,
    WHOLE_TENSOR,
    WHOLE_WIDE,
    WHOLE_ODD,
    WHOLE_GULLIVER,
    WHOLE_SHAPES
};

const char *whole_name(enum whole_shape shape);

/* The error that came nearest to its bound, of a tensor's gradient or of a statistic. Written on
 * failure too. */
struct whole_worst {
    char what[64];
    double error, bound; /* relative L2 error */
};

/* Losses, statistics and every tensor's gradient of one batch. */
int whole_check_gradient(struct backend *backend, enum whole_shape shape, struct whole_worst *worst,
                         struct err *err);

/* Eight steps of training, measured or not, leave the same bits. */
int whole_check_repeat(struct backend *backend, enum whole_shape shape, struct err *err);

/* One step five times without an update: run operation by operation, recorded, and replayed. */
int whole_check_replay(struct backend *backend, enum whole_shape shape, struct err *err);

/* Eight steps with as many in flight as the ring has slots leave the bits of eight steps one by
 * one. */
int whole_check_pipeline(struct backend *backend, enum whole_shape shape, struct err *err);

/* Train eight steps, then: *job: bytes of the model (model_bytes); *available: bytes that the device
 * can still give, model and all that a training job takes being there. */
int whole_measure_memory(struct backend *backend, enum whole_shape shape, int64_t *job,
                         int64_t *available, struct err *err);

#endif
