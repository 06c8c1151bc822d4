/* inference: next-token probabilities of a stored model. Called by the runner, between jobs, on its
 * thread. */
#ifndef TOKENFATE_INFERENCE_H
#define TOKENFATE_INFERENCE_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

/* logp[vocab] (nats) of the token that follows ids[n], by the model in the file (safetensors_write)
 * of a job with this spec. Weights are the float32 masters, and the backend computes in float32.
 * ERR_INVALID: no ids, more ids than the model's window, ids outside the vocabulary; or the error
 * of safetensors_read or model_open. */
int inference_next_token(struct backend *backend, const struct spec *spec, int vocab,
                         const char *file, const int32_t *ids, int n, float *logp, struct err *err);

#endif
