/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codes of blocks of 1,024 elements. A block of g and e fits the first-level cache, so
 * the second look at it, which the block's own means or range need, is free, and memory
 * is passed over once. A last, shorter block is copied to one padded with zeros.
 * Included once by codec_set.c.
 */
#ifndef DML__CODEC_BLOCKS_H
#define DML__CODEC_BLOCKS_H

#include "kernels/codec_lanes.h"

enum { BLOCK_LENGTH = DML__CODEC_BLOCK, GROUPS = BLOCK_LENGTH / LANES };

/* One block; the elements from m on are padding. Returns the largest magnitude. */
typedef uint32_t block_encode_fn(size_t m, const float *g, float *e,
                                 unsigned char *code);
typedef void block_decode_fn(const unsigned char *code, float scale, bool add,
                             float *dst);

static inline uint32_t encode_blocks(size_t n, const float *g, float *e,
                                     unsigned char *code, size_t block_bytes,
                                     block_encode_fn *encode)
{
    uint32_t top = 0, found;
    for (; n >= BLOCK_LENGTH; n -= BLOCK_LENGTH) {
        found = encode(BLOCK_LENGTH, g, e, code);
        top = found > top ? found : top;
        g += BLOCK_LENGTH;
        e += BLOCK_LENGTH;
        code += block_bytes;
    }
    if (n > 0) {
        float last_g[BLOCK_LENGTH] = {0}, last_e[BLOCK_LENGTH] = {0};
        memcpy(last_g, g, n * sizeof *g);
        memcpy(last_e, e, n * sizeof *e);
        found = encode(n, last_g, last_e, code);
        top = found > top ? found : top;
        memcpy(e, last_e, n * sizeof *e);
    }
    return top;
}

static inline void decode_blocks(size_t n, const unsigned char *code, float scale,
                                 bool add, float *dst, size_t block_bytes,
                                 block_decode_fn *decode)
{
    for (; n >= BLOCK_LENGTH; n -= BLOCK_LENGTH) {
        decode(code, scale, add, dst);
        dst += BLOCK_LENGTH;
        code += block_bytes;
    }
    if (n > 0) {
        float last[BLOCK_LENGTH] = {0};
        memcpy(last, dst, n * sizeof *dst);
        decode(code, scale, add, last);
        memcpy(dst, last, n * sizeof *dst);
    }
}

/* dst = x, or dst += x. */
static inline void put_lanes(float *dst, const float x[LANES], bool add)
{
    if (add) {
        INDEPENDENT
        for (int j = 0; j < LANES; j++)
            dst[j] += x[j];
    } else {
        memcpy(dst, x, LANES * sizeof *x);
    }
}

/* ---- one bit an element ------------------------------------------------------------
 */

/* What a block of signs is summed up to. */
struct halves {
    float plus, minus; /* sums of the elements >= 0, and of the others */
    size_t nplus;      /* padding included */
    uint32_t top;
};

/* e = g + e, and the signs of it. */
static inline struct halves split_signs(const float *g, float *e, unsigned char *bits)
{
    float plus[LANES] = {0}, minus[LANES] = {0};
    uint32_t top[LANES] = {0};
    struct halves h = {0};
    for (size_t i = 0; i < GROUPS; i++) {
        float p[LANES];
        INDEPENDENT
        for (int j = 0; j < LANES; j++) {
            float x = g[j] + e[j];
            p[j] = x;
            e[j] = x;
            plus[j] += x >= 0 ? x : 0;
            minus[j] += x >= 0 ? 0 : x;
            top[j] = magnitude(x) > top[j] ? magnitude(x) : top[j];
        }
        uint16_t signs = (uint16_t)not_negative(p);
        memcpy(bits + i * sizeof signs, &signs, sizeof signs);
        h.nplus += count_bits(signs);
        g += LANES;
        e += LANES;
    }
    h.plus = sum_lanes(plus);
    h.minus = sum_lanes(minus);
    h.top = max_lanes(top);
    return h;
}

/* e -= the element's mean. */
static inline void subtract_means(float *e, const unsigned char *bits, float plus,
                                  float minus)
{
    for (size_t i = 0; i < GROUPS; i++) {
        float mean[LANES];
        uint16_t signs;
        memcpy(&signs, bits + i * sizeof signs, sizeof signs);
        pick(mean, signs, plus, minus);
        INDEPENDENT
        for (int j = 0; j < LANES; j++)
            e[j] -= mean[j];
        e += LANES;
    }
}

static inline void expand_means(const unsigned char *bits, float plus, float minus,
                                bool add, float *dst)
{
    for (size_t i = 0; i < GROUPS; i++) {
        float mean[LANES];
        uint16_t signs;
        memcpy(&signs, bits + i * sizeof signs, sizeof signs);
        pick(mean, signs, plus, minus);
        put_lanes(dst + i * LANES, mean, add);
    }
}

/* Code: mean of the elements >= 0, mean of the others (0 where there are none), signs.
 */
static inline uint32_t onebit_encode_block(size_t m, const float *g, float *e,
                                           unsigned char *code)
{
    float mean[2];
    struct halves h = split_signs(g, e, code + sizeof mean);
    size_t nplus = h.nplus - (BLOCK_LENGTH - m);
    mean[0] = nplus > 0 ? h.plus / (float)nplus : 0;
    mean[1] = nplus < m ? h.minus / (float)(m - nplus) : 0;
    memcpy(code, mean, sizeof mean);
    subtract_means(e, code + sizeof mean, mean[0], mean[1]);
    return h.top;
}

static inline void onebit_decode_block(const unsigned char *code, float scale, bool add,
                                       float *dst)
{
    float mean[2];
    memcpy(mean, code, sizeof mean);
    expand_means(code + sizeof mean, mean[0] * scale, mean[1] * scale, add, dst);
}

/* Code: mean magnitude, signs. */
static inline uint32_t sign_encode_block(size_t m, const float *g, float *e,
                                         unsigned char *code)
{
    float mean;
    struct halves h = split_signs(g, e, code + sizeof mean);
    mean = (h.plus - h.minus) / (float)m;
    memcpy(code, &mean, sizeof mean);
    subtract_means(e, code + sizeof mean, mean, -mean);
    return h.top;
}

static inline void sign_decode_block(const unsigned char *code, float scale, bool add,
                                     float *dst)
{
    float mean;
    memcpy(&mean, code, sizeof mean);
    expand_means(code + sizeof mean, mean * scale, -mean * scale, add, dst);
}

/* ---- 256 levels --------------------------------------------------------------------
 */

/* e = g + e; its least and largest element. */
static inline uint32_t range_of(const float *g, float *e, float *least, float *most)
{
    float low[LANES], high[LANES];
    uint32_t top[LANES] = {0};
    for (int j = 0; j < LANES; j++)
        low[j] = high[j] = g[j] + e[j];
    for (size_t i = 0; i < GROUPS; i++) {
        INDEPENDENT
        for (int j = 0; j < LANES; j++) {
            float x = g[j] + e[j];
            e[j] = x;
            low[j] = x < low[j] ? x : low[j];
            high[j] = x > high[j] ? x : high[j];
            top[j] = magnitude(x) > top[j] ? magnitude(x) : top[j];
        }
        g += LANES;
        e += LANES;
    }
    *least = low[0];
    *most = high[0];
    for (int j = 1; j < LANES; j++) {
        *least = low[j] < *least ? low[j] : *least;
        *most = high[j] > *most ? high[j] : *most;
    }
    return max_lanes(top);
}

/*
 * Code: the least element, the step between levels, levels. Padding widens the range to
 * 0, which costs the last block a little precision. A range so small that its inverse
 * overflows is one level.
 */
static inline uint32_t minmax_encode_block(size_t m, const float *g, float *e,
                                           unsigned char *code)
{
    float range[2], least, most;
    (void)m;
    uint32_t top = range_of(g, e, &least, &most);
    float step = (most - least) / 255, inverse = 1 / step;
    if (!(step >= 0x1p-126f)) {
        step = 0;
        inverse = 0;
    }
    range[0] = least;
    range[1] = step;
    memcpy(code, range, sizeof range);
    unsigned char *level = code + sizeof range;
    INDEPENDENT
    for (int i = 0; i < BLOCK_LENGTH; i++) {
        float place = (e[i] - least) * inverse + 0.5f;
        place = place < 255.5f ? place : 255; /* NaN too: it must become an integer */
        int nearest = (int)place;
        level[i] = (unsigned char)nearest;
        e[i] -= least + (float)nearest * step;
    }
    return top;
}

static inline void minmax_decode_block(const unsigned char *code, float scale, bool add,
                                       float *dst)
{
    float range[2];
    memcpy(range, code, sizeof range);
    const float least = range[0] * scale, step = range[1] * scale;
    const unsigned char *level = code + sizeof range;
    if (add) {
        INDEPENDENT
        for (int i = 0; i < BLOCK_LENGTH; i++)
            dst[i] += least + (float)(int)level[i] * step;
    } else {
        INDEPENDENT
        for (int i = 0; i < BLOCK_LENGTH; i++)
            dst[i] = least + (float)(int)level[i] * step;
    }
}

/* ---- whole vectors -----------------------------------------------------------------
 */

static uint32_t onebit_encode(size_t n, const float *g, float *e, void *code)
{
    return encode_blocks(n, g, e, code, DML__ONEBIT_BYTES, onebit_encode_block);
}

static void onebit_decode(size_t n, const void *code, float scale, bool add, float *dst)
{
    decode_blocks(n, code, scale, add, dst, DML__ONEBIT_BYTES, onebit_decode_block);
}

static uint32_t sign_encode(size_t n, const float *g, float *e, void *code)
{
    return encode_blocks(n, g, e, code, DML__SIGN_BYTES, sign_encode_block);
}

static void sign_decode(size_t n, const void *code, float scale, bool add, float *dst)
{
    decode_blocks(n, code, scale, add, dst, DML__SIGN_BYTES, sign_decode_block);
}

static uint32_t minmax_encode(size_t n, const float *g, float *e, void *code)
{
    return encode_blocks(n, g, e, code, DML__MINMAX_BYTES, minmax_encode_block);
}

static void minmax_decode(size_t n, const void *code, float scale, bool add, float *dst)
{
    decode_blocks(n, code, scale, add, dst, DML__MINMAX_BYTES, minmax_decode_block);
}

#endif
