/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One of 256 levels an element, spread evenly between the least and the largest of its
 * block. The error is at most half a step, and stays in the residual.
 */
#include "compress/codec.h"

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    c->step++;
    return c->loops->eightbit_encode(c->count, g, c->residual, code);
}

static void decode(const dml_codec *c, const void *code, float scale, bool add,
                   float *dst)
{
    c->loops->eightbit_decode(c->count, code, scale, add, dst);
}

const struct dml__codec_kind dml__codec_eightbit = {
    .name = "8bit",
    .description = "256 levels between the least and the largest of a block",
    .form = DML__FORM_SHARDS,
    .block_bytes = DML__EIGHTBIT_BYTES,
    .residual = true,
    .keys = " start ",
    .encode = encode,
    .decode = decode,
};
