/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EF-signSGD (Karimireddy, Rebjock, Stich and Jaggi, ICML 2019): an element becomes its
 * sign times the block's mean magnitude. 0 counts as positive.
 */
#include "compress/codec.h"

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    c->step++;
    return c->loops->sign_encode(c->count, g, c->residual, code);
}

static void decode(const dml_codec *c, const void *code, float scale, bool add,
                   float *dst)
{
    c->loops->sign_decode(c->count, code, scale, add, dst);
}

const struct dml__codec_kind dml__codec_sign = {
    .name = "sign",
    .description = "a sign an element, one mean magnitude a block",
    .form = DML__FORM_SHARDS,
    .block_bytes = DML__SIGN_BYTES,
    .residual = true,
    .keys = " start ",
    .encode = encode,
    .decode = decode,
};
