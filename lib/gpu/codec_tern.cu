/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TernGrad on a device: half a warp takes a block of 1,024 elements; codec_tern.h has
 * the lanes' part. Both halves of a warp go round as often: they shuffle together.
 */
#include "gpu/codec_tern.h"
#include "gpu/warp.cuh"

typedef struct dml__gpu_tern_args args_t;

enum { HALF = DML__CODEC_LANES };

static __device__ uint64_t blocks_of(const args_t &args)
{
    return (args.n + DML__CODEC_BLOCK - 1) / DML__CODEC_BLOCK;
}

/* Elements k to k + HALF of the lane; 0 where the block is past the last. */
static __device__ void load(float x[HALF], const args_t &args, uint64_t block,
                            unsigned lane, unsigned k)
{
#pragma unroll
    for (unsigned i = 0; i < HALF; i++)
        x[i] = dml__tern_load(&args, block, lane, k + i);
}

extern "C" __global__ void __launch_bounds__(128)
    dml__tern_scales(const __grid_constant__ args_t args)
{
    const unsigned lane = threadIdx.x % HALF;
    uint32_t most = 0;
    for (uint64_t pair = first_warp(); 2 * pair < blocks_of(args);
         pair += all_warps()) {
        const uint64_t block = 2 * pair + threadIdx.x % DML__WARP / HALF;
        float sum = 0;
        uint32_t top = 0;
#pragma unroll 1
        for (unsigned k = 0; k < DML__CODEC_EACH; k += HALF) {
            float x[HALF];
            load(x, args, block, lane, k);
#pragma unroll
            for (unsigned i = 0; i < HALF; i++) {
                const uint32_t bits = dml__f32_magnitude(x[i]);
                sum += x[i] * x[i];
                top = bits > top ? bits : top;
            }
        }
        sum = fold(sum, HALF);
        for (int half = HALF / 2; half > 0; half /= 2) {
            const uint32_t other = __shfl_down_sync(EVERY_LANE, top, half, HALF);
            top = other > top ? other : top;
        }
        if (lane == 0 && block < blocks_of(args))
            args.scales[block] = dml__tern_scale(
                top, sum, dml__gpu_block_length(args.n, block), args.clip);
        most = top > most ? top : most;
    }
    if (lane == 0 && most >= DML__CODEC_TOP)
        atomicMax(&args.state->top, most);
    if (comes_last(&args.state->tickets) && threadIdx.x == 0)
        dml__gpu_codec_judge(args.state, args.step);
}

/* The bits of this half's lanes. */
static __device__ uint32_t vote(bool yes)
{
    const unsigned shift = threadIdx.x % DML__WARP / HALF * HALF;
    return __ballot_sync(EVERY_LANE, yes) >> shift & 0xffffu;
}

/* Sixteen words at a time, of which each lane keeps and writes one. */
extern "C" __global__ void __launch_bounds__(128)
    dml__tern_encode(const __grid_constant__ args_t args)
{
    const unsigned lane = threadIdx.x % HALF;
    for (uint64_t pair = first_warp(); 2 * pair < blocks_of(args);
         pair += all_warps()) {
        const uint64_t block = 2 * pair + threadIdx.x % DML__WARP / HALF;
        const bool here = block < blocks_of(args);
        const float scale = here ? args.scales[block] : 0;
        const uint32_t key = dml__tern_key(args.random, (uint32_t)block);
        uint32_t *code = args.code + block * DML__TERN_WORDS;
        if (here && lane == 0)
            code[0] = dml__f32_bits(scale);
#pragma unroll 1
        for (unsigned k = 0; k < DML__CODEC_EACH; k += HALF) {
            float x[HALF];
            uint32_t own = 0;
            load(x, args, block, lane, k);
#pragma unroll
            for (unsigned i = 0; i < HALF; i++) {
                const uint32_t word =
                    vote(!dml__tern_is_zero(x[i], scale, key, lane, k + i)) |
                    vote(!(x[i] >= 0)) << HALF;
                own = i == lane ? word : own;
            }
            if (here)
                code[1 + k + lane] = own;
        }
    }
}

/* 256 elements of the block at a time: all are on their way before one is waited for.
 */
extern "C" __global__ void __launch_bounds__(256)
    dml__tern_decode_all(const __grid_constant__ args_t args)
{
    const unsigned each = DML__CAST_EACH;
    for (uint64_t block = first_warp(); block < blocks_of(args); block += all_warps()) {
        const uint32_t m = dml__gpu_block_length(args.n, block);
        float *dst = args.dst + block * DML__CODEC_BLOCK;
        float sent[2];
        dml__tern_scaled(&args, block, sent);
#pragma unroll 1
        for (uint32_t k = lane_of_thread(); k < DML__CODEC_BLOCK;
             k += each * DML__WARP) {
            float x[each];
#pragma unroll
            for (uint32_t i = 0; i < each; i++) {
                const uint32_t at = k + i * DML__WARP;
                x[i] = at < m ? dml__tern_value(&args, block, sent, at) : 0;
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
