/* cuda_internal: the state of the cuda backend and the inline helpers of kernels and launches,
 * shared by all files of this folder. A is the type of ACT in every template: float or bf16;
 * REAL is float.
 *
 * Where to find what: cuda.cu opens the backend, allocates and copies; fault.cu keeps faults;
 * ring.cu records and starts programs; gemm.cu computes matrix products through cuBLASLt, and
 * gemm_check.cu checks them. The kernels: attention.cu (float32) and attention_tensor.cu (bfloat16
 * on tensor cores), rows.cu (embedding, layernorm, sums over rows), matmul.cu (linear layers),
 * lm_head.cu (output layer, softmax, loss), tracked.cu (statistics of tracked tokens),
 * elementwise.cu (activations, optimiser with gradient clipping, the gradient's norm). */
#ifndef TOKENFATE_CUDA_INTERNAL_H
#define TOKENFATE_CUDA_INTERNAL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include "config/err.h"
#include "gpu/backend.h"
#include "lab/memory.h"
}
#include "gpu/cuda/fault.h"
#include "gpu/cuda/launch.h"

enum {
    CUDA_WARP = 32,
    CUDA_THREADS = 256,        /* of a block, unless a kernel has a reason for another number */
    CUDA_SCRATCH = 32 << 20,   /* bytes: partial sums of the reductions */
    CUDA_WORKSPACE = 32 << 20, /* bytes: scratch of cuBLASLt (NVIDIA's recommendation for Hopper) */
    CUDA_STAGING = 1 << 20,    /* numbers converted at a time during copies */
    CUDA_NAME_MAX = 64,
    CUDA_HEAD_MAX = 128, /* width of the largest attention head */
    CUDA_SLOTS = 3       /* of a ring: one step runs, one is queued, one is read */
};

static_assert(CUDA_SCRATCH + CUDA_WORKSPACE == MEMORY_CUDA_BACKEND,
              "what opening takes is what jobs are admitted by");

struct cuda_plans; /* descriptors and algorithms of the products so far */

struct cuda {
    struct backend table; /* first: a struct backend * points to its struct cuda */
    cudaStream_t stream;
    struct cuda_plans *plans;
    int architecture;         /* compute capability, 90 for 9.0 */
    size_t shared_max;        /* largest dynamic shared memory of a block in bytes */
    void *scratch;            /* device, CUDA_SCRATCH bytes; nothing outlives an operation there */
    void *staging;            /* host, CUDA_STAGING float32 */
    char last[CUDA_NAME_MAX]; /* name of the kernel or call queued last */
    int each;         /* synchronise after every operation, so that a fault is attributed to it */
    int capturing;    /* what is queued is recorded: the library of products may not be asked */
    int rings;        /* opened now */
    struct err fault; /* the first fault */
};

static inline struct cuda *cuda_of(struct backend *self)
{
    return reinterpret_cast<struct cuda *>(self);
}

/* Give memory of the device back while something closes; errors of a broken device are ignored.
 * cudaFree(NULL) would create a context, on the first card where none was taken. */
static inline void cuda_discard(void *memory)
{
    if (memory)
        (void)cudaFree(memory);
}

/* ---- helpers of kernels and their launches ---- */

/* bfloat16: the upper half of a float32 (sign, 8 exponent bits, 7 mantissa bits). */
struct bf16 {
    uint16_t bits;
};

__host__ __device__ __forceinline__ float bf16_widen(struct bf16 number)
{
    union {
        uint32_t bits;
        float value;
    } wide;
    wide.bits = (uint32_t)number.bits << 16;
    return wide.value;
}

/* Round to the nearest, ties to even; NaN stays NaN. */
__host__ __device__ __forceinline__ struct bf16 bf16_narrow(float value)
{
    struct bf16 number;
#if defined(__CUDA_ARCH__)
    number.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
#else
    union {
        float value;
        uint32_t bits;
    } wide;
    wide.value = value;
    number.bits = (uint16_t)(value != value ? (wide.bits >> 16) | 0x40
                                            : (wide.bits + 0x7fff + (wide.bits >> 16 & 1)) >> 16);
#endif
    return number;
}

__device__ __forceinline__ float load(const float *at)
{
    return *at;
}

__device__ __forceinline__ float load(const struct bf16 *at)
{
    return bf16_widen(*at);
}

__device__ __forceinline__ void store(float *at, float value)
{
    *at = value;
}

__device__ __forceinline__ void store(struct bf16 *at, float value)
{
    *at = bf16_narrow(value);
}

/* Reinterpret a word as numbers: one float, or two bfloat16 with the first in the lower half. */
__device__ __forceinline__ float word_float(uint32_t bits)
{
    union {
        uint32_t bits;
        float value;
    } word;
    word.bits = bits;
    return word.value;
}

__device__ __forceinline__ uint32_t float_word(float value)
{
    union {
        float value;
        uint32_t bits;
    } word;
    word.value = value;
    return word.bits;
}

__device__ __forceinline__ void unpack(float value[4], struct words words, const float *)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        value[i] = word_float(words.at[i]);
}

__device__ __forceinline__ void unpack(float value[8], struct words words, const struct bf16 *)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        value[2 * i] = word_float(words.at[i] << 16);
        value[2 * i + 1] = word_float(words.at[i] & 0xffff0000u);
    }
}

__device__ __forceinline__ struct words pack(const float value[4], const float *)
{
    struct words words;
#pragma unroll
    for (int i = 0; i < 4; i++)
        words.at[i] = float_word(value[i]);
    return words;
}

/* Two bfloat16 in a word, the first in the lower half. */
__device__ __forceinline__ uint32_t pack_pair(float first, float second)
{
    return bf16_narrow(first).bits | (uint32_t)bf16_narrow(second).bits << 16;
}

__device__ __forceinline__ struct words pack(const float value[8], const struct bf16 *)
{
    struct words words;
#pragma unroll
    for (int i = 0; i < 4; i++)
        words.at[i] = pack_pair(value[2 * i], value[2 * i + 1]);
    return words;
}

/* Store two neighbours at once, at an address that is a multiple of 4. */
__device__ __forceinline__ void store_pair(struct bf16 *to, uint32_t pair)
{
    store_word(to, pair);
}

/* Load or store W neighbours at once: W is 1, or W numbers are a multiple of 16 bytes at an aligned
 * address. */
template <int W, class T> __device__ __forceinline__ void load_wide(float value[W], const T *from)
{
    constexpr int each = 16 / sizeof(T);
    if constexpr (W == 1)
        value[0] = load(from);
    else
#pragma unroll
        for (int i = 0; i < W; i += each)
            unpack(value + i, load_words(from + i), from);
}

template <int W, class T> __device__ __forceinline__ void store_wide(T *to, const float value[W])
{
    constexpr int each = 16 / sizeof(T);
    if constexpr (W == 1)
        store(to, value[0]);
    else
#pragma unroll
        for (int i = 0; i < W; i += each)
            store_words(to + i, pack(value + i, to));
}

/* Numbers of A in 16 bytes. */
template <class A> constexpr int cuda_width = 16 / sizeof(A);

/* 1 if rows of C numbers can be processed cuda_width<A> numbers at a time: C is a multiple, and all
 * arrays start at multiples of 16 bytes (NULL does). */
template <class A, class... P> static inline bool cuda_is_wide(int64_t C, const P *...arrays)
{
    return C % cuda_width<A> == 0 && ((reinterpret_cast<uintptr_t>(arrays) % 16 == 0) && ...);
}

template <class N> __device__ __forceinline__ N warp_sum(N value)
{
    for (int distance = CUDA_WARP / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}

/* Index of the thread in the whole grid of one-dimensional blocks. */
__device__ __forceinline__ int64_t grid_index(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static inline unsigned cuda_blocks(int64_t n, int64_t per_block)
{
    return (unsigned)((n + per_block - 1) / per_block);
}

/* Raise a kernel's limit of dynamic shared memory where it needs more than the default. */
template <class Kernel>
static inline void cuda_allow_shared(struct cuda *cuda, Kernel *kernel, size_t bytes)
{
    const size_t always = 48 << 10;
    if (bytes > always)
        cuda_fault_check(
            cuda,
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
            "cudaFuncSetAttribute");
}

#endif
