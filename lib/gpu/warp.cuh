/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the lanes and blocks of a kernel meet: for the .cu files.
 */
#ifndef DML__GPU_WARP_CUH
#define DML__GPU_WARP_CUH

#include "gpu/kernel_code.h"

#define EVERY_LANE 0xffffffffu

static __device__ uint64_t first_thread(void)
{
    return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ uint64_t all_threads(void)
{
    return (uint64_t)gridDim.x * blockDim.x;
}

static __device__ uint64_t first_warp(void)
{
    return first_thread() / DML__WARP;
}

static __device__ uint64_t all_warps(void)
{
    return all_threads() / DML__WARP;
}

static __device__ unsigned lane_of_thread(void)
{
    return threadIdx.x % DML__WARP;
}

/* The upper half of "width" lanes to the lower, and so on; the first lane has the sum.
 */
template <typename T> static __device__ T fold(T sum, int width)
{
    for (int half = width / 2; half > 0; half /= 2)
        sum += __shfl_down_sync(EVERY_LANE, sum, half, width);
    return sum;
}

/* True in the thread block that comes here last: it sees what all others wrote. */
static __device__ bool comes_last(uint32_t *tickets)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        last = atomicInc(tickets, gridDim.x - 1) == gridDim.x - 1;
    __syncthreads();
    __threadfence();
    return last;
}

#endif
