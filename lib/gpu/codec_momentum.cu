/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of dgc on a device, beside those of top-k; codec_momentum.h says what
 * each does.
 */
#include "gpu/codec_momentum.h"
#include "gpu/warp.cuh"

typedef struct dml__gpu_momentum_args args_t;

/* A warp takes a block; a warp of the last thread block adds them up. */
extern "C" __global__ void __launch_bounds__(256)
    dml__momentum_norm(const __grid_constant__ args_t args)
{
    const unsigned lane = lane_of_thread();
    for (uint64_t block = first_warp(); block * DML__CODEC_BLOCK < args.n;
         block += all_warps()) {
        const double sum = fold(dml__momentum_squares(&args, block, lane), DML__WARP);
        if (lane == 0)
            args.sums[block] = sum;
    }
    if (!comes_last(&args.state->tickets) || threadIdx.x >= DML__WARP)
        return;
    const double sum = fold(dml__momentum_total(&args, lane), DML__WARP);
    if (lane == 0)
        args.state->factor = dml__clip_factor(sum, args.limit);
}

extern "C" __global__ void __launch_bounds__(256)
    dml__momentum_push_all(const __grid_constant__ args_t args)
{
    struct dml__gpu_codec_state *state = &args.state->code;
    uint32_t top = 0;
    for (uint64_t i = first_thread(); i < args.n; i += all_threads()) {
        const uint32_t bits = dml__f32_magnitude(dml__momentum_push(&args, i));
        top = bits > top ? bits : top;
    }
    if (top >= DML__CODEC_TOP)
        atomicMax(&state->top, top);
    if (comes_last(&state->tickets) && threadIdx.x == 0)
        dml__gpu_codec_judge(state, args.step);
}
