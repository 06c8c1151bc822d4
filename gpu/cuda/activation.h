/* activation: the activation functions and their slopes in float32, for kernels. */
#ifndef TOKENFATE_CUDA_ACTIVATION_H
#define TOKENFATE_CUDA_ACTIVATION_H

#include "gpu/cuda/cuda_internal.h"

#define SQRT_HALF 0.70710678118654752f
#define SQRT_2_OVER_PI 0.79788456080286536f
#define INV_SQRT_2PI 0.39894228040143268f
#define GELU_NEW_CUBIC 0.044715f

template <int kind> __device__ __forceinline__ float activation(float x)
{
    if (kind == ACTIVATION_RELU)
        return x <= 0 ? 0 : x; /* NaN stays NaN */
    if (kind == ACTIVATION_GELU)
        return 0.5f * x * (1 + erff(x * SQRT_HALF));
    return 0.5f * x * (1 + tanhf(SQRT_2_OVER_PI * (x + GELU_NEW_CUBIC * x * x * x)));
}

template <int kind> __device__ __forceinline__ float activation_slope(float x)
{
    if (kind == ACTIVATION_RELU)
        return x > 0 ? 1 : 0;
    if (kind == ACTIVATION_GELU)
        return 0.5f * (1 + erff(x * SQRT_HALF)) + x * expf(-0.5f * x * x) * INV_SQRT_2PI;
    const float t = tanhf(SQRT_2_OVER_PI * (x + GELU_NEW_CUBIC * x * x * x));
    const float inner = SQRT_2_OVER_PI * (1 + 3 * GELU_NEW_CUBIC * x * x);
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * inner;
}

#endif
