/* cpu_layernorm: layer normalisation (Ba et al. 2016) of the cpu backend.
 * Backward makes two passes: dx by rows, the gradients of gain and bias by
 * columns, so that no thread adds to what another one writes. */
#include <math.h>
#include <omp.h>

#include "gpu/cpu/cpu_internal.h"

enum { PANEL = 64, BLOCK = 64 }; /* columns and rows summed together, as in cpu_elementwise.c */

static void forward_row(float *out, float *mean_out, float *rstd_out, const float *x,
                        const float *gain, const float *bias, int C)
{
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < C; c++)
        sum += x[c];
    const float mean = sum / (float)C;
#pragma omp simd reduction(+ : squares)
    for (int c = 0; c < C; c++)
        squares += (x[c] - mean) * (x[c] - mean);
    const float rstd = 1.0f / sqrtf(squares / (float)C + 1e-5f);
#pragma omp simd
    for (int c = 0; c < C; c++)
        out[c] = (x[c] - mean) * rstd * gain[c] + bias[c];
    *mean_out = mean;
    *rstd_out = rstd;
}

static void layernorm_forward(struct backend *self, void *out, void *mean, void *rstd,
                              const void *x, const void *gain, const void *bias, int N, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 4 * (int64_t)N * C);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int n = 0; n < N; n++)
        forward_row((float *)out + (int64_t)n * C, (float *)mean + n, (float *)rstd + n,
                    (const float *)x + (int64_t)n * C, gain, bias, C);
}

/* With y = (x - mean) rstd and g = dout gain: dx = rstd (g - mean(g) - y mean(g y)). */
static void backward_row(float *dx, const float *dout, const float *residual, const float *x,
                         float mean, float rstd, const float *gain, int C)
{
    float g_sum = 0, gy_sum = 0;
#pragma omp simd reduction(+ : g_sum, gy_sum)
    for (int c = 0; c < C; c++) {
        const float g = dout[c] * gain[c];
        g_sum += g;
        gy_sum += g * (x[c] - mean) * rstd;
    }
    const float g_mean = g_sum / (float)C, gy_mean = gy_sum / (float)C;
    if (residual) {
#pragma omp simd
        for (int c = 0; c < C; c++)
            dx[c] =
                residual[c] + rstd * (dout[c] * gain[c] - g_mean - (x[c] - mean) * rstd * gy_mean);
    } else {
#pragma omp simd
        for (int c = 0; c < C; c++)
            dx[c] = rstd * (dout[c] * gain[c] - g_mean - (x[c] - mean) * rstd * gy_mean);
    }
}

static void backward_panel(float *dgain, float *dbias, const float *dout, const float *x,
                           const float *mean, const float *rstd, int N, int n, int stride)
{
    double gain_total[PANEL] = {0}, bias_total[PANEL] = {0};
    for (int first = 0; first < N; first += BLOCK) {
        const int end = first + BLOCK < N ? first + BLOCK : N;
        float gain_sum[PANEL] = {0}, bias_sum[PANEL] = {0};
        for (int r = first; r < end; r++) {
            const float *d = dout + (int64_t)r * stride, *row = x + (int64_t)r * stride;
            const float m = mean[r], s = rstd[r];
#pragma omp simd
            for (int c = 0; c < n; c++) {
                gain_sum[c] += d[c] * (row[c] - m) * s;
                bias_sum[c] += d[c];
            }
        }
        for (int c = 0; c < n; c++) {
            gain_total[c] += (double)gain_sum[c];
            bias_total[c] += (double)bias_sum[c];
        }
    }
    for (int c = 0; c < n; c++) {
        dgain[c] = (float)gain_total[c];
        dbias[c] = (float)bias_total[c];
    }
}

static void layernorm_backward(struct backend *self, void *dx, void *dgain, void *dbias,
                               const void *dout, const void *residual, const void *x,
                               const void *mean, const void *rstd, const void *gain, int N, int C)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, 8 * (int64_t)N * C);
    const float *d = dout, *add = residual, *in = x, *m = mean, *s = rstd;
#pragma omp parallel num_threads(team)
    {
#pragma omp for schedule(static) nowait
        for (int c = 0; c < C; c += PANEL)
            backward_panel((float *)dgain + c, (float *)dbias + c, d + c, in + c, m, s, N,
                           C - c < PANEL ? C - c : PANEL, C);
#pragma omp for schedule(static)
        for (int n = 0; n < N; n++) {
            const int64_t row = (int64_t)n * C;
            backward_row((float *)dx + row, d + row, add ? add + row : NULL, in + row, m[n], s[n],
                         gain, C);
        }
    }
}

void CPU_NAME(cpu_layernorm)(struct cpu *cpu)
{
    cpu->table.layernorm_forward = layernorm_forward;
    cpu->table.layernorm_backward = layernorm_backward;
}
