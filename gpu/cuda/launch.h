/* launch: the macro that starts a kernel, and the language subset of kernels. The same sources
 * compile with nvcc and, with TOKENFATE_CUDA_HOST, as plain C++ against the test-only execution
 * layer tests/lib/cuda_host.h, which runs the threads of a block as fibers. So kernels use only
 * what both support: one-dimensional blocks of whole warps, dynamic shared memory, barriers,
 * shuffles of a full warp, no atomics. CUDA_COMPILER names the compiler; __CUDA_ARCH_LIST__ is
 * nvcc's list of the architectures with code, 900 for 9.0. Included by every .cu file, through
 * cuda_internal.h. */
#ifndef TOKENFATE_CUDA_LAUNCH_H
#define TOKENFATE_CUDA_LAUNCH_H

#ifdef TOKENFATE_CUDA_HOST

#include <cuda_host.h> /* tests/lib */
#define CUDA_START(stream, kernel, grid, threads, shared, ...)                                     \
    CUDA_HOST_LAUNCH(stream, kernel, grid, threads, shared, __VA_ARGS__)

#else

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

static_assert(CUDART_VERSION >= 12000, "cudaGraphInstantiate has the form of CUDA 12");

#define CUDA_TEXT_OF(number) #number
#define CUDA_TEXT(number) CUDA_TEXT_OF(number)
#define CUDA_COMPILER                                                                              \
    "nvcc " CUDA_TEXT(__CUDACC_VER_MAJOR__) "." CUDA_TEXT(__CUDACC_VER_MINOR__) "." CUDA_TEXT(     \
        __CUDACC_VER_BUILD__)

#define CUDA_START(stream, kernel, grid, threads, shared, ...)                                     \
    do {                                                                                           \
        auto *const started_kernel = kernel;                                                       \
        started_kernel<<<dim3(grid), (threads), (shared), (stream)>>>(__VA_ARGS__);                \
    } while (0)

/* 16 bytes moved by one instruction; the address must be a multiple of 16. */
struct __align__(16) words
{
    uint32_t at[4];
};

__device__ __forceinline__ struct words load_words(const void *from)
{
    return *static_cast<const struct words *>(from);
}

__device__ __forceinline__ void store_words(void *to, struct words words)
{
    *static_cast<struct words *>(to) = words;
}

/* Store 4 bytes at a multiple of 4. */
__device__ __forceinline__ void store_word(void *to, uint32_t word)
{
    *static_cast<uint32_t *>(to) = word;
}

/* The block's dynamic shared memory as an array; its size is given at the launch. */
#define DYNAMIC_SHARED(type, name)                                                                 \
    extern __shared__ __align__(16) unsigned char cuda_dynamic_shared[];                           \
    type *const name = reinterpret_cast<type *>(cuda_dynamic_shared)

#endif

/* Queue a kernel: LAUNCH(cuda, (kernel<A>), grid, threads, bytes of shared memory, arguments...). A
 * refused launch becomes the backend's fault, with the kernel's name. */
#define LAUNCH(cuda, kernel, grid, threads, shared, ...)                                           \
    do {                                                                                           \
        CUDA_START((cuda)->stream, kernel, grid, threads, shared, __VA_ARGS__);                    \
        cuda_fault_launched(cuda, #kernel);                                                        \
    } while (0)

#endif
