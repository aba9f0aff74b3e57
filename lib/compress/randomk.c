/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random-k: elements drawn at random, the same on all ranks, so that their values can
 * be added up by an ordinary all-reduce and no index is sent. The vector, begun at a
 * random place, is cut into as many parts as elements are sent, and one is drawn from
 * each: every element has the same chance, and memory is walked in order.
 */
#include "compress/randomk.h"

#include <string.h>

static dml_status open_work(dml_codec *c)
{
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

/* "past" is found by halves, since places ascend with the parts. */
struct dml__random_draw dml__random_draw(const dml_codec *c, uint64_t step)
{
    struct dml__random_draw d = {.seed = c->spec.seed,
                                 .stream = c->stream ^ step << 32,
                                 .k = dml__codec_slots(c),
                                 .n = c->count};
    uint32_t random[4];
    if (d.k == 0)
        return d;
    dml__philox(d.seed, d.stream, d.k, random);
    d.start = dml__random_below(random[0], d.n);
    for (uint64_t end = d.k; d.past < end;) {
        const uint64_t middle = d.past + (end - d.past) / 2;
        dml__philox(d.seed, d.stream, middle / 4, random);
        if (dml__random_in_part(&d, middle, random[middle % 4]) < d.n)
            d.past = middle + 1;
        else
            end = middle;
    }
    return d;
}

uint64_t dml__random_decoded(const dml_codec *c)
{
    return c->step > 0 ? c->step - 1 : c->read;
}

static void draw_indices(const dml_codec *c, uint64_t step, size_t *index)
{
    const struct dml__random_draw d = dml__random_draw(c, step);
    uint32_t random[4];
    for (uint64_t i = 0; i < d.k; i++) {
        if (i % 4 == 0)
            dml__philox(d.seed, d.stream, i / 4, random);
        const uint64_t place = dml__random_in_part(&d, i, random[i % 4]);
        if (i < d.past)
            index[d.k - d.past + i] = (size_t)place;
        else
            index[i - d.past] = (size_t)(place - d.n);
    }
}

/* Pieces of the vector that stay in the cache between their first and second visit. */
enum { PIECE = 1 << 14 };

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    size_t *index = c->work, i = 0;
    const size_t k = dml__codec_slots(c);
    float *value = code;
    uint32_t top = 0;
    draw_indices(c, c->step, index);
    c->step++;
    for (size_t at = 0; at < c->count; at += PIECE) {
        size_t n = c->count - at < PIECE ? c->count - at : PIECE;
        uint32_t found = c->loops->accumulate(n, g + at, c->residual + at);
        top = found > top ? found : top;
        for (; i < k && index[i] < at + n; i++) {
            value[i] = c->residual[index[i]];
            c->residual[index[i]] = 0;
        }
    }
    return top;
}

static void decode(const dml_codec *c, const void *code, float scale, bool add,
                   float *dst)
{
    size_t *index = c->work, i = 0;
    const size_t k = dml__codec_slots(c);
    const float *value = code;
    if (c->step == 0) /* else they are there from encoding */
        draw_indices(c, dml__random_decoded(c), index);
    for (size_t at = 0; at < c->count; at += PIECE) {
        size_t n = c->count - at < PIECE ? c->count - at : PIECE;
        if (!add)
            memset(dst + at, 0, n * sizeof *dst);
        for (; i < k && index[i] < at + n; i++)
            dst[index[i]] += value[i] * scale;
    }
}

const struct dml__codec_kind dml__codec_randomk = {
    .name = "randomk",
    .description = "elements drawn at random, the same on all ranks",
    .form = DML__FORM_SAME_INDICES,
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
