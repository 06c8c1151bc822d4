/* random: counter-based random numbers, Philox4x32-10 (Salmon et al. 2011, "Parallel Random
 * Numbers: As Easy as 1, 2, 3", SC'11). A draw is a pure function of (seed, stream, index):
 * no state, any order, any thread, the same bits on CPU and GPU. Streams separate the uses:
 * the seed is the key, index and stream are the counter (key = seed low, high; counter =
 * index low, index high, stream, 0). Two draws of one seed never share a block. */
#ifndef TOKENFATE_RANDOM_H
#define TOKENFATE_RANDOM_H

#include <stdint.h>

/* The numbers are part of every stored result: append new streams at the end. */
enum random_stream {
    RANDOM_WEIGHTS,    /* index: element of the parameter vector */
    RANDOM_WINDOWS,    /* index: step * 2^20 + window of the batch */
    RANDOM_PASS,       /* order of the windows: pass * windows of a pass + position */
    RANDOM_TIES,       /* index: token id */
    RANDOM_TOKENS,     /* independent draws of a synthetic text: step * 2^21 + position */
    RANDOM_SHUFFLE,    /* permutation of a token stream; index: position */
    RANDOM_DOSES,      /* dose of a never-used token; index: token id */
    RANDOM_INSERTIONS, /* places: number of the insertion * 2^32 + attempt */
    RANDOM_EVALUATION, /* synthetic windows for evaluation: window * (T + 1) + position */
    RANDOM_OFFSET      /* where a shuffled pass begins; index: pass */
};

/* One Philox4x32-10 block: four 32-bit words of counter and key. */
void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* 64 random bits. */
uint64_t random_u64(uint64_t seed, enum random_stream stream, uint64_t index);

/* Uniform integer in [0, range), range >= 1, by multiply-shift; bias below range / 2^64. */
uint64_t random_below(uint64_t seed, enum random_stream stream, uint64_t index, uint64_t range);

/* Uniform in [0, 1), 53 bits. */
double random_uniform(uint64_t seed, enum random_stream stream, uint64_t index);

/* Standard normal (Box and Muller 1958) in double; both uniforms come from one block:
 * sqrt(-2 ln u) cos(2 pi v), u in (0, 1] of words 0-1, v in [0, 1) of words 2-3. */
double random_normal(uint64_t seed, enum random_stream stream, uint64_t index);

#endif
