/* cpu_internal: what the files of the cpu backend share: its state, the way work
 * is cut into slices for threads, and the operations each file brings. Work is
 * always cut by position, never handed out on demand, so that every sum is made
 * in the same order on every run. Vector loops live in functions marked
 * CPU_CLONES: compiled for each instruction set, chosen when the program loads. */
#ifndef TOKENFATE_CPU_INTERNAL_H
#define TOKENFATE_CPU_INTERNAL_H

#include <stdint.h>

#include "gpu/backend.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CPU_CLONES                                                                                 \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline))
#else
#define CPU_CLONES __attribute__((noinline))
#endif

struct cpu_matmul; /* the cache of oneDNN primitives, cpu_matmul.c */

struct cpu {
    struct backend table; /* first: a struct backend * is a struct cpu * */
    int threads;
    struct cpu_matmul *matmul;
    float *scratch;         /* one part for each thread */
    int64_t scratch_floats; /* floats of one part */
    struct err fault;       /* the first fault, reported by download and sync */
};

static inline struct cpu *cpu_of(struct backend *self)
{
    return (struct cpu *)self;
}

/* Threads for `work` simple operations: one below about 0.1 ms of work, where the
 * others would gain little and, on a busy machine, be waited for. Depends on
 * nothing but the size, so the cut is the same every time. */
enum { CPU_TEAM_WORK = 1 << 19 };

static inline int cpu_team(const struct cpu *cpu, int64_t work)
{
    return work < CPU_TEAM_WORK ? 1 : cpu->threads;
}

struct cpu_slice {
    int64_t begin, end;
};

/* Part `i` of `parts` of n items, cut at multiples of `unit`. */
static inline struct cpu_slice cpu_slice(int64_t n, int64_t unit, int i, int parts)
{
    const int64_t units = (n + unit - 1) / unit;
    const int64_t begin = units * i / parts * unit, end = units * (i + 1) / parts * unit;
    return (struct cpu_slice){begin < n ? begin : n, end < n ? end : n};
}

/* C [M, N] = alpha A B (+ C if accumulate) (+ bias [N]); A is [M, K], or stored
 * as [K, M] if a_transposed; likewise B [K, N]. Strides of stored rows. */
struct cpu_gemm {
    int M, N, K;
    int a_transposed, b_transposed;
    int a_stride, b_stride, c_stride;
    int accumulate, has_bias;
    float alpha;
};

int cpu_matmul_open(struct cpu_matmul **out, struct err *err);
void cpu_matmul_close(struct cpu_matmul *matmul);
/* "oneDNN 2.6.3", of the library that is loaded: it may change under a build. */
void cpu_matmul_library(char *out, size_t n);
void cpu_gemm(struct cpu *cpu, const struct cpu_gemm *gemm, const float *a, const float *b,
              const float *bias, float *c);

/* Scratch of at least `floats` for each thread, thread i's at + i * floats; it
 * grows when a larger model comes, in its first step. NULL without memory: the
 * fault is kept. */
float *cpu_scratch(struct cpu *cpu, int64_t floats);

/* out [n] = column sums of in [rows, n]. */
void cpu_column_sums(struct cpu *cpu, float *out, const float *in, int rows, int n, int stride);

void cpu_cast(struct backend *self, void *out, const void *in, int64_t n);
void cpu_add(struct backend *self, void *out, const void *a, const void *b, int64_t n);
void cpu_embedding_forward(struct backend *self, void *out, const void *wte, const void *wpe,
                           const int32_t *ids, int B, int T, int C);
void cpu_embedding_backward(struct backend *self, void *dwte, void *dwpe, const void *dout,
                            const int32_t *ids, int B, int T, int C);
void cpu_activation_forward(struct backend *self, void *out, const void *x, int64_t n,
                            enum spec_activation kind);
void cpu_activation_backward(struct backend *self, void *dx, const void *dout, const void *x,
                             int64_t n, enum spec_activation kind);
void cpu_window_sums(struct backend *self, void *out, const void *h, int B, int T, int C);
void cpu_weighted_sums(struct backend *self, void *out, const void *weights, const void *h, int K,
                       int N, int C);
void cpu_gather_rows(struct backend *self, void *out, const void *in, const int32_t *ids, int M,
                     int C);
void cpu_layernorm_forward(struct backend *self, void *out, void *mean, void *rstd, const void *x,
                           const void *gain, const void *bias, int N, int C);
void cpu_layernorm_backward(struct backend *self, void *dx, void *dgain, void *dbias,
                            const void *dout, const void *residual, const void *x, const void *mean,
                            const void *rstd, const void *gain, int N, int C);
void cpu_matmul_forward(struct backend *self, void *out, const void *x, const void *weight,
                        const void *bias, int N, int I, int O);
void cpu_matmul_backward_input(struct backend *self, void *dx, const void *dout, const void *weight,
                               int N, int I, int O);
void cpu_matmul_backward_weight(struct backend *self, void *dweight, void *dbias, const void *x,
                                const void *dout, int N, int I, int O);
void cpu_attention_forward(struct backend *self, void *out, void *lse, const void *qkv, int B,
                           int T, int C, int NH);
void cpu_attention_backward(struct backend *self, void *dqkv, const void *dout, const void *qkv,
                            const void *out, const void *lse, int B, int T, int C, int NH);
void cpu_head(struct backend *self, const struct backend_head *head);
void cpu_tracked(struct backend *self, const struct backend_tracked *tracked);
void cpu_scores(struct backend *self, void *out, const void *weight, const void *bias,
                const void *x, double factor, int V, int C);
void cpu_sum_squares(struct backend *self, void *out, const void *in, int64_t n);
void cpu_update(struct backend *self, const struct backend_update *update, void *parameters,
                void *copy, const void *gradients, void *moment1, void *moment2, int64_t n);

#endif
