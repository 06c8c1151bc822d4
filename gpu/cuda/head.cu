/* head: output layer, softmax, loss, statistics and their gradient on the cuda
 * backend. The batch goes through in chunks of rows: logits of a chunk (float32),
 * logsumexp and loss of each row, mean p of the tracked tokens, then the loss'
 * gradient in place of the logits, from which dh and dweight follow. In bf16 the
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

/* Block r: logsumexp and loss of row r. Scratch: a set a warp. */
__global__ void __launch_bounds__(ROW_THREADS)
    loss_kernel(float *losses, float *lse, const float *logits, const float *bias,
                const int32_t *targets, int V, int64_t ld)
{
    DYNAMIC_SHARED(struct softmax_sum, of_warp);
    const float *row = logits + blockIdx.x * ld;
    struct softmax_sum s = {-FLT_MAX, 0};
    for (int v = (int)threadIdx.x; v < V; v += ROW_THREADS) {
        const float logit = bias ? row[v] + bias[v] : row[v];
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
    if (threadIdx.x < CUDA_WARP) {
        s = warp_joined(of_warp[threadIdx.x]);
        if (threadIdx.x == 0) {
            const int32_t target = targets[blockIdx.x];
            const float logsumexp = s.largest + logf(s.sum);
            lse[blockIdx.x] = logsumexp;
            losses[blockIdx.x] = logsumexp - (bias ? row[target] + bias[target] : row[target]);
        }
    }
}

/* Mean p of tracked token m: += the rows of this chunk, in order. */
__global__ void tracked_kernel(float *mean_p, const float *logits, const float *bias,
                               const float *lse, const int32_t *tracked, int M, int rows,
                               int64_t ld, float inv_n, int accumulate)
{
    const int64_t m = grid_index();
    if (m >= M)
        return;
    const int32_t v = tracked[m];
    const float b = bias ? bias[v] : 0;
    float sum = 0;
    for (int r = 0; r < rows; r++)
        sum += expf(logits[r * ld + v] + b - lse[r]);
    mean_p[m] = (accumulate ? mean_p[m] : 0) + sum * inv_n;
}

/* Block r: the row's logits become (p - [target]) / N, columns V..Vp 0. Type A
 * may be narrower than float: what is written then lies before what has yet to
 * be read, one barrier a step apart. */
template <class A>
__global__ void __launch_bounds__(ROW_THREADS)
    gradient_kernel(float *logits, const float *bias, const float *lse, const int32_t *targets,
                    int V, int Vp, float inv_n)
{
    const float *row = logits + (int64_t)blockIdx.x * Vp;
    A *out = reinterpret_cast<A *>(logits + (int64_t)blockIdx.x * Vp);
    const float logsumexp = lse[blockIdx.x];
    const int32_t target = targets[blockIdx.x];
    for (int from = 0; from < Vp; from += ROW_THREADS) {
        const int v = from + (int)threadIdx.x;
        float value = 0;
        if (v < V) {
            const float logit = bias ? row[v] + bias[v] : row[v];
            value = (expf(logit - logsumexp) - (v == target ? 1.0f : 0.0f)) * inv_n;
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

template <class A>
static void head_chunk(struct cuda *cuda, const struct backend_head *head, int first, int rows)
{
    const int32_t *targets = head->targets + first;
    const float *bias = static_cast<const float *>(head->bias);
    float *logits = static_cast<float *>(head->workspace);
    float *lse = static_cast<float *>(head->lse) + first;
    const float inv_n = 1 / (float)head->N;
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
           static_cast<float *>(head->losses) + first, lse, logits, bias, targets, V, Vp);
    if (head->mean_p && head->M > 0)
        LAUNCH(cuda, tracked_kernel, cuda_blocks(head->M, CUDA_THREADS), CUDA_THREADS, 0,
               static_cast<float *>(head->mean_p), logits, bias, lse, head->tracked, head->M, rows,
               Vp, inv_n, first > 0);
    LAUNCH(cuda, (gradient_kernel<A>), (unsigned)rows, ROW_THREADS, 0, logits, bias, lse, targets,
           V, Vp, inv_n);
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
