/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deep gradient compression (Lin, Han, Mao, Wang and Dally, ICLR 2018): top-k of what
 * momentum makes of the gradients. Per rank
 *
 *     u = momentum * u + g,  v = v + u,
 *
 * the largest elements of v are sent, and there v and u become 0 ("factor masking": an
 * element that was sent does not go on pushing). v is the residual, u the velocity. The
 * gradient is clipped first, here, because clipping what has waited would distort it.
 */
#include "compress/sparse.h"

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    return dml__sparse_encode(c, g, dml__codec_clip(c, g), code);
}

const struct dml__codec_kind dml__codec_dgc = {
    .name = "dgc",
    .description = "top-k with momentum correction; the optimizer's momentum must be 0",
    .form = DML__FORM_SPARSE,
    .residual = true,
    .velocity = true,
    .number = "RATIO",
    .least = 1e-9,
    .most = 1,
    .keys = " momentum clip warmup start ",
    .open = dml__sparse_open,
    .reset = dml__sparse_reset,
    .bytes = dml__sparse_bytes,
    .encode = encode,
    .decode = dml__sparse_decode,
    .kept = dml__sparse_kept,
};
