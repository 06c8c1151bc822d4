/* cpu_fused: the fused lm_head for AVX-512, in float and (where the processor multiplies it, with
 * AVX-512 or AMX) bfloat16. Positions are processed in chunks of R, the vocabulary in tiles of TILE
 * rows; each thread owns a fixed range of tiles.
 *
 * First pass over the tiles: the logits of a tile, transposed (positions are lanes, so sums over
 * the vocabulary are lane by lane), become e = exp(logit - logit of the position's target) at once.
 * The sum of e is 1 / p(target), and the loss its logarithm. e goes to the workspace, and its
 * product with the weights to this thread's share of dh. Second pass, when the sums are known:
 * dweight gets e times h / sum. So logits exist for one tile only, nothing is computed twice, and e
 * is multiplied as it was made.
 *
 * The target's logit is a safe reference unless a loss exceeds LOSS_MAX: then e could overflow, and
 * lm_head starts over with the stable, slower form (cpu_lm_head.c). The terms of target and label
 * smoothing in the gradient are added in float afterwards, because bfloat16 would round 1 - p.
 * Without a gradient only the sums of the first pass are computed, and e is not stored.
 *
 * All sums have a fixed order for a number of threads. cpu_tiles.h explains the layouts in
 * words. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gpu/cpu/cpu.h"
#include "gpu/cpu/cpu_bf16.h"
#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_memory.h"

#if defined(__AVX512F__)

#include "gpu/cpu/cpu_tiles.h"

enum { TILE = 96, PANEL = TILE_PANEL, R_MAX = 256, LANES = TILE_LANES };

#define LOG2E 1.44269504f
#define LOSS_MAX 57.0 /* e^57 times the largest vocabulary fits a float; e^88 does not */

/* Scratch of a chunk, beside the tensors; in words unless said otherwise. */
struct chunk {
    const struct backend_lm_head *lm_head;
    int bf16;
    int first, rows; /* positions */
    int R;           /* rows padded to LANES */
    int panels;      /* of positions */
    int CW;          /* words of a row of h or of the weights */
    int RW;          /* words of a row of e: a token's R positions */
    int threads;
    uint32_t *h_words;  /* [CW, R] h, positions are lanes */
    uint32_t *h_scaled; /* [RW, CP + LANES] h * factor by pairs of positions; then the factors */
    float *plain_logit; /* [R] of the target */
    float *logit;       /* [R] the same, adjusted */
    float *factor;      /* [R] factor of e in the gradient of the logits */
    float *smooth;      /* [C] */
    float *part[CPU_THREADS_MAX];       /* [panels, C, PANEL] sums of e w */
    double *sums[CPU_THREADS_MAX];      /* [2, R] sums of e; of unadjusted e */
    float *logits[CPU_THREADS_MAX];     /* [TILE, PANEL] */
    uint32_t *e_words[CPU_THREADS_MAX]; /* [panels, TILE words, PANEL] */
    uint32_t *columns[CPU_THREADS_MAX]; /* [CP, TILE words] the tile of weights, transposed */
};

static int words(const struct chunk *k, int n)
{
    return k->bf16 ? (n + 1) / 2 : n;
}

static int round_up(int n, int unit)
{
    return (n + unit - 1) / unit * unit;
}

/* ---- exponentials of a tile ---- */

struct exponents {
    float scale;
    const float *bias, *adjust;        /* of the tile's first token; NULL: 0 */
    __m512 reference, plain_reference; /* of 16 positions, times log2 e */
    __m512 sum, plain_sum;
};

/* e of token v from the logits of 16 positions. */
CPU_INLINE __m512 exponentials(struct exponents *x, const float *products, int v)
{
    const __m512 product = _mm512_loadu_ps(products);
    const float bias = x->bias ? x->bias[v] * LOG2E : 0;
    const __m512 scale = _mm512_set1_ps(x->scale * LOG2E);
    const float shift = bias + (x->adjust ? x->adjust[v] * LOG2E : 0);
    const __m512 e = tile_exp2(
        _mm512_fmadd_ps(product, scale, _mm512_sub_ps(_mm512_set1_ps(shift), x->reference)));
    x->sum = _mm512_add_ps(x->sum, e);
    if (x->adjust)
        x->plain_sum = _mm512_add_ps(
            x->plain_sum,
            tile_exp2(_mm512_fmadd_ps(product, scale,
                                      _mm512_sub_ps(_mm512_set1_ps(bias), x->plain_reference))));
    return e;
}

/* Tokens v and v + 1 (if `both`; else the second e is 0) at 16 positions: one row of e_words, and
 * 16 numbers of each token's row of e. */
CPU_INLINE void pair_to_bf16(struct exponents *x, const float *products, int v, int both,
                             uint32_t *e_words, uint16_t *low_row, uint16_t *high_row)
{
#ifdef __AVX512BF16__
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512 low = exponentials(x, products, v);
    const __m512 high = both ? exponentials(x, products + PANEL, v + 1) : _mm512_setzero_ps();
    const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    _mm512_storeu_si512(e_words, _mm512_permutexvar_epi16(order, rounded));
    _mm256_storeu_si256((__m256i *)(void *)low_row, _mm512_castsi512_si256(rounded));
    if (both)
        _mm256_storeu_si256((__m256i *)(void *)high_row, _mm512_extracti64x4_epi64(rounded, 1));
#else
    (void)x, (void)products, (void)v, (void)both, (void)e_words, (void)low_row, (void)high_row;
#endif
}

/* e of columns first .. first + 15 of a block of logits whose first position is j. */
CPU_INLINE void exponentials_of_lanes(int bf16, const struct chunk *k, int t, struct exponents *x,
                                      int tokens, int j, int lane, uint32_t *e)
{
    const float *products = k->logits[t] + lane;
    uint32_t *panel = k->e_words[t] + (int64_t)j * words(k, TILE) + lane;
    const int at = j + lane;
    for (int v = 0; v < tokens; v += 1 + bf16, products += PANEL * (1 + bf16)) {
        uint32_t *word = panel + (v >> bf16) * PANEL;
        if (bf16) {
            uint16_t *row = (uint16_t *)(e + (int64_t)v * k->RW) + at;
            pair_to_bf16(x, products, v, v + 1 < tokens, word, row, row + 2 * (int64_t)k->RW);
        } else {
            const __m512 value = exponentials(x, products, v);
            _mm512_storeu_ps((float *)word, value);
            _mm512_storeu_ps((float *)(e + (int64_t)v * k->RW) + at, value);
        }
    }
}

/* The sums of exponentials_of_lanes, in the same order, without storing e. */
CPU_INLINE void sums_of_lanes(const struct chunk *k, int t, struct exponents *x, int tokens,
                              int lane)
{
    const float *products = k->logits[t] + lane;
    for (int v = 0; v < tokens; v++, products += PANEL)
        (void)exponentials(x, products, v);
}

static void add_to_sums(double *sums, __m512 sum)
{
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(sum));
    const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(sum, 1));
    _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), low));
    _mm512_storeu_pd(sums + 8, _mm512_add_pd(_mm512_loadu_pd(sums + 8), high));
}

/* ---- the first pass ---- */

static const uint32_t *weight_words(const struct chunk *k, int64_t v)
{
    return (const uint32_t *)k->lm_head->weight + v * k->CW;
}

static uint32_t *e_of(const struct chunk *k, int64_t v)
{
    return (uint32_t *)k->lm_head->workspace + v * k->RW;
}

/* From the logits of the tile's tokens for PANEL positions from j on to e. */
CPU_INLINE void tile_logits(int bf16, struct chunk *k, int t, int v, int tokens, int j)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int n = k->R - j < PANEL ? k->R - j : PANEL;
    /* Rows of e that will be written from these logits. */
    const char *soon = lm_head->dh ? (const char *)(e_of(k, v) + words(k, j)) : NULL;
    const struct tile_product product = {.M = tokens,
                                         .N = n,
                                         .K = k->CW,
                                         .a_row = k->CW,
                                         .c_row = PANEL,
                                         .stream = 1,
                                         .soon = soon,
                                         .soon_row = k->RW * (int64_t)sizeof(uint32_t),
                                         .soon_lines = (words(k, n) + LANES - 1) / LANES};
    tile_product(bf16, &product, weight_words(k, v), k->h_words + (int64_t)j * k->CW, k->logits[t]);
    for (int lane = 0; lane < n; lane += LANES) {
        const __m512 log2e = _mm512_set1_ps(LOG2E);
        struct exponents x = {
            .scale = (float)lm_head->scale,
            .bias = lm_head->bias ? (const float *)lm_head->bias + v : NULL,
            .adjust = lm_head->adjust ? (const float *)lm_head->adjust + v : NULL,
            .reference = _mm512_mul_ps(_mm512_loadu_ps(k->logit + j + lane), log2e),
            .plain_reference = _mm512_mul_ps(_mm512_loadu_ps(k->plain_logit + j + lane), log2e),
            .sum = _mm512_setzero_ps(),
            .plain_sum = _mm512_setzero_ps(),
        };
        if (lm_head->dh)
            exponentials_of_lanes(bf16, k, t, &x, tokens, j, lane, e_of(k, v));
        else
            sums_of_lanes(k, t, &x, tokens, lane);
        add_to_sums(k->sums[t] + j + lane, x.sum);
        if (lm_head->adjust)
            add_to_sums(k->sums[t] + k->R + j + lane, x.plain_sum);
    }
}

/* columns [C, words of the tile] = the tile's weights, transposed: words hold neighbouring
 * tokens. */
CPU_INLINE void transpose_weights(int bf16, struct chunk *k, int t, int v, int tokens)
{
    const int C = k->lm_head->C, W = words(k, TILE);
    uint32_t pairs[LANES][LANES];
    for (int w = 0; w < words(k, tokens); w += LANES)
        for (int c = 0; c < C; c += LANES) {
            const int columns = C - c < LANES ? C - c : LANES;
            uint32_t *out = k->columns[t] + (int64_t)c * W + w;
            if (!bf16) {
                const int rows = tokens - w < LANES ? tokens - w : LANES;
                tile_transpose(out, W, weight_words(k, v + w) + c, k->CW, rows, columns);
                continue;
            }
            const int rows = words(k, tokens) - w < LANES ? words(k, tokens) - w : LANES;
            for (int i = 0; i < rows; i++) {
                const int token = 2 * (w + i);
                const uint16_t *low = (const uint16_t *)weight_words(k, v + token) + c;
                tile_interleave(pairs[i], low, token + 1 < tokens ? low + C : NULL, columns);
            }
            tile_transpose(out, W, pairs[0], LANES, rows, columns);
        }
}

CPU_INLINE void first_pass(int bf16, struct chunk *k, int t, struct cpu_slice range)
{
    const int C = k->lm_head->C, W = words(k, TILE);
    memset(k->sums[t], 0, 2 * (size_t)k->R * sizeof(double));
    if (k->lm_head->dh)
        memset(k->part[t], 0, (size_t)C * (size_t)k->panels * PANEL * sizeof(float));
    for (int64_t v = range.begin; v < range.end; v += TILE) {
        const int tokens = range.end - v < TILE ? (int)(range.end - v) : TILE;
        for (int j = 0; j < k->R; j += PANEL)
            tile_logits(bf16, k, t, (int)v, tokens, j);
        if (!k->lm_head->dh)
            continue;
        transpose_weights(bf16, k, t, (int)v, tokens);
        for (int j = 0; j < k->R; j += PANEL) {
            const struct tile_product product = {.M = C,
                                                 .N = k->R - j < PANEL ? k->R - j : PANEL,
                                                 .K = words(k, tokens),
                                                 .a_row = W,
                                                 .c_row = PANEL,
                                                 .add = 1};
            tile_product(bf16, &product, k->columns[t], k->e_words[t] + (int64_t)j * W,
                         k->part[t] + (int64_t)j * C);
        }
    }
}

/* ---- the second pass ---- */

/* dbias of the tile: product of e with the factors as a panel of one column. */
CPU_INLINE void bias_gradient(int bf16, struct chunk *k, int t, int v, int tokens)
{
    const int64_t factors = round_up(k->lm_head->C, PANEL);
    const struct tile_product product = {
        .M = tokens, .N = 1, .K = k->RW, .a_row = k->RW, .c_row = 1};
    float *sums = k->logits[t], *dbias = (float *)k->lm_head->dbias + v;
    tile_product(bf16, &product, e_of(k, v), k->h_scaled + factors * k->RW, sums);
    for (int i = 0; i < tokens; i++)
        dbias[i] = (k->first > 0 ? dbias[i] : 0) + sums[i];
}

CPU_INLINE void second_pass(int bf16, struct chunk *k, int t, struct cpu_slice range)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int C = lm_head->C;
    struct tile_product product = {
        .K = k->RW, .a_row = k->RW, .c_row = C, .soon_row = C * (int64_t)sizeof(float)};
    for (int64_t v = range.begin; v < range.end; v += TILE) {
        product.M = range.end - v < TILE ? (int)(range.end - v) : TILE;
        product.add = k->first > 0;
        for (int c = 0; c < C; c += PANEL) {
            product.N = C - c < PANEL ? C - c : PANEL;
            product.stream = c == 0;
            product.soon = (const float *)lm_head->dweight + (v + TILE_AT_ONCE(bf16)) * C + c;
            product.soon_lines = (product.N + LANES - 1) / LANES;
            tile_product(bf16, &product, e_of(k, v), k->h_scaled + (int64_t)c * k->RW,
                         (float *)lm_head->dweight + v * C + c);
        }
        if (lm_head->dbias)
            bias_gradient(bf16, k, t, (int)v, product.M);
    }
}

/* ---- between the passes, by position ---- */

static float number(const struct chunk *k, const void *from, int64_t i)
{
    return k->bf16 ? cpu_from_bf16(((const uint16_t *)from)[i]) : ((const float *)from)[i];
}

static double weight_of(const struct backend_lm_head *lm_head, int n)
{
    return lm_head->weights ? (double)((const float *)lm_head->weights)[n] : 1;
}

/* h with positions as lanes, and the logits of the targets, for LANES positions. */
static void prepare(struct chunk *k, int j)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int rows = k->rows - j < LANES ? k->rows - j : LANES;
    const uint32_t *h = (const uint32_t *)lm_head->h + (int64_t)(k->first + j) * k->CW;
    uint32_t *panel = k->h_words + (int64_t)(j / PANEL) * PANEL * k->CW + j % PANEL;
    for (int c = 0; c < k->CW; c += LANES)
        tile_transpose(panel + (int64_t)c * PANEL, PANEL, h + c, k->CW, rows > 0 ? rows : 0,
                       k->CW - c < LANES ? k->CW - c : LANES);
    for (int r = j; r < j + LANES; r++) {
        k->plain_logit[r] = k->logit[r] = 0;
        if (r >= k->rows)
            continue;
        const int64_t target = lm_head->targets[k->first + r];
        float dot = 0;
        for (int c = 0; c < lm_head->C; c++)
            dot += number(k, lm_head->h, (int64_t)(k->first + r) * lm_head->C + c) *
                   number(k, lm_head->weight, target * lm_head->C + c);
        k->plain_logit[r] = (float)lm_head->scale * dot;
        if (lm_head->bias)
            k->plain_logit[r] += ((const float *)lm_head->bias)[target];
        k->logit[r] = k->plain_logit[r];
        if (lm_head->adjust)
            k->logit[r] += ((const float *)lm_head->adjust)[target];
    }
}

/* Terms of label smoothing that all positions and tokens share. */
struct smooth {
    double logits;        /* sum over the vocabulary of bias + adjust */
    const float *weights; /* [C] sum over the vocabulary of the weights */
};

static double mean_logit(const struct chunk *k, const struct smooth *smooth, int n)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    double dot = 0;
    for (int c = 0; c < lm_head->C; c++)
        dot +=
            (double)number(k, lm_head->h, (int64_t)n * lm_head->C + c) * (double)smooth->weights[c];
    return (lm_head->scale * dot + smooth->logits) / lm_head->V;
}

/* Losses and gradient factor of position r of the chunk. 0 if its sum is out of range. */
static int settle(struct chunk *k, const struct smooth *smooth, int r)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int n = k->first + r;
    double sum = 0, plain_sum = 0;
    for (int t = 0; t < k->threads; t++) {
        sum += k->sums[t][r];
        plain_sum += k->sums[t][k->R + r];
    }
    if (!lm_head->adjust)
        plain_sum = sum;
    const double loss = log(plain_sum), adjusted = log(sum);
    if (!(loss < LOSS_MAX && loss > -LOSS_MAX && adjusted < LOSS_MAX && adjusted > -LOSS_MAX))
        return 0;
    const double lse = (double)k->logit[r] + adjusted, omega = weight_of(lm_head, n);
    ((float *)lm_head->losses)[n] = (float)loss;
    ((float *)lm_head->lse)[n] = (float)((double)k->plain_logit[r] + loss);
    if (lm_head->objective_lse)
        ((float *)lm_head->objective_lse)[n] = (float)lse;
    if (lm_head->objective) {
        double cross = adjusted;
        if (lm_head->smoothing > 0)
            cross = lse - (1 - lm_head->smoothing) * (double)k->logit[r] -
                    lm_head->smoothing * mean_logit(k, smooth, n);
        ((float *)lm_head->objective)[n] = (float)(omega * cross + lm_head->z_loss * lse * lse);
    }
    k->factor[r] = (float)((omega + 2 * lm_head->z_loss * lse) / (sum * lm_head->N));
    return 1;
}

/* dh of position r: the sum over the vocabulary minus the terms of target and smoothing. */
static void input_gradient(struct chunk *k, const struct smooth *smooth, int r)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int C = lm_head->C, n = k->first + r;
    const int64_t target = lm_head->targets[n];
    const double omega = weight_of(lm_head, n) / lm_head->N;
    const float scale = (float)lm_head->scale, hit = (float)(omega * (1 - lm_head->smoothing));
    const float spread = (float)(omega * lm_head->smoothing / lm_head->V);
    for (int c = 0; c < C; c++) {
        float sum = 0;
        for (int t = 0; t < k->threads; t++)
            sum += k->part[t][((int64_t)(r / PANEL) * C + c) * PANEL + r % PANEL];
        float value = k->factor[r] * sum - hit * number(k, lm_head->weight, target * C + c);
        if (spread > 0)
            value -= spread * smooth->weights[c];
        const int64_t at = (int64_t)n * C + c;
        if (k->bf16)
            ((uint16_t *)lm_head->dh)[at] = cpu_to_bf16(scale * value);
        else
            ((float *)lm_head->dh)[at] = scale * value;
    }
}

/* Column c of row w of h_scaled. */
static uint32_t *scaled_word(const struct chunk *k, int w, int c)
{
    return k->h_scaled + ((int64_t)(c / PANEL) * k->RW + w) * PANEL + c % PANEL;
}

/* Row w of h_scaled: position w, or positions 2w and 2w + 1; zeros behind the last one. */
static void scale_h(struct chunk *k, int w)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int C = lm_head->C, factors = round_up(C, PANEL);
    for (int c = 0; c < factors + PANEL; c += PANEL)
        memset(scaled_word(k, w, c), 0, PANEL * sizeof(uint32_t));
    for (int half = 0; half < 1 + k->bf16; half++) {
        const int r = w * (1 + k->bf16) + half;
        if (r >= k->rows)
            break;
        const float factor = k->factor[r], scaled = factor * (float)lm_head->scale;
        for (int c = 0; c <= C; c++) {
            const float value =
                c < C ? scaled * number(k, lm_head->h, (int64_t)(k->first + r) * C + c) : factor;
            uint32_t *word = scaled_word(k, w, c < C ? c : factors);
            if (k->bf16)
                ((uint16_t *)word)[half] = cpu_to_bf16(value);
            else
                *(float *)word = value;
        }
    }
}

/* Subtract the target's term from its row of the gradient, and add back what bfloat16 rounding lost
 * of the softmax term that nearly cancels it. */
static void target_rows(const struct chunk *k, struct cpu_slice range)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int C = lm_head->C;
    for (int r = 0; r < k->rows; r++) {
        const int64_t target = lm_head->targets[k->first + r];
        if (target < range.begin || target >= range.end)
            continue;
        const float hit =
            (float)(weight_of(lm_head, k->first + r) / lm_head->N * (1 - lm_head->smoothing));
        const float factor = k->factor[r], scaled = factor * (float)lm_head->scale;
        float *row = (float *)lm_head->dweight + target * C;
        for (int c = 0; c < C; c++) {
            const float h = number(k, lm_head->h, (int64_t)(k->first + r) * C + c);
            row[c] -= hit * (float)lm_head->scale * h;
            if (k->bf16)
                row[c] += scaled * h - cpu_from_bf16(cpu_to_bf16(scaled * h));
        }
        if (!lm_head->dbias)
            continue;
        float *dbias = (float *)lm_head->dbias + target;
        *dbias -= hit;
        if (k->bf16)
            *dbias += factor - cpu_from_bf16(cpu_to_bf16(factor));
    }
}

/* Logits of tracked token m. */
CPU_INLINE void tracked_logits(int bf16, const struct chunk *k, int t, int m)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int64_t v = lm_head->tracked[m];
    const float bias = lm_head->bias ? ((const float *)lm_head->bias)[v] : 0;
    float *out = (float *)lm_head->tracked_logits + (int64_t)m * lm_head->N + k->first;
    for (int j = 0; j < k->rows; j += PANEL) {
        const int n = k->rows - j < PANEL ? k->rows - j : PANEL;
        const struct tile_product product = {
            .M = 1, .N = n, .K = k->CW, .a_row = k->CW, .c_row = PANEL};
        tile_product(bf16, &product, weight_words(k, v), k->h_words + (int64_t)j * k->CW,
                     k->logits[t]);
        for (int r = 0; r < n; r++)
            out[j + r] = (float)lm_head->scale * k->logits[t][r] + bias;
    }
}

/* ---- lm_head ---- */

/* One thread's part of a chunk. *good becomes 0 when a position is out of range. */
CPU_INLINE void work(int bf16, struct chunk *k, const struct smooth *smooth, int t, int *good)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const struct cpu_slice tokens = cpu_slice(lm_head->V, TILE, t, k->threads);
    const struct cpu_slice lanes = cpu_slice(k->R, LANES, t, k->threads);
    const struct cpu_slice marks =
        cpu_slice(lm_head->tracked_logits ? lm_head->M : 0, 1, t, k->threads);
    for (int64_t j = lanes.begin; j < lanes.end; j += LANES)
        prepare(k, (int)j);
#pragma omp barrier
    first_pass(bf16, k, t, tokens);
    for (int64_t m = marks.begin; m < marks.end; m++)
        tracked_logits(bf16, k, t, (int)m);
#pragma omp barrier
    const int64_t end = lanes.end < k->rows ? lanes.end : k->rows;
    for (int64_t r = lanes.begin; r < end; r++)
        if (!settle(k, smooth, (int)r)) {
#pragma omp atomic write
            *good = 0;
        }
    if (!lm_head->dh)
        return;
    for (int64_t r = lanes.begin; r < end; r++)
        input_gradient(k, smooth, (int)r);
    for (int64_t w = lanes.begin / (1 + bf16); w < lanes.end / (1 + bf16); w++)
        scale_h(k, (int)w);
#pragma omp barrier
    second_pass(bf16, k, t, tokens);
    target_rows(k, tokens);
}

static void work_fp32(struct chunk *k, const struct smooth *smooth, int t, int *good)
{
    work(0, k, smooth, t, good);
}

#ifdef __AVX512BF16__
static void work_bf16(struct chunk *k, const struct smooth *smooth, int t, int *good)
{
#ifdef CPU_AMX
    amx_begin();
    work(1, k, smooth, t, good);
    amx_end();
#else
    work(1, k, smooth, t, good);
#endif
}
#endif

enum { SHARED = 6, OWN = 5 };

/* Lay out the scratch memory; returns the floats of one thread's part. */
static int64_t lay_out(struct chunk *k, float *scratch, int64_t stride)
{
    const int64_t C = round_up(k->lm_head->C, PANEL), R = (int64_t)k->panels * PANEL;
    const int64_t W = words(k, TILE);
    const int64_t shared[SHARED] = {round_up(k->CW, LANES) * R, k->RW * (C + PANEL), R, R, R, C};
    const int64_t own[OWN] = {C * R, 4 * R, TILE * PANEL, W * R, C * W};
    float *at[SHARED], *next = scratch;
    int64_t floats = 0;
    for (int i = 0; i < SHARED; i++) {
        at[i] = next;
        next += shared[i];
        floats += shared[i];
    }
    k->h_words = (uint32_t *)at[0];
    k->h_scaled = (uint32_t *)at[1];
    k->plain_logit = at[2];
    k->logit = at[3];
    k->factor = at[4];
    k->smooth = at[5];
    for (int t = 0; scratch && t < k->threads; t++) {
        next = scratch + t * stride + floats;
        k->part[t] = next;
        k->sums[t] = (double *)(next + own[0]);
        k->logits[t] = next + own[0] + own[1];
        k->e_words[t] = (uint32_t *)(k->logits[t] + own[2]);
        k->columns[t] = k->e_words[t] + own[3];
    }
    for (int i = 0; i < OWN; i++)
        floats += own[i];
    return round_up((int)floats, 1024);
}

/* Subtract the term of label smoothing, which is the same in every row of the gradient. */
static void spread_gradient(struct cpu *cpu, struct chunk *k)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    const int C = lm_head->C, team = k->threads;
    const float share = (float)(lm_head->smoothing / lm_head->V / lm_head->N);
    double omega = 0;
    for (int n = 0; n < lm_head->N; n++)
        omega += weight_of(lm_head, n);
    if (lm_head->weights)
        cpu->table.weighted_sums(&cpu->table, k->smooth, lm_head->weights, lm_head->h, 1,
                                 lm_head->N, C);
    else
        cpu->column_sums(cpu, k->smooth, lm_head->h, lm_head->N, C, C);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t v = 0; v < lm_head->V; v++) {
        for (int c = 0; c < C; c++)
            ((float *)lm_head->dweight)[v * C + c] -= share * (float)lm_head->scale * k->smooth[c];
        if (lm_head->dbias)
            ((float *)lm_head->dbias)[v] -= share * (float)omega;
    }
}

static double sum_of(const float *numbers, int n)
{
    double sum = 0;
    for (int i = 0; numbers && i < n; i++)
        sum += (double)numbers[i];
    return sum;
}

/* Run all chunks; 0 if a position's sum was out of range. */
static int run(struct cpu *cpu, struct chunk *k)
{
    const struct backend_lm_head *lm_head = k->lm_head;
    struct smooth smooth = {.weights = k->smooth};
    int good = 1;
    void (*part)(struct chunk *, const struct smooth *, int, int *) = work_fp32;
#ifdef __AVX512BF16__
    if (k->bf16)
        part = work_bf16;
#endif
    if (lm_head->smoothing > 0) {
        smooth.logits = sum_of(lm_head->bias, lm_head->V) + sum_of(lm_head->adjust, lm_head->V);
        cpu->column_sums(cpu, k->smooth, lm_head->weight, lm_head->V, lm_head->C, lm_head->C);
    }
    for (k->first = 0; good && k->first < lm_head->N; k->first += k->R) {
        k->rows = lm_head->N - k->first < k->R ? lm_head->N - k->first : k->R;
#pragma omp parallel num_threads(k->threads)
        part(k, &smooth, omp_get_thread_num(), &good);
    }
    if (good && lm_head->dh && lm_head->smoothing > 0)
        spread_gradient(cpu, k);
    return good;
}

/* Positions of a chunk: as many rows of e as the workspace holds, in whole lanes. */
static int positions(const struct cpu *cpu, const struct backend_lm_head *lm_head)
{
    const int held = lm_head->chunk * (1 + cpu->bf16) / LANES * LANES;
    const int wanted = round_up(lm_head->N, LANES) < R_MAX ? round_up(lm_head->N, LANES) : R_MAX;
    return held < wanted ? held : wanted;
}

static void fused_lm_head(struct backend *self, const struct backend_lm_head *lm_head)
{
    struct cpu *cpu = cpu_of(self);
    struct chunk k = {.lm_head = lm_head, .bf16 = cpu->bf16, .R = positions(cpu, lm_head)};
    k.CW = words(&k, lm_head->C);
    k.RW = words(&k, k.R);
    k.panels = (k.R + PANEL - 1) / PANEL;
    k.threads = cpu_team(cpu, (int64_t)lm_head->N * lm_head->V * lm_head->C / LANES);
    /* A row with an odd number of bfloat16 is not made of words. */
    if (k.R == 0 || (k.bf16 && lm_head->C % 2)) {
        cpu->stable_lm_head(self, lm_head);
        return;
    }
    const int64_t floats = lay_out(&k, NULL, 0);
    float *scratch = cpu_memory_scratch(cpu, floats);
    if (!scratch)
        return;
    lay_out(&k, scratch, floats);
    if (!run(cpu, &k)) {
        cpu->stable_lm_head(self, lm_head);
        return;
    }
    if (!lm_head->dh)
        return;
    const int64_t padding = lm_head->Vp - lm_head->V;
    memset((float *)lm_head->dweight + (int64_t)lm_head->V * lm_head->C, 0,
           (size_t)(padding * lm_head->C) * sizeof(float));
    if (lm_head->dbias)
        memset((float *)lm_head->dbias + lm_head->V, 0, (size_t)padding * sizeof(float));
}
#endif

void CPU_NAME(cpu_fused)(struct cpu *cpu)
{
#if defined(__AVX512BF16__)
    cpu->table.lm_head = fused_lm_head;
#elif defined(__AVX512F__)
    if (!cpu->bf16)
        cpu->table.lm_head = fused_lm_head;
#else
    (void)cpu;
#endif
}
