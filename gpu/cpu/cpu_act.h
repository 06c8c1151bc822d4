/* cpu_act: access to elements of ACT arrays, which are float32 or bfloat16. A loop is written once,
 * as an inline function with a parameter `bf16`; called with the constants 0 and 1 it is vectorised
 * for each type. Arithmetic is float32 in both: bfloat16 is a storage format only. Inline functions
 * only. */
#ifndef TOKENFATE_CPU_ACT_H
#define TOKENFATE_CPU_ACT_H

#include "gpu/cpu/cpu_bf16.h"
#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_math.h"

CPU_INLINE float cpu_get(const void *array, int64_t i, int bf16)
{
    return bf16 ? cpu_from_bf16(((const uint16_t *)array)[i]) : ((const float *)array)[i];
}

CPU_INLINE void cpu_put(void *array, int64_t i, float value, int bf16)
{
    if (bf16)
        ((uint16_t *)array)[i] = cpu_to_bf16(value);
    else
        ((float *)array)[i] = value;
}

/* Address of element i, for reading and for writing; NULL stays NULL. */
CPU_INLINE const void *cpu_act_in(const struct cpu *cpu, const void *array, int64_t i)
{
    return array ? (const char *)array + i * (int64_t)cpu->table.act_bytes : NULL;
}

CPU_INLINE void *cpu_act_out(const struct cpu *cpu, void *array, int64_t i)
{
    return (char *)array + i * (int64_t)cpu->table.act_bytes;
}

#endif
