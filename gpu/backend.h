/* backend: the operations of a model as one table of functions. A backend (`cpu`, `cuda`; `ref` in
 * the tests) fills every entry; a missing entry is an error when the backend is opened
 * (backend_check). Callers: model*.c and the tests.
 *
 * Device memory is named by void pointers and holds two kinds of numbers. REAL: parameters,
 * gradients, moments, losses, sums; float32, in ref double. ACT: activations, and the weights that
 * matrix products read, in the precision of the backend. Where both have the same size they are the
 * same type, and the model keeps no second copy of its weights. Ids are int32.
 *
 * Operations are queued in order and may run asynchronously: only `download` and `ring_wait` return
 * numbers to the host. Single operations report no errors; a fault of the device is kept and
 * reported by the next call that waits. Arrays are row-major and dense. Outputs are overwritten,
 * unless the text says "+=". Reductions have a fixed order: same inputs, same bits. One thread
 * drives a backend. Short names (B, T, N, C, V, Vp, NH, M): see model.h.
 *
 * Where to find what: the output layer, softmax and loss are `lm_head`; gradient clipping is part
 * of `update`, with the norm from `sum_squares`; statistics of tracked tokens are `tracked`. */
#ifndef TOKENFATE_BACKEND_H
#define TOKENFATE_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"

enum backend_number {
    NUMBER_REAL,   /* device: parameters, gradients, sums */
    NUMBER_ACT,    /* device: activations */
    NUMBER_INT32,  /* device and host */
    NUMBER_FLOAT,  /* host: float32 */
    NUMBER_DOUBLE, /* host: float64 */
    BACKEND_NUMBERS
};

enum {
    BACKEND_DEVICE_MAX = 96,
    BACKEND_ISA_MAX = 64,
    BACKEND_NOTICE_MAX = 256,
    BACKEND_SLOTS_MAX = 8, /* more gain nothing: one runs, one is queued, one is read */
    BACKEND_PROGRAMS = 16  /* program numbers are below this */
};

/* lm_head: the output layer, softmax and loss with their gradients, as one operation that a backend
 * may fuse. logits = scale * (h . weight) + bias; losses and lse are the plain cross-entropy and
 * logsumexp of these logits, whatever the objective is.
 *
 * The objective (SCIENCE section 6) is the mean over N of, for each position,
 *   objective = omega * (lse' - sum_v q_v logit'_v) + z_loss * lse'^2
 * with logit' = logits + adjust (Menon et al. 2021), lse' their logsumexp, q = (1 - smoothing) on
 * the target + smoothing / V everywhere (Szegedy et al. 2016), z_loss as in Chowdhery et al. 2022,
 * and omega the position's weight. With pi = softmax(logits'), the gradient of the logits is
 *   (omega * (pi - q) + 2 * z_loss * lse' * pi) / N.
 * With all of them off (NULL, 0, 0, NULL) the objective is the loss, and costs nothing extra. A
 * position of weight 0 contributes to the z-loss only; its loss is reported.
 *
 * Entries V..Vp are padding. They may hold NaN in bias and adjust, and any finite number in weight,
 * which their gradient of 0 leaves as it is. No result depends on them. */
struct backend_lm_head {
    int N, C, V, Vp;
    double scale;
    const void *h;          /* ACT [N, C] */
    const void *weight;     /* ACT [Vp, C] */
    const void *bias;       /* REAL [Vp] or NULL */
    const int32_t *targets; /* [N] each in 0..V-1 */

    const void *weights; /* REAL [N] omega; NULL: 1 */
    double smoothing;    /* 0 <= smoothing < 1 */
    double z_loss;       /* >= 0 */
    const void *adjust;  /* REAL [Vp] or NULL: 0 */

    void *losses, *lse;     /* REAL [N] */
    void *objective;        /* REAL [N]; NULL: not wanted */
    void *objective_lse;    /* REAL [N] lse'; may be NULL (lse' = lse) without adjust */
    int M;                  /* tracked tokens */
    const int32_t *tracked; /* [M] each in 0..V-1 */
    void *tracked_logits;   /* REAL [M, N] their logits (not adjusted); NULL: not wanted */

    void *dh;        /* ACT [N, C]; NULL: no gradient is wanted, nor dweight and dbias */
    void *dweight;   /* REAL [Vp, C] */
    void *dbias;     /* REAL [Vp], NULL without bias */
    int chunk;       /* rows of logits that the workspace holds, >= 1 */
    void *workspace; /* REAL [chunk, Vp] */
};

/* Parts of the gradient of a tracked token's rows. */
enum backend_part {
    PART_SOFTMAX, /* output row: (scale / N) sum over positions of omega pi h */
    PART_TARGET,  /* output row: -(scale / N) sum of omega q h */
    PART_ZLOSS,   /* output row: (scale / N) sum of 2 z_loss lse' pi h */
    PART_INPUT,   /* input row: sum of dx where the token is the input */
    BACKEND_PARTS
};

/* tracked: statistics of a step for the tracked tokens, from the outputs of `lm_head` (SCIENCE
 * section 2). The first three parts add up to their rows of dweight. */
struct backend_tracked {
    int N, C, V, M;
    double scale, smoothing, z_loss;
    const int32_t *tracked;    /* [M] */
    const int32_t *inputs;     /* [N] */
    const int32_t *targets;    /* [N] */
    const void *logits;        /* REAL [M, N] tracked_logits of lm_head */
    const void *lse;           /* REAL [N] */
    const void *objective_lse; /* REAL [N]; may be NULL without adjust */
    const void *weights;       /* REAL [N] or NULL */
    const void *adjust;        /* REAL [Vp] or NULL */
    const void *h;             /* ACT [N, C] */
    /* ACT [N, C] gradient of the embedding's output; NULL: compute mean_p only, leave parts and
     * norms as they are. */
    const void *dx;
    void *mean_p;    /* REAL [M] mean over positions of p (not adjusted) */
    void *parts;     /* REAL [BACKEND_PARTS, M, C] */
    void *norms;     /* REAL [BACKEND_PARTS, M] L2 norm of each row of parts */
    void *workspace; /* REAL [M, N] */
};

/* update: one optimiser step over n parameters that share a weight decay, with gradient
 * clipping. */
struct backend_update {
    enum spec_optimizer kind;
    double beta1, beta2, eps; /* Adam; for momentum see `momentum` */
    double momentum;
    double decay;        /* weight decay of these parameters */
    double clip;         /* largest norm of the whole gradient; 0: no clipping */
    const void *squares; /* REAL [1] sum of squares of the whole gradient; unused if clip is 0 */
    void *summed;        /* REAL [1] += sum of squares of these gradients; NULL: not wanted */
    const void *scalars; /* REAL [3]: learning rate, 1 - beta1^t, 1 - beta2^t */
};

/* A program is a sequence of operations on fixed addresses that runs many times (a training step);
 * a backend may record it once and start it as a whole. Host and device exchange data through slots
 * of host memory that both can access: program number i since the ring was opened reads its inputs
 * from slot i % slots and publishes its results into the same slot. The host writes slot started %
 * slots, begins and ends the program, and reads the results after ring_wait. So at most `slots`
 * programs are in flight. */
struct backend_ring {
    int slots;
    int64_t slot_bytes; /* a multiple of 256 */
    int64_t started;    /* programs started so far */
    char *memory;       /* [slots][slot_bytes], zeros at first */
};

struct backend {
    const char *name;                /* "cpu" */
    char device[BACKEND_DEVICE_MAX]; /* name of the processor or card, for people */
    /* What determines the bits besides threads and build: instruction set, library of products,
     * compiler: "avx512, oneDNN 2.6.3, gcc 12.2.0". */
    char isa[BACKEND_ISA_MAX];
    /* Why programs run operation by operation although they could be recorded; "" else. */
    char notice[BACKEND_NOTICE_MAX];
    int threads;                   /* host threads it computes with */
    enum spec_precision precision; /* of ACT: PRECISION_FP32 or PRECISION_BF16 */
    size_t real_bytes, act_bytes;
    int head_max;      /* largest width of an attention head; 0: any */
    int on_host;       /* device memory is host memory: memory of the program counts too */
    int lm_head_chunk; /* rows of logits that exist at once (lab/memory.h) */
    int64_t reserve;   /* bytes that its libraries may still allocate while a job runs */
    int slots;         /* of a ring: programs in flight, 1..BACKEND_SLOTS_MAX */

    void (*close)(struct backend *self);

    /* Bytes that alloc can still give in total; INT64_MAX if unknown. Memory that was allocated and
     * never written may count as available. */
    int64_t (*available)(struct backend *self);
    /* Memory aligned to 256 bytes; contents undefined. NULL with ERR_NO_MEMORY, naming the bytes
     * wanted and available. free(NULL) is fine. */
    void *(*alloc)(struct backend *self, int64_t bytes, struct err *err);
    void (*free)(struct backend *self, void *memory);
    void (*zero)(struct backend *self, void *memory, int64_t bytes);

    /* Copy n numbers between host and device, converted if the types differ: FLOAT or DOUBLE with
     * REAL or ACT, INT32 with INT32. FLOAT <-> REAL is bit-exact (where REAL is float32). The host
     * array may be reused on return. Download waits for all queued operations; ERR_DEVICE. */
    void (*upload)(struct backend *self, void *device, enum backend_number to, const void *host,
                   enum backend_number from, int64_t n);
    int (*download)(struct backend *self, void *host, enum backend_number to, const void *device,
                    enum backend_number from, int64_t n, struct err *err);

    /* Wait for all queued operations. ERR_DEVICE. */
    int (*sync)(struct backend *self, struct err *err);

    /* A ring of self->slots slots; NULL with ERR_NO_MEMORY, ERR_DEVICE. Closing waits for the
     * programs in flight and drops the recordings; ring_close(NULL) is fine. */
    struct backend_ring *(*ring_open)(struct backend *self, int64_t slot_bytes, struct err *err);
    void (*ring_close)(struct backend *self, struct backend_ring *ring);

    /* The operations of program number `program` are called between begin and end, the same ones
     * each time, without alloc, free, upload, download and sync. begin returns 1 if they must be
     * called, 0 if they are recorded. end starts the program and returns 0; or 1 if it could not be
     * recorded: then nothing has started, and begin, operations and end must be called again. */
    int (*program_begin)(struct backend *self, struct backend_ring *ring, int program);
    int (*program_end)(struct backend *self, struct backend_ring *ring, int program);

    /* Inside a program: feed copies `bytes` (a multiple of 4) at `offset` (a multiple of 256) of
     * its slot to the device; publish copies from the device to the slot. A published array must
     * not be written again before the program's end. */
    void (*feed)(struct backend *self, struct backend_ring *ring, void *device, int64_t offset,
                 int64_t bytes);
    void (*publish)(struct backend *self, struct backend_ring *ring, int64_t offset,
                    const void *device, int64_t bytes);

    /* Wait until program number `index` is done and its slot holds its results: 0 even if a later
     * program has met a fault. ERR_DEVICE: this program or an earlier one has. */
    int (*ring_wait)(struct backend *self, struct backend_ring *ring, int64_t index,
                     struct err *err);

    /* out ACT [n] = in REAL [n]. */
    void (*cast)(struct backend *self, void *out, const void *in, int64_t n);

    /* out ACT [n] = a ACT [n] + b ACT [n]; out may be a or b. */
    void (*add)(struct backend *self, void *out, const void *a, const void *b, int64_t n);

    /* out ACT [B*T, C] = wte REAL [.., C] at ids [B*T] + wpe REAL [T, C]. */
    void (*embedding_forward)(struct backend *self, void *out, const void *wte, const void *wpe,
                              const int32_t *ids, int B, int T, int C);
    /* dwte REAL [.., C] += rows of dout ACT [B*T, C], in order of position; dwpe REAL [T, C] = sum
     * over B. */
    void (*embedding_backward)(struct backend *self, void *dwte, void *dwpe, const void *dout,
                               const int32_t *ids, int B, int T, int C);

    /* out ACT [N, C] = (x - mean) * rstd * gain + bias; mean, rstd REAL [N] with
     * rstd = 1 / sqrt(variance + 1e-5); gain, bias REAL [C]. */
    void (*layernorm_forward)(struct backend *self, void *out, void *mean, void *rstd,
                              const void *x, const void *gain, const void *bias, int N, int C);
    /* sum ACT [N, C] = a ACT [N, C] + b ACT [N, C], then layernorm_forward of the sum. */
    void (*add_layernorm_forward)(struct backend *self, void *sum, void *out, void *mean,
                                  void *rstd, const void *a, const void *b, const void *gain,
                                  const void *bias, int N, int C);
    /* dx ACT [N, C] = residual ACT [N, C] (NULL: 0; may be dx) + gradient through
     * the layernorm; dgain, dbias REAL [C]. */
    void (*layernorm_backward)(struct backend *self, void *dx, void *dgain, void *dbias,
                               const void *dout, const void *residual, const void *x,
                               const void *mean, const void *rstd, const void *gain, int N, int C);

    /* out ACT [N, O] = x ACT [N, I] weight ACT [I, O] + bias ACT [O]. */
    void (*matmul_forward)(struct backend *self, void *out, const void *x, const void *weight,
                           const void *bias, int N, int I, int O);
    /* dx ACT [N, I] = dout ACT [N, O] weight^T. */
    void (*matmul_backward_input)(struct backend *self, void *dx, const void *dout,
                                  const void *weight, int N, int I, int O);
    /* matmul_forward into hidden ACT [N, O], and active ACT [N, O] = f(hidden). f may be applied
     * before or after the sum is rounded to ACT. */
    void (*matmul_activation_forward)(struct backend *self, void *active, void *hidden,
                                      const void *x, const void *weight, const void *bias, int N,
                                      int I, int O, enum spec_activation kind);
    /* dhidden ACT [N, I] = (dout ACT [N, O] weight^T) * f'(hidden ACT [N, I]). f' may be applied
     * before or after the product is rounded to ACT. */
    void (*matmul_activation_backward)(struct backend *self, void *dhidden, const void *dout,
                                       const void *weight, const void *hidden, int N, int I, int O,
                                       enum spec_activation kind);
    /* dweight REAL [I, O] = x^T dout; dbias REAL [O] = column sums of dout. */
    void (*matmul_backward_weight)(struct backend *self, void *dweight, void *dbias, const void *x,
                                   const void *dout, int N, int I, int O);

    /* Causal self-attention (Vaswani et al. 2017), scale 1/sqrt(C/NH). qkv ACT
     * [B*T, 3C]: queries, keys, values side by side, heads contiguous in each.
     * out ACT [B*T, C]; lse REAL [B, NH, T]: logsumexp of each row of scores,
     * from which backward recomputes the weights. T <= SPEC_SEQ_LEN_MAX. */
    void (*attention_forward)(struct backend *self, void *out, void *lse, const void *qkv, int B,
                              int T, int C, int NH);
    /* dqkv ACT [B*T, 3C] from dout ACT [B*T, C]. */
    void (*attention_backward)(struct backend *self, void *dqkv, const void *dout, const void *qkv,
                               const void *out, const void *lse, int B, int T, int C, int NH);

    /* out ACT [n] = f(x ACT [n]). gelu: exact, with erf; gelu_new: the tanh form
     * (Hendrycks & Gimpel 2016, section 2). */
    void (*activation_forward)(struct backend *self, void *out, const void *x, int64_t n,
                               enum spec_activation kind);
    /* dx ACT [n] = dout * f'(x); dx may be dout. */
    void (*activation_backward)(struct backend *self, void *dx, const void *dout, const void *x,
                                int64_t n, enum spec_activation kind);

    void (*lm_head)(struct backend *self, const struct backend_lm_head *lm_head);
    void (*tracked)(struct backend *self, const struct backend_tracked *tracked);

    /* out REAL [B, C] = sum of the T rows of each window of h ACT [B*T, C]. */
    void (*window_sums)(struct backend *self, void *out, const void *h, int B, int T, int C);
    /* out REAL [K, C] = weights REAL [K, N] . h ACT [N, C]. */
    void (*weighted_sums)(struct backend *self, void *out, const void *weights, const void *h,
                          int K, int N, int C);
    /* out REAL [M, C] = rows `ids` [M] of in REAL [.., C]. */
    void (*gather_rows)(struct backend *self, void *out, const void *in, const int32_t *ids, int M,
                        int C);

    /* out REAL [V] = factor * (weight [V, C] . x REAL [C]) + bias REAL [V] (NULL: 0): the logits of
     * every token for one vector. weight: of `number`, ACT or REAL. */
    void (*scores)(struct backend *self, void *out, const void *weight, enum backend_number number,
                   const void *bias, const void *x, double factor, int V, int C);

    /* out REAL [1] += sum of squares of in REAL [n]. */
    void (*sum_squares)(struct backend *self, void *out, const void *in, int64_t n);

    /* One optimiser step: AdamW (Loshchilov & Hutter 2019); Adam (Kingma & Ba 2015), SGD and
     * momentum with decay as L2 term of the gradient. parameters, gradients REAL [n]; moment1
     * (momentum, Adam), moment2 (Adam) REAL [n] or NULL. copy: ACT [n] copy of the new parameters,
     * NULL if ACT is REAL. Gradient clipping multiplies the gradient by min(1, clip / (norm +
     * 1e-6)). */
    void (*update)(struct backend *self, const struct backend_update *update, void *parameters,
                   void *copy, const void *gradients, void *moment1, void *moment2, int64_t n);
};

/* Fused entries composed of separate operations, for a backend that does not fuse them. */
void backend_add_layernorm_forward(struct backend *self, void *sum, void *out, void *mean,
                                   void *rstd, const void *a, const void *b, const void *gain,
                                   const void *bias, int N, int C);
void backend_matmul_activation_forward(struct backend *self, void *active, void *hidden,
                                       const void *x, const void *weight, const void *bias, int N,
                                       int I, int O, enum spec_activation kind);
void backend_matmul_activation_backward(struct backend *self, void *dhidden, const void *dout,
                                        const void *weight, const void *hidden, int N, int I, int O,
                                        enum spec_activation kind);

/* ERR_INTERNAL naming the first operation that is missing in the table. */
int backend_check(const struct backend *backend, struct err *err);

/* Slot of program number `index`. */
static inline char *backend_slot(const struct backend_ring *ring, int64_t index)
{
    return ring->memory + index % ring->slots * ring->slot_bytes;
}

/* The ring of a synchronous backend, which runs every operation when it is called: plain memory and
 * copies. Entries for the tables of such backends. */
struct backend_ring *backend_ring_open(struct backend *self, int64_t slot_bytes, struct err *err);
void backend_ring_close(struct backend *self, struct backend_ring *ring);
int backend_program_begin(struct backend *self, struct backend_ring *ring, int program);
int backend_program_end(struct backend *self, struct backend_ring *ring, int program);
void backend_feed(struct backend *self, struct backend_ring *ring, void *device, int64_t offset,
                  int64_t bytes);
void backend_publish(struct backend *self, struct backend_ring *ring, int64_t offset,
                     const void *device, int64_t bytes);
int backend_ring_wait(struct backend *self, struct backend_ring *ring, int64_t index,
                      struct err *err);

/* Address of element `offset` of a device array. */
void *backend_at(const struct backend *backend, const void *base, enum backend_number number,
                 int64_t offset);

#endif
