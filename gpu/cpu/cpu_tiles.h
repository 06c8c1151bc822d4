/* cpu_tiles: inner loops of the fused lm_head, for AVX-512 and AMX. All data are words of 32 bits:
 * a word is one float, or two bfloat16 that a product takes together (the first in the lower half).
 * So both precisions share layouts and code, and AMX's tiles are read from the addresses that
 * AVX-512 would read. Included by files of loops; inline functions only. */
#ifndef TOKENFATE_CPU_TILES_H
#define TOKENFATE_CPU_TILES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "gpu/cpu/cpu_amx.h"
#include "gpu/cpu/cpu_math.h"

enum {
    TILE_LANES = 16,
    TILE_ROWS = 6, /* 6 x 4 accumulators and 4 operands fit the 32 registers */
    TILE_WIDE = 4
};

/* sum += a * b, lane by lane: floats, or the two products of bfloat16 pairs. */
CPU_INLINE __m512 tile_madd(int bf16, __m512 sum, __m512i a, __m512i b)
{
#ifdef __AVX512BF16__
    if (bf16)
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#else
    (void)bf16;
#endif
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

/* A product with one panel of b: at most TILE_PANEL columns, stored contiguously so that it spreads
 * evenly over the sets of the first cache. */
enum { TILE_PANEL = TILE_WIDE * TILE_LANES };

struct tile_product {
    int M, N, K;          /* N <= TILE_PANEL */
    int64_t a_row, c_row; /* words between rows */
    int add;              /* accumulate onto c */
    /* Software prefetch, a little at a time between computations: a processor stalls when about
     * twenty cache misses are outstanding. */
    int stream;       /* prefetch the next rows of a */
    const void *soon; /* NULL, or M rows to prefetch; at each time those of the current rows */
    int64_t soon_row; /* bytes between rows */
    int soon_lines;   /* cache lines of 64 bytes in each row */
};

enum { TILE_LINE = 64 };

/* Rows of c that a product computes at once: the distance at which rows of `soon` begin. */
#ifdef CPU_AMX
#define TILE_AT_ONCE(bf16) ((bf16) ? AMX_BLOCK : TILE_ROWS)
#else
#define TILE_AT_ONCE(bf16) TILE_ROWS
#endif

/* Prefetch share `part` of `parts` for product p while it computes `rows` rows of c. */
CPU_INLINE void tile_prefetch(const struct tile_product *p, int rows, const uint32_t *a,
                              const char *soon, int part, int parts)
{
    for (int r = 0; p->stream && r < rows; r++)
        _mm_prefetch((const char *)(a + (rows + r) * p->a_row + (int64_t)part * TILE_LANES),
                     _MM_HINT_T0);
    for (int r = part; soon && r < rows; r += parts)
        for (int line = 0; line < p->soon_lines; line++)
            __builtin_prefetch(soon + r * p->soon_row + (int64_t)line * TILE_LINE, 1);
}

/* c [rows, 16 * wide] = (c if add) + a [rows, K] b [K, 16 * wide]; of the last 16 columns of c only
 * those in `mask`. */
CPU_INLINE void tile_block(int bf16, int rows, int wide, const struct tile_product *p,
                           const uint32_t *a, const uint32_t *b, float *c, const char *soon,
                           __mmask16 mask)
{
    const int parts = (p->K + TILE_LANES - 1) / TILE_LANES;
    __m512 sum[TILE_ROWS][TILE_WIDE];
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            sum[r][w] = p->add ? _mm512_maskz_loadu_ps(w == wide - 1 ? mask : 0xffff,
                                                       c + r * p->c_row + w * TILE_LANES)
                               : _mm512_setzero_ps();
    for (int part = 0; part < parts; part++) {
        const int end = (part + 1) * TILE_LANES < p->K ? (part + 1) * TILE_LANES : p->K;
        if (rows == TILE_ROWS)
            tile_prefetch(p, rows, a, soon, part, parts);
        for (int k = part * TILE_LANES; k < end; k++, b += TILE_PANEL) {
            __m512i right[TILE_WIDE];
            for (int w = 0; w < wide; w++)
                right[w] = _mm512_loadu_si512(b + w * TILE_LANES);
            for (int r = 0; r < rows; r++) {
                const __m512i left = _mm512_set1_epi32((int)a[r * p->a_row + k]);
                for (int w = 0; w < wide; w++)
                    sum[r][w] = tile_madd(bf16, sum[r][w], left, right[w]);
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            _mm512_mask_storeu_ps(c + r * p->c_row + w * TILE_LANES, w == wide - 1 ? mask : 0xffff,
                                  sum[r][w]);
}

CPU_INLINE void tile_strip(int bf16, int rows, const struct tile_product *p, const uint32_t *a,
                           const uint32_t *b, float *c, const char *soon)
{
    const int n = p->N;
    const __mmask16 mask = n % TILE_LANES ? (__mmask16)((1u << n % TILE_LANES) - 1) : 0xffff;
    switch ((n + TILE_LANES - 1) / TILE_LANES) {
    case 4:
        tile_block(bf16, rows, 4, p, a, b, c, soon, mask);
        break;
    case 3:
        tile_block(bf16, rows, 3, p, a, b, c, soon, mask);
        break;
    case 2:
        tile_block(bf16, rows, 2, p, a, b, c, soon, mask);
        break;
    default:
        tile_block(bf16, rows, 1, p, a, b, c, soon, mask);
    }
}

CPU_INLINE void tile_strips(int bf16, const struct tile_product *p, const uint32_t *a,
                            const uint32_t *b, float *c)
{
    const char *soon = p->soon;
    int i = 0;
    for (; i + TILE_ROWS <= p->M; i += TILE_ROWS) {
        tile_strip(bf16, TILE_ROWS, p, a, b, c, soon);
        a += TILE_ROWS * p->a_row;
        c += TILE_ROWS * p->c_row;
        soon = soon ? soon + TILE_ROWS * p->soon_row : NULL;
    }
    for (; i + 2 <= p->M; i += 2, a += 2 * p->a_row, c += 2 * p->c_row)
        tile_strip(bf16, 2, p, a, b, c, NULL);
    for (; i < p->M; i++, a += p->a_row, c += p->c_row)
        tile_strip(bf16, 1, p, a, b, c, NULL);
}

#ifdef CPU_AMX
/* tile_product for whole blocks and tiles: M and N multiples of AMX_BLOCK, K a multiple of
 * AMX_TILE. */
CPU_INLINE void tile_blocks(const struct tile_product *p, const uint32_t *a, const uint32_t *b,
                            float *c)
{
    const int steps = p->K / AMX_TILE;
    const char *soon = p->soon;
    for (int i = 0; i < p->M; i += AMX_BLOCK) {
        for (int j = 0; j < p->N; j += AMX_BLOCK) {
            if (p->add)
                amx_read(c + j, p->c_row);
            else
                amx_zero();
            for (int s = 0; s < steps; s++) {
                if (j == 0)
                    tile_prefetch(p, AMX_BLOCK, a, soon, s, steps);
                amx_step(a + s * AMX_TILE, p->a_row, b + s * AMX_TILE * TILE_PANEL + j, TILE_PANEL);
            }
            amx_write(c + j, p->c_row);
        }
        a += AMX_BLOCK * p->a_row;
        c += AMX_BLOCK * p->c_row;
        soon = soon ? soon + AMX_BLOCK * p->soon_row : NULL;
    }
}

/* Whole blocks by AMX, the remainder by AVX-512. */
CPU_INLINE void tile_blocks_and_strips(const struct tile_product *p, const uint32_t *a,
                                       const uint32_t *b, float *c)
{
    struct tile_product blocks = *p, rest = *p;
    blocks.M -= p->M % AMX_BLOCK;
    blocks.N -= p->N % AMX_BLOCK;
    blocks.K -= p->K % AMX_TILE;
    if (blocks.M == 0 || blocks.N == 0 || blocks.K == 0) {
        tile_strips(1, p, a, b, c);
        return;
    }
    tile_blocks(&blocks, a, b, c);
    rest.stream = 0;
    rest.soon = NULL;
    if (blocks.K < p->K) {
        struct tile_product last = rest;
        last.M = blocks.M;
        last.N = blocks.N;
        last.K = p->K - blocks.K;
        last.add = 1;
        tile_strips(1, &last, a + blocks.K, b + (int64_t)blocks.K * TILE_PANEL, c);
    }
    if (blocks.N < p->N) {
        struct tile_product right = rest;
        right.M = blocks.M;
        right.N = p->N - blocks.N;
        tile_strips(1, &right, a, b + blocks.N, c + blocks.N);
    }
    if (blocks.M < p->M) {
        rest.M = p->M - blocks.M;
        tile_strips(1, &rest, a + blocks.M * p->a_row, b, c + blocks.M * p->c_row);
    }
}
#endif

/* c [M, N] = (c if add) + a [M, K] b [K, N]. */
CPU_INLINE void tile_product(int bf16, const struct tile_product *p, const uint32_t *a,
                             const uint32_t *b, float *c)
{
#ifdef CPU_AMX
    if (bf16) {
        tile_blocks_and_strips(p, a, b, c);
        return;
    }
#endif
    tile_strips(bf16, p, a, b, c);
}

/* 2^x: relative error below 3e-7 where the result is normal; 0 or infinity far out, NaN for NaN.
 * Polynomial of degree 5 on [-1/2, 1/2], fitted for the least relative error (7.5e-8). */
CPU_INLINE __m512 tile_exp2(__m512 x)
{
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(0.0013276471f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009675542f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.055507135f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.2402212f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69314694f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0000001f));
    return _mm512_scalef_ps(p, n);
}

/* out [16 columns of in][16 rows of in]: transposed words; rows from `rows` on and columns from
 * `columns` on count as zero. */
CPU_INLINE void tile_transpose(uint32_t *out, int64_t out_row, const uint32_t *in, int64_t in_row,
                               int rows, int columns)
{
    const __mmask16 mask = (__mmask16)((1u << columns) - 1);
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = i < rows ? _mm512_maskz_loadu_epi32(mask, in + i * in_row) : _mm512_setzero_si512();
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    /* a[4g + j] holds, in 128-bit lane l, column 4l + j of rows 4g .. 4g + 3. */
    for (int j = 0; j < 4; j++) {
        const __m512i low02 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88);
        const __m512i low13 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
        const __m512i high02 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88);
        const __m512i high13 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
        b[j] = _mm512_shuffle_i32x4(low02, high02, 0x88);
        b[8 + j] = _mm512_shuffle_i32x4(low02, high02, 0xdd);
        b[4 + j] = _mm512_shuffle_i32x4(low13, high13, 0x88);
        b[12 + j] = _mm512_shuffle_i32x4(low13, high13, 0xdd);
    }
    for (int i = 0; i < columns; i++)
        _mm512_storeu_si512(out + i * out_row, b[i]);
}

/* Pairs (low[i], high[i]) of two rows of n bfloat16, i in order. */
CPU_INLINE void tile_interleave(uint32_t *out, const uint16_t *low, const uint16_t *high, int n)
{
    for (int i = 0; i < n; i += TILE_LANES) {
        const int m = n - i < TILE_LANES ? n - i : TILE_LANES;
        const __mmask16 mask = m == TILE_LANES ? 0xffff : (__mmask16)((1u << m) - 1);
        const __m256i l = _mm256_maskz_loadu_epi16(mask, low + i);
        const __m256i h = high ? _mm256_maskz_loadu_epi16(mask, high + i) : _mm256_setzero_si256();
        const __m512i pairs = _mm512_or_si512(_mm512_cvtepu16_epi32(l),
                                              _mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
        _mm512_mask_storeu_epi32(out + i, mask, pairs);
    }
}

#endif
