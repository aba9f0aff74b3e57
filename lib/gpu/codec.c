/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs on a device: their memory. A codec that is given device memory takes its
 * residual there and stays.
 */
#include "gpu/codec.h"

#include "gpu/memory.h"
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

static dml_status get_memory(const dml_codec *c, struct dml__codec_device *d)
{
    const struct dml__gpu *gpu = d->gpu;
    void *residual = NULL, *velocity = NULL, *shared = NULL, *state = NULL,
         *mirror = NULL, *work = NULL;
    if (c->spec.kind->residual)
        DML_TRY(dml__gpu_get_zeroed(gpu, c->count * sizeof(float), &residual));
    d->residual = residual;
    if (c->spec.kind->velocity)
        DML_TRY(dml__gpu_get_zeroed(gpu, c->count * sizeof(float), &velocity));
    d->velocity = velocity;
    if (c->nshared > 0) /* for collectives: as of dml_gpu_alloc() */
        DML_TRY(dml__gpu_memory_alloc(gpu, c->nshared * sizeof(float), &shared));
    d->shared = shared;
    DML_TRY(dml__gpu_get_zeroed(gpu, sizeof(struct dml__gpu_topk_state), &state));
    d->state = state;
    DML_TRY(gpu->ops->alloc_pinned(gpu, sizeof *d->mirror, &mirror));
    d->mirror = mirror;
    memset(mirror, 0, sizeof *d->mirror);
    if (d->runs->work_bytes != NULL)
        DML_TRY(dml__gpu_get_zeroed(gpu, d->runs->work_bytes(c), &work));
    d->work = work;
    return DML_OK;
}

/* Zeros where there is nothing to send. */
static dml_status send_vector(const dml_codec *c, float *to, const float *from)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__gpu_ops *ops = d->gpu->ops;
    const size_t bytes = c->count * sizeof(float);
    if (to == NULL || bytes == 0)
        return DML_OK;
    return from != NULL ? ops->copy(d->gpu, to, from, bytes, d->stream)
                        : ops->fill(d->gpu, to, 0, bytes, d->stream);
}

/* What the host's codec has kept so far, with its vectors; forgets a fault. */
static dml_status send_kept(dml_codec *c, const float *residual, const float *velocity)
{
    struct dml__codec_device *d = c->device;
    const struct dml__gpu *gpu = d->gpu;
    const struct dml__gpu_ops *ops = gpu->ops;
    size_t kept_bytes = 0;
    DML_TRY(send_vector(c, d->residual, residual));
    DML_TRY(send_vector(c, d->velocity, velocity));
    DML_TRY(ops->fill(gpu, d->state, 0, sizeof(struct dml__gpu_topk_state), d->stream));
    if (d->runs->kept != NULL) {
        const void *from = c->spec.kind->kept(c, &kept_bytes);
        if (kept_bytes > 0)
            DML_TRY(ops->copy(gpu, d->runs->kept(c), from, kept_bytes, d->stream));
    }
    DML_TRY(ops->stream_sync(gpu, d->stream));
    memset(d->mirror, 0, sizeof *d->mirror);
    return DML_OK;
}

static dml_status copy(const struct dml__codec_device *d, void *to, const void *from,
                       size_t bytes)
{
    const struct dml__gpu_ops *ops = d->gpu->ops;
    DML_TRY(ops->copy(d->gpu, to, from, bytes, d->stream));
    return ops->stream_sync(d->gpu, d->stream);
}

dml_status dml__codec_device_copy(const dml_codec *c, void *to, const void *from,
                                  size_t bytes)
{
    const struct dml__codec_device *d = c->device;
    DML_TRY(dml__gpu_enter(d->gpu));
    dml_status status = copy(d, to, from, bytes);
    dml__gpu_leave(d->gpu);
    return status;
}

void *dml__codec_device_kept(const dml_codec *c)
{
    return c->device->runs->kept(c);
}

dml_status dml__codec_device_clear(dml_codec *c)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = send_kept(c, NULL, NULL);
    dml__gpu_leave(gpu);
    return status;
}

/* Codes may be captured from the second on. */
static dml_status load_kernels(const struct dml__codec_device *d)
{
    static const struct dml_gpu_kernel *const any[] = {&dml__codec_kernel_flush};
    DML_TRY(dml__gpu_load_kernels(d->gpu, any, sizeof any / sizeof any[0]));
    return dml__gpu_load_kernels(d->gpu, d->runs->kernels, d->runs->nkernels);
}

static void free_memory(struct dml__codec_device *d)
{
    const struct dml__gpu *gpu = d->gpu;
    gpu->ops->stream_sync(gpu, d->stream);
    dml__gpu_release(gpu, d->work);
    dml__gpu_release(gpu, d->state);
    dml__gpu_release(gpu, d->residual);
    dml__gpu_release(gpu, d->velocity);
    if (d->shared != NULL)
        dml__gpu_memory_free(gpu, d->shared);
    if (d->mirror != NULL)
        gpu->ops->free_pinned(gpu, d->mirror);
}

/* How each codec runs there. */
static const struct {
    const struct dml__codec_kind *kind;
    const struct dml__codec_runs *runs;
} kinds[] = {
    {&dml__codec_f16, &dml__codec_runs_blocks},
    {&dml__codec_bf16, &dml__codec_runs_blocks},
    {&dml__codec_eightbit, &dml__codec_runs_blocks},
    {&dml__codec_onebit, &dml__codec_runs_blocks},
    {&dml__codec_sign, &dml__codec_runs_blocks},
    {&dml__codec_terngrad, &dml__codec_runs_tern},
    {&dml__codec_topk, &dml__codec_runs_topk},
    {&dml__codec_dgc, &dml__codec_runs_topk},
    {&dml__codec_randomk, &dml__codec_runs_random},
    {&dml__codec_powersgd, &dml__codec_runs_power},
};

static const struct dml__codec_runs *runs_of(const struct dml__codec_kind *kind)
{
    size_t i = 0;
    while (kinds[i].kind != kind)
        i++;
    return kinds[i].runs;
}

static dml_status prepare(dml_codec *c, struct dml__codec_device *d)
{
    DML_TRY(get_memory(c, d));
    DML_TRY(load_kernels(d));
    return send_kept(c, c->residual, c->velocity);
}

dml_status dml__codec_device_open(dml_codec *c)
{
    if (c->count > UINT32_MAX)
        return dml__fail(c->ctx, DML_EUNSUPPORTED, "dml_codec_encode",
                         "%zu elements; a device codes at most %u at a time", c->count,
                         UINT32_MAX);
    struct dml__codec_device *d = dml__alloc(c->ctx, sizeof *d);
    if (d == NULL)
        return dml__fail(c->ctx, DML_ENOMEM, "dml_codec_encode", "no memory");
    d->gpu = dml__gpu_opened(c->ctx);
    d->gpu->used = true;
    d->runs = runs_of(c->spec.kind);
    dml_status status = dml__gpu_enter(d->gpu);
    if (status != DML_OK) {
        dml__free(d);
        return status;
    }
    c->device = d;
    status = prepare(c, d);
    dml__gpu_leave(d->gpu);
    if (status != DML_OK) {
        c->device = NULL;
        dml__codec_device_close(d);
        return status;
    }
    dml__free(c->residual);
    dml__free(c->velocity);
    dml__free(c->shared);
    c->residual = d->residual;
    c->velocity = d->velocity;
    c->shared = d->shared;
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
