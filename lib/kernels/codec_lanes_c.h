/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * codec_lanes.h in plain C: the reference.
 */
#ifndef DML__CODEC_LANES_C_H
#define DML__CODEC_LANES_C_H

typedef struct lanes {
    float at[LANES];
} lanes;

typedef struct words {
    uint32_t at[LANES];
} words;

static inline lanes load(const float *x)
{
    lanes y;
    memcpy(y.at, x, sizeof y.at);
    return y;
}

static inline void store(float *to, lanes x)
{
    memcpy(to, x.at, sizeof x.at);
}

static inline lanes all(float x)
{
    lanes y;
    for (int j = 0; j < LANES; j++)
        y.at[j] = x;
    return y;
}

static inline lanes add(lanes x, lanes y)
{
    for (int j = 0; j < LANES; j++)
        x.at[j] = x.at[j] + y.at[j];
    return x;
}

static inline lanes sub(lanes x, lanes y)
{
    for (int j = 0; j < LANES; j++)
        x.at[j] = x.at[j] - y.at[j];
    return x;
}

static inline lanes mul(lanes x, lanes y)
{
    for (int j = 0; j < LANES; j++)
        x.at[j] = x.at[j] * y.at[j];
    return x;
}

static inline lanes least(lanes x, lanes y)
{
    for (int j = 0; j < LANES; j++)
        x.at[j] = x.at[j] < y.at[j] ? x.at[j] : y.at[j];
    return x;
}

static inline lanes most(lanes x, lanes y)
{
    for (int j = 0; j < LANES; j++)
        x.at[j] = x.at[j] > y.at[j] ? x.at[j] : y.at[j];
    return x;
}

static inline lanes absolute(lanes x)
{
    for (int j = 0; j < LANES; j++)
        x.at[j] = fabsf(x.at[j]);
    return x;
}

/* Bit j: x[j] >= y[j]. */
static inline uint32_t reaches(lanes x, lanes y)
{
    uint32_t bits = 0;
    for (int j = 0; j < LANES; j++)
        bits |= (uint32_t)(x.at[j] >= y.at[j]) << j;
    return bits;
}

/* x[j] where bit j is set, else y[j]. */
static inline lanes pick(uint32_t bits, lanes x, lanes y)
{
    for (int j = 0; j < LANES; j++)
        x.at[j] = (bits >> j & 1u) != 0 ? x.at[j] : y.at[j];
    return x;
}

static inline words no_words(void)
{
    return (words){{0}};
}

/* The larger of w and the bits of |x|. */
static inline words top(words w, lanes x)
{
    for (int j = 0; j < LANES; j++) {
        uint32_t bits = dml__f32_bits(x.at[j]) & 0x7fffffffu;
        w.at[j] = bits > w.at[j] ? bits : w.at[j];
    }
    return w;
}

/* x, from 0 to 255 and cut to whole numbers, as bytes; returns the whole numbers. */
static inline lanes store_levels(unsigned char *to, lanes x)
{
    for (int j = 0; j < LANES; j++) {
        to[j] = (unsigned char)(int)x.at[j];
        x.at[j] = (float)to[j];
    }
    return x;
}

static inline lanes load_levels(const unsigned char *from)
{
    lanes x;
    for (int j = 0; j < LANES; j++)
        x.at[j] = (float)from[j];
    return x;
}

/* Hashes of key + 0, key + step ..., cut to 24 bits, as whole numbers. */
static inline lanes draw(uint32_t key, uint32_t step)
{
    lanes x;
    for (uint32_t j = 0; j < LANES; j++)
        x.at[j] = (float)(dml__scramble(key + j * step) >> 8);
    return x;
}

#endif
