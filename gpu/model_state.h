/* model_state: the state of a model between two steps: weights and moments, as drawn at the start,
 * as read and as written by the host, and the number of steps in flight. Called by model, train and
 * inference, on the model's thread. */
#ifndef TOKENFATE_MODEL_STATE_H
#define TOKENFATE_MODEL_STATE_H

#include "config/err.h"

struct model;

/* Steps submitted and not collected, 0..model_depth. The functions below need 0. */
int model_in_flight(const struct model *model);

/* Initial weights from spec_seed_weights, drawn on the CPU; moments zero. ERR_NO_MEMORY,
 * ERR_DEVICE. */
int model_initialise(struct model *model, struct err *err);

/* Raw state, bit-exact, for checkpoints: the parts in order, each
 * shapes->n_parameters float32. SGD has no moments, momentum one, Adam two. */
enum model_part { MODEL_PARAMETERS, MODEL_MOMENT1, MODEL_MOMENT2, MODEL_GRADIENTS };
int model_parts(const struct model *model); /* how many of the first three there are */
/* ERR_DEVICE. Uploading parameters refreshes their ACT copy. */
int model_download(struct model *model, enum model_part part, float *host, struct err *err);
int model_upload(struct model *model, enum model_part part, const float *host, struct err *err);

#endif
