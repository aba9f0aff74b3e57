/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TernGrad (Wen et al., NIPS 2017): an element x becomes s * sign(x) with probability
 * |x| / s, else 0. In the mean that is x, so nothing is kept back. s is the largest
 * magnitude of the block, or "clip" standard deviations where that is less (variance
 * grows with s; elements beyond it are cut to it, so the mean is right with clip 0
 * only), and then the largest s of all ranks, so that the sums of a block are multiples
 * of one number.
 */
#include "compress/codec.h"

static dml_status open_shared(dml_codec *c)
{
    c->nshared = dml__codec_blocks(c->count);
    c->shared = dml__alloc(c->ctx, c->nshared * sizeof *c->shared);
    if (c->shared == NULL)
        return dml__fail(c->ctx, DML_ENOMEM, "dml_codec_create",
                         "no memory for %zu scales", c->nshared);
    return DML_OK;
}

static uint32_t prepare(dml_codec *c, const float *g)
{
    return c->loops->tern_scales(c->count, g, (float)c->spec.number, c->shared);
}

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    struct dml__draw draw = {c->spec.seed, c->stream, c->step++};
    c->loops->tern_encode(c->count, g, c->shared, &draw, code);
    return 0;
}

static void decode(const dml_codec *c, const void *code, float scale, bool add,
                   float *dst)
{
    c->loops->tern_decode(c->count, code, scale, add, dst);
}

const struct dml__codec_kind dml__codec_terngrad = {
    .name = "terngrad",
    .description = "-s, 0 or s at random, without a residual",
    .form = DML__FORM_SHARDS,
    .block_bytes = DML__TERN_BYTES,
    .own_stream = true,
    .number = "CLIP",
    .least = 0,
    .most = 1000,
    .usual = 2.5,
    .keys = " seed start ",
    .open = open_shared,
    .prepare = prepare,
    .encode = encode,
    .decode = decode,
};
