/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Top-k and dgc on a device: a code as a chain of launches (codec_topk.h), before which
 * dgc's gradient may be clipped (codec_momentum.h).
 */
#include "gpu/codec.h"
#include "gpu/codec_momentum.h"

#include <stddef.h>

static size_t work_bytes(const dml_codec *c)
{
    return dml__topk_parts(c).bytes;
}

/* As the beginning of struct sparse of compress/sparse.c. */
static void *kept(const dml_codec *c)
{
    struct dml__gpu_topk_state *state = (struct dml__gpu_topk_state *)c->device->state;
    _Static_assert(offsetof(struct dml__gpu_topk_state, slots) ==
                       offsetof(struct dml__gpu_topk_state, limit) + 2 * sizeof(float),
                   "limit, edge and slots follow each other");
    return &state->limit;
}

static struct dml__gpu_topk_args topk_args(const dml_codec *c, const float *g,
                                           void *code)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__topk_parts at = dml__topk_parts(c);
    const size_t nsegments =
        (size_t)((c->count + DML__SPARSE_SEGMENT - 1) / DML__SPARSE_SEGMENT);
    uint32_t *counts = code;
    return (struct dml__gpu_topk_args){
        .g = g,
        .e = d->residual,
        .u = d->velocity,
        .momentum = (float)c->spec.momentum,
        .clipped = c->spec.clip > 0,
        .n = c->count,
        .slots = dml__codec_slots(c),
        .capacity = dml__sparse_room(c),
        .step = c->step,
        .masks = (uint32_t *)(d->work + at.masks),
        .chunks = (uint32_t *)(d->work + at.chunks),
        .above = (uint32_t *)(d->work + at.above),
        .equal = (uint32_t *)(d->work + at.equal),
        .listed = (float *)(d->work + at.listed),
        .places = (uint32_t *)(d->work + at.places),
        .counts = counts,
        .values = (float *)(counts + nsegments),
        .state = (struct dml__gpu_topk_state *)d->state,
    };
}

static dml_status topk(const dml_codec *c, const struct dml_gpu_kernel *kernel,
                       uint64_t n, const struct dml__gpu_topk_args *args)
{
    return dml__codec_launch(c, kernel, n, args, sizeof *args);
}

static struct dml__gpu_momentum_args momentum_args(const dml_codec *c, float *g)
{
    const struct dml__codec_device *d = c->device;
    return (struct dml__gpu_momentum_args){
        .g = g,
        .u = d->velocity,
        .n = c->count,
        .step = c->step,
        .momentum = (float)c->spec.momentum,
        .clipped = c->spec.clip > 0,
        .limit = dml__codec_limit(c),
        .sums = (double *)(d->work + dml__topk_parts(c).sums),
        .state = (struct dml__gpu_topk_state *)d->state,
    };
}

/* The state's factor, where g is clipped. */
static dml_status clip(const dml_codec *c, const float *g)
{
    const struct dml__gpu_momentum_args args =
        momentum_args(c, (float *)(uintptr_t)g); /* only read */
    return args.clipped ? dml__codec_launch(c, &dml__momentum_kernel_norm,
                                            dml__codec_blocks(c->count) * DML__WARP,
                                            &args, sizeof args)
                        : DML_OK;
}

static dml_status push(const dml_codec *c, float *g)
{
    const struct dml__gpu_momentum_args args = momentum_args(c, g);
    DML_TRY(clip(c, g));
    return dml__codec_launch(c, &dml__momentum_kernel_push, c->count, &args,
                             sizeof args);
}

static dml_status encode(const dml_codec *c, const float *g, void *code)
{
    struct dml__codec_device *d = c->device;
    struct dml__gpu_topk_args args = topk_args(c, g, code);
    const uint64_t n = dml__topk_chunks(c->count) * DML__WARP;
    if (c->count == 0)
        return DML_OK;
    DML_TRY(clip(c, g));
    DML_TRY(d->gpu->ops->fill(d->gpu, code, 0, dml_codec_bytes(c), d->stream));
    DML_TRY(topk(c, &dml__topk_kernel_begin, 1, &args));
    DML_TRY(topk(c, &dml__topk_kernel_mark, n, &args));
    args.g = NULL;
    for (args.level = 0; args.level < 2; args.level++) {
        if (args.level == 1)
            DML_TRY(topk(c, &dml__topk_kernel_mark, n, &args));
        DML_TRY(topk(c, &dml__topk_kernel_plan, 1, &args));
    }
    DML_TRY(topk(c, &dml__topk_kernel_gather, n, &args));
    for (args.level = 0; args.level < 3; args.level++)
        DML_TRY(topk(c, &dml__topk_kernel_edge, n, &args));
    DML_TRY(topk(c, &dml__topk_kernel_count, n, &args));
    DML_TRY(topk(c, &dml__topk_kernel_scan, 1, &args));
    return topk(c, &dml__topk_kernel_emit, n, &args);
}

static dml_status decode(const dml_codec *c, const void *code, float scale, bool add,
                         float *dst)
{
    const struct dml__codec_device *d = c->device;
    const uint32_t *counts = code;
    const size_t nsegments =
        (size_t)((c->count + DML__SPARSE_SEGMENT - 1) / DML__SPARSE_SEGMENT);
    const struct dml__gpu_scatter_args args = {
        .counts = counts,
        .values = (const float *)(counts + nsegments),
        .dst = dst,
        .n = c->count,
        .nsegments = nsegments,
        .most = dml__sparse_most(c),
        .scale = scale,
    };
    if (!add)
        DML_TRY(d->gpu->ops->fill(d->gpu, dst, 0, c->count * sizeof *dst, d->stream));
    return dml__codec_launch(c, &dml__topk_kernel_scatter,
                             nsegments * DML__TOPK_THREADS, &args, sizeof args);
}

static const struct dml_gpu_kernel *const kernels[] = {
    &dml__topk_kernel_begin,    &dml__topk_kernel_mark,     &dml__topk_kernel_plan,
    &dml__topk_kernel_gather,   &dml__topk_kernel_edge,     &dml__topk_kernel_count,
    &dml__topk_kernel_scan,     &dml__topk_kernel_emit,     &dml__topk_kernel_scatter,
    &dml__momentum_kernel_norm, &dml__momentum_kernel_push,
};

const struct dml__codec_runs dml__codec_runs_topk = {
    .kernels = kernels,
    .nkernels = sizeof kernels / sizeof *kernels,
    .work_bytes = work_bytes,
    .kept = kept,
    .encode = encode,
    .decode = decode,
    .push = push,
};
