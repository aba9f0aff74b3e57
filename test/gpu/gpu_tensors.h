/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A communicator with a device, and memory there of which tensors are cut. Copies are
 * queued in the caller's stream, from and to pinned memory. And tensors that are there
 * twice, on the host and on the device, for reducers that must do the same to both.
 */
#ifndef DML_TEST_GPU_TENSORS_H
#define DML_TEST_GPU_TENSORS_H

#include "dml/gpu.h"
#include "dml/sync.h"

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

/* ---- the same tensors on both sides ------------------------------------------------
 */

enum { GPU_SIDES_MOST = 16, GPU_SIDES_LOSS = 1 };

/* How they lie there, and what is done with them; "path" of all-reduces, NULL: any. */
struct gpu_variant {
    const char *text, *path;
    bool reproducible, queued, own_stream, apart;
    bool host_loss; /* tensor GPU_SIDES_LOSS lies on the host here, too */
    bool unused;    /* a third of the gradients never become ready */
};

struct gpu_sides {
    struct dml_test *t;
    const struct gpu_variant *v;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_gpu_stream stream;
    size_t n;
    dml_tensor host[GPU_SIDES_MOST], device[GPU_SIDES_MOST];
    struct gpu_memory memory;
};

/* tensors [n]: counts and types; "bytes" of device memory for all of them. */
void gpu_sides_open(struct gpu_sides *s, struct dml_test *t,
                    const struct gpu_variant *v, const dml_tensor *tensors, size_t n,
                    size_t bytes);
void gpu_sides_close(struct gpu_sides *s);

/* What the host's tensor holds goes to the other one. */
void gpu_sides_put(struct gpu_sides *s, size_t i);

/* Both hold the same bytes. */
bool gpu_sides_same(struct gpu_sides *s, size_t i);

bool gpu_sides_unused(const struct gpu_sides *s, size_t i, int step, int rank);

/* A step of a reducer of one side; returns what finish returns. */
dml_status gpu_sides_step(const struct gpu_sides *s, dml_reducer *reducer, int step);

#endif
