/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public loops over vectors: argument checks, then the context's kernel table.
 */
#include "dml/vec.h"

#include "kernels/kernels.h"

dml_status dml_vec_reduce(const dml_ctx *ctx, void *dst, const void *a, const void *b,
                          size_t count, dml_dtype dtype, dml_op op)
{
    if (dml_dtype_bytes(dtype) == 0)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "type %d is unknown; use DML_F32 to DML_U64", (int)dtype);
    if ((int)op < 0 || (int)op >= DML__NREDUCE)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "operation %s (%d) does not join two vectors; use sum, prod, "
                         "min or max",
                         dml_op_name(op), (int)op);
    if (count > 0 && (dst == NULL || a == NULL || b == NULL))
        return dml__fail(ctx, DML_EINVAL, __func__, "a vector is NULL");
    dml__ctx_kernels(ctx)->reduce[dtype][op](dst, a, b, count, 0);
    return DML_OK;
}

dml_status dml_vec_convert(const dml_ctx *ctx, void *dst, dml_dtype dst_type,
                           const void *src, dml_dtype src_type, size_t count)
{
    const struct dml__kernels *kernels = dml__ctx_kernels(ctx);
    bool src_half = src_type == DML_F16 || src_type == DML_BF16;
    bool dst_half = dst_type == DML_F16 || dst_type == DML_BF16;
    if (dst_type == DML_F32 && (src_half || src_type == DML_F32))
        kernels->load_scaled[src_type](dst, src, NULL, count, 1);
    else if (src_type == DML_F32 && dst_half)
        kernels->store_div[dst_type](dst, src, NULL, count, 1);
    else
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no conversion from %s to %s; one of the two must be f32, the "
                         "other f16 or bf16",
                         dml_dtype_name(src_type), dml_dtype_name(dst_type));
    return DML_OK;
}

void dml_vec_axpy(const dml_ctx *ctx, size_t count, float a, const float *x, float *y)
{
    dml__ctx_kernels(ctx)->axpy_f32(count, a, x, y);
}

void dml_vec_scale(const dml_ctx *ctx, size_t count, float a, float *x)
{
    dml__ctx_kernels(ctx)->scale_f32(count, a, x);
}

double dml_vec_sumsq(const dml_ctx *ctx, size_t count, const float *x)
{
    return dml__ctx_kernels(ctx)->sumsq_f32(count, x);
}
