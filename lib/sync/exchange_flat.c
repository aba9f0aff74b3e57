/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codes that can be added as they are: 16-bit floats, and f32 values of elements that
 * are the same on all ranks. One all-reduce, which is accumulated in f32.
 */
#include "sync/exchange.h"

static dml_status open_flat(struct dml__exchange *x)
{
    const struct dml__member all = {0, x->count, 0};
    DML_TRY(dml__exchange_parts(x, 1));
    DML_TRY(dml__exchange_part(x, 0, &all, x->stream));
    x->code_bytes = dml_codec_bytes(x->parts[0].codec);
    x->wire_bytes = dml__allreduce_bytes(x, x->code_bytes);
    return dml__exchange_memory(x, x->code_bytes, 0);
}

static dml_status start_flat(struct dml__exchange *x, int stage)
{
    (void)stage;
    const dml_dtype wire = x->spec->kind->wire;
    x->top = x->spec->kind->encode(x->parts[0].codec, x->data, x->send);
    return dml_iallreduce(DML_IN_PLACE, x->send, x->code_bytes / dml_dtype_bytes(wire),
                          wire, DML_AVG, x->comm, &x->request);
}

static void finish_flat(struct dml__exchange *x)
{
    dml_codec_decode(x->parts[0].codec, x->send, 1, false, x->data);
}

const struct dml__form_ops dml__form_flat = {1, open_flat, start_flat, finish_flat};
