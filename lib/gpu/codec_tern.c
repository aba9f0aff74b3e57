/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of codec_tern.cu as the fake device runs them.
 */
#include "gpu/codec_tern.h"

#include "gpu/codec.h"
#include "gpu/images.h"

typedef struct dml__gpu_tern_args args_t;

enum { LANES = DML__CODEC_LANES };

static args_t viewed(const void *args)
{
    args_t a = *(const args_t *)args;
    a.g = dml__gpu_view(a.g);
    a.scales = dml__gpu_view(a.scales);
    a.code = dml__gpu_view(a.code);
    a.dst = dml__gpu_view(a.dst);
    a.state = dml__gpu_view(a.state);
    return a;
}

static void scale_block(const args_t *a, uint64_t block)
{
    float sums[LANES] = {0};
    uint32_t top = 0;
    for (unsigned i = 0; i < DML__CODEC_EACH; i++)
        for (unsigned lane = 0; lane < LANES; lane++) {
            const float x = dml__tern_load(a, block, lane, i);
            const uint32_t bits = dml__f32_magnitude(x);
            sums[lane] += x * x;
            top = bits > top ? bits : top;
        }
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            sums[j] += sums[j + half];
    a->scales[block] =
        dml__tern_scale(top, sums[0], dml__gpu_block_length(a->n, block), a->clip);
    if (top > a->state->top)
        a->state->top = top;
}

static void scales(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t block = 0; block * DML__CODEC_BLOCK < a.n; block++)
        scale_block(&a, block);
    dml__gpu_codec_judge(a.state, a.step);
}

static void encode(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t block = 0; block * DML__CODEC_BLOCK < a.n; block++) {
        const uint32_t key = dml__tern_key(a.random, (uint32_t)block);
        uint32_t *code = a.code + block * DML__TERN_WORDS;
        code[0] = dml__f32_bits(a.scales[block]);
        for (unsigned i = 0; i < DML__CODEC_EACH; i++) {
            uint32_t word = 0;
            for (unsigned lane = 0; lane < LANES; lane++) {
                const float x = dml__tern_load(&a, block, lane, i);
                word |= (uint32_t)!dml__tern_is_zero(x, a.scales[block], key, lane, i)
                            << lane |
                        (uint32_t) !(x >= 0) << (LANES + lane);
            }
            code[1 + i] = word;
        }
    }
}

static void decode(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t i = 0; i < a.n; i++) {
        const uint64_t block = i / DML__CODEC_BLOCK;
        float sent[2];
        dml__tern_scaled(&a, block, sent);
        const float x =
            dml__tern_value(&a, block, sent, (uint32_t)(i % DML__CODEC_BLOCK));
        a.dst[i] = a.add ? a.dst[i] + x : x;
    }
}

const struct dml_gpu_kernel dml__tern_kernel_scales = {
    "dml__tern_scales", DML__IMAGE(codec_tern), 128, scales};
const struct dml_gpu_kernel dml__tern_kernel_encode = {
    "dml__tern_encode", DML__IMAGE(codec_tern), 128, encode};
const struct dml_gpu_kernel dml__tern_kernel_decode = {
    "dml__tern_decode_all", DML__IMAGE(codec_tern), 256, decode};
