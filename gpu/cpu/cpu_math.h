/* cpu_math: exp and functions built on it, without branches and table look-ups, so that loops over
 * them vectorise on any instruction set. NaN stays NaN, so that a diverging run shows. The stated
 * bounds hold for all floats in the range, with and without fused multiply-add
 * (tests/unit/gpu_math.c). Inline functions only. */
#ifndef TOKENFATE_CPU_MATH_H
#define TOKENFATE_CPU_MATH_H

#include <stdint.h>
#include <string.h>

#define CPU_INLINE static inline __attribute__((always_inline))

/* exp(x) for x clamped to [-87.3, 88.3]; relative error below 3e-7. Range
 * reduction by multiples of ln 2 in two parts (Cody & Waite 1980), then the
 * degree 6 Taylor polynomial on [-ln 2 / 2, ln 2 / 2]: remainder 1.2e-7. */
CPU_INLINE float cpu_exp(float x)
{
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -87.3f ? -87.3f : x;
    x = x > 88.3f ? 88.3f : x;
    const float shifted = x * 1.44269504f + round;
    const float n = shifted - round;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    /* The low bits of `shifted` are n; as an exponent they make 2^n. */
    bits = (int32_t)((uint32_t)(bits + 127) << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* tanh(x), absolute error below 3e-7. */
CPU_INLINE float cpu_tanh(float x)
{
    return 1.0f - 2.0f / (cpu_exp(2.0f * x) + 1.0f);
}

/* erf(x) with e = cpu_exp(-x*x) given, absolute error below 8e-7: Abramowitz & Stegun
 * 1964, formula 7.1.26, whose own error is 1.5e-7. */
CPU_INLINE float cpu_erf(float x, float e)
{
    const float a = x < 0 ? -x : x;
    const float t = 1.0f / (1.0f + 0.3275911f * a);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const float y = 1.0f - p * t * e;
    return x < 0 ? -y : y;
}

#endif
