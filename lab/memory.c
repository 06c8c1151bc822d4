/* memory: see memory.h. Each buffer's size is a product of named dimensions,
 * written down once in buffer_table. */
#include "lab/memory.h"

#include <string.h>

enum number { INT32, REAL, ACT, NUMBERS };

/* Factors a size is made of. */
enum dimension {
    ONE,
    POSITIONS,
    TRACKED,
    GROUPS,
    WINDOWS_AND_GROUPS,
    CHANNELS,
    QKV_CHANNELS,
    HIDDEN_CHANNELS,
    LAYERS,
    NORMS,
    HEADS,
    SCALARS,
    PARTS,
    INPUT_ROWS,
    OBJECTIVES,
    WEIGHTED,
    ADJUSTED,
    LOGIT_ROWS,
    LOGIT_COLUMNS,
    VOCABULARY,
    CLUSTERS,
    ADAPTIVE,
    ADAPTIVE_CLUSTERS,
    ADAPTIVE_WIDTHS,
    TRACKED_OUTPUTS,
    TRACKED_LOGITS,
    SCORES,
    TWO,
    DIMENSIONS
};

static const struct {
    enum number number;
    enum dimension factor[3];
} buffer_table[MEMORY_BUFFERS] = {
    [MEMORY_SCALARS] = {REAL, {SCALARS, ONE, ONE}},
    [MEMORY_INPUTS] = {INT32, {POSITIONS, ONE, ONE}},
    [MEMORY_TARGETS] = {INT32, {POSITIONS, ONE, ONE}},
    [MEMORY_CLUSTER_TARGETS] = {INT32, {ADAPTIVE_CLUSTERS, POSITIONS, ONE}},
    [MEMORY_GROUP_WEIGHTS] = {REAL, {GROUPS, POSITIONS, ONE}},
    [MEMORY_LOSSES] = {REAL, {CLUSTERS, POSITIONS, ONE}},
    [MEMORY_LSE] = {REAL, {CLUSTERS, POSITIONS, ONE}},
    [MEMORY_OBJECTIVE] = {REAL, {CLUSTERS, OBJECTIVES, ONE}},
    [MEMORY_H_SUMS] = {REAL, {WINDOWS_AND_GROUPS, CHANNELS, ONE}},
    [MEMORY_OUTPUT_ROWS] = {REAL, {TRACKED, CHANNELS, ONE}},
    [MEMORY_OUTPUT_BIAS] = {REAL, {TRACKED, ONE, ONE}},
    [MEMORY_INPUT_ROWS] = {REAL, {INPUT_ROWS, CHANNELS, ONE}},
    [MEMORY_SCORES] = {REAL, {SCORES, ONE, ONE}},
    [MEMORY_MEAN_P] = {REAL, {TRACKED, ONE, ONE}},
    [MEMORY_PART_NORMS] = {REAL, {PARTS, TRACKED, ONE}},
    [MEMORY_SQUARES] = {REAL, {ONE, ONE, ONE}},
    [MEMORY_TRACKED] = {INT32, {TRACKED, ONE, ONE}},
    [MEMORY_TRACKED_OUTPUTS] = {INT32, {TRACKED_OUTPUTS, ONE, ONE}},
    [MEMORY_TRACKED_LOGITS] = {REAL, {TRACKED_LOGITS, POSITIONS, ONE}},
    [MEMORY_TRACKED_WORK] = {REAL, {TRACKED, POSITIONS, ONE}},
    [MEMORY_PARTS] = {REAL, {PARTS, TRACKED, CHANNELS}},
    [MEMORY_CLASS_WEIGHTS] = {REAL, {WEIGHTED, VOCABULARY, ONE}},
    [MEMORY_POSITION_WEIGHTS] = {REAL, {WEIGHTED, POSITIONS, ONE}},
    [MEMORY_ADJUSTMENT] = {REAL, {ADJUSTED, VOCABULARY, ONE}},
    [MEMORY_OBJECTIVE_LSE] = {REAL, {ADJUSTED, POSITIONS, ONE}},
    [MEMORY_H_TOTAL] = {REAL, {CHANNELS, ONE, ONE}},
    [MEMORY_ONE] = {REAL, {ADAPTIVE, ONE, ONE}},
    [MEMORY_CLUSTER_LSE] = {REAL, {ADAPTIVE, TWO, POSITIONS}},
    [MEMORY_PROJECTED_TOTAL] = {REAL, {ADAPTIVE_WIDTHS, ONE, ONE}},
    [MEMORY_NO_BIAS_SUMS] = {REAL, {ADAPTIVE, CHANNELS, ONE}},
    [MEMORY_NO_BIAS] = {ACT, {ADAPTIVE, CHANNELS, ONE}},
    [MEMORY_PROJECTED] = {ACT, {ADAPTIVE_WIDTHS, POSITIONS, ONE}},
    [MEMORY_MEANS] = {REAL, {NORMS, POSITIONS, ONE}},
    [MEMORY_RSTDS] = {REAL, {NORMS, POSITIONS, ONE}},
    [MEMORY_ATTENTION_LSE] = {REAL, {LAYERS, POSITIONS, HEADS}},
    [MEMORY_RESIDUAL] = {ACT, {NORMS, POSITIONS, CHANNELS}},
    [MEMORY_NORMED] = {ACT, {NORMS, POSITIONS, CHANNELS}},
    [MEMORY_QKV] = {ACT, {LAYERS, POSITIONS, QKV_CHANNELS}},
    [MEMORY_ATTENDED] = {ACT, {LAYERS, POSITIONS, CHANNELS}},
    [MEMORY_HIDDEN] = {ACT, {LAYERS, POSITIONS, HIDDEN_CHANNELS}},
    [MEMORY_ACTIVE] = {ACT, {LAYERS, POSITIONS, HIDDEN_CHANNELS}},
    [MEMORY_GRADIENT] = {ACT, {POSITIONS, CHANNELS, ONE}},
    [MEMORY_BRANCH] = {ACT, {POSITIONS, CHANNELS, ONE}},
    [MEMORY_WIDE] = {ACT, {POSITIONS, HIDDEN_CHANNELS, ONE}},
    [MEMORY_LOGITS] = {REAL, {LOGIT_ROWS, LOGIT_COLUMNS, ONE}},
};

static const int moments_of[] = {
    [OPTIMIZER_SGD] = 0,
    [OPTIMIZER_MOMENTUM] = 1,
    [OPTIMIZER_ADAM] = 2,
    [OPTIMIZER_ADAMW] = 2,
};

/* What the clusters of the output layer come to; of the full head, one. */
static void measure_clusters(const struct shapes *shapes, int n_tracked, int64_t size[DIMENSIONS])
{
    const struct clusters *clusters = &shapes->clusters;
    const int adaptive = clusters->n > 1, further = clusters->n - 1;
    size[CLUSTERS] = clusters->n;
    size[ADAPTIVE] = adaptive;
    size[ADAPTIVE_CLUSTERS] = adaptive ? clusters->n : 0;
    size[ADAPTIVE_WIDTHS] = 0;
    size[TRACKED_OUTPUTS] = adaptive ? n_tracked + further : 0;
    size[TRACKED_LOGITS] = n_tracked + further;
    size[SCORES] = adaptive ? shapes->vocab + further : shapes->vocab_padded;
    size[LOGIT_COLUMNS] = 0;
    for (int k = 0; k < clusters->n; k++) {
        const int64_t outputs = shapes_padded(clusters->cluster[k].outputs);
        size[LOGIT_COLUMNS] = outputs > size[LOGIT_COLUMNS] ? outputs : size[LOGIT_COLUMNS];
        size[ADAPTIVE_WIDTHS] += k ? clusters->cluster[k].width : 0;
    }
}

void memory_plan(const struct spec *spec, const struct shapes *shapes, int n_groups, int n_tracked,
                 int real_bytes, int act_bytes, int head_chunk, struct memory_plan *out)
{
    const int64_t positions = (int64_t)spec->train.batch_size * spec->model.seq_len;
    const int chunk = positions < head_chunk ? (int)positions : head_chunk;
    int64_t size[DIMENSIONS] = {
        [ONE] = 1,
        [POSITIONS] = positions,
        [TRACKED] = n_tracked,
        [GROUPS] = n_groups,
        [WINDOWS_AND_GROUPS] = (int64_t)spec->train.batch_size + n_groups,
        [CHANNELS] = spec->model.d_model,
        [QKV_CHANNELS] = 3 * (int64_t)spec->model.d_model,
        [HIDDEN_CHANNELS] = 4 * (int64_t)spec->model.d_model,
        [LAYERS] = spec->model.n_layers,
        [NORMS] = 2 * (int64_t)spec->model.n_layers + 1,
        [HEADS] = spec->model.n_heads,
        [SCALARS] = 3,
        [PARTS] = MEMORY_PARTS_OF_GRADIENT,
        [INPUT_ROWS] = spec->model.tie == TIE_TIED ? 0 : n_tracked,
        [OBJECTIVES] = spec_objective_is_loss(spec) ? 0 : positions,
        [WEIGHTED] =
            spec->model.head == HEAD_ADAPTIVE ? shapes->clusters.n : spec->loss.class_weight != 0,
        [ADJUSTED] = spec->loss.logit_adjustment != 0,
        [LOGIT_ROWS] = chunk,
        [VOCABULARY] = shapes->vocab_padded,
        [TWO] = 2,
    };
    measure_clusters(shapes, n_tracked, size);
    const int64_t bytes_of[NUMBERS] = {[INT32] = 4, [REAL] = real_bytes, [ACT] = act_bytes};

    int64_t end = 0;
    for (int i = 0; i < MEMORY_BUFFERS; i++) {
        int64_t bytes = bytes_of[buffer_table[i].number];
        for (int f = 0; f < 3; f++)
            bytes *= size[buffer_table[i].factor[f]];
        out->offset[i] = end;
        out->bytes[i] = bytes;
        end += (bytes + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
    }
    out->head_chunk = chunk;
    out->n_moments = moments_of[spec->train.optimizer];
    out->parameters = shapes->n_parameters * real_bytes;
    out->copy = real_bytes == act_bytes ? 0 : shapes->n_parameters * act_bytes;
    out->gradients = out->parameters;
    out->moments = out->n_moments * out->parameters;
    out->activations = end;
    out->slot = out->offset[MEMORY_SLOT];
    out->total = out->parameters + out->copy + out->gradients + out->moments + out->activations;
}

int64_t memory_bytes(const struct spec *spec, enum spec_precision precision, int vocab,
                     const struct groups *groups, struct err *err)
{
    /* Of two devices the card has the larger chunk. */
    const int chunk =
        strcmp(spec->resources.device, "cpu") == 0 ? MEMORY_HEAD_CHUNK_CPU : MEMORY_HEAD_CHUNK_CUDA;
    struct shapes shapes;
    if (shapes_build(spec, vocab, &shapes, err) != 0)
        return -1;
    int64_t bytes = 0;
    for (int act_bytes = 2; act_bytes <= 4; act_bytes += 2) {
        struct memory_plan plan;
        if (precision == (act_bytes == 2 ? PRECISION_FP32 : PRECISION_BF16))
            continue;
        memory_plan(spec, &shapes, groups->n, groups->n_tokens, 4, act_bytes, chunk, &plan);
        bytes = plan.total > bytes ? plan.total : bytes;
    }
    shapes_free(&shapes);
    return bytes;
}

int64_t memory_beside(const char *kind, int is_open)
{
    const int64_t opening = (int64_t)MEMORY_CUDA_CONTEXT + MEMORY_CUDA_BACKEND;
    if (strcmp(kind, "cuda") != 0)
        return 0;
    return MEMORY_CUDA_PROGRAMS + (is_open ? 0 : opening);
}
