/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PowerSGD: the left factors of all the vector's matrices are averaged in one
 * all-reduce, then the right ones in another.
 */
#include "compress/codec_device.h"
#include "compress/powersgd.h"
#include "sync/exchange.h"

static dml_status open_factors(struct dml__exchange *x)
{
    size_t left = 0, right = 0;
    DML_TRY(dml__exchange_codecs(x, x->nmembers));
    for (size_t i = 0; i < x->nmembers; i++) {
        /* By the tensor, not by the bucket, whose number is the next one's too. */
        uint64_t stream = (uint64_t)(x->members[i].tensor & 0xffff) << 16;
        DML_TRY(dml__exchange_add(x, i, &x->members[i], stream));
        left += dml__power_left_count(x->codecs[i].codec);
        right += dml__power_right_count(x->codecs[i].codec);
    }
    x->code_bytes = (left + right) * sizeof(float);
    x->wire_bytes = dml__allreduce_bytes(x, x->code_bytes);
    return dml__exchange_memory(x, left * sizeof(float), right * sizeof(float));
}

/* The codec's part before a stage: the left factor of its gradient, then the right. */
static dml_status factor(struct dml__exchange *x, int stage,
                         const struct dml__exchange_codec *each, float *p, float *q)
{
    dml_codec *c = each->codec;
    const float *g = x->data + each->offset;
    if (x->device != NULL)
        return dml__exchange_local(x, stage == 0
                                          ? dml__codec_device_power_first(c, g, p)
                                          : dml__codec_device_power_second(c, p, q));
    if (stage > 0) {
        dml__power_second(c, p, q);
        return DML_OK;
    }
    uint32_t top = dml__power_first(c, g, p);
    x->top = top > x->top ? top : x->top;
    return DML_OK;
}

static dml_status start_factors(struct dml__exchange *x, int stage)
{
    float *p = (float *)x->send, *q = (float *)x->recv;
    for (size_t i = 0; i < x->ncodecs; i++) {
        const struct dml__exchange_codec *each = &x->codecs[i];
        DML_TRY(factor(x, stage, each, p, q));
        p += dml__power_left_count(each->codec);
        q += dml__power_right_count(each->codec);
    }
    float *factors = (float *)(stage == 0 ? x->send : x->recv);
    return dml_iallreduce(DML_IN_PLACE, factors,
                          (size_t)((stage == 0 ? p : q) - factors), DML_F32, DML_AVG,
                          x->comm, &x->request);
}

static dml_status finish_factors(struct dml__exchange *x)
{
    float *p = (float *)x->send, *q = (float *)x->recv;
    for (size_t i = 0; i < x->ncodecs; i++) {
        const struct dml__exchange_codec *each = &x->codecs[i];
        float *data = x->data + each->offset;
        if (x->device != NULL)
            DML_TRY(dml__exchange_local(
                x, dml__codec_device_power_third(each->codec, p, q, data)));
        else
            dml__power_third(each->codec, p, q, data);
        p += dml__power_left_count(each->codec);
        q += dml__power_right_count(each->codec);
    }
    return DML_OK;
}

const struct dml__form_ops dml__form_factors = {2, open_factors, start_factors,
                                                finish_factors, NULL};
