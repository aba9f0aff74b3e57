/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PowerSGD on a device: its parts as launches (codec_power.h).
 */
#include "gpu/codec.h"

static size_t work_bytes(const dml_codec *c)
{
    return c->shape.rank * c->shape.cols * sizeof(float);
}

static void *kept(const dml_codec *c)
{
    return c->device->work;
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

static dml_status power_first(const dml_codec *c, const float *g, float *p)
{
    const struct dml__gpu_power_args args = power_args(c, g, p, NULL);
    return dml__codec_launch(c, &dml__power_kernel_left, args.rows * DML__CODEC_LANES,
                             &args, sizeof args);
}

static dml_status power_second(const dml_codec *c, float *p, float *q)
{
    const struct dml__gpu_power_args args = power_args(c, NULL, p, q);
    DML_TRY(
        dml__codec_launch(c, &dml__power_kernel_orthonormal, 1, &args, sizeof args));
    return dml__codec_launch(c, &dml__power_kernel_right, args.cols, &args,
                             sizeof args);
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
        dml__codec_launch(c, &dml__power_kernel_product, c->count, &args, sizeof args));
    return dml__codec_launch(c, &dml__power_kernel_keep, args.rank * DML__POWER_LANES,
                             &args, sizeof args);
}

static dml_status encode(const dml_codec *c, const float *g, void *code)
{
    float *p = code, *q = p + c->shape.rank * c->shape.rows;
    if (c->count == 0)
        return DML_OK;
    DML_TRY(power_first(c, g, p));
    DML_TRY(power_second(c, p, q));
    return power_third(c, p, q, NULL);
}

static dml_status decode(const dml_codec *c, const void *code, float scale, bool add,
                         float *dst)
{
    float *p = (float *)(uintptr_t)code; /* only read */
    struct dml__gpu_power_args args =
        power_args(c, NULL, p, p + c->shape.rank * c->shape.rows);
    args.dst = dst;
    args.scale = scale;
    args.add = add;
    return dml__codec_launch(c, &dml__power_kernel_product, c->count, &args,
                             sizeof args);
}

static const struct dml_gpu_kernel *const kernels[] = {
    &dml__power_kernel_left,  &dml__power_kernel_orthonormal,
    &dml__power_kernel_right, &dml__power_kernel_product,
    &dml__power_kernel_keep,
};

const struct dml__codec_runs dml__codec_runs_power = {
    .kernels = kernels,
    .nkernels = sizeof kernels / sizeof *kernels,
    .work_bytes = work_bytes,
    .kept = kept,
    .encode = encode,
    .decode = decode,
};

/* ---- parts of it -------------------------------------------------------------------
 */

dml_status dml__codec_device_power_first(dml_codec *c, const float *g, float *p)
{
    const struct dml__gpu *gpu = c->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = power_first(c, g, p);
    if (status == DML_OK)
        status = dml__codec_show_state(c);
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
