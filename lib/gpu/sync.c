/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream of a reducer or of sharded training; see sync/device.h.
 */
#include "gpu/memory.h"
#include "gpu/paths.h"
#include "gpu/tensors.h"
#include "sync/device.h"

struct dml__sync_device {
    dml_comm *comm;
    struct dml__gpu_comm *g;
    void *stream, *callers; /* callers: the communicator's, while it is lent */
    void *event;
};

dml_status dml__sync_holds(dml_ctx *ctx, const void *memory, bool *on)
{
    const struct dml__gpu *gpu = dml__gpu_opened(ctx);
    *on = false;
    if (gpu == NULL)
        return DML_OK;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = dml__gpu_holds(gpu, memory, on);
    dml__gpu_leave(gpu);
    return status;
}

/* Calls a function of the table; what fails ends the communicator, for which the other
 * ranks may be waiting. */
#define CALL(d, call)                         \
    const struct dml__gpu *gpu = (d)->g->gpu; \
    dml_status status = dml__gpu_enter(gpu);  \
    if (status == DML_OK) {                   \
        status = (call);                      \
        dml__gpu_leave(gpu);                  \
    }                                         \
    if (status < 0)                           \
        dml__comm_break((d)->comm, status);   \
    return status

static dml_status make(struct dml__sync_device *d)
{
    const struct dml__gpu *gpu = d->g->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = gpu->ops->stream_create(gpu, &d->stream);
    if (status == DML_OK)
        status = gpu->ops->event_create(gpu, false, &d->event);
    dml__gpu_leave(gpu);
    return status;
}

static dml_status join(dml_comm *comm)
{
    if (dml__comm_gpu(comm) != NULL)
        return DML_OK;
    dml__comm_enter(comm);
    dml_status status = dml__gpu_join(comm);
    dml__comm_leave(comm);
    return status;
}

dml_status dml__sync_device_open(dml_comm *comm, struct dml__sync_device **device)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    DML_TRY(join(comm));
    struct dml__sync_device *d = dml__alloc(ctx, sizeof *d);
    dml_status status = DML_ENOMEM;
    if (d == NULL) {
        dml__fail(ctx, DML_ENOMEM, "dml_gpu", "no memory for a stream");
    } else {
        d->comm = comm;
        d->g = dml__comm_gpu(comm);
        status = make(d);
    }
    double failed = status < 0;
    dml_status agreed = dml__comm_max(comm, &failed, 1);
    if (status == DML_OK && agreed == DML_OK && failed > 0)
        agreed = dml__fail(ctx, DML_EMISMATCH, "dml_gpu",
                           "another rank cannot make a stream; see its error");
    if (status == DML_OK)
        status = agreed;
    if (status == DML_OK)
        *device = d;
    else
        dml__sync_device_close(d);
    return status;
}

void dml__sync_device_close(struct dml__sync_device *d)
{
    if (d == NULL)
        return;
    const struct dml__gpu *gpu = d->g->gpu;
    if (dml__gpu_enter(gpu) == DML_OK) {
        if (d->stream != NULL) {
            gpu->ops->stream_sync(gpu, d->stream);
            gpu->ops->stream_destroy(gpu, d->stream);
        }
        if (d->event != NULL)
            gpu->ops->event_destroy(gpu, d->event);
        dml__gpu_leave(gpu);
    }
    dml__free(d);
}

void *dml__sync_device_stream(const struct dml__sync_device *d)
{
    return d->stream;
}

bool dml__sync_device_queued(const struct dml__sync_device *d)
{
    return d->g->queued;
}

/* ---- memory ------------------------------------------------------------------------
 */

dml_status dml__sync_device_alloc(struct dml__sync_device *d, size_t bytes,
                                  void **memory)
{
    const struct dml__gpu *gpu = d->g->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = dml__gpu_memory_alloc(gpu, bytes, memory);
    dml__gpu_leave(gpu);
    return status;
}

void dml__sync_device_free(struct dml__sync_device *d, void *memory)
{
    if (memory == NULL || dml__gpu_enter(d->g->gpu) < 0)
        return;
    d->g->gpu->ops->stream_sync(d->g->gpu, d->stream);
    dml__gpu_memory_free(d->g->gpu, memory);
    dml__gpu_leave(d->g->gpu);
}

dml_status dml__sync_device_copy(struct dml__sync_device *d, void *dst, const void *src,
                                 size_t bytes)
{
    if (bytes == 0)
        return DML_OK;
    CALL(d, gpu->ops->copy(gpu, dst, src, bytes, d->stream));
}

dml_status dml__sync_device_zero(struct dml__sync_device *d, void *dst, size_t bytes)
{
    if (bytes == 0)
        return DML_OK;
    CALL(d, gpu->ops->fill(gpu, dst, 0, bytes, d->stream));
}

/* ---- order -------------------------------------------------------------------------
 */

/* Stream "to" goes on when "from" has come to where it is now. */
static dml_status order(const struct dml__sync_device *d, void *from, void *to)
{
    const struct dml__gpu *gpu = d->g->gpu;
    DML_TRY(gpu->ops->event_record(gpu, d->event, from));
    return gpu->ops->stream_wait(gpu, to, d->event);
}

dml_status dml__sync_device_follow(struct dml__sync_device *d)
{
    CALL(d, order(d, d->g->stream, d->stream));
}

dml_status dml__sync_device_lead(struct dml__sync_device *d)
{
    CALL(d, d->g->queued ? order(d, d->stream, d->g->stream)
                         : gpu->ops->stream_sync(gpu, d->stream));
}

dml_status dml__sync_device_wait(struct dml__sync_device *d)
{
    CALL(d, gpu->ops->stream_sync(gpu, d->stream));
}

dml_status dml__sync_device_captured(struct dml__sync_device *d, bool *captured)
{
    CALL(d, gpu->ops->stream_captured(gpu, d->g->stream, captured));
}

static dml_status mark(const struct dml__sync_device *d, bool timed, void **event)
{
    const struct dml__gpu *gpu = d->g->gpu;
    if (*event == NULL)
        DML_TRY(gpu->ops->event_create(gpu, timed, event));
    return gpu->ops->event_record(gpu, *event, d->stream);
}

dml_status dml__sync_device_mark(struct dml__sync_device *d, void **event)
{
    CALL(d, mark(d, false, event));
}

dml_status dml__sync_device_stamp(struct dml__sync_device *d, void **event)
{
    CALL(d, mark(d, true, event));
}

dml_status dml__sync_device_between(struct dml__sync_device *d, void *from, void *to,
                                    double *seconds)
{
    CALL(d, gpu->ops->event_elapsed(gpu, from, to, seconds));
}

dml_status dml__sync_device_pass(struct dml__sync_device *d, void *event)
{
    CALL(d, d->g->queued ? gpu->ops->stream_wait(gpu, d->g->stream, event)
                         : gpu->ops->event_sync(gpu, event));
}

void dml__sync_device_unmark(struct dml__sync_device *d, void *event)
{
    if (event == NULL || dml__gpu_enter(d->g->gpu) < 0)
        return;
    d->g->gpu->ops->event_destroy(d->g->gpu, event);
    dml__gpu_leave(d->g->gpu);
}

void dml__sync_device_lend(struct dml__sync_device *d)
{
    dml__comm_enter(d->comm);
    d->callers = d->g->stream;
    d->g->stream = d->stream;
    d->g->lent = true;
}

void dml__sync_device_take(struct dml__sync_device *d)
{
    d->g->stream = d->callers;
    d->g->lent = false;
    dml__comm_leave(d->comm);
}
