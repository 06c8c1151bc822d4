/* cpu_bf16: bfloat16, the upper half of a float32, as uint16_t. Both conversions are branch-free
 * integer code, so loops over them vectorise. Inline functions only. */
#ifndef TOKENFATE_CPU_BF16_H
#define TOKENFATE_CPU_BF16_H

#include <stdint.h>
#include <string.h>

static inline __attribute__((always_inline)) float cpu_from_bf16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Round to nearest, ties to even. NaN stays NaN (quiet), infinity stays, and values beyond the
 * largest bfloat16 become infinity. */
static inline __attribute__((always_inline)) uint16_t cpu_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    const int nan = (bits & 0x7fffffff) > 0x7f800000;
    return (uint16_t)((nan ? bits | 0x00400000 : rounded) >> 16);
}

#endif
