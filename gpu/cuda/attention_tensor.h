/* attention_tensor: attention in bfloat16 on tensor cores, and the shape that it shares with
 * attention.cu. */
#ifndef TOKENFATE_CUDA_ATTENTION_TENSOR_H
#define TOKENFATE_CUDA_ATTENTION_TENSOR_H

#include "gpu/cuda/cuda_internal.h"

/* Shape of attention, and addresses of one batch row and head in qkv [B*T, 3C] and in out, dout
 * [B*T, C]. */
struct attention_shape {
    int T, C, NH, D;
    float scale;
};

__device__ __forceinline__ int64_t qkv_at(const struct attention_shape *s, int b, int head, int t,
                                          int part)
{
    return ((int64_t)(b * s->T + t) * 3 + part) * s->C + (int64_t)head * s->D;
}

__device__ __forceinline__ int64_t out_at(const struct attention_shape *s, int b, int head, int t)
{
    return (int64_t)(b * s->T + t) * s->C + (int64_t)head * s->D;
}

__device__ __forceinline__ int64_t lse_at(const struct attention_shape *s, int b, int head, int t)
{
    return ((int64_t)b * s->NH + head) * s->T + t;
}

/* 1 if tensor cores can compute it: heads of 64 or 128 numbers, arrays (NULL: none) at multiples of
 * 16 bytes. */
int cuda_attention_tensor_fits(const struct attention_shape *s, const void *qkv, const void *out,
                               const void *dout, const void *dqkv);

/* attention_forward and attention_backward of gpu/backend.h, in bfloat16. */
void cuda_attention_tensor_forward(struct cuda *cuda, const struct attention_shape *s, int B,
                                   void *out, void *lse, const void *qkv);
void cuda_attention_tensor_backward(struct cuda *cuda, const struct attention_shape *s, int B,
                                    void *dqkv, const void *dout, const void *qkv, const void *out,
                                    const void *lse);

#endif
