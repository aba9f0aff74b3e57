/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codes of blocks, which cannot be added as they are. The vector is cut into a share of
 * whole blocks for each rank. Every rank sends each share's code to its owner (an
 * all-to-all); the owner decodes and averages them, encodes the average, with a
 * residual of its own, and sends that to all (an all-gather). So what a rank sends does
 * not grow with the number of ranks, and all decode the same bytes.
 *
 * The last shares may be short or empty; their codes are as long as the others'.
 *
 * Source: Seide et al., Interspeech 2014, section 3.3.
 */
#include "sync/exchange.h"

enum { WHOLE, SHARE };

/* This rank's share, in elements. */
static struct dml__member share_of(const struct dml__exchange *x)
{
    const size_t each = dml__codec_blocks(x->count) / (size_t)x->nranks +
                        (dml__codec_blocks(x->count) % (size_t)x->nranks != 0);
    size_t first = (size_t)x->rank * each * DML__CODEC_BLOCK;
    size_t end = first + each * DML__CODEC_BLOCK;
    first = first < x->count ? first : x->count;
    end = end < x->count ? end : x->count;
    return (struct dml__member){.offset = first, .count = end - first};
}

/* Bytes of the code of a share. */
static size_t share_bytes(const struct dml__exchange *x)
{
    const size_t blocks = dml__codec_blocks(x->count), nranks = (size_t)x->nranks;
    return (blocks / nranks + (blocks % nranks != 0)) * x->spec->kind->block_bytes;
}

static dml_status open_shards(struct dml__exchange *x)
{
    const struct dml__member all = {.count = x->count}, share = share_of(x);
    /* The owner's noise is another than that of its own gradient. */
    const uint64_t second = x->stream | UINT64_C(1) << 31;
    DML_TRY(dml__exchange_codecs(x, 2));
    DML_TRY(dml__exchange_add(x, WHOLE, &all, x->stream));
    DML_TRY(dml__exchange_add(x, SHARE, &share, second));
    x->codecs[SHARE].weight = (float)x->nranks;
    /* TernGrad clips the ranks' gradients; clipping their average again would cut what
     * is left of a lonely element down once more. */
    x->codecs[SHARE].codec->spec.number = 0;
    x->code_bytes = dml_codec_bytes(x->codecs[WHOLE].codec);
    const size_t bytes = dml__mul(share_bytes(x), (size_t)x->nranks);
    x->wire_bytes = 2 * share_bytes(x) * (size_t)(x->nranks - 1);
    return dml__exchange_memory(x, bytes, bytes);
}

/* The codes of my share become its average, and that a code: my block of "send". */
static dml_status average_share(struct dml__exchange *x)
{
    const uint32_t top = x->top;
    const struct dml__exchange_codec *share = &x->codecs[SHARE];
    float *average = x->data + share->offset;
    for (int r = 0; r < x->nranks; r++)
        DML_TRY(dml__exchange_decode(x, share->codec, x->recv + r * share_bytes(x),
                                     1 / (float)x->nranks, r > 0, average));
    if (x->spec->kind->prepare != NULL)
        DML_TRY(dml__exchange_prepare(x, share->codec, average));
    DML_TRY(dml__exchange_encode(x, share->codec, average,
                                 x->send + x->rank * share_bytes(x)));
    x->top = top; /* of the gradient, whose fault it would be */
    return DML_OK;
}

static dml_status start_shards(struct dml__exchange *x, int stage)
{
    if (stage == 0) {
        DML_TRY(dml__exchange_encode(x, x->codecs[WHOLE].codec, x->data, x->send));
        return dml_ialltoall(x->send, x->recv, share_bytes(x), DML_U8, x->comm,
                             &x->request);
    }
    DML_TRY(average_share(x));
    return dml_iallgather(DML_IN_PLACE, x->send, share_bytes(x), DML_U8, x->comm,
                          &x->request);
}

static dml_status finish_shards(struct dml__exchange *x)
{
    return dml__exchange_decode(x, x->codecs[WHOLE].codec, x->send, 1, false, x->data);
}

const struct dml__form_ops dml__form_shards = {2, open_shards, start_shards,
                                               finish_shards, NULL};
