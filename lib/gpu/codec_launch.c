/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs on a device: encoding and decoding as launches in a stream, and what the host
 * sees of them.
 */
#include "gpu/codec.h"

#include <string.h>

static enum dml__gpu_block_kind block_kind(const struct dml__codec_kind *kind)
{
    return kind == &dml__codec_onebit ? DML__GPU_ONEBIT
           : kind == &dml__codec_sign ? DML__GPU_SIGN
                                      : DML__GPU_EIGHTBIT;
}

/* ---- launches ----------------------------------------------------------------------
 */

/* For n threads, at least one block of them. */
static dml_status launch(const struct dml__codec_device *d,
                         const struct dml_gpu_kernel *kernel, size_t n,
                         const void *args, size_t bytes)
{
    return dml__gpu_launch(d->gpu, kernel, n > 0 ? n : 1, 1, args, bytes, d->stream);
}

static dml_status encode_blocks(dml_codec *c, const float *g, void *code)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__gpu_block_args args = {
        .g = g,
        .e = d->residual,
        .code = code,
        .n = c->count,
        .step = c->step,
        .kind = block_kind(c->spec.kind),
        .state = d->state,
    };
    return launch(d, &dml__codec_kernel_encode_blocks,
                  dml__codec_blocks(c->count) * DML__CODEC_LANES, &args, sizeof args);
}

static struct dml__gpu_topk_args topk_args(const dml_codec *c, const float *g,
                                           void *code)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__topk_parts at = dml__topk_parts(c);
    const size_t slots = dml__codec_slots(c);
    const size_t nsegments =
        (size_t)((c->count + DML__SPARSE_SEGMENT - 1) / DML__SPARSE_SEGMENT);
    uint32_t *counts = code;
    float *values = (float *)(counts + nsegments);
    return (struct dml__gpu_topk_args){
        .g = g,
        .e = d->residual,
        .n = c->count,
        .slots = slots,
        .capacity = dml__sparse_capacity(slots, c->count),
        .step = c->step,
        .masks = (uint32_t *)(d->work + at.masks),
        .chunks = (uint32_t *)(d->work + at.chunks),
        .above = (uint32_t *)(d->work + at.above),
        .equal = (uint32_t *)(d->work + at.equal),
        .listed = (float *)(d->work + at.listed),
        .places = (uint32_t *)(d->work + at.places),
        .counts = counts,
        .values = values,
        .index = (uint16_t *)(values + slots),
        .state = (struct dml__gpu_topk_state *)d->state,
    };
}

static dml_status topk(const struct dml__codec_device *d,
                       const struct dml_gpu_kernel *kernel, uint64_t n,
                       const struct dml__gpu_topk_args *args)
{
    return launch(d, kernel, (size_t)n, args, sizeof *args);
}

static dml_status encode_topk(dml_codec *c, const float *g, void *code)
{
    const struct dml__codec_device *d = c->device;
    struct dml__gpu_topk_args args = topk_args(c, g, code);
    const uint64_t n = dml__topk_chunks(c->count) * DML__WARP;
    if (c->count == 0)
        return DML_OK;
    DML_TRY(d->gpu->ops->fill(d->gpu, code, 0, dml_codec_bytes(c), d->stream));
    DML_TRY(topk(d, &dml__topk_kernel_begin, 1, &args));
    DML_TRY(topk(d, &dml__topk_kernel_mark, n, &args));
    args.g = NULL;
    for (args.level = 0; args.level < 2; args.level++) {
        if (args.level == 1)
            DML_TRY(topk(d, &dml__topk_kernel_mark, n, &args));
        DML_TRY(topk(d, &dml__topk_kernel_plan, 1, &args));
    }
    DML_TRY(topk(d, &dml__topk_kernel_gather, n, &args));
    for (args.level = 0; args.level < 3; args.level++)
        DML_TRY(topk(d, &dml__topk_kernel_edge, n, &args));
    DML_TRY(topk(d, &dml__topk_kernel_count, n, &args));
    DML_TRY(topk(d, &dml__topk_kernel_scan, 1, &args));
    return topk(d, &dml__topk_kernel_emit, n, &args);
}

static struct dml__gpu_power_args power_args(const dml_codec *c, const float *g,
                                             float *p, float *q)
{
    const struct dml__codec_device *d = c->device;
    return (struct dml__gpu_power_args){
        .g = g,
        .m = d->residual,
        .p = p,
        .q = q,
        .dst = d->residual,
        .kept = (float *)d->work,
        .rows = c->shape.rows,
        .cols = c->shape.cols,
        .rank = c->shape.rank,
        .seed = c->spec.seed,
        .stream = c->stream,
        .step = c->step,
        .scale = -1,
        .add = 1,
        .state = d->state,
    };
}

/* The state as it is then, for the host. */
static dml_status show_state(const struct dml__codec_device *d)
{
    return d->gpu->ops->copy(d->gpu, d->mirror, d->state, sizeof *d->mirror, d->stream);
}

static dml_status power_first(const dml_codec *c, const float *g, float *p)
{
    const struct dml__gpu_power_args args = power_args(c, g, p, NULL);
    return launch(c->device, &dml__power_kernel_left, args.rows * DML__CODEC_LANES,
                  &args, sizeof args);
}

static dml_status power_second(const dml_codec *c, float *p, float *q)
{
    const struct dml__gpu_power_args args = power_args(c, NULL, p, q);
    DML_TRY(launch(c->device, &dml__power_kernel_orthonormal, 1, &args, sizeof args));
    return launch(c->device, &dml__power_kernel_right, args.cols, &args, sizeof args);
}

/* The residual less the product of the factors; where dst is not NULL it gets the
 * product first, which then is what leaves the residual. Both have the bits of the
 * host: of encode() and dml__power_third() in compress/powersgd.c. */
static dml_status power_third(const dml_codec *c, float *p, float *q, float *dst)
{
    struct dml__gpu_power_args args = power_args(c, NULL, p, q);
    if (dst != NULL) {
        args.dst = dst;
        args.scale = 1;
        args.add = 0;
        args.take = 1;
    }
    DML_TRY(
        launch(c->device, &dml__power_kernel_product, c->count, &args, sizeof args));
    return launch(c->device, &dml__power_kernel_keep, args.rank * DML__POWER_LANES,
                  &args, sizeof args);
}

static dml_status encode_power(dml_codec *c, const float *g, void *code)
{
    float *p = code, *q = p + c->shape.rank * c->shape.rows;
    if (c->count == 0)
        return DML_OK;
    DML_TRY(power_first(c, g, p));
    DML_TRY(power_second(c, p, q));
    return power_third(c, p, q, NULL);
}

static dml_status encode(dml_codec *c, const float *g, void *code)
{
    const struct dml__codec_device *d = c->device;
    if (dml__gpu_is_block(c->spec.kind))
        DML_TRY(encode_blocks(c, g, code));
    else if (c->spec.kind == &dml__codec_topk)
        DML_TRY(encode_topk(c, g, code));
    else
        DML_TRY(encode_power(c, g, code));
    c->step++;
    return show_state(d);
}

dml_status dml__codec_device_encode(dml_codec *c, const float *g, void *code)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = encode(c, g, code);
    dml__gpu_leave(gpu);
    return status;
}

/* ---- parts of it -------------------------------------------------------------------
 */

dml_status dml__codec_device_power_first(dml_codec *c, const float *g, float *p)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = power_first(c, g, p);
    if (status == DML_OK)
        status = show_state(c->device);
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__codec_device_power_second(dml_codec *c, float *p, float *q)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = power_second(c, p, q);
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__codec_device_power_third(dml_codec *c, float *p, float *q, float *dst)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = power_third(c, p, q, dst);
    c->step++;
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__codec_device_flush(dml_codec *c, float weight, float *g)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__gpu_block_args args = {
        .dst = g, .e = d->residual, .n = c->count, .scale = weight};
    if (c->count == 0)
        return DML_OK;
    DML_TRY(dml__gpu_enter(d->gpu));
    dml_status status =
        launch(d, &dml__codec_kernel_flush, c->count, &args, sizeof args);
    dml__gpu_leave(d->gpu);
    return status;
}

/* ---- decode ------------------------------------------------------------------------
 */

static dml_status decode_topk(const dml_codec *c, const void *code, float scale,
                              bool add, float *dst)
{
    const struct dml__codec_device *d = c->device;
    const uint32_t *counts = code;
    const size_t nsegments =
        (size_t)((c->count + DML__SPARSE_SEGMENT - 1) / DML__SPARSE_SEGMENT);
    const float *values = (const float *)(counts + nsegments);
    const struct dml__gpu_scatter_args args = {
        .counts = counts,
        .values = values,
        .index = (const uint16_t *)(values + dml__codec_slots(c)),
        .dst = dst,
        .nsegments = nsegments,
        .scale = scale,
    };
    if (!add)
        DML_TRY(d->gpu->ops->fill(d->gpu, dst, 0, c->count * sizeof *dst, d->stream));
    return launch(d, &dml__topk_kernel_scatter, nsegments * DML__TOPK_THREADS, &args,
                  sizeof args);
}

static dml_status decode(const dml_codec *c, const void *code, float scale, bool add,
                         float *dst)
{
    const struct dml__codec_device *d = c->device;
    if (c->count == 0)
        return DML_OK;
    if (c->spec.kind == &dml__codec_topk)
        return decode_topk(c, code, scale, add, dst);
    if (c->spec.kind == &dml__codec_powersgd) {
        float *p = (float *)(uintptr_t)code; /* only read */
        struct dml__gpu_power_args args =
            power_args(c, NULL, p, p + c->shape.rank * c->shape.rows);
        args.dst = dst;
        args.scale = scale;
        args.add = add;
        return launch(d, &dml__power_kernel_product, c->count, &args, sizeof args);
    }
    const struct dml__gpu_block_args args = {
        .code = (unsigned char *)(uintptr_t)code, /* only read */
        .dst = dst,
        .n = c->count,
        .scale = scale,
        .add = add,
        .kind = block_kind(c->spec.kind),
    };
    return launch(d, &dml__codec_kernel_decode_blocks, c->count, &args, sizeof args);
}

dml_status dml__codec_device_decode(const dml_codec *c, const void *code, float scale,
                                    bool add, float *dst)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = decode(c, code, scale, add, dst);
    dml__gpu_leave(gpu);
    return status;
}

/* ---- what the host sees ------------------------------------------------------------
 */

/* The fault is taken off the device, with the residual, which counts as 0 already. */
static dml_status forget_fault(dml_codec *c)
{
    struct dml__codec_device *d = c->device;
    const struct dml__gpu *gpu = d->gpu;
    DML_TRY(gpu->ops->fill(gpu, &d->state->bad, 0, sizeof d->state->bad, d->stream));
    if (d->mirror->clear)
        DML_TRY(
            gpu->ops->fill(gpu, d->residual, 0, c->count * sizeof(float), d->stream));
    DML_TRY(gpu->ops->stream_sync(gpu, d->stream));
    d->mirror->bad = 0;
    return DML_OK;
}

static dml_status look(dml_codec *c, bool wait, uint64_t *step)
{
    struct dml__codec_device *d = c->device;
    const struct dml__gpu *gpu = d->gpu;
    const volatile uint32_t *bad = &d->mirror->bad;
    bool captured = false;
    if (!wait && !*bad)
        return DML_OK;
    DML_TRY(gpu->ops->stream_captured(gpu, d->stream, &captured));
    if (captured)
        return DML_OK;
    DML_TRY(gpu->ops->stream_sync(gpu, d->stream));
    if (!*bad)
        return DML_OK;
    *step = d->mirror->bad_step;
    DML_TRY(forget_fault(c));
    return DML_ENUMERIC;
}

dml_status dml__codec_device_look(dml_codec *c, bool wait, uint64_t *step)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = look(c, wait, step);
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__codec_device_stream(dml_codec *c, void *stream)
{
    struct dml__codec_device *d = c->device;
    DML_TRY(dml__gpu_enter(d->gpu));
    dml_status status = d->gpu->ops->stream_sync(d->gpu, d->stream);
    dml__gpu_leave(d->gpu);
    d->stream = stream;
    return status;
}
