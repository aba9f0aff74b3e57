/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC32C of long pieces by products without carries on 64 bytes at a time. 256 bytes in
 * four registers are moved 256 bytes on, modulo the polynomial, and what stands there
 * is added; at the end the four become one, whose 64 bytes have the same checksum as
 * all before. x^D moves a word D bits on: each half of 16 bytes has its own factor,
 * x^(D+63) and x^(D-1), since bits are reversed and a product is one bit short. Source:
 * Gopal et al., Fast CRC computation for generic polynomials using PCLMULQDQ
 * instruction, Intel 2009.
 *
 * Not all processors with AVX-512 have the instruction: callers must ask.
 */

#define FOLD_LEAST 1024 /* shorter pieces gain nothing */

/* x^(D+63) and x^(D-1) modulo the polynomial, bits reversed, in the upper half. */
#define FOLD_512_LOW   UINT64_C(0x1c19243b00000000)
#define FOLD_512_HIGH  UINT64_C(0x75bba45b00000000)
#define FOLD_2048_LOW  UINT64_C(0xe9a5d8be00000000)
#define FOLD_2048_HIGH UINT64_C(0x1426a81500000000)

#define WITH_FOLD __attribute__((target("vpclmulqdq")))

/* x moved on, and the bytes there added. */
WITH_FOLD static inline __m512i fold(__m512i x, __m512i factors, __m512i there)
{
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, factors, 0x00),
                                     _mm512_clmulepi64_epi128(x, factors, 0x11), there,
                                     0x96);
}

/* n is a multiple of 256 and not 0. The checksum is without the inversions. */
WITH_FOLD static uint64_t crc_of_folds(uint64_t crc, const uint8_t *bytes, size_t n)
{
    const __m512i by_2048 = _mm512_broadcast_i32x4(
        _mm_set_epi64x((long long)FOLD_2048_HIGH, (long long)FOLD_2048_LOW));
    const __m512i by_512 = _mm512_broadcast_i32x4(
        _mm_set_epi64x((long long)FOLD_512_HIGH, (long long)FOLD_512_LOW));
    __m512i a =
        _mm512_xor_si512(_mm512_loadu_si512(bytes),
                         _mm512_zextsi128_si512(_mm_cvtsi64_si128((long long)crc)));
    __m512i b = _mm512_loadu_si512(bytes + 64);
    __m512i c = _mm512_loadu_si512(bytes + 128);
    __m512i d = _mm512_loadu_si512(bytes + 192);
    for (size_t i = 256; i < n; i += 256) {
        a = fold(a, by_2048, _mm512_loadu_si512(bytes + i));
        b = fold(b, by_2048, _mm512_loadu_si512(bytes + i + 64));
        c = fold(c, by_2048, _mm512_loadu_si512(bytes + i + 128));
        d = fold(d, by_2048, _mm512_loadu_si512(bytes + i + 192));
    }
    d = fold(fold(fold(a, by_512, b), by_512, c), by_512, d);
    uint64_t words[8], sum = 0;
    _mm512_storeu_si512(words, d);
    for (int i = 0; i < 8; i++)
        sum = _mm_crc32_u64(sum, words[i]);
    return sum;
}
