/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values of elements that are the same on all ranks: they can be added as they are, by
 * one all-reduce.
 */
#include "sync/exchange.h"

static dml_status open_same(struct dml__exchange *x)
{
    const struct dml__member all = {.count = x->count};
    DML_TRY(dml__exchange_codecs(x, 1));
    DML_TRY(dml__exchange_add(x, 0, &all, x->stream));
    x->code_bytes = dml_codec_bytes(x->codecs[0].codec);
    x->wire_bytes = dml__allreduce_bytes(x, x->code_bytes);
    return dml__exchange_memory(x, x->code_bytes, 0);
}

static dml_status start_same(struct dml__exchange *x, int stage)
{
    (void)stage;
    DML_TRY(dml__exchange_encode(x, x->codecs[0].codec, x->data, x->send));
    return dml_iallreduce(DML_IN_PLACE, x->send, x->code_bytes / sizeof(float), DML_F32,
                          DML_AVG, x->comm, &x->request);
}

static dml_status finish_same(struct dml__exchange *x)
{
    return dml__exchange_decode(x, x->codecs[0].codec, x->send, 1, false, x->data);
}

const struct dml__form_ops dml__form_same_indices = {1, open_same, start_same,
                                                     finish_same, NULL};
