/* floor_bench: what this machine's cores and memory can do at best, from which
 * bench.mjs says how fast a training step could be: multiply-adds of registers
 * that depend on nothing but themselves (float32, and bfloat16 pairs where the
 * processor has vdpbf16ps), and streams through arrays that no cache holds.
 * Prints one line of JSON: float operations and bytes a second over all threads,
 * the best of ROUNDS.
 *
 *   floor_bench THREADS */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    ROUNDS = 3,
    CHAINS = 12,       /* independent sums: latency times units, and more */
    TURNS = 2000000,   /* multiply-adds of a chain in one round */
    LANES = 64,        /* floats summed side by side, as latency asks for */
    STREAM = 32 << 20, /* floats of one array: 128 MB */
    UPDATE_ARRAYS = 4  /* an AdamW step reads 4 arrays and writes 3 of them */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The results go here, so that the loops are not removed. */
static volatile float sink;

/* Chains have names, not numbers: an array of them would live in memory. */
#define EACH_CHAIN(X, f)                                                                           \
    X(0, f)                                                                                        \
    X(1, f) X(2, f) X(3, f) X(4, f) X(5, f) X(6, f) X(7, f) X(8, f) X(9, f) X(10, f) X(11, f)
#define CHAIN_START(c, splat) sum##c = splat((float)c),
#define CHAIN_STEP(c, step) sum##c = step(sum##c, half);
#define CHAIN_END(c, first) total += first(sum##c);
#define MULTIPLY_ADD_LOOP(name, attribute, vector, splat, step, first)                             \
    attribute static float name(void)                                                              \
    {                                                                                              \
        vector EACH_CHAIN(CHAIN_START, splat) half = splat(0.5f);                                  \
        for (int i = 0; i < TURNS; i++) {                                                          \
            EACH_CHAIN(CHAIN_STEP, step)                                                           \
        }                                                                                          \
        float total = 0;                                                                           \
        EACH_CHAIN(CHAIN_END, first)                                                               \
        return total;                                                                              \
    }

#if defined(__x86_64__)
#define FOR(isa) __attribute__((target(isa)))
#define SSE2_STEP(sum, half) _mm_add_ps(_mm_mul_ps(sum, half), half)
#define AVX2_STEP(sum, half) _mm256_fmadd_ps(sum, half, half)
#define AVX512_STEP(sum, half) _mm512_fmadd_ps(sum, half, half)
#define BF16_STEP(sum, half) _mm512_dpbf16_ps(sum, (__m512bh)(half), (__m512bh)(half))
MULTIPLY_ADD_LOOP(loop_plain, , __m128, _mm_set1_ps, SSE2_STEP, _mm_cvtss_f32)
MULTIPLY_ADD_LOOP(loop_avx2, FOR("avx2,fma"), __m256, _mm256_set1_ps, AVX2_STEP, _mm256_cvtss_f32)
MULTIPLY_ADD_LOOP(loop_avx512, FOR("avx512f"), __m512, _mm512_set1_ps, AVX512_STEP,
                  _mm512_cvtss_f32)
MULTIPLY_ADD_LOOP(loop_avx512_bf16, FOR("avx512f,avx512bf16"), __m512, _mm512_set1_ps, BF16_STEP,
                  _mm512_cvtss_f32)
enum { PLAIN_LANES = 4 };
#else
#define PLAIN_SPLAT(value) (value)
#define PLAIN_STEP(sum, half) ((sum) * (half) + (half))
#define PLAIN_FIRST(sum) (sum)
MULTIPLY_ADD_LOOP(loop_plain, , float, PLAIN_SPLAT, PLAIN_STEP, PLAIN_FIRST)
enum { PLAIN_LANES = 1 };
#endif

/* Float operations a second over all threads: the best round. */
static double flops_of(float (*loop)(void), int flops, int threads)
{
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = now();
#pragma omp parallel num_threads(threads)
        sink = loop();
        const double rate = (double)TURNS * CHAINS * flops * threads / (now() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

static void print_flops(int threads)
{
    printf("\"plain_fp32\":%.4g", flops_of(loop_plain, 2 * PLAIN_LANES, threads));
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        printf(",\"avx2_fp32\":%.4g", flops_of(loop_avx2, 2 * 8, threads));
    if (__builtin_cpu_supports("avx512f"))
        printf(",\"avx512_fp32\":%.4g", flops_of(loop_avx512, 2 * 16, threads));
    if (__builtin_cpu_supports("avx512bf16"))
        printf(",\"avx512_bf16\":%.4g", flops_of(loop_avx512_bf16, 4 * 16, threads));
#endif
}

static double read_stream(const float *a)
{
    const double start = now();
#pragma omp parallel
    {
        float sum[LANES] = {0};
#pragma omp for schedule(static)
        for (int64_t i = 0; i < STREAM; i += LANES)
#pragma omp simd
            for (int k = 0; k < LANES; k++)
                sum[k] += a[i + k];
        for (int k = 1; k < LANES; k++)
            sum[0] += sum[k];
        sink = sum[0];
    }
    return (double)STREAM * sizeof(float) / (now() - start);
}

/* w, m, v in place, from g: 7 times the array's bytes move. */
static double update_stream(float *const a[UPDATE_ARRAYS])
{
    float *w = a[0], *m = a[1], *v = a[2];
    const float *g = a[3];
    const double start = now();
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < STREAM; i++) {
        m[i] = 0.5f * (m[i] + g[i]);
        v[i] = 0.5f * (v[i] - g[i]);
        w[i] = w[i] + m[i] * v[i];
    }
    return (2.0 * UPDATE_ARRAYS - 1) * STREAM * sizeof(float) / (now() - start);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : omp_get_num_procs();
    float *a[UPDATE_ARRAYS] = {0};
    int result = 1;
    omp_set_num_threads(threads);
    for (int i = 0; i < UPDATE_ARRAYS; i++) {
        a[i] = aligned_alloc(4096, STREAM * sizeof(float));
        if (!a[i])
            goto out;
#pragma omp parallel for schedule(static)
        for (int64_t k = 0; k < STREAM; k++)
            a[i][k] = 1e-3f;
    }
    printf("{\"threads\":%d,\"flops\":{", threads);
    print_flops(threads);
    double best_read = 0, best_update = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double reading = read_stream(a[0]), updating = update_stream(a);
        best_read = reading > best_read ? reading : best_read;
        best_update = updating > best_update ? updating : best_update;
    }
    printf("},\"read\":%.4g,\"update\":%.4g}\n", best_read, best_update);
    result = 0;
out:
    for (int i = 0; i < UPDATE_ARRAYS; i++)
        free(a[i]);
    return result;
}
