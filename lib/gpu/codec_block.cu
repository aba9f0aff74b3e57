/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codes of blocks on a device: half a warp takes a block of 1,024 elements, and holds
 * all of it, so that gradient and residual are read once. codec_block.h has the lanes'
 * part.
 */
#include "gpu/codec_block.h"
#include "gpu/warp.cuh"

typedef struct dml__gpu_block_args args_t;

enum { HALF = DML__CODEC_LANES };

/* Sums as sum_of() has them, ends lane after lane: it matters which of two zeros. */
static __device__ void fold_block(struct dml__gpu_block_sums *s, bool levels)
{
    for (int half = HALF / 2; half > 0; half /= 2) {
        const uint32_t top = __shfl_down_sync(EVERY_LANE, s->top, half, HALF);
        s->top = top > s->top ? top : s->top;
    }
    if (!levels) {
        s->plus = fold(s->plus, HALF);
        s->minus = fold(s->minus, HALF);
        return;
    }
    float low = __shfl_sync(EVERY_LANE, s->low, 0, HALF);
    float high = __shfl_sync(EVERY_LANE, s->high, 0, HALF);
    for (int j = 1; j < HALF; j++) {
        const float l = __shfl_sync(EVERY_LANE, s->low, j, HALF);
        const float h = __shfl_sync(EVERY_LANE, s->high, j, HALF);
        low = l < low ? l : low;
        high = h > high ? h : high;
    }
    s->low = low;
    s->high = high;
}

/* The signs of both blocks of a warp, sixteen at a time; returns how many are set in
 * this one. Lane i keeps words i, i + 16 ...; sixteen are written at once. */
static __device__ uint32_t put_signs(const args_t &a, uint64_t block, bool here,
                                     unsigned lane, const float x[DML__CODEC_EACH])
{
    const unsigned shift = threadIdx.x % DML__WARP / HALF * HALF;
    uint16_t *signs = dml__gpu_block_signs(&a, block);
    unsigned nplus = 0, own = 0;
#pragma unroll
    for (unsigned i = 0; i < DML__CODEC_EACH; i++) {
        const unsigned both = __ballot_sync(EVERY_LANE, x[i] >= 0);
        const unsigned word = both >> shift & 0xffffu;
        nplus += (unsigned)__popc(word);
        own = i % HALF == lane ? word : own;
        if (here && i % HALF == HALF - 1)
            signs[i - i % HALF + lane] = (uint16_t)own;
    }
    return nplus;
}

extern "C" __global__ void __launch_bounds__(128, 3)
    dml__codec_encode_blocks(const __grid_constant__ args_t args)
{
    const unsigned lane = threadIdx.x % HALF;
    const bool levels = args.kind == DML__GPU_EIGHTBIT, clear = args.state->clear != 0;
    const uint64_t nblocks = (args.n + DML__CODEC_BLOCK - 1) / DML__CODEC_BLOCK;
    /* Both halves of a warp go round as often: they shuffle together. */
    for (uint64_t pair = first_warp(); 2 * pair < nblocks; pair += all_warps()) {
        const uint64_t block = 2 * pair + threadIdx.x % DML__WARP / HALF;
        const bool here = block < nblocks;
        float x[DML__CODEC_EACH], head[2] = {0, 0};
        dml__gpu_block_load(x, &args, block, lane, clear);
        struct dml__gpu_block_sums sums = dml__gpu_block_sum(x);
        fold_block(&sums, levels);
        const uint32_t nplus = levels ? 0 : put_signs(args, block, here, lane, x);
        if (here)
            dml__gpu_block_head(&args, block, &sums, nplus, head);
        head[0] = __shfl_sync(EVERY_LANE, head[0], 0, HALF);
        head[1] = __shfl_sync(EVERY_LANE, head[1], 0, HALF);
        if (!here)
            continue;
        if (levels)
            dml__gpu_block_levels(&args, block, lane, head, x);
        else
            dml__gpu_block_subtract(head, x);
        dml__gpu_block_keep(&args, block, lane, x);
        if (lane == 0) {
            dml__gpu_block_put_head(&args, block, head);
            if (sums.top >= DML__CODEC_TOP)
                atomicMax(&args.state->top, sums.top);
        }
    }
    if (comes_last(&args.state->tickets) && threadIdx.x == 0)
        dml__gpu_codec_judge(args.state, args.step);
}

/* A warp takes 256 elements at a time: all are on their way before one is waited for.
 */
extern "C" __global__ void __launch_bounds__(256)
    dml__codec_encode_casts(const __grid_constant__ args_t args)
{
    const bool clear = args.state->clear != 0;
    const uint64_t each = DML__WARP * DML__CAST_EACH;
    uint32_t top = 0;
    for (uint64_t tile = first_warp(); tile * each < args.n; tile += all_warps()) {
        const uint64_t first = tile * each + lane_of_thread();
        float x[DML__CAST_EACH];
#pragma unroll
        for (unsigned i = 0; i < DML__CAST_EACH; i++) {
            const uint64_t at = first + i * DML__WARP;
            x[i] = dml__gpu_sum(args.g, args.e, args.n, at, clear);
        }
#pragma unroll
        for (unsigned i = 0; i < DML__CAST_EACH; i++) {
            const uint64_t at = first + i * DML__WARP;
            const uint32_t bits = dml__f32_magnitude(x[i]);
            top = bits > top ? bits : top;
            if (at < args.n)
                dml__gpu_cast_store(&args, at, x[i]);
        }
    }
    if (top >= DML__CODEC_TOP)
        atomicMax(&args.state->top, top);
    if (comes_last(&args.state->tickets) && threadIdx.x == 0)
        dml__gpu_codec_judge(args.state, args.step);
}

/* A warp takes a block, and of it 256 elements at a time, as above. */
template <enum dml__gpu_block_kind kind>
static __device__ void decode(const args_t &args)
{
    const unsigned lane = lane_of_thread(), each = DML__CAST_EACH;
    for (uint64_t block = first_warp(); block * DML__CODEC_BLOCK < args.n;
         block += all_warps()) {
        const uint32_t m = dml__gpu_block_length(args.n, block);
        float *dst = args.dst + block * DML__CODEC_BLOCK;
        float head[2] = {0, 0};
        dml__gpu_block_scaled(&args, kind, block, head);
#pragma unroll 1
        for (uint32_t k = lane; k < DML__CODEC_BLOCK; k += each * DML__WARP) {
            float x[each];
#pragma unroll
            for (uint32_t i = 0; i < each; i++) {
                const uint32_t at = k + i * DML__WARP;
                x[i] = at < m ? dml__gpu_block_value(&args, kind, block, head, at) : 0;
            }
#pragma unroll
            for (uint32_t i = 0; args.add && i < each; i++)
                x[i] = k + i * DML__WARP < m ? dst[k + i * DML__WARP] + x[i] : 0;
#pragma unroll
            for (uint32_t i = 0; i < each; i++)
                if (k + i * DML__WARP < m)
                    dst[k + i * DML__WARP] = x[i];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    dml__codec_decode_blocks(const __grid_constant__ args_t args)
{
    switch (args.kind) {
    case DML__GPU_ONEBIT:
        return decode<DML__GPU_ONEBIT>(args);
    case DML__GPU_SIGN:
        return decode<DML__GPU_SIGN>(args);
    case DML__GPU_EIGHTBIT:
        return decode<DML__GPU_EIGHTBIT>(args);
    case DML__GPU_F16:
        return decode<DML__GPU_F16>(args);
    case DML__GPU_BF16:
        return decode<DML__GPU_BF16>(args);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    dml__codec_flush(const __grid_constant__ args_t args)
{
    for (uint64_t i = first_thread(); i < args.n; i += all_threads())
        dml__gpu_codec_flush(&args, i);
}
