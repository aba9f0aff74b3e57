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
typedef void block_decode_fn(const unsigned char *code, float scale, bool to_add,
                             float *dst);

static inline uint32_t encode_blocks(size_t n, const float *g, float *e,
                                     unsigned char *code, size_t block_bytes,
                                     block_encode_fn *encode)
{
    uint32_t largest = 0, found;
    for (; n >= BLOCK_LENGTH; n -= BLOCK_LENGTH) {
        found = encode(BLOCK_LENGTH, g, e, code);
        largest = found > largest ? found : largest;
        g += BLOCK_LENGTH;
        e += BLOCK_LENGTH;
        code += block_bytes;
    }
    if (n > 0) {
        float last_g[BLOCK_LENGTH] = {0}, last_e[BLOCK_LENGTH] = {0};
        memcpy(last_g, g, n * sizeof *g);
        memcpy(last_e, e, n * sizeof *e);
        found = encode(n, last_g, last_e, code);
        largest = found > largest ? found : largest;
        memcpy(e, last_e, n * sizeof *e);
    }
    return largest;
}

static inline void decode_blocks(size_t n, const unsigned char *code, float scale,
                                 bool to_add, float *dst, size_t block_bytes,
                                 block_decode_fn *decode)
{
    for (; n >= BLOCK_LENGTH; n -= BLOCK_LENGTH) {
        decode(code, scale, to_add, dst);
        dst += BLOCK_LENGTH;
        code += block_bytes;
    }
    if (n > 0) {
        float last[BLOCK_LENGTH] = {0};
        memcpy(last, dst, n * sizeof *dst);
        decode(code, scale, to_add, last);
        memcpy(dst, last, n * sizeof *dst);
    }
}

/* dst = x, or dst += x. */
static inline void put(float *dst, lanes x, bool to_add)
{
    store(dst, to_add ? add(load(dst), x) : x);
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
    const lanes zero = all(0);
    lanes plus = zero, minus = zero;
    words tops = no_words();
    struct halves h = {0};
    for (size_t i = 0; i < GROUPS; i++) {
        lanes x = add(load(g + i * LANES), load(e + i * LANES));
        store(e + i * LANES, x);
        plus = add(plus, most(x, zero));
        minus = add(minus, least(x, zero));
        tops = top(tops, x);
        uint16_t signs = (uint16_t)reaches(x, zero);
        memcpy(bits + i * sizeof signs, &signs, sizeof signs);
        h.nplus += count_bits(signs);
    }
    h.plus = sum_of(plus);
    h.minus = sum_of(minus);
    h.top = top_of(tops);
    return h;
}

static inline lanes mean_of(const unsigned char *bits, size_t group, lanes plus,
                            lanes minus)
{
    uint16_t signs;
    memcpy(&signs, bits + group * sizeof signs, sizeof signs);
    return pick(signs, plus, minus);
}

/* e -= the element's mean. */
static inline void subtract_means(float *e, const unsigned char *bits, float plus,
                                  float minus)
{
    const lanes p = all(plus), m = all(minus);
    for (size_t i = 0; i < GROUPS; i++)
        store(e + i * LANES, sub(load(e + i * LANES), mean_of(bits, i, p, m)));
}

static inline void expand_means(const unsigned char *bits, float plus, float minus,
                                bool to_add, float *dst)
{
    const lanes p = all(plus), m = all(minus);
    for (size_t i = 0; i < GROUPS; i++)
        put(dst + i * LANES, mean_of(bits, i, p, m), to_add);
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

static inline void onebit_decode_block(const unsigned char *code, float scale,
                                       bool to_add, float *dst)
{
    float mean[2];
    memcpy(mean, code, sizeof mean);
    expand_means(code + sizeof mean, mean[0] * scale, mean[1] * scale, to_add, dst);
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

static inline void sign_decode_block(const unsigned char *code, float scale,
                                     bool to_add, float *dst)
{
    float mean;
    memcpy(&mean, code, sizeof mean);
    expand_means(code + sizeof mean, mean * scale, -mean * scale, to_add, dst);
}

/* ---- 256 levels --------------------------------------------------------------------
 */

/* e = g + e; its least and largest element. */
static inline uint32_t range_of(const float *g, float *e, float *low, float *high)
{
    lanes lows = add(load(g), load(e)), highs = lows;
    words tops = no_words();
    float ends[2][LANES];
    for (size_t i = 0; i < GROUPS; i++) {
        lanes x = add(load(g + i * LANES), load(e + i * LANES));
        store(e + i * LANES, x);
        lows = least(x, lows);
        highs = most(x, highs);
        tops = top(tops, x);
    }
    store(ends[0], lows);
    store(ends[1], highs);
    *low = ends[0][0];
    *high = ends[1][0];
    for (int j = 1; j < LANES; j++) {
        *low = ends[0][j] < *low ? ends[0][j] : *low;
        *high = ends[1][j] > *high ? ends[1][j] : *high;
    }
    return top_of(tops);
}

/* The second look at a block has so much to reckon that memory would be idle: meanwhile
 * group i of the next block comes into the cache. Addresses past the end do no harm. */
static inline void fetch_ahead(const float *g, const float *e, size_t i)
{
    __builtin_prefetch(g + BLOCK_LENGTH + i * LANES);
    __builtin_prefetch(e + BLOCK_LENGTH + i * LANES, 1);
}

/*
 * Code: the least element, the step between levels, levels. Padding widens the range to
 * 0, which costs the last block a little precision. A range so small that its inverse
 * overflows is one level.
 */
static inline uint32_t eightbit_encode_block(size_t m, const float *g, float *e,
                                             unsigned char *code)
{
    float range[2], high;
    (void)m;
    uint32_t found = range_of(g, e, &range[0], &high);
    range[1] = (high - range[0]) / 255;
    bool one_level = !(range[1] >= 0x1p-126f);
    range[1] = one_level ? 0 : range[1];
    memcpy(code, range, sizeof range);
    code += sizeof range;
    const lanes base = all(range[0]), step = all(range[1]);
    const lanes inverse = all(one_level ? 0 : 1 / range[1]);
    const lanes half = all(0.5f), last = all(255);
    for (size_t i = 0; i < GROUPS; i++) {
        fetch_ahead(g, e, i);
        lanes x = load(e + i * LANES);
        /* NaN is cut to the last level too: it must become an integer. */
        lanes place = least(add(mul(sub(x, base), inverse), half), last);
        lanes level = store_levels(code + i * LANES, place);
        store(e + i * LANES, sub(x, add(base, mul(level, step))));
    }
    return found;
}

static inline void eightbit_decode_block(const unsigned char *code, float scale,
                                         bool to_add, float *dst)
{
    float range[2];
    memcpy(range, code, sizeof range);
    code += sizeof range;
    const lanes base = all(range[0] * scale), step = all(range[1] * scale);
    for (size_t i = 0; i < GROUPS; i++)
        put(dst + i * LANES, add(base, mul(load_levels(code + i * LANES), step)),
            to_add);
}

/* ---- whole vectors -----------------------------------------------------------------
 */

static uint32_t onebit_encode(size_t n, const float *g, float *e, void *code)
{
    return encode_blocks(n, g, e, code, DML__ONEBIT_BYTES, onebit_encode_block);
}

static void onebit_decode(size_t n, const void *code, float scale, bool to_add,
                          float *dst)
{
    decode_blocks(n, code, scale, to_add, dst, DML__ONEBIT_BYTES, onebit_decode_block);
}

static uint32_t sign_encode(size_t n, const float *g, float *e, void *code)
{
    return encode_blocks(n, g, e, code, DML__SIGN_BYTES, sign_encode_block);
}

static void sign_decode(size_t n, const void *code, float scale, bool to_add,
                        float *dst)
{
    decode_blocks(n, code, scale, to_add, dst, DML__SIGN_BYTES, sign_decode_block);
}

static uint32_t eightbit_encode(size_t n, const float *g, float *e, void *code)
{
    return encode_blocks(n, g, e, code, DML__EIGHTBIT_BYTES, eightbit_encode_block);
}

static void eightbit_decode(size_t n, const void *code, float scale, bool to_add,
                            float *dst)
{
    decode_blocks(n, code, scale, to_add, dst, DML__EIGHTBIT_BYTES,
                  eightbit_decode_block);
}

#endif
