/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random-k: elements drawn at random, the same on all ranks, so that their values can
 * be added up by an ordinary all-reduce and no index is sent. The vector, begun at a
 * random place, is cut into as many parts as elements are sent, and one is drawn from
 * each: every element has the same chance, and memory is walked in order.
 */
#include "compress/codec.h"
#include "core/philox.h"

#include <string.h>

static dml_status open_work(dml_codec *c)
{
    if (c->work == NULL)
        c->work = dml__alloc(c->ctx, dml__mul(dml__codec_slots(c), sizeof(size_t)));
    if (c->work == NULL)
        return dml__fail(c->ctx, DML_ENOMEM, "dml_codec_create",
                         "no memory for the indices of random-k");
    return DML_OK;
}

static size_t bytes(const dml_codec *c)
{
    return dml__codec_slots(c) * sizeof(float);
}

/* 64 random bits, scaled to 0 .. bound - 1 by their upper half: bounds are far below
 * 2^32, so what is uneven about that cannot be seen. */
static size_t draw(const uint32_t random[2], size_t bound)
{
    uint64_t fraction = (uint64_t)random[0] << 32 | random[1];
    if (bound <= UINT32_MAX)
        return (size_t)((fraction >> 32) * bound >> 32);
    return (size_t)(fraction % bound);
}

/* First element of part i of k of n. */
static size_t part(size_t i, size_t k, size_t n)
{
    return i * (n / k) + (i < n % k ? i : n % k);
}

static void draw_indices(const dml_codec *c, size_t *index)
{
    const size_t k = dml__codec_slots(c), n = c->count;
    const uint64_t stream = c->stream ^ c->step << 32;
    uint32_t random[4];
    if (k == 0)
        return;
    dml__philox(c->spec.seed, stream, k, random);
    const size_t start = draw(random, n);
    for (size_t i = 0; i < k; i++) {
        size_t first = part(i, k, n), next = part(i + 1, k, n);
        if (i % 2 == 0)
            dml__philox(c->spec.seed, stream, i / 2, random);
        size_t at = start + first + draw(random + i % 2 * 2, next - first);
        index[i] = at < n ? at : at - n;
    }
}

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    size_t *index = c->work;
    float *value = code;
    uint32_t top = c->loops->accumulate(c->count, g, c->residual);
    draw_indices(c, index);
    c->step++;
    for (size_t i = 0; i < dml__codec_slots(c); i++) {
        value[i] = c->residual[index[i]];
        c->residual[index[i]] = 0;
    }
    return top;
}

static void decode(const dml_codec *c, const void *code, float scale, bool add,
                   float *dst)
{
    const size_t *index = c->work;
    const float *value = code;
    if (!add)
        memset(dst, 0, c->count * sizeof *dst);
    for (size_t i = 0; i < dml__codec_slots(c); i++)
        dst[index[i]] += value[i] * scale;
}

const struct dml__codec_kind dml__codec_randomk = {
    .name = "randomk",
    .text = "elements drawn at random, the same on all ranks",
    .form = DML__FORM_PICKED,
    .residual = true,
    .number = "RATIO",
    .least = 1e-9,
    .most = 1,
    .keys = " seed start ",
    .open = open_work,
    .bytes = bytes,
    .encode = encode,
    .decode = decode,
};
