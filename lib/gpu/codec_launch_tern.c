/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TernGrad on a device: its scales and codes as launches (codec_tern.h).
 */
#include "core/philox.h"
#include "gpu/codec.h"
#include "gpu/codec_tern.h"

static dml_status prepare(const dml_codec *c, const float *g)
{
    const struct dml__gpu_tern_args args = {
        .g = g,
        .scales = c->shared,
        .n = c->count,
        .step = c->step,
        .clip = (float)c->spec.number,
        .state = c->device->state,
    };
    return dml__codec_launch(c, &dml__tern_kernel_scales, c->nshared * DML__CODEC_LANES,
                             &args, sizeof args);
}

static dml_status encode(const dml_codec *c, const float *g, void *code)
{
    uint32_t random[4];
    struct dml__gpu_tern_args args = {
        .g = g, .scales = c->shared, .code = code, .n = c->count};
    dml__philox(c->spec.seed, c->stream, c->step, random);
    args.random[0] = random[0];
    args.random[1] = random[1];
    return dml__codec_launch(c, &dml__tern_kernel_encode, c->nshared * DML__CODEC_LANES,
                             &args, sizeof args);
}

static dml_status decode(const dml_codec *c, const void *code, float scale, bool add,
                         float *dst)
{
    const struct dml__gpu_tern_args args = {
        .code = (uint32_t *)(uintptr_t)code, /* only read */
        .dst = dst,
        .n = c->count,
        .scale = scale,
        .add = add,
    };
    return dml__codec_launch(c, &dml__tern_kernel_decode,
                             dml__codec_blocks(c->count) * DML__WARP, &args,
                             sizeof args);
}

static const struct dml_gpu_kernel *const kernels[] = {
    &dml__tern_kernel_scales, &dml__tern_kernel_encode, &dml__tern_kernel_decode};

const struct dml__codec_runs dml__codec_runs_tern = {
    .kernels = kernels,
    .nkernels = sizeof kernels / sizeof *kernels,
    .draws = true,
    .prepare = prepare,
    .encode = encode,
    .decode = decode,
};
