/* cpu_gemm: matrix products in plain C, for processors and types that oneDNN does not serve, and as
 * a second implementation to compare it with. A thread processes panels of WIDTH columns: the panel
 * of B is converted to float once, then multiplied by ROWS rows of A at a time. Sums are
 * accumulated in blocks of DEPTH, so that a long sum does not lose its small terms; their order
 * depends on the shape only. */
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_bf16.h"
#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_memory.h"

enum { ROWS = 4, DEPTH = 256 };
#if defined(__AVX2__)
enum { WIDTH = 16 };
#else
enum { WIDTH = 8 };
#endif

typedef float lanes __attribute__((vector_size(WIDTH * sizeof(float)), aligned(4), may_alias));

static float number(const void *from, int64_t i, int bf16)
{
    return bf16 ? cpu_from_bf16(((const uint16_t *)from)[i]) : ((const float *)from)[i];
}

/* out [K, wide] = n columns from `first` on (of a transposed matrix: rows); further columns are
 * zero. */
static void unpack(float *out, const void *from, int bf16, int transposed, int stride,
                   int64_t first, int n, int wide, int K)
{
    const int64_t column = transposed ? stride : 1, row = transposed ? 1 : stride;
    for (int k = 0; k < K; k++, out += wide) {
        for (int j = 0; j < n; j++)
            out[j] = number(from, (first + j) * column + k * row, bf16);
        for (int j = n; j < wide; j++)
            out[j] = 0;
    }
}

/* sum [ROWS] += a [K, ROWS]^T b [K, WIDTH]. */
static void tile(lanes *sum, const float *a, const float *b, int K)
{
    lanes part[ROWS];
    memset(part, 0, sizeof part);
    for (int k = 0; k < K; k++, a += ROWS, b += WIDTH)
        for (int r = 0; r < ROWS; r++)
            part[r] += a[r] * *(const lanes *)b;
    for (int r = 0; r < ROWS; r++)
        sum[r] += part[r];
}

static void store(const struct cpu_gemm *g, const void *bias, void *c, int64_t row, int64_t first,
                  int n, const float *sum)
{
    for (int j = 0; j < n; j++) {
        const int64_t at = row * g->c_stride + first + j;
        float value = g->alpha * sum[j];
        value += g->accumulate ? number(c, at, g->c_bf16) : 0;
        value += bias ? number(bias, first + j, g->c_bf16) : 0;
        if (g->c_bf16)
            ((uint16_t *)c)[at] = cpu_to_bf16(value);
        else
            ((float *)c)[at] = value;
    }
}

static void panel(const struct cpu_gemm *g, const void *a, const void *b, const void *bias, void *c,
                  int first, float *scratch)
{
    const int n = g->N - first < WIDTH ? g->N - first : WIDTH;
    float *columns = scratch, *rows = scratch + (int64_t)g->K * WIDTH;
    unpack(columns, b, g->b_bf16, g->b_transposed, g->b_stride, first, n, WIDTH, g->K);
    for (int i = 0; i < g->M; i += ROWS) {
        const int m = g->M - i < ROWS ? g->M - i : ROWS;
        lanes sum[ROWS];
        memset(sum, 0, sizeof sum);
        unpack(rows, a, g->a_bf16, !g->a_transposed, g->a_stride, i, m, ROWS, g->K);
        for (int k = 0; k < g->K; k += DEPTH)
            tile(sum, rows + (int64_t)k * ROWS, columns + (int64_t)k * WIDTH,
                 g->K - k < DEPTH ? g->K - k : DEPTH);
        for (int r = 0; r < m; r++)
            store(g, bias, c, i + r, first, n, (const float *)&sum[r]);
    }
}

static void gemm(struct cpu *cpu, const struct cpu_gemm *g, const void *a, const void *b,
                 const void *bias, void *c)
{
    const int team = cpu_team(cpu, (int64_t)g->M * g->N * g->K / WIDTH);
    const int64_t floats = (int64_t)g->K * (WIDTH + ROWS);
    float *scratch = cpu_memory_scratch(cpu, floats);
    if (!scratch)
        return;
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(g->N, WIDTH, omp_get_thread_num(), team);
        for (int64_t first = s.begin; first < s.end; first += WIDTH)
            panel(g, a, b, bias, c, (int)first, scratch + omp_get_thread_num() * floats);
    }
}

void CPU_NAME(cpu_gemm)(struct cpu *cpu)
{
    cpu->gemm = gemm;
}
