/* cpu_isa: the instruction sets that the cpu backend has code for, and which of
 * them this machine runs. Each file of loops is compiled once for each (Makefile,
 * CPU_ISAS), so the choice is made at run time and can be overruled: the
 * environment variable TOKENFATE_ISA names one (for tests, and to compare).
 * Any thread. */
#ifndef TOKENFATE_CPU_ISA_H
#define TOKENFATE_CPU_ISA_H

#include "config/err.h"

/* Each holds the ones before it. PLAIN is C for the compiler's baseline, without
 * oneDNN; AMX is the tiles' bf16 products besides AVX512_BF16. */
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

/* The best that processor and system have, or what TOKENFATE_ISA names:
 * ERR_INVALID if that is no instruction set, ERR_UNAVAILABLE if it is not here. */
int cpu_isa_choose(enum cpu_isa *out, struct err *err);

#endif
