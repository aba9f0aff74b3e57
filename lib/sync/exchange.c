/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the forms of a compressed average have in common.
 */
#include "sync/exchange.h"

#include "comm/comm.h"

static const struct dml__form_ops *const forms[] = {
    [DML__FORM_SHARDS] = &dml__form_shards,
    [DML__FORM_SPARSE] = &dml__form_sparse,
    [DML__FORM_SAME_INDICES] = &dml__form_same_indices,
    [DML__FORM_FACTORS] = &dml__form_factors,
};

static dml_status no_memory(const struct dml__exchange *x)
{
    return dml__fail(dml_comm_ctx(x->comm), DML_ENOMEM, "dml_reducer",
                     "no memory to compress %zu elements", x->count);
}

dml_status dml__exchange_codecs(struct dml__exchange *x, size_t ncodecs)
{
    x->codecs = dml__alloc(dml_comm_ctx(x->comm), dml__mul(ncodecs, sizeof *x->codecs));
    if (x->codecs == NULL)
        return no_memory(x);
    x->ncodecs = ncodecs;
    return DML_OK;
}

dml_status dml__exchange_add(struct dml__exchange *x, size_t index,
                             const struct dml__member *where, uint64_t stream)
{
    struct dml__exchange_codec *each = &x->codecs[index];
    each->offset = where->offset;
    each->weight = 1;
    DML_TRY(dml__codec_open(dml_comm_ctx(x->comm), x->spec, where->count, where->rows,
                            stream, &each->codec));
    each->codec->nranks = x->nranks;
    return DML_OK;
}

dml_status dml__exchange_memory(struct dml__exchange *x, size_t send_bytes,
                                size_t recv_bytes)
{
    dml_ctx *ctx = dml_comm_ctx(x->comm);
    x->send = dml__alloc(ctx, send_bytes);
    x->recv = dml__alloc(ctx, recv_bytes);
    return x->send != NULL && x->recv != NULL ? DML_OK : no_memory(x);
}

size_t dml__allreduce_bytes(const struct dml__exchange *x, size_t bytes)
{
    return 2 * (bytes / (size_t)x->nranks) * (size_t)(x->nranks - 1);
}

dml_status dml__exchange_open(dml_comm *comm, const struct dml__codec_spec *spec,
                              float *data, size_t count,
                              const struct dml__member *members, size_t nmembers,
                              uint64_t stream, struct dml__exchange **out)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    struct dml__exchange *x = dml__alloc(ctx, sizeof *x);
    if (x == NULL)
        return dml__fail(ctx, DML_ENOMEM, "dml_reducer",
                         "no memory to compress %zu elements", count);
    x->comm = comm;
    x->spec = spec;
    x->ops = forms[spec->kind->form];
    x->rank = dml_comm_rank(comm);
    x->nranks = dml_comm_size(comm);
    x->data = data;
    x->count = count;
    x->members = members;
    x->nmembers = nmembers;
    x->stream = stream;
    if (data == NULL)
        x->data = x->own = dml__alloc(ctx, dml__mul(count, sizeof *data));
    dml_status status = x->data != NULL ? x->ops->open(x) : no_memory(x);
    if (status != DML_OK) {
        dml__exchange_close(x);
        return status;
    }
    x->wire_bytes += dml__allreduce_bytes(
        x, x->ncodecs > 0 ? x->codecs[0].codec->nshared * sizeof(float) : 0);
    *out = x;
    return DML_OK;
}

void dml__exchange_close(struct dml__exchange *x)
{
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->ncodecs; i++) {
        dml_codec *codec = x->codecs[i].codec;
        if (codec == NULL)
            continue;
        dml__comm_release(x->comm, codec->shared);
        codec->shared = NULL;
        dml_codec_destroy(codec);
    }
    dml__free(x->codecs);
    dml__comm_release(x->comm, x->send);
    dml__comm_release(x->comm, x->recv);
    dml__comm_release(x->comm, x->own);
    dml__free(x);
}

/* Codes whose scales are shared need one stage more. */
int dml__exchange_stages(const struct dml__exchange *x)
{
    return x->ops->stages + (x->spec->kind->prepare != NULL);
}

static dml_status start(struct dml__exchange *x, int stage)
{
    const bool prepares = x->spec->kind->prepare != NULL;
    dml_codec *c = x->codecs[0].codec;
    if (!prepares || stage > 0)
        return x->ops->start(x, stage - prepares);
    x->top = x->spec->kind->prepare(c, x->data);
    return dml_iallreduce(DML_IN_PLACE, c->shared, c->nshared, DML_F32, DML_MAX,
                          x->comm, &x->request);
}

dml_status dml__exchange_start(struct dml__exchange *x, int stage)
{
    double begin_s = dml__now_s();
    if (stage == 0) {
        x->top = 0;
        x->encode_s = 0;
        for (size_t i = 0; i < x->ncodecs; i++)
            x->codecs[i].codec->waiting = true;
        x->steps++;
    }
    dml_status status = start(x, stage);
    x->encode_s += dml__now_s() - begin_s;
    return status;
}

void dml__exchange_finish(struct dml__exchange *x)
{
    double begin_s = dml__now_s();
    x->ops->finish(x);
    x->decode_s = dml__now_s() - begin_s;
}

void dml__exchange_age(struct dml__exchange *x, uint64_t steps)
{
    for (size_t i = 0; i < x->ncodecs; i++)
        x->codecs[i].codec->age = steps;
    if (x->ops->size != NULL)
        x->ops->size(x);
}

bool dml__exchange_waits(const struct dml__exchange *x)
{
    return x->codecs[0].codec->waiting || x->spec->kind->velocity;
}

void dml__exchange_flush(struct dml__exchange *x)
{
    for (size_t i = 0; i < x->ncodecs; i++) {
        const struct dml__exchange_codec *each = &x->codecs[i];
        uint32_t top =
            dml__codec_flush(each->codec, each->weight, x->data + each->offset);
        x->top = top > x->top ? top : x->top;
    }
}

void dml__exchange_clear(struct dml__exchange *x)
{
    for (size_t i = 0; i < x->ncodecs; i++)
        dml__codec_clear(x->codecs[i].codec);
}
