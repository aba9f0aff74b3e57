/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Top-k: the elements of largest magnitude are sent as they are, the others wait.
 */
#include "compress/sparse.h"

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    return dml__sparse_encode(c, g, 1, code);
}

const struct dml__codec_kind dml__codec_topk = {
    .name = "topk",
    .description = "the elements of largest magnitude",
    .form = DML__FORM_SPARSE,
    .residual = true,
    .number = "RATIO",
    .least = 1e-9,
    .most = 1,
    .keys = " start ",
    .open = dml__sparse_open,
    .reset = dml__sparse_reset,
    .bytes = dml__sparse_bytes,
    .encode = encode,
    .decode = dml__sparse_decode,
    .kept = dml__sparse_kept,
};
