/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * codec_lanes.h for AVX2: two registers.
 */
#ifndef DML__CODEC_LANES_AVX2_H
#define DML__CODEC_LANES_AVX2_H

#include <immintrin.h>

typedef struct lanes {
    __m256 low, high;
} lanes;

typedef struct words {
    __m256i low, high;
} words;

static inline lanes load(const float *x)
{
    return (lanes){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
}

static inline void store(float *to, lanes x)
{
    _mm256_storeu_ps(to, x.low);
    _mm256_storeu_ps(to + 8, x.high);
}

static inline lanes all(float x)
{
    return (lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline lanes add(lanes x, lanes y)
{
    return (lanes){_mm256_add_ps(x.low, y.low), _mm256_add_ps(x.high, y.high)};
}

static inline lanes sub(lanes x, lanes y)
{
    return (lanes){_mm256_sub_ps(x.low, y.low), _mm256_sub_ps(x.high, y.high)};
}

static inline lanes mul(lanes x, lanes y)
{
    return (lanes){_mm256_mul_ps(x.low, y.low), _mm256_mul_ps(x.high, y.high)};
}

static inline lanes least(lanes x, lanes y)
{
    return (lanes){_mm256_min_ps(x.low, y.low), _mm256_min_ps(x.high, y.high)};
}

static inline lanes most(lanes x, lanes y)
{
    return (lanes){_mm256_max_ps(x.low, y.low), _mm256_max_ps(x.high, y.high)};
}

static inline lanes absolute(lanes x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (lanes){_mm256_andnot_ps(sign, x.low), _mm256_andnot_ps(sign, x.high)};
}

/* Bit j: x[j] >= y[j]. */
static inline uint32_t reaches(lanes x, lanes y)
{
    __m256 low = _mm256_cmp_ps(x.low, y.low, _CMP_GE_OQ);
    __m256 high = _mm256_cmp_ps(x.high, y.high, _CMP_GE_OQ);
    return (uint32_t)_mm256_movemask_ps(low) | (uint32_t)_mm256_movemask_ps(high) << 8;
}

static inline __m256 pick_eight(uint32_t bits, __m256 x, __m256 y)
{
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i set = _mm256_and_si256(_mm256_set1_epi32((int)bits), each);
    return _mm256_blendv_ps(y, x, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, each)));
}

/* x[j] where bit j is set, else y[j]. */
static inline lanes pick(uint32_t bits, lanes x, lanes y)
{
    return (lanes){pick_eight(bits, x.low, y.low),
                   pick_eight(bits >> 8, x.high, y.high)};
}

static inline words no_words(void)
{
    return (words){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

/* The larger of w and the bits of |x|. */
static inline words top(words w, lanes x)
{
    lanes y = absolute(x);
    return (words){_mm256_max_epu32(w.low, _mm256_castps_si256(y.low)),
                   _mm256_max_epu32(w.high, _mm256_castps_si256(y.high))};
}

/* x, from 0 to 255 and cut to whole numbers, as bytes; returns the whole numbers.
 * Packing works within halves of a register, so the middle quarters change places. */
static inline lanes store_levels(unsigned char *to, lanes x)
{
    __m256i low = _mm256_cvttps_epi32(x.low), high = _mm256_cvttps_epi32(x.high);
    __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(both),
                                     _mm256_extracti128_si256(both, 1));
    _mm_storeu_si128((void *)to, bytes);
    return (lanes){_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)};
}

static inline lanes load_levels(const unsigned char *from)
{
    __m128i low = _mm_loadl_epi64((const void *)from);
    __m128i high = _mm_loadl_epi64((const void *)(from + 8));
    return (lanes){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(low)),
                   _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(high))};
}

static inline __m256 draw_eight(__m256i x)
{
    x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
    x = _mm256_mullo_epi32(x, _mm256_set1_epi32(0x7feb352d));
    x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 15));
    x = _mm256_mullo_epi32(x, _mm256_set1_epi32((int)0x846ca68bu));
    x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
    return _mm256_cvtepi32_ps(_mm256_srli_epi32(x, 8));
}

/* Hashes of key + 0, key + step ..., cut to 24 bits, as whole numbers. */
static inline lanes draw(uint32_t key, uint32_t step)
{
    const __m256i each = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i low = _mm256_mullo_epi32(each, _mm256_set1_epi32((int)step));
    low = _mm256_add_epi32(low, _mm256_set1_epi32((int)key));
    __m256i high = _mm256_add_epi32(low, _mm256_set1_epi32((int)(8 * step)));
    return (lanes){draw_eight(low), draw_eight(high)};
}

#endif
