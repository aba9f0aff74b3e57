/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 16-bit floats to and from f32: the one step that the instruction sets do in their own
 * way.
 *
 * widen and narrow handle a block: one vector register of f32, so that the compiler
 * passes it on in the register, though it is written as an array. split and join handle
 * two blocks in whatever order suits, the same for both, for work whose operands are
 * all of 16 bits; join may take it that a NaN came from split or from arithmetic, so
 * that its upper half is that of a NaN too.
 *
 * f16 needs the F16C instructions, which no compiler finds by itself. The bf16
 * instructions of AVX-512 are left aside: they flush denormals to zero.
 */
#ifndef DML__HALF_BLOCK_H
#define DML__HALF_BLOCK_H

#include "core/half.h"

#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)

#include <immintrin.h>

#define BLOCK 16

static inline void widen_F16(float x[BLOCK], const void *from)
{
    _mm512_storeu_ps(x, _mm512_cvtph_ps(_mm256_loadu_si256(from)));
}

static inline void narrow_F16(void *to, const float x[BLOCK])
{
    enum { nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    _mm256_storeu_si256(to, _mm512_cvtps_ph(_mm512_loadu_ps(x), nearest));
}

static inline void widen_BF16(float x[BLOCK], const void *from)
{
    __m512i u = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from));
    _mm512_storeu_si512(x, _mm512_slli_epi32(u, 16));
}

/* As dml__f32_to_bf16(), step by step. */
static inline void narrow_BF16(void *to, const float x[BLOCK])
{
    __m512i u = _mm512_loadu_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i rounded =
        _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    __m512 value = _mm512_castsi512_ps(u);
    __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    __m512i quiet = _mm512_set1_epi32(0x400000);
    rounded = _mm512_mask_or_epi32(rounded, nan, u, quiet);
    _mm256_storeu_si256(to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

/* Elements 0, 2, 4 ... lie in the lower halves of 32-bit words, 1, 3, 5 ... in the
 * upper ones: no element has to change its place. */
static inline void split_BF16(float x[2 * BLOCK], const void *from)
{
    __m512i pairs = _mm512_loadu_si512(from);
    __m512i upper = _mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u));
    _mm512_storeu_si512(x, _mm512_slli_epi32(pairs, 16));
    _mm512_storeu_si512(x + BLOCK, upper);
}

/* Rounds into the upper halves; a NaN stays as it is. */
static inline __m512i round_upper(__m512i u)
{
    __m512 value = _mm512_castsi512_ps(u);
    __mmask16 number = _mm512_cmp_ps_mask(value, value, _CMP_ORD_Q);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    return _mm512_mask_add_epi32(u, number, u, bias);
}

static inline void join_BF16(void *to, const float x[2 * BLOCK])
{
    __m512i even = _mm512_srli_epi32(round_upper(_mm512_loadu_si512(x)), 16);
    __m512i odd = round_upper(_mm512_loadu_si512(x + BLOCK));
    _mm512_storeu_si512(to, _mm512_mask_blend_epi16(0xaaaaaaaau, even, odd));
}

#elif defined(__AVX2__)

#include <immintrin.h>

#define BLOCK 8

static inline void widen_F16(float x[BLOCK], const void *from)
{
    _mm256_storeu_ps(x, _mm256_cvtph_ps(_mm_loadu_si128(from)));
}

static inline void narrow_F16(void *to, const float x[BLOCK])
{
    enum { nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    _mm_storeu_si128(to, _mm256_cvtps_ph(_mm256_loadu_ps(x), nearest));
}

static inline void widen_BF16(float x[BLOCK], const void *from)
{
    __m256i u = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(from)), 16);
    _mm256_storeu_ps(x, _mm256_castsi256_ps(u));
}

/* As dml__f32_to_bf16(), step by step. The packing puts the upper halves of both
 * operands side by side in each 128 bits; quarters 0 and 2 are what we want. */
static inline void narrow_BF16(void *to, const float x[BLOCK])
{
    __m256 value = _mm256_loadu_ps(x);
    __m256i u = _mm256_castps_si256(value);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i rounded =
        _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    rounded = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    __m256i packed = _mm256_packus_epi32(rounded, rounded);
    packed = _mm256_permute4x64_epi64(packed, 0x08);
    _mm_storeu_si128(to, _mm256_castsi256_si128(packed));
}

/* Elements 0, 2, 4 ... lie in the lower halves of 32-bit words, 1, 3, 5 ... in the
 * upper ones: no element has to change its place. */
static inline void split_BF16(float x[2 * BLOCK], const void *from)
{
    __m256i pairs = _mm256_loadu_si256(from);
    __m256i upper = _mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u));
    _mm256_storeu_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)));
    _mm256_storeu_ps(x + BLOCK, _mm256_castsi256_ps(upper));
}

/* Rounds into the upper halves; a NaN stays as it is. */
static inline __m256i round_upper(__m256 value)
{
    __m256i u = _mm256_castps_si256(value);
    __m256i number = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_ORD_Q));
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    return _mm256_add_epi32(u, _mm256_and_si256(bias, number));
}

static inline void join_BF16(void *to, const float x[2 * BLOCK])
{
    __m256i even = _mm256_srli_epi32(round_upper(_mm256_loadu_ps(x)), 16);
    __m256i odd = round_upper(_mm256_loadu_ps(x + BLOCK));
    _mm256_storeu_si256(to, _mm256_blend_epi16(even, odd, 0xaa));
}

#else

#define BLOCK 16

static inline void widen_BF16(float x[BLOCK], const void *from)
{
    uint16_t h[BLOCK];
    memcpy(h, from, sizeof h);
    INDEPENDENT
    for (size_t j = 0; j < BLOCK; j++)
        x[j] = dml__bf16_to_f32(h[j]);
}

static inline void narrow_BF16(void *to, const float x[BLOCK])
{
    uint16_t h[BLOCK];
    INDEPENDENT
    for (size_t j = 0; j < BLOCK; j++)
        h[j] = dml__f32_to_bf16(x[j]);
    memcpy(to, h, sizeof h);
}

static inline void widen_F16(float x[BLOCK], const void *from)
{
    uint16_t h[BLOCK];
    memcpy(h, from, sizeof h);
    INDEPENDENT
    for (size_t j = 0; j < BLOCK; j++)
        x[j] = dml__f16_to_f32(h[j]);
}

static inline void narrow_F16(void *to, const float x[BLOCK])
{
    uint16_t h[BLOCK];
    INDEPENDENT
    for (size_t j = 0; j < BLOCK; j++)
        h[j] = dml__f32_to_f16(x[j]);
    memcpy(to, h, sizeof h);
}

static inline void split_BF16(float x[2 * BLOCK], const void *from)
{
    widen_BF16(x, from);
    widen_BF16(x + BLOCK, (const char *)from + BLOCK * sizeof(uint16_t));
}

static inline void join_BF16(void *to, const float x[2 * BLOCK])
{
    narrow_BF16(to, x);
    narrow_BF16((char *)to + BLOCK * sizeof(uint16_t), x + BLOCK);
}

#endif

static inline void split_F16(float x[2 * BLOCK], const void *from)
{
    widen_F16(x, from);
    widen_F16(x + BLOCK, (const char *)from + BLOCK * sizeof(uint16_t));
}

static inline void join_F16(void *to, const float x[2 * BLOCK])
{
    narrow_F16(to, x);
    narrow_F16((char *)to + BLOCK * sizeof(uint16_t), x + BLOCK);
}

#endif
