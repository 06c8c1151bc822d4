/* cpu_update: optimiser, gradient clipping and the gradient's norm on the cpu backend. The
 * optimiser is memory-bound: one pass reads and writes every number once, block by block, and
 * includes the ACT copy for matrix products and the gradient's sum of squares. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu.h"
#include "gpu/cpu/cpu_act.h"

enum {
    LINE = 16,   /* floats of a cache line */
    BLOCK = 1024 /* floats summed before they are added to a double */
};

static double slice_squares(const float *in, int64_t n)
{
    double total = 0;
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t end = first + BLOCK < n ? first + BLOCK : n;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = first; i < end; i++)
            sum += in[i] * in[i];
        total += (double)sum;
    }
    return total;
}

/* sum_squares and the optimiser partition n numbers alike, so their sums of squares have equal
 * bits. */
static int team_of(const struct cpu *cpu, int64_t n)
{
    return cpu_team(cpu, 4 * n);
}

static struct cpu_slice slice_of(int64_t n, int team)
{
    return cpu_slice(n, 2 * LINE, omp_get_thread_num(), team);
}

static void add_parts(void *out, const double *part, int team)
{
    double total = 0;
    for (int i = 0; i < team; i++)
        total += part[i];
    *(float *)out += (float)total;
}

static void sum_squares(struct backend *self, void *out, const void *in, int64_t n)
{
    const int team = team_of(cpu_of(self), n);
    double part[CPU_THREADS_MAX];
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = slice_of(n, team);
        part[omp_get_thread_num()] = slice_squares((const float *)in + s.begin, s.end - s.begin);
    }
    add_parts(out, part, team);
}

/* The factors of a step in float, equal for all parameters. `clip` is the gradient's factor. */
struct factors {
    float clip, lr, decay, momentum;
    float beta1, beta2, eps, one_minus_beta1, one_minus_beta2;
    float step;                /* lr / (1 - beta1^t) */
    float inv_sqrt_correction; /* 1 / sqrt(1 - beta2^t) */
};

static struct factors factors_of(const struct backend_update *u)
{
    const float *scalars = u->scalars;
    const float norm = u->clip > 0 ? sqrtf(*(const float *)u->squares) : 0;
    const float ratio = (float)u->clip / (norm + 1e-6f);
    return (struct factors){
        /* The negated comparison lets a norm of NaN through to the weights, so that divergence
         * shows. */
        .clip = u->clip > 0 && !(ratio >= 1) ? ratio : 1,
        .lr = scalars[0],
        .decay = (float)u->decay,
        .momentum = (float)u->momentum,
        .beta1 = (float)u->beta1,
        .beta2 = (float)u->beta2,
        .eps = (float)u->eps,
        .one_minus_beta1 = (float)(1 - u->beta1),
        .one_minus_beta2 = (float)(1 - u->beta2),
        .step = scalars[0] / scalars[1],
        .inv_sqrt_correction = 1.0f / sqrtf(scalars[2]),
    };
}

static void sgd(const struct factors *f, float *w, const float *gradient, float *m1, float *m2,
                int64_t n)
{
    (void)m1;
    (void)m2;
    const float clip = f->clip, decay = f->decay, lr = f->lr;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        w[i] -= lr * (gradient[i] * clip + decay * w[i]);
}

static void momentum(const struct factors *f, float *w, const float *gradient, float *m1, float *m2,
                     int64_t n)
{
    (void)m2;
    const float clip = f->clip, decay = f->decay, lr = f->lr, keep = f->momentum;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        m1[i] = keep * m1[i] + (gradient[i] * clip + decay * w[i]);
        w[i] -= lr * m1[i];
    }
}

/* Adam adds the decay to the gradient (L2), AdamW subtracts it beside the step (Loshchilov & Hutter
 * 2019). One of l2 and shrink is zero. */
__attribute__((always_inline)) static inline void
adam_loop(const struct factors *f, float l2, float shrink, float *restrict w,
          const float *restrict gradient, float *restrict m1, float *restrict m2, int64_t n)
{
    const float clip = f->clip, step = f->step, root = f->inv_sqrt_correction, eps = f->eps;
    const float beta1 = f->beta1, beta2 = f->beta2;
    const float rest1 = f->one_minus_beta1, rest2 = f->one_minus_beta2;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float g = gradient[i] * clip + l2 * w[i];
        const float first = beta1 * m1[i] + rest1 * g;
        const float second = beta2 * m2[i] + rest2 * (g * g);
        m1[i] = first;
        m2[i] = second;
        w[i] = (w[i] - shrink * w[i]) - step * first / (sqrtf(second) * root + eps);
    }
}

static void adam(const struct factors *f, float *w, const float *gradient, float *m1, float *m2,
                 int64_t n)
{
    adam_loop(f, f->decay, 0, w, gradient, m1, m2, n);
}

static void adamw(const struct factors *f, float *w, const float *gradient, float *m1, float *m2,
                  int64_t n)
{
    adam_loop(f, 0, f->lr * f->decay, w, gradient, m1, m2, n);
}

static void (*const update_table[])(const struct factors *f, float *w, const float *gradient,
                                    float *m1, float *m2, int64_t n) = {
    [OPTIMIZER_SGD] = sgd,
    [OPTIMIZER_MOMENTUM] = momentum,
    [OPTIMIZER_ADAM] = adam,
    [OPTIMIZER_ADAMW] = adamw,
};

/* ACT copy of the new parameters, made while they are in the cache. */
static void copy_block(const struct cpu *cpu, void *copy, const float *parameters, int64_t first,
                       int64_t n)
{
    if (cpu->bf16) {
        uint16_t *out = (uint16_t *)copy + first;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = cpu_to_bf16(parameters[first + i]);
    } else {
        memcpy((float *)copy + first, parameters + first, (size_t)n * sizeof(float));
    }
}

static void optimise(struct backend *self, const struct backend_update *update, void *parameters,
                     void *copy, const void *gradients, void *moment1, void *moment2, int64_t n)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = team_of(cpu, n);
    const struct factors factors = factors_of(update);
    double part[CPU_THREADS_MAX];
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = slice_of(n, team);
        double squares = 0;
        for (int64_t first = s.begin; first < s.end; first += BLOCK) {
            const int64_t count = s.end - first < BLOCK ? s.end - first : BLOCK;
            update_table[update->kind](&factors, (float *)parameters + first,
                                       (const float *)gradients + first,
                                       moment1 ? (float *)moment1 + first : NULL,
                                       moment2 ? (float *)moment2 + first : NULL, count);
            if (copy)
                copy_block(cpu, copy, parameters, first, count);
            if (update->summed)
                squares += slice_squares((const float *)gradients + first, count);
        }
        part[omp_get_thread_num()] = squares;
    }
    if (update->summed)
        add_parts(update->summed, part, team);
}

void CPU_NAME(cpu_update)(struct cpu *cpu)
{
    cpu->table.sum_squares = sum_squares;
    cpu->table.update = optimise;
}
