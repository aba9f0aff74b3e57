/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file vec.h
 * Loops over vectors in local memory, in the kernel set of the context (C, AVX2 or
 * AVX-512): what the collectives and optimizers run on, offered to programs.
 *
 * None is collective; all are pure and may be called from any thread at once. Vectors
 * may have any alignment and length, also 0. Bad types or operations give DML_EINVAL;
 * the calls without a status cannot fail.
 */
#ifndef DML_VEC_H
#define DML_VEC_H

#include "dml/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

/** dst[i] = a[i] op b[i]; op is sum, prod, min or max. @p dst may be @p a or @p b. The
 * counterpart of MPI_Reduce_local. 16-bit floats are computed in f32. @since 0.1 */
DML_API dml_status dml_vec_reduce(const dml_ctx *ctx, void *dst, const void *a,
                                  const void *b, size_t count, dml_dtype dtype,
                                  dml_op op);

/** dst[i] = src[i] converted between f32, f16 and bf16 (one of the two is f32), rounded
 * to nearest even; a NaN stays a NaN. @since 0.1 */
DML_API dml_status dml_vec_convert(const dml_ctx *ctx, void *dst, dml_dtype dst_type,
                                   const void *src, dml_dtype src_type, size_t count);

/** y[i] += a * x[i]. @since 0.1 */
DML_API void dml_vec_axpy(const dml_ctx *ctx, size_t count, float a, const float *x,
                          float *y);

/** x[i] *= a. @since 0.1 */
DML_API void dml_vec_scale(const dml_ctx *ctx, size_t count, float a, float *x);

/** Sum of squares, accumulated in f64. @since 0.1 */
DML_API double dml_vec_sumsq(const dml_ctx *ctx, size_t count, const float *x);

#ifdef __cplusplus
}
#endif
#endif
