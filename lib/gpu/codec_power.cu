/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of PowerSGD on a device. A half-warp has a row of the left product, a
 * thread a column of the right one, and one thread block makes the left factor
 * orthonormal: its columns depend on each other, and are short.
 */
#include "gpu/codec_power.h"
#include "gpu/warp.cuh"

typedef struct dml__gpu_power_args args_t;

enum { HALF = DML__CODEC_LANES, LANES = DML__POWER_LANES };

extern "C" __global__ void __launch_bounds__(256, 3)
    dml__power_left(const __grid_constant__ args_t args)
{
    const unsigned lane = threadIdx.x % HALF;
    uint32_t top = 0;
    for (uint64_t pair = first_warp(); 2 * pair < args.rows; pair += all_warps()) {
        const uint64_t r = 2 * pair + threadIdx.x % DML__WARP / HALF;
        float sums[DML__POWER_MOST] = {0};
        if (r < args.rows)
            dml__power_left_lane(&args, r, lane, sums, &top);
#pragma unroll
        for (unsigned k = 0; k < DML__POWER_MOST; k++) {
            if (k >= args.rank)
                break;
            const float sum = fold(sums[k], HALF);
            if (r < args.rows && lane == 0)
                args.p[k * args.rows + r] = sum;
        }
    }
    if (top >= DML__CODEC_TOP)
        atomicMax(&args.state->top, top);
    if (comes_last(&args.state->tickets) && threadIdx.x == 0)
        dml__gpu_codec_judge(args.state, args.step);
}

/* The sum of what LANES threads have, in all of them. */
static __device__ double fold_block(double own)
{
    __shared__ double sums[LANES];
    __syncthreads();
    sums[threadIdx.x] = own;
    __syncthreads();
    for (unsigned half = LANES / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    return sums[0];
}

static __device__ double inner(uint64_t n, const float *x, const float *y)
{
    return fold_block(dml__power_inner_lane(n, x, y, threadIdx.x));
}

extern "C" __global__ void __launch_bounds__(LANES)
    dml__power_orthonormal(const __grid_constant__ args_t args)
{
    const uint64_t n = args.rows;
    const unsigned lane = threadIdx.x;
    for (uint64_t k = 0; k < args.rank; k++) {
        float *column = args.p + k * n;
        double whole = sqrt(inner(n, column, column));
        for (int pass = 0; pass < 2; pass++) {
            for (uint64_t b = 0; b < k; b++) {
                const float along = (float)inner(n, column, args.p + b * n);
                dml__power_project_lane(n, args.p + b * n, along, column, lane);
            }
            const double norm = sqrt(inner(n, column, column));
            dml__power_scale_lane(n, dml__power_factor(norm, whole), column, lane);
            whole = 1;
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(256)
    dml__power_right(const __grid_constant__ args_t args)
{
    for (uint64_t j = first_thread(); j < args.cols; j += all_threads())
        dml__power_right_column(&args, j);
}

extern "C" __global__ void __launch_bounds__(256)
    dml__power_product(const __grid_constant__ args_t args)
{
    const uint64_t n = args.rows * args.cols;
    for (uint64_t at = first_thread(); at < n; at += all_threads())
        dml__power_product_element(&args, at);
}

extern "C" __global__ void __launch_bounds__(LANES)
    dml__power_keep(const __grid_constant__ args_t args)
{
    for (uint64_t k = blockIdx.x; k < args.rank; k += gridDim.x) {
        const float *q = args.q + k * args.cols;
        dml__power_keep_lane(&args, k, inner(args.cols, q, q), threadIdx.x);
    }
}
