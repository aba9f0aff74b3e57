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

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    dml__encode_fn *fn =
        c->spec.kind->wire == DML_F16 ? c->loops->f16_encode : c->loops->bf16_encode;
    c->step++;
    return fn(c->count, g, c->residual, code);
}

static void decode(const dml_codec *c, const void *code, float scale, bool add,
                   float *dst)
{
    dml_dtype wire = c->spec.kind->wire;
    if (add)
        c->kernels->fold_scaled[wire](dst, dst, code, c->count, scale);
    else
        c->kernels->load_scaled[wire](dst, code, NULL, c->count, scale);
}

const struct dml__codec_kind dml__codec_f16 = {
    .name = "f16",
    .text = "16-bit floats of 11 bits' precision, residual kept",
    .form = DML__FORM_CAST,
    .wire = DML_F16,
    .residual = true,
    .keys = " start ",
    .bytes = bytes,
    .encode = encode,
    .decode = decode,
};

const struct dml__codec_kind dml__codec_bf16 = {
    .name = "bf16",
    .text = "16-bit floats of f32's range, residual kept",
    .form = DML__FORM_CAST,
    .wire = DML_BF16,
    .residual = true,
    .keys = " start ",
    .bytes = bytes,
    .encode = encode,
    .decode = decode,
};
