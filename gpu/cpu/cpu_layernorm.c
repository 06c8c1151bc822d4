/* cpu_layernorm: layer normalisation (Ba et al. 2016) of the cpu backend. Each row is read from
 * memory once in each direction. In backward, each thread accumulates the gradients of gain and
 * bias of its own rows, in float over BLOCK rows and then in double; the threads' sums are added in
 * thread order. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_act.h"
#include "gpu/cpu/cpu_memory.h"

enum { BLOCK = 64, LINE = 16 }; /* rows summed in float; floats of a cache line */

CPU_INLINE void forward_row(void *out, float *mean_out, float *rstd_out, const void *x,
                            const float *gain, const float *bias, int C, int bf16)
{
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < C; c++)
        sum += cpu_get(x, c, bf16);
    const float mean = sum / (float)C;
#pragma omp simd reduction(+ : squares)
    for (int c = 0; c < C; c++) {
        const float difference = cpu_get(x, c, bf16) - mean;
        squares += difference * difference;
    }
    const float rstd = 1.0f / sqrtf(squares / (float)C + 1e-5f);
#pragma omp simd
    for (int c = 0; c < C; c++)
        cpu_put(out, c, (cpu_get(x, c, bf16) - mean) * rstd * gain[c] + bias[c], bf16);
    *mean_out = mean;
    *rstd_out = rstd;
}

static void layernorm_forward(struct backend *self, void *out, void *mean, void *rstd,
                              const void *x, const void *gain, const void *bias, int N, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 4 * (int64_t)N * C);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int n = 0; n < N; n++) {
        void *to = cpu_act_out(cpu, out, (int64_t)n * C);
        const void *from = cpu_act_in(cpu, x, (int64_t)n * C);
        float *m = (float *)mean + n, *s = (float *)rstd + n;
        if (cpu->bf16)
            forward_row(to, m, s, from, gain, bias, C, 1);
        else
            forward_row(to, m, s, from, gain, bias, C, 0);
    }
}

/* The gradients of gain and bias of one thread's rows: [2][C] each. */
struct sums {
    float *block;
    double *total;
};

enum { SUMS_FLOATS = 2 + 2 * sizeof(double) / sizeof(float) }; /* for each column */

static struct sums sums_of(float *scratch, int thread, int C)
{
    float *own = scratch + (int64_t)thread * (int64_t)SUMS_FLOATS * C;
    return (struct sums){.total = (double *)(void *)own,
                         .block = own + (SUMS_FLOATS - 2) * (int64_t)C};
}

static void sums_add_block(const struct sums *sums, int C)
{
    for (int c = 0; c < 2 * C; c++) {
        sums->total[c] += (double)sums->block[c];
        sums->block[c] = 0;
    }
}

/* With y = (x - mean) rstd and g = dout gain: dx = rstd (g - mean(g) - y mean(g y)),
 * dgain = sum of dout y, dbias = sum of dout. */
CPU_INLINE void backward_row(void *dx, float *dgain, float *dbias, const void *dout,
                             const void *residual, const void *x, float mean, float rstd,
                             const float *gain, int C, int bf16)
{
    float g_sum = 0, gy_sum = 0;
#pragma omp simd reduction(+ : g_sum, gy_sum)
    for (int c = 0; c < C; c++) {
        const float g = cpu_get(dout, c, bf16) * gain[c];
        g_sum += g;
        gy_sum += g * (cpu_get(x, c, bf16) - mean) * rstd;
    }
    const float g_mean = g_sum / (float)C, gy_mean = gy_sum / (float)C;
#pragma omp simd
    for (int c = 0; c < C; c++) {
        const float d = cpu_get(dout, c, bf16), y = (cpu_get(x, c, bf16) - mean) * rstd;
        const float before = residual ? cpu_get(residual, c, bf16) : 0;
        cpu_put(dx, c, before + rstd * (d * gain[c] - g_mean - y * gy_mean), bf16);
        dgain[c] += d * y;
        dbias[c] += d;
    }
}

struct backward {
    void *dx;
    const void *dout, *residual, *x;
    const float *mean, *rstd, *gain;
    int C;
};

CPU_INLINE void backward_rows(const struct cpu *cpu, const struct backward *b,
                              const struct sums *sums, struct cpu_slice rows, int bf16)
{
    const int C = b->C;
    memset(sums->block, 0, 2 * (size_t)C * sizeof *sums->block);
    memset(sums->total, 0, 2 * (size_t)C * sizeof *sums->total);
    for (int64_t n = rows.begin; n < rows.end; n++) {
        backward_row(cpu_act_out(cpu, b->dx, n * C), sums->block, sums->block + C,
                     cpu_act_in(cpu, b->dout, n * C), cpu_act_in(cpu, b->residual, n * C),
                     cpu_act_in(cpu, b->x, n * C), b->mean[n], b->rstd[n], b->gain, C, bf16);
        if ((n - rows.begin) % BLOCK == BLOCK - 1)
            sums_add_block(sums, C);
    }
    sums_add_block(sums, C);
}

/* Add the threads' sums, column by column, into dgain and dbias. */
static void add_threads(float *dgain, float *dbias, float *scratch, int team, int C,
                        struct cpu_slice columns)
{
    for (int64_t c = columns.begin; c < columns.end; c++) {
        double gain = 0, bias = 0;
        for (int i = 0; i < team; i++) {
            const struct sums sums = sums_of(scratch, i, C);
            gain += sums.total[c];
            bias += sums.total[C + c];
        }
        dgain[c] = (float)gain;
        dbias[c] = (float)bias;
    }
}

static void layernorm_backward(struct backend *self, void *dx, void *dgain, void *dbias,
                               const void *dout, const void *residual, const void *x,
                               const void *mean, const void *rstd, const void *gain, int N, int C)
{
    struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 8 * (int64_t)N * C);
    const struct backward b = {dx, dout, residual, x, mean, rstd, gain, C};
    float *scratch = cpu_memory_scratch(cpu, (int64_t)SUMS_FLOATS * C);
    if (!scratch)
        return;
#pragma omp parallel num_threads(team)
    {
        const int i = omp_get_thread_num();
        const struct sums sums = sums_of(scratch, i, C);
        const struct cpu_slice rows = cpu_slice(N, 1, i, team);
        if (cpu->bf16)
            backward_rows(cpu, &b, &sums, rows, 1);
        else
            backward_rows(cpu, &b, &sums, rows, 0);
#pragma omp barrier
        add_threads(dgain, dbias, scratch, team, C, cpu_slice(C, LINE, i, team));
    }
}

void CPU_NAME(cpu_layernorm)(struct cpu *cpu)
{
    cpu->table.layernorm_forward = layernorm_forward;
    cpu->table.layernorm_backward = layernorm_backward;
}
