/* cpu_internal: what the files of the cpu backend share: its state, the way work
 * is cut into slices for threads, and the operations each file brings. Work is
 * always cut by position, never handed out on demand, so that every sum is made
 * in the same order on every run. The files of loops (attention, elementwise,
 * fused, gemm, head, layernorm, tracked, update) are compiled once for each instruction set, with
 * CPU_ISA naming it: everything in them is static but CPU_NAME(cpu_FILE), which
 * puts their operations into the table. */
#ifndef TOKENFATE_CPU_INTERNAL_H
#define TOKENFATE_CPU_INTERNAL_H

#include <stdint.h>

#include "gpu/backend.h"
#include "gpu/cpu/cpu_isa.h"

#ifdef CPU_ISA
#define CPU_JOIN(name, isa) name##_##isa
#define CPU_JOIN_VALUES(name, isa) CPU_JOIN(name, isa)
#define CPU_NAME(name) CPU_JOIN_VALUES(name, CPU_ISA)
#endif

struct cpu_gemm;
struct cpu_matmul; /* the cache of oneDNN primitives, cpu_matmul.c */

struct cpu {
    struct backend table; /* first: a struct backend * is a struct cpu * */
    enum cpu_isa isa;
    int bf16; /* ACT is bfloat16 (uint16_t, cpu_bf16.h), else float */
    int threads;
    struct cpu_matmul *matmul;
    float *scratch;         /* one part for each thread */
    int64_t scratch_floats; /* floats of one part */
    struct err fault;       /* the first fault, reported by download and sync */

    /* out [n] = column sums of in ACT [rows, n]. */
    void (*column_sums)(struct cpu *cpu, float *out, const void *in, int rows, int n, int stride);
    /* The head for logits of any size, chunk by chunk, which `head` falls back on. */
    void (*stable_head)(struct backend *self, const struct backend_head *head);
    /* cpu_gemm in plain C. */
    void (*gemm)(struct cpu *cpu, const struct cpu_gemm *gemm, const void *a, const void *b,
                 const void *bias, void *c);
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

/* C [M, N] = alpha A B (+ C if accumulate) (+ bias [N] of C's type); A is [M, K], or stored
 * as [K, M] if a_transposed; likewise B [K, N]. Strides of stored rows. */
struct cpu_gemm {
    int M, N, K;
    int a_transposed, b_transposed;
    int a_stride, b_stride, c_stride;
    int accumulate, has_bias;
    int a_bf16, b_bf16, c_bf16; /* bfloat16 instead of float */
    float alpha;
};

int cpu_matmul_open(enum cpu_isa isa, struct cpu_matmul **out, struct err *err);
void cpu_matmul_close(struct cpu_matmul *matmul);
/* "oneDNN 2.6.3", of the library that is loaded: it may change under a build. */
void cpu_matmul_library(char *out, size_t n);
void cpu_gemm(struct cpu *cpu, const struct cpu_gemm *gemm, const void *a, const void *b,
              const void *bias, void *c);

/* Scratch of at least `floats` for each thread, thread i's at + i * floats; it
 * grows when a larger model comes, in its first step. NULL without memory: the
 * fault is kept. */
float *cpu_scratch(struct cpu *cpu, int64_t floats);

void cpu_matmul_forward(struct backend *self, void *out, const void *x, const void *weight,
                        const void *bias, int N, int I, int O);
void cpu_matmul_backward_input(struct backend *self, void *dx, const void *dout, const void *weight,
                               int N, int I, int O);
void cpu_matmul_backward_weight(struct backend *self, void *dweight, void *dbias, const void *x,
                                const void *dout, int N, int I, int O);

/* Each file of loops puts its operations into cpu->table; the suffix is CPU_ISA. */
#define CPU_FILES(isa)                                                                             \
    void cpu_attention_##isa(struct cpu *cpu);                                                     \
    void cpu_elementwise_##isa(struct cpu *cpu);                                                   \
    void cpu_fused_##isa(struct cpu *cpu);                                                         \
    void cpu_gemm_##isa(struct cpu *cpu);                                                          \
    void cpu_head_##isa(struct cpu *cpu);                                                          \
    void cpu_layernorm_##isa(struct cpu *cpu);                                                     \
    void cpu_tracked_##isa(struct cpu *cpu);                                                       \
    void cpu_update_##isa(struct cpu *cpu);
CPU_FILES(plain)
#if defined(__x86_64__)
CPU_FILES(avx2)
CPU_FILES(avx512)
CPU_FILES(avx512_bf16)
void cpu_fused_amx(struct cpu *cpu);
void cpu_fused_amx_twin(struct cpu *cpu); /* tests/unit/gpu_amx.c links it */
#endif

#endif
