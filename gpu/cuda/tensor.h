/* tensor: instructions of tensor cores for attention, and asynchronous copies, each behind a
 * function that all 32 lanes of a warp call together. The layouts are NVIDIA's (PTX ISA, "Matrix
 * fragments for mma.m16n8k16" and "ldmatrix"): of lane l, with g = l / 4 and t = l % 4,
 *   A [16, 16]: a[0] row g, columns 2t and 2t + 1; a[1] row g + 8; a[2], a[3] the
 *               same rows, 8 columns on;
 *   B [16, 8]:  b[0] rows 2t and 2t + 1 of column g; b[1] 8 rows on;
 *   C [16, 8]:  c[0], c[1] row g, columns 2t and 2t + 1; c[2], c[3] row g + 8.
 * On the processor tests/lib/cuda_host.h has the same functions in plain loops. Inline functions
 * only. */
#ifndef TOKENFATE_CUDA_TENSOR_H
#define TOKENFATE_CUDA_TENSOR_H

#include "gpu/cuda/launch.h"

#ifndef TOKENFATE_CUDA_HOST

/* c += a . b, bfloat16 with float32 sums. */
__device__ __forceinline__ void tensor_multiply(float c[4], const uint32_t a[4],
                                                const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ uint32_t tensor_shared(const void *address)
{
    return (uint32_t)__cvta_generic_to_shared(address);
}

/* Load four 8 x 8 matrices of 16-bit numbers from shared memory: lane l passes the address of row l
 * % 8 of matrix l / 8 and receives columns 2t, 2t + 1 of row g. */
__device__ __forceinline__ void tensor_load(uint32_t out[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(tensor_shared(row))
                 : "memory");
}

/* The same, transposed: rows 2t, 2t + 1 of column g. */
__device__ __forceinline__ void tensor_load_transposed(uint32_t out[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(tensor_shared(row))
                 : "memory");
}

/* Asynchronous copy of 16 bytes from device to shared memory; zeros if not `there` (then `from` is
 * not read, but must be an address of the array). The bytes are visible to the calling thread after
 * copies_wait. */
__device__ __forceinline__ void copy_later(void *shared, const void *from, int there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(tensor_shared(shared)), "l"(from), "r"(there ? 16 : 0)
                 : "memory");
}

/* Close the group of all copies since the last call. */
__device__ __forceinline__ void copies_close_group(void)
{
    asm volatile("cp.async.commit_group;" : : : "memory");
}

/* Wait for all groups except the last `but`. */
template <int but> __device__ __forceinline__ void copies_wait(void)
{
    asm volatile("cp.async.wait_group %0;" : : "n"(but) : "memory");
}

#endif

#endif
