/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What collectives, optimizers and codecs on a device share: whether a vector lies
 * there, and memory for its state. To be called between dml__gpu_enter and
 * dml__gpu_leave.
 */
#ifndef DML__GPU_TENSORS_H
#define DML__GPU_TENSORS_H

#include "gpu/gpu.h"

/* Does it lie on the device? NULL does not; pinned memory counts as the host's, managed
 * memory as the device's. DML_EINVAL where it is another device's. */
dml_status dml__gpu_holds(const struct dml__gpu *gpu, const void *p, bool *on);

/* Device memory of zeros, when the default stream has come there; at least a byte. */
dml_status dml__gpu_get_zeroed(const struct dml__gpu *gpu, size_t bytes, void **memory);

/* NULL is a no-op. */
void dml__gpu_release(const struct dml__gpu *gpu, void *memory);

#endif
