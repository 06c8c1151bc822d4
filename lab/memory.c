/* memory: see memory.h. Only memory_buffers knows the size of a buffer. */
#include "lab/memory.h"

#include <string.h>

static const int moments_of[] = {
    [OPTIMIZER_SGD] = 0,
    [OPTIMIZER_MOMENTUM] = 1,
    [OPTIMIZER_ADAM] = 2,
    [OPTIMIZER_ADAMW] = 2,
};

/* Sizes that follow from the clusters of the output layer; the full head is one cluster. */
struct clusters_size {
    int64_t K;              /* clusters */
    int64_t widths;         /* of all projections together: 0 with the full head */
    int64_t scores;         /* mean logits: one for each output */
    int64_t columns;        /* outputs of the largest cluster, padded */
    int64_t tracked_logits; /* tracked tokens, and the entries of the further clusters */
};

static struct clusters_size measure_clusters(const struct shapes *shapes, int n_tracked)
{
    const struct clusters *clusters = &shapes->clusters;
    const int further = clusters->n - 1;
    struct clusters_size size = {.K = clusters->n,
                                 .scores = further ? shapes->vocab + further : shapes->vocab_padded,
                                 .tracked_logits = n_tracked + further};
    for (int k = 0; k < clusters->n; k++) {
        const int64_t outputs = shapes_padded(clusters->cluster[k].outputs);
        size.columns = outputs > size.columns ? outputs : size.columns;
        size.widths += k ? clusters->cluster[k].width : 0;
    }
    return size;
}

/* Bytes of every buffer: one long list on purpose, in the order of enum memory_buffer and
 * with the letters of memory.h. real, act: bytes of a REAL and of an ACT number; G groups, M
 * tracked tokens, chunk rows of logits. */
static void memory_buffers(const struct spec *spec, const struct shapes *shapes, int64_t G,
                           int64_t M, int64_t chunk, int64_t real, int64_t act,
                           int64_t bytes[MEMORY_BUFFERS])
{
    const int64_t B = spec->train.batch_size, C = spec->model.d_model, L = spec->model.n_layers,
                  NH = spec->model.n_heads, N = B * spec->model.seq_len, Vp = shapes->vocab_padded,
                  norms = 2 * L + 1, parts = MEMORY_PARTS_OF_GRADIENT, int32 = 4;
    const struct clusters_size size = measure_clusters(shapes, (int)M);
    const int64_t K = size.K, W = size.widths;
    /* 1 or 0: a buffer that the job does not use has no bytes. */
    const int64_t adaptive = K > 1, untied = spec->model.tie != TIE_TIED,
                  objective = !spec_objective_is_loss(spec),
                  adjusted = spec->loss.logit_adjustment != 0;
    /* An adaptive head always has class weights: they mask the tokens of other clusters. */
    const int64_t weighted = spec->model.head == HEAD_ADAPTIVE ? K : spec->loss.class_weight != 0;

    memset(bytes, 0, MEMORY_BUFFERS * sizeof *bytes);
    bytes[MEMORY_SCALARS] = real * 3;
    bytes[MEMORY_INPUTS] = int32 * N;
    bytes[MEMORY_TARGETS] = int32 * N;
    bytes[MEMORY_CLUSTER_TARGETS] = int32 * adaptive * K * N;
    bytes[MEMORY_GROUP_WEIGHTS] = real * G * N;

    bytes[MEMORY_LOSSES] = real * K * N;
    bytes[MEMORY_LSE] = real * K * N;
    bytes[MEMORY_OBJECTIVE] = real * objective * K * N;
    bytes[MEMORY_H_SUMS] = real * (B + G) * C;
    bytes[MEMORY_OUTPUT_ROWS] = real * M * C;
    bytes[MEMORY_OUTPUT_BIAS] = real * M;
    bytes[MEMORY_INPUT_ROWS] = real * untied * M * C;
    bytes[MEMORY_SCORES] = real * size.scores;

    bytes[MEMORY_MEAN_P] = real * M;
    bytes[MEMORY_PART_NORMS] = real * parts * M;
    bytes[MEMORY_SQUARES] = real;

    bytes[MEMORY_TRACKED] = int32 * M;
    bytes[MEMORY_TRACKED_OUTPUTS] = int32 * adaptive * size.tracked_logits;
    bytes[MEMORY_TRACKED_LOGITS] = real * size.tracked_logits * N;
    bytes[MEMORY_TRACKED_WORK] = real * M * N;
    bytes[MEMORY_PARTS] = real * parts * M * C;
    bytes[MEMORY_CLASS_WEIGHTS] = real * weighted * Vp;
    bytes[MEMORY_POSITION_WEIGHTS] = real * weighted * N;
    bytes[MEMORY_ADJUSTMENT] = real * adjusted * Vp;
    bytes[MEMORY_OBJECTIVE_LSE] = real * adjusted * N;
    bytes[MEMORY_H_TOTAL] = real * C;
    bytes[MEMORY_ONE] = real * adaptive;
    bytes[MEMORY_CLUSTER_LSE] = real * adaptive * 2 * N;
    bytes[MEMORY_PROJECTED_TOTAL] = real * W;
    bytes[MEMORY_NO_BIAS_SUMS] = real * adaptive * C;
    bytes[MEMORY_NO_BIAS] = act * adaptive * C;
    bytes[MEMORY_PROJECTED] = act * W * N;
    bytes[MEMORY_MEANS] = real * norms * N;
    bytes[MEMORY_RSTDS] = real * norms * N;
    bytes[MEMORY_ATTENTION_LSE] = real * L * N * NH;
    bytes[MEMORY_RESIDUAL] = act * norms * N * C;
    bytes[MEMORY_NORMED] = act * norms * N * C;
    bytes[MEMORY_QKV] = act * L * N * 3 * C;
    bytes[MEMORY_ATTENDED] = act * L * N * C;
    bytes[MEMORY_HIDDEN] = act * L * N * 4 * C;
    bytes[MEMORY_ACTIVE] = act * L * N * 4 * C;
    bytes[MEMORY_GRADIENT] = act * N * C;
    bytes[MEMORY_BRANCH] = act * N * C;
    bytes[MEMORY_WIDE] = act * N * 4 * C;
    bytes[MEMORY_LOGITS] = real * chunk * size.columns;
}

void memory_plan(const struct spec *spec, const struct shapes *shapes, int n_groups, int n_tracked,
                 int real_bytes, int act_bytes, int head_chunk, struct memory_plan *out)
{
    const int64_t positions = (int64_t)spec->train.batch_size * spec->model.seq_len;
    const int chunk = positions < head_chunk ? (int)positions : head_chunk;
    int64_t end = 0;
    memory_buffers(spec, shapes, n_groups, n_tracked, chunk, real_bytes, act_bytes, out->bytes);
    for (int i = 0; i < MEMORY_BUFFERS; i++) {
        out->offset[i] = end;
        end += (out->bytes[i] + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
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
    /* `auto` counts as the card, which has the larger chunk. */
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
