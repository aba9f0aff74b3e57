/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An optimizer on a device, and the kernels of optim.cu.
 */
#ifndef DML__GPU_OPTIM_H
#define DML__GPU_OPTIM_H

#include "gpu/gpu.h"
#include "gpu/optim_block.h"
#include "optim/optimizer.h"

struct dml__optim_device {
    struct dml__gpu *gpu;
    void *stream;
    void *slots, *sums, *tables;         /* device memory */
    struct dml__gpu_optim_state *mirror; /* pinned: the state after the last step */
    struct dml__gpu_optim_args args;
};

extern const struct dml_gpu_kernel dml__optim_kernel_reload, dml__optim_kernel_grads,
    dml__optim_kernel_moments, dml__optim_kernel_finish, dml__optim_kernel_sgd,
    dml__optim_kernel_adam, dml__optim_kernel_lamb;

#endif
