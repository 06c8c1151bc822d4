/* head: output layer, softmax, loss, objective and their gradient on the cuda
 * backend. The batch goes through in chunks of rows: logits of a chunk (float32),
 * logsumexp and loss of each row, logits of the tracked tokens, the objective
 * where it is more than the loss, then its gradient in place of the logits, from
 * which dh and dweight follow. In bf16 the
 * gradient takes the first half of its row's bytes. A chunk is small enough for
 * the second-level cache of a data-centre GPU, so that the gradient's read of the
 * logits need not go to memory. Columns V..Vp are never read. */
#include "gpu/cuda/cuda_internal.h"

#include <float.h>

enum { ROW_THREADS = 1024, ROW_WARPS = ROW_THREADS / CUDA_WARP };

/* exp(x - largest) summed: of disjoint sets of logits. A set without any is
 * {-FLT_MAX, 0}; what is not finite makes the sum NaN or infinite. */
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
        /* both lanes join in the same order, so that they agree to the last bit */
        s = threadIdx.x & (unsigned)distance ? joined(other, s) : joined(s, other);
    }
    return s;
}

/* The set of the block's row, logits plus bias (or NULL) plus adjust (or NULL), in
 * the first warp's threads. of_warp: scratch, a set a warp. */
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

/* What of a head the objective needs, for the rows of a chunk. */
struct objective {
    const float *bias, *adjust, *weights;
    const int32_t *targets;
    float *lse; /* of the adjusted logits */
    float smoothing, z_loss, inv_n;
};

/* Block r: logsumexp of the adjusted logits of row r, and its objective. Scratch:
 * a set a warp. objective may be NULL. */
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
    __syncthreads(); /* the sets have been read */
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

/* Block r: the row's logits become the gradient of its loss, or, if `general`, of
 * its objective; columns V..Vp 0. Type A may be narrower than float: what is
 * written then lies before what has yet to be read, one barrier a step apart. */
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

/* dh of the chunk, and dweight and dbias, += after the first chunk. */
template <class A>
static void head_backward(struct cuda *cuda, const struct backend_head *head, int first, int rows)
{
    const A *h = static_cast<const A *>(head->h) + (int64_t)first * head->C;
    A *dh = static_cast<A *>(head->dh) + (int64_t)first * head->C;
    const int64_t ld = (int64_t)head->Vp * (int64_t)(sizeof(float) / sizeof(A));
    const float scale = (float)head->scale;
    const int C = head->C, V = head->V, more = first > 0;
    const struct cuda_gemm input = {rows, C,  V, 0, 0, head->workspace, head->weight,
                                    dh,   ld, C, C, 0, scale,           0};
    const struct cuda_gemm weight = {V, C, rows, 1,     0,   head->workspace, h, head->dweight, ld,
                                     C, C, 1,    scale, more};
    cuda_gemm(cuda, "head: gradient of h", &input);
    cuda_gemm(cuda, "head: gradient of the weight", &weight);
    if (head->dbias) {
        const struct cuda_row_sums sums = {
            static_cast<float *>(head->dbias), head->workspace, NULL, 1, rows, V, ld, 0, more};
        cuda_sum_rows<A>(cuda, &sums);
    }
}

/* The logits of the chunk -> the gradient of the objective. */
template <class A>
static void head_gradient(struct cuda *cuda, const struct backend_head *head, int first, int rows)
{
    float *logits = static_cast<float *>(head->workspace);
    float *objective = static_cast<float *>(head->objective);
    float *objective_lse = static_cast<float *>(head->objective_lse);
    float *lse = static_cast<float *>(head->lse) + first;
    const int V = head->V, Vp = head->Vp;
    const int general = head->weights || head->adjust || head->smoothing > 0 || head->z_loss > 0;
    struct objective o = {static_cast<const float *>(head->bias),
                          static_cast<const float *>(head->adjust),
                          static_cast<const float *>(head->weights),
                          head->targets + first,
                          objective_lse ? objective_lse + first : lse,
                          (float)head->smoothing,
                          (float)head->z_loss,
                          1 / (float)head->N};
    if (o.weights)
        o.weights += first;
    if (general || objective || objective_lse)
        LAUNCH(cuda, objective_kernel, (unsigned)rows, ROW_THREADS,
               ROW_WARPS * sizeof(struct softmax_sum), objective ? objective + first : NULL, o,
               logits, V, Vp);
    if (general)
        LAUNCH(cuda, (gradient_kernel<A, 1>), (unsigned)rows, ROW_THREADS, 0, logits, o, V, Vp);
    else
        LAUNCH(cuda, (gradient_kernel<A, 0>), (unsigned)rows, ROW_THREADS, 0, logits, o, V, Vp);
}

template <class A>
static void head_chunk(struct cuda *cuda, const struct backend_head *head, int first, int rows)
{
    const float *bias = static_cast<const float *>(head->bias);
    float *logits = static_cast<float *>(head->workspace);
    const int C = head->C, V = head->V, Vp = head->Vp;
    const struct cuda_gemm forward = {rows,
                                      V,
                                      C,
                                      0,
                                      1,
                                      static_cast<const A *>(head->h) + (int64_t)first * C,
                                      head->weight,
                                      logits,
                                      C,
                                      C,
                                      Vp,
                                      1,
                                      (float)head->scale,
                                      0};
    cuda_gemm(cuda, "head: logits", &forward);
    LAUNCH(cuda, loss_kernel, (unsigned)rows, ROW_THREADS, ROW_WARPS * sizeof(struct softmax_sum),
           static_cast<float *>(head->losses) + first, static_cast<float *>(head->lse) + first,
           logits, bias, head->targets + first, V, Vp);
    const int64_t tracked = (int64_t)head->M * rows;
    if (head->tracked_logits && tracked > 0)
        LAUNCH(cuda, tracked_logits_kernel, cuda_blocks(tracked, CUDA_THREADS), CUDA_THREADS, 0,
               static_cast<float *>(head->tracked_logits) + first, logits, bias, head->tracked,
               tracked, rows, head->N, Vp);
    head_gradient<A>(cuda, head, first, rows);
    head_backward<A>(cuda, head, first, rows);
}

template <class A> static void run_head(struct backend *self, const struct backend_head *head)
{
    struct cuda *cuda = cuda_of(self);
    const int64_t padding = head->Vp - head->V;
    for (int first = 0; first < head->N; first += head->chunk) {
        const int left = head->N - first;
        head_chunk<A>(cuda, head, first, left < head->chunk ? left : head->chunk);
    }
    self->zero(self, static_cast<float *>(head->dweight) + (int64_t)head->V * head->C,
               padding * head->C * (int64_t)sizeof(float));
    if (head->dbias)
        self->zero(self, static_cast<float *>(head->dbias) + head->V,
                   padding * (int64_t)sizeof(float));
}

void cuda_fill_head(struct backend *table, int is_bf16)
{
    table->head = is_bf16 ? run_head<struct bf16> : run_head<float>;
}
