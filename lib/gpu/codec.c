/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs on a device: their memory. A codec that is given device memory takes its
 * residual there and stays.
 */
#include "gpu/codec.h"

#include "gpu/tensors.h"

#include <string.h>

dml_status dml__codec_on_device(const dml_codec *codec, const void *p, bool *on)
{
    const struct dml__gpu *gpu = dml__gpu_opened(codec->ctx);
    *on = false;
    if (gpu == NULL)
        return DML_OK;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = dml__gpu_holds(gpu, p, on);
    dml__gpu_leave(gpu);
    return status;
}

/* ---- memory ------------------------------------------------------------------------
 */

static size_t work_bytes(const dml_codec *c)
{
    if (c->spec.kind == &dml__codec_topk)
        return dml__topk_parts(c).bytes;
    if (c->spec.kind == &dml__codec_powersgd)
        return c->shape.rank * c->shape.cols * sizeof(float);
    return 0;
}

static dml_status get_memory(const dml_codec *c, struct dml__codec_device *d)
{
    const struct dml__gpu *gpu = d->gpu;
    void *residual = NULL, *state = NULL, *mirror = NULL, *work = NULL;
    DML_TRY(dml__gpu_get_zeroed(gpu, c->count * sizeof(float), &residual));
    d->residual = residual;
    DML_TRY(dml__gpu_get_zeroed(gpu, sizeof(struct dml__gpu_topk_state), &state));
    d->state = state;
    DML_TRY(gpu->ops->alloc_pinned(gpu, sizeof *d->mirror, &mirror));
    d->mirror = mirror;
    memset(mirror, 0, sizeof *d->mirror);
    DML_TRY(dml__gpu_get_zeroed(gpu, work_bytes(c), &work));
    d->work = work;
    return DML_OK;
}

/* What the host's codec has kept so far, but for the residual; forgets a fault. */
static dml_status send_kept(const dml_codec *c, struct dml__codec_device *d,
                            const float *residual)
{
    const struct dml__gpu *gpu = d->gpu;
    const struct dml__gpu_ops *ops = gpu->ops;
    const size_t bytes = c->count * sizeof(float);
    struct dml__gpu_topk_state state = {0}; /* read until the end */
    if (bytes > 0 && residual != NULL)
        DML_TRY(ops->copy(gpu, d->residual, residual, bytes, d->stream));
    else if (bytes > 0)
        DML_TRY(ops->fill(gpu, d->residual, 0, bytes, d->stream));
    if (c->spec.kind == &dml__codec_powersgd)
        DML_TRY(ops->copy(gpu, d->work, c->work, work_bytes(c), d->stream));
    if (c->spec.kind == &dml__codec_topk)
        dml__sparse_get_limits(c, &state.limit, &state.edge, &state.slots);
    DML_TRY(ops->copy(gpu, d->state, &state, sizeof state, d->stream));
    DML_TRY(ops->stream_sync(gpu, d->stream));
    memset(d->mirror, 0, sizeof *d->mirror);
    return DML_OK;
}

static dml_status fetch_kept(dml_codec *c, const struct dml__codec_device *d,
                             float *residual)
{
    const struct dml__gpu *gpu = d->gpu;
    const struct dml__gpu_ops *ops = gpu->ops;
    const size_t bytes = c->count * sizeof(float);
    struct dml__gpu_topk_state state;
    if (bytes > 0)
        DML_TRY(ops->copy(gpu, residual, d->residual, bytes, d->stream));
    if (c->spec.kind == &dml__codec_powersgd)
        DML_TRY(ops->copy(gpu, c->work, d->work, work_bytes(c), d->stream));
    DML_TRY(ops->copy(gpu, &state, d->state, sizeof state, d->stream));
    DML_TRY(ops->stream_sync(gpu, d->stream));
    if (c->spec.kind == &dml__codec_topk)
        dml__sparse_set_limits(c, state.limit, state.edge, state.slots);
    return DML_OK;
}

dml_status dml__codec_device_save(dml_codec *c, float *residual)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = fetch_kept(c, c->device, residual);
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__codec_device_load(dml_codec *c, const float *residual)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = send_kept(c, c->device, residual);
    dml__gpu_leave(gpu);
    return status;
}

/* Codes may be captured from the second on. */
static dml_status load_kernels(const dml_codec *c, const struct dml__gpu *gpu)
{
    static const struct dml_gpu_kernel *const
        any[] = {&dml__codec_kernel_flush},
        *const block[] = {&dml__codec_kernel_encode_blocks,
                          &dml__codec_kernel_decode_blocks},
        *const topk[] = {&dml__topk_kernel_begin,  &dml__topk_kernel_mark,
                         &dml__topk_kernel_plan,   &dml__topk_kernel_gather,
                         &dml__topk_kernel_edge,   &dml__topk_kernel_count,
                         &dml__topk_kernel_scan,   &dml__topk_kernel_emit,
                         &dml__topk_kernel_scatter},
        *const power[] = {&dml__power_kernel_left, &dml__power_kernel_orthonormal,
                          &dml__power_kernel_right, &dml__power_kernel_product,
                          &dml__power_kernel_keep};
    DML_TRY(dml__gpu_load_kernels(gpu, any, sizeof any / sizeof any[0]));
    if (dml__gpu_is_block(c->spec.kind))
        return dml__gpu_load_kernels(gpu, block, sizeof block / sizeof block[0]);
    if (c->spec.kind == &dml__codec_topk)
        return dml__gpu_load_kernels(gpu, topk, sizeof topk / sizeof topk[0]);
    return dml__gpu_load_kernels(gpu, power, sizeof power / sizeof power[0]);
}

static void free_memory(struct dml__codec_device *d)
{
    const struct dml__gpu *gpu = d->gpu;
    gpu->ops->stream_sync(gpu, d->stream);
    dml__gpu_release(gpu, d->work);
    dml__gpu_release(gpu, d->state);
    dml__gpu_release(gpu, d->residual);
    if (d->mirror != NULL)
        gpu->ops->free_pinned(gpu, d->mirror);
}

bool dml__codec_runs_on_device(const struct dml__codec_kind *kind)
{
    return dml__gpu_is_block(kind) || kind == &dml__codec_topk ||
           kind == &dml__codec_powersgd;
}

dml_status dml__codec_device_open(dml_codec *c)
{
    const struct dml__codec_kind *kind = c->spec.kind;
    if (!dml__codec_runs_on_device(kind))
        return dml__fail(c->ctx, DML_EUNSUPPORTED, "dml_codec_encode",
                         "%s does not run on a device; use onebit, sign, 8bit, topk or "
                         "powersgd, or host memory",
                         kind->name);
    if (c->count > UINT32_MAX)
        return dml__fail(c->ctx, DML_EUNSUPPORTED, "dml_codec_encode",
                         "%zu elements; a device codes at most %u at a time", c->count,
                         UINT32_MAX);
    struct dml__codec_device *d = dml__alloc(c->ctx, sizeof *d);
    if (d == NULL)
        return dml__fail(c->ctx, DML_ENOMEM, "dml_codec_encode", "no memory");
    d->gpu = dml__gpu_opened(c->ctx);
    d->gpu->used = true;
    dml_status status = dml__gpu_enter(d->gpu);
    if (status != DML_OK) {
        dml__free(d);
        return status;
    }
    status = get_memory(c, d);
    if (status == DML_OK)
        status = load_kernels(c, d->gpu);
    if (status == DML_OK)
        status = send_kept(c, d, c->residual);
    dml__gpu_leave(d->gpu);
    if (status != DML_OK) {
        dml__codec_device_close(d);
        return status;
    }
    dml__free(c->residual);
    c->residual = d->residual;
    c->device = d;
    return DML_OK;
}

void dml__codec_device_close(struct dml__codec_device *d)
{
    if (d == NULL)
        return;
    if (dml__gpu_enter(d->gpu) == DML_OK) {
        free_memory(d);
        dml__gpu_leave(d->gpu);
    }
    dml__free(d);
}
