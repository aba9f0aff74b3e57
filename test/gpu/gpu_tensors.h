/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A communicator with a device, and memory there of which tensors are cut. Copies are
 * queued in the caller's stream, from and to pinned memory.
 */
#ifndef DML_TEST_GPU_TENSORS_H
#define DML_TEST_GPU_TENSORS_H

#include "dml/gpu.h"

#include "dml_test.h"

struct gpu_memory {
    struct dml_test *t;
    dml_ctx *ctx;
    dml_gpu_stream stream;
    char *device, *pinned, *result; /* [bytes] each */
    size_t bytes, used;
};

/* Of all ranks, whose context and device are its own. */
void gpu_open_comm(struct dml_test *t, bool reproducible, dml_ctx **ctx,
                   dml_comm **comm);

void gpu_memory_open(struct gpu_memory *m, struct dml_test *t, dml_ctx *ctx,
                     dml_gpu_stream stream, size_t bytes);
void gpu_memory_close(struct gpu_memory *m);

/* The next piece, at a multiple of 8 bytes where a gap lies before it. */
void *gpu_memory_take(struct gpu_memory *m, size_t bytes, size_t gap);

/* Queued; returns at once. */
void gpu_memory_put(struct gpu_memory *m, void *to, const void *from, size_t bytes);

/* Queued and waited for; until the next call. */
const void *gpu_memory_get(struct gpu_memory *m, const void *from, size_t bytes);

#endif
