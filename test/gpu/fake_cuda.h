/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the stand-in for CUDA's driver share.
 */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

#include <cuda.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

/* What has been made and not given back, and how many contexts this thread has. */
extern atomic_int fake_cuda_held;
extern _Thread_local int fake_cuda_depth;

/* May this thread make a call that is not possible in its own capture? */
bool fake_cuda_is_safe(void);

#define NEED_CONTEXT                           \
    do {                                       \
        if (fake_cuda_depth == 0)              \
            return CUDA_ERROR_INVALID_CONTEXT; \
    } while (0)

#define UNSAFE                                            \
    do {                                                  \
        NEED_CONTEXT;                                     \
        if (!fake_cuda_is_safe())                         \
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED; \
    } while (0)

#endif
