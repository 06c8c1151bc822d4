/* gemm: see gemm.h. cuBLASLt's matrices are column-major and ours row-major, so it computes the
 * transposed product, with b first. Descriptors and algorithm of a shape are chosen at its first
 * use and kept, at least as long as the ring whose programs use it: a capture asks nothing, since
 * newer versions of the library refuse that. What a plan computes the first time is checked
 * (gemm_check.h), outside of any capture. The rule measures nothing: of cuBLASLt's proposals,
 * which need no more than our workspace and add partial sums in float32, in a step of their own, it
 * takes the first that is not known to lose a part of k. float32 is never rounded to TF32. */
#include "gpu/cuda/gemm.h"

#include "gpu/cuda/gemm_check.h"

#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLANS_KEPT = 256, /* across jobs, of about 17 each, or up to 120 at awkward widths */
    PLANS_STEP = 64,  /* by which the table grows */
    PROPOSALS = 8,    /* asked for, so that one is left when the first are not trusted */
    ALIGNMENT_MAX = 256
};

/* Everything that the choice of an algorithm depends on. Keys are compared byte by byte, so they
 * have no pointers and no padding. */
struct plan_key {
    int64_t lda, ldb, ldout, ldaux;
    int32_t m, n, k, transpose_a, transpose_b, out_real, accumulate, epilogue;
    uint32_t align_a, align_b, align_out, align_bias, align_aux, zero;
};
static_assert(sizeof(struct plan_key) == 4 * sizeof(int64_t) + 14 * sizeof(int32_t),
              "a key has no padding");

struct plan {
    struct plan_key key;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, out;
    cublasLtMatmulAlgo_t algorithm;
    cublasStatus_t status; /* result of choosing or using the algorithm */
    int loses;             /* no algorithm is trusted with this k */
    int is_proved;         /* what it computed has been checked */
};

struct cuda_plans {
    cublasLtHandle_t handle;
    void *workspace; /* device, CUDA_WORKSPACE bytes */
    int n, room;
    struct plan *plan; /* [room] */
};

void cuda_gemm_library(char *text, size_t size)
{
    const size_t version = cublasLtGetVersion();
    snprintf(text, size, "cuBLASLt %zu.%zu.%zu", version / 10000, version / 100 % 100,
             version % 100);
}

int cuda_gemm_open(struct cuda *cuda, struct err *err)
{
    struct cuda_plans *plans = static_cast<struct cuda_plans *>(calloc(1, sizeof *plans));
    if (!plans)
        return err_set(err, ERR_NO_MEMORY, "no memory for the plans of matrix products");
    cuda->plans = plans;
    const cublasStatus_t status = cublasLtCreate(&plans->handle);
    if (status != CUBLAS_STATUS_SUCCESS)
        return err_set(err, ERR_UNAVAILABLE, "cublasLtCreate: %s", cublasLtGetStatusName(status));
    plans->workspace = cuda->table.alloc(&cuda->table, CUDA_WORKSPACE, err);
    return plans->workspace ? 0 : -1;
}

static void free_plan(struct plan *plan)
{
    if (plan->product)
        cublasLtMatmulDescDestroy(plan->product);
    if (plan->a)
        cublasLtMatrixLayoutDestroy(plan->a);
    if (plan->b)
        cublasLtMatrixLayoutDestroy(plan->b);
    if (plan->out)
        cublasLtMatrixLayoutDestroy(plan->out);
    memset(plan, 0, sizeof *plan);
}

static void forget_plans(struct cuda_plans *plans)
{
    while (plans->n > 0)
        free_plan(&plans->plan[--plans->n]);
}

void cuda_gemm_begin(struct cuda *cuda)
{
    if (cuda->rings == 0 && cuda->plans->n > PLANS_KEPT)
        forget_plans(cuda->plans);
}

void cuda_gemm_close(struct cuda *cuda)
{
    struct cuda_plans *plans = cuda->plans;
    if (!plans)
        return;
    forget_plans(plans);
    free(plans->plan);
    cuda_discard(plans->workspace);
    if (plans->handle)
        cublasLtDestroy(plans->handle);
    free(plans);
}

/* Largest power of two, up to 256, that divides an address. */
static uint32_t alignment(const void *address)
{
    uint32_t align = ALIGNMENT_MAX;
    while (reinterpret_cast<uintptr_t>(address) % align != 0)
        align /= 2;
    return align;
}

static struct plan_key key_of(const struct cuda_gemm *g)
{
    struct plan_key key;
    memset(&key, 0, sizeof key);
    key.lda = g->lda;
    key.ldb = g->ldb;
    key.ldout = g->ldout;
    key.m = g->m;
    key.n = g->n;
    key.k = g->k;
    key.transpose_a = g->transpose_a;
    key.transpose_b = g->transpose_b;
    key.out_real = g->out_real;
    key.accumulate = g->accumulate;
    key.align_a = alignment(g->a);
    key.align_b = alignment(g->b);
    key.align_out = alignment(g->out);
    key.epilogue = g->epilogue;
    key.ldaux = g->ldaux;
    key.align_bias = alignment(g->bias);
    key.align_aux = alignment(g->aux);
    return key;
}

/* Run a call if all before it succeeded; keeps the first failure. */
#define TRY(status, call)                                                                          \
    do {                                                                                           \
        if ((status) == CUBLAS_STATUS_SUCCESS)                                                     \
            (status) = (call);                                                                     \
    } while (0)

/* The library considers the addresses' alignment when it chooses an algorithm. Our columns are its
 * rows: its bias runs along our rows, and its first matrix is our b. */
static cublasStatus_t point(struct plan *plan, const struct cuda_gemm *g)
{
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (g->bias)
        TRY(status, cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                   &g->bias, sizeof g->bias));
    if (g->aux)
        TRY(status,
            cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
                                           &g->aux, sizeof g->aux));
    return status;
}

static cublasStatus_t add_epilogue(struct plan *plan, const struct cuda_gemm *g)
{
    static const cublasLtEpilogue_t names[] = {CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS,
                                               CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
                                               CUBLASLT_EPILOGUE_DGELU, CUBLASLT_EPILOGUE_BGRADA};
    const uint32_t epilogue = names[g->epilogue];
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    TRY(status, cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                               &epilogue, sizeof epilogue));
    if (g->aux)
        TRY(status,
            cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                                           &g->ldaux, sizeof g->ldaux));
    TRY(status, point(plan, g));
    return status;
}

static cublasStatus_t describe(const struct cuda *cuda, struct plan *plan)
{
    const struct plan_key *key = &plan->key;
    const cudaDataType act = cuda->table.act_bytes == 2 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasOperation_t first = key->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = key->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const uint64_t m = (uint64_t)key->m, n = (uint64_t)key->n, k = (uint64_t)key->k;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    TRY(status, cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    TRY(status, cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSA, &first,
                                               sizeof first));
    TRY(status, cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                                               sizeof second));
    TRY(status, cublasLtMatrixLayoutCreate(&plan->b, act, key->transpose_b ? k : n,
                                           key->transpose_b ? n : k, key->ldb));
    TRY(status, cublasLtMatrixLayoutCreate(&plan->a, act, key->transpose_a ? m : k,
                                           key->transpose_a ? k : m, key->lda));
    TRY(status,
        cublasLtMatrixLayoutCreate(&plan->out, key->out_real ? CUDA_R_32F : act, n, m, key->ldout));
    return status;
}

/* Others have seen algorithm 66 leave out, silently, what k has beyond a multiple of 64 (cuBLASLt
 * 12.8.5 and 13.1.1 on an H100), under these conditions. The smallest k they saw it at is 11528; it
 * is a batch's number of positions here. */
static int loses_tail(int32_t algorithm, int32_t parts, int32_t k)
{
    enum { SUSPECT = 66, TILE = 64 };
    const int32_t tail = k % TILE;
    return algorithm == SUSPECT && tail != 0 && parts > tail && k / TILE % parts == 0;
}

/* Is the proposal one that computes, with all of k? */
static int is_trusted(const cublasLtMatmulHeuristicResult_t *proposal, int32_t k)
{
    int32_t algorithm = 0, parts = 0;
    size_t written;
    cublasStatus_t status = proposal->state;
    TRY(status, cublasLtMatmulAlgoConfigGetAttribute(&proposal->algo, CUBLASLT_ALGO_CONFIG_ID,
                                                     &algorithm, sizeof algorithm, &written));
    TRY(status,
        cublasLtMatmulAlgoConfigGetAttribute(&proposal->algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
                                             &parts, sizeof parts, &written));
    return status == CUBLAS_STATUS_SUCCESS && !loses_tail(algorithm, parts, k);
}

/* The same algorithm with k in one part, if it can. */
static cublasStatus_t do_not_split(struct cuda_plans *plans, struct plan *plan)
{
    const int32_t one = 1;
    const uint32_t nothing = CUBLASLT_REDUCTION_SCHEME_NONE;
    cublasLtMatmulAlgo_t *algorithm = &plan->algorithm;
    cublasLtMatmulHeuristicResult_t checked;
    cublasStatus_t status = cublasLtMatmulAlgoConfigSetAttribute(
        algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &one, sizeof one);
    TRY(status, cublasLtMatmulAlgoConfigSetAttribute(
                    algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &nothing, sizeof nothing));
    TRY(status, cublasLtMatmulAlgoCheck(plans->handle, plan->product, plan->b, plan->a, plan->out,
                                        plan->out, algorithm, &checked));
    if (status == CUBLAS_STATUS_SUCCESS && checked.workspaceSize > CUDA_WORKSPACE)
        status = CUBLAS_STATUS_NOT_SUPPORTED;
    return status;
}

static cublasStatus_t take(struct cuda_plans *plans, struct plan *plan,
                           const cublasLtMatmulHeuristicResult_t *proposals, int n)
{
    int i = 0;
    if (n == 0)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    while (i < n && !is_trusted(&proposals[i], plan->key.k))
        i++;
    plan->algorithm = proposals[i < n ? i : 0].algo;
    if (i < n)
        return CUBLAS_STATUS_SUCCESS;
    cublasStatus_t status = proposals[0].state;
    TRY(status, do_not_split(plans, plan));
    plan->loses = status != CUBLAS_STATUS_SUCCESS && proposals[0].state == CUBLAS_STATUS_SUCCESS;
    return status;
}

static cublasStatus_t choose(struct cuda_plans *plans, struct plan *plan)
{
    const size_t workspace = CUDA_WORKSPACE;
    const uint32_t in_float = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const void *value;
        size_t bytes;
    } wishes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &in_float, sizeof in_float},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &plan->key.align_b, sizeof(uint32_t)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &plan->key.align_a, sizeof(uint32_t)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &plan->key.align_out, sizeof(uint32_t)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &plan->key.align_out, sizeof(uint32_t)},
    };
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t proposals[PROPOSALS];
    int found = 0;
    cublasStatus_t status = cublasLtMatmulPreferenceCreate(&preference);
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++)
        TRY(status, cublasLtMatmulPreferenceSetAttribute(preference, wishes[i].attribute,
                                                         wishes[i].value, wishes[i].bytes));
    TRY(status,
        cublasLtMatmulAlgoGetHeuristic(plans->handle, plan->product, plan->b, plan->a, plan->out,
                                       plan->out, preference, PROPOSALS, proposals, &found));
    if (preference)
        cublasLtMatmulPreferenceDestroy(preference);
    TRY(status, take(plans, plan, proposals, found));
    return status;
}

static void fail(struct cuda *cuda, enum err_code code, const char *operation, const char *what,
                 const struct cuda_gemm *g, const char *why)
{
    char message[ERR_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s: %s of %d x %d x %d%s", operation, what, g->m, g->n, g->k,
             why);
    cuda_fault_keep(cuda, code, message);
}

/* With the status' name. */
static void fail_status(struct cuda *cuda, const char *operation, const char *what,
                        const struct cuda_gemm *g, cublasStatus_t status)
{
    char why[CUDA_NAME_MAX];
    snprintf(why, sizeof why, ": %s", cublasLtGetStatusName(status));
    fail(cuda, ERR_DEVICE, operation, what, g, why);
}

/* Room for one more plan; earlier pointers to plans are void. */
static struct plan *add_plan(struct cuda_plans *plans)
{
    if (plans->n == plans->room) {
        void *more = realloc(plans->plan, (size_t)(plans->room + PLANS_STEP) * sizeof *plans->plan);
        if (!more)
            return NULL;
        plans->plan = static_cast<struct plan *>(more);
        plans->room += PLANS_STEP;
    }
    struct plan *plan = &plans->plan[plans->n++];
    memset(plan, 0, sizeof *plan);
    return plan;
}

/* The kept plan of a shape, or a new one, which may say that there is no algorithm. NULL: there is a
 * fault. */
static struct plan *plan_of(struct cuda *cuda, const char *operation, const struct cuda_gemm *g)
{
    struct cuda_plans *plans = cuda->plans;
    const struct plan_key key = key_of(g);
    for (int i = 0; i < plans->n; i++)
        if (memcmp(&plans->plan[i].key, &key, sizeof key) == 0)
            return &plans->plan[i];
    if (cuda->capturing) {
        fail(cuda, ERR_INTERNAL, operation, "a product", g,
             " is new in the round that is recorded");
        return NULL;
    }
    struct plan *plan = add_plan(plans);
    if (!plan) {
        fail(cuda, ERR_DEVICE, operation, "no memory for the plan", g, "");
        return NULL;
    }
    memcpy(&plan->key, &key, sizeof key);
    plan->status = describe(cuda, plan);
    TRY(plan->status, add_epilogue(plan, g));
    TRY(plan->status, choose(plans, plan));
    return plan;
}

static cublasStatus_t multiply(struct cuda *cuda, const char *operation, struct plan *plan,
                               const struct cuda_gemm *g)
{
    const float beta = g->accumulate ? 1 : 0;
    cublasStatus_t status = point(plan, g);
    TRY(status,
        cublasLtMatmul(cuda->plans->handle, plan->product, &g->alpha, g->b, plan->b, g->a, plan->a,
                       &beta, g->out, plan->out, g->out, plan->out, &plan->algorithm,
                       cuda->plans->workspace, CUDA_WORKSPACE, cuda->stream));
    if (status == CUBLAS_STATUS_SUCCESS)
        cuda_fault_launched(cuda, operation);
    return status;
}

/* A plan's first result is wrong: the device, or the library on it, cannot be trusted. */
static void fail_wrong(struct cuda *cuda, const char *operation, const struct plan *plan,
                       const struct cuda_gemm *g, const struct cuda_gemm_measure *measure)
{
    int32_t algorithm = -1, parts = -1;
    size_t written;
    char why[2 * CUDA_NAME_MAX];
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    TRY(status, cublasLtMatmulAlgoConfigGetAttribute(&plan->algorithm, CUBLASLT_ALGO_CONFIG_ID,
                                                     &algorithm, sizeof algorithm, &written));
    TRY(status,
        cublasLtMatmulAlgoConfigGetAttribute(&plan->algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
                                             &parts, sizeof parts, &written));
    snprintf(why, sizeof why,
             ", algorithm %d, k in %d part%s: error %.3g, bound %.3g, in the rows from %d on",
             algorithm, parts, parts == 1 ? "" : "s", measure->error, measure->bound, measure->row);
    fail(cuda, ERR_DEVICE, operation, "a wrong product", g, why);
}

/* Queue the product; the first time of a plan, wait for it and check it. */
static cublasStatus_t compute(struct cuda *cuda, const char *operation, struct plan *plan,
                              const struct cuda_gemm *g)
{
    struct cuda_gemm_measure measure;
    const int is_new = !plan->is_proved && !cuda->capturing;
    if (is_new)
        cuda_gemm_check_before(cuda, g);
    const cublasStatus_t status = multiply(cuda, operation, plan, g);
    if (!is_new || status != CUBLAS_STATUS_SUCCESS)
        return status;
    const enum cuda_gemm_verdict verdict = cuda_gemm_check_after(cuda, g, &measure);
    plan->is_proved = verdict == CUDA_GEMM_HOLDS;
    if (verdict == CUDA_GEMM_WRONG)
        fail_wrong(cuda, operation, plan, g, &measure);
    return status;
}

void cuda_gemm(struct cuda *cuda, const char *operation, const struct cuda_gemm *g)
{
    struct plan *plan = plan_of(cuda, operation, g);
    if (!plan)
        return;
    if (plan->status != CUBLAS_STATUS_SUCCESS) {
        fail_status(cuda, operation,
                    plan->loses ? "every algorithm loses the tail of k, for a product"
                                : "no algorithm for a product",
                    g, plan->status);
        return;
    }
    const cublasStatus_t status = compute(cuda, operation, plan, g);
    if (status != CUBLAS_STATUS_SUCCESS)
        fail_status(cuda, operation, "cublasLtMatmul", g, status);
}

/* A slope is checked against the product without it, which `out` holds then. */
static struct plan *compute_plain(struct cuda *cuda, const char *operation,
                                  const struct cuda_gemm *g)
{
    struct cuda_gemm plain = *g;
    plain.epilogue = CUDA_PRODUCT;
    plain.aux = NULL;
    plain.ldaux = 0;
    cuda_gemm(cuda, operation, &plain);
    return plan_of(cuda, operation, g); /* which may have moved */
}

int cuda_gemm_fused(struct cuda *cuda, const char *operation, const struct cuda_gemm *g)
{
    struct plan *plan = plan_of(cuda, operation, g);
    if (!plan)
        return 1;
    if (plan->status != CUBLAS_STATUS_SUCCESS)
        return 0;
    if (g->epilogue == CUDA_GELU_NEW_SLOPE && !plan->is_proved && !cuda->capturing)
        plan = compute_plain(cuda, operation, g);
    const cublasStatus_t status = compute(cuda, operation, plan, g);
    /* In a capture the plan is one that a product has used before: the capture is refused. */
    if (!cuda->capturing &&
        (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE)) {
        plan->status = status; /* not tried again */
        return 0;
    }
    if (status != CUBLAS_STATUS_SUCCESS)
        fail_status(cuda, operation, "cublasLtMatmul", g, status);
    return 1;
}
