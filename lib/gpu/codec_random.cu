/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of random-k on a device; codec_random.h says what each does.
 */
#include "gpu/codec_random.h"
#include "gpu/warp.cuh"

typedef struct dml__gpu_random_args args_t;

/* A warp takes 256 elements at a time: all are on their way before one is waited for.
 */
extern "C" __global__ void __launch_bounds__(256)
    dml__random_add(const __grid_constant__ args_t args)
{
    const bool clear = args.state->clear != 0;
    const uint64_t each = DML__WARP * DML__RANDOM_EACH, n = args.draw.n;
    uint32_t top = 0;
    for (uint64_t tile = first_warp(); tile * each < n; tile += all_warps()) {
        const uint64_t first = tile * each + lane_of_thread();
        float x[DML__RANDOM_EACH];
#pragma unroll
        for (unsigned i = 0; i < DML__RANDOM_EACH; i++) {
            const uint64_t at = first + i * DML__WARP;
            x[i] = dml__gpu_sum(args.g, args.e, n, at, clear);
        }
#pragma unroll
        for (unsigned i = 0; i < DML__RANDOM_EACH; i++) {
            const uint64_t at = first + i * DML__WARP;
            const uint32_t bits = dml__f32_magnitude(x[i]);
            top = bits > top ? bits : top;
            if (at < n)
                args.e[at] = x[i];
        }
    }
    if (top >= DML__CODEC_TOP)
        atomicMax(&args.state->top, top);
    if (comes_last(&args.state->tickets) && threadIdx.x == 0)
        dml__gpu_codec_judge(args.state, args.step);
}

extern "C" __global__ void __launch_bounds__(256)
    dml__random_take_all(const __grid_constant__ args_t args)
{
    for (uint64_t i = first_thread(); i < args.draw.k; i += all_threads())
        dml__random_take(&args, i);
}

extern "C" __global__ void __launch_bounds__(256)
    dml__random_put_all(const __grid_constant__ args_t args)
{
    for (uint64_t i = first_thread(); i < args.draw.k; i += all_threads())
        dml__random_put(&args, i);
}
