/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codes of other elements on each rank: every rank gets all codes and adds them in the
 * order of the ranks. All codes of a step are of one length, so nothing has to be said
 * about it first. What is sent grows with the number of ranks; where that no longer
 * pays the reducer's measurement says so.
 */
#include "sync/exchange.h"

static void size_sparse(struct dml__exchange *x)
{
    x->code_bytes = dml_codec_bytes(x->codecs[0].codec);
    x->wire_bytes = x->code_bytes * (size_t)(x->nranks - 1);
}

static dml_status open_sparse(struct dml__exchange *x)
{
    const struct dml__member all = {.count = x->count};
    DML_TRY(dml__exchange_codecs(x, 1));
    DML_TRY(dml__exchange_add(x, 0, &all, x->stream));
    /* The first code is the longest: dgc's warm-up only shortens it. */
    size_sparse(x);
    return dml__exchange_memory(x, 0, dml__mul(x->code_bytes, (size_t)x->nranks));
}

static dml_status start_sparse(struct dml__exchange *x, int stage)
{
    (void)stage;
    dml_codec *c = x->codecs[0].codec;
    DML_TRY(dml__exchange_encode(x, c, x->data, x->recv + x->rank * x->code_bytes));
    return dml_iallgather(DML_IN_PLACE, x->recv, x->code_bytes, DML_U8, x->comm,
                          &x->request);
}

static dml_status finish_sparse(struct dml__exchange *x)
{
    const float share = 1 / (float)x->nranks;
    for (int r = 0; r < x->nranks; r++)
        DML_TRY(dml__exchange_decode(x, x->codecs[0].codec, x->recv + r * x->code_bytes,
                                     share, r > 0, x->data));
    return DML_OK;
}

const struct dml__form_ops dml__form_sparse = {1, open_sparse, start_sparse,
                                               finish_sparse, size_sparse};
