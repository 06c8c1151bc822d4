/* gemm_check: see gemm_check.h. All sums are in double, each in one fixed order, so this adds no
 * error of its own to what it measures. What a product may differ by follows from how libraries
 * round; e is its error, e . r its image under the signs, of which the norm is that of e where the
 * errors of a row are independent.
 *
 * Rounding of a stored bfloat16: at most 2^-8 of a number; 2^-8 / sqrt(3) in the mean where all
 * mantissas are near 1, which is the worst. Of r rows e . r is then r normal deviates of ROUNDING
 * times the norm of a row: their norm is above 1 + t / sqrt(r) of its mean with a probability of
 * exp(-t t / 2), and TAIL is t. Were all numbers of a row equal, then so would be their errors: the
 * sum of the first n signs is at most 1.44 sqrt(n), so e . r is at most 5.63e-3, and ROUNDING (1 +
 * TAIL / sqrt(32)) is 5.64e-3.
 *
 * Sums in float32: a processor that rounds to nearest errs by 2^-24 sqrt(k / 6) of the result of k
 * independent terms, 2^-24 sqrt(k) / 3 where they have one sign. Tensor cores add eight products or
 * more at a time and cut: 2^-24 in the mean of each partial sum, towards zero, which adds up over
 * k / 8 of them to 2^-24 k / 8 / sqrt(3) of independent terms, 2^-24 k / 16 of equal ones. SUM + k
 * SUM_STEP is 1e-4 + 2^-23 k / 8, above three times that. It counts for the norm of the result, and
 * for the norm that independent terms would have, |alpha| |a| |b| / sqrt(k): where terms cancel, the
 * partial sums have been as large as this. A tail of t terms that is lost is sqrt(t / k) of the
 * result of independent terms: eight of 57608 are 1.2e-2, of 11528 2.6e-2; the bounds are 1.9e-3 and
 * 5.4e-4. It is t / k of equal terms, which may be less than tensor cores cut: products of ones show
 * that exactly (gpu/ref/ones.h).
 *
 * gelu_new and its slope are compared with the same function of the stored product, which has been
 * rounded once more: as much of that too, since their slopes are at most 1.13.
 *
 * Numbers below FLT_MIN may be lost, each product and each sum.
 *
 * The norms are those of CUDA_WARP rows at a time, so that a wrong tile is not outweighed by the
 * rows that are right. */
#include "gpu/cuda/gemm_check.h"

#include <float.h>

#include "gpu/cuda/activation.h"

namespace
{

const double ROUNDING = 1 / (256 * 1.7320508), TAIL = 8.5, SUM = 1e-4, SUM_STEP = 1.0 / (1 << 26);

enum {
    VECTORS = 2,
    ROWS = CUDA_WARP, /* of a block */
    PARTS = 8,        /* threads of a row */
    THREADS = ROWS * PARTS,
    KEPT = VECTORS + 1 /* sums of a thread */
};

/* What is summed: the number; gelu_new of it; it times the slope of gelu_new at aux. */
enum map { NUMBER, GELU_NEW, TIMES_SLOPE };

/* out [rows][VECTORS] = factor * M x, or += it, with M(i, j) = from[i * row + j * column],
 * aux(i, j) = aux[i * aux_row + j];
 * squares [blocks]: of the numbers of ROWS rows. */
struct sums {
    double *out; /* NULL: only the squares are wanted */
    double *squares;
    const void *from, *aux; /* of one type */
    const double *x;        /* [columns][VECTORS]; NULL: the signs */
    int rows, columns;
    int64_t row, column;
    double factor;
    int add; /* and squares are negative where what is added to is not finite */
    int64_t aux_row;
};

/* ---- kernels ---- */

__device__ __forceinline__ double factor_of(const double *x, int j, uint32_t signs, int vector)
{
    if (x)
        return x[(int64_t)j * VECTORS + vector];
    return signs >> vector & 1 ? -1 : 1;
}

template <class T, int map>
__device__ __forceinline__ double mapped(float number, const T *aux, int64_t at)
{
    if (map == GELU_NEW)
        return activation<ACTIVATION_GELU_NEW>(number);
    if (map == TIMES_SLOPE)
        return number * activation_slope<ACTIVATION_GELU_NEW>(load(aux + at));
    return number;
}

__device__ __forceinline__ int is_finite(const double *numbers, int64_t n)
{
    int finite = 1;
    for (int64_t i = 0; i < n; i++)
        finite = finite && fabs(numbers[i]) <= DBL_MAX;
    return finite;
}

/* Block: ROWS rows; warp: every PARTS-th number of each. */
template <class T, int map> __global__ void sums_kernel(const struct sums s)
{
    DYNAMIC_SHARED(double, shared); /* [THREADS][KEPT] */
    const int lane = (int)threadIdx.x % ROWS, part = (int)threadIdx.x / ROWS;
    const int first = (int)blockIdx.x * ROWS, i = first + lane;
    const T *from = static_cast<const T *>(s.from), *aux = static_cast<const T *>(s.aux);
    double sum[KEPT] = {0, 0, 0};
    int finite = 1;
    for (int j = part; i < s.rows && j < s.columns; j += PARTS) {
        const int64_t at = i * s.row + j * s.column;
        const float number = load(from + at);
        const double value = mapped<T, map>(number, aux, i * s.aux_row + j);
        const uint32_t signs = cuda_gemm_check_signs(j);
        for (int v = 0; v < VECTORS; v++)
            sum[v] += value * factor_of(s.x, j, signs, v);
        sum[VECTORS] += (double)number * number;
    }
    for (int v = 0; v < KEPT; v++)
        shared[threadIdx.x * KEPT + v] = sum[v];
    if (threadIdx.x == 0 && s.add)
        finite = is_finite(s.out + (int64_t)first * VECTORS,
                           (s.rows - first < ROWS ? s.rows - first : ROWS) * VECTORS);
    __syncthreads();
    if (part == 0 && i < s.rows && s.out)
        for (int v = 0; v < VECTORS; v++) {
            double whole = 0;
            for (int p = 0; p < PARTS; p++)
                whole += shared[(p * ROWS + lane) * KEPT + v];
            double *out = s.out + (int64_t)i * VECTORS + v;
            *out = (s.add ? *out : 0) + s.factor * whole;
        }
    if (threadIdx.x == 0) {
        double squares = 0;
        for (int t = 0; t < THREADS; t++)
            squares += shared[t * KEPT + VECTORS];
        s.squares[blockIdx.x] = finite ? squares : -1;
    }
}

/* out . r minus what it should be, and the squares of a, out, the product before its epilogue (q or
 * NULL) by blocks of rows, of b by blocks. */
struct comparison {
    const double *difference; /* [rows][VECTORS] */
    const double *bias;       /* [VECTORS]: bias . r, which every row has in addition; NULL: 0 */
    const double *a, *b, *out, *q;
    int rows, b_blocks, k;
    double alpha, rounding, lost;
};

__device__ __forceinline__ double error_of(const struct comparison &c, int block)
{
    const int first = block * ROWS, end = c.rows - first < ROWS ? c.rows : first + ROWS;
    double largest = 0;
    for (int v = 0; v < VECTORS; v++) {
        double squares = 0;
        for (int64_t i = first; i < end; i++) {
            const double rest = c.difference[i * VECTORS + v] - (c.bias ? c.bias[v] : 0);
            squares += rest * rest;
        }
        if (!(squares <= DBL_MAX))
            return INFINITY;
        largest = squares > largest ? squares : largest;
    }
    return sqrt(largest);
}

/* Take the error of a block if it is nearer to its bound than what there is. */
__device__ __forceinline__ void measure_block(struct cuda_gemm_measure *worst,
                                              const struct comparison &c, int block, double b)
{
    const double terms = fabs(c.alpha) * sqrt(c.a[block]) * b, q = c.q ? sqrt(c.q[block]) : 0;
    if (!(c.out[block] >= 0 || c.out[block] != c.out[block]) || !(terms <= FLT_MAX) ||
        !(q <= FLT_MAX) || (c.bias && !is_finite(c.bias, VECTORS))) {
        worst->is_known = 0;
        return;
    }
    /* Of a result that is not finite the error is not either. */
    const double out = c.out[block] <= DBL_MAX ? sqrt(c.out[block]) : 0, error = error_of(c, block);
    const int rows = c.rows - block * ROWS < ROWS ? c.rows - block * ROWS : ROWS;
    const double bound = c.rounding * (1 + TAIL / sqrt((double)rows)) * (out + q) + c.lost +
                         (SUM + c.k * SUM_STEP) * (out + terms / sqrt((double)c.k));
    if (error * worst->bound <= worst->error * bound)
        return;
    worst->error = error;
    worst->bound = bound;
    worst->row = block * ROWS;
}

/* One block; every THREADS-th block of rows a thread. */
__global__ void compare_kernel(struct cuda_gemm_measure *out, const struct comparison c)
{
    DYNAMIC_SHARED(struct cuda_gemm_measure, shared); /* [THREADS] */
    double b = 0;
    for (int block = 0; block < c.b_blocks; block++)
        b += c.b[block];
    struct cuda_gemm_measure worst = {0, 1, 0, 1};
    const int blocks = (c.rows + ROWS - 1) / ROWS;
    for (int block = (int)threadIdx.x; block < blocks; block += THREADS)
        measure_block(&worst, c, block, sqrt(b));
    shared[threadIdx.x] = worst;
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (int t = 1; t < THREADS; t++) {
        const int is_known = worst.is_known && shared[t].is_known;
        if (!(shared[t].error * worst.bound <= worst.error * shared[t].bound))
            worst = shared[t];
        worst.is_known = is_known;
    }
    *out = worst;
}

/* ---- arrays ---- */

/* Of one product, in the scratch memory. */
struct arrays {
    double *br, *difference, *bias;    /* [k], [m], [1] of VECTORS */
    double *a, *b, *out, *q, *of_bias; /* squares by blocks of rows: of m, k, m, m, 1 */
    struct cuda_gemm_measure *measure;
};

unsigned blocks_of(int rows)
{
    return cuda_blocks(rows, ROWS);
}

struct arrays arrange(struct cuda *cuda, const struct cuda_gemm *g)
{
    /* The longest k or m is a batch, the other one then a width; or m is a vocabulary. */
    constexpr int64_t most = SPEC_POSITIONS_MAX + (1 << 18) + 4 * SPEC_D_MODEL_MAX;
    static_assert(most * (VECTORS * sizeof(double) + 3 * sizeof(double) / ROWS + 1) <= CUDA_SCRATCH,
                  "the sums of every product fit the scratch memory");
    struct arrays s;
    s.br = static_cast<double *>(cuda->scratch);
    s.difference = s.br + (int64_t)g->k * VECTORS;
    s.bias = s.difference + (int64_t)g->m * VECTORS;
    s.b = s.bias + VECTORS;
    s.a = s.b + blocks_of(g->k);
    s.out = s.a + blocks_of(g->m);
    s.q = s.out + blocks_of(g->m);
    s.of_bias = s.q + blocks_of(g->m);
    s.measure = reinterpret_cast<struct cuda_gemm_measure *>(s.of_bias + 1);
    return s;
}

/* ---- passes ---- */

template <class T> void launch_sums(struct cuda *cuda, enum map map, const struct sums &s)
{
    const unsigned blocks = blocks_of(s.rows);
    const size_t shared = THREADS * KEPT * sizeof(double);
    if (map == GELU_NEW)
        LAUNCH(cuda, (sums_kernel<T, GELU_NEW>), blocks, THREADS, shared, s);
    else if (map == TIMES_SLOPE)
        LAUNCH(cuda, (sums_kernel<T, TIMES_SLOPE>), blocks, THREADS, shared, s);
    else
        LAUNCH(cuda, (sums_kernel<T, NUMBER>), blocks, THREADS, shared, s);
}

void sum(struct cuda *cuda, int is_real, enum map map, const struct sums &s)
{
    if (!is_real && cuda->table.act_bytes == sizeof(struct bf16))
        launch_sums<struct bf16>(cuda, map, s);
    else
        launch_sums<float>(cuda, map, s);
}

/* difference = -from . r or, with `add`, += from . r; from [m, n] has out's type. */
void sum_out(struct cuda *cuda, const struct cuda_gemm *g, enum map map, const void *from,
             int64_t ld, double *squares, int add)
{
    const struct sums s = {arrange(cuda, g).difference,
                           squares,
                           from,
                           g->aux,
                           NULL,
                           g->m,
                           g->n,
                           ld,
                           1,
                           add ? 1.0 : -1.0,
                           add,
                           g->ldaux};
    sum(cuda, g->out_real, map, s);
}

/* br = b . r; difference -= alpha a . br; for the norms alone without `is_linear`. */
void sum_factors(struct cuda *cuda, const struct cuda_gemm *g, int is_linear)
{
    const struct arrays s = arrange(cuda, g);
    struct sums b = {s.br, s.b, g->b, NULL, NULL, g->k, g->n, g->ldb, 1, 1, 0, 0};
    struct sums a = {s.difference, s.a,    g->a, NULL,      s.br,          g->m,
                     g->k,         g->lda, 1,    -g->alpha, g->accumulate, 0};
    if (g->transpose_b)
        b.row = 1, b.column = g->ldb;
    if (g->transpose_a)
        a.row = 1, a.column = g->lda;
    if (!is_linear)
        a.out = b.out = NULL, a.add = 0;
    sum(cuda, 0, NUMBER, b);
    sum(cuda, 0, NUMBER, a);
}

void sum_bias(struct cuda *cuda, const struct cuda_gemm *g)
{
    const struct arrays s = arrange(cuda, g);
    const struct sums bias = {s.bias, s.of_bias, g->bias, NULL, NULL, 1, g->n, 0, 1, 1, 0, 0};
    sum(cuda, g->out_real, NUMBER, bias);
}

enum cuda_gemm_verdict compare(struct cuda *cuda, const struct cuda_gemm *g, int has_bias,
                               int has_q, struct cuda_gemm_measure *measure)
{
    const struct arrays s = arrange(cuda, g);
    const int is_bf16 = !g->out_real && cuda->table.act_bytes == sizeof(struct bf16);
    const struct comparison c = {s.difference,
                                 has_bias ? s.bias : NULL,
                                 s.a,
                                 s.b,
                                 s.out,
                                 has_q ? s.q : NULL,
                                 g->m,
                                 (int)blocks_of(g->k),
                                 g->k,
                                 g->alpha,
                                 is_bf16 ? ROUNDING : 0,
                                 sqrt((double)ROWS) * g->n * (g->k + 2.0) * FLT_MIN};
    LAUNCH(cuda, compare_kernel, 1, THREADS, THREADS * sizeof *measure, s.measure, c);
    if (cuda_fault_check(cuda,
                         cudaMemcpyAsync(measure, s.measure, sizeof *measure,
                                         cudaMemcpyDeviceToHost, cuda->stream),
                         "cudaMemcpyAsync") != 0 ||
        cuda_fault_check(cuda, cudaStreamSynchronize(cuda->stream), "compare_kernel") != 0 ||
        cuda->fault.code != ERR_NONE)
        return CUDA_GEMM_UNKNOWN;
    if (!(measure->error <= measure->bound))
        return CUDA_GEMM_WRONG;
    return measure->is_known ? CUDA_GEMM_HOLDS : CUDA_GEMM_UNKNOWN;
}

} // namespace

void cuda_gemm_check_before(struct cuda *cuda, const struct cuda_gemm *g)
{
    if (g->accumulate)
        sum_out(cuda, g, NUMBER, g->out, g->ldout, arrange(cuda, g).out, 0);
    if (g->epilogue == CUDA_GELU_NEW_SLOPE)
        sum_out(cuda, g, TIMES_SLOPE, g->out, g->ldout, arrange(cuda, g).q, 0);
}

enum cuda_gemm_verdict cuda_gemm_check_after(struct cuda *cuda, const struct cuda_gemm *g,
                                             struct cuda_gemm_measure *measure)
{
    const struct arrays s = arrange(cuda, g);
    const int has_slope = g->epilogue == CUDA_GELU_NEW_SLOPE;
    const int has_gelu = g->epilogue == CUDA_BIAS_GELU_NEW;
    const int has_bias = has_gelu || g->epilogue == CUDA_BIAS;
    sum_factors(cuda, g, !has_slope);
    if (has_bias)
        sum_bias(cuda, g);
    sum_out(cuda, g, NUMBER, has_gelu ? g->aux : g->out, has_gelu ? g->ldaux : g->ldout, s.out, 1);
    const enum cuda_gemm_verdict verdict = compare(cuda, g, has_bias, has_slope, measure);
    if (verdict != CUDA_GEMM_HOLDS || !has_gelu)
        return verdict;
    sum_out(cuda, g, GELU_NEW, g->aux, g->ldaux, s.q, 0);
    sum_out(cuda, g, NUMBER, g->out, g->ldout, s.out, 1);
    return compare(cuda, g, 0, 1, measure);
}
