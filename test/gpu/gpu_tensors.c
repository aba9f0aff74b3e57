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

/* ---- the same tensors on both sides ------------------------------------------------
 */

static bool is_on_host(const struct gpu_sides *s, size_t i)
{
    return s->v->host_loss && i == GPU_SIDES_LOSS;
}

static size_t bytes_of(const dml_tensor *tensor)
{
    return tensor->count * dml_dtype_bytes(tensor->dtype);
}

void gpu_sides_open(struct gpu_sides *s, struct dml_test *t,
                    const struct gpu_variant *v, const dml_tensor *tensors, size_t n,
                    size_t bytes)
{
    *s = (struct gpu_sides){.t = t, .v = v, .n = n};
    gpu_open_comm(t, v->reproducible, &s->ctx, &s->comm);
    if (v->own_stream)
        dml_test_status(t, "dml_gpu_stream_create",
                        dml_gpu_stream_create(s->ctx, &s->stream), DML_OK);
    dml_test_status(t, "dml_comm_set_stream",
                    dml_comm_set_stream(s->comm, s->stream, v->queued), DML_OK);
    if (v->path != NULL)
        dml_test_status(t, "dml_comm_set_algorithm",
                        dml_comm_set_algorithm(s->comm, DML_COLL_ALLREDUCE, v->path),
                        DML_OK);
    gpu_memory_open(&s->memory, t, s->ctx, s->stream, bytes);
    for (size_t i = 0; i < n; i++) {
        const size_t own = bytes_of(&tensors[i]);
        s->host[i] = s->device[i] = tensors[i];
        s->host[i].data = dml_test_alloc(own + 1);
        s->device[i].data = is_on_host(s, i)
                                ? dml_test_alloc(own + 1)
                                : gpu_memory_take(&s->memory, own, v->apart ? 64 : 0);
    }
}

void gpu_sides_close(struct gpu_sides *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->host[i].data);
    if (s->v->host_loss)
        free(s->device[GPU_SIDES_LOSS].data);
    gpu_memory_close(&s->memory);
    dml_test_status(s->t, "dml_gpu_stream_destroy",
                    dml_gpu_stream_destroy(s->ctx, s->stream), DML_OK);
    dml_comm_destroy(s->comm);
    dml_ctx_destroy(s->ctx);
}

void gpu_sides_put(struct gpu_sides *s, size_t i)
{
    const size_t bytes = bytes_of(&s->host[i]);
    if (is_on_host(s, i))
        memcpy(s->device[i].data, s->host[i].data, bytes);
    else
        gpu_memory_put(&s->memory, s->device[i].data, s->host[i].data, bytes);
}

bool gpu_sides_same(struct gpu_sides *s, size_t i)
{
    const size_t bytes = bytes_of(&s->host[i]);
    const void *got = s->device[i].data;
    if (!is_on_host(s, i))
        got = gpu_memory_get(&s->memory, got, bytes);
    return dml_test_bytes(s->t, "average", got, s->host[i].data, bytes);
}

bool gpu_sides_unused(const struct gpu_sides *s, size_t i, int step, int rank)
{
    return s->v->unused &&
           dml_test_hash(s->t->seed, (uint64_t)step * 64 + i, (uint64_t)rank) % 3 == 0;
}

/* Gradients become ready from the last to the first, later in another order on each
 * rank. */
dml_status gpu_sides_step(const struct gpu_sides *s, dml_reducer *reducer, int step)
{
    struct dml_test *t = s->t;
    const size_t shift = (size_t)(step + t->rank);
    dml_test_status(t, "begin", dml_reducer_begin(reducer, true), DML_OK);
    for (size_t k = 0; k < s->n; k++) {
        const size_t i = step == 0 ? s->n - 1 - k : (k + shift) % s->n;
        if (!gpu_sides_unused(s, i, step, t->rank))
            dml_test_status(t, "ready", dml_reducer_ready(reducer, i), DML_OK);
    }
    return dml_reducer_finish(reducer);
}
