/* cost: see cost.h. */
#include "lab/cost.h"

#include <stdlib.h>
#include <string.h>

#include "lab/shapes.h"

/* Multiplications that a device does while it moves a byte. Processors have about 5 of float32, cards
 * about 20. */
#define COST_OF_BYTE 10.0
/* Bytes of a parameter that an update moves: weight, gradient, two moments, each read and written. */
#define COST_UPDATE_BYTES 32.0
/* Operations of a record beside an update, for each token and position: a softmax, a mean, masks. */
#define COST_OF_TRACKED 64.0

/* Multiplications and additions of the products of one position, forward. */
static double cost_products(const struct spec *spec, const struct shapes *shapes)
{
    const double C = spec->model.d_model, T = spec->model.seq_len, L = spec->model.n_layers;
    double weights = 0;
    for (int i = 0; i < shapes->n_tensors; i++) {
        const struct shapes_tensor *tensor = &shapes->tensor[i];
        const int is_head = tensor->kind == SHAPES_UNEMBEDDING ||
                            (tensor->kind == SHAPES_TOKEN_EMBEDDING && spec->model.tie == TIE_TIED);
        if (is_head || tensor->kind == SHAPES_WEIGHT)
            weights += (double)tensor->rows * (double)tensor->cols;
    }
    return 2 * weights + 4 * L * T * C;
}

double cost_epoch(const struct spec *spec, int vocab, int64_t steps_per_epoch, int n_tracked,
                  struct err *err)
{
    struct shapes shapes;
    if (shapes_build(spec, vocab, &shapes, err) < 0)
        return -1;
    const double positions = (double)spec->train.batch_size * spec->model.seq_len;
    const double forward = cost_products(spec, &shapes);
    const double update =
        3 * forward * positions + COST_OF_BYTE * COST_UPDATE_BYTES * (double)shapes.n_parameters;
    const double record = COST_OF_TRACKED * n_tracked * positions +
                          COST_OF_BYTE * (double)vocab * (double)sizeof(float);
    const double passes = spec->data.holdout ? 2 : 1; /* the held-out text has windows too */
    const double evaluation =
        passes * spec->eval.windows * spec->model.seq_len * forward / (double)spec->eval.every;
    shapes_free(&shapes);
    return ((double)steps_per_epoch * update + record / (double)spec->train.record_every +
            evaluation) /
           1e9;
}

int cost_shape(const struct spec *spec, char shape[HASH_HEX], struct err *err)
{
    struct spec same = *spec; /* borrows all strings */
    char empty[] = "";
    same.name = same.notes = empty;
    same.n_tags = 0;
    same.init_from[0] = '\0';
    same.model.init_std = same.model.position_std = 0.02;
    same.train.epochs = same.train.steps_per_epoch = 1;
    same.train.n_snapshots = 0;
    same.train.lr = 1;
    same.train.beta1 = same.train.beta2 = 0;
    same.train.eps = 1;
    same.train.weight_decay = same.train.momentum = 0;
    same.train.seed = 1;
    same.train.seed_weights = same.train.seed_data = same.train.seed_groups = -1;
    same.eval.every = 1;
    same.resources.priority = same.resources.max_seconds = 0;
    same.resources.max_attempts = 1;
    strcpy(same.resources.device, "auto");
    char *text = spec_print(&same);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "no memory for the shape of a job");
    hash_sha256(text, strlen(text), shape);
    free(text);
    return 0;
}
