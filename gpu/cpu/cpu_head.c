/* cpu_head: output layer, softmax, loss, objective and their gradient on the
 * cpu backend. The batch goes through in chunks of rows: logits of a chunk,
 * turned in place into the objective's gradient, from which dh and dweight
 * follow. Logits of more than `chunk` rows never exist. Products and loops run
 * over V of the Vp columns, so padding is never read. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_matmul.h"
#include "gpu/cpu/cpu_math.h"

enum { BLOCK = 1024 }; /* floats summed before they enter a double */

/* In place logits -> exp(logit - largest); returns logsumexp, *sum their sum. */
static float softmax_row(float *row, int V, double *sum)
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

/* logsumexp of a row that stays as it is. */
static float row_lse(const float *row, int V)
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
        for (int v = first; v < end; v++)
            part += cpu_exp(row[v] - largest);
        total += (double)part;
    }
    return (float)((double)largest + log(total));
}

static double row_sum(const float *row, int V)
{
    double total = 0;
    for (int first = 0; first < V; first += BLOCK) {
        const int end = first + BLOCK < V ? first + BLOCK : V;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int v = first; v < end; v++)
            part += row[v];
        total += (double)part;
    }
    return total;
}

static void add_bias(float *row, const float *bias, int V)
{
#pragma omp simd
    for (int v = 0; v < V; v++)
        row[v] += bias[v];
}

static void scale_row(float *row, int V, float factor)
{
#pragma omp simd
    for (int v = 0; v < V; v++)
        row[v] *= factor;
}

static void scale_and_shift_row(float *row, int V, float factor, float shift)
{
#pragma omp simd
    for (int v = 0; v < V; v++)
        row[v] = row[v] * factor + shift;
}

/* The objective is the plain loss. */
static int is_plain(const struct backend_head *head)
{
    return !head->weights && !head->adjust && head->smoothing == 0 && head->z_loss == 0;
}

/* Logits of position n -> gradient of the plain loss. */
static void loss_row(const struct backend_head *head, int n, float *row)
{
    const int32_t target = head->targets[n];
    const float logit = row[target];
    double sum;
    const float lse = softmax_row(row, head->V, &sum);
    ((float *)head->losses)[n] = lse - logit;
    ((float *)head->lse)[n] = lse;
    if (head->objective)
        ((float *)head->objective)[n] = lse - logit;
    if (head->objective_lse)
        ((float *)head->objective_lse)[n] = lse;
    scale_row(row, head->V, (float)(1 / (sum * head->N)));
    row[target] -= 1.0f / (float)head->N;
}

/* Logits of position n -> gradient of any objective. */
static void objective_row(const struct backend_head *head, int n, float *row)
{
    const int V = head->V;
    const int32_t target = head->targets[n];
    const double omega = head->weights ? (double)((const float *)head->weights)[n] : 1;
    const float plain_logit = row[target];
    float plain_lse = 0;
    if (head->adjust) {
        plain_lse = row_lse(row, V);
        add_bias(row, head->adjust, V);
    }
    double expected = (1 - head->smoothing) * (double)row[target], sum;
    if (head->smoothing > 0)
        expected += head->smoothing * row_sum(row, V) / V;
    const float lse = softmax_row(row, V, &sum);
    if (!head->adjust)
        plain_lse = lse;

    ((float *)head->losses)[n] = plain_lse - plain_logit;
    ((float *)head->lse)[n] = plain_lse;
    if (head->objective)
        ((float *)head->objective)[n] =
            (float)(omega * ((double)lse - expected) + head->z_loss * (double)lse * (double)lse);
    if (head->objective_lse)
        ((float *)head->objective_lse)[n] = lse;
    scale_and_shift_row(row, V, (float)((omega + 2 * head->z_loss * (double)lse) / (sum * head->N)),
                        (float)(-omega * head->smoothing / V / head->N));
    row[target] -= (float)(omega * (1 - head->smoothing) / head->N);
}

/* Products of `rows` positions from `first` on -> gradient of the logits. */
static void gradient_rows(const struct cpu *cpu, const struct backend_head *head, int first,
                          int rows, float *logits)
{
    const int team = cpu_team(cpu, 16 * (int64_t)rows * head->V);
    void (*const turn)(const struct backend_head *, int, float *) =
        is_plain(head) ? loss_row : objective_row;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int r = 0; r < rows; r++) {
        float *row = logits + (int64_t)r * head->Vp;
        if (head->bias)
            add_bias(row, head->bias, head->V);
        for (int m = 0; head->tracked_logits && m < head->M; m++)
            ((float *)head->tracked_logits)[(int64_t)m * head->N + first + r] =
                row[head->tracked[m]];
        turn(head, first + r, row);
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
static void logits_forward(struct cpu *cpu, const struct backend_head *head, const void *h,
                           int rows, float *logits)
{
    const struct cpu_gemm gemm = {.M = rows,
                                  .N = head->V,
                                  .K = head->C,
                                  .b_transposed = 1,
                                  .a_bf16 = cpu->bf16,
                                  .b_bf16 = cpu->bf16,
                                  .a_stride = head->C,
                                  .b_stride = head->C,
                                  .c_stride = head->Vp,
                                  .alpha = (float)head->scale};
    cpu_matmul_gemm(cpu, &gemm, h, head->weight, NULL, logits);
}

static void logits_backward(struct cpu *cpu, const struct backend_head *head, const void *h,
                            void *dh, int rows, int accumulate, const float *logits)
{
    const struct cpu_gemm input = {.M = rows,
                                   .N = head->C,
                                   .K = head->V,
                                   .b_bf16 = cpu->bf16,
                                   .c_bf16 = cpu->bf16,
                                   .a_stride = head->Vp,
                                   .b_stride = head->C,
                                   .c_stride = head->C,
                                   .alpha = (float)head->scale};
    const struct cpu_gemm weight = {.M = head->V,
                                    .N = head->C,
                                    .K = rows,
                                    .a_transposed = 1,
                                    .b_bf16 = cpu->bf16,
                                    .a_stride = head->Vp,
                                    .b_stride = head->C,
                                    .c_stride = head->C,
                                    .accumulate = accumulate,
                                    .alpha = (float)head->scale};
    cpu_matmul_gemm(cpu, &input, logits, head->weight, NULL, dh);
    cpu_matmul_gemm(cpu, &weight, logits, h, NULL, head->dweight);
}

static void output_layer(struct backend *self, const struct backend_head *head)
{
    struct cpu *cpu = cpu_of(self);
    float *logits = head->workspace;
    const int padding = head->Vp - head->V;
    for (int first = 0; first < head->N; first += head->chunk) {
        const int rows = head->N - first < head->chunk ? head->N - first : head->chunk;
        const int64_t offset = (int64_t)first * head->C;
        const void *h = backend_at(self, head->h, NUMBER_ACT, offset);
        logits_forward(cpu, head, h, rows, logits);
        gradient_rows(cpu, head, first, rows, logits);
        if (!head->dh)
            continue;
        logits_backward(cpu, head, h, backend_at(self, head->dh, NUMBER_ACT, offset), rows,
                        first > 0, logits);
        if (head->dbias)
            bias_gradient(cpu, head, first, rows, logits);
    }
    if (!head->dh)
        return;
    memset((float *)head->dweight + (int64_t)head->V * head->C, 0,
           (size_t)padding * (size_t)head->C * sizeof(float));
    if (head->dbias)
        memset((float *)head->dbias + head->V, 0, (size_t)padding * sizeof(float));
}

void CPU_NAME(cpu_head)(struct cpu *cpu)
{
    cpu->table.head = cpu->stable_head = output_layer;
}
