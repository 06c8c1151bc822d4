/* shapes: see shapes.h. The table states every tensor as a product of two named dimensions;
 * find_dims computes them from a spec. A new tensor is one line. Called by lab/memory,
 * gpu/model and gpu/checkpoint, on any thread. Invariant: offsets follow the order of the
 * table without a gap, so that an element has the same index in parameters, gradients,
 * moments and random draws. */
#include "lab/shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum dim {
    DIM_1,
    DIM_V, /* vocabulary, padded in memory */
    DIM_T, /* seq_len */
    DIM_C, /* d_model */
    DIM_3C,
    DIM_4C,
    DIM_OUTPUTS, /* outputs of the current cluster, padded in memory */
    DIM_WIDTH,   /* width of its output rows */
    DIMS
};

/* Parts of the table; all but FIRST, LAST and HEAD repeat. */
enum { FIRST, LAYER, LAST, HEAD, TAIL, PLACES };
enum condition { ALWAYS, IF_UNTIED, IF_HEAD_BIAS, IF_ADAPTIVE };

static const struct parameter {
    const char *name;
    enum shapes_kind kind;
    enum dim rows, cols;
    int place;
    enum condition condition;
} parameters[] = {
    {"transformer.wte.weight", SHAPES_TOKEN_EMBEDDING, DIM_V, DIM_C, FIRST, ALWAYS},
    {"transformer.wpe.weight", SHAPES_POSITION_EMBEDDING, DIM_T, DIM_C, FIRST, ALWAYS},
    {"ln_1.weight", SHAPES_GAIN, DIM_1, DIM_C, LAYER, ALWAYS},
    {"ln_1.bias", SHAPES_BIAS, DIM_1, DIM_C, LAYER, ALWAYS},
    {"attn.c_attn.weight", SHAPES_WEIGHT, DIM_C, DIM_3C, LAYER, ALWAYS},
    {"attn.c_attn.bias", SHAPES_BIAS, DIM_1, DIM_3C, LAYER, ALWAYS},
    {"attn.c_proj.weight", SHAPES_WEIGHT, DIM_C, DIM_C, LAYER, ALWAYS},
    {"attn.c_proj.bias", SHAPES_BIAS, DIM_1, DIM_C, LAYER, ALWAYS},
    {"ln_2.weight", SHAPES_GAIN, DIM_1, DIM_C, LAYER, ALWAYS},
    {"ln_2.bias", SHAPES_BIAS, DIM_1, DIM_C, LAYER, ALWAYS},
    {"mlp.c_fc.weight", SHAPES_WEIGHT, DIM_C, DIM_4C, LAYER, ALWAYS},
    {"mlp.c_fc.bias", SHAPES_BIAS, DIM_1, DIM_4C, LAYER, ALWAYS},
    {"mlp.c_proj.weight", SHAPES_WEIGHT, DIM_4C, DIM_C, LAYER, ALWAYS},
    {"mlp.c_proj.bias", SHAPES_BIAS, DIM_1, DIM_C, LAYER, ALWAYS},
    {"transformer.ln_f.weight", SHAPES_GAIN, DIM_1, DIM_C, LAST, ALWAYS},
    {"transformer.ln_f.bias", SHAPES_BIAS, DIM_1, DIM_C, LAST, ALWAYS},
    {"lm_head.weight", SHAPES_UNEMBEDDING, DIM_V, DIM_C, LAST, IF_UNTIED},
    {"lm_head.bias", SHAPES_HEAD_BIAS, DIM_V, DIM_1, LAST, IF_HEAD_BIAS},
    {"lm_head.head.weight", SHAPES_UNEMBEDDING, DIM_OUTPUTS, DIM_C, HEAD, IF_ADAPTIVE},
    {"projection", SHAPES_WEIGHT, DIM_C, DIM_WIDTH, TAIL, IF_ADAPTIVE},
    {"weight", SHAPES_UNEMBEDDING, DIM_OUTPUTS, DIM_WIDTH, TAIL, IF_ADAPTIVE},
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

static int holds(enum condition condition, const struct spec *spec)
{
    const int adaptive = spec->model.head == HEAD_ADAPTIVE;
    return condition == ALWAYS ||
           (condition == IF_UNTIED && spec->model.tie != TIE_TIED && !adaptive) ||
           (condition == IF_HEAD_BIAS && spec->model.head_bias) ||
           (condition == IF_ADAPTIVE && adaptive);
}

int shapes_padded(int vocab)
{
    return (vocab + SHAPES_VOCAB_MULTIPLE - 1) / SHAPES_VOCAB_MULTIPLE * SHAPES_VOCAB_MULTIPLE;
}

/* Dimensions without padding, for one cluster. */
static void find_dims(const struct spec *spec, int vocab, const struct cluster *cluster,
                      int64_t dim[DIMS])
{
    const int64_t C = spec->model.d_model;
    dim[DIM_1] = 1;
    dim[DIM_V] = vocab;
    dim[DIM_T] = spec->model.seq_len;
    dim[DIM_C] = C;
    dim[DIM_3C] = 3 * C;
    dim[DIM_4C] = 4 * C;
    dim[DIM_OUTPUTS] = cluster->outputs;
    dim[DIM_WIDTH] = cluster->width;
}

static void add_tensor(struct shapes *shapes, const struct parameter *p, int number,
                       const int64_t dim[DIMS])
{
    struct shapes_tensor *t = &shapes->tensor[shapes->n_tensors++];
    const int padded = p->rows == DIM_V || p->rows == DIM_OUTPUTS;
    if (p->place == LAYER)
        snprintf(t->name, sizeof t->name, "transformer.h.%d.%s", number, p->name);
    else if (p->place == TAIL)
        snprintf(t->name, sizeof t->name, "lm_head.tail.%d.%s", number, p->name);
    else
        snprintf(t->name, sizeof t->name, "%s", p->name);
    t->kind = p->kind;
    t->file_rows = dim[p->rows];
    t->rows = padded ? shapes_padded((int)t->file_rows) : t->file_rows;
    t->cols = dim[p->cols];
    t->offset = shapes->n_parameters;
    shapes->n_parameters += t->rows * t->cols;
}

int shapes_build(const struct spec *spec, int vocab, struct shapes *out, struct err *err)
{
    struct shapes shapes = {.vocab = vocab, .vocab_padded = shapes_padded(vocab)};
    clusters_of(spec, vocab, &shapes.clusters);
    const int repeats[PLACES] = {[FIRST] = 1,
                                 [LAYER] = spec->model.n_layers,
                                 [LAST] = 1,
                                 [HEAD] = 1,
                                 [TAIL] = shapes.clusters.n - 1};
    int n = 0;
    for (int i = 0; i < PARAMETERS; i++)
        if (holds(parameters[i].condition, spec))
            n += repeats[parameters[i].place];
    shapes.tensor = calloc((size_t)n, sizeof *shapes.tensor);
    if (!shapes.tensor)
        return err_set(err, ERR_NO_MEMORY, "no memory for a table of %d tensors", n);

    for (int place = FIRST; place < PLACES; place++)
        for (int number = 0; number < repeats[place]; number++) {
            int64_t dim[DIMS];
            find_dims(spec, vocab, &shapes.clusters.cluster[place == TAIL ? 1 + number : 0], dim);
            for (int i = 0; i < PARAMETERS; i++)
                if (parameters[i].place == place && holds(parameters[i].condition, spec))
                    add_tensor(&shapes, &parameters[i], number, dim);
        }
    *out = shapes;
    return 0;
}

void shapes_free(struct shapes *shapes)
{
    if (!shapes)
        return;
    free(shapes->tensor);
    *shapes = (struct shapes){0};
}

int shapes_find(const struct shapes *shapes, const char *name)
{
    for (int i = 0; i < shapes->n_tensors; i++)
        if (strcmp(shapes->tensor[i].name, name) == 0)
            return i;
    return -1;
}
