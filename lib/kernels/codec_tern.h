/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TernGrad: an element becomes -s, 0 or s, at random, so that it is right in the mean
 * (Wen et al., NIPS 2017). Included once by codec_set.c, after codec_blocks.h.
 *
 * Code of a block: s, then for sixteen elements 16 bits "not zero" and 16 bits
 * "negative". Random numbers are hashes of the element's index under a key that Philox
 * draws for each call: they depend on nothing else.
 */
#ifndef DML__CODEC_TERN_H
#define DML__CODEC_TERN_H

#include "core/philox.h"
#include "kernels/codec_blocks.h"

static inline float tern_scale_block(size_t m, const float *g, float clip,
                                     uint32_t *largest)
{
    lanes squares = all(0);
    words tops = no_words();
    for (size_t i = 0; i < GROUPS; i++) {
        lanes x = load(g + i * LANES);
        squares = add(squares, mul(x, x));
        tops = top(tops, x);
    }
    *largest = top_of(tops);
    return dml__tern_scale(*largest, sum_of(squares), (uint32_t)m, clip);
}

static uint32_t tern_scales(size_t n, const float *g, float clip, float *scales)
{
    uint32_t largest = 0, found;
    for (; n >= BLOCK_LENGTH; n -= BLOCK_LENGTH) {
        *scales++ = tern_scale_block(BLOCK_LENGTH, g, clip, &found);
        largest = found > largest ? found : largest;
        g += BLOCK_LENGTH;
    }
    if (n > 0) {
        float last[BLOCK_LENGTH] = {0};
        memcpy(last, g, n * sizeof *g);
        *scales = tern_scale_block(n, last, clip, &found);
        largest = found > largest ? found : largest;
    }
    return largest;
}

static inline void tern_encode_block(const float *g, float scale, uint32_t key,
                                     unsigned char *code)
{
    const uint32_t step = DML__TERN_STEP;
    memcpy(code, &scale, sizeof scale);
    code += sizeof scale;
    const lanes unit = all(scale * 0x1p-24f), zero = all(0);
    for (uint32_t i = 0; i < GROUPS; i++) {
        lanes x = load(g + (size_t)i * LANES);
        lanes chance = mul(draw(key + i * LANES * step, step), unit);
        uint16_t bits[2] = {(uint16_t)~reaches(chance, absolute(x)),
                            (uint16_t)~reaches(x, zero)};
        memcpy(code + i * sizeof bits, bits, sizeof bits);
    }
}

static void tern_encode(size_t n, const float *g, const float *scales,
                        const struct dml__draw *numbers, void *code)
{
    unsigned char *to = code;
    uint32_t random[4];
    dml__philox(numbers->seed, numbers->stream, numbers->step, random);
    for (uint32_t block = 0; n > 0; block++) {
        const uint32_t key = dml__tern_key(random, block);
        if (n < BLOCK_LENGTH) {
            float last[BLOCK_LENGTH] = {0};
            memcpy(last, g, n * sizeof *g);
            tern_encode_block(last, scales[block], key, to);
            break;
        }
        tern_encode_block(g, scales[block], key, to);
        g += BLOCK_LENGTH;
        to += DML__TERN_BYTES;
        n -= BLOCK_LENGTH;
    }
}

static inline void tern_decode_block(const unsigned char *code, float scale,
                                     bool to_add, float *dst)
{
    float value;
    memcpy(&value, code, sizeof value);
    code += sizeof value;
    const lanes plus = all(value * scale), minus = all(-value * scale), zero = all(0);
    for (size_t i = 0; i < GROUPS; i++) {
        uint16_t bits[2];
        memcpy(bits, code + i * sizeof bits, sizeof bits);
        put(dst + i * LANES, pick(bits[0], pick(bits[1], minus, plus), zero), to_add);
    }
}

static void tern_decode(size_t n, const void *code, float scale, bool to_add,
                        float *dst)
{
    decode_blocks(n, code, scale, to_add, dst, DML__TERN_BYTES, tern_decode_block);
}

#endif
