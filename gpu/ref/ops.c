/* ops: see ops.h. One table of cases: a case declares named arrays,
 * runs the operation on any backend, and says which gradient belongs to which
 * input. Sizes are awkward on purpose. */
#include "gpu/ref/ops.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/ref/ref_backend.h"
#include "lab/random.h"

enum { ARRAYS_MAX = 20, DIMS_MAX = 7, PAIRS_MAX = 5 };

enum role { IN, OUT, BOTH, IDS, POISON };

struct array {
    enum role role;
    enum backend_number number;
    int64_t n;
    double scale;  /* of the random numbers of IN and BOTH */
    int range;     /* IDS are below it */
    double *value; /* inputs; what came back for outputs */
    double *start; /* BOTH: before the operation */
    int32_t *ids;
    void *device;
};

struct rig {
    struct backend *backend;
    const int *d; /* the case's dimensions */
    uint64_t seed;
    int bf16; /* ACT is bfloat16 */
    int n;
    struct array array[ARRAYS_MAX];
};

/* ---- declaring arrays: index i of the rig ---- */

static void declare(struct rig *rig, int i, struct array array)
{
    if (i >= rig->n)
        rig->n = i + 1;
    rig->array[i] = array;
}

/* Normal numbers. */
static void input(struct rig *rig, int i, enum backend_number number, int64_t n, double scale)
{
    declare(rig, i, (struct array){.role = IN, .number = number, .n = n, .scale = scale});
}

static void output(struct rig *rig, int i, enum backend_number number, int64_t n)
{
    declare(rig, i, (struct array){.role = OUT, .number = number, .n = n});
}

/* Scratch: poisoned, not compared. */
static void poison(struct rig *rig, int i, enum backend_number number, int64_t n)
{
    declare(rig, i, (struct array){.role = POISON, .number = number, .n = n});
}

static void both(struct rig *rig, int i, enum backend_number number, int64_t n, double scale)
{
    declare(rig, i, (struct array){.role = BOTH, .number = number, .n = n, .scale = scale});
}

static void ids(struct rig *rig, int i, int64_t n, int range)
{
    declare(rig, i, (struct array){.role = IDS, .number = NUMBER_INT32, .n = n, .range = range});
}

static void *at(const struct rig *rig, int i)
{
    return rig->array[i].device;
}

/* ---- the cases ---- */

enum { CAST_IN, CAST_OUT };

static void cast_declare(struct rig *r)
{
    input(r, CAST_IN, NUMBER_REAL, r->d[0], 1);
    output(r, CAST_OUT, NUMBER_ACT, r->d[0]);
}

static void cast_run(struct rig *r)
{
    r->backend->cast(r->backend, at(r, CAST_OUT), at(r, CAST_IN), r->d[0]);
}

enum { ADD_A, ADD_B, ADD_OUT };

static void add_declare(struct rig *r)
{
    both(r, ADD_A, NUMBER_ACT, r->d[0], 1);
    input(r, ADD_B, NUMBER_ACT, r->d[0], 1);
    output(r, ADD_OUT, NUMBER_ACT, r->d[0]);
}

static void add_run(struct rig *r)
{
    r->backend->add(r->backend, at(r, ADD_OUT), at(r, ADD_A), at(r, ADD_B), r->d[0]);
    r->backend->add(r->backend, at(r, ADD_A), at(r, ADD_A), at(r, ADD_OUT), r->d[0]);
}

/* d: B, T, C, rows of wte */
enum { EMB_IDS, EMB_WTE, EMB_WPE, EMB_OUT, EMB_DOUT, EMB_DWTE, EMB_DWPE };

static void embedding_declare(struct rig *r)
{
    const int B = r->d[0], T = r->d[1], C = r->d[2], V = r->d[3];
    ids(r, EMB_IDS, (int64_t)B * T, V);
    input(r, EMB_WTE, NUMBER_REAL, (int64_t)V * C, 1);
    input(r, EMB_WPE, NUMBER_REAL, (int64_t)T * C, 1);
    output(r, EMB_OUT, NUMBER_ACT, (int64_t)B * T * C);
    input(r, EMB_DOUT, NUMBER_ACT, (int64_t)B * T * C, 1);
    both(r, EMB_DWTE, NUMBER_REAL, (int64_t)V * C, 1);
    output(r, EMB_DWPE, NUMBER_REAL, (int64_t)T * C);
}

static void embedding_run(struct rig *r)
{
    struct backend *be = r->backend;
    const int B = r->d[0], T = r->d[1], C = r->d[2];
    be->embedding_forward(be, at(r, EMB_OUT), at(r, EMB_WTE), at(r, EMB_WPE), at(r, EMB_IDS), B, T,
                          C);
    be->embedding_backward(be, at(r, EMB_DWTE), at(r, EMB_DWPE), at(r, EMB_DOUT), at(r, EMB_IDS), B,
                           T, C);
}

/* d: N, C, with residual */
enum {
    LN_X,
    LN_GAIN,
    LN_BIAS,
    LN_OUT,
    LN_MEAN,
    LN_RSTD,
    LN_DOUT,
    LN_DX,
    LN_DGAIN,
    LN_DBIAS,
    LN_RES
};

static void layernorm_declare(struct rig *r)
{
    const int N = r->d[0], C = r->d[1];
    input(r, LN_X, NUMBER_ACT, (int64_t)N * C, 2);
    input(r, LN_GAIN, NUMBER_REAL, C, 1);
    input(r, LN_BIAS, NUMBER_REAL, C, 1);
    output(r, LN_OUT, NUMBER_ACT, (int64_t)N * C);
    output(r, LN_MEAN, NUMBER_REAL, N);
    output(r, LN_RSTD, NUMBER_REAL, N);
    input(r, LN_DOUT, NUMBER_ACT, (int64_t)N * C, 1);
    output(r, LN_DX, NUMBER_ACT, (int64_t)N * C);
    output(r, LN_DGAIN, NUMBER_REAL, C);
    output(r, LN_DBIAS, NUMBER_REAL, C);
    input(r, LN_RES, NUMBER_ACT, (int64_t)N * C, r->d[2] ? 1 : 0);
}

static void layernorm_run(struct rig *r)
{
    struct backend *be = r->backend;
    const int N = r->d[0], C = r->d[1];
    be->layernorm_forward(be, at(r, LN_OUT), at(r, LN_MEAN), at(r, LN_RSTD), at(r, LN_X),
                          at(r, LN_GAIN), at(r, LN_BIAS), N, C);
    be->layernorm_backward(be, at(r, LN_DX), at(r, LN_DGAIN), at(r, LN_DBIAS), at(r, LN_DOUT),
                           r->d[2] ? at(r, LN_RES) : NULL, at(r, LN_X), at(r, LN_MEAN),
                           at(r, LN_RSTD), at(r, LN_GAIN), N, C);
}

/* d: N, I, O */
enum { MM_X, MM_W, MM_BIAS, MM_OUT, MM_DOUT, MM_DX, MM_DW, MM_DBIAS };

static void matmul_declare(struct rig *r)
{
    const int64_t N = r->d[0], I = r->d[1], O = r->d[2];
    input(r, MM_X, NUMBER_ACT, N * I, 1);
    input(r, MM_W, NUMBER_ACT, I * O, 1);
    input(r, MM_BIAS, NUMBER_ACT, O, 1);
    output(r, MM_OUT, NUMBER_ACT, N * O);
    input(r, MM_DOUT, NUMBER_ACT, N * O, 1);
    output(r, MM_DX, NUMBER_ACT, N * I);
    output(r, MM_DW, NUMBER_REAL, I * O);
    output(r, MM_DBIAS, NUMBER_REAL, O);
}

static void matmul_run(struct rig *r)
{
    struct backend *be = r->backend;
    const int N = r->d[0], I = r->d[1], O = r->d[2];
    be->matmul_forward(be, at(r, MM_OUT), at(r, MM_X), at(r, MM_W), at(r, MM_BIAS), N, I, O);
    be->matmul_backward_input(be, at(r, MM_DX), at(r, MM_DOUT), at(r, MM_W), N, I, O);
    be->matmul_backward_weight(be, at(r, MM_DW), at(r, MM_DBIAS), at(r, MM_X), at(r, MM_DOUT), N, I,
                               O);
}

/* d: N, C */
enum { AL_A, AL_B, AL_GAIN, AL_BIAS, AL_SUM, AL_OUT, AL_MEAN, AL_RSTD };

static void add_layernorm_declare(struct rig *r)
{
    const int64_t N = r->d[0], C = r->d[1];
    input(r, AL_A, NUMBER_ACT, N * C, 2);
    input(r, AL_B, NUMBER_ACT, N * C, 1);
    input(r, AL_GAIN, NUMBER_REAL, C, 1);
    input(r, AL_BIAS, NUMBER_REAL, C, 1);
    output(r, AL_SUM, NUMBER_ACT, N * C);
    output(r, AL_OUT, NUMBER_ACT, N * C);
    output(r, AL_MEAN, NUMBER_REAL, N);
    output(r, AL_RSTD, NUMBER_REAL, N);
}

static void add_layernorm_run(struct rig *r)
{
    r->backend->add_layernorm_forward(r->backend, at(r, AL_SUM), at(r, AL_OUT), at(r, AL_MEAN),
                                      at(r, AL_RSTD), at(r, AL_A), at(r, AL_B), at(r, AL_GAIN),
                                      at(r, AL_BIAS), r->d[0], r->d[1]);
}

/* d: N, I, O, kind: hidden [N, I] -> active, and back through a product with [I, O] */
enum { MA_X, MA_FC, MA_BIAS, MA_HIDDEN, MA_ACTIVE, MA_PROJ, MA_DOUT, MA_BEFORE, MA_DHIDDEN };

static void matmul_activation_declare(struct rig *r)
{
    const int64_t N = r->d[0], I = r->d[1], O = r->d[2];
    input(r, MA_X, NUMBER_ACT, N * O, 1);
    input(r, MA_FC, NUMBER_ACT, O * I, 0.3);
    input(r, MA_BIAS, NUMBER_ACT, I, 1);
    output(r, MA_HIDDEN, NUMBER_ACT, N * I);
    output(r, MA_ACTIVE, NUMBER_ACT, N * I);
    input(r, MA_PROJ, NUMBER_ACT, I * O, 1);
    input(r, MA_DOUT, NUMBER_ACT, N * O, 1);
    input(r, MA_BEFORE, NUMBER_ACT, N * I, 3);
    output(r, MA_DHIDDEN, NUMBER_ACT, N * I);
}

static void matmul_activation_run(struct rig *r)
{
    struct backend *be = r->backend;
    const int N = r->d[0], I = r->d[1], O = r->d[2];
    const enum spec_activation kind = (enum spec_activation)r->d[3];
    be->matmul_activation_forward(be, at(r, MA_ACTIVE), at(r, MA_HIDDEN), at(r, MA_X), at(r, MA_FC),
                                  at(r, MA_BIAS), N, O, I, kind);
    be->matmul_activation_backward(be, at(r, MA_DHIDDEN), at(r, MA_DOUT), at(r, MA_PROJ),
                                   at(r, MA_BEFORE), N, I, O, kind);
}

/* d: B, T, C, NH */
enum { ATT_QKV, ATT_OUT, ATT_LSE, ATT_DOUT, ATT_DQKV };

static void attention_declare(struct rig *r)
{
    const int64_t N = (int64_t)r->d[0] * r->d[1], C = r->d[2];
    input(r, ATT_QKV, NUMBER_ACT, N * 3 * C, 1);
    output(r, ATT_OUT, NUMBER_ACT, N * C);
    output(r, ATT_LSE, NUMBER_REAL, N * r->d[3]);
    input(r, ATT_DOUT, NUMBER_ACT, N * C, 1);
    output(r, ATT_DQKV, NUMBER_ACT, N * 3 * C);
}

static void attention_run(struct rig *r)
{
    struct backend *be = r->backend;
    be->attention_forward(be, at(r, ATT_OUT), at(r, ATT_LSE), at(r, ATT_QKV), r->d[0], r->d[1],
                          r->d[2], r->d[3]);
    be->attention_backward(be, at(r, ATT_DQKV), at(r, ATT_DOUT), at(r, ATT_QKV), at(r, ATT_OUT),
                           at(r, ATT_LSE), r->d[0], r->d[1], r->d[2], r->d[3]);
}

/* d: n, kind */
enum { ACTF_X, ACTF_OUT, ACTF_DOUT, ACTF_DX };

static void activation_declare(struct rig *r)
{
    input(r, ACTF_X, NUMBER_ACT, r->d[0], 3);
    output(r, ACTF_OUT, NUMBER_ACT, r->d[0]);
    input(r, ACTF_DOUT, NUMBER_ACT, r->d[0], 1);
    output(r, ACTF_DX, NUMBER_ACT, r->d[0]);
}

static void activation_run(struct rig *r)
{
    const enum spec_activation kind = (enum spec_activation)r->d[1];
    r->backend->activation_forward(r->backend, at(r, ACTF_OUT), at(r, ACTF_X), r->d[0], kind);
    r->backend->activation_backward(r->backend, at(r, ACTF_DX), at(r, ACTF_DOUT), at(r, ACTF_X),
                                    r->d[0], kind);
}

/* What an objective is made of besides the loss; a case has any of them. LARGE:
 * logits so far apart that the exponential of their difference is no float. */
enum { WEIGHTS = 1, SMOOTHING = 2, Z_LOSS = 4, ADJUST = 8, EVERYTHING = 15, LARGE = 16 };

static const double smoothing_tried = 0.3, z_loss_tried = 0.05;

/* A mean of 1, some of them 0. */
static void make_position_weights(struct array *a)
{
    for (int64_t k = 0; k < a->n; k++)
        a->value[k] = k % 5 == 3 ? 0 : (float)fabs(a->value[k]);
}

/* d: N, C, V, M, chunk, with bias (and then a logit scale that is not 1), parts of
 * the objective */
enum {
    LM_HEAD_H,
    LM_HEAD_U,
    LM_HEAD_BIAS,
    LM_HEAD_TARGETS,
    LM_HEAD_TRACKED,
    LM_HEAD_WEIGHTS,
    LM_HEAD_ADJUST,
    LM_HEAD_LOSSES,
    LM_HEAD_LSE,
    LM_HEAD_OBJECTIVE,
    LM_HEAD_OBJECTIVE_LSE,
    LM_HEAD_TRACKED_LOGITS,
    LM_HEAD_DH,
    LM_HEAD_DU,
    LM_HEAD_DBIAS,
    LM_HEAD_WORK
};

static int padded(int V)
{
    return (V + 63) / 64 * 64;
}

static void lm_head_declare(struct rig *r)
{
    const int64_t N = r->d[0], C = r->d[1], Vp = padded(r->d[2]);
    input(r, LM_HEAD_H, NUMBER_ACT, N * C, r->d[6] & LARGE ? 12 : 1);
    input(r, LM_HEAD_U, NUMBER_ACT, Vp * C, 0.3);
    input(r, LM_HEAD_BIAS, NUMBER_REAL, Vp, 0.5);
    input(r, LM_HEAD_ADJUST, NUMBER_REAL, Vp, 2);
    ids(r, LM_HEAD_TARGETS, N, r->d[2]);
    ids(r, LM_HEAD_TRACKED, r->d[3], r->d[2]);
    input(r, LM_HEAD_WEIGHTS, NUMBER_REAL, N, 1);
    output(r, LM_HEAD_LOSSES, NUMBER_REAL, N);
    output(r, LM_HEAD_LSE, NUMBER_REAL, N);
    output(r, LM_HEAD_OBJECTIVE, NUMBER_REAL, N);
    output(r, LM_HEAD_OBJECTIVE_LSE, NUMBER_REAL, N);
    output(r, LM_HEAD_TRACKED_LOGITS, NUMBER_REAL, r->d[3] * N);
    output(r, LM_HEAD_DH, NUMBER_ACT, N * C);
    output(r, LM_HEAD_DU, NUMBER_REAL, Vp * C);
    if (r->d[5])
        output(r, LM_HEAD_DBIAS, NUMBER_REAL, Vp);
    else
        poison(r, LM_HEAD_DBIAS, NUMBER_REAL, Vp);
    poison(r, LM_HEAD_WORK, NUMBER_REAL, r->d[4] * Vp);
}

/* Padding holds what must reach no result. */
static void lm_head_arrange(struct rig *r)
{
    const int64_t C = r->d[1], V = r->d[2], Vp = padded(r->d[2]);
    struct array *a = r->array;
    for (int64_t i = V * C; i < Vp * C; i++)
        a[LM_HEAD_U].value[i] = i % 2 ? 3e4 : -7e3;
    for (int64_t i = V; i < Vp; i++)
        a[LM_HEAD_ADJUST].value[i] = a[LM_HEAD_BIAS].value[i] = NAN;
    a[LM_HEAD_TRACKED].ids[0] = a[LM_HEAD_TARGETS].ids[0];
    make_position_weights(&a[LM_HEAD_WEIGHTS]);
}

static struct backend_lm_head lm_head_of(struct rig *r)
{
    const int bias = r->d[5], objective = r->d[6];
    return (struct backend_lm_head){
        .N = r->d[0],
        .C = r->d[1],
        .V = r->d[2],
        .Vp = padded(r->d[2]),
        .scale = bias ? 0.37 : 1,
        .h = at(r, LM_HEAD_H),
        .weight = at(r, LM_HEAD_U),
        .bias = bias ? at(r, LM_HEAD_BIAS) : NULL,
        .targets = at(r, LM_HEAD_TARGETS),
        .weights = objective & WEIGHTS ? at(r, LM_HEAD_WEIGHTS) : NULL,
        .smoothing = objective & SMOOTHING ? smoothing_tried : 0,
        .z_loss = objective & Z_LOSS ? z_loss_tried : 0,
        .adjust = objective & ADJUST ? at(r, LM_HEAD_ADJUST) : NULL,
        .losses = at(r, LM_HEAD_LOSSES),
        .lse = at(r, LM_HEAD_LSE),
        .objective = at(r, LM_HEAD_OBJECTIVE),
        .objective_lse = at(r, LM_HEAD_OBJECTIVE_LSE),
        .M = r->d[3],
        .tracked = at(r, LM_HEAD_TRACKED),
        .tracked_logits = at(r, LM_HEAD_TRACKED_LOGITS),
        .dh = at(r, LM_HEAD_DH),
        .dweight = at(r, LM_HEAD_DU),
        .dbias = bias ? at(r, LM_HEAD_DBIAS) : NULL,
        .chunk = r->d[4],
        .workspace = at(r, LM_HEAD_WORK),
    };
}

static void lm_head_run(struct rig *r)
{
    const struct backend_lm_head lm_head = lm_head_of(r);
    r->backend->lm_head(r->backend, &lm_head);
}

static void lm_head_run_forward(struct rig *r)
{
    struct backend_lm_head lm_head = lm_head_of(r);
    lm_head.dh = lm_head.dweight = lm_head.dbias = NULL;
    r->backend->lm_head(r->backend, &lm_head);
}

/* d: N, C, V, M, parts of the objective */
enum {
    TRACK_TRACKED,
    TRACK_INPUTS,
    TRACK_TARGETS,
    TRACK_LOGITS,
    TRACK_LSE,
    TRACK_OBJECTIVE_LSE,
    TRACK_WEIGHTS,
    TRACK_ADJUST,
    TRACK_H,
    TRACK_DX,
    TRACK_MEAN_P,
    TRACK_PARTS,
    TRACK_NORMS,
    TRACK_WORK
};

static void tracked_declare(struct rig *r)
{
    const int64_t N = r->d[0], C = r->d[1], V = r->d[2], M = r->d[3];
    ids(r, TRACK_TRACKED, M, r->d[2]);
    ids(r, TRACK_INPUTS, N, r->d[2]);
    ids(r, TRACK_TARGETS, N, r->d[2]);
    input(r, TRACK_LOGITS, NUMBER_REAL, M * N, 1);
    input(r, TRACK_LSE, NUMBER_REAL, N, 1);
    input(r, TRACK_OBJECTIVE_LSE, NUMBER_REAL, N, 1);
    input(r, TRACK_WEIGHTS, NUMBER_REAL, N, 1);
    input(r, TRACK_ADJUST, NUMBER_REAL, V, 1);
    input(r, TRACK_H, NUMBER_ACT, N * C, 1);
    input(r, TRACK_DX, NUMBER_ACT, N * C, 1);
    output(r, TRACK_MEAN_P, NUMBER_REAL, M);
    output(r, TRACK_PARTS, NUMBER_REAL, BACKEND_PARTS * M * C);
    output(r, TRACK_NORMS, NUMBER_REAL, BACKEND_PARTS * M);
    poison(r, TRACK_WORK, NUMBER_REAL, M * N);
}

static void tracked_arrange(struct rig *r)
{
    struct array *a = r->array;
    const int64_t N = r->d[0];
    a[TRACK_INPUTS].ids[N - 1] = a[TRACK_TARGETS].ids[0] = a[TRACK_TRACKED].ids[0];
    for (int64_t n = 0; n < N; n++) {
        a[TRACK_LSE].value[n] = (float)(fabs(a[TRACK_LSE].value[n]) + 4);
        a[TRACK_OBJECTIVE_LSE].value[n] = (float)(fabs(a[TRACK_OBJECTIVE_LSE].value[n]) + 6);
    }
    make_position_weights(&a[TRACK_WEIGHTS]);
}

static struct backend_tracked tracked_of(struct rig *r)
{
    const int objective = r->d[4];
    return (struct backend_tracked){
        .N = r->d[0],
        .C = r->d[1],
        .V = r->d[2],
        .M = r->d[3],
        .scale = 0.37,
        .smoothing = objective & SMOOTHING ? smoothing_tried : 0,
        .z_loss = objective & Z_LOSS ? z_loss_tried : 0,
        .tracked = at(r, TRACK_TRACKED),
        .inputs = at(r, TRACK_INPUTS),
        .targets = at(r, TRACK_TARGETS),
        .logits = at(r, TRACK_LOGITS),
        .lse = at(r, TRACK_LSE),
        .objective_lse = objective & ADJUST ? at(r, TRACK_OBJECTIVE_LSE) : NULL,
        .weights = objective & WEIGHTS ? at(r, TRACK_WEIGHTS) : NULL,
        .adjust = objective & ADJUST ? at(r, TRACK_ADJUST) : NULL,
        .h = at(r, TRACK_H),
        .dx = at(r, TRACK_DX),
        .mean_p = at(r, TRACK_MEAN_P),
        .parts = at(r, TRACK_PARTS),
        .norms = at(r, TRACK_NORMS),
        .workspace = at(r, TRACK_WORK),
    };
}

static void tracked_run(struct rig *r)
{
    const struct backend_tracked tracked = tracked_of(r);
    r->backend->tracked(r->backend, &tracked);
}

static void tracked_run_forward(struct rig *r)
{
    struct backend_tracked tracked = tracked_of(r);
    tracked.dx = tracked.parts = tracked.norms = NULL;
    r->backend->tracked(r->backend, &tracked);
}

/* d: B, T, C, K */
enum { SUMS_H, SUMS_WEIGHTS, SUMS_WINDOWS, SUMS_GROUPS };

static void sums_declare(struct rig *r)
{
    const int64_t N = (int64_t)r->d[0] * r->d[1], C = r->d[2], K = r->d[3];
    input(r, SUMS_H, NUMBER_ACT, N * C, 1);
    input(r, SUMS_WEIGHTS, NUMBER_REAL, K * N, 1);
    output(r, SUMS_WINDOWS, NUMBER_REAL, r->d[0] * C);
    output(r, SUMS_GROUPS, NUMBER_REAL, K * C);
}

static void sums_run(struct rig *r)
{
    const int B = r->d[0], T = r->d[1], C = r->d[2], K = r->d[3];
    r->backend->window_sums(r->backend, at(r, SUMS_WINDOWS), at(r, SUMS_H), B, T, C);
    r->backend->weighted_sums(r->backend, at(r, SUMS_GROUPS), at(r, SUMS_WEIGHTS), at(r, SUMS_H), K,
                              B * T, C);
}

/* d: rows, C, M */
enum { GATHER_IN, GATHER_IDS, GATHER_OUT };

static void gather_declare(struct rig *r)
{
    input(r, GATHER_IN, NUMBER_REAL, (int64_t)r->d[0] * r->d[1], 1);
    ids(r, GATHER_IDS, r->d[2], r->d[0]);
    output(r, GATHER_OUT, NUMBER_REAL, (int64_t)r->d[2] * r->d[1]);
}

static void gather_run(struct rig *r)
{
    r->backend->gather_rows(r->backend, at(r, GATHER_OUT), at(r, GATHER_IN), at(r, GATHER_IDS),
                            r->d[2], r->d[1]);
}

/* d: V, C, with bias, weights as ACT */
enum { SCORES_WEIGHT, SCORES_BIAS, SCORES_X, SCORES_OUT };

static void scores_declare(struct rig *r)
{
    input(r, SCORES_WEIGHT, r->d[3] ? NUMBER_ACT : NUMBER_REAL, (int64_t)r->d[0] * r->d[1], 1);
    input(r, SCORES_BIAS, NUMBER_REAL, r->d[0], 1);
    input(r, SCORES_X, NUMBER_REAL, r->d[1], 1);
    output(r, SCORES_OUT, NUMBER_REAL, r->d[0]);
}

static void scores_run(struct rig *r)
{
    r->backend->scores(r->backend, at(r, SCORES_OUT), at(r, SCORES_WEIGHT),
                       r->d[3] ? NUMBER_ACT : NUMBER_REAL, r->d[2] ? at(r, SCORES_BIAS) : NULL,
                       at(r, SCORES_X), 0.37, r->d[0], r->d[1]);
}

enum { SQUARES_IN, SQUARES_OUT };

static void squares_declare(struct rig *r)
{
    input(r, SQUARES_IN, NUMBER_REAL, r->d[0], 1);
    both(r, SQUARES_OUT, NUMBER_REAL, 1, 1);
}

static void squares_run(struct rig *r)
{
    r->backend->sum_squares(r->backend, at(r, SQUARES_OUT), at(r, SQUARES_IN), r->d[0]);
}

/* d: n, optimizer, clip per mille of the norm (0: off), step */
enum { UP_W, UP_G, UP_M1, UP_M2, UP_SCALARS, UP_SQUARES, UP_SUMMED, UP_COPY };

static void update_declare(struct rig *r)
{
    const int n = r->d[0];
    both(r, UP_W, NUMBER_REAL, n, 1);
    input(r, UP_G, NUMBER_REAL, n, 1);
    both(r, UP_M1, NUMBER_REAL, n, 0.1);
    both(r, UP_M2, NUMBER_REAL, n, 0.1);
    input(r, UP_SCALARS, NUMBER_REAL, 3, 0);
    both(r, UP_SQUARES, NUMBER_REAL, 1, 0);
    both(r, UP_SUMMED, NUMBER_REAL, 1, 1);
    output(r, UP_COPY, NUMBER_ACT, n);
}

static void update_arrange(struct rig *r)
{
    struct array *a = r->array;
    const int step = r->d[3];
    a[UP_SCALARS].value[0] = 0.125f;
    a[UP_SCALARS].value[1] = (float)(1 - pow(0.9, step));
    a[UP_SCALARS].value[2] = (float)(1 - pow(0.99, step));
    for (int i = 0; i < r->d[0]; i++)
        a[UP_M2].start[i] = a[UP_M2].value[i] = fabs(a[UP_M2].value[i]);
}

static void update_run(struct rig *r)
{
    struct backend *be = r->backend;
    const enum spec_optimizer kind = (enum spec_optimizer)r->d[1];
    const int adam = kind == OPTIMIZER_ADAM || kind == OPTIMIZER_ADAMW;
    const struct backend_update update = {
        .kind = kind,
        .beta1 = 0.9,
        .beta2 = 0.99,
        .eps = 1e-8,
        .momentum = 0.75,
        .decay = 0.01,
        .clip = r->d[2] * 1e-3 * sqrt(r->d[0]),
        .squares = at(r, UP_SQUARES),
        .summed = at(r, UP_SUMMED),
        .scalars = at(r, UP_SCALARS),
    };
    be->sum_squares(be, at(r, UP_SQUARES), at(r, UP_G), r->d[0]);
    be->update(be, &update, at(r, UP_W), at(r, UP_COPY), at(r, UP_G),
               kind == OPTIMIZER_SGD ? NULL : at(r, UP_M1), adam ? at(r, UP_M2) : NULL, r->d[0]);
}

/* What the bound of an operation's errors is made of (bound_of). */
struct rounding {
    int act, real;      /* roundings to ACT on the way to an output of ACT, of REAL */
    unsigned unrounded; /* outputs of REAL, as bits, that no rounding to ACT has touched */
    double condition;   /* by how much cancellation magnifies an error of REAL; 0: 1 */
    int64_t (*length)(const int *d); /* of the longest sum; NULL: 1 */
};

static int64_t longest(int64_t a, int64_t b, int64_t c)
{
    const int64_t larger = a > b ? a : b;
    return larger > c ? larger : c;
}

static int64_t length_first(const int *d)
{
    return d[0];
}

static int64_t length_second(const int *d)
{
    return d[1];
}

/* of B, T: positions */
static int64_t length_positions(const int *d)
{
    return (int64_t)d[0] * d[1];
}

/* of N, C: gains are summed over N, rows over C */
static int64_t length_either(const int *d)
{
    return longest(d[0], d[1], 1);
}

/* of N, I, O: each is summed over in one of the three products */
static int64_t length_product(const int *d)
{
    return longest(d[0], d[1], d[2]);
}

/* of B, T, C, NH: scores over a head, means over T */
static int64_t length_attention(const int *d)
{
    return longest(d[1], d[2] / d[3], 1);
}

/* of N, C, V */
static int64_t length_head(const int *d)
{
    return longest(d[0], d[1], d[2]);
}

struct operation {
    const char *name;
    void (*declare)(struct rig *);
    void (*arrange)(struct rig *); /* changes the inputs that were drawn; or NULL */
    void (*run)(struct rig *);
    /* Gradient check: the loss is the sum of the dot products of `terms` (the
     * mean of terms[0][0] if terms[0][1] is -1), and gradients[i] pairs an input
     * with its gradient. Both lists end before {0, 0}. */
    int terms[PAIRS_MAX][2], gradients[PAIRS_MAX][2];
    struct rounding rounding;
};

#define PLAIN(of, ...)                                                                             \
    {                                                                                              \
        .name = #of, .declare = of##_declare, .run = of##_run, .rounding = __VA_ARGS__             \
    }
static const struct operation cast_op = PLAIN(cast, {.act = 1});
static const struct operation add_op = PLAIN(add, {.act = 2});
static const struct operation sums_op = PLAIN(sums, {.length = length_positions});
static const struct operation gather_op = PLAIN(gather, {0});
static const struct operation scores_op = PLAIN(scores, {.length = length_second});
static const struct operation squares_op = PLAIN(squares, {.length = length_first});
static const struct operation add_layernorm_op =
    PLAIN(add_layernorm, {.act = 2, .real = 1, .length = length_either});
static const struct operation matmul_activation_op =
    PLAIN(matmul_activation, {.act = 2, .condition = 2, .length = length_product});
#undef PLAIN
static const struct operation update_op = {
    .name = "update",
    .declare = update_declare,
    .arrange = update_arrange,
    .run = update_run,
    .rounding = {.act = 1, .condition = 4, .length = length_first}};
static const struct operation embedding_op = {
    .name = "embedding",
    .declare = embedding_declare,
    .run = embedding_run,
    .terms = {{EMB_DOUT, EMB_OUT}},
    .gradients = {{EMB_WTE, EMB_DWTE}, {EMB_WPE, EMB_DWPE}},
    .rounding = {.act = 1, .length = length_positions}};
static const struct operation layernorm_op = {
    .name = "layernorm",
    .declare = layernorm_declare,
    .run = layernorm_run,
    .terms = {{LN_DOUT, LN_OUT}, {LN_RES, LN_X}},
    .gradients = {{LN_X, LN_DX}, {LN_GAIN, LN_DGAIN}, {LN_BIAS, LN_DBIAS}},
    .rounding = {.act = 1, .condition = 4, .length = length_either}};
static const struct operation matmul_op = {
    .name = "matmul",
    .declare = matmul_declare,
    .run = matmul_run,
    .terms = {{MM_DOUT, MM_OUT}},
    .gradients = {{MM_X, MM_DX}, {MM_W, MM_DW}, {MM_BIAS, MM_DBIAS}},
    .rounding = {.act = 1, .length = length_product}};
static const struct operation attention_op = {.name = "attention",
                                              .declare = attention_declare,
                                              .run = attention_run,
                                              .terms = {{ATT_DOUT, ATT_OUT}},
                                              .gradients = {{ATT_QKV, ATT_DQKV}},
                                              .rounding = {.act = 3, .length = length_attention}};
static const struct operation activation_op = {.name = "activation",
                                               .declare = activation_declare,
                                               .run = activation_run,
                                               .terms = {{ACTF_DOUT, ACTF_OUT}},
                                               .gradients = {{ACTF_X, ACTF_DX}},
                                               .rounding = {.act = 1}};
static const struct operation lm_head_op = {
    .name = "lm_head",
    .declare = lm_head_declare,
    .arrange = lm_head_arrange,
    .run = lm_head_run,
    .terms = {{LM_HEAD_OBJECTIVE, -1}},
    .gradients = {{LM_HEAD_H, LM_HEAD_DH}, {LM_HEAD_U, LM_HEAD_DU}, {LM_HEAD_BIAS, LM_HEAD_DBIAS}},
    .rounding = {.act = 2,
                 .real = 2,
                 .unrounded = 1u << LM_HEAD_LOSSES | 1u << LM_HEAD_LSE | 1u << LM_HEAD_OBJECTIVE |
                              1u << LM_HEAD_OBJECTIVE_LSE | 1u << LM_HEAD_TRACKED_LOGITS,
                 .length = length_head}};
static const struct operation tracked_op = {
    .name = "tracked",
    .declare = tracked_declare,
    .arrange = tracked_arrange,
    .run = tracked_run,
    .rounding = {.act = 1, .real = 1, .unrounded = 1u << TRACK_MEAN_P, .length = length_head}};

static const struct {
    const struct operation *op;
    int d[DIMS_MAX];
} equality_cases[] = {
    /* small ones run on one thread, large ones on all */
    {&cast_op, {1}},
    {&cast_op, {1003}},
    {&cast_op, {530001}},
    {&add_op, {1}},
    {&add_op, {4099}},
    {&add_op, {530001}},
    {&embedding_op, {1, 1, 1, 1}},
    {&embedding_op, {3, 65, 96, 7}}, /* every token many times */
    {&embedding_op, {2, 63, 40, 257}},
    {&embedding_op, {8, 700, 96, 7}},
    {&embedding_op, {4, 129, 8, 257}},    /* most tokens seldom, far apart */
    {&embedding_op, {3, 1000, 2, 70000}}, /* ids of more than 16 bits */
    {&layernorm_op, {1, 1, 0}},
    {&layernorm_op, {1, 96, 0}},
    {&layernorm_op, {130, 96, 1}},
    {&layernorm_op, {1400, 96, 1}},
    {&layernorm_op, {65, 128, 0}},
    {&layernorm_op, {67, 257, 1}},
    {&add_layernorm_op, {1, 1}},
    {&add_layernorm_op, {67, 257}},
    {&add_layernorm_op, {130, 96}},
    {&add_layernorm_op, {35, 1000}},
    {&matmul_activation_op, {1, 1, 1, ACTIVATION_GELU_NEW}},
    {&matmul_activation_op, {65, 96, 24, ACTIVATION_GELU_NEW}},
    {&matmul_activation_op, {65, 96, 24, ACTIVATION_GELU}},
    {&matmul_activation_op, {33, 100, 25, ACTIVATION_GELU_NEW}},
    {&matmul_activation_op, {33, 100, 25, ACTIVATION_RELU}},
    {&matmul_op, {1, 1, 1}},
    {&matmul_op, {1, 96, 288}},
    {&matmul_op, {65, 96, 384}},
    {&matmul_op, {1400, 96, 384}},
    {&matmul_op, {63, 384, 96}},
    {&matmul_op, {130, 33, 257}},
    {&attention_op, {1, 1, 4, 1}},
    {&attention_op, {2, 1, 96, 4}},
    {&attention_op, {1, 63, 96, 4}},
    {&attention_op, {2, 64, 128, 4}},
    {&attention_op, {3, 65, 96, 3}},
    {&attention_op, {1, 17, 15, 5}},
    {&attention_op, {1, 40, 128, 2}}, /* heads of 64 */
    {&attention_op, {2, 33, 128, 1}}, /* and 128 */
    {&attention_op, {2, 1, 64, 1}},   /* of 64 and 128, around the tiles of tensor cores */
    {&attention_op, {1, 63, 128, 1}},
    {&attention_op, {1, 64, 128, 1}},
    {&attention_op, {2, 65, 128, 2}},
    {&attention_op, {1, 200, 64, 1}},
    {&attention_op, {1, 200, 128, 1}},
    {&attention_op, {1, 1024, 64, 1}},
    {&attention_op, {1, 1024, 16, 2}},
    {&activation_op, {4099, ACTIVATION_GELU}},
    {&activation_op, {4099, ACTIVATION_GELU_NEW}},
    {&activation_op, {4099, ACTIVATION_RELU}},
    {&activation_op, {66001, ACTIVATION_GELU}},
    {&activation_op, {66001, ACTIVATION_RELU}},
    {&activation_op, {5, ACTIVATION_GELU}},
    {&lm_head_op, {1, 96, 257, 5, 1, 0, 0}},
    {&lm_head_op, {65, 96, 257, 40, 64, 1, 0}},
    {&lm_head_op, {64, 33, 256, 40, 32, 0, 0}}, /* no padding */
    {&lm_head_op, {63, 128, 65, 3, 128, 1, 0}},
    {&lm_head_op, {7, 33, 50257, 300, 3, 1, 0}},
    {&lm_head_op, {110, 8, 5025, 5000, 128, 1, 0}},
    {&lm_head_op, {65, 33, 257, 40, 64, 1, WEIGHTS}},
    {&lm_head_op, {65, 33, 257, 40, 64, 0, SMOOTHING}},
    {&lm_head_op, {65, 33, 257, 40, 64, 1, Z_LOSS}},
    {&lm_head_op, {65, 33, 257, 40, 64, 0, ADJUST}},
    {&lm_head_op, {70, 96, 1111, 40, 32, 1, EVERYTHING}},
    {&lm_head_op, {9, 16, 50257, 5, 4, 0, EVERYTHING}},
    {&lm_head_op, {17, 96, 50257, 300, 17, 1, 0}},
    {&lm_head_op, {63, 16, 9999, 5, 48, 1, EVERYTHING}},
    {&lm_head_op, {129, 130, 1003, 40, 128, 0, 0}},
    {&lm_head_op, {300, 8, 257, 5, 128, 1, EVERYTHING}},
    {&lm_head_op, {70, 96, 257, 40, 64, 1, LARGE}},
    {&lm_head_op, {70, 96, 257, 40, 64, 1, LARGE | EVERYTHING}},
    {&tracked_op, {1, 1, 3, 1, 0}},
    {&tracked_op, {65, 96, 257, 40, 0}},
    {&tracked_op, {512, 128, 50257, 300, 0}},
    {&tracked_op, {63, 33, 65, 200, WEIGHTS}}, /* tokens tracked several times */
    {&tracked_op, {63, 33, 65, 20, SMOOTHING}},
    {&tracked_op, {63, 33, 65, 20, Z_LOSS}},
    {&tracked_op, {63, 33, 65, 20, ADJUST}},
    {&tracked_op, {300, 130, 257, 40, EVERYTHING}},
    {&sums_op, {1, 1, 1, 1}},
    {&sums_op, {3, 65, 96, 5}},
    {&sums_op, {8, 64, 128, 3}},
    {&sums_op, {12, 480, 96, 5}},
    {&gather_op, {257, 96, 33}},
    {&gather_op, {9, 1, 4}},
    {&scores_op, {1, 1, 1}},
    {&scores_op, {257, 33, 0}},
    {&scores_op, {257, 33, 0, 1}},
    {&scores_op, {50257, 96, 1}},
    {&scores_op, {50257, 96, 1, 1}},
    {&squares_op, {1}},
    {&squares_op, {70001}},
    {&squares_op, {530001}},
    {&update_op, {1, OPTIMIZER_ADAMW, 0, 1}},
    {&update_op, {4099, OPTIMIZER_SGD, 0, 1}},
    {&update_op, {4099, OPTIMIZER_SGD, 500, 1}},
    {&update_op, {4099, OPTIMIZER_MOMENTUM, 0, 2}},
    {&update_op, {4099, OPTIMIZER_MOMENTUM, 2000, 2}}, /* a limit above the norm */
    {&update_op, {4099, OPTIMIZER_ADAM, 0, 1}},
    {&update_op, {4099, OPTIMIZER_ADAM, 500, 3}},
    {&update_op, {4099, OPTIMIZER_ADAMW, 0, 1}},
    {&update_op, {4099, OPTIMIZER_ADAMW, 500, 1000}},
    {&update_op, {132001, OPTIMIZER_ADAMW, 500, 2}},
    {&update_op, {132001, OPTIMIZER_SGD, 500, 2}},
};

static int is_bf16(const struct backend *backend)
{
    return backend->precision == PRECISION_BF16;
}

/* ---- the bound of an error ----
 *
 * A relative L2 error, by this model. Each rounding to ACT adds at most its unit roundoff: 2^-9 in
 * bfloat16, 2^-24 in float32. REAL is float32: errors of a sum of n numbers of random signs grow as
 * sqrt(n) times its unit roundoff (Higham and Mary 2019, probabilistic error analysis), those of the
 * elementary functions beside it, of exponentials above all, are within STEPS of them. SAFETY stands
 * for what the model leaves out; nothing of it depends on a measurement of a device. */
enum { SAFETY = 2, STEPS = 8 };

static double bound_of(const struct rig *rig, const struct operation *op, int i)
{
    const struct rounding *r = &op->rounding;
    const double unit = 0x1p-24, unit_act = rig->bf16 ? 0x1p-9 : unit;
    const int is_act = rig->array[i].number == NUMBER_ACT;
    const int roundings = r->unrounded >> i & 1u ? 0 : is_act ? r->act : r->real;
    const double length = r->length ? (double)r->length(rig->d) : 1;
    const double condition = r->condition > 0 ? r->condition : 1;
    return SAFETY * (roundings * unit_act + condition * (STEPS + sqrt(length)) * unit);
}

enum { EQUALITY_CASES = sizeof equality_cases / sizeof *equality_cases };

/* ---- rigs ---- */

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for the numbers of a check");
}

static int is_output(const struct array *a)
{
    return a->role == OUT || a->role == BOTH;
}

static void rig_free(struct rig *rig)
{
    for (int i = 0; i < rig->n; i++) {
        free(rig->array[i].value);
        free(rig->array[i].start);
        free(rig->array[i].ids);
    }
    rig->n = 0;
}

static int array_alloc(struct array *a, struct err *err)
{
    const size_t n = (size_t)a->n + 1;
    a->value = a->role == IDS ? NULL : calloc(n, sizeof *a->value);
    a->start = a->role == IDS ? NULL : calloc(n, sizeof *a->start);
    a->ids = a->role == IDS ? calloc(n, sizeof *a->ids) : NULL;
    return a->ids || (a->value && a->start) ? 0 : no_memory(err);
}

/* To 8 significant bits, as a float32 is cut to a bfloat16. */
static double round_to_bf16(double value)
{
    int exponent;
    const double fraction = frexp(value, &exponent);
    return ldexp(rint(ldexp(fraction, 8)), exponent - 8);
}

/* Numbers that the device holds exactly, so that both backends see the same. */
static void draw(struct array *a, int i, uint64_t seed, int bf16)
{
    for (int64_t k = 0; a->role == IDS && k < a->n; k++)
        a->ids[k] =
            (int32_t)random_below(seed, RANDOM_TIES, (uint64_t)(i * 4096 + k), (uint64_t)a->range);
    if (a->role != IN && a->role != BOTH)
        return;
    for (int64_t k = 0; k < a->n; k++) {
        a->value[k] = (float)(a->scale *
                              random_normal(seed, RANDOM_WEIGHTS, (uint64_t)i << 40 | (uint64_t)k));
        if (bf16 && a->number == NUMBER_ACT)
            a->value[k] = round_to_bf16(a->value[k]);
    }
    if (a->role == BOTH)
        memcpy(a->start, a->value, (size_t)a->n * sizeof *a->start);
}

/* The inputs of a case, for backends of one precision. On failure the rig is empty. */
static int rig_open(struct rig *rig, const struct operation *op, const int *d, uint64_t seed,
                    int bf16, struct err *err)
{
    *rig = (struct rig){.d = d, .seed = seed, .bf16 = bf16};
    op->declare(rig);
    for (int i = 0; i < rig->n; i++)
        if (array_alloc(&rig->array[i], err) != 0) {
            rig_free(rig);
            return -1;
        }
    for (int i = 0; i < rig->n; i++)
        draw(&rig->array[i], i, seed, bf16);
    if (op->arrange)
        op->arrange(rig);
    return 0;
}

/* A rig with the same inputs: drawing the numbers again costs more than most operations. On
 * failure it is empty. */
static int rig_copy(struct rig *to, const struct rig *from, struct err *err)
{
    *to = *from;
    for (int i = 0; i < to->n; i++)
        to->array[i].value = to->array[i].start = NULL, to->array[i].ids = NULL;
    for (int i = 0; i < to->n; i++) {
        struct array *a = &to->array[i];
        const struct array *b = &from->array[i];
        if (array_alloc(a, err) != 0) {
            rig_free(to);
            return -1;
        }
        if (a->role == IDS) {
            memcpy(a->ids, b->ids, (size_t)a->n * sizeof *a->ids);
            continue;
        }
        memcpy(a->value, b->value, (size_t)a->n * sizeof *a->value);
        if (a->role == BOTH)
            memcpy(a->start, b->start, (size_t)a->n * sizeof *a->start);
    }
    return 0;
}

/* ---- running ---- */

static int upload(struct rig *rig, struct array *a, struct err *err)
{
    struct backend *be = rig->backend;
    const size_t bytes[BACKEND_NUMBERS] = {[NUMBER_REAL] = be->real_bytes,
                                           [NUMBER_ACT] = be->act_bytes,
                                           [NUMBER_INT32] = sizeof(int32_t)};
    /* exact, so that a sanitizer sees what lies behind */
    a->device = be->alloc(be, a->n * (int64_t)bytes[a->number], err);
    if (!a->device)
        return -1;
    if (a->role == IDS) {
        be->upload(be, a->device, NUMBER_INT32, a->ids, NUMBER_INT32, a->n);
        return 0;
    }
    for (int64_t k = 0; k < a->n; k++)
        if (a->role == OUT || a->role == POISON)
            a->value[k] = NAN;
        else if (a->role == BOTH)
            a->value[k] = a->start[k];
    be->upload(be, a->device, a->number, a->value, NUMBER_DOUBLE, a->n);
    return 0;
}

static void unload(struct rig *rig)
{
    for (int i = 0; i < rig->n; i++) {
        rig->backend->free(rig->backend, rig->array[i].device);
        rig->array[i].device = NULL;
    }
}

static int load(struct rig *rig, struct backend *backend, struct err *err)
{
    rig->backend = backend;
    for (int i = 0; i < rig->n; i++)
        rig->array[i].device = NULL;
    for (int i = 0; i < rig->n; i++)
        if (upload(rig, &rig->array[i], err) != 0) {
            unload(rig);
            return -1;
        }
    return 0;
}

static int rig_download(struct rig *rig, struct err *err)
{
    struct backend *be = rig->backend;
    for (int i = 0; i < rig->n; i++) {
        struct array *a = &rig->array[i];
        if (is_output(a) &&
            be->download(be, a->value, NUMBER_DOUBLE, a->device, a->number, a->n, err) != 0)
            return -1;
    }
    return 0;
}

static int rig_run(struct rig *rig, const struct operation *op, struct backend *backend,
                   struct err *err)
{
    if (load(rig, backend, err) != 0)
        return -1;
    op->run(rig);
    const int result = rig_download(rig, err);
    unload(rig);
    return result;
}

static double relative_error(const double *value, const double *expected, int64_t n)
{
    double difference = 0, size = 0;
    for (int64_t k = 0; k < n; k++) {
        difference += (value[k] - expected[k]) * (value[k] - expected[k]);
        size += expected[k] * expected[k];
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

/* Keep the error that comes nearest to its bound, and refuse one that reaches it. */
static int judge(const struct rig *rig, const struct rig *expected, const struct operation *op,
                 int c, struct ops_worst *worst, struct err *err)
{
    for (int i = 0; i < rig->n; i++) {
        const struct array *a = &rig->array[i];
        if (!is_output(a))
            continue;
        const double error = relative_error(a->value, expected->array[i].value, a->n);
        const double bound = bound_of(rig, op, i);
        if (!(error * worst->bound < worst->error * bound))
            *worst = (struct ops_worst){op->name, c, i, error, bound};
        if (!(error < bound))
            return err_set(err, ERR_INTERNAL, "%s, case %d, array %d: relative error %.3g of %.3g",
                           op->name, c, i, error, bound);
    }
    return 0;
}

static int compare_bits(const struct rig *a, const struct rig *b, const struct operation *op, int c,
                        int run, struct err *err)
{
    for (int i = 0; i < a->n; i++)
        if (is_output(&a->array[i]) && memcmp(a->array[i].value, b->array[i].value,
                                              (size_t)a->array[i].n * sizeof(double)) != 0)
            return err_set(err, ERR_NONDETERMINISTIC,
                           "%s, case %d, array %d: run %d differs from the first", op->name, c, i,
                           run + 1);
    return 0;
}

/* `inputs` is not run; `expected` is a copy of it that the reference has run. */
static int check_runs(struct backend *backend, const struct rig *inputs, const struct rig *expected,
                      int c, int runs, void (*before)(int run), struct ops_worst *worst,
                      struct err *err)
{
    const struct operation *op = equality_cases[c].op;
    struct rig first, again = {0};
    int result = rig_copy(&first, inputs, err);
    if (result == 0 && runs > 1)
        result = rig_copy(&again, inputs, err);
    for (int run = 0; result == 0 && run < runs; run++) {
        struct rig *rig = run ? &again : &first;
        if (before)
            before(run);
        result = rig_run(rig, op, backend, err) != 0 ? -1
                 : run                               ? compare_bits(&first, rig, op, c, run, err)
                                                     : judge(rig, expected, op, c, worst, err);
    }
    rig_free(&first);
    rig_free(&again);
    return result;
}

static int run_reference(struct rig *rig, const struct operation *op, struct err *err)
{
    struct backend *ref;
    if (ref_backend_open(&ref, err) != 0)
        return -1;
    const int result = rig_run(rig, op, ref, err);
    ref->close(ref);
    return result;
}

/* On failure both are empty. */
static int expect_case(struct rig *inputs, struct rig *expected, int c, int bf16, struct err *err)
{
    const struct operation *op = equality_cases[c].op;
    *expected = (struct rig){0};
    if (rig_open(inputs, op, equality_cases[c].d, (uint64_t)c, bf16, err) == 0 &&
        rig_copy(expected, inputs, err) == 0 && run_reference(expected, op, err) == 0)
        return 0;
    rig_free(inputs);
    rig_free(expected);
    return -1;
}

/* ---- expected results, computed ahead ---- */

struct ops_ahead {
    int bf16, window;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under the mutex */
    int next, taken; /* cases begun by a thread, given to the caller */
    int is_stopping;
    struct {
        int is_ready, failed; /* failed: without memory */
        struct rig inputs, expected;
    } cases[EQUALITY_CASES];
    int n;
    pthread_t threads[];
};

/* The next case for a thread, or -1 at the end. At most `window` cases lie in memory. */
static int ahead_next(struct ops_ahead *ahead)
{
    pthread_mutex_lock(&ahead->mutex);
    while (!ahead->is_stopping && ahead->next < EQUALITY_CASES &&
           ahead->next - ahead->taken >= ahead->window)
        pthread_cond_wait(&ahead->changed, &ahead->mutex);
    const int c = ahead->is_stopping || ahead->next == EQUALITY_CASES ? -1 : ahead->next++;
    pthread_mutex_unlock(&ahead->mutex);
    return c;
}

static void *ahead_thread(void *arg)
{
    struct ops_ahead *ahead = arg;
    for (int c = ahead_next(ahead); c >= 0; c = ahead_next(ahead)) {
        struct err err = ERR_INIT;
        struct rig inputs, expected;
        const int failed = expect_case(&inputs, &expected, c, ahead->bf16, &err);
        pthread_mutex_lock(&ahead->mutex);
        ahead->cases[c].inputs = inputs;
        ahead->cases[c].expected = expected;
        ahead->cases[c].failed = failed;
        ahead->cases[c].is_ready = 1;
        pthread_cond_broadcast(&ahead->changed);
        pthread_mutex_unlock(&ahead->mutex);
    }
    return NULL;
}

struct ops_ahead *ops_ahead_open(enum spec_precision precision, int threads)
{
    struct ops_ahead *ahead = calloc(1, sizeof *ahead + (size_t)threads * sizeof *ahead->threads);
    if (!ahead)
        return NULL;
    ahead->bf16 = precision == PRECISION_BF16;
    ahead->window = 2 * threads;
    pthread_mutex_init(&ahead->mutex, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    while (ahead->n < threads &&
           pthread_create(&ahead->threads[ahead->n], NULL, ahead_thread, ahead) == 0)
        ahead->n++;
    if (ahead->n > 0)
        return ahead;
    ops_ahead_close(ahead);
    return NULL;
}

void ops_ahead_close(struct ops_ahead *ahead)
{
    if (!ahead)
        return;
    pthread_mutex_lock(&ahead->mutex);
    ahead->is_stopping = 1;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->mutex);
    for (int i = 0; i < ahead->n; i++)
        pthread_join(ahead->threads[i], NULL);
    for (int c = ahead->taken; c < EQUALITY_CASES; c++) {
        rig_free(&ahead->cases[c].inputs);
        rig_free(&ahead->cases[c].expected);
    }
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->mutex);
    free(ahead);
}

/* As expect_case, from the threads. Cases are taken in their order. */
static int take_case(struct ops_ahead *ahead, struct rig *inputs, struct rig *expected, int c,
                     struct err *err)
{
    pthread_mutex_lock(&ahead->mutex);
    while (!ahead->cases[c].is_ready)
        pthread_cond_wait(&ahead->changed, &ahead->mutex);
    *inputs = ahead->cases[c].inputs;
    *expected = ahead->cases[c].expected;
    const int failed = ahead->cases[c].failed;
    ahead->taken = c + 1;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->mutex);
    return failed ? no_memory(err) : 0;
}

int ops_check_cases(struct backend *const backends[], int runs, void (*before)(int run),
                    struct ops_worst *worst, struct err *err)
{
    *worst = OPS_WORST_INIT;
    for (int c = 0; c < EQUALITY_CASES; c++) {
        struct rig inputs, expected;
        int result = expect_case(&inputs, &expected, c, is_bf16(backends[0]), err);
        for (int b = 0; result == 0 && backends[b]; b++)
            result = check_runs(backends[b], &inputs, &expected, c, runs, before, worst, err);
        rig_free(&inputs);
        rig_free(&expected);
        if (result != 0)
            return -1;
    }
    return 0;
}

/* Cases of one operation stand together. */
const char *ops_name(int i)
{
    for (int c = 0; c < EQUALITY_CASES; c++)
        if ((c == 0 || equality_cases[c].op != equality_cases[c - 1].op) && i-- == 0)
            return equality_cases[c].op->name;
    return NULL;
}

int ops_check_operation(struct backend *backend, const char *name, int runs,
                        struct ops_ahead *ahead, struct ops_worst *worst, struct err *err)
{
    int n = 0;
    *worst = OPS_WORST_INIT;
    for (int c = 0; c < EQUALITY_CASES; c++) {
        struct rig inputs, expected;
        if (strcmp(equality_cases[c].op->name, name) != 0)
            continue;
        if ((ahead ? take_case(ahead, &inputs, &expected, c, err)
                   : expect_case(&inputs, &expected, c, is_bf16(backend), err)) != 0)
            return -1;
        const int result = check_runs(backend, &inputs, &expected, c, runs, NULL, worst, err);
        rig_free(&inputs);
        rig_free(&expected);
        if (result != 0)
            return -1;
        n++;
    }
    return n > 0 ? n : err_set(err, ERR_NOT_FOUND, "no operation is called %s", name);
}

static const struct {
    const struct operation *op;
    int d[DIMS_MAX];
} gradient_cases[] = {
    {&embedding_op, {2, 5, 3, 4}},
    {&layernorm_op, {3, 7, 0}},
    {&layernorm_op, {3, 7, 1}},
    {&matmul_op, {4, 3, 5}},
    {&attention_op, {2, 5, 6, 2}},
    {&activation_op, {50, ACTIVATION_GELU}},
    {&activation_op, {50, ACTIVATION_GELU_NEW}},
    {&activation_op, {50, ACTIVATION_RELU}},
    {&lm_head_op, {5, 4, 9, 3, 2, 1, 0}},
    {&lm_head_op, {3, 4, 9, 3, 3, 0, 0}},
    {&lm_head_op, {5, 4, 9, 3, 2, 1, WEIGHTS}},
    {&lm_head_op, {5, 4, 9, 3, 2, 0, SMOOTHING}},
    {&lm_head_op, {5, 4, 9, 3, 2, 0, Z_LOSS}},
    {&lm_head_op, {5, 4, 9, 3, 2, 0, ADJUST}},
    {&lm_head_op, {5, 4, 9, 3, 2, 1, EVERYTHING}},
};
enum { GRADIENT_CASES = sizeof gradient_cases / sizeof *gradient_cases };

static int loss_of(struct rig *rig, const struct operation *op, struct backend *backend,
                   double *loss, struct err *err)
{
    if (rig_run(rig, op, backend, err) != 0)
        return -1;
    *loss = 0;
    for (int t = 0; t < PAIRS_MAX && (op->terms[t][0] || op->terms[t][1]); t++) {
        const struct array *a = &rig->array[op->terms[t][0]];
        for (int64_t k = 0; k < a->n; k++)
            *loss += op->terms[t][1] < 0 ? a->value[k] / (double)a->n
                                         : a->value[k] * rig->array[op->terms[t][1]].value[k];
    }
    return 0;
}

/* Derivative by number k of array x, by central differences. */
static int difference_quotient(struct rig *moved, const struct operation *op, int x, int64_t k,
                               struct backend *backend, double *out, struct err *err)
{
    const double h = 1e-5, value = moved->array[x].value[k];
    double up = 0, down = 0;
    moved->array[x].value[k] = value + h;
    int result = loss_of(moved, op, backend, &up, err);
    moved->array[x].value[k] = value - h;
    if (result == 0)
        result = loss_of(moved, op, backend, &down, err);
    moved->array[x].value[k] = value;
    *out = (up - down) / (2 * h);
    return result;
}

static int check_slope(const struct rig *rig, struct rig *moved, const struct operation *op, int x,
                       int dx, struct backend *backend, struct err *err)
{
    const struct array *gradient = &rig->array[dx];
    for (int64_t k = 0; gradient->role != POISON && k < gradient->n; k++) {
        const double analytic = gradient->value[k] - gradient->start[k];
        double numeric = 0; /* of padding, which is NaN */
        if (!isnan(rig->array[x].value[k]) &&
            difference_quotient(moved, op, x, k, backend, &numeric, err) != 0)
            return -1;
        if (!(fabs(numeric - analytic) < 1e-7 * (1 + fabs(numeric))))
            return err_set(err, ERR_INTERNAL,
                           "%s, input %d, element %d: %.12g, central difference %.12g", op->name, x,
                           (int)k, analytic, numeric);
    }
    return 0;
}

static int check_gradients(const struct operation *op, const int *d, struct backend *backend,
                           struct err *err)
{
    struct rig rig, moved = {0};
    int result = rig_open(&rig, op, d, 99, 0, err);
    if (result == 0)
        result = rig_copy(&moved, &rig, err);
    if (result == 0)
        result = rig_run(&rig, op, backend, err);
    for (int g = 0; result == 0 && g < PAIRS_MAX && op->gradients[g][1]; g++)
        result =
            check_slope(&rig, &moved, op, op->gradients[g][0], op->gradients[g][1], backend, err);
    rig_free(&rig);
    rig_free(&moved);
    return result;
}

int ops_check_gradients_of_ref(struct err *err)
{
    struct backend *ref;
    int result = ref_backend_open(&ref, err);
    if (result != 0)
        return -1;
    for (int c = 0; result == 0 && c < GRADIENT_CASES; c++)
        result = check_gradients(gradient_cases[c].op, gradient_cases[c].d, ref, err);
    ref->close(ref);
    return result;
}

/* ---- checks of what operations promise beside their numbers ---- */

static void lm_head_run_bare(struct rig *r)
{
    struct backend_lm_head lm_head = lm_head_of(r);
    lm_head.tracked_logits = lm_head.objective = lm_head.objective_lse = NULL;
    r->backend->lm_head(r->backend, &lm_head);
}

/* The outputs of two runs, where `unlike` says which the second must have left as they were:
 * NaN. */
static int compare_parts(const struct rig *whole, const struct rig *part,
                         int (*unlike)(int index, int of_gradient), int of_gradient,
                         const char *what, struct err *err)
{
    for (int i = 0; i < part->n; i++) {
        const struct array *a = &part->array[i], *b = &whole->array[i];
        if (a->role != OUT)
            continue;
        const int left = unlike(i, of_gradient);
        for (int64_t k = 0; left && k < a->n; k++)
            if (!isnan(a->value[k]))
                return err_set(err, ERR_INTERNAL, "%s: array %d was touched", what, i);
        if (!left && memcmp(a->value, b->value, (size_t)a->n * sizeof *a->value) != 0)
            return err_set(err, ERR_INTERNAL, "%s: array %d has other bits", what, i);
    }
    return 0;
}

static int run_parts(const struct operation *op, void (*run)(struct rig *), const int *d,
                     int (*unlike)(int index, int of_gradient), int of_gradient, const char *what,
                     struct backend *backend, struct err *err)
{
    struct operation part_op = *op;
    struct rig whole, part = {0};
    part_op.run = run;
    int result = rig_open(&whole, op, d, 2, is_bf16(backend), err);
    if (result == 0)
        result = rig_copy(&part, &whole, err);
    if (result == 0)
        result = rig_run(&whole, op, backend, err);
    if (result == 0)
        result = rig_run(&part, &part_op, backend, err);
    if (result == 0)
        result = compare_parts(&whole, &part, unlike, of_gradient, what, err);
    rig_free(&whole);
    rig_free(&part);
    return result;
}

static int is_statistic(int index, int of_gradient)
{
    (void)of_gradient;
    return index == LM_HEAD_TRACKED_LOGITS || index == LM_HEAD_OBJECTIVE ||
           index == LM_HEAD_OBJECTIVE_LSE;
}

static int is_gradient(int index, int of_gradient)
{
    return index >= of_gradient;
}

int ops_check_lm_head_without_statistics(struct backend *backend, struct err *err)
{
    static const int d[DIMS_MAX] = {65, 96, 257, 40, 64, 1, WEIGHTS | SMOOTHING | Z_LOSS};
    return run_parts(&lm_head_op, lm_head_run_bare, d, is_statistic, 0,
                     "lm_head without statistics", backend, err);
}

int ops_check_forward_alone(struct backend *backend, struct err *err)
{
    int result = 0;
    for (int c = 0; result == 0 && c < EQUALITY_CASES; c++)
        if (equality_cases[c].op == &lm_head_op)
            result = run_parts(&lm_head_op, lm_head_run_forward, equality_cases[c].d, is_gradient,
                               LM_HEAD_DH, "lm_head without gradients", backend, err);
        else if (equality_cases[c].op == &tracked_op)
            result = run_parts(&tracked_op, tracked_run_forward, equality_cases[c].d, is_gradient,
                               TRACK_PARTS, "tracked without gradients", backend, err);
    return result;
}

/* The parts' inputs are what the head was given and has left. */
static void give_to_parts(struct rig *parts, const struct rig *lm_head)
{
    static const int same[][2] = {{TRACK_TRACKED, LM_HEAD_TRACKED},
                                  {TRACK_TARGETS, LM_HEAD_TARGETS},
                                  {TRACK_LOGITS, LM_HEAD_TRACKED_LOGITS},
                                  {TRACK_LSE, LM_HEAD_LSE},
                                  {TRACK_OBJECTIVE_LSE, LM_HEAD_OBJECTIVE_LSE},
                                  {TRACK_WEIGHTS, LM_HEAD_WEIGHTS},
                                  {TRACK_ADJUST, LM_HEAD_ADJUST},
                                  {TRACK_H, LM_HEAD_H}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct array *to = &parts->array[same[i][0]];
        const struct array *from = &lm_head->array[same[i][1]];
        if (to->ids)
            memcpy(to->ids, from->ids, (size_t)to->n * sizeof *to->ids);
        else
            memcpy(to->value, from->value, (size_t)to->n * sizeof *to->value);
    }
}

/* Sum of the parts of tracked token m, number c of its row, beside the row of the whole. */
static int compare_sums(const struct rig *parts, const struct rig *lm_head, int C, int M,
                        struct err *err)
{
    const double *rows = parts->array[TRACK_PARTS].value;
    double difference = 0, size = 0;
    for (int i = 0; i < M * C; i++) {
        const int32_t token = lm_head->array[LM_HEAD_TRACKED].ids[i / C];
        const double whole = lm_head->array[LM_HEAD_DU].value[token * C + i % C];
        const double sum = rows[PART_SOFTMAX * M * C + i] + rows[PART_TARGET * M * C + i] +
                           rows[PART_ZLOSS * M * C + i];
        difference += (sum - whole) * (sum - whole);
        size += whole * whole;
    }
    const double error = sqrt(difference / size),
                 bound = 2 * bound_of(lm_head, &lm_head_op, LM_HEAD_DU);
    return error < bound
               ? 0
               : err_set(err, ERR_INTERNAL,
                         "the parts of the gradient miss the whole by %.3g of %.3g", error, bound);
}

int ops_check_parts_add_up(struct backend *backend, struct err *err)
{
    static const int of_lm_head[DIMS_MAX] = {65, 33, 257, 40, 64, 1, EVERYTHING};
    static const int of_tracked[DIMS_MAX] = {65, 33, 257, 40, EVERYTHING};
    const int C = of_lm_head[1], M = of_lm_head[3];
    struct rig lm_head, parts = {0};
    int result = rig_open(&lm_head, &lm_head_op, of_lm_head, 1, is_bf16(backend), err);
    if (result == 0)
        result = rig_open(&parts, &tracked_op, of_tracked, 2, is_bf16(backend), err);
    if (result == 0)
        result = rig_run(&lm_head, &lm_head_op, backend, err);
    if (result == 0) {
        give_to_parts(&parts, &lm_head);
        result = rig_run(&parts, &tracked_op, backend, err);
    }
    if (result == 0)
        result = compare_sums(&parts, &lm_head, C, M, err);
    rig_free(&lm_head);
    rig_free(&parts);
    return result;
}

int ops_check_divergence_shows(struct backend *backend, struct err *err)
{
    static const int d[DIMS_MAX] = {21, 8, 70, 3, 21, 0};
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    int result = 0;
    for (size_t b = 0; result == 0 && b < sizeof bad / sizeof *bad; b++) {
        struct rig rig;
        if (rig_open(&rig, &lm_head_op, d, 3, is_bf16(backend), err) != 0)
            return -1;
        rig.array[LM_HEAD_H].value[2 * 8 + 1] = bad[b];
        result = rig_run(&rig, &lm_head_op, backend, err);
        const double *losses = rig.array[LM_HEAD_LOSSES].value;
        if (result == 0 && (isfinite(losses[2]) || !isfinite(losses[1])))
            result = err_set(err, ERR_INTERNAL,
                             "a position whose input is %g has the loss %g, its neighbour %g",
                             bad[b], losses[2], losses[1]);
        rig_free(&rig);
    }
    return result;
}

int ops_check_bits_survive_the_device(struct backend *backend, struct err *err)
{
    enum { COUNT = 6 };
    const float start[COUNT] = {0.0f, -0.0f, 1e-40f, FLT_MAX, -INFINITY, 0.1f};
    const float zeros[COUNT] = {0};
    float back[COUNT], cleared[COUNT];
    void *memory = backend->alloc(backend, sizeof start, err);
    if (!memory)
        return -1;
    backend->upload(backend, memory, NUMBER_REAL, start, NUMBER_FLOAT, COUNT);
    int result = backend->download(backend, back, NUMBER_FLOAT, memory, NUMBER_REAL, COUNT, err);
    backend->zero(backend, memory, (int64_t)(COUNT * backend->real_bytes));
    if (result == 0)
        result = backend->download(backend, cleared, NUMBER_FLOAT, memory, NUMBER_REAL, COUNT, err);
    if (result == 0 &&
        (memcmp(start, back, sizeof start) != 0 || memcmp(zeros, cleared, sizeof zeros) != 0))
        result =
            err_set(err, ERR_INTERNAL, "numbers do not come back from the device as they went");
    backend->free(backend, memory);
    backend->free(backend, NULL);
    return result;
}

enum { ROUNDS = 9, FED = 1003, ALIGNED = 256 };

/* Where a slot has what: the numbers, the sum of their squares, the numbers again. */
struct slot_plan {
    int64_t numbers, squares, copy, bytes;
};

static double number_of(int round, int i)
{
    return (round * 7 + i) % 16;
}

static void put_numbers(const struct backend *be, char *to, int round)
{
    for (int i = 0; i < FED; i++)
        if (be->real_bytes == sizeof(double))
            ((double *)(void *)to)[i] = number_of(round, i);
        else
            ((float *)(void *)to)[i] = (float)number_of(round, i);
}

static double number_at(const struct backend *be, const char *from, int i)
{
    return be->real_bytes == sizeof(double) ? ((const double *)(const void *)from)[i]
                                            : (double)((const float *)(const void *)from)[i];
}

static void run_round(struct backend *be, struct backend_ring *ring, const struct slot_plan *plan,
                      char *device, int round)
{
    const int64_t bytes = FED * (int64_t)be->real_bytes;
    char *slot = backend_slot(ring, ring->started);
    memset(slot, 0xff, (size_t)plan->bytes);
    put_numbers(be, slot, round);
    do {
        if (!be->program_begin(be, ring, round % 2))
            continue;
        be->feed(be, ring, device, plan->numbers, bytes);
        be->zero(be, device + plan->squares, (int64_t)be->real_bytes);
        be->sum_squares(be, device + plan->squares, device, FED);
        be->publish(be, ring, plan->squares, device + plan->squares, (int64_t)be->real_bytes);
        if (round % 2)
            be->publish(be, ring, plan->copy, device, bytes);
    } while (be->program_end(be, ring, round % 2));
}

static int check_round(const struct backend *be, const char *slot, const struct slot_plan *plan,
                       int round, struct err *err)
{
    double squares = 0;
    for (int i = 0; i < FED; i++)
        squares += number_of(round, i) * number_of(round, i);
    const double got = number_at(be, slot + plan->squares, 0);
    if (got != squares)
        return err_set(err, ERR_INTERNAL, "round %d of a program: the sum of squares is %g, not %g",
                       round, got, squares);
    for (int i = 0; round % 2 && i < FED; i++)
        if (number_at(be, slot + plan->copy, i) != number_of(round, i))
            return err_set(err, ERR_INTERNAL, "round %d of a program: number %d is %g", round, i,
                           number_at(be, slot + plan->copy, i));
    return 0;
}

static int run_rounds(struct backend *be, struct backend_ring *ring, const struct slot_plan *plan,
                      char *device, struct err *err)
{
    for (int round = 0, ahead = 0; round < ROUNDS; round++) {
        for (; ahead < ROUNDS && ahead - round < ring->slots; ahead++)
            run_round(be, ring, plan, device, ahead);
        if (be->ring_wait(be, ring, round, err) != 0 ||
            check_round(be, backend_slot(ring, round), plan, round, err) != 0)
            return -1;
    }
    return 0;
}

int ops_check_programs(struct backend *be, struct err *err)
{
    const int64_t numbers = (FED * (int64_t)be->real_bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    const struct slot_plan plan = {0, numbers, numbers + ALIGNED, 2 * numbers + ALIGNED};
    struct backend_ring *ring = be->ring_open(be, plan.bytes, err);
    char *device = ring ? be->alloc(be, plan.bytes, err) : NULL;
    int result = device ? run_rounds(be, ring, &plan, device, err) : -1;
    if (result == 0 && (ring->slots != be->slots || ring->started != ROUNDS))
        result = err_set(err, ERR_INTERNAL, "a ring of %d slots of %d has started %lld programs",
                         ring->slots, be->slots, (long long)ring->started);
    be->ring_close(be, ring);
    be->free(be, device);
    return result;
}

static const struct {
    const char *name;
    int (*check)(struct backend *backend, struct err *err);
} promises[] = {
    {"head_without_statistics", ops_check_lm_head_without_statistics},
    {"forward_alone", ops_check_forward_alone},
    {"parts_add_up", ops_check_parts_add_up},
    {"divergence_shows", ops_check_divergence_shows},
    {"programs", ops_check_programs},
    {"bits_survive_the_device", ops_check_bits_survive_the_device},
};
enum { PROMISES = sizeof promises / sizeof *promises };

const char *ops_promise(int i)
{
    return i >= 0 && i < PROMISES ? promises[i].name : NULL;
}

int ops_check_promise(struct backend *backend, int i, struct err *err)
{
    return promises[i].check(backend, err);
}
