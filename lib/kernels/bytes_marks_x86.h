/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The search for marks, 64 bytes at a time: one bit per byte, and then the bits.
 */
#include <immintrin.h>

#ifdef __AVX512BW__
static inline uint64_t marks_of(const char *text, char delimiter)
{
    __m512i bytes = _mm512_loadu_si512(text);
    return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(delimiter)) |
           _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\n')) |
           _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')) |
           _mm512_testn_epi8_mask(bytes, bytes);
}
#else
static inline uint64_t marks_of_half(const char *text, char delimiter)
{
    __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)text);
    __m256i marks = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(delimiter));
    marks = _mm256_or_si256(marks, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\n')));
    marks = _mm256_or_si256(marks, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')));
    marks = _mm256_or_si256(marks, _mm256_cmpeq_epi8(bytes, _mm256_setzero_si256()));
    return (uint32_t)_mm256_movemask_epi8(marks);
}

static inline uint64_t marks_of(const char *text, char delimiter)
{
    return marks_of_half(text, delimiter) | marks_of_half(text + 32, delimiter) << 32;
}
#endif

static size_t find_marks(const char *text, size_t n, char delimiter, uint32_t *at)
{
    size_t count = 0, i = 0;
    for (; i + 64 <= n; i += 64)
        for (uint64_t marks = marks_of(text + i, delimiter); marks != 0;
             marks &= marks - 1)
            at[count++] = (uint32_t)i + (uint32_t)__builtin_ctzll(marks);
    for (; i < n; i++)
        if (text[i] == delimiter || text[i] == '\n' || text[i] == '"' ||
            text[i] == '\0')
            at[count++] = (uint32_t)i;
    return count;
}
