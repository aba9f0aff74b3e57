/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TernGrad on a device, as one lane of a half-warp sees it: the blocks and their
 * sixteen partial sums are those of codec_block.h, scales and random numbers those of
 * kernels/tern_rules.h, and codes have the host's bits.
 *
 *     scales   of each block; between this and the next the ranks take their maxima
 *     encode   the scale, and for sixteen elements 16 bits "not zero" and 16 "negative"
 *     decode   a warp has a block
 */
#ifndef DML__GPU_CODEC_TERN_H
#define DML__GPU_CODEC_TERN_H

#include "gpu/codec_block.h"
#include "kernels/tern_rules.h"

enum { DML__TERN_WORDS = DML__TERN_BYTES / 4 }; /* of a block's code */

struct dml__gpu_tern_args {
    const float *g; /* [n] scales, encode */
    float *scales;  /* [blocks] written by scales, read by encode */
    uint32_t *code; /* [blocks * DML__TERN_WORDS] */
    float *dst;     /* [n] decode */
    uint64_t n, step;
    float clip, scale;
    uint32_t random[2]; /* of this code */
    uint32_t add;
    struct dml__gpu_codec_state *state; /* scales */
};

/* Element i of a lane; 0 past the end. */
DML__LANE float dml__tern_load(const struct dml__gpu_tern_args *a, uint64_t block,
                               unsigned lane, unsigned i)
{
    const uint64_t at = block * DML__CODEC_BLOCK + i * DML__CODEC_LANES + lane;
    return at < a->n ? a->g[at] : 0;
}

/* What is drawn for element i of a lane, of a block with this scale and key. */
DML__LANE bool dml__tern_is_zero(float x, float scale, uint32_t key, unsigned lane,
                                 unsigned i)
{
    const uint32_t number = key + (i * DML__CODEC_LANES + lane) * DML__TERN_STEP;
    const float chance = (float)(dml__scramble(number) >> 8) * (scale * 0x1p-24f);
    return chance >= fabsf(x);
}

/* What a block sends, times scale: of a positive element, and of a negative one. */
DML__LANE void dml__tern_scaled(const struct dml__gpu_tern_args *a, uint64_t block,
                                float sent[2])
{
    const float value = dml__f32_from_bits(a->code[block * DML__TERN_WORDS]);
    sent[0] = value * a->scale;
    sent[1] = -value * a->scale;
}

/* Element "at" of a block of a code, times scale. */
DML__LANE float dml__tern_value(const struct dml__gpu_tern_args *a, uint64_t block,
                                const float sent[2], uint32_t at)
{
    const uint32_t *words = a->code + block * DML__TERN_WORDS + 1;
    const uint32_t bits = words[at / DML__CODEC_LANES] >> at % DML__CODEC_LANES;
    const float x = (bits >> 16 & 1) != 0 ? sent[1] : sent[0];
    return (bits & 1) != 0 ? x : 0;
}

#endif
