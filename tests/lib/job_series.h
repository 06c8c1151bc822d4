/* job_series: small jobs of many shapes, one after the other on one backend, as a
 * trainer that stays open runs them. For the tests of the cuda backend, on the
 * processor (tests/unit/cuda_jobs.c) and on a GPU (tests/gpu/cuda_jobs.c). */
#ifndef TOKENFATE_JOB_SERIES_H
#define TOKENFATE_JOB_SERIES_H

#include "gpu/backend.h"

struct job_series_shape {
    int d_model, n_heads, seq_len, batch_size;
    int evaluates; /* windows of the training text, in every epoch */
};

/* Shape number i of a series without end, of which no two share a product: some have
 * rows that start at multiples of 16 bytes, most do not; every third one evaluates. */
struct job_series_shape job_series_shape(int i);

/* Train a model of that shape for some epochs and check that every record came. *loss:
 * the last one's. ERR_INTERNAL for what must not happen, and the errors of train_run. */
int job_series_run(struct backend *backend, const struct job_series_shape *shape, double *loss,
                   struct err *err);

#endif
