/* random: see random.h. Philox4x32 with ten rounds. Multipliers and key increments are those
 * of Salmon et al. 2011, section 4.3; the unit test has the known answers that the authors
 * publish with their library.
 *
 * The layout never changes, because every stored result depends on it:
 *   key     = (seed low 32 bits, seed high 32 bits)
 *   counter = (index low, index high, stream, 0)
 * Integer draws use words 0 (low) and 1 (high) of the block, normal draws all four. */
#include "lab/random.h"

#include <math.h>

enum { PHILOX_ROUNDS = 10 };

static const uint32_t philox_multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
static const uint32_t philox_weyl[2] = {0x9E3779B9u, 0xBB67AE85u};

void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t left = (uint64_t)philox_multiplier[0] * x0;
        uint64_t right = (uint64_t)philox_multiplier[1] * x2;
        x0 = (uint32_t)(right >> 32) ^ x1 ^ k0;
        x2 = (uint32_t)(left >> 32) ^ x3 ^ k1;
        x1 = (uint32_t)right;
        x3 = (uint32_t)left;
        k0 += philox_weyl[0];
        k1 += philox_weyl[1];
    }
    out[0] = x0;
    out[1] = x1;
    out[2] = x2;
    out[3] = x3;
}

/* Words 0-1 and 2-3 of the block of a draw, as two 64-bit integers. */
static void random_block(uint64_t seed, enum random_stream stream, uint64_t index, uint64_t out[2])
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, 0};
    uint32_t word[4];
    random_philox(counter, key, word);
    out[0] = (uint64_t)word[1] << 32 | word[0];
    out[1] = (uint64_t)word[3] << 32 | word[2];
}

uint64_t random_u64(uint64_t seed, enum random_stream stream, uint64_t index)
{
    uint64_t bits[2];
    random_block(seed, stream, index, bits);
    return bits[0];
}

uint64_t random_below(uint64_t seed, enum random_stream stream, uint64_t index, uint64_t range)
{
    return (uint64_t)((__uint128_t)random_u64(seed, stream, index) * range >> 64);
}

double random_uniform(uint64_t seed, enum random_stream stream, uint64_t index)
{
    return (double)(random_u64(seed, stream, index) >> 11) * 0x1p-53;
}

double random_normal(uint64_t seed, enum random_stream stream, uint64_t index)
{
    uint64_t bits[2];
    random_block(seed, stream, index, bits);
    /* In (0, 1]: the logarithm stays finite. */
    double radius = (double)((bits[0] >> 11) + 1) * 0x1p-53;
    double angle = (double)(bits[1] >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(radius)) * cos(2.0 * M_PI * angle);
}
