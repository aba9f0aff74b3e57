/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sweeps of an optimizer on a device: a warp takes a block of DML_OPTIM_BLOCK
 * elements at a time, and the last thread block of a kernel does what must come after
 * all of it, so that a step is one kernel (SGD, Adam, AdamW, AdaGrad), or three where
 * norms come first: sums of blocks, norms of tensors, update.
 */
#include "gpu/optim_judge.h"
#include "gpu/optim_sweep.h"
#include "gpu/warp.cuh"

typedef struct dml__gpu_optim_args args_t;

static __device__ bool stopped(const args_t &args)
{
    return args.state->fault != DML__OPTIM_NONE;
}

static __device__ struct dml__optim_now now_of(const args_t &args)
{
    struct dml__optim_now now = args.state->now;
    now.lr = dml__gpu_rate(&args);
    return now;
}

extern "C" __global__ void dml__optim_reload(const __grid_constant__ args_t args)
{
    for (uint64_t block = first_warp(); block < args.nwork; block += all_warps()) {
        const struct dml__gpu_part part = dml__gpu_part_of(&args, block, 1);
        dml__gpu_reload(&part, lane_of_thread());
    }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    dml__optim_grads(const __grid_constant__ args_t args)
{
    if (stopped(args))
        return;
    const unsigned lane = lane_of_thread();
    const double scale = args.state->now.grad_scale;
    for (uint64_t block = first_warp(); block < args.nwork; block += all_warps()) {
        const struct dml__gpu_part part = dml__gpu_part_of(&args, block, 0);
        double sums[2];
        dml__gpu_sum_grads(&args, scale, &part, lane, sums);
        for (uint32_t column = 0; column < args.width; column++) {
            const double sum = fold(column == 0 ? sums[0] : sums[1], DML__WARP);
            if (lane == 0)
                args.sums[part.number * args.width + column] = sum;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    dml__optim_moments(const __grid_constant__ args_t args)
{
    if (stopped(args) || args.state->skip)
        return;
    const unsigned lane = lane_of_thread();
    const struct dml__optim_now now = now_of(args);
    for (uint64_t block = first_warp(); block < args.nwork; block += all_warps()) {
        const struct dml__gpu_part part = dml__gpu_part_of(&args, block, 0);
        double sums[2];
        dml__gpu_moments(&args, &now, &part, lane, sums);
        const double steps = fold(sums[0], DML__WARP);
        const double weights = fold(sums[1], DML__WARP);
        if (lane == 0) {
            args.sums[part.number * 2] = steps;
            args.sums[part.number * 2 + 1] = weights;
        }
    }
}

/* A warp adds up a column of a tensor; the last thread block judges. */
extern "C" __global__ void __launch_bounds__(256, 2)
    dml__optim_finish(const __grid_constant__ args_t args)
{
    if (stopped(args) || args.state->skip)
        return;
    const unsigned lane = lane_of_thread();
    const uint64_t rows = (uint64_t)args.ntensors * args.width;
    for (uint64_t row = first_warp(); row < rows; row += all_warps()) {
        const uint32_t tensor = (uint32_t)(row / args.width);
        const uint32_t column = (uint32_t)(row % args.width);
        const double own = dml__gpu_tensor_sum(&args, tensor, column, lane);
        const double sum = fold(own, DML__WARP);
        if (lane == 0)
            args.totals[2 * tensor + column] = sum;
    }
    if (!comes_last(&args.state->finish_tickets))
        return;
    if (threadIdx.x == 0)
        dml__gpu_judge(&args);
    __threadfence();
    __syncthreads();
    for (uint32_t i = threadIdx.x; args.width == 2 && i < args.ntensors;
         i += blockDim.x)
        dml__gpu_set_ratio(&args, i);
}

template <enum dml__optim_family family>
static __device__ void update(const args_t &args)
{
    if (stopped(args))
        return;
    const unsigned lane = lane_of_thread();
    const struct dml__optim_now now = now_of(args);
    const uint64_t nwork = args.state->skip ? 0 : args.nwork;
    for (uint64_t block = first_warp(); block < nwork; block += all_warps()) {
        const struct dml__gpu_part part = dml__gpu_part_of(&args, block, 1);
        float g[DML__OPTIM_EACH];
        bool finite = true;
        if (family != DML__OPTIM_LIKE_LAMB) {
            dml__gpu_gradient(g, 0, DML__OPTIM_EACH, &args, now.grad_scale, &part,
                              lane);
            finite = !args.checks || dml__gpu_finite(g);
        }
        if (__all_sync(EVERY_LANE, finite))
            dml__gpu_update(&args, &now, family, &part, lane, g);
        else if (lane == 0)
            atomicMin(&args.state->found, part.index);
    }
    if (comes_last(&args.state->update_tickets) && threadIdx.x == 0)
        dml__gpu_end(&args);
}

extern "C" __global__ void __launch_bounds__(256, 2)
    dml__optim_update_sgd(const __grid_constant__ args_t args)
{
    update<DML__OPTIM_LIKE_SGD>(args);
}

extern "C" __global__ void __launch_bounds__(256, 2)
    dml__optim_update_adam(const __grid_constant__ args_t args)
{
    update<DML__OPTIM_LIKE_ADAM>(args);
}

extern "C" __global__ void __launch_bounds__(256, 3)
    dml__optim_update_lamb(const __grid_constant__ args_t args)
{
    update<DML__OPTIM_LIKE_LAMB>(args);
}
