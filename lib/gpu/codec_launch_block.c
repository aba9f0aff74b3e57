/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codes of blocks, and of elements of 16 bits, on a device: as launches
 * (codec_block.h).
 */
#include "gpu/codec.h"

/* Kinds and the names that kernels know them by. */
static const struct {
    const struct dml__codec_kind *kind;
    enum dml__gpu_block_kind number;
} kinds[] = {
    {&dml__codec_onebit, DML__GPU_ONEBIT},     {&dml__codec_sign, DML__GPU_SIGN},
    {&dml__codec_eightbit, DML__GPU_EIGHTBIT}, {&dml__codec_f16, DML__GPU_F16},
    {&dml__codec_bf16, DML__GPU_BF16},
};

static enum dml__gpu_block_kind number_of(const struct dml__codec_kind *kind)
{
    size_t i = 0;
    while (kinds[i].kind != kind)
        i++;
    return kinds[i].number;
}

static dml_status encode(const dml_codec *c, const float *g, void *code)
{
    const struct dml__codec_device *d = c->device;
    const struct dml__gpu_block_args args = {
        .g = g,
        .e = d->residual,
        .code = code,
        .n = c->count,
        .step = c->step,
        .kind = number_of(c->spec.kind),
        .state = d->state,
    };
    if (dml__gpu_is_cast(args.kind))
        return dml__codec_launch(c, &dml__codec_kernel_encode_casts,
                                 c->count / DML__CAST_EACH, &args, sizeof args);
    return dml__codec_launch(c, &dml__codec_kernel_encode_blocks,
                             dml__codec_blocks(c->count) * DML__CODEC_LANES, &args,
                             sizeof args);
}

static dml_status decode(const dml_codec *c, const void *code, float scale, bool add,
                         float *dst)
{
    const struct dml__gpu_block_args args = {
        .code = (unsigned char *)(uintptr_t)code, /* only read */
        .dst = dst,
        .n = c->count,
        .scale = scale,
        .add = add,
        .kind = number_of(c->spec.kind),
    };
    return dml__codec_launch(c, &dml__codec_kernel_decode_blocks,
                             dml__codec_blocks(c->count) * DML__WARP, &args,
                             sizeof args);
}

static const struct dml_gpu_kernel *const kernels[] = {
    &dml__codec_kernel_encode_blocks,
    &dml__codec_kernel_encode_casts,
    &dml__codec_kernel_decode_blocks,
};

const struct dml__codec_runs dml__codec_runs_blocks = {
    .kernels = kernels,
    .nkernels = sizeof kernels / sizeof *kernels,
    .encode = encode,
    .decode = decode,
};
