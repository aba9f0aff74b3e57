/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random numbers of every kind, from the 128 random bits of Philox (core/philox.h).
 */
#include "dml/rng.h"

#include "core/philox.h"

#include <math.h>

static uint64_t join(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

uint64_t dml_rng_u64(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint32_t r[4];
    dml__philox(seed, stream, counter, r);
    return join(r[0], r[1]);
}

double dml_rng_uniform(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return (double)(dml_rng_u64(seed, stream, counter) >> 11) * 0x1p-53;
}

double dml_rng_normal(uint64_t seed, uint64_t stream, uint64_t counter)
{
    const double two_pi = 6.283185307179586476925;
    uint32_t r[4];
    dml__philox(seed, stream, counter, r);
    /* The radius needs (0, 1]: the logarithm of 0 is not finite. */
    double radius = (double)((join(r[0], r[1]) >> 11) + 1) * 0x1p-53;
    double angle = (double)(join(r[2], r[3]) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(radius)) * cos(two_pi * angle);
}

/*
 * Uniform in 0 .. bound-1 without bias: the upper half of word * bound, where a word
 * whose lower half falls in the short remainder of 2^32 / bound is drawn again (Lemire,
 * ACM TOMACS 2019). Words come from the block of this index first, then from blocks
 * 2^32 counters further on, which no other index uses.
 */
static uint32_t bounded(uint64_t seed, uint64_t stream, uint32_t index, uint32_t bound)
{
    uint32_t remainder = (0u - bound) % bound;
    for (uint64_t block = index;; block += UINT64_C(1) << 32) {
        uint32_t r[4];
        dml__philox(seed, stream, block, r);
        for (int i = 0; i < 4; i++) {
            uint64_t product = (uint64_t)r[i] * bound;
            if ((uint32_t)product >= remainder)
                return (uint32_t)(product >> 32);
        }
    }
}

void dml_rng_permutation(uint64_t seed, uint64_t stream, uint32_t count, uint32_t *out)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t last = i - 1;
        uint32_t j = bounded(seed, stream, last, i);
        uint32_t kept = out[j];
        out[j] = out[last];
        out[last] = kept;
    }
}
