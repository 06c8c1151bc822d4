/* cpu_amx: Intel's AMX instructions for the fused lm_head, behind functions that work on one block
 * of AMX_BLOCK x AMX_BLOCK sums. The sums stay in tiles 0 to 3 of the calling thread; tiles 4 to 7
 * hold the factors. A tile has 16 rows of 64 bytes; words are those of cpu_tiles.h, two bfloat16
 * that belong to one sum (Intel's manual, volume 2, TDPBF16PS).
 *
 * With CPU_AMX_TWIN (tests/unit/gpu_amx.c) the same functions are plain C with the sums in the
 * instruction's order, so that machines without AMX execute every line of the products above them.
 * Included by files of loops; inline functions only. */
#ifndef TOKENFATE_CPU_AMX_H
#define TOKENFATE_CPU_AMX_H

#include <stdint.h>
#include <string.h>

#include "gpu/cpu/cpu_bf16.h"
#include "gpu/cpu/cpu_math.h"

#if defined(__AMX_BF16__) || defined(CPU_AMX_TWIN)
#define CPU_AMX

enum { AMX_TILE = 16, AMX_BLOCK = 2 * AMX_TILE }; /* rows of a tile, and its words */

#ifdef CPU_AMX_TWIN

/* Steps computed, defined by the test: zero would mean that it has tested nothing. */
extern int64_t cpu_amx_twin_steps;

static _Thread_local float amx_sums[AMX_BLOCK][AMX_BLOCK];

CPU_INLINE void amx_begin(void)
{
}

CPU_INLINE void amx_end(void)
{
}

CPU_INLINE void amx_zero(void)
{
    memset(amx_sums, 0, sizeof amx_sums);
}

CPU_INLINE void amx_read(const float *c, int64_t c_row)
{
    for (int i = 0; i < AMX_BLOCK; i++)
        memcpy(amx_sums[i], c + i * c_row, sizeof amx_sums[i]);
}

CPU_INLINE void amx_write(float *c, int64_t c_row)
{
    for (int i = 0; i < AMX_BLOCK; i++)
        memcpy(c + i * c_row, amx_sums[i], sizeof amx_sums[i]);
}

CPU_INLINE void amx_step(const uint32_t *a, int64_t a_row, const uint32_t *b, int64_t b_row)
{
    for (int i = 0; i < AMX_BLOCK; i++)
        for (int j = 0; j < AMX_BLOCK; j++) {
            float low = 0, high = 0;
            for (int k = 0; k < AMX_TILE; k++) {
                const uint32_t left = a[i * a_row + k], right = b[k * b_row + j];
                low += cpu_from_bf16((uint16_t)left) * cpu_from_bf16((uint16_t)right);
                high +=
                    cpu_from_bf16((uint16_t)(left >> 16)) * cpu_from_bf16((uint16_t)(right >> 16));
            }
            amx_sums[i][j] += low + high;
        }
    __atomic_fetch_add(&cpu_amx_twin_steps, 1, __ATOMIC_RELAXED);
}

#else

#include <immintrin.h>

/* Compiler barrier: gcc does not know that these instructions read and write memory. */
#define AMX_MEMORY __asm__ volatile("" : : : "memory")

/* Eight tiles of 16 rows of 64 bytes (the manual's palette 1). */
CPU_INLINE void amx_begin(void)
{
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1,
               .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
               .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _Static_assert(sizeof shape == 64, "LDTILECFG reads 64 bytes");
    _tile_loadconfig(&shape);
}

/* Release the tiles, so that the thread's saved context is small again. */
CPU_INLINE void amx_end(void)
{
    _tile_release();
}

CPU_INLINE void amx_zero(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

CPU_INLINE void amx_read(const float *c, int64_t c_row)
{
    const int64_t bytes = c_row * (int64_t)sizeof *c;
    AMX_MEMORY;
    _tile_loadd(0, c, bytes);
    _tile_loadd(1, c + AMX_TILE, bytes);
    _tile_loadd(2, c + AMX_TILE * c_row, bytes);
    _tile_loadd(3, c + AMX_TILE * c_row + AMX_TILE, bytes);
}

CPU_INLINE void amx_write(float *c, int64_t c_row)
{
    const int64_t bytes = c_row * (int64_t)sizeof *c;
    _tile_stored(0, c, bytes);
    _tile_stored(1, c + AMX_TILE, bytes);
    _tile_stored(2, c + AMX_TILE * c_row, bytes);
    _tile_stored(3, c + AMX_TILE * c_row + AMX_TILE, bytes);
    AMX_MEMORY;
}

/* sums += a [AMX_BLOCK, 16 words] b [16 words, AMX_BLOCK]; a_row, b_row: words between rows. */
CPU_INLINE void amx_step(const uint32_t *a, int64_t a_row, const uint32_t *b, int64_t b_row)
{
    const int64_t a_bytes = a_row * (int64_t)sizeof *a, b_bytes = b_row * (int64_t)sizeof *b;
    AMX_MEMORY;
    _tile_loadd(4, a, a_bytes);
    _tile_loadd(6, b, b_bytes);
    _tile_loadd(7, b + AMX_TILE, b_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + AMX_TILE * a_row, a_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

#endif

#endif

#endif
