/* ops_checks: see ops_checks.h. One table of cases: a case declares named arrays,
 * runs the operation on any backend, and says which gradient belongs to which
 * input. Sizes are awkward on purpose. */
#include "tests/lib/ops_checks.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lab/random.h"
#include "tests/lib/ref_backend.h"

enum { ARRAYS_MAX = 20, DIMS_MAX = 7, PAIRS_MAX = 5 };

enum role { IN, OUT, BOTH, IDS, POISON };

struct array {
    enum role role;
    enum backend_number number;
    int64_t n;
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

static struct array *declare(struct rig *rig, int i, enum role role, enum backend_number number,
                             int64_t n)
{
    assert_in_range(i, 0, ARRAYS_MAX - 1);
    struct array *a = &rig->array[i];
    if (i >= rig->n)
        rig->n = i + 1;
    *a = (struct array){.role = role, .number = number, .n = n};
    a->value = calloc((size_t)n + 1, sizeof *a->value);
    a->start = calloc((size_t)n + 1, sizeof *a->start);
    assert_non_null(a->value);
    assert_non_null(a->start);
    return a;
}

/* To 8 significant bits, as a float32 is cut to a bfloat16. */
static double round_to_bf16(double value)
{
    int exponent;
    const double fraction = frexp(value, &exponent);
    return ldexp(rint(ldexp(fraction, 8)), exponent - 8);
}

/* Normal numbers that the device holds exactly, so that both backends see the same. */
static struct array *input(struct rig *rig, int i, enum backend_number number, int64_t n,
                           double scale)
{
    struct array *a = declare(rig, i, IN, number, n);
    for (int64_t k = 0; k < n; k++) {
        a->value[k] = (float)(scale * random_normal(rig->seed, RANDOM_WEIGHTS,
                                                    (uint64_t)i << 40 | (uint64_t)k));
        if (rig->bf16 && number == NUMBER_ACT)
            a->value[k] = round_to_bf16(a->value[k]);
    }
    return a;
}

static void output(struct rig *rig, int i, enum backend_number number, int64_t n)
{
    declare(rig, i, OUT, number, n);
}

/* Scratch: poisoned, not compared. */
static void poison(struct rig *rig, int i, enum backend_number number, int64_t n)
{
    declare(rig, i, POISON, number, n);
}

static void both(struct rig *rig, int i, enum backend_number number, int64_t n, double scale)
{
    struct array *a = input(rig, i, number, n, scale);
    a->role = BOTH;
    memcpy(a->start, a->value, (size_t)n * sizeof *a->start);
}

static void ids(struct rig *rig, int i, int64_t n, int range)
{
    struct array *a = declare(rig, i, IDS, NUMBER_INT32, n);
    a->ids = calloc((size_t)n + 1, sizeof *a->ids);
    assert_non_null(a->ids);
    for (int64_t k = 0; k < n; k++)
        a->ids[k] = (int32_t)random_below(rig->seed, RANDOM_TIES, (uint64_t)(i * 4096 + k),
                                          (uint64_t)range);
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
static void position_weights(struct rig *rig, int i, int64_t n)
{
    struct array *a = input(rig, i, NUMBER_REAL, n, 1);
    for (int64_t k = 0; k < n; k++)
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
    const int64_t N = r->d[0], C = r->d[1], V = r->d[2], Vp = padded(r->d[2]);
    input(r, LM_HEAD_H, NUMBER_ACT, N * C, r->d[6] & LARGE ? 12 : 1);
    struct array *U = input(r, LM_HEAD_U, NUMBER_ACT, Vp * C, 0.3);
    struct array *bias = input(r, LM_HEAD_BIAS, NUMBER_REAL, Vp, 0.5);
    struct array *adjust = input(r, LM_HEAD_ADJUST, NUMBER_REAL, Vp, 2);
    for (int64_t i = V * C; i < Vp * C; i++)
        U->value[i] = i % 2 ? 3e4 : -7e3;
    for (int64_t i = V; i < Vp; i++)
        adjust->value[i] = bias->value[i] = NAN;
    ids(r, LM_HEAD_TARGETS, N, r->d[2]);
    ids(r, LM_HEAD_TRACKED, r->d[3], r->d[2]);
    r->array[LM_HEAD_TRACKED].ids[0] = r->array[LM_HEAD_TARGETS].ids[0];
    position_weights(r, LM_HEAD_WEIGHTS, N);
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
    r->array[TRACK_INPUTS].ids[N - 1] = r->array[TRACK_TRACKED].ids[0];
    r->array[TRACK_TARGETS].ids[0] = r->array[TRACK_TRACKED].ids[0];
    input(r, TRACK_LOGITS, NUMBER_REAL, M * N, 1);
    struct array *lse = input(r, TRACK_LSE, NUMBER_REAL, N, 1);
    struct array *objective_lse = input(r, TRACK_OBJECTIVE_LSE, NUMBER_REAL, N, 1);
    for (int64_t n = 0; n < N; n++) {
        lse->value[n] = (float)(fabs(lse->value[n]) + 4);
        objective_lse->value[n] = (float)(fabs(objective_lse->value[n]) + 6);
    }
    position_weights(r, TRACK_WEIGHTS, N);
    input(r, TRACK_ADJUST, NUMBER_REAL, V, 1);
    input(r, TRACK_H, NUMBER_ACT, N * C, 1);
    input(r, TRACK_DX, NUMBER_ACT, N * C, 1);
    output(r, TRACK_MEAN_P, NUMBER_REAL, M);
    output(r, TRACK_PARTS, NUMBER_REAL, BACKEND_PARTS * M * C);
    output(r, TRACK_NORMS, NUMBER_REAL, BACKEND_PARTS * M);
    poison(r, TRACK_WORK, NUMBER_REAL, M * N);
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
    const int n = r->d[0], step = r->d[3];
    both(r, UP_W, NUMBER_REAL, n, 1);
    input(r, UP_G, NUMBER_REAL, n, 1);
    both(r, UP_M1, NUMBER_REAL, n, 0.1);
    both(r, UP_M2, NUMBER_REAL, n, 0.1);
    struct array *scalars = input(r, UP_SCALARS, NUMBER_REAL, 3, 0);
    scalars->value[0] = 0.125f;
    scalars->value[1] = (float)(1 - pow(0.9, step));
    scalars->value[2] = (float)(1 - pow(0.99, step));
    for (int i = 0; i < n; i++)
        r->array[UP_M2].start[i] = r->array[UP_M2].value[i] = fabs(r->array[UP_M2].value[i]);
    both(r, UP_SQUARES, NUMBER_REAL, 1, 0);
    both(r, UP_SUMMED, NUMBER_REAL, 1, 1);
    output(r, UP_COPY, NUMBER_ACT, n);
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

struct operation {
    const char *name;
    void (*declare)(struct rig *);
    void (*run)(struct rig *);
    /* Gradient check: the loss is the sum of the dot products of `terms` (the
     * mean of terms[0][0] if terms[0][1] is -1), and gradients[i] pairs an input
     * with its gradient. Both lists end before {0, 0}. */
    int terms[PAIRS_MAX][2], gradients[PAIRS_MAX][2];
};

static const struct operation cast_op = {"cast", cast_declare, cast_run, {{0}}, {{0}}};
static const struct operation add_op = {"add", add_declare, add_run, {{0}}, {{0}}};
static const struct operation sums_op = {"sums", sums_declare, sums_run, {{0}}, {{0}}};
static const struct operation gather_op = {"gather", gather_declare, gather_run, {{0}}, {{0}}};
static const struct operation scores_op = {"scores", scores_declare, scores_run, {{0}}, {{0}}};
static const struct operation squares_op = {"squares", squares_declare, squares_run, {{0}}, {{0}}};
static const struct operation update_op = {"update", update_declare, update_run, {{0}}, {{0}}};
static const struct operation add_layernorm_op = {
    "add_layernorm", add_layernorm_declare, add_layernorm_run, {{0}}, {{0}}};
static const struct operation matmul_activation_op = {
    "matmul_activation", matmul_activation_declare, matmul_activation_run, {{0}}, {{0}}};
static const struct operation embedding_op = {"embedding",
                                              embedding_declare,
                                              embedding_run,
                                              {{EMB_DOUT, EMB_OUT}},
                                              {{EMB_WTE, EMB_DWTE}, {EMB_WPE, EMB_DWPE}}};
static const struct operation layernorm_op = {
    "layernorm",
    layernorm_declare,
    layernorm_run,
    {{LN_DOUT, LN_OUT}, {LN_RES, LN_X}},
    {{LN_X, LN_DX}, {LN_GAIN, LN_DGAIN}, {LN_BIAS, LN_DBIAS}}};
static const struct operation matmul_op = {"matmul",
                                           matmul_declare,
                                           matmul_run,
                                           {{MM_DOUT, MM_OUT}},
                                           {{MM_X, MM_DX}, {MM_W, MM_DW}, {MM_BIAS, MM_DBIAS}}};
static const struct operation attention_op = {
    "attention", attention_declare, attention_run, {{ATT_DOUT, ATT_OUT}}, {{ATT_QKV, ATT_DQKV}}};
static const struct operation activation_op = {
    "activation", activation_declare, activation_run, {{ACTF_DOUT, ACTF_OUT}}, {{ACTF_X, ACTF_DX}}};
static const struct operation lm_head_op = {
    "lm_head",
    lm_head_declare,
    lm_head_run,
    {{LM_HEAD_OBJECTIVE, -1}},
    {{LM_HEAD_H, LM_HEAD_DH}, {LM_HEAD_U, LM_HEAD_DU}, {LM_HEAD_BIAS, LM_HEAD_DBIAS}}};

static const struct operation tracked_op = {"tracked", tracked_declare, tracked_run, {{0}}, {{0}}};

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

/* ---- running ---- */

static struct backend *open_ref(void)
{
    struct backend *ref;
    struct err err = ERR_INIT;
    assert_int_equal(ref_backend_open(&ref, &err), 0);
    return ref;
}

static struct backend *open_subject(const struct ops_subject *subject)
{
    struct backend *backend;
    struct err err = ERR_INIT;
    if (subject->open(&backend, &err))
        fail_msg("%s", err.message);
    return backend;
}

static void rig_declare(struct rig *rig, const struct operation *op, const int *d, uint64_t seed,
                        const struct backend *backend)
{
    *rig = (struct rig){.d = d, .seed = seed, .bf16 = backend->precision == PRECISION_BF16};
    op->declare(rig);
}

static void *copy_of(const void *from, size_t bytes)
{
    void *copy = malloc(bytes);
    assert_non_null(copy);
    return memcpy(copy, from, bytes);
}

/* A rig with the same inputs: drawing the numbers again costs more than most operations. */
static void rig_copy(struct rig *to, const struct rig *from)
{
    *to = *from;
    for (int i = 0; i < from->n; i++) {
        struct array *a = &to->array[i];
        const size_t n = (size_t)a->n + 1;
        a->value = copy_of(a->value, n * sizeof *a->value);
        a->start =
            a->role == BOTH ? copy_of(a->start, n * sizeof *a->start) : calloc(n, sizeof *a->start);
        assert_non_null(a->start);
        if (a->ids)
            a->ids = copy_of(a->ids, n * sizeof *a->ids);
    }
}

static void rig_free(struct rig *rig)
{
    for (int i = 0; i < rig->n; i++) {
        free(rig->array[i].value);
        free(rig->array[i].start);
        free(rig->array[i].ids);
    }
}

static void upload(struct rig *rig, struct array *a)
{
    struct backend *be = rig->backend;
    struct err err = ERR_INIT;
    const size_t bytes[BACKEND_NUMBERS] = {[NUMBER_REAL] = be->real_bytes,
                                           [NUMBER_ACT] = be->act_bytes,
                                           [NUMBER_INT32] = sizeof(int32_t)};
    /* exact, so that a sanitizer sees what lies behind */
    a->device = be->alloc(be, a->n * (int64_t)bytes[a->number], &err);
    assert_non_null(a->device);
    if (a->role == IDS) {
        be->upload(be, a->device, NUMBER_INT32, a->ids, NUMBER_INT32, a->n);
        return;
    }
    for (int64_t k = 0; k < a->n; k++)
        if (a->role == OUT || a->role == POISON)
            a->value[k] = NAN;
        else if (a->role == BOTH)
            a->value[k] = a->start[k];
    be->upload(be, a->device, a->number, a->value, NUMBER_DOUBLE, a->n);
}

static void rig_run(struct rig *rig, const struct operation *op, struct backend *backend)
{
    struct err err = ERR_INIT;
    rig->backend = backend;
    for (int i = 0; i < rig->n; i++)
        upload(rig, &rig->array[i]);
    op->run(rig);
    for (int i = 0; i < rig->n; i++) {
        struct array *a = &rig->array[i];
        if ((a->role == OUT || a->role == BOTH) &&
            backend->download(backend, a->value, NUMBER_DOUBLE, a->device, a->number, a->n, &err))
            fail_msg("%s", err.message);
        backend->free(backend, a->device);
    }
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

static int is_output(const struct array *a)
{
    return a->role == OUT || a->role == BOTH;
}

/* The largest relative error of an output. */
static double compare_with_ref(const struct rig *rig, const struct rig *expected,
                               const struct operation *op, size_t c, double allowed)
{
    double worst = 0;
    for (int i = 0; i < rig->n; i++) {
        const struct array *a = &rig->array[i];
        if (!is_output(a))
            continue;
        const double error = relative_error(a->value, expected->array[i].value, a->n);
        if (!(error < allowed))
            fail_msg("%s, case %zu, array %d: relative error %g", op->name, c, i, error);
        worst = error > worst ? error : worst;
    }
    return worst;
}

static void compare_bits(const struct rig *a, const struct rig *b, const struct operation *op,
                         size_t c, int run)
{
    for (int i = 0; i < a->n; i++)
        if (is_output(&a->array[i]) && memcmp(a->array[i].value, b->array[i].value,
                                              (size_t)a->array[i].n * sizeof(double)) != 0)
            fail_msg("%s, case %zu, array %d: run %d differs from the first", op->name, c, i, run);
}

/* `inputs` is not run; `expected` is a copy of it that the reference has run. */
static double check_runs(const struct ops_subject *subject, struct backend *backend,
                         const struct rig *inputs, const struct rig *expected, size_t c, int runs,
                         void (*before)(int run))
{
    const struct operation *op = equality_cases[c].op;
    struct rig first, again;
    double worst = 0;
    rig_copy(&first, inputs);
    if (runs > 1)
        rig_copy(&again, inputs);
    for (int run = 0; run < runs; run++) {
        if (before)
            before(run);
        rig_run(run ? &again : &first, op, backend);
        if (run)
            compare_bits(&first, &again, op, c, run);
        else
            worst = compare_with_ref(&first, expected, op, c, subject->allowed);
    }
    rig_free(&first);
    if (runs > 1)
        rig_free(&again);
    return worst;
}

static void expect_case(struct rig *inputs, struct rig *expected, size_t c,
                        const struct backend *backend)
{
    struct backend *ref = open_ref();
    rig_declare(inputs, equality_cases[c].op, equality_cases[c].d, c, backend);
    rig_copy(expected, inputs);
    rig_run(expected, equality_cases[c].op, ref);
    ref->close(ref);
}

static double check_case(const struct ops_subject *subject, struct backend *backend, size_t c,
                         int runs, void (*before)(int run))
{
    struct rig inputs, expected;
    expect_case(&inputs, &expected, c, backend);
    const double worst = check_runs(subject, backend, &inputs, &expected, c, runs, before);
    rig_free(&inputs);
    rig_free(&expected);
    return worst;
}

enum { EQUALITY_CASES = sizeof equality_cases / sizeof *equality_cases, SUBJECTS_MAX = 4 };

void ops_check_cases(const struct ops_subject *const subjects[], int runs, void (*before)(int run))
{
    struct backend *backend[SUBJECTS_MAX] = {open_subject(subjects[0])};
    int n = 1;
    for (; subjects[n]; n++) {
        assert_in_range(n, 0, SUBJECTS_MAX - 1);
        backend[n] = open_subject(subjects[n]);
        assert_int_equal(backend[n]->precision == PRECISION_BF16,
                         backend[0]->precision == PRECISION_BF16);
    }
    for (size_t c = 0; c < EQUALITY_CASES; c++) {
        struct rig inputs, expected;
        expect_case(&inputs, &expected, c, backend[0]);
        for (int s = 0; s < n; s++)
            check_runs(subjects[s], backend[s], &inputs, &expected, c, runs, before);
        rig_free(&inputs);
        rig_free(&expected);
    }
    for (int s = 0; s < n; s++)
        backend[s]->close(backend[s]);
}

/* Cases of one operation stand together. */
const char *ops_name(int i)
{
    for (size_t c = 0; c < EQUALITY_CASES; c++)
        if ((c == 0 || equality_cases[c].op != equality_cases[c - 1].op) && i-- == 0)
            return equality_cases[c].op->name;
    return NULL;
}

int ops_check_operation(const struct ops_subject *subject, const char *name, int runs,
                        double *worst)
{
    struct backend *backend = open_subject(subject);
    int n = 0;
    *worst = 0;
    for (size_t c = 0; c < EQUALITY_CASES; c++) {
        if (strcmp(equality_cases[c].op->name, name) != 0)
            continue;
        const double error = check_case(subject, backend, c, runs, NULL);
        *worst = error > *worst ? error : *worst;
        n++;
    }
    backend->close(backend);
    return n;
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

static double loss_of(struct rig *rig, const struct operation *op, struct backend *backend)
{
    rig_run(rig, op, backend);
    double sum = 0;
    for (int t = 0; t < PAIRS_MAX && (op->terms[t][0] || op->terms[t][1]); t++) {
        const struct array *a = &rig->array[op->terms[t][0]];
        for (int64_t k = 0; k < a->n; k++)
            sum += op->terms[t][1] < 0 ? a->value[k] / (double)a->n
                                       : a->value[k] * rig->array[op->terms[t][1]].value[k];
    }
    return sum;
}

static void check_gradient(const struct operation *op, const int *d, int x, int dx,
                           struct backend *backend)
{
    const double h = 1e-5;
    struct rig rig, moved;
    rig_declare(&rig, op, d, 99, backend);
    rig_copy(&moved, &rig);
    rig_run(&rig, op, backend);
    const struct array *gradient = &rig.array[dx];
    if (gradient->role != POISON)
        for (int64_t k = 0; k < gradient->n; k++) {
            const double value = rig.array[x].value[k];
            const double analytic = gradient->value[k] - gradient->start[k];
            if (isnan(value)) { /* padding */
                assert_true(analytic == 0);
                continue;
            }
            moved.array[x].value[k] = value + h;
            const double up = loss_of(&moved, op, backend);
            moved.array[x].value[k] = value - h;
            const double down = loss_of(&moved, op, backend);
            moved.array[x].value[k] = value;
            const double numeric = (up - down) / (2 * h);
            if (!(fabs(numeric - analytic) < 1e-7 * (1 + fabs(numeric))))
                fail_msg("%s, input %d, element %d: %.12g, central difference %.12g", op->name, x,
                         (int)k, analytic, numeric);
        }
    rig_free(&rig);
    rig_free(&moved);
}

void ops_check_gradients_of_ref(void)
{
    struct backend *ref = open_ref();
    for (size_t c = 0; c < sizeof gradient_cases / sizeof *gradient_cases; c++) {
        const struct operation *op = gradient_cases[c].op;
        for (int g = 0; g < PAIRS_MAX && op->gradients[g][1]; g++)
            check_gradient(op, gradient_cases[c].d, op->gradients[g][0], op->gradients[g][1], ref);
    }
    ref->close(ref);
}

void ops_check_lm_head_without_statistics(const struct ops_subject *subject)
{
    static const int d[DIMS_MAX] = {65, 96, 257, 40, 64, 1, WEIGHTS | SMOOTHING | Z_LOSS};
    struct backend *backend = open_subject(subject);
    struct rig with, without;
    rig_declare(&with, &lm_head_op, d, 1, backend);
    rig_copy(&without, &with);
    rig_run(&with, &lm_head_op, backend);
    without.backend = backend;
    for (int i = 0; i < without.n; i++)
        upload(&without, &without.array[i]);
    struct backend_lm_head lm_head = lm_head_of(&without);
    lm_head.tracked_logits = lm_head.objective = lm_head.objective_lse = NULL;
    backend->lm_head(backend, &lm_head);
    struct err err = ERR_INIT;
    for (int i = 0; i < without.n; i++) {
        struct array *a = &without.array[i];
        if (a->role == OUT && i != LM_HEAD_TRACKED_LOGITS && i != LM_HEAD_OBJECTIVE &&
            i != LM_HEAD_OBJECTIVE_LSE) {
            assert_int_equal(backend->download(backend, a->value, NUMBER_DOUBLE, a->device,
                                               a->number, a->n, &err),
                             0);
            assert_memory_equal(a->value, with.array[i].value, (size_t)a->n * sizeof *a->value);
        }
        backend->free(backend, a->device);
    }
    rig_free(&with);
    rig_free(&without);
    backend->close(backend);
}

/* Outputs from `of_gradient` on hold NaN, as they did before. */
static void check_forward(const struct operation *op, const struct operation *forward,
                          int of_gradient, const int *d, struct backend *backend)
{
    struct rig whole, alone;
    rig_declare(&whole, op, d, 2, backend);
    rig_copy(&alone, &whole);
    rig_run(&whole, op, backend);
    rig_run(&alone, forward, backend);
    for (int i = 0; i < alone.n; i++) {
        const struct array *a = &alone.array[i];
        if (a->role != OUT)
            continue;
        for (int64_t k = 0; i >= of_gradient && k < a->n; k++)
            assert_true(isnan(a->value[k]));
        if (i < of_gradient)
            assert_memory_equal(a->value, whole.array[i].value, (size_t)a->n * sizeof *a->value);
    }
    rig_free(&whole);
    rig_free(&alone);
}

void ops_check_forward_alone(const struct ops_subject *subject)
{
    static const struct operation lm_head = {
        "lm_head, forward", lm_head_declare, lm_head_run_forward, {{0}}, {{0}}};
    static const struct operation tracked = {
        "tracked, forward", tracked_declare, tracked_run_forward, {{0}}, {{0}}};
    struct backend *backend = open_subject(subject);
    for (size_t c = 0; c < EQUALITY_CASES; c++)
        if (equality_cases[c].op == &lm_head_op)
            check_forward(&lm_head_op, &lm_head, LM_HEAD_DH, equality_cases[c].d, backend);
        else if (equality_cases[c].op == &tracked_op)
            check_forward(&tracked_op, &tracked, TRACK_PARTS, equality_cases[c].d, backend);
    backend->close(backend);
}

void ops_check_parts_add_up(const struct ops_subject *subject)
{
    static const int of_lm_head[DIMS_MAX] = {65, 33, 257, 40, 64, 1, EVERYTHING};
    static const int of_tracked[DIMS_MAX] = {65, 33, 257, 40, EVERYTHING};
    static const int same[][2] = {{TRACK_TRACKED, LM_HEAD_TRACKED},
                                  {TRACK_TARGETS, LM_HEAD_TARGETS},
                                  {TRACK_LOGITS, LM_HEAD_TRACKED_LOGITS},
                                  {TRACK_LSE, LM_HEAD_LSE},
                                  {TRACK_OBJECTIVE_LSE, LM_HEAD_OBJECTIVE_LSE},
                                  {TRACK_WEIGHTS, LM_HEAD_WEIGHTS},
                                  {TRACK_ADJUST, LM_HEAD_ADJUST},
                                  {TRACK_H, LM_HEAD_H}};
    const int C = of_lm_head[1], M = of_lm_head[3];
    struct backend *backend = open_subject(subject);
    struct rig lm_head, parts;
    rig_declare(&lm_head, &lm_head_op, of_lm_head, 1, backend);
    rig_declare(&parts, &tracked_op, of_tracked, 2, backend);
    rig_run(&lm_head, &lm_head_op, backend);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct array *to = &parts.array[same[i][0]], *from = &lm_head.array[same[i][1]];
        memcpy(to->value, from->value, (size_t)to->n * sizeof *to->value);
        if (to->ids)
            memcpy(to->ids, from->ids, (size_t)to->n * sizeof *to->ids);
    }
    rig_run(&parts, &tracked_op, backend);
    double *sum = calloc((size_t)M * (size_t)C, sizeof *sum),
           *whole = malloc((size_t)M * (size_t)C * sizeof *whole);
    assert_true(sum && whole);
    for (int i = 0; i < M * C; i++) {
        const double *rows = parts.array[TRACK_PARTS].value;
        sum[i] = rows[PART_SOFTMAX * M * C + i] + rows[PART_TARGET * M * C + i] +
                 rows[PART_ZLOSS * M * C + i];
        whole[i] =
            lm_head.array[LM_HEAD_DU].value[lm_head.array[LM_HEAD_TRACKED].ids[i / C] * C + i % C];
    }
    const double error = relative_error(sum, whole, M * C);
    if (!(error < subject->allowed))
        fail_msg("the parts of the gradient miss the whole by %g", error);
    free(sum);
    free(whole);
    rig_free(&lm_head);
    rig_free(&parts);
    backend->close(backend);
}

void ops_check_divergence_shows(const struct ops_subject *subject)
{
    static const int d[DIMS_MAX] = {21, 8, 70, 3, 21, 0};
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    struct backend *backend = open_subject(subject);
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        struct rig rig;
        rig_declare(&rig, &lm_head_op, d, 3, backend);
        rig.array[LM_HEAD_H].value[2 * 8 + 1] = bad[b];
        rig_run(&rig, &lm_head_op, backend);
        assert_false(isfinite(rig.array[LM_HEAD_LOSSES].value[2]));
        assert_true(isfinite(rig.array[LM_HEAD_LOSSES].value[1]));
        rig_free(&rig);
    }
    backend->close(backend);
}

void ops_check_bits_survive_the_device(const struct ops_subject *subject)
{
    enum { COUNT = 6 };
    const float start[COUNT] = {0.0f, -0.0f, 1e-40f, FLT_MAX, -INFINITY, 0.1f};
    float back[COUNT];
    struct backend *backend = open_subject(subject);
    struct err err = ERR_INIT;
    void *memory = backend->alloc(backend, sizeof start, &err);
    assert_non_null(memory);
    backend->upload(backend, memory, NUMBER_REAL, start, NUMBER_FLOAT, COUNT);
    assert_int_equal(
        backend->download(backend, back, NUMBER_FLOAT, memory, NUMBER_REAL, COUNT, &err), 0);
    assert_memory_equal(start, back, sizeof start);
    backend->zero(backend, memory, sizeof start);
    assert_int_equal(
        backend->download(backend, back, NUMBER_FLOAT, memory, NUMBER_REAL, COUNT, &err), 0);
    for (int i = 0; i < COUNT; i++)
        assert_true(back[i] == 0);
    backend->free(backend, memory);
    backend->free(backend, NULL);
    backend->close(backend);
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

static void check_numbers(const struct backend *be, const char *from, int round, int n)
{
    for (int i = 0; i < n; i++) {
        const double got = be->real_bytes == sizeof(double)
                               ? ((const double *)(const void *)from)[i]
                               : (double)((const float *)(const void *)from)[i];
        if (got != number_of(round, i))
            fail_msg("round %d: number %d is %g", round, i, got);
    }
}

static void run_round(struct backend *be, struct backend_ring *ring, const struct slot_plan *plan,
                      char *device, int round)
{
    const int64_t bytes = FED * (int64_t)be->real_bytes;
    char *slot = backend_slot(ring, ring->started);
    memset(slot, 0xff, (size_t)plan->bytes);
    put_numbers(be, slot, round);
    if (be->program_begin(be, ring, round % 2)) {
        be->feed(be, ring, device, plan->numbers, bytes);
        be->zero(be, device + plan->squares, (int64_t)be->real_bytes);
        be->sum_squares(be, device + plan->squares, device, FED);
        be->publish(be, ring, plan->squares, device + plan->squares, (int64_t)be->real_bytes);
        if (round % 2)
            be->publish(be, ring, plan->copy, device, bytes);
    }
    be->program_end(be, ring, round % 2);
}

static void check_round(const struct backend *be, const char *slot, const struct slot_plan *plan,
                        int round)
{
    double squares = 0;
    for (int i = 0; i < FED; i++)
        squares += number_of(round, i) * number_of(round, i);
    const double got = be->real_bytes == sizeof(double)
                           ? *(const double *)(const void *)(slot + plan->squares)
                           : (double)*(const float *)(const void *)(slot + plan->squares);
    if (got != squares)
        fail_msg("round %d: the sum of squares is %g, not %g", round, got, squares);
    if (round % 2)
        check_numbers(be, slot + plan->copy, round, FED);
}

void ops_check_programs(const struct ops_subject *subject)
{
    struct err err = ERR_INIT;
    struct backend *be;
    if (subject->open(&be, &err) != 0)
        fail_msg("%s", err.message);
    const int64_t numbers = (FED * (int64_t)be->real_bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    const struct slot_plan plan = {0, numbers, numbers + ALIGNED, 2 * numbers + ALIGNED};
    struct backend_ring *ring = be->ring_open(be, plan.bytes, &err);
    char *device = be->alloc(be, plan.bytes, &err);
    if (!ring || !device)
        fail_msg("%s", err.message);
    assert_int_equal(ring->slots, be->slots);
    for (int round = 0, ahead = 0; round < ROUNDS; round++) {
        for (; ahead < ROUNDS && ahead - round < ring->slots; ahead++)
            run_round(be, ring, &plan, device, ahead);
        if (be->ring_wait(be, ring, round, &err) != 0)
            fail_msg("%s", err.message);
        check_round(be, backend_slot(ring, round), &plan, round);
    }
    assert_int_equal(ring->started, ROUNDS);
    be->ring_close(be, ring);
    be->free(be, device);
    be->close(be);
}
