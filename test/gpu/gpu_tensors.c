/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of tensors on a device; see gpu_tensors.h. */
#include "gpu_tensors.h"

#include <stdlib.h>
#include <string.h>

void gpu_open_comm(struct dml_test *t, bool reproducible, dml_ctx **ctx,
                   dml_comm **comm)
{
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.reproducible = reproducible;
    opts.log_level = DML_LOG_ERROR;
    if (dml_ctx_create(&opts, ctx) != DML_OK ||
        dml_comm_from_mpi(*ctx, t->mpi, comm) != DML_OK ||
        dml_gpu_bind(*comm, DML_GPU_NEAREST) != DML_OK)
        abort();
}

void gpu_memory_open(struct gpu_memory *m, struct dml_test *t, dml_ctx *ctx,
                     dml_gpu_stream stream, size_t bytes)
{
    void *device = NULL, *pinned = NULL;
    *m = (struct gpu_memory){.t = t, .ctx = ctx, .stream = stream, .bytes = bytes};
    dml_test_status(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, bytes, &device), DML_OK);
    dml_test_status(t, "dml_gpu_alloc_pinned",
                    dml_gpu_alloc_pinned(ctx, 2 * bytes, &pinned), DML_OK);
    m->device = device;
    m->pinned = pinned;
    m->result = m->pinned + bytes;
}

void gpu_memory_close(struct gpu_memory *m)
{
    dml_test_status(m->t, "sync", dml_gpu_stream_sync(m->ctx, m->stream), DML_OK);
    dml_test_status(m->t, "dml_gpu_free", dml_gpu_free(m->ctx, m->device), DML_OK);
    dml_test_status(m->t, "dml_gpu_free_pinned", dml_gpu_free_pinned(m->ctx, m->pinned),
                    DML_OK);
}

void *gpu_memory_take(struct gpu_memory *m, size_t bytes, size_t gap)
{
    const size_t at = gap > 0 ? (m->used + gap + 7) / 8 * 8 : m->used;
    m->used = at + bytes;
    if (m->used > m->bytes)
        abort();
    return m->device + at;
}

void gpu_memory_put(struct gpu_memory *m, void *to, const void *from, size_t bytes)
{
    const size_t at = (size_t)((char *)to - m->device);
    if (bytes == 0)
        return;
    memcpy(m->pinned + at, from, bytes);
    dml_test_status(m->t, "dml_gpu_copy",
                    dml_gpu_copy(m->ctx, to, m->pinned + at, bytes, m->stream), DML_OK);
}

const void *gpu_memory_get(struct gpu_memory *m, const void *from, size_t bytes)
{
    dml_test_status(m->t, "dml_gpu_copy",
                    dml_gpu_copy(m->ctx, m->result, from, bytes, m->stream), DML_OK);
    dml_test_status(m->t, "sync", dml_gpu_stream_sync(m->ctx, m->stream), DML_OK);
    return m->result;
}
