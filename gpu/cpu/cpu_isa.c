/* cpu_isa: see cpu_isa.h. The processor's features come from CPUID; AMX also needs a permission
 * from the kernel, because its tiles enlarge every saved context. */
#include "gpu/cpu/cpu_isa.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define OVERRIDE "TOKENFATE_ISA"

static const char *const names[CPU_ISAS] = {
    [CPU_ISA_PLAIN] = "plain",   [CPU_ISA_AVX2] = "avx2",
    [CPU_ISA_AVX512] = "avx512", [CPU_ISA_AVX512_BF16] = "avx512_bf16",
    [CPU_ISA_AMX] = "amx",
};

const char *cpu_isa_name(enum cpu_isa isa)
{
    return names[isa];
}

#if defined(__x86_64__)
/* Intel's manual, CPUID leaf 7: AMX-BF16 and AMX-TILE. */
enum { EDX_AMX_BF16 = 1 << 22, EDX_AMX_TILE = 1 << 24 };

/* Linux's arch_prctl: request permission for a state component; 18 is the tiles' data. */
enum { ARCH_REQUEST_PERMISSION = 0x1023, COMPONENT_TILE_DATA = 18 };

static int has_amx(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        return 0;
    const unsigned wanted = EDX_AMX_BF16 | EDX_AMX_TILE;
    return (edx & wanted) == wanted &&
           syscall(SYS_arch_prctl, ARCH_REQUEST_PERMISSION, COMPONENT_TILE_DATA) == 0;
}

static enum cpu_isa best(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("x86-64-v3"))
        return CPU_ISA_PLAIN;
    if (!__builtin_cpu_supports("x86-64-v4"))
        return CPU_ISA_AVX2;
    if (!__builtin_cpu_supports("avx512bf16"))
        return CPU_ISA_AVX512;
    return has_amx() ? CPU_ISA_AMX : CPU_ISA_AVX512_BF16;
}
#else
static enum cpu_isa best(void)
{
    return CPU_ISA_PLAIN;
}
#endif

int cpu_isa_choose(enum cpu_isa *out, struct err *err)
{
    const enum cpu_isa here = best();
    const char *wanted = getenv(OVERRIDE);
    int isa = wanted && *wanted ? 0 : (int)here;
    while (wanted && *wanted && isa < CPU_ISAS && strcmp(names[isa], wanted) != 0)
        isa++;
    if (isa == CPU_ISAS)
        return err_set(err, ERR_INVALID,
                       OVERRIDE " is \"%s\": plain, avx2, avx512, avx512_bf16 or amx", wanted);
    if (isa > (int)here)
        return err_set(err, ERR_UNAVAILABLE, OVERRIDE " is \"%s\": this machine has %s", wanted,
                       names[here]);
    *out = (enum cpu_isa)isa;
    return 0;
}
