/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PowerSGD: the left factors of all the vector's matrices are averaged in one
 * all-reduce, then the right ones in another.
 */
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

static dml_status start_factors(struct dml__exchange *x, int stage)
{
    float *p = (float *)x->send, *q = (float *)x->recv;
    for (size_t i = 0; i < x->ncodecs; i++) {
        const struct dml__exchange_codec *each = &x->codecs[i];
        if (stage == 0) {
            uint32_t top = dml__power_first(each->codec, x->data + each->offset, p);
            x->top = top > x->top ? top : x->top;
        } else {
            dml__power_second(each->codec, p, q);
        }
        p += dml__power_left_count(each->codec);
        q += dml__power_right_count(each->codec);
    }
    float *factors = (float *)(stage == 0 ? x->send : x->recv);
    return dml_iallreduce(DML_IN_PLACE, factors,
                          (size_t)((stage == 0 ? p : q) - factors), DML_F32, DML_AVG,
                          x->comm, &x->request);
}

static void finish_factors(struct dml__exchange *x)
{
    const float *p = (const float *)x->send, *q = (const float *)x->recv;
    for (size_t i = 0; i < x->ncodecs; i++) {
        const struct dml__exchange_codec *each = &x->codecs[i];
        dml__power_third(each->codec, p, q, x->data + each->offset);
        p += dml__power_left_count(each->codec);
        q += dml__power_right_count(each->codec);
    }
}

const struct dml__form_ops dml__form_factors = {2, open_factors, start_factors,
                                                finish_factors, NULL};
