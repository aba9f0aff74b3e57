/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Elements rounded to 16 bits. What rounding takes away is added to the next gradient,
 * so that steps far smaller than a unit in the last place are not lost.
 */
#include "compress/codec.h"

static size_t bytes(const dml_codec *c)
{
    return c->count * sizeof(uint16_t);
}

static uint32_t encode_f16(dml_codec *c, const float *g, void *code)
{
    c->step++;
    return c->loops->f16_encode(c->count, g, c->residual, code);
}

static uint32_t encode_bf16(dml_codec *c, const float *g, void *code)
{
    c->step++;
    return c->loops->bf16_encode(c->count, g, c->residual, code);
}

static void decode(const dml_codec *c, dml_dtype type, const void *code, float scale,
                   bool add, float *dst)
{
    if (add)
        c->kernels->fold_scaled[type](dst, dst, code, c->count, scale);
    else
        c->kernels->load_scaled[type](dst, code, NULL, c->count, scale);
}

static void decode_f16(const dml_codec *c, const void *code, float scale, bool add,
                       float *dst)
{
    decode(c, DML_F16, code, scale, add, dst);
}

static void decode_bf16(const dml_codec *c, const void *code, float scale, bool add,
                        float *dst)
{
    decode(c, DML_BF16, code, scale, add, dst);
}

const struct dml__codec_kind dml__codec_f16 = {
    .name = "f16",
    .description = "16-bit floats of 11 bits' precision, residual kept",
    .form = DML__FORM_SHARDS,
    .block_bytes = DML__CODEC_BLOCK * sizeof(uint16_t),
    .residual = true,
    .keys = " start ",
    .bytes = bytes,
    .encode = encode_f16,
    .decode = decode_f16,
};

const struct dml__codec_kind dml__codec_bf16 = {
    .name = "bf16",
    .description = "16-bit floats of f32's range, residual kept",
    .form = DML__FORM_SHARDS,
    .block_bytes = DML__CODEC_BLOCK * sizeof(uint16_t),
    .residual = true,
    .keys = " start ",
    .bytes = bytes,
    .encode = encode_bf16,
    .decode = decode_bf16,
};
