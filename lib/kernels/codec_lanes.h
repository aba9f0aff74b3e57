/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sixteen f32 at a time, as each instruction set has them: one register, two, or an
 * array. The loops of the codecs are written in these few operations, because they mix
 * comparisons, bits and sums in ways that compilers do not vectorise. Included once by
 * codec_set.c.
 *
 * All sets give the same bits: sums go to sixteen partial sums, which are then added
 * pairwise, and least() and most() give their second operand where the two are equal.
 */
#ifndef DML__CODEC_LANES_H
#define DML__CODEC_LANES_H

#include "core/half.h"
#include "kernels/tern_rules.h"

#include <math.h>
#include <string.h>

#define LANES 16

#if defined(__AVX512F__)
#include "kernels/codec_lanes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/codec_lanes_avx2.h"
#else
#include "kernels/codec_lanes_c.h"
#endif

#if !defined(__AVX512F__)

/* Is list() so cheap that it may be called where no bit is set? */
enum { LISTS_ALWAYS = 0 };

/* Writes x[j] for each bit j that is set, one after the other; up to sixteen may
 * be overwritten. */
static inline void list(float *to, uint32_t bits, lanes x)
{
    float y[LANES];
    store(y, x);
    for (; bits != 0; bits &= bits - 1)
        *to++ = y[__builtin_ctz(bits)];
}

/* The same with base + j. */
static inline void list_places(uint16_t *to, uint32_t bits, size_t base)
{
    for (; bits != 0; bits &= bits - 1)
        *to++ = (uint16_t)(base + (size_t)__builtin_ctz(bits));
}

#endif

static inline float sum_of(lanes x)
{
    float y[LANES];
    store(y, x);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            y[j] += y[j + half];
    return y[0];
}

/* Bits of the largest magnitude seen by top(). */
static inline uint32_t top_of(words x)
{
    uint32_t y[LANES], most = 0;
    memcpy(y, &x, sizeof y);
    for (int j = 0; j < LANES; j++)
        most = y[j] > most ? y[j] : most;
    return most;
}

static inline unsigned count_bits(uint32_t bits)
{
    return (unsigned)__builtin_popcount(bits);
}

#endif
