/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of codec_block.cu as the fake device runs them: half a warp is a loop
 * over its lanes between two places where they meet.
 */
#include "gpu/codec_block.h"

#include "gpu/codec.h"
#include "gpu/images.h"

typedef struct dml__gpu_block_args args_t;

enum { LANES = DML__CODEC_LANES };

static args_t viewed(const void *args)
{
    args_t a = *(const args_t *)args;
    a.g = dml__gpu_view(a.g);
    a.e = dml__gpu_view(a.e);
    a.code = dml__gpu_view(a.code);
    a.dst = dml__gpu_view(a.dst);
    a.state = dml__gpu_view(a.state);
    return a;
}

/* As codec_block.cu does it; lane 0's are then the block's. */
static void fold_block(struct dml__gpu_block_sums s[LANES])
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) {
            s[j].plus += s[j + half].plus;
            s[j].minus += s[j + half].minus;
        }
    for (int j = 1; j < LANES; j++) {
        s->low = s[j].low < s->low ? s[j].low : s->low;
        s->high = s[j].high > s->high ? s[j].high : s->high;
        s->top = s[j].top > s->top ? s[j].top : s->top;
    }
}

static uint32_t put_signs(const args_t *a, uint64_t block,
                          float x[LANES][DML__CODEC_EACH])
{
    uint16_t *signs = dml__gpu_block_signs(a, block);
    uint32_t nplus = 0;
    for (unsigned i = 0; i < DML__CODEC_EACH; i++) {
        unsigned word = 0;
        for (unsigned lane = 0; lane < LANES; lane++)
            word |= (unsigned)(x[lane][i] >= 0) << lane;
        nplus += (uint32_t)__builtin_popcount(word);
        signs[i] = (uint16_t)word;
    }
    return nplus;
}

static void encode_block(const args_t *a, uint64_t block, bool clear)
{
    const bool levels = a->kind == DML__GPU_EIGHTBIT;
    float x[LANES][DML__CODEC_EACH], head[2];
    struct dml__gpu_block_sums sums[LANES];
    for (unsigned lane = 0; lane < LANES; lane++) {
        dml__gpu_block_load(x[lane], a, block, lane, clear);
        sums[lane] = dml__gpu_block_sum(x[lane]);
    }
    fold_block(sums);
    dml__gpu_block_head(a, block, sums, levels ? 0 : put_signs(a, block, x), head);
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (levels)
            dml__gpu_block_levels(a, block, lane, head, x[lane]);
        else
            dml__gpu_block_subtract(head, x[lane]);
        dml__gpu_block_keep(a, block, lane, x[lane]);
    }
    dml__gpu_block_put_head(a, block, head);
    if (sums->top > a->state->top)
        a->state->top = sums->top;
}

static void encode(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    const uint64_t nblocks = (a.n + DML__CODEC_BLOCK - 1) / DML__CODEC_BLOCK;
    const bool clear = a.state->clear != 0;
    (void)blocks;
    for (uint64_t block = 0; block < nblocks; block++)
        encode_block(&a, block, clear);
    dml__gpu_codec_judge(a.state, a.step);
}

static void encode_casts(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    const bool clear = a.state->clear != 0;
    (void)blocks;
    for (uint64_t i = 0; i < a.n; i++) {
        const float x = dml__gpu_sum(a.g, a.e, a.n, i, clear);
        const uint32_t bits = dml__f32_magnitude(x);
        dml__gpu_cast_store(&a, i, x);
        a.state->top = bits > a.state->top ? bits : a.state->top;
    }
    dml__gpu_codec_judge(a.state, a.step);
}

static void decode(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    float head[2] = {0, 0};
    (void)blocks;
    for (uint64_t i = 0; i < a.n; i++) {
        const uint64_t block = i / DML__CODEC_BLOCK;
        if (i % DML__CODEC_BLOCK == 0)
            dml__gpu_block_scaled(&a, a.kind, block, head);
        const float x = dml__gpu_block_value(&a, a.kind, block, head,
                                             (uint32_t)(i % DML__CODEC_BLOCK));
        a.dst[i] = a.add ? a.dst[i] + x : x;
    }
}

static void flush(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t i = 0; i < a.n; i++)
        dml__gpu_codec_flush(&a, i);
}

const struct dml_gpu_kernel dml__codec_kernel_encode_blocks = {
    "dml__codec_encode_blocks", DML__IMAGE(codec_block), 128, encode};
const struct dml_gpu_kernel dml__codec_kernel_encode_casts = {
    "dml__codec_encode_casts", DML__IMAGE(codec_block), 256, encode_casts};
const struct dml_gpu_kernel dml__codec_kernel_decode_blocks = {
    "dml__codec_decode_blocks", DML__IMAGE(codec_block), 256, decode};
const struct dml_gpu_kernel dml__codec_kernel_flush = {
    "dml__codec_flush", DML__IMAGE(codec_block), 256, flush};
