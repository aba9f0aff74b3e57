/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the forms of a compressed average have in common.
 */
#include "sync/exchange.h"

#include "comm/comm.h"
#include "compress/codec_device.h"
#include "sync/device.h"

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
    if (x->device == NULL)
        return DML_OK;
    DML_TRY(dml__codec_device_open(each->codec));
    return dml_codec_set_stream(each->codec, dml__sync_device_stream(x->device));
}

static dml_status get_codes(struct dml__exchange *x, size_t bytes, char **codes)
{
    void *memory = NULL;
    if (x->device == NULL) {
        *codes = dml__alloc(dml_comm_ctx(x->comm), bytes);
        return *codes != NULL ? DML_OK : no_memory(x);
    }
    dml_status status =
        dml__sync_device_alloc(x->device, bytes > 0 ? bytes : 1, &memory);
    *codes = memory;
    return status;
}

static void free_codes(struct dml__exchange *x, char *codes)
{
    if (x->device == NULL)
        dml__comm_release(x->comm, codes);
    else
        dml__sync_device_free(x->device, codes);
}

dml_status dml__exchange_memory(struct dml__exchange *x, size_t send_bytes,
                                size_t recv_bytes)
{
    DML_TRY(get_codes(x, send_bytes, &x->send));
    return get_codes(x, recv_bytes, &x->recv);
}

size_t dml__allreduce_bytes(const struct dml__exchange *x, size_t bytes)
{
    return 2 * (bytes / (size_t)x->nranks) * (size_t)(x->nranks - 1);
}

dml_status dml__exchange_open(dml_comm *comm, const struct dml__codec_spec *spec,
                              struct dml__sync_device *device, float *data,
                              size_t count, const struct dml__member *members,
                              size_t nmembers, uint64_t stream,
                              struct dml__exchange **out)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    struct dml__exchange *x = dml__alloc(ctx, sizeof *x);
    if (x == NULL)
        return dml__fail(ctx, DML_ENOMEM, "dml_reducer",
                         "no memory to compress %zu elements", count);
    x->comm = comm;
    x->spec = spec;
    x->ops = forms[spec->kind->form];
    x->device = device;
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
        if (codec->device == NULL) {
            dml__comm_release(x->comm, codec->shared);
            codec->shared = NULL;
        }
        dml_codec_destroy(codec);
    }
    dml__free(x->codecs);
    free_codes(x, x->send);
    free_codes(x, x->recv);
    dml__comm_release(x->comm, x->own);
    for (int i = 0; i <= DML__MOST_STAGES && x->timed; i++) {
        dml__sync_device_unmark(x->device, x->spans[i].from);
        dml__sync_device_unmark(x->device, x->spans[i].to);
    }
    dml__free(x);
}

dml_status dml__exchange_local(struct dml__exchange *x, dml_status status)
{
    if (x->timed && status == DML_OK)
        status = dml__sync_device_stamp(x->device, &x->spans[x->part].to);
    if (x->device != NULL && status < 0)
        dml__comm_break(x->comm, status);
    return status;
}

/* Codes whose scales are shared need one stage more. */
int dml__exchange_stages(const struct dml__exchange *x)
{
    return x->ops->stages + (x->spec->kind->prepare != NULL);
}

static dml_status begin_part(struct dml__exchange *x, int part)
{
    x->part = part;
    return x->timed ? dml__sync_device_stamp(x->device, &x->spans[part].from) : DML_OK;
}

static dml_status start(struct dml__exchange *x, int stage)
{
    DML_TRY(begin_part(x, stage));
    const bool prepares = x->spec->kind->prepare != NULL;
    dml_codec *c = x->codecs[0].codec;
    if (!prepares || stage > 0)
        return x->ops->start(x, stage - prepares);
    DML_TRY(dml__exchange_prepare(x, c, x->data));
    /* As whole numbers: f32 that are not negative order as their bits do, and NCCL may
     * lose a NaN of f32. */
    return dml_iallreduce(DML_IN_PLACE, c->shared, c->nshared, DML_I32, DML_MAX,
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
    if (x->device != NULL)
        dml__sync_device_lend(x->device);
    dml_status status = start(x, stage);
    if (x->device != NULL)
        dml__sync_device_take(x->device);
    x->encode_s += dml__now_s() - begin_s;
    return status;
}

dml_status dml__exchange_finish(struct dml__exchange *x)
{
    double begin_s = dml__now_s();
    dml_status status = begin_part(x, DML__MOST_STAGES);
    if (status == DML_OK)
        status = x->ops->finish(x);
    x->decode_s = dml__now_s() - begin_s;
    return status;
}

dml_status dml__exchange_read_times(struct dml__exchange *x)
{
    x->encode_s = x->decode_s = 0;
    for (int i = 0; i <= DML__MOST_STAGES; i++) {
        const struct dml__span *span = &x->spans[i];
        double seconds = 0;
        if (span->to == NULL)
            continue;
        DML_TRY(dml__sync_device_between(x->device, span->from, span->to, &seconds));
        *(i < DML__MOST_STAGES ? &x->encode_s : &x->decode_s) += seconds;
    }
    return DML_OK;
}

dml_status dml__exchange_prepare(struct dml__exchange *x, dml_codec *codec,
                                 const float *g)
{
    if (x->device != NULL)
        return dml__exchange_local(x, dml__codec_device_prepare(codec, g));
    uint32_t top = x->spec->kind->prepare(codec, g);
    x->top = top > x->top ? top : x->top;
    return DML_OK;
}

dml_status dml__exchange_encode(struct dml__exchange *x, dml_codec *codec,
                                const float *g, void *code)
{
    if (x->device != NULL)
        return dml__exchange_local(x, dml__codec_device_encode(codec, g, code));
    uint32_t top = x->spec->kind->encode(codec, g, code);
    x->top = top > x->top ? top : x->top;
    return DML_OK;
}

dml_status dml__exchange_decode(struct dml__exchange *x, const dml_codec *codec,
                                const void *code, float scale, bool add, float *dst)
{
    if (x->device != NULL)
        return dml__exchange_local(
            x, dml__codec_device_decode(codec, code, scale, add, dst));
    x->spec->kind->decode(codec, code, scale, add, dst);
    return DML_OK;
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

dml_status dml__exchange_flush(struct dml__exchange *x)
{
    for (size_t i = 0; i < x->ncodecs; i++) {
        const struct dml__exchange_codec *each = &x->codecs[i];
        float *data = x->data + each->offset;
        if (x->device != NULL) {
            DML_TRY(dml__exchange_local(
                x, dml__codec_device_flush(each->codec, each->weight, data)));
            continue;
        }
        uint32_t top = dml__codec_flush(each->codec, each->weight, data);
        x->top = top > x->top ? top : x->top;
    }
    return DML_OK;
}

/* The share's own code counts as little as on the host: it is of others' codes. */
dml_status dml__exchange_look(struct dml__exchange *x)
{
    const size_t n = x->spec->kind->form == DML__FORM_SHARDS ? 1 : x->ncodecs;
    for (size_t i = 0; i < n; i++) {
        uint64_t step = 0;
        dml_status status = dml__codec_device_look(x->codecs[i].codec, false, &step);
        if (status == DML_ENUMERIC)
            x->top = DML__CODEC_TOP;
        else if (status != DML_OK)
            return dml__exchange_local(x, status);
    }
    return DML_OK;
}

void dml__exchange_clear(struct dml__exchange *x)
{
    for (size_t i = 0; i < x->ncodecs; i++)
        dml__codec_clear(x->codecs[i].codec);
}
