/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public functions on memory, streams, events and graphs: each is one function of
 * the device's table, called with the device as the thread's.
 */
#include "gpu/memory.h"

/* The arguments and the context are there, and it has a device; else returns. */
#define BEGIN(ctx, good)                                                    \
    if ((ctx) == NULL)                                                      \
        return DML_EINVAL;                                                  \
    if (!(good))                                                            \
        return dml__fail(ctx, DML_EINVAL, __func__, "an argument is NULL"); \
    struct dml__gpu *gpu = dml__gpu_of(ctx, __func__);                      \
    if (gpu == NULL)                                                        \
        return last_status(ctx);                                            \
    DML_TRY(dml__gpu_enter(gpu))

/* Calls a function of the table; returns its status. */
#define END(call)               \
    dml_status status = (call); \
    dml__gpu_leave(gpu);        \
    return status

static dml_status last_status(const dml_ctx *ctx)
{
    dml_error error;
    dml_ctx_last_error(ctx, &error);
    return error.status < 0 ? error.status : DML_EUNSUPPORTED;
}

dml_status dml_gpu_count(dml_ctx *ctx, int *count)
{
    if (ctx == NULL)
        return DML_EINVAL;
    if (count == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "count is NULL");
    const struct dml__gpu_ops *ops = dml__gpu_driver(ctx, __func__);
    return ops != NULL ? ops->count(ctx, count) : last_status(ctx);
}

dml_status dml_gpu_get_info(dml_ctx *ctx, int index, dml_gpu_info *info)
{
    int count = 0;
    dml_gpu_info found;
    DML_TRY(dml_gpu_count(ctx, &count));
    if (info == NULL || index < 0 || index >= count)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "info is NULL, or %d is none of the %d devices", index, count);
    DML_TRY(dml__gpu_driver(ctx, __func__)->info(ctx, index, &found));
    *info = found;
    return DML_OK;
}

dml_status dml_gpu_device(dml_ctx *ctx, int *index)
{
    if (ctx == NULL)
        return DML_EINVAL;
    const struct dml__gpu *gpu = dml__gpu_opened(ctx);
    if (gpu == NULL || index == NULL)
        return dml__fail(
            ctx, DML_EINVAL, __func__,
            "index is NULL, or the context uses no GPU yet (dml_gpu_bind)");
    *index = gpu->index;
    return DML_OK;
}

/* ---- memory ------------------------------------------------------------------------
 */

dml_status dml_gpu_alloc(dml_ctx *ctx, size_t bytes, void **memory)
{
    BEGIN(ctx, memory != NULL);
    END(dml__gpu_memory_alloc(gpu, bytes, memory));
}

dml_status dml_gpu_free(dml_ctx *ctx, void *memory)
{
    if (memory == NULL)
        return DML_OK;
    BEGIN(ctx, true);
    END(dml__gpu_memory_free(gpu, memory));
}

dml_status dml_gpu_alloc_pinned(dml_ctx *ctx, size_t bytes, void **memory)
{
    BEGIN(ctx, memory != NULL);
    END(gpu->ops->alloc_pinned(gpu, bytes, memory));
}

dml_status dml_gpu_free_pinned(dml_ctx *ctx, void *memory)
{
    if (memory == NULL)
        return DML_OK;
    BEGIN(ctx, true);
    END(gpu->ops->free_pinned(gpu, memory));
}

dml_status dml_gpu_query(dml_ctx *ctx, const void *memory, dml_gpu_memory *kind,
                         int *device)
{
    struct dml__gpu_place place = {.kind = DML_GPU_HOST, .device = -1};
    BEGIN(ctx, kind != NULL && device != NULL);
    dml_status found = gpu->ops->place(gpu, memory, &place);
    dml__gpu_leave(gpu);
    if (found < 0)
        return found;
    *kind = place.kind;
    *device = place.device;
    return DML_OK;
}

dml_status dml_gpu_copy(dml_ctx *ctx, void *dst, const void *src, size_t bytes,
                        dml_gpu_stream stream)
{
    if (bytes == 0)
        return DML_OK;
    BEGIN(ctx, dst != NULL && src != NULL);
    END(gpu->ops->copy(gpu, dst, src, bytes, stream));
}

dml_status dml_gpu_fill(dml_ctx *ctx, void *dst, int byte, size_t bytes,
                        dml_gpu_stream stream)
{
    if (bytes == 0)
        return DML_OK;
    BEGIN(ctx, dst != NULL);
    END(gpu->ops->fill(gpu, dst, byte, bytes, stream));
}

/* ---- streams and events ------------------------------------------------------------
 */

dml_status dml_gpu_stream_create(dml_ctx *ctx, dml_gpu_stream *stream)
{
    void *made = NULL;
    BEGIN(ctx, stream != NULL);
    dml_status status = gpu->ops->stream_create(gpu, &made);
    dml__gpu_leave(gpu);
    if (status == DML_OK)
        *stream = made;
    return status;
}

dml_status dml_gpu_stream_destroy(dml_ctx *ctx, dml_gpu_stream stream)
{
    if (stream == NULL)
        return DML_OK;
    BEGIN(ctx, true);
    END(gpu->ops->stream_destroy(gpu, stream));
}

dml_status dml_gpu_stream_sync(dml_ctx *ctx, dml_gpu_stream stream)
{
    BEGIN(ctx, true);
    END(gpu->ops->stream_sync(gpu, stream));
}

dml_status dml_gpu_stream_query(dml_ctx *ctx, dml_gpu_stream stream)
{
    BEGIN(ctx, true);
    END(gpu->ops->stream_query(gpu, stream));
}

dml_status dml_gpu_stream_wait(dml_ctx *ctx, dml_gpu_stream stream, dml_gpu_event event)
{
    BEGIN(ctx, event != NULL);
    END(gpu->ops->stream_wait(gpu, stream, event));
}

dml_status dml_gpu_event_create(dml_ctx *ctx, bool timed, dml_gpu_event *event)
{
    void *made = NULL;
    BEGIN(ctx, event != NULL);
    dml_status status = gpu->ops->event_create(gpu, timed, &made);
    dml__gpu_leave(gpu);
    if (status == DML_OK)
        *event = made;
    return status;
}

dml_status dml_gpu_event_destroy(dml_ctx *ctx, dml_gpu_event event)
{
    if (event == NULL)
        return DML_OK;
    BEGIN(ctx, true);
    END(gpu->ops->event_destroy(gpu, event));
}

dml_status dml_gpu_event_record(dml_ctx *ctx, dml_gpu_event event,
                                dml_gpu_stream stream)
{
    BEGIN(ctx, event != NULL);
    END(gpu->ops->event_record(gpu, event, stream));
}

dml_status dml_gpu_event_query(dml_ctx *ctx, dml_gpu_event event)
{
    BEGIN(ctx, event != NULL);
    END(gpu->ops->event_query(gpu, event));
}

dml_status dml_gpu_event_sync(dml_ctx *ctx, dml_gpu_event event)
{
    BEGIN(ctx, event != NULL);
    END(gpu->ops->event_sync(gpu, event));
}

dml_status dml_gpu_event_elapsed(dml_ctx *ctx, dml_gpu_event from, dml_gpu_event to,
                                 double *seconds)
{
    BEGIN(ctx, from != NULL && to != NULL && seconds != NULL);
    END(gpu->ops->event_elapsed(gpu, from, to, seconds));
}

/* ---- graphs ------------------------------------------------------------------------
 */

dml_status dml_gpu_stream_captured(dml_ctx *ctx, dml_gpu_stream stream, bool *captured)
{
    BEGIN(ctx, captured != NULL);
    END(gpu->ops->stream_captured(gpu, stream, captured));
}

dml_status dml_gpu_capture_begin(dml_ctx *ctx, dml_gpu_stream stream)
{
    BEGIN(ctx, true);
    END(dml__graph_begin(gpu, stream));
}

dml_status dml_gpu_capture_end(dml_ctx *ctx, dml_gpu_stream stream,
                               dml_gpu_graph *graph)
{
    struct dml__gpu_graph *made = NULL;
    BEGIN(ctx, graph != NULL);
    dml_status status = dml__graph_end(gpu, stream, &made);
    dml__gpu_leave(gpu);
    if (status == DML_OK)
        *graph = (dml_gpu_graph)made;
    return status;
}

dml_status dml_gpu_graph_launch(dml_ctx *ctx, dml_gpu_graph graph,
                                dml_gpu_stream stream)
{
    BEGIN(ctx, graph != NULL);
    END(dml__graph_launch(gpu, (struct dml__gpu_graph *)graph, stream));
}

dml_status dml_gpu_graph_free(dml_ctx *ctx, dml_gpu_graph graph)
{
    if (graph == NULL)
        return DML_OK;
    BEGIN(ctx, true);
    END(dml__graph_free(gpu, (struct dml__gpu_graph *)graph));
}

/* ---- kernels -----------------------------------------------------------------------
 */

dml_status dml_gpu_launch(dml_ctx *ctx, const dml_gpu_kernel *kernel, size_t n,
                          const void *args, size_t bytes, dml_gpu_stream stream)
{
    if (ctx != NULL && kernel != NULL && (kernel->name == NULL || kernel->threads == 0))
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "the kernel %s: name is NULL, or threads is 0",
                         kernel->name != NULL ? kernel->name : "without a name");
    BEGIN(ctx, kernel != NULL && args != NULL && bytes <= DML__GPU_ARGS);
    END(dml__gpu_launch(gpu, kernel, n, 1, args, bytes, stream));
}

void *dml_gpu_view(const void *memory)
{
    return dml__gpu_view(memory);
}
