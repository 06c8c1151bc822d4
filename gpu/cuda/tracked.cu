/* tracked: see tracked.h. Each part of the gradient is a sum over positions of h (or of the
 * gradient of the embedding's output) times a factor: a kernel writes the factors of a part as ACT,
 * like the gradient of the logits in training, and a matrix product computes the sums, with one
 * read of h for all tokens. */
#include "gpu/cuda/tracked.h"

#include "gpu/cuda/cuda_internal.h"
#include "gpu/cuda/gemm.h"

/* Inputs of the factors, from a backend_tracked. */
struct factors {
    const float *logits, *lse, *objective_lse, *weights, *adjust;
    const int32_t *tracked, *inputs, *targets;
    float scale, smoothing, z_loss; /* scale: divided by N */
    int N, V;
};

/* Factor of position n in part `part` of token m. */
__device__ static float factor_of(const struct factors &f, enum backend_part part, int64_t m, int n)
{
    const int32_t id = f.tracked[m];
    const float omega = f.weights ? f.weights[n] : 1;
    if (part == PART_INPUT)
        return f.inputs[n] == id ? 1.0f : 0.0f;
    if (part == PART_TARGET)
        return -f.scale * omega *
               ((f.targets[n] == id ? 1 - f.smoothing : 0) + f.smoothing / (float)f.V);
    const float pi =
        expf(f.logits[m * f.N + n] + (f.adjust ? f.adjust[id] : 0) - f.objective_lse[n]);
    return f.scale * pi * (part == PART_SOFTMAX ? omega : 2 * f.z_loss * f.objective_lse[n]);
}

template <class A>
__global__ void factors_kernel(A *out, struct factors f, enum backend_part part, int64_t n)
{
    const int64_t i = grid_index();
    if (i < n)
        store(out + i, factor_of(f, part, i / f.N, (int)(i % f.N)));
}

/* Mean over positions of p; one warp per token. */
__global__ void mean_p_kernel(float *mean_p, const float *logits, const float *lse, int M, int N)
{
    const int64_t m = grid_index() / CUDA_WARP;
    if (m >= M)
        return;
    float sum = 0;
    for (int n = (int)threadIdx.x % CUDA_WARP; n < N; n += CUDA_WARP)
        sum += expf(logits[m * N + n] - lse[n]);
    sum = warp_sum(sum);
    if (threadIdx.x % CUDA_WARP == 0)
        mean_p[m] = sum / (float)N;
}

/* L2 norm of a row; one warp per row. */
__global__ void norms_kernel(float *norms, const float *rows, int64_t n, int C)
{
    const int64_t row = grid_index() / CUDA_WARP;
    if (row >= n)
        return;
    float sum = 0;
    for (int c = (int)threadIdx.x % CUDA_WARP; c < C; c += CUDA_WARP)
        sum += rows[row * C + c] * rows[row * C + c];
    sum = warp_sum(sum);
    if (threadIdx.x % CUDA_WARP == 0)
        norms[row] = sqrtf(sum);
}

template <class A>
static void run_part(struct cuda *cuda, const struct backend_tracked *t, const struct factors *f,
                     enum backend_part part)
{
    const int64_t n = (int64_t)t->M * t->N;
    float *rows = static_cast<float *>(t->parts) + (int64_t)part * t->M * t->C;
    A *factors = static_cast<A *>(t->workspace);
    const void *summed = part == PART_INPUT ? t->dx : t->h;
    const struct cuda_gemm gemm = {t->M, t->C, t->N, 0,    0, factors, summed,
                                   rows, t->N, t->C, t->C, 1, 1,       0};
    LAUNCH(cuda, (factors_kernel<A>), cuda_blocks(n, CUDA_THREADS), CUDA_THREADS, 0, factors, *f,
           part, n);
    cuda_gemm(cuda, "tracked: part of a gradient", &gemm);
}

template <class A> static void tracked(struct backend *self, const struct backend_tracked *t)
{
    struct cuda *cuda = cuda_of(self);
    const int64_t rows = (int64_t)BACKEND_PARTS * t->M;
    float *parts = static_cast<float *>(t->parts);
    const float *lse = static_cast<const float *>(t->lse);
    if (t->M == 0)
        return;
    const struct factors f = {static_cast<const float *>(t->logits),
                              lse,
                              t->objective_lse ? static_cast<const float *>(t->objective_lse) : lse,
                              static_cast<const float *>(t->weights),
                              static_cast<const float *>(t->adjust),
                              t->tracked,
                              t->inputs,
                              t->targets,
                              (float)(t->scale / t->N),
                              (float)t->smoothing,
                              (float)t->z_loss,
                              t->N,
                              t->V};
    LAUNCH(cuda, mean_p_kernel, cuda_blocks(t->M, CUDA_THREADS / CUDA_WARP), CUDA_THREADS, 0,
           static_cast<float *>(t->mean_p), f.logits, lse, t->M, t->N);
    if (!t->dx)
        return;
    run_part<A>(cuda, t, &f, PART_SOFTMAX);
    run_part<A>(cuda, t, &f, PART_TARGET);
    run_part<A>(cuda, t, &f, PART_INPUT);
    if (t->z_loss > 0)
        run_part<A>(cuda, t, &f, PART_ZLOSS);
    else
        self->zero(self, parts + (int64_t)PART_ZLOSS * t->M * t->C,
                   (int64_t)t->M * t->C * (int64_t)sizeof(float));
    LAUNCH(cuda, norms_kernel, cuda_blocks(rows, CUDA_THREADS / CUDA_WARP), CUDA_THREADS, 0,
           static_cast<float *>(t->norms), parts, rows, t->C);
}

/* Logit of a token; one warp per token. */
template <class W>
__global__ void scores_kernel(float *out, const W *weight, const float *bias, const float *x,
                              float factor, int V, int C)
{
    const int64_t v = grid_index() / CUDA_WARP;
    if (v >= V)
        return;
    float dot = 0;
    for (int c = (int)threadIdx.x % CUDA_WARP; c < C; c += CUDA_WARP)
        dot += load(weight + v * C + c) * x[c];
    dot = warp_sum(dot);
    if (threadIdx.x % CUDA_WARP == 0)
        out[v] = factor * dot + (bias ? bias[v] : 0);
}

template <class W>
static void launch_scores(struct cuda *cuda, void *out, const void *weight, const void *bias,
                          const void *x, float factor, int V, int C)
{
    LAUNCH(cuda, (scores_kernel<W>), cuda_blocks(V, CUDA_THREADS / CUDA_WARP), CUDA_THREADS, 0,
           static_cast<float *>(out), static_cast<const W *>(weight),
           static_cast<const float *>(bias), static_cast<const float *>(x), factor, V, C);
}

template <class A>
static void scores(struct backend *self, void *out, const void *weight, enum backend_number number,
                   const void *bias, const void *x, double factor, int V, int C)
{
    (number == NUMBER_ACT ? launch_scores<A> : launch_scores<float>)(cuda_of(self), out, weight,
                                                                     bias, x, (float)factor, V, C);
}

void cuda_tracked_fill(struct backend *table, int is_bf16)
{
    table->scores = is_bf16 ? scores<struct bf16> : scores<float>;
    table->tracked = is_bf16 ? tracked<struct bf16> : tracked<float>;
}
