/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC32C by the processor's instruction, which takes 8 bytes a cycle but gives its
 * result only three cycles later: three pieces are therefore summed beside each other,
 * and their checksums joined. The checksum of a piece that n bytes follow is, by
 * linearity, multiplied with x^(8n) modulo the polynomial: one product without carries
 * by x^(8n-33), which the same instruction reduces. Source: Gopal et al., Fast CRC
 * computation for iSCSI polynomial using CRC32 instruction, Intel 2011.
 */
#include <immintrin.h>

#define LONG_PIECE  1024
#define SHORT_PIECE 128

/* x^(8n-33) modulo the polynomial, bits reversed. */
#define AFTER_128  0x0d3b6092u
#define AFTER_256  0xb9e02b86u
#define AFTER_1024 0x170076fau
#define AFTER_2048 0xa51b6135u

static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static uint64_t followed(uint64_t crc, uint32_t factor)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
                                           _mm_cvtsi32_si128((int)factor), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* Three pieces of "piece" bytes. */
static inline uint64_t three(uint64_t a, const uint8_t *bytes, size_t piece,
                             uint32_t after_two, uint32_t after_one)
{
    uint64_t b = 0, c = 0;
    for (size_t i = 0; i < piece; i += 8) {
        a = _mm_crc32_u64(a, word_at(bytes + i));
        b = _mm_crc32_u64(b, word_at(bytes + piece + i));
        c = _mm_crc32_u64(c, word_at(bytes + 2 * piece + i));
    }
    return followed(a, after_two) ^ followed(b, after_one) ^ c;
}

#ifdef __AVX512F__
#include "kernels/bytes_crc_fold.h"
#endif

static uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *bytes = data;
    uint64_t c = ~crc;
#ifdef __AVX512F__
    if (n >= FOLD_LEAST && __builtin_cpu_supports("vpclmulqdq")) {
        size_t folded = n / 256 * 256;
        c = crc_of_folds(c, bytes, folded);
        bytes += folded;
        n -= folded;
    }
#endif
    for (; n >= 3 * LONG_PIECE; bytes += 3 * LONG_PIECE, n -= 3 * LONG_PIECE)
        c = three(c, bytes, LONG_PIECE, AFTER_2048, AFTER_1024);
    for (; n >= 3 * SHORT_PIECE; bytes += 3 * SHORT_PIECE, n -= 3 * SHORT_PIECE)
        c = three(c, bytes, SHORT_PIECE, AFTER_256, AFTER_128);
    for (; n >= 8; bytes += 8, n -= 8)
        c = _mm_crc32_u64(c, word_at(bytes));
    uint32_t rest = (uint32_t)c;
    for (; n > 0; bytes++, n--)
        rest = _mm_crc32_u8(rest, *bytes);
    return ~rest;
}
