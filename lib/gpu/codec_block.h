/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codes of blocks of 1,024 elements on a device, as one lane of a half-warp sees them:
 * sixteen lanes take a block, as the sixteen partial sums of kernels/codec_blocks.h do,
 * whose codes these are, bit for bit. The lanes meet to fold sums and to gather signs,
 * by shuffles in codec_block.cu and in loops in codec_block.c.
 */
#ifndef DML__GPU_CODEC_BLOCK_H
#define DML__GPU_CODEC_BLOCK_H

#include "core/half.h"
#include "gpu/kernel_code.h"
#include "kernels/codec.h"

#include <math.h>
#include <string.h>

enum {
    DML__CODEC_LANES = 16,
    DML__CODEC_EACH = DML__CODEC_BLOCK / DML__CODEC_LANES, /* elements of a lane */
    DML__CAST_EACH = 8 /* that a lane rounds at a time, every 32nd */
};

/* Casts have no blocks: an element is a number of 16 bits. */
enum dml__gpu_block_kind {
    DML__GPU_ONEBIT,
    DML__GPU_SIGN,
    DML__GPU_EIGHTBIT,
    DML__GPU_F16,
    DML__GPU_BF16
};

/* What is kept on the device from code to code. */
struct dml__gpu_codec_state {
    uint32_t top;     /* largest magnitude of the code under way, as bits */
    uint32_t bad;     /* a code was unusable, and the host has not seen it */
    uint32_t clear;   /* the last one was: the residual counts as 0 */
    uint32_t tickets; /* blocks of a kernel that are done */
    uint64_t bad_step;
};

struct dml__gpu_block_args {
    const float *g;      /* [n] encode */
    float *e;            /* [n] encode */
    unsigned char *code; /* written, or (decode) read */
    float *dst;          /* [n] decode */
    uint64_t n, step;
    float scale;
    uint32_t add;
    enum dml__gpu_block_kind kind;
    struct dml__gpu_codec_state *state; /* encode */
};

DML__LANE bool dml__gpu_is_cast(enum dml__gpu_block_kind kind)
{
    return kind == DML__GPU_F16 || kind == DML__GPU_BF16;
}

DML__LANE uint64_t dml__gpu_code_bytes(enum dml__gpu_block_kind kind)
{
    return kind == DML__GPU_ONEBIT ? DML__ONEBIT_BYTES
           : kind == DML__GPU_SIGN ? DML__SIGN_BYTES
                                   : DML__EIGHTBIT_BYTES;
}

/* Element i of g + e, 0 past the end; e is not read after a code that was unusable. No
 * branch stands around both loads, so those of several elements go out at once. */
DML__LANE float dml__gpu_sum(const float *g, const float *e, uint64_t n, uint64_t i,
                             bool clear)
{
    const float rest = i < n && !clear ? e[i] : 0;
    return (i < n ? g[i] : 0) + rest;
}

/* What a lane knows of a block, then (in lane 0) what all know. */
struct dml__gpu_block_sums {
    float plus, minus; /* signs: sums of the elements >= 0, and of the others */
    float low, high;   /* levels */
    uint32_t top;
};

/* Elements of a block of n; 0 past the last. */
DML__LANE uint32_t dml__gpu_block_length(uint64_t n, uint64_t block)
{
    const uint64_t begin = block * DML__CODEC_BLOCK;
    const uint64_t left = begin < n ? n - begin : 0;
    return (uint32_t)(left < DML__CODEC_BLOCK ? left : DML__CODEC_BLOCK);
}

/* x = g + e of the lane's elements, 0 past the end; e alone is not read after a code
 * that was unusable. */
DML__LANE void dml__gpu_block_load(float x[DML__CODEC_EACH],
                                   const struct dml__gpu_block_args *a, uint64_t block,
                                   unsigned lane, bool clear)
{
    const uint32_t m = dml__gpu_block_length(a->n, block);
    const float *g = a->g + block * DML__CODEC_BLOCK;
    const float *e = a->e + block * DML__CODEC_BLOCK;
    DML__UNROLL
    for (uint32_t i = 0; i < DML__CODEC_EACH; i++) {
        const uint32_t at = i * DML__CODEC_LANES + lane;
        const float rest = at < m && !clear ? e[at] : 0;
        x[i] = (at < m ? g[at] : 0) + rest;
    }
}

DML__LANE struct dml__gpu_block_sums dml__gpu_block_sum(const float x[DML__CODEC_EACH])
{
    struct dml__gpu_block_sums s;
    s.plus = s.minus = 0;
    s.low = s.high = x[0];
    s.top = 0;
    DML__UNROLL
    for (unsigned i = 0; i < DML__CODEC_EACH; i++) {
        const uint32_t bits = dml__f32_magnitude(x[i]);
        s.plus += x[i] > 0 ? x[i] : 0;
        s.minus += x[i] < 0 ? x[i] : 0;
        s.low = x[i] < s.low ? x[i] : s.low;
        s.high = x[i] > s.high ? x[i] : s.high;
        s.top = bits > s.top ? bits : s.top;
    }
    return s;
}

/* Two numbers of the code's head, from the folded sums: means, or least level and step.
 * nplus: elements >= 0, padding among them. */
DML__LANE void dml__gpu_block_head(const struct dml__gpu_block_args *a, uint64_t block,
                                   const struct dml__gpu_block_sums *s, uint32_t nplus,
                                   float head[2])
{
    const uint32_t m = dml__gpu_block_length(a->n, block);
    nplus -= DML__CODEC_BLOCK - m;
    if (a->kind == DML__GPU_ONEBIT) {
        head[0] = nplus > 0 ? s->plus / (float)nplus : 0;
        head[1] = nplus < m ? s->minus / (float)(m - nplus) : 0;
    } else if (a->kind == DML__GPU_SIGN) {
        head[0] = (s->plus - s->minus) / (float)m;
        head[1] = -head[0];
    } else {
        head[0] = s->low;
        head[1] = (s->high - s->low) / 255;
        head[1] = head[1] >= 0x1p-126f ? head[1] : 0;
    }
}

/* Lane 0: the head into the code. */
DML__LANE void dml__gpu_block_put_head(const struct dml__gpu_block_args *a,
                                       uint64_t block, const float head[2])
{
    float *to = (float *)(a->code + block * dml__gpu_code_bytes(a->kind));
    to[0] = head[0];
    if (a->kind != DML__GPU_SIGN)
        to[1] = head[1];
}

DML__LANE uint16_t *dml__gpu_block_signs(const struct dml__gpu_block_args *a,
                                         uint64_t block)
{
    const uint64_t bytes = dml__gpu_code_bytes(a->kind);
    return (uint16_t *)(a->code + block * bytes + bytes - DML__CODEC_BLOCK / 8);
}

/* The lane's levels, and in x what the code leaves out. */
DML__LANE void dml__gpu_block_levels(const struct dml__gpu_block_args *a,
                                     uint64_t block, unsigned lane, const float head[2],
                                     float x[DML__CODEC_EACH])
{
    unsigned char *levels = a->code + block * DML__EIGHTBIT_BYTES + 8;
    const float inverse = head[1] > 0 ? 1 / head[1] : 0;
    DML__UNROLL
    for (unsigned i = 0; i < DML__CODEC_EACH; i++) {
        float place = (x[i] - head[0]) * inverse + 0.5f;
        place = place < 255 ? place : 255; /* NaN too: it must become an integer */
        const int level = (int)place;
        levels[i * DML__CODEC_LANES + lane] = (unsigned char)level;
        x[i] = x[i] - (head[0] + (float)level * head[1]);
    }
}

/* In x what signs and means leave out. */
DML__LANE void dml__gpu_block_subtract(const float head[2], float x[DML__CODEC_EACH])
{
    DML__UNROLL
    for (unsigned i = 0; i < DML__CODEC_EACH; i++)
        x[i] = x[i] - (x[i] >= 0 ? head[0] : head[1]);
}

DML__LANE void dml__gpu_block_keep(const struct dml__gpu_block_args *a, uint64_t block,
                                   unsigned lane, const float x[DML__CODEC_EACH])
{
    const uint32_t m = dml__gpu_block_length(a->n, block);
    float *e = a->e + block * DML__CODEC_BLOCK;
    DML__UNROLL
    for (uint32_t i = 0; i < DML__CODEC_EACH; i++)
        if (i * DML__CODEC_LANES + lane < m)
            e[i * DML__CODEC_LANES + lane] = x[i];
}

/* ---- casts -------------------------------------------------------------------------
 */

DML__LANE float dml__gpu_cast_value(enum dml__gpu_block_kind kind, uint16_t code)
{
    return kind == DML__GPU_F16 ? dml__f16_to_f32(code) : dml__bf16_to_f32(code);
}

/* x, or the largest number of its sign that there is: what is beyond stays in e. */
DML__LANE void dml__gpu_cast_store(const struct dml__gpu_block_args *a, uint64_t i,
                                   float x)
{
    const float most = a->kind == DML__GPU_F16 ? DML__F16_MOST : DML__BF16_MOST;
    float sent = x < most ? x : most; /* NaN too */
    sent = sent > -most ? sent : -most;
    const uint16_t code =
        a->kind == DML__GPU_F16 ? dml__f32_to_f16(sent) : dml__f32_to_bf16(sent);
    ((uint16_t *)a->code)[i] = code;
    a->e[i] = x - dml__gpu_cast_value(a->kind, code);
}

/* ---- after the code, and back ------------------------------------------------------
 */

/* After the last block: was the code usable? */
DML__LANE void dml__gpu_codec_judge(struct dml__gpu_codec_state *state, uint64_t step)
{
    const bool usable = DML__FRESH(uint32_t, &state->top) < DML__CODEC_TOP;
    if (!usable && !state->bad) {
        state->bad = 1;
        state->bad_step = step;
    }
    state->clear = !usable;
    state->top = 0;
}

/* Of a block's head, times scale: what the two signs stand for, plus first, or least
 * level and step. Casts have none. */
DML__LANE void dml__gpu_block_scaled(const struct dml__gpu_block_args *a,
                                     enum dml__gpu_block_kind kind, uint64_t block,
                                     float head[2])
{
    const float *from = (const float *)(a->code + block * dml__gpu_code_bytes(kind));
    if (dml__gpu_is_cast(kind))
        return;
    head[0] = from[0] * a->scale;
    head[1] = (kind == DML__GPU_SIGN ? -from[0] : from[1]) * a->scale;
}

/* Element "at" of what the code of a block holds, times scale. The kind is told: a
 * kernel knows it when it is compiled, and has no branches between its loads. */
DML__LANE float dml__gpu_block_value(const struct dml__gpu_block_args *a,
                                     enum dml__gpu_block_kind kind, uint64_t block,
                                     const float head[2], uint32_t at)
{
    if (dml__gpu_is_cast(kind)) {
        const uint16_t *from = (const uint16_t *)a->code + block * DML__CODEC_BLOCK;
        return dml__gpu_cast_value(kind, from[at]) * a->scale;
    }
    const uint64_t bytes = dml__gpu_code_bytes(kind);
    const unsigned char *code = a->code + block * bytes;
    if (kind == DML__GPU_EIGHTBIT)
        return head[0] + (float)code[8 + at] * head[1];
    const uint16_t *signs = (const uint16_t *)(code + bytes - DML__CODEC_BLOCK / 8);
    const bool plus = (signs[at / DML__CODEC_LANES] >> at % DML__CODEC_LANES & 1) != 0;
    return plus ? head[0] : head[1];
}

/* Of any codec: dst += scale * e, of which nothing is left. */
DML__LANE void dml__gpu_codec_flush(const struct dml__gpu_block_args *a, uint64_t i)
{
    a->dst[i] = a->dst[i] + a->scale * a->e[i];
    a->e[i] = 0;
}

#endif
