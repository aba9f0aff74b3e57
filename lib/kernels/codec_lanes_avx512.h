/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * codec_lanes.h for AVX-512: one register.
 */
#ifndef DML__CODEC_LANES_AVX512_H
#define DML__CODEC_LANES_AVX512_H

#include <immintrin.h>

typedef __m512 lanes;
typedef __m512i words;

static inline lanes load(const float *x)
{
    return _mm512_loadu_ps(x);
}

static inline void store(float *to, lanes x)
{
    _mm512_storeu_ps(to, x);
}

static inline lanes all(float x)
{
    return _mm512_set1_ps(x);
}

static inline lanes add(lanes x, lanes y)
{
    return _mm512_add_ps(x, y);
}

static inline lanes sub(lanes x, lanes y)
{
    return _mm512_sub_ps(x, y);
}

static inline lanes mul(lanes x, lanes y)
{
    return _mm512_mul_ps(x, y);
}

static inline lanes least(lanes x, lanes y)
{
    return _mm512_min_ps(x, y);
}

static inline lanes most(lanes x, lanes y)
{
    return _mm512_max_ps(x, y);
}

static inline lanes absolute(lanes x)
{
    return _mm512_abs_ps(x);
}

/* Bit j: x[j] >= y[j]. */
static inline uint32_t reaches(lanes x, lanes y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_GE_OQ);
}

/* x[j] where bit j is set, else y[j]. */
static inline lanes pick(uint32_t bits, lanes x, lanes y)
{
    return _mm512_mask_blend_ps((__mmask16)bits, y, x);
}

static inline words no_words(void)
{
    return _mm512_setzero_si512();
}

/* The larger of w and the bits of |x|. */
static inline words top(words w, lanes x)
{
    return _mm512_max_epu32(w, _mm512_castps_si512(_mm512_abs_ps(x)));
}

/* x, from 0 to 255 and cut to whole numbers, as bytes; returns the whole numbers. */
static inline lanes store_levels(unsigned char *to, lanes x)
{
    __m512i levels = _mm512_cvttps_epi32(x);
    _mm_storeu_si128((void *)to, _mm512_cvtepi32_epi8(levels));
    return _mm512_cvtepi32_ps(levels);
}

static inline lanes load_levels(const unsigned char *from)
{
    __m128i bytes = _mm_loadu_si128((const void *)from);
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}

/* Few bits are set as a rule, but which cannot be foreseen: so there is no branch.
 * Compressing straight into memory would be slow on AMD's processors. */
enum { LISTS_ALWAYS = 1 };

/* Writes x[j] for each bit j that is set, one after the other; up to sixteen may
 * be overwritten. */
static inline void list(float *to, uint32_t bits, lanes x)
{
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps((__mmask16)bits, x));
}

/* The same with base + j. */
static inline void list_places(uint16_t *to, uint32_t bits, size_t base)
{
    const __m512i each =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i places = _mm512_maskz_compress_epi32((__mmask16)bits, each);
    places = _mm512_add_epi32(places, _mm512_set1_epi32((int)base));
    _mm256_storeu_si256((void *)to, _mm512_cvtepi32_epi16(places));
}

/* Hashes of key + 0, key + step ..., cut to 24 bits, as whole numbers. */
static inline lanes draw(uint32_t key, uint32_t step)
{
    const __m512i each =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i x = _mm512_mullo_epi32(each, _mm512_set1_epi32((int)step));
    x = _mm512_add_epi32(x, _mm512_set1_epi32((int)key));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x7feb352d));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0x846ca68bu));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
    return _mm512_cvtepi32_ps(_mm512_srli_epi32(x, 8));
}

#endif
