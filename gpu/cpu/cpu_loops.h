/* cpu_loops: the entry points of the files of loops. Each file gpu/cpu/cpu_FILE.c of the
 * Makefile's CPU_LOOPS is compiled once for each instruction set ISA, and has one function that
 * is not static, cpu_FILE_ISA, which puts the file's operations into cpu->table. cpu.c calls
 * those of the chosen instruction set. So these files have no header of their own. */
#ifndef TOKENFATE_CPU_LOOPS_H
#define TOKENFATE_CPU_LOOPS_H

struct cpu;

/* With CPU_ISA defined, CPU_NAME(cpu_FILE) is cpu_FILE_ISA. */
#ifdef CPU_ISA
#define CPU_JOIN(name, isa) name##_##isa
#define CPU_JOIN_VALUES(name, isa) CPU_JOIN(name, isa)
#define CPU_NAME(name) CPU_JOIN_VALUES(name, CPU_ISA)
#endif

#define CPU_FILES(isa)                                                                             \
    void cpu_attention_##isa(struct cpu *cpu);                                                     \
    void cpu_elementwise_##isa(struct cpu *cpu);                                                   \
    void cpu_fused_##isa(struct cpu *cpu);                                                         \
    void cpu_gemm_##isa(struct cpu *cpu);                                                          \
    void cpu_lm_head_##isa(struct cpu *cpu);                                                       \
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
