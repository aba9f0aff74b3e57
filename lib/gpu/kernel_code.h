/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What headers need that hold code of kernels: they are compiled by nvcc for a device,
 * and by the C compiler for the fake one, where device addresses must be turned into
 * those that can be read.
 */
#ifndef DML__GPU_KERNEL_CODE_H
#define DML__GPU_KERNEL_CODE_H

#include <stddef.h>
#include <stdint.h>

enum { DML__WARP = 32 };

#ifdef __CUDACC__
#define DML__VIEW(type, p) (p)
#define DML__UNROLL        _Pragma("unroll")
/* Always inlined: a lane's arrays must stay in registers. */
#define DML__LANE static __host__ __device__ __forceinline__
#else
#include "gpu/gpu.h"
#define DML__VIEW(type, p) ((type)dml__gpu_view(p))
#define DML__UNROLL
#define DML__LANE static inline
#endif

/* What other blocks of the same kernel wrote: never from a stale cache. */
#define DML__FRESH(type, p) (*(const volatile type *)(p))

#endif
