/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reduction kernels: up to DML__GPU_FAN vectors are added element by element in
 * their order, rounded once, and the result is written to as many places. One source is
 * a copy. Included by C and by nvcc.
 */
#ifndef DML__GPU_REDUCE_H
#define DML__GPU_REDUCE_H

#include <stddef.h>

#define DML__GPU_FAN 16

struct dml__gpu_reduce_args {
    const void *src[DML__GPU_FAN]; /* [nsrc] vectors of n elements, any alignment */
    void *dst[DML__GPU_FAN];       /* [ndst]; may be one of src, else apart */
    double scale[DML__GPU_FAN];    /* [nsrc] of pre-multiplied sums, if scaled */
    double divisor;                /* of averages; else 1 */
    size_t n;
    int nsrc, ndst;
    int op;     /* DML__SUM .. DML__MAX (element.h) */
    int scaled; /* each term is multiplied by its scale */
};

#endif
