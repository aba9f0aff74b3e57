/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of kernels.h for a device: each thread takes every so-many-th item.
 */
#include "kernels_dropout.h"
#include "kernels_loss.h"
#include "kernels_norm_back.h"
#include "kernels_window.h"

#define KERNEL(name, type)                                                         \
    extern "C" __global__ void cnn_##name(                                         \
        const __grid_constant__ struct cnn_##type##_args args)                     \
    {                                                                              \
        const size_t step = (size_t)gridDim.x * blockDim.x;                        \
        for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < args.n; \
             i += step)                                                            \
            cnn_item_##name(&args, i);                                             \
    }
CNN_KERNELS(KERNEL)
