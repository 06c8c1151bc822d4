/* shapes: the parameter tensors of a spec's model, before anything is allocated. One table,
 * with the names and the order of Hugging Face's GPT-2. The model divides parameters,
 * gradients and moments by it, checkpoints are written by it, and lab/memory computes the
 * exact bytes of a job from it. Pure functions, any thread.
 *
 * Weight matrices are [in, out] as in GPT-2's Conv1D: y = x W + b. Rows of the vocabulary
 * are padded to a multiple of 64 (50257 -> 50304) in memory, never in a file or a statistic. */
#ifndef TOKENFATE_SHAPES_H
#define TOKENFATE_SHAPES_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/clusters.h"

enum { SHAPES_NAME_MAX = 64, SHAPES_VOCAB_MULTIPLE = 64 };

/* Initialisation of a tensor, and whether it is an embedding. */
enum shapes_kind {
    SHAPES_TOKEN_EMBEDDING,    /* wte [Vp, C]: N(0, init_std), padding 0 */
    SHAPES_POSITION_EMBEDDING, /* wpe [T, C]: N(0, position_std) */
    SHAPES_WEIGHT,             /* [in, out]: N(0, init_std) */
    SHAPES_BIAS,               /* [out]: 0 */
    SHAPES_GAIN,               /* layernorm weight [C]: 1 */
    /* Lm_head [Vp, C], untied: N(0, init_std), or equal to wte; with an adaptive head one
     * tensor for each cluster. */
    SHAPES_UNEMBEDDING,
    SHAPES_HEAD_BIAS /* [Vp]: 0; a column, because padding adds rows */
};

struct shapes_tensor {
    char name[SHAPES_NAME_MAX]; /* "transformer.h.0.attn.c_attn.weight" */
    enum shapes_kind kind;
    int64_t rows, cols; /* in memory; a vector has rows = 1, the head bias cols = 1 */
    int64_t file_rows;  /* without padding */
    int64_t offset;     /* elements from the start of the parameter vector */
};

struct shapes {
    int vocab, vocab_padded;  /* V, Vp */
    struct clusters clusters; /* of the output layer */
    int n_tensors;
    struct shapes_tensor *tensor; /* in order of offset; no gaps */
    int64_t n_parameters;         /* elements, padding included */
};

/* Order: wte, wpe, per layer h.L.{ln_1.weight, ln_1.bias, attn.c_attn.weight [C,3C],
 * attn.c_attn.bias, attn.c_proj.weight [C,C], attn.c_proj.bias, ln_2.weight, ln_2.bias,
 * mlp.c_fc.weight [C,4C], mlp.c_fc.bias, mlp.c_proj.weight [4C,C], mlp.c_proj.bias},
 * ln_f.weight, ln_f.bias, then lm_head.weight if untied, lm_head.bias if head_bias. All but
 * these two have the prefix "transformer.". An adaptive head has instead lm_head.head.weight
 * [outputs of cluster 0, C], and for cluster k + 1 lm_head.tail.k.projection [C, width] and
 * lm_head.tail.k.weight [outputs, width], with all token rows padded. ERR_NO_MEMORY.
 * shapes_free frees. */
int shapes_build(const struct spec *spec, int vocab, struct shapes *out, struct err *err);
void shapes_free(struct shapes *shapes);

/* Rows of a vocabulary in memory: padded to a multiple of 64. */
int shapes_padded(int vocab);

/* Index of a tensor by name, -1 if there is none. */
int shapes_find(const struct shapes *shapes, const char *name);

#endif
