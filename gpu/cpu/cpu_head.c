/* cpu_head: output layer, softmax, loss, statistics and their gradient on the
 * cpu backend. The batch goes through in chunks of rows: logits of a chunk,
 * turned in place into probabilities and then into the loss' gradient, from
 * which dh and dweight follow. Logits of more than `chunk` rows never exist.
 * Products and loops run over V of the Vp columns, so padding is never read. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_math.h"

enum { BLOCK = 1024 }; /* floats summed before they enter a double */

/* In place logits -> exp(logit - largest); returns logsumexp, *sum their sum. */
CPU_CLONES static float softmax_row(float *row, int V, double *sum)
{
    float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int v = 0; v < V; v++)
        largest = row[v] > largest ? row[v] : largest;
    double total = 0;
    for (int first = 0; first < V; first += BLOCK) {
        const int end = first + BLOCK < V ? first + BLOCK : V;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int v = first; v < end; v++) {
            row[v] = cpu_exp(row[v] - largest);
            part += row[v];
        }
        total += (double)part;
    }
    *sum = total;
    return (float)((double)largest + log(total));
}

CPU_CLONES static void scale_row(float *row, int V, float factor)
{
#pragma omp simd
    for (int v = 0; v < V; v++)
        row[v] *= factor;
}

CPU_CLONES static void add_bias(float *row, const float *bias, int V)
{
#pragma omp simd
    for (int v = 0; v < V; v++)
        row[v] += bias[v];
}

/* Mean over the batch of the tracked tokens' p: rows of the chunk in order. */
static void tracked_rows(const struct cpu *cpu, const struct backend_head *head, int first,
                         int rows, const float *logits)
{
    const int team = cpu_team(cpu, (int64_t)head->M * rows);
    float *mean_p = head->mean_p;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int m = 0; m < head->M; m++) {
        double sum = first == 0 ? 0 : (double)mean_p[m];
        for (int r = 0; r < rows; r++)
            sum += (double)logits[(int64_t)r * head->Vp + head->tracked[m]];
        mean_p[m] = (float)sum;
    }
}

/* Logits of `rows` positions from `first` on -> p / N, with loss and logsumexp. */
static void softmax_rows(const struct cpu *cpu, const struct backend_head *head, int first,
                         int rows, float *logits)
{
    const int team = cpu_team(cpu, 16 * (int64_t)rows * head->V);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int r = 0; r < rows; r++) {
        float *row = logits + (int64_t)r * head->Vp;
        const int32_t target = head->targets[first + r];
        double sum;
        if (head->bias)
            add_bias(row, head->bias, head->V);
        const float logit = row[target];
        const float lse = softmax_row(row, head->V, &sum);
        ((float *)head->losses)[first + r] = lse - logit;
        ((float *)head->lse)[first + r] = lse;
        scale_row(row, head->V, (float)(1 / (sum * head->N)));
    }
}

static void bias_gradient(struct cpu *cpu, const struct backend_head *head, int first, int rows,
                          const float *logits)
{
    const int team = cpu_team(cpu, (int64_t)rows * head->V);
    float *dbias = head->dbias;
    const int V = head->V;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int v = 0; v < V; v += BLOCK) {
        const int n = V - v < BLOCK ? V - v : BLOCK;
        if (first == 0)
            memset(dbias + v, 0, (size_t)n * sizeof *dbias);
        for (int r = 0; r < rows; r++)
            add_bias(dbias + v, logits + (int64_t)r * head->Vp + v, n);
    }
}

/* Products of one chunk: logits forward, then dh and dweight from their gradient. */
static void logits_forward(struct cpu *cpu, const struct backend_head *head, const float *h,
                           int rows, float *logits)
{
    const struct cpu_gemm gemm = {.M = rows,
                                  .N = head->V,
                                  .K = head->C,
                                  .b_transposed = 1,
                                  .a_stride = head->C,
                                  .b_stride = head->C,
                                  .c_stride = head->Vp,
                                  .alpha = (float)head->scale};
    cpu_gemm(cpu, &gemm, h, head->weight, NULL, logits);
}

static void logits_backward(struct cpu *cpu, const struct backend_head *head, const float *h,
                            float *dh, int rows, int accumulate, const float *logits)
{
    const struct cpu_gemm input = {.M = rows,
                                   .N = head->C,
                                   .K = head->V,
                                   .a_stride = head->Vp,
                                   .b_stride = head->C,
                                   .c_stride = head->C,
                                   .alpha = (float)head->scale};
    const struct cpu_gemm weight = {.M = head->V,
                                    .N = head->C,
                                    .K = rows,
                                    .a_transposed = 1,
                                    .a_stride = head->Vp,
                                    .b_stride = head->C,
                                    .c_stride = head->C,
                                    .accumulate = accumulate,
                                    .alpha = (float)head->scale};
    cpu_gemm(cpu, &input, logits, head->weight, NULL, dh);
    cpu_gemm(cpu, &weight, logits, h, NULL, head->dweight);
}

void cpu_head(struct backend *self, const struct backend_head *head)
{
    struct cpu *cpu = cpu_of(self);
    float *logits = head->workspace;
    const int padding = head->Vp - head->V;
    for (int first = 0; first < head->N; first += head->chunk) {
        const int rows = head->N - first < head->chunk ? head->N - first : head->chunk;
        const float *h = (const float *)head->h + (int64_t)first * head->C;
        logits_forward(cpu, head, h, rows, logits);
        softmax_rows(cpu, head, first, rows, logits);
        if (head->mean_p)
            tracked_rows(cpu, head, first, rows, logits);
        for (int r = 0; r < rows; r++)
            logits[(int64_t)r * head->Vp + head->targets[first + r]] -= 1.0f / (float)head->N;
        logits_backward(cpu, head, h, (float *)head->dh + (int64_t)first * head->C, rows, first > 0,
                        logits);
        if (head->dbias)
            bias_gradient(cpu, head, first, rows, logits);
    }
    memset((float *)head->dweight + (int64_t)head->V * head->C, 0,
           (size_t)padding * (size_t)head->C * sizeof(float));
    if (head->dbias)
        memset((float *)head->dbias + head->V, 0, (size_t)padding * sizeof(float));
}
