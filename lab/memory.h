/* memory: the exact device memory of a job, before anything is allocated. One table lists
 * the buffers of a training step, besides parameters, gradients and moments. The model
 * divides its only allocation of activations by it; the server admits jobs by its total.
 * Sizes follow from the spec, the vocabulary and the tracked tokens alone. Every buffer
 * starts at a multiple of MEMORY_ALIGNMENT bytes. Pure functions, any thread. */
#ifndef TOKENFATE_MEMORY_H
#define TOKENFATE_MEMORY_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/groups.h"
#include "lab/shapes.h"

enum {
    MEMORY_ALIGNMENT = 256,
    /* Rows of logits at a time: the output layer processes a batch in chunks of this many
     * positions. On the CPU a chunk has 26 MB (float32, 50304 columns), which stay in the
     * caches near the cores. On a card it has 412 MB: each chunk reads and writes the whole
     * gradient of the unembedding, which costs more than the product itself if a chunk has
     * fewer than about 700 rows (2 C V operations a row at 790e12 a second, 8 C V bytes at
     * 4.3e12). */
    MEMORY_HEAD_CHUNK_CPU = 128,
    MEMORY_HEAD_CHUNK_CUDA = 2048,
    MEMORY_PARTS_OF_GRADIENT = 4 /* the engine's BACKEND_PARTS */
};

/* Memory of a card beside the job. MEMORY_CUDA_BACKEND is exact: the engine allocates it
 * (partial sums, workspace of the products). The other two are allocations of the driver,
 * which does not tell their sizes: generous allowances. */
enum {
    MEMORY_CUDA_BACKEND = 64 << 20,
    /* Context with the code of the kernels and cuBLASLt, once a process opens the card. */
    MEMORY_CUDA_CONTEXT = 704 << 20,
    /* During the first steps: code loaded at the first launch of each kernel, recorded
     * programs, and the rounding of allocations (the driver allocates in pieces of 2 MB). */
    MEMORY_CUDA_PROGRAMS = 256 << 20
};

/* Buffers of a step. "Per layer" buffers hold all layers, layer 0 first. Buffers before
 * MEMORY_SLOT are everything that passes between host and device during a step: a slot of
 * the ring (gpu/backend.h) is a copy of them. First those that the host writes, then those
 * that it reads, each in order of use.
 *
 * B windows of T positions, N = B T; C channels, L layers, NH heads; V tokens, Vp padded; G
 * groups, M tracked tokens; K clusters of the output layer, 1 with the full head. */
enum memory_buffer {
    MEMORY_SCALARS,         /* REAL [3] learning rate and bias corrections */
    MEMORY_INPUTS,          /* int32 [N] */
    MEMORY_TARGETS,         /* int32 [N] */
    MEMORY_CLUSTER_TARGETS, /* int32 [K, N], only with an adaptive head: outputs of each cluster */
    MEMORY_GROUP_WEIGHTS,   /* REAL [G, N] 1 where the input is not of the group */
    /* after the forward pass */
    MEMORY_LOSSES,      /* REAL [K, N] */
    MEMORY_LSE,         /* REAL [K, N] logsumexp of the logits */
    MEMORY_OBJECTIVE,   /* REAL [K, N], only if the objective is not the loss */
    MEMORY_H_SUMS,      /* REAL [B + G, C] */
    MEMORY_OUTPUT_ROWS, /* REAL [M, C] */
    MEMORY_OUTPUT_BIAS, /* REAL [M] */
    MEMORY_INPUT_ROWS,  /* REAL [M, C], only untied */
    /* REAL [Vp] mean logit of every token; with an adaptive head of every output, cluster by
     * cluster. */
    MEMORY_SCORES,
    /* after the backward pass */
    MEMORY_MEAN_P,     /* REAL [M] */
    MEMORY_PART_NORMS, /* REAL [MEMORY_PARTS_OF_GRADIENT, M] */
    MEMORY_SQUARES,    /* REAL [1] sum of squares of the gradient */
    MEMORY_SLOT,
    MEMORY_TRACKED = MEMORY_SLOT, /* int32 [M] */
    /* int32 [M + K - 1], only with an adaptive head: outputs of the tokens in their
     * clusters, and the entries of cluster 0. */
    MEMORY_TRACKED_OUTPUTS,
    MEMORY_TRACKED_LOGITS, /* REAL [M, N], with an adaptive head [M + K - 1, N] */
    MEMORY_TRACKED_WORK,   /* REAL [M, N] */
    MEMORY_PARTS, /* REAL [MEMORY_PARTS_OF_GRADIENT, M, C] of the tracked tokens' gradient */
    /* REAL [Vp], only with class weights; with an adaptive head [K, Vp], 0 for tokens
     * outside of a cluster. */
    MEMORY_CLASS_WEIGHTS,
    MEMORY_POSITION_WEIGHTS, /* REAL [N] or [K, N], of each target */
    MEMORY_ADJUSTMENT,       /* REAL [Vp], only with logit adjustment */
    MEMORY_OBJECTIVE_LSE,    /* REAL [N], only with logit adjustment: of the adjusted logits */
    MEMORY_H_TOTAL,          /* REAL [C] sum of h */
    MEMORY_ONE,              /* REAL [1] 1; up to MEMORY_PROJECTED only with an adaptive head */
    MEMORY_CLUSTER_LSE, /* REAL [2, N] what log p subtracts from a logit of the current cluster */
    MEMORY_PROJECTED_TOTAL, /* REAL [W] sums of the projections of h; W: all widths together */
    MEMORY_NO_BIAS_SUMS,    /* REAL [C] gradient of MEMORY_NO_BIAS, ignored */
    MEMORY_NO_BIAS,         /* ACT [C] zeros: a projection has no bias */
    MEMORY_PROJECTED,       /* ACT [W, N] projections of h, cluster by cluster */
    MEMORY_MEANS,           /* REAL [2 L + 1, N] of the layernorms */
    MEMORY_RSTDS,           /* REAL [2 L + 1, N] */
    MEMORY_ATTENTION_LSE,   /* REAL [L, B, NH, T] */
    MEMORY_RESIDUAL,        /* ACT [2 L + 1, N, C] stream before each layernorm */
    MEMORY_NORMED,          /* ACT [2 L + 1, N, C] output of each layernorm; the last is h */
    MEMORY_QKV,             /* ACT [L, N, 3C] */
    MEMORY_ATTENDED,        /* ACT [L, N, C] */
    MEMORY_HIDDEN,          /* ACT [L, N, 4C] before the activation function */
    MEMORY_ACTIVE,          /* ACT [L, N, 4C] after it */
    MEMORY_GRADIENT,        /* ACT [N, C] of the residual stream */
    MEMORY_BRANCH,          /* ACT [N, C] of a branch; in forward, a branch's output */
    MEMORY_WIDE,            /* ACT [N, 4C] of qkv and of the hidden layer */
    /* REAL [rows of a chunk, or N if that is less; Vp, or the outputs of the largest
     * cluster]. */
    MEMORY_LOGITS,
    MEMORY_BUFFERS
};

struct memory_plan {
    int64_t offset[MEMORY_BUFFERS]; /* bytes from the start of the activations */
    int64_t bytes[MEMORY_BUFFERS];  /* without the alignment gap */
    int head_chunk;                 /* rows of MEMORY_LOGITS */
    int n_moments;                  /* vectors of moments: sgd 0, momentum 1, adam 2 */
    int64_t parameters, copy, gradients, moments, activations; /* bytes of each allocation */
    int64_t total;
    /* Host memory of one slot of the ring, not part of the total. */
    int64_t slot;
};

/* Sizes for n_groups groups and n_tracked tokens, with real_bytes and act_bytes a number and
 * head_chunk rows of logits. `copy` is the ACT copy of the parameters, 0 if both sizes are
 * equal. */
void memory_plan(const struct spec *spec, const struct shapes *shapes, int n_groups, int n_tracked,
                 int real_bytes, int act_bytes, int head_chunk, struct memory_plan *out);

/* Bytes of a job with its groups on the device that it asks for, in the given precision.
 * auto (device or precision): the maximum over the choices. -1 with ERR_NO_MEMORY. */
int64_t memory_bytes(const struct spec *spec, enum spec_precision precision, int vocab,
                     const struct groups *groups, struct err *err);

/* Bytes that a device of this kind ("cpu", "cuda") needs beside a job. is_open: one of our
 * processes has the device open, so that only what comes with a job is left to allocate. */
int64_t memory_beside(const char *kind, int is_open);

#endif
