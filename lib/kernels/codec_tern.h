/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TernGrad: an element becomes -s, 0 or s, at random, so that it is right in the mean
 * (Wen et al., NIPS 2017). Included once by codec_set.c, after codec_blocks.h.
 *
 * Code of a block: s, then for sixteen elements 16 bits "not zero" and 16 bits
 * "negative". Random numbers come from a hash of the element's index under a key that
 * Philox draws for each block: they depend on nothing else.
 */
#ifndef DML__CODEC_TERN_H
#define DML__CODEC_TERN_H

#include "core/philox.h"
#include "kernels/codec_blocks.h"

/* Every bit of the result depends on every bit of x: two multiplications and shifts
 * (Wellons, "Prospecting for hash functions", 2018). */
static inline uint32_t scramble(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

static inline float tern_scale_block(size_t m, const float *g, float clip,
                                     uint32_t *largest)
{
    float squares[LANES] = {0};
    uint32_t top[LANES] = {0};
    for (size_t i = 0; i < GROUPS; i++) {
        INDEPENDENT
        for (int j = 0; j < LANES; j++) {
            float x = g[j];
            squares[j] += x * x;
            top[j] = magnitude(x) > top[j] ? magnitude(x) : top[j];
        }
        g += LANES;
    }
    *largest = max_lanes(top);
    float most = dml__f32_from_bits(*largest);
    /* The mean square of m numbers is at least 1/m of the largest square: this holds
     * where the squares of tiny elements vanish. */
    float deviation = sqrtf(sum_lanes(squares) / (float)m);
    float least = most / 32;
    float limit = clip * (deviation > least ? deviation : least);
    return clip > 0 && limit < most ? limit : most;
}

static uint32_t tern_scales(size_t n, const float *g, float clip, float *scales)
{
    uint32_t top = 0, found;
    for (; n >= BLOCK_LENGTH; n -= BLOCK_LENGTH) {
        *scales++ = tern_scale_block(BLOCK_LENGTH, g, clip, &found);
        top = found > top ? found : top;
        g += BLOCK_LENGTH;
    }
    if (n > 0) {
        float last[BLOCK_LENGTH] = {0};
        memcpy(last, g, n * sizeof *g);
        *scales = tern_scale_block(n, last, clip, &found);
        top = found > top ? found : top;
    }
    return top;
}

static inline void tern_encode_block(const float *g, float scale, uint32_t key,
                                     unsigned char *code)
{
    memcpy(code, &scale, sizeof scale);
    code += sizeof scale;
    const float unit = scale * 0x1p-24f;
    for (uint32_t i = 0; i < GROUPS; i++) {
        float draw[LANES], size[LANES], value[LANES];
        INDEPENDENT
        for (uint32_t j = 0; j < LANES; j++) {
            uint32_t number = scramble(key + (i * LANES + j) * 0x9e3779b9u);
            draw[j] = (float)(int32_t)(number >> 8) * unit;
            size[j] = fabsf(g[j]);
            value[j] = g[j];
        }
        uint16_t bits[2] = {(uint16_t)below(draw, size),
                            (uint16_t)~not_negative(value)};
        memcpy(code, bits, sizeof bits);
        code += sizeof bits;
        g += LANES;
    }
}

static void tern_encode(size_t n, const float *g, const float *scales,
                        const struct dml__draw *draw, void *code)
{
    unsigned char *to = code;
    uint32_t key[4];
    for (uint64_t block = 0; n > 0; block++) {
        dml__philox(draw->seed ^ draw->step << 32, draw->stream, block, key);
        if (n < BLOCK_LENGTH) {
            float last[BLOCK_LENGTH] = {0};
            memcpy(last, g, n * sizeof *g);
            tern_encode_block(last, scales[block], key[0], to);
            break;
        }
        tern_encode_block(g, scales[block], key[0], to);
        g += BLOCK_LENGTH;
        to += DML__TERN_BYTES;
        n -= BLOCK_LENGTH;
    }
}

static inline void tern_decode_block(const unsigned char *code, float scale, bool add,
                                     float *dst)
{
    float value;
    memcpy(&value, code, sizeof value);
    value *= scale;
    code += sizeof value;
    for (size_t i = 0; i < GROUPS; i++) {
        uint16_t bits[2];
        float plus[LANES], minus[LANES];
        memcpy(bits, code, sizeof bits);
        pick(plus, bits[0] & (uint32_t)~bits[1], value, 0);
        pick(minus, bits[0] & (uint32_t)bits[1], value, 0);
        INDEPENDENT
        for (int j = 0; j < LANES; j++)
            plus[j] -= minus[j];
        put_lanes(dst, plus, add);
        code += sizeof bits;
        dst += LANES;
    }
}

static void tern_decode(size_t n, const void *code, float scale, bool add, float *dst)
{
    decode_blocks(n, code, scale, add, dst, DML__TERN_BYTES, tern_decode_block);
}

#endif
