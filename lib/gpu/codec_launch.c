/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs on a device: encoding and decoding as launches in a stream, and what the host
 * sees of them.
 */
#include "gpu/codec.h"

dml_status dml__codec_launch(const dml_codec *c, const struct dml_gpu_kernel *kernel,
                             uint64_t n, const void *args, size_t bytes)
{
    const struct dml__codec_device *d = c->device;
    return dml__gpu_launch(d->gpu, kernel, n > 0 ? (size_t)n : 1, 1, args, bytes,
                           d->stream);
}

dml_status dml__codec_show_state(const dml_codec *c)
{
    const struct dml__codec_device *d = c->device;
    return d->gpu->ops->copy(d->gpu, d->mirror, d->state, sizeof *d->mirror, d->stream);
}

/* A replay of the step would draw the same numbers again, or send as many elements. */
static dml_status refuse_capture(const dml_codec *c)
{
    const struct dml__codec_device *d = c->device;
    bool captured = false;
    if (d->runs->draws || c->age < c->spec.warmup)
        DML_TRY(d->gpu->ops->stream_captured(d->gpu, d->stream, &captured));
    if (!captured)
        return DML_OK;
    if (d->runs->draws)
        return dml__fail(c->ctx, DML_EUNSUPPORTED, "dml_codec_encode",
                         "codes of %s cannot be captured in a graph: each "
                         "replay would draw the same random numbers",
                         c->spec.kind->name);
    return dml__fail(c->ctx, DML_EUNSUPPORTED, "dml_codec_encode",
                     "codes of %s cannot be captured in a graph in the warm-up's %llu "
                     "steps (%llu so far): each replay would send as many elements",
                     c->spec.kind->name, (unsigned long long)c->spec.warmup,
                     (unsigned long long)c->age);
}

static dml_status prepare(dml_codec *c, const float *g)
{
    DML_TRY(refuse_capture(c));
    return c->device->runs->prepare(c, g);
}

dml_status dml__codec_device_prepare(dml_codec *c, const float *g)
{
    const struct dml__gpu *gpu = c->device->gpu;
    if (c->device->runs->prepare == NULL)
        return DML_OK;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = prepare(c, g);
    dml__gpu_leave(gpu);
    return status;
}

static dml_status encode(dml_codec *c, const float *g, void *code)
{
    DML_TRY(refuse_capture(c));
    DML_TRY(c->device->runs->encode(c, g, code));
    c->step++;
    return dml__codec_show_state(c);
}

dml_status dml__codec_device_encode(dml_codec *c, const float *g, void *code)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = encode(c, g, code);
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__codec_device_decode(const dml_codec *c, const void *code, float scale,
                                    bool add, float *dst)
{
    const struct dml__gpu *gpu = c->device->gpu;
    if (c->count == 0)
        return DML_OK;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = c->device->runs->decode(c, code, scale, add, dst);
    dml__gpu_leave(gpu);
    return status;
}

static dml_status flush(dml_codec *c, float weight, float *g)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__gpu_block_args args = {
        .dst = g, .e = d->residual, .n = c->count, .scale = weight};
    if (d->velocity != NULL) {
        DML_TRY(d->runs->push(c, g));
        DML_TRY(dml__codec_show_state(c));
    }
    if (d->residual != NULL && c->waiting)
        DML_TRY(dml__codec_launch(c, &dml__codec_kernel_flush, c->count, &args,
                                  sizeof args));
    c->waiting = false;
    return DML_OK;
}

dml_status dml__codec_device_flush(dml_codec *c, float weight, float *g)
{
    const struct dml__codec_device *d = c->device;
    if (c->count == 0) {
        c->waiting = false;
        return DML_OK;
    }
    DML_TRY(dml__gpu_enter(d->gpu));
    dml_status status = flush(c, weight, g);
    dml__gpu_leave(d->gpu);
    return status;
}

/* ---- what the host sees ------------------------------------------------------------
 */

/* The fault is taken off the device, with what is kept, which counts as 0 already. */
static dml_status forget_fault(dml_codec *c)
{
    struct dml__codec_device *d = c->device;
    const struct dml__gpu *gpu = d->gpu;
    DML_TRY(gpu->ops->fill(gpu, &d->state->bad, 0, sizeof d->state->bad, d->stream));
    float *const vectors[] = {d->residual, d->velocity};
    for (int i = 0; i < 2 && d->mirror->clear; i++)
        if (vectors[i] != NULL)
            DML_TRY(gpu->ops->fill(gpu, vectors[i], 0, c->count * sizeof(float),
                                   d->stream));
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
