/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sixteen elements at a time, and what the instruction sets do with them in their own
 * way: bits from comparisons, and values from bits. The rest the compiler vectorises.
 * Included once by codec_set.c.
 *
 * Sums go to sixteen partial sums, which are then added pairwise: an order that every
 * instruction set can keep.
 */
#ifndef DML__CODEC_LANES_H
#define DML__CODEC_LANES_H

#include "core/half.h"

#include <string.h>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define LANES 16

#if defined(__AVX512F__)

/* Bit j: x[j] >= 0. */
static inline uint32_t not_negative(const float x[LANES])
{
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_setzero_ps(), _CMP_GE_OQ);
}

/* Bit j: |x[j]| >= limit. */
static inline uint32_t reaches(const float x[LANES], float limit)
{
    return _mm512_cmp_ps_mask(_mm512_abs_ps(_mm512_loadu_ps(x)), _mm512_set1_ps(limit),
                              _CMP_GE_OQ);
}

/* Bit j: x[j] < y[j]. */
static inline uint32_t below(const float x[LANES], const float y[LANES])
{
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_loadu_ps(y), _CMP_LT_OQ);
}

/* x[j] = bit j ? yes : no. */
static inline void pick(float x[LANES], uint32_t bits, float yes, float no)
{
    _mm512_storeu_ps(x, _mm512_mask_blend_ps((__mmask16)bits, _mm512_set1_ps(no),
                                             _mm512_set1_ps(yes)));
}

#elif defined(__AVX2__)

static inline uint32_t bits_of(__m256 low, __m256 high)
{
    return (uint32_t)_mm256_movemask_ps(low) | (uint32_t)_mm256_movemask_ps(high) << 8;
}

static inline uint32_t not_negative(const float x[LANES])
{
    const __m256 zero = _mm256_setzero_ps();
    return bits_of(_mm256_cmp_ps(_mm256_loadu_ps(x), zero, _CMP_GE_OQ),
                   _mm256_cmp_ps(_mm256_loadu_ps(x + 8), zero, _CMP_GE_OQ));
}

static inline uint32_t reaches(const float x[LANES], float limit)
{
    const __m256 sign = _mm256_set1_ps(-0.0f), bound = _mm256_set1_ps(limit);
    __m256 low = _mm256_andnot_ps(sign, _mm256_loadu_ps(x));
    __m256 high = _mm256_andnot_ps(sign, _mm256_loadu_ps(x + 8));
    return bits_of(_mm256_cmp_ps(low, bound, _CMP_GE_OQ),
                   _mm256_cmp_ps(high, bound, _CMP_GE_OQ));
}

static inline uint32_t below(const float x[LANES], const float y[LANES])
{
    return bits_of(
        _mm256_cmp_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(y), _CMP_LT_OQ),
        _mm256_cmp_ps(_mm256_loadu_ps(x + 8), _mm256_loadu_ps(y + 8), _CMP_LT_OQ));
}

static inline __m256 pick_eight(uint32_t bits, float yes, float no)
{
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i set = _mm256_and_si256(_mm256_set1_epi32((int)bits), each);
    __m256 is_set = _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, each));
    return _mm256_blendv_ps(_mm256_set1_ps(no), _mm256_set1_ps(yes), is_set);
}

static inline void pick(float x[LANES], uint32_t bits, float yes, float no)
{
    _mm256_storeu_ps(x, pick_eight(bits, yes, no));
    _mm256_storeu_ps(x + 8, pick_eight(bits >> 8, yes, no));
}

#else

static inline uint32_t not_negative(const float x[LANES])
{
    uint32_t bits = 0;
    for (int j = 0; j < LANES; j++)
        bits |= (uint32_t)(x[j] >= 0) << j;
    return bits;
}

static inline uint32_t reaches(const float x[LANES], float limit)
{
    uint32_t bits = 0;
    for (int j = 0; j < LANES; j++)
        bits |= (uint32_t)(fabsf(x[j]) >= limit) << j;
    return bits;
}

static inline uint32_t below(const float x[LANES], const float y[LANES])
{
    uint32_t bits = 0;
    for (int j = 0; j < LANES; j++)
        bits |= (uint32_t)(x[j] < y[j]) << j;
    return bits;
}

static inline void pick(float x[LANES], uint32_t bits, float yes, float no)
{
    for (int j = 0; j < LANES; j++)
        x[j] = (bits >> j & 1u) != 0 ? yes : no;
}

#endif

static inline float sum_lanes(float x[LANES])
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            x[j] += x[j + half];
    return x[0];
}

static inline uint32_t max_lanes(const uint32_t x[LANES])
{
    uint32_t top = 0;
    for (int j = 0; j < LANES; j++)
        top = x[j] > top ? x[j] : top;
    return top;
}

static inline uint32_t magnitude(float x)
{
    return dml__f32_bits(x) & 0x7fffffffu;
}

static inline unsigned count_bits(uint32_t bits)
{
    return (unsigned)__builtin_popcount(bits);
}

#endif
