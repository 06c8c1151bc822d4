/* cpu_internal: the state that all files of the cpu backend share, the description of a matrix
 * product, and the partition of work into slices for threads. The partition is static, by
 * position and never on demand, so every sum has the same order on every run.
 *
 * Where to find what: cpu.c opens the backend; cpu_memory.c allocates; cpu_isa.c picks the
 * instruction set; cpu_matmul.c computes matrix products through oneDNN. The files of loops
 * (cpu_loops.h) hold all other operations: cpu_gemm.c matrix products in plain C,
 * cpu_attention.c attention, cpu_layernorm.c layernorm, cpu_elementwise.c embeddings,
 * activations and sums, cpu_lm_head.c the output layer with softmax and loss, cpu_fused.c the same
 * without logits in memory, cpu_tracked.c the statistics of tracked tokens, cpu_update.c the
 * optimiser, the gradient's norm and gradient clipping. */
#ifndef TOKENFATE_CPU_INTERNAL_H
#define TOKENFATE_CPU_INTERNAL_H

#include <stdint.h>

#include "gpu/backend.h"
#include "gpu/cpu/cpu_isa.h"
#include "gpu/cpu/cpu_loops.h"

struct cpu_gemm;
struct cpu_matmul; /* cache of oneDNN primitives, cpu_matmul.c */

struct cpu {
    struct backend table; /* first: a struct backend * points to its struct cpu */
    enum cpu_isa isa;
    int bf16; /* ACT is bfloat16 (uint16_t, cpu_bf16.h), else float32 */
    int threads;
    struct cpu_matmul *matmul;
    float *scratch;         /* one part for each thread */
    int64_t scratch_floats; /* floats of one part */
    struct err fault;       /* the first fault, reported by download and sync */

    /* out [n] = column sums of in ACT [rows, n]. */
    void (*column_sums)(struct cpu *cpu, float *out, const void *in, int rows, int n, int stride);
    /* The numerically stable lm_head for logits of any size, chunk by chunk: fallback of the fused
     * one. */
    void (*stable_lm_head)(struct backend *self, const struct backend_lm_head *head);
    /* cpu_matmul_gemm in plain C (cpu_gemm.c). */
    void (*gemm)(struct cpu *cpu, const struct cpu_gemm *gemm, const void *a, const void *b,
                 const void *bias, void *c);
};

static inline struct cpu *cpu_of(struct backend *self)
{
    return (struct cpu *)self;
}

/* Threads for `work` simple operations: one thread below about 0.1 ms of work, where more would
 * gain little and, on a busy machine, be waited for. Depends on the size only, so the partition is
 * the same every time. */
enum { CPU_TEAM_WORK = 1 << 19 };

static inline int cpu_team(const struct cpu *cpu, int64_t work)
{
    return work < CPU_TEAM_WORK ? 1 : cpu->threads;
}

struct cpu_slice {
    int64_t begin, end;
};

/* Part `i` of `parts` of n items, with boundaries at multiples of `unit`. */
static inline struct cpu_slice cpu_slice(int64_t n, int64_t unit, int i, int parts)
{
    const int64_t units = (n + unit - 1) / unit;
    const int64_t begin = units * i / parts * unit, end = units * (i + 1) / parts * unit;
    return (struct cpu_slice){begin < n ? begin : n, end < n ? end : n};
}

/* A matrix product: C [M, N] = alpha A B (+ C if accumulate) (+ bias [N] of C's type). A is [M, K],
 * or stored as [K, M] if a_transposed; likewise B [K, N]. Strides are those of stored rows. */
struct cpu_gemm {
    int M, N, K;
    int a_transposed, b_transposed;
    int a_stride, b_stride, c_stride;
    int accumulate, has_bias;
    int a_bf16, b_bf16, c_bf16; /* bfloat16, else float32 */
    float alpha;
};

#endif
