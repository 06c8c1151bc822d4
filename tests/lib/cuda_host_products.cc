/* cuda_host_products: matrix products as cuBLASLt defines them (column-major,
 * D = epilogue(alpha op(A) op(B) + beta C)), in plain loops, behind the library's
 * interface in tests/lib/cublasLt.h. Everything is taken from the descriptors, so
 * that a wrong one gives wrong numbers or a refusal; an algorithm is good for the
 * problem it was proposed for and no other. Products of k > 64 are split in two
 * where preference and workspace allow: partial sums of the second half lie in the
 * workspace. Algorithm 66 loses what is left of k beyond a multiple of 64, where others
 * have seen the library lose it. Queued on the stream like a kernel. Tests only. */
#include <cublasLt.h>

#include <algorithm>
#include <vector>

#include "gpu/cuda/cuda_internal.h"
#include "tests/lib/cuda_host_control.h"

struct cuda_host_products cuda_host_products;

struct cublas_host_handle {
    int nothing;
};

struct cublas_host_product {
    cublasComputeType_t compute;
    cudaDataType scale;
    cublasOperation_t transpose_a, transpose_b;
    uint32_t epilogue;
    void *bias, *aux;
    int64_t aux_ld;
};

struct cublas_host_layout {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t ld;
};

struct cublas_host_preference {
    uint64_t workspace;
    uint32_t schemes, align[4]; /* of A, B, C, D */
};

namespace
{

enum { SPLIT_ABOVE = 64, AUX_LD_UNIT = 8, VECTOR_ALIGN = 16, USUAL = 1, LOSING = 66, TILE = 64 };

/* What an algorithm holds. */
struct algorithm {
    uint64_t problem; /* a hash of everything the proposal depended on */
    uint32_t align[4], scheme;
    int32_t id, splits;
};
static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm fits");

struct problem {
    struct cublas_host_product p;
    struct cublas_host_layout a, b, c, d;
};

uint64_t hash_of(const struct problem &q)
{
    const uint64_t parts[] = {q.p.compute,      q.p.scale,        q.p.transpose_a,
                              q.p.transpose_b,  q.p.epilogue,     (uint64_t)q.p.aux_ld,
                              q.a.type,         q.a.rows,         q.a.columns,
                              (uint64_t)q.a.ld, q.b.type,         q.b.rows,
                              q.b.columns,      (uint64_t)q.b.ld, q.c.type,
                              q.c.rows,         q.c.columns,      (uint64_t)q.c.ld,
                              q.d.type,         q.d.rows,         q.d.columns,
                              (uint64_t)q.d.ld};
    uint64_t hash = 1;
    for (uint64_t part : parts)
        hash = (hash ^ part) * UINT64_C(0x9e3779b97f4a7c15) ^ hash >> 29;
    return hash;
}

uint64_t rows_of(const struct cublas_host_layout &m, cublasOperation_t operation)
{
    return operation == CUBLAS_OP_N ? m.rows : m.columns;
}

uint64_t columns_of(const struct cublas_host_layout &m, cublasOperation_t operation)
{
    return operation == CUBLAS_OP_N ? m.columns : m.rows;
}

bool has_bias(uint32_t epilogue)
{
    return epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS ||
           epilogue == CUBLASLT_EPILOGUE_BGRADA;
}

bool has_aux(uint32_t epilogue)
{
    return epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS || epilogue == CUBLASLT_EPILOGUE_DGELU;
}

bool aligned(const void *address, uint64_t to)
{
    return to != 0 && reinterpret_cast<uintptr_t>(address) % to == 0;
}

/* The descriptors fit each other: what the library calls an invalid value. */
bool is_valid(const struct problem &q)
{
    const struct cublas_host_layout *const all[] = {&q.a, &q.b, &q.c, &q.d};
    for (const struct cublas_host_layout *m : all)
        if (m->rows == 0 || m->columns == 0 || m->ld < (int64_t)m->rows)
            return false;
    return rows_of(q.a, q.p.transpose_a) == q.d.rows &&
           columns_of(q.b, q.p.transpose_b) == q.d.columns &&
           columns_of(q.a, q.p.transpose_a) == rows_of(q.b, q.p.transpose_b) &&
           q.c.rows == q.d.rows && q.c.columns == q.d.columns;
}

/* The table of types that the library multiplies, and its rules for epilogues. */
bool is_supported(const struct problem &q)
{
    static const cudaDataType types[][2] = {{CUDA_R_32F, CUDA_R_32F}, /* A and B, C and D */
                                            {CUDA_R_16BF, CUDA_R_16BF},
                                            {CUDA_R_16BF, CUDA_R_32F}};
    bool known = false;
    for (const auto &row : types)
        known |=
            q.a.type == row[0] && q.b.type == row[0] && q.c.type == row[1] && q.d.type == row[1];
    if (!known || q.p.compute != CUBLAS_COMPUTE_32F || q.p.scale != CUDA_R_32F)
        return false;
    if (has_aux(q.p.epilogue) && (!aligned(q.p.aux, VECTOR_ALIGN) ||
                                  q.p.aux_ld % AUX_LD_UNIT != 0 || q.p.aux_ld < (int64_t)q.d.rows))
        return false;
    return !has_bias(q.p.epilogue) || q.p.bias;
}

/* ---- the product ---- */

float load_as(const void *from, cudaDataType type, int64_t i)
{
    return type == CUDA_R_32F ? load(static_cast<const float *>(from) + i)
                              : load(static_cast<const struct bf16 *>(from) + i);
}

void store_as(void *to, cudaDataType type, int64_t i, float value)
{
    if (type == CUDA_R_32F)
        store(static_cast<float *>(to) + i, value);
    else
        store(static_cast<struct bf16 *>(to) + i, value);
}

/* op(M) as float32, dense and column-major. */
std::vector<float> dense(const void *from, const struct cublas_host_layout &m,
                         cublasOperation_t operation)
{
    const int64_t rows = (int64_t)rows_of(m, operation);
    const int64_t columns = (int64_t)columns_of(m, operation);
    std::vector<float> out((size_t)(rows * columns));
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = 0; i < rows; i++)
            out[(size_t)(j * rows + i)] =
                load_as(from, m.type, operation == CUBLAS_OP_N ? j * m.ld + i : i * m.ld + j);
    return out;
}

/* The tanh form, and its slope (Hendrycks & Gimpel 2016, section 2). */
float gelu(float x)
{
    return 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

float gelu_slope(float x)
{
    const float t = tanhf(0.7978845608f * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 0.134145f * x * x);
}

/* What becomes of number i of column j before it is stored. */
float finish(const struct problem &q, enum cuda_host_wrong wrong, float value, int64_t i, int64_t j)
{
    const int64_t at = j * q.p.aux_ld + i;
    if (wrong == CUDA_HOST_NO_TILE && i >= (int64_t)q.d.rows - 16 && j >= (int64_t)q.d.columns - 16)
        value = 0;
    if (q.p.epilogue == CUBLASLT_EPILOGUE_DGELU)
        return wrong == CUDA_HOST_NO_SLOPE ? value
                                           : value * gelu_slope(load_as(q.p.aux, q.d.type, at));
    if (q.p.epilogue != CUBLASLT_EPILOGUE_BIAS && q.p.epilogue != CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
        return value;
    if (wrong != CUDA_HOST_NO_BIAS)
        value += load_as(q.p.bias, q.d.type, i);
    if (q.p.epilogue == CUBLASLT_EPILOGUE_BIAS)
        return value;
    if (wrong != CUDA_HOST_NO_AUX)
        store_as(q.p.aux, q.d.type, at, value);
    return wrong == CUDA_HOST_NO_GELU ? value : gelu(value);
}

struct operands {
    const void *A, *B, *C;
    void *D, *workspace;
    float alpha, beta;
    enum cuda_host_wrong wrong;
};

/* sums [m] += left [m, first..end) . column */
void add_columns(float *sums, const float *left, const float *column, int64_t m, int64_t first,
                 int64_t end)
{
    for (int64_t k = first; k < end; k++) {
        const float factor = column[k], *from = left + k * m;
        for (int64_t i = 0; i < m; i++)
            sums[i] += from[i] * factor;
    }
}

/* How much of k the algorithm takes into account. */
int64_t k_taken(int64_t k, const struct algorithm &chosen)
{
    const bool loses = chosen.id == LOSING && k % TILE != 0 && k / TILE % chosen.splits == 0 &&
                       chosen.splits > k % TILE;
    return loses ? k / TILE * TILE : k;
}

void multiply(const struct problem &q, const struct operands &o, const struct algorithm &chosen)
{
    const std::vector<float> left = dense(o.A, q.a, q.p.transpose_a);
    const std::vector<float> right = dense(o.B, q.b, q.p.transpose_b);
    const int64_t m = (int64_t)q.d.rows, n = (int64_t)q.d.columns;
    const int64_t k = (int64_t)columns_of(q.a, q.p.transpose_a);
    const int64_t taken = k_taken(k, chosen) - (o.wrong == CUDA_HOST_NO_TAIL && k > 8 ? 8 : 0);
    const int64_t half = chosen.splits == 1 ? taken : taken / 2;
    float *rest = static_cast<float *>(o.workspace);
    std::vector<float> sums((size_t)m);
    for (int64_t j = 0; j < n; j++) {
        sums.assign(sums.size(), 0);
        add_columns(sums.data(), left.data(), right.data() + j * k, m, 0, half);
        if (half < taken) {
            std::fill(rest, rest + m, 0.0f);
            add_columns(rest, left.data(), right.data() + j * k, m, half, taken);
        }
        for (int64_t i = 0; i < m; i++) {
            float value = o.alpha * (half < taken ? sums[(size_t)i] + rest[i] : sums[(size_t)i]);
            if (o.beta != 0 && o.wrong != CUDA_HOST_NO_SUM)
                value += o.beta * load_as(o.C, q.c.type, j * q.c.ld + i);
            store_as(o.D, q.d.type, j * q.d.ld + i, finish(q, o.wrong, value, i, j));
        }
    }
    if (q.p.epilogue != CUBLASLT_EPILOGUE_BGRADA)
        return;
    for (int64_t i = 0; i < m; i++) {
        float sum = 0;
        for (int64_t step = 0; step < k; step++)
            sum += left[(size_t)(step * m + i)];
        store_as(q.p.bias, q.d.type, i, sum);
    }
}

uint32_t scheme_for(int splits)
{
    return splits > 1 ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : CUBLASLT_REDUCTION_SCHEME_NONE;
}

uint64_t workspace_for(const struct problem &q, int splits)
{
    return splits > 1 ? q.d.rows * sizeof(float) : 0;
}

void propose(cublasLtMatmulHeuristicResult_t *out, const struct problem &q,
             cublasLtMatmulPreference_t preference, struct cuda_host_proposal told)
{
    struct algorithm chosen = {hash_of(q), {0}, scheme_for(told.splits), told.id, told.splits};
    memcpy(chosen.align, preference->align, sizeof chosen.align);
    *out = {};
    memcpy(&out->algo, &chosen, sizeof chosen);
    out->workspaceSize = workspace_for(q, told.splits);
    out->state = CUBLAS_STATUS_SUCCESS;
}

/* Destroying one that is not there is a fault of the caller: sanitizers see it. */
template <class T> cublasStatus_t create(T **out)
{
    *out = new T{};
    cuda_host_products.alive++;
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> cublasStatus_t destroy(T *object)
{
    delete object;
    cuda_host_products.alive--;
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> cublasStatus_t set(T *to, const void *value, size_t bytes)
{
    if (bytes != sizeof *to)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

} // namespace

/* ---- the interface ---- */

size_t cublasLtGetVersion(void)
{
    return 130000;
}

const char *cublasLtGetStatusName(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
        return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
        return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
        return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "unknown status";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    return cuda_host_products.no_handle ? CUBLAS_STATUS_NOT_INITIALIZED : create(out);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    return destroy(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType scale)
{
    const cublasStatus_t status = create(out);
    (*out)->compute = compute;
    (*out)->scale = scale;
    (*out)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return status;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product)
{
    return destroy(product);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(&product->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return set(&product->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return set(&product->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return set(&product->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
        return set(&product->aux, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
        return set(&product->aux_ld, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    const cublasStatus_t status = create(out);
    **out = {type, rows, columns, ld};
    return status;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    return destroy(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    const cublasStatus_t status = create(out);
    **out = {0, CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}};
    return status;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    return destroy(preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return set(&preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return set(&preference->schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return set(&preference->align[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
                   value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t out[], int *found)
{
    const struct problem q = {*product, *a, *b, *c, *d};
    cuda_host_products.queries++;
    *found = 0;
    if (cuda_host_captures()) /* as CUDA 13.3 does */
        return CUBLAS_STATUS_INTERNAL_ERROR;
    if (!is_valid(q) || wanted < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!is_supported(q) || (q.p.epilogue & cuda_host_products.refused))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const struct cuda_host_proposal *told = cuda_host_products.proposals;
    const bool splits = columns_of(q.a, q.p.transpose_a) > SPLIT_ABOVE &&
                        workspace_for(q, 2) <= preference->workspace &&
                        preference->schemes == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    if (told->splits == 0)
        propose(&out[(*found)++], q, preference, {USUAL, splits ? 2 : 1});
    for (int i = 0; i < CUDA_HOST_PROPOSALS && told[i].splits && *found < wanted; i++)
        propose(&out[(*found)++], q, preference, told[i]);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void *value, size_t bytes, size_t *written)
{
    struct algorithm chosen;
    memcpy(&chosen, algorithm, sizeof chosen);
    const void *from = attribute == CUBLASLT_ALGO_CONFIG_ID           ? (void *)&chosen.id
                       : attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM ? (void *)&chosen.splits
                                                                      : (void *)&chosen.scheme;
    if (bytes != sizeof(int32_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(value, from, bytes);
    *written = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigSetAttribute(cublasLtMatmulAlgo_t *algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    struct algorithm chosen;
    memcpy(&chosen, algorithm, sizeof chosen);
    if (attribute == CUBLASLT_ALGO_CONFIG_ID || bytes != sizeof(int32_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM ? (void *)&chosen.splits
                                                        : (void *)&chosen.scheme,
           value, bytes);
    memcpy(algorithm, &chosen, sizeof chosen);
    return CUBLAS_STATUS_SUCCESS;
}

/* The need of workspace follows from how k is split. */
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algorithm,
                                       cublasLtMatmulHeuristicResult_t *out)
{
    const struct problem q = {*product, *a, *b, *c, *d};
    struct algorithm chosen;
    memcpy(&chosen, algorithm, sizeof chosen);
    *out = {};
    if (chosen.problem != hash_of(q) || scheme_for(chosen.splits) != chosen.scheme)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (cuda_host_products.only_split && chosen.splits == 1)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    out->algo = *algorithm;
    out->workspaceSize = workspace_for(q, chosen.splits);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t a, const void *B,
                              cublasLtMatrixLayout_t b, const void *beta, const void *C,
                              cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream)
{
    const struct problem q = {*product, *a, *b, *c, *d};
    const void *const addresses[] = {A, B, C, D};
    struct algorithm chosen;
    memcpy(&chosen, algorithm, sizeof chosen);
    if (!is_valid(q) || !is_supported(q) || chosen.problem != hash_of(q) ||
        workspace_for(q, chosen.splits) > workspace_bytes || !aligned(workspace, VECTOR_ALIGN))
        return CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 4; i++)
        if (!aligned(addresses[i], chosen.align[i]))
            return CUBLAS_STATUS_INVALID_VALUE;
    if ((has_bias(q.p.epilogue) && !aligned(q.p.bias, VECTOR_ALIGN)) ||
        (q.p.epilogue & cuda_host_products.refused_late)) {
        cuda_host_products.turned_away++;
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (cuda_host_refuses(stream, CUDA_HOST_NO_PRODUCT))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (cuda_host_products.fail_next) {
        cuda_host_products.fail_next = 0;
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    cuda_host_products.products++;
    if (q.p.epilogue != CUBLASLT_EPILOGUE_DEFAULT)
        cuda_host_products.fused++;
    const struct operands o = {A,
                               B,
                               C,
                               D,
                               workspace,
                               *static_cast<const float *>(alpha),
                               *static_cast<const float *>(beta),
                               cuda_host_products.wrong};
    cuda_host_enqueue(stream, [q, o, chosen] { multiply(q, o, chosen); });
    return CUBLAS_STATUS_SUCCESS;
}
