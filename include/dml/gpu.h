/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file gpu.h
 * GPU devices. The library can be built without CUDA; the calls are there all the same
 * and answer DML_EUNSUPPORTED, "built without CUDA".
 */
#ifndef DML_GPU_H
#define DML_GPU_H

#include "dml/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Number of usable devices.
 * Not collective. @param[out] count  written on success.
 * @return DML_OK | DML_EUNSUPPORTED (built without CUDA).
 * Threads: any.  @since 0.1 */
DML_API dml_status dml_gpu_count(dml_ctx *ctx, int *count);

#ifdef __cplusplus
}
#endif
#endif
