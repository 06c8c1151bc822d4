/* lm_head: output layer, softmax, loss, objective and their gradient on the cuda backend. The batch
 * is processed in chunks of rows: logits of a chunk (float32), logsumexp and loss of each row,
 * logits of the tracked tokens, the objective, then its gradient in place of the logits, from which
 * dh and dweight follow. In bf16 the gradient uses the first half of its row's bytes. Columns V..Vp
 * influence no result; products include them, because cuBLASLt's kernels are slower for sizes that
 * are no multiple of 16 bytes: their logits are never read, and their gradient is 0.
 *
 * Where a row of logits fits the shared memory of a block (GPT-2's vocabulary does on Hopper) one
 * fused kernel reads and writes each logit once. Elsewhere separate kernels read them again. */
#include "gpu/cuda/lm_head.h"

#include <float.h>

#include "gpu/cuda/cuda_internal.h"
#include "gpu/cuda/gemm.h"
#include "gpu/cuda/rows.h"

enum { ROW_THREADS = 1024, ROW_WARPS = ROW_THREADS / CUDA_WARP };

/* Sum of exp(x - largest) over a set of logits; sums of disjoint sets can be joined. The empty set
 * is {-FLT_MAX, 0}; a non-finite logit makes the sum NaN or infinite. */
struct softmax_sum {
    float largest, sum;
};

__device__ __forceinline__ struct softmax_sum joined(struct softmax_sum a, struct softmax_sum b)
{
    struct softmax_sum out;
    out.largest = a.largest > b.largest ? a.largest : b.largest;
    out.sum = a.sum * expf(a.largest - out.largest) + b.sum * expf(b.largest - out.largest);
    return out;
}

__device__ __forceinline__ struct softmax_sum warp_joined(struct softmax_sum s)
{
    for (int distance = CUDA_WARP / 2; distance > 0; distance /= 2) {
        struct softmax_sum other;
        other.largest = __shfl_xor_sync(0xffffffffu, s.largest, distance);
        other.sum = __shfl_xor_sync(0xffffffffu, s.sum, distance);
        /* both lanes join in the same order, so their bits agree */
        s = threadIdx.x & (unsigned)distance ? joined(other, s) : joined(s, other);
    }
    return s;
}

/* Sum of the block's row, logits plus bias (or NULL) plus adjust (or NULL), in the threads of the
 * first warp. of_warp: scratch, one sum per warp. */
__device__ static struct softmax_sum row_joined(const float *row, const float *bias,
                                                const float *adjust, int V,
                                                struct softmax_sum *of_warp)
{
    struct softmax_sum s = {-FLT_MAX, 0};
    for (int v = (int)threadIdx.x; v < V; v += ROW_THREADS) {
        const float logit = row[v] + (bias ? bias[v] : 0) + (adjust ? adjust[v] : 0);
        if (logit > s.largest) {
            s.sum = s.sum * expf(s.largest - logit) + 1;
            s.largest = logit;
        } else {
            s.sum += expf(logit - s.largest);
        }
    }
    s = warp_joined(s);
    if (threadIdx.x % CUDA_WARP == 0)
        of_warp[threadIdx.x / CUDA_WARP] = s;
    __syncthreads();
    return threadIdx.x < CUDA_WARP ? warp_joined(of_warp[threadIdx.x]) : s;
}

/* Block r: logsumexp and loss of row r. */
__global__ void __launch_bounds__(ROW_THREADS)
    loss_kernel(float *losses, float *lse, const float *logits, const float *bias,
                const int32_t *targets, int V, int64_t ld)
{
    DYNAMIC_SHARED(struct softmax_sum, of_warp);
    const float *row = logits + blockIdx.x * ld;
    const struct softmax_sum s = row_joined(row, bias, NULL, V, of_warp);
    if (threadIdx.x == 0) {
        const int32_t target = targets[blockIdx.x];
        const float logsumexp = s.largest + logf(s.sum);
        lse[blockIdx.x] = logsumexp;
        losses[blockIdx.x] = logsumexp - (bias ? row[target] + bias[target] : row[target]);
    }
}

/* Inputs of the objective for the rows of a chunk. */
struct objective {
    const float *bias, *adjust, *weights;
    const int32_t *targets;
    float *lse; /* of the adjusted logits, for kernels that read it there */
    float smoothing, z_loss, inv_n;
};

/* Block r: logsumexp of the adjusted logits of row r, and its objective (may be NULL). Scratch: one
 * sum per warp. */
__global__ void __launch_bounds__(ROW_THREADS)
    objective_kernel(float *objective, struct objective o, const float *logits, int V, int64_t ld)
{
    DYNAMIC_SHARED(struct softmax_sum, of_warp);
    const float *row = logits + blockIdx.x * ld;
    const struct softmax_sum s = row_joined(row, o.bias, o.adjust, V, of_warp);
    float sum = 0;
    if (o.smoothing > 0)
        for (int v = (int)threadIdx.x; v < V; v += ROW_THREADS)
            sum += row[v] + (o.bias ? o.bias[v] : 0) + (o.adjust ? o.adjust[v] : 0);
    sum = warp_sum(sum);
    __syncthreads(); /* the sums have been read */
    if (threadIdx.x % CUDA_WARP == 0)
        of_warp[threadIdx.x / CUDA_WARP].sum = sum;
    __syncthreads();
    if (threadIdx.x < CUDA_WARP)
        sum = warp_sum(of_warp[threadIdx.x].sum);
    if (threadIdx.x == 0) {
        const int32_t target = o.targets[blockIdx.x];
        const float lse = s.largest + logf(s.sum);
        const float logit =
            row[target] + (o.bias ? o.bias[target] : 0) + (o.adjust ? o.adjust[target] : 0);
        const float expected = (1 - o.smoothing) * logit + o.smoothing * sum / (float)V;
        const float omega = o.weights ? o.weights[blockIdx.x] : 1;
        o.lse[blockIdx.x] = lse;
        if (objective)
            objective[blockIdx.x] = omega * (lse - expected) + o.z_loss * lse * lse;
    }
}

/* Logits of tracked token m at the rows of this chunk. tracked_logits [M][N]. */
__global__ void tracked_logits_kernel(float *tracked_logits, const float *logits, const float *bias,
                                      const int32_t *tracked, int64_t n, int rows, int N,
                                      int64_t ld)
{
    const int64_t i = grid_index();
    if (i >= n)
        return;
    const int64_t m = i / rows, r = i - m * rows;
    const int32_t v = tracked[m];
    tracked_logits[m * N + r] = logits[r * ld + v] + (bias ? bias[v] : 0);
}

/* Block r: the row's logits become the gradient of its loss or, if `general`, of its objective;
 * columns V..Vp become 0. A may be narrower than float: then each write lies before the logits
 * still to be read, with one barrier a step. */
template <class A, int general>
__global__ void __launch_bounds__(ROW_THREADS)
    gradient_kernel(float *logits, struct objective o, int V, int Vp)
{
    const float *row = logits + (int64_t)blockIdx.x * Vp;
    A *out = reinterpret_cast<A *>(logits + (int64_t)blockIdx.x * Vp);
    const float lse = o.lse[blockIdx.x];
    const int32_t target = o.targets[blockIdx.x];
    const float omega = general && o.weights ? o.weights[blockIdx.x] : 1;
    const float factor = general ? omega + 2 * o.z_loss * lse : 1;
    const float everywhere = general ? omega * o.smoothing / (float)V : 0;
    const float on_target = general ? omega * (1 - o.smoothing) : 1;
    for (int from = 0; from < Vp; from += ROW_THREADS) {
        const int v = from + (int)threadIdx.x;
        float value = 0;
        if (v < V) {
            float logit = o.bias ? row[v] + o.bias[v] : row[v];
            if (general && o.adjust)
                logit += o.adjust[v];
            value = expf(logit - lse) * factor - everywhere;
            value = (value - (v == target ? on_target : 0)) * o.inv_n;
        }
        if (sizeof(A) < sizeof(float))
            __syncthreads();
        if (v < Vp)
            store(out + v, value);
    }
}

/* ---- fused kernel: a row in shared memory ---- */

/* Destinations of a chunk's results; NULL: not wanted. tracked_logits [M][N]. */
struct row_results {
    float *losses, *lse, *objective, *objective_lse, *tracked_logits;
    const int32_t *tracked;
    int M, N;
};

/* Reduction over all threads of the block, result in all of them; scratch: one number per warp,
 * free again on return. */
__device__ static float block_sum(float value, float *scratch)
{
    value = warp_sum(value);
    if (threadIdx.x % CUDA_WARP == 0)
        scratch[threadIdx.x / CUDA_WARP] = value;
    __syncthreads();
    value = warp_sum(scratch[threadIdx.x % CUDA_WARP]);
    __syncthreads();
    return value;
}

__device__ __forceinline__ float warp_max(float value)
{
    for (int distance = CUDA_WARP / 2; distance > 0; distance /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

__device__ static float block_max(float value, float *scratch)
{
    value = warp_max(value);
    if (threadIdx.x % CUDA_WARP == 0)
        scratch[threadIdx.x / CUDA_WARP] = value;
    __syncthreads();
    value = warp_max(scratch[threadIdx.x % CUDA_WARP]);
    __syncthreads();
    return value;
}

/* W numbers of a vector, 0 if it is NULL. */
template <int W>
__device__ __forceinline__ void load_if_any(float value[W], const float *vector, int v)
{
#pragma unroll
    for (int j = 0; j < W; j++)
        value[j] = 0;
    if (vector)
        load_wide<W>(value, vector + v);
}

/* Largest logit, largest adjusted logit, sum of the adjusted logits. */
struct row_extremes {
    float plain, adjusted, total;
};

/* Load the row, with its bias, into shared memory. */
template <int W, int general>
__device__ __forceinline__ struct row_extremes keep_row(float *kept, const float *row,
                                                        const struct objective *o, int V, int Vp)
{
    struct row_extremes extremes = {-FLT_MAX, -FLT_MAX, 0};
    float x[W], more[W];
    for (int v = (int)threadIdx.x * W; v < Vp; v += ROW_THREADS * W) {
        load_wide<W>(x, row + v);
        load_if_any<W>(more, o->bias, v);
#pragma unroll
        for (int j = 0; j < W; j++)
            x[j] += more[j];
        store_wide<W>(kept + v, x);
        load_if_any<W>(more, general ? o->adjust : NULL, v);
#pragma unroll
        for (int j = 0; j < W; j++) {
            if (v + j >= V)
                continue;
            extremes.plain = fmaxf(extremes.plain, x[j]);
            if (general) {
                extremes.adjusted = fmaxf(extremes.adjusted, x[j] + more[j]);
                extremes.total += x[j] + more[j];
            }
        }
    }
    return extremes;
}

/* Sums of exp(logit - largest), plain and adjusted. */
struct row_sums {
    float plain, adjusted;
};

/* Logits become exp(adjusted logit - largest). A thread reads only what it has written. */
template <int W, int general>
__device__ __forceinline__ struct row_sums soften_row(float *kept, const struct objective *o,
                                                      struct row_extremes most, int V, int Vp)
{
    struct row_sums sums = {0, 0};
    float x[W], more[W];
    for (int v = (int)threadIdx.x * W; v < Vp; v += ROW_THREADS * W) {
        load_wide<W>(x, kept + v);
        load_if_any<W>(more, general ? o->adjust : NULL, v);
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float weight = v + j < V ? expf(x[j] - most.plain) : 0;
            sums.plain += weight;
            if (general && o->adjust) {
                x[j] = v + j < V ? expf(x[j] + more[j] - most.adjusted) : 0;
                sums.adjusted += x[j];
            } else {
                x[j] = weight;
            }
        }
        store_wide<W>(kept + v, x);
    }
    return sums;
}

/* Weights become the gradient, stored in place of the row's logits. */
template <class A, int W, int general>
__device__ __forceinline__ void store_gradient(A *out, const float *kept, const struct objective *o,
                                               float sum, float lse, int V, int Vp)
{
    const int32_t target = o->targets[blockIdx.x];
    const float omega = general && o->weights ? o->weights[blockIdx.x] : 1;
    const float factor = (general ? omega + 2 * o->z_loss * lse : 1) / sum;
    const float everywhere = general ? omega * o->smoothing / (float)V : 0;
    const float on_target = general ? omega * (1 - o->smoothing) : 1;
    float x[W];
    for (int v = (int)threadIdx.x * W; v < Vp; v += ROW_THREADS * W) {
        load_wide<W>(x, kept + v);
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float value = x[j] * factor - everywhere - (v + j == target ? on_target : 0);
            x[j] = v + j < V ? value * o->inv_n : 0;
        }
        store_wide<W>(out + v, x);
    }
}

/* Block r: all results of row r. Scratch: the row and one number per warp. */
template <class A, int W, int general>
__global__ void __launch_bounds__(ROW_THREADS, 1)
    row_kernel(float *logits, struct objective o, struct row_results to, int V, int Vp)
{
    DYNAMIC_SHARED(float, kept);
    float *scratch = kept + Vp, *row = logits + (int64_t)blockIdx.x * Vp;
    const int32_t target = o.targets[blockIdx.x];
    struct row_extremes most = keep_row<W, general>(kept, row, &o, V, Vp);
    most.plain = block_max(most.plain, scratch);
    if (general) {
        most.adjusted = block_max(most.adjusted, scratch);
        most.total = block_sum(most.total, scratch);
    }
    const float logit = kept[target];
    if (to.tracked_logits)
        for (int m = (int)threadIdx.x; m < to.M; m += ROW_THREADS)
            to.tracked_logits[(int64_t)m * to.N + blockIdx.x] = kept[to.tracked[m]];
    __syncthreads(); /* all threads have read the logits of others */
    struct row_sums sums = soften_row<W, general>(kept, &o, most, V, Vp);
    sums.plain = block_sum(sums.plain, scratch);
    const float plain_lse = most.plain + logf(sums.plain);
    float sum = sums.plain, lse = plain_lse, expected = logit;
    if (general && o.adjust) {
        sum = block_sum(sums.adjusted, scratch);
        lse = most.adjusted + logf(sum);
        expected += o.adjust[target];
    }
    if (threadIdx.x == 0) {
        const float omega = general && o.weights ? o.weights[blockIdx.x] : 1;
        if (general)
            expected = (1 - o.smoothing) * expected + o.smoothing * most.total / (float)V;
        to.lse[blockIdx.x] = plain_lse;
        to.losses[blockIdx.x] = plain_lse - logit;
        if (to.objective_lse)
            to.objective_lse[blockIdx.x] = lse;
        if (to.objective)
            to.objective[blockIdx.x] = omega * (lse - expected) + o.z_loss * lse * lse;
    }
    store_gradient<A, W, general>(reinterpret_cast<A *>(row), kept, &o, sum, lse, V, Vp);
}

template <class A, int W>
static void launch_row(struct cuda *cuda, int general, int rows, size_t shared, float *logits,
                       const struct objective *o, const struct row_results *to, int V, int Vp)
{
    cuda_allow_shared(cuda, row_kernel<A, W, 0>, shared);
    cuda_allow_shared(cuda, row_kernel<A, W, 1>, shared);
    if (general)
        LAUNCH(cuda, (row_kernel<A, W, 1>), (unsigned)rows, ROW_THREADS, shared, logits, *o, *to, V,
               Vp);
    else
        LAUNCH(cuda, (row_kernel<A, W, 0>), (unsigned)rows, ROW_THREADS, shared, logits, *o, *to, V,
               Vp);
}

/* ---- operation ---- */

/* dh of the chunk; dweight and dbias, accumulated from the second chunk on. */
template <class A>
static void lm_head_backward(struct cuda *cuda, const struct backend_lm_head *lm_head, int first,
                             int rows)
{
    const A *h = static_cast<const A *>(lm_head->h) + (int64_t)first * lm_head->C;
    A *dh = static_cast<A *>(lm_head->dh) + (int64_t)first * lm_head->C;
    const int64_t ld = (int64_t)lm_head->Vp * (int64_t)(sizeof(float) / sizeof(A));
    const float scale = (float)lm_head->scale;
    const int C = lm_head->C, V = lm_head->V, Vp = lm_head->Vp, more = first > 0;
    const struct cuda_gemm input = {
        rows, C, Vp, 0, 0, lm_head->workspace, lm_head->weight, dh, ld, C, C, 0, scale, 0};
    const struct cuda_gemm weight = {
        Vp, C, rows, 1, 0, lm_head->workspace, h, lm_head->dweight, ld, C, C, 1, scale, more};
    cuda_gemm(cuda, "lm_head: gradient of h", &input);
    cuda_gemm(cuda, "lm_head: gradient of the weight", &weight);
    if (lm_head->dbias) {
        const struct cuda_row_sums sums = {static_cast<float *>(lm_head->dbias),
                                           lm_head->workspace,
                                           NULL,
                                           1,
                                           rows,
                                           V,
                                           ld,
                                           0,
                                           more};
        cuda_rows_sum<A>(cuda, &sums);
    }
}

template <class T> static T *moved(void *array, int first)
{
    return array ? static_cast<T *>(array) + first : NULL;
}

/* Separate kernels: from the logits of a chunk to its results and the gradient of the objective. */
template <class A>
static void finish_in_parts(struct cuda *cuda, int general, int rows, float *logits,
                            struct objective o, const struct row_results *to, int V, int Vp)
{
    const size_t shared = ROW_WARPS * sizeof(struct softmax_sum);
    const int64_t tracked = (int64_t)to->M * rows;
    LAUNCH(cuda, loss_kernel, (unsigned)rows, ROW_THREADS, shared, to->losses, to->lse, logits,
           o.bias, o.targets, V, Vp);
    if (to->tracked_logits && tracked > 0)
        LAUNCH(cuda, tracked_logits_kernel, cuda_blocks(tracked, CUDA_THREADS), CUDA_THREADS, 0,
               to->tracked_logits, logits, o.bias, to->tracked, tracked, rows, to->N, Vp);
    o.lse = to->objective_lse ? to->objective_lse : to->lse;
    if (general || to->objective || to->objective_lse)
        LAUNCH(cuda, objective_kernel, (unsigned)rows, ROW_THREADS, shared, to->objective, o,
               logits, V, Vp);
    if (general)
        LAUNCH(cuda, (gradient_kernel<A, 1>), (unsigned)rows, ROW_THREADS, 0, logits, o, V, Vp);
    else
        LAUNCH(cuda, (gradient_kernel<A, 0>), (unsigned)rows, ROW_THREADS, 0, logits, o, V, Vp);
}

template <class A>
static void finish(struct cuda *cuda, const struct backend_lm_head *lm_head, int first, int rows)
{
    constexpr int W = cuda_width<A>;
    const int V = lm_head->V, Vp = lm_head->Vp;
    const int general =
        lm_head->weights || lm_head->adjust || lm_head->smoothing > 0 || lm_head->z_loss > 0;
    const size_t shared = ((size_t)Vp + ROW_WARPS) * sizeof(float);
    float *logits = static_cast<float *>(lm_head->workspace);
    struct objective o = {static_cast<const float *>(lm_head->bias),
                          static_cast<const float *>(lm_head->adjust),
                          static_cast<const float *>(lm_head->weights),
                          lm_head->targets + first,
                          NULL,
                          (float)lm_head->smoothing,
                          (float)lm_head->z_loss,
                          1 / (float)lm_head->N};
    if (o.weights)
        o.weights += first;
    const struct row_results to = {moved<float>(lm_head->losses, first),
                                   moved<float>(lm_head->lse, first),
                                   moved<float>(lm_head->objective, first),
                                   moved<float>(lm_head->objective_lse, first),
                                   moved<float>(lm_head->tracked_logits, first),
                                   lm_head->tracked,
                                   lm_head->M,
                                   lm_head->N};
    if (shared > cuda->shared_max)
        finish_in_parts<A>(cuda, general, rows, logits, o, &to, V, Vp);
    else if (cuda_is_wide<A>(Vp, logits, o.bias, o.adjust))
        launch_row<A, W>(cuda, general, rows, shared, logits, &o, &to, V, Vp);
    else
        launch_row<A, 1>(cuda, general, rows, shared, logits, &o, &to, V, Vp);
}

template <class A>
static void lm_head_chunk(struct cuda *cuda, const struct backend_lm_head *lm_head, int first,
                          int rows)
{
    const A *h = static_cast<const A *>(lm_head->h) + (int64_t)first * lm_head->C;
    const int C = lm_head->C, Vp = lm_head->Vp;
    const struct cuda_gemm forward = {rows,
                                      Vp,
                                      C,
                                      0,
                                      1,
                                      h,
                                      lm_head->weight,
                                      lm_head->workspace,
                                      C,
                                      C,
                                      Vp,
                                      1,
                                      (float)lm_head->scale,
                                      0};
    cuda_gemm(cuda, "lm_head: logits", &forward);
    finish<A>(cuda, lm_head, first, rows);
    if (lm_head->dh)
        lm_head_backward<A>(cuda, lm_head, first, rows);
}

template <class A> static void lm_head(struct backend *self, const struct backend_lm_head *lm_head)
{
    struct cuda *cuda = cuda_of(self);
    const int64_t padding = lm_head->Vp - lm_head->V;
    for (int first = 0; first < lm_head->N; first += lm_head->chunk) {
        const int left = lm_head->N - first;
        lm_head_chunk<A>(cuda, lm_head, first, left < lm_head->chunk ? left : lm_head->chunk);
    }
    if (!lm_head->dh)
        return;
    self->zero(self, static_cast<float *>(lm_head->dweight) + (int64_t)lm_head->V * lm_head->C,
               padding * lm_head->C * (int64_t)sizeof(float));
    if (lm_head->dbias)
        self->zero(self, static_cast<float *>(lm_head->dbias) + lm_head->V,
                   padding * (int64_t)sizeof(float));
}

void cuda_lm_head_fill(struct backend *table, int is_bf16)
{
    table->lm_head = is_bf16 ? lm_head<struct bf16> : lm_head<float>;
}
