/* cpu_isa: the instruction sets that the cpu backend has code for, and the choice among them at run
 * time. Each file of loops is compiled once for each set (Makefile, CPU_ISAS). The environment
 * variable TOKENFATE_ISA overrides the choice, for tests and comparisons. Any thread. */
#ifndef TOKENFATE_CPU_ISA_H
#define TOKENFATE_CPU_ISA_H

#include "config/err.h"

/* Each set includes the ones before it. PLAIN is C for the compiler's baseline, without oneDNN; AMX
 * adds bf16 products in tiles to AVX512_BF16. */
enum cpu_isa {
    CPU_ISA_PLAIN,
    CPU_ISA_AVX2,
    CPU_ISA_AVX512,
    CPU_ISA_AVX512_BF16,
    CPU_ISA_AMX,
    CPU_ISAS
};

/* "avx512_bf16". */
const char *cpu_isa_name(enum cpu_isa isa);

/* The best instruction set of processor and system, or the one named by TOKENFATE_ISA: ERR_INVALID
 * if that is unknown, ERR_UNAVAILABLE if the machine lacks it. */
int cpu_isa_choose(enum cpu_isa *out, struct err *err);

#endif
