/* safetensors: export and import of a model for Hugging Face's `transformers`: one safetensors file
 * (8-byte little-endian header length, JSON header, data aligned to 8 bytes) with GPT-2's tensor
 * names, and its config.json. Padding rows are left out. The logit scale is folded into ln_f, so
 * the loaded model gives the same logits. A tied model has no lm_head tensor. A head bias, which
 * GPT-2 does not have, is the extra tensor lm_head.bias, with a note in the metadata. An adaptive
 * head (lab/clusters.h), which GPT-2 does not have either, is the tensors lm_head.head.weight,
 * lm_head.tail.K.projection and .weight, with rows in order of rank, and the int32 tensor
 * lm_head.order, the token of each rank. Called by train at snapshots and by inference, on their
 * thread. */
#ifndef TOKENFATE_SAFETENSORS_H
#define TOKENFATE_SAFETENSORS_H

#include "config/err.h"
#include "config/spec.h"
#include "lab/shapes.h"

#define SAFETENSORS_NAME "epoch-%07lld.safetensors" /* file name of an epoch's weights */

/* Write the float32 parameter vector (shapes->n_parameters numbers) to
 * DIR/epoch-NNNNNNN.safetensors, atomically (config/file.h). Equal parameters give equal bytes.
 * order [V]: the token of each rank, NULL with the full head. ERR_IO, ERR_NO_MEMORY,
 * ERR_TOO_LARGE. */
int safetensors_write(const char *dir, long long epoch, const struct spec *spec,
                      const struct shapes *shapes, const float *parameters, const int32_t *order,
                      struct err *err);

/* Read a file of safetensors_write into a float32 parameter vector (shapes->n_parameters numbers,
 * padding 0). Names and shapes must be those of `shapes`. The logit scale is divided out of ln_f,
 * so that the model with `spec` gives the file's logits (to a rounding, if the scale is not 1).
 * order [V] is filled with an adaptive head, unchecked (model_set_order checks it), and may be NULL
 * without. ERR_NOT_FOUND, ERR_INVALID naming the tensor that is missing or has another shape,
 * ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY; parameters and order are undefined on failure. */
int safetensors_read(const char *path, const struct spec *spec, const struct shapes *shapes,
                     float *parameters, int32_t *order, struct err *err);

/* Write DIR/config.json, atomically, for GPT2LMHeadModel or, with an adaptive head, GPT2Model.
 * original[vocab]: the tokenizer's ids of the model's ids, stored as "tokenfate_vocabulary"; NULL
 * where both are the same. */
int safetensors_write_config(const char *dir, const struct spec *spec, const struct shapes *shapes,
                             const int32_t *original, struct err *err);

#endif
