/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of lib/gpu that collectives use.
 */
#ifndef DML__GPU_LAUNCH_H
#define DML__GPU_LAUNCH_H

#include "gpu/gpu.h"
#include "gpu/reduce.h"

/* Loads the kernels of all types. */
dml_status dml__gpu_reduce_load(const struct dml__gpu *gpu);

/* Reduce args->src to args->dst, elements of dtype, in a stream. */
dml_status dml__gpu_reduce(const struct dml__gpu *gpu,
                           const struct dml__gpu_reduce_args *args, dml_dtype dtype,
                           void *stream);

#endif
