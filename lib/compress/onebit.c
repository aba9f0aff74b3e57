/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 1-bit SGD (Seide, Fu, Droppo, Li and Yu, Interspeech 2014): an element becomes the
 * mean of its block's elements of the same sign. It needs the residual to converge.
 */
#include "compress/codec.h"

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    c->step++;
    return c->loops->onebit_encode(c->count, g, c->residual, code);
}

static void decode(const dml_codec *c, const void *code, float scale, bool add,
                   float *dst)
{
    c->loops->onebit_decode(c->count, code, scale, add, dst);
}

const struct dml__codec_kind dml__codec_onebit = {
    .name = "onebit",
    .description = "a sign an element, two means a block",
    .form = DML__FORM_SHARDS,
    .block_bytes = DML__ONEBIT_BYTES,
    .residual = true,
    .keys = " start ",
    .encode = encode,
    .decode = decode,
};
