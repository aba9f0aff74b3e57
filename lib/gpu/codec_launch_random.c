/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random-k on a device: codes as launches (codec_random.h).
 */
#include "compress/randomk.h"
#include "gpu/codec.h"
#include "gpu/codec_random.h"

static dml_status encode(const dml_codec *c, const float *g, void *code)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__gpu_random_args args = {
        .g = g,
        .e = d->residual,
        .values = code,
        .step = c->step,
        .draw = dml__random_draw(c, c->step),
        .state = d->state,
    };
    DML_TRY(dml__codec_launch(c, &dml__random_kernel_add, c->count / DML__RANDOM_EACH,
                              &args, sizeof args));
    return dml__codec_launch(c, &dml__random_kernel_take, args.draw.k, &args,
                             sizeof args);
}

static dml_status decode(const dml_codec *c, const void *code, float scale, bool add,
                         float *dst)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__gpu_random_args args = {
        .values = (float *)(uintptr_t)code, /* only read */
        .dst = dst,
        .scale = scale,
        .draw = dml__random_draw(c, dml__random_decoded(c)),
    };
    if (!add)
        DML_TRY(d->gpu->ops->fill(d->gpu, dst, 0, c->count * sizeof *dst, d->stream));
    return dml__codec_launch(c, &dml__random_kernel_put, args.draw.k, &args,
                             sizeof args);
}

static const struct dml_gpu_kernel *const kernels[] = {
    &dml__random_kernel_add, &dml__random_kernel_take, &dml__random_kernel_put};

const struct dml__codec_runs dml__codec_runs_random = {
    .kernels = kernels,
    .nkernels = sizeof kernels / sizeof *kernels,
    .draws = true,
    .encode = encode,
    .decode = decode,
};
