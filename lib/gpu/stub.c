/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The GPU calls of a library built without CUDA: present, and saying so.
 */
#include "dml/gpu.h"

#include "core/core.h"

dml_status dml_gpu_count(dml_ctx *ctx, int *count)
{
    (void)count;
    return dml__fail(ctx, DML_EUNSUPPORTED, __func__, "built without CUDA");
}
