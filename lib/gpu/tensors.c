/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Vectors on a device, and their state; see tensors.h.
 */
#include "gpu/tensors.h"

dml_status dml__gpu_holds(const struct dml__gpu *gpu, const void *p, bool *on)
{
    struct dml__gpu_place place;
    *on = false;
    if (p == NULL)
        return DML_OK;
    DML_TRY(gpu->ops->place(gpu, p, &place));
    *on = dml__gpu_is_place(&place);
    if (place.kind == DML_GPU_DEVICE && place.device != gpu->index)
        return dml__fail_values(gpu->ctx, DML_EINVAL, "dml_gpu", -1, place.device,
                                gpu->index,
                                "a buffer is on GPU %d, and this rank uses GPU %d; "
                                "choose one by dml_gpu_bind",
                                place.device, gpu->index);
    return DML_OK;
}

dml_status dml__gpu_get_zeroed(const struct dml__gpu *gpu, size_t bytes, void **memory)
{
    const size_t least = bytes > 0 ? bytes : 1;
    DML_TRY(gpu->ops->alloc(gpu, least, memory));
    return gpu->ops->fill(gpu, *memory, 0, least, NULL);
}

void dml__gpu_release(const struct dml__gpu *gpu, void *memory)
{
    if (memory != NULL)
        gpu->ops->free(gpu, memory);
}
