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

/* A random number below "bound", by the upper half of a product: bounds are so far
 * below 2^32 that what is uneven about that cannot be seen. */
static size_t below(uint32_t random, size_t bound)
{
    if (bound <= UINT32_MAX)
        return (size_t)((uint64_t)random * bound >> 32);
    return (size_t)((double)random * 0x1p-32 * (double)bound);
}

/* First element of part i of k of n. */
static size_t part(size_t i, size_t k, size_t n)
{
    return i * (n / k) + (i < n % k ? i : n % k);
}

static void reverse(size_t *x, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        size_t kept = x[i];
        x[i] = x[n - 1 - i];
        x[n - 1 - i] = kept;
    }
}

/* Element "first" becomes the first one. */
static void rotate(size_t *x, size_t n, size_t first)
{
    reverse(x, first);
    reverse(x + first, n - first);
    reverse(x, n);
}

/* Indices in ascending order: those that lie past the end, counted from the random
 * beginning, come first. */
static void draw_indices(const dml_codec *c, size_t *index)
{
    const size_t k = dml__codec_slots(c), n = c->count;
    const uint64_t stream = c->stream ^ c->step << 32;
    uint32_t random[4];
    if (k == 0)
        return;
    dml__philox(c->spec.seed, stream, k, random);
    const size_t start = below(random[0], n);
    size_t past = k;
    for (size_t i = 0; i < k; i++) {
        size_t first = part(i, k, n), next = part(i + 1, k, n);
        if (i % 4 == 0)
            dml__philox(c->spec.seed, stream, i / 4, random);
        index[i] = start + first + below(random[i % 4], next - first);
        if (index[i] >= n && past == k)
            past = i;
    }
    rotate(index, k, past);
    for (size_t i = 0; i < k - past; i++)
        index[i] -= n;
}

/* Pieces of the vector that stay in the cache between their first and second visit. */
enum { PIECE = 1 << 14 };

static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    size_t *index = c->work, i = 0;
    const size_t k = dml__codec_slots(c);
    float *value = code;
    uint32_t top = 0;
    draw_indices(c, index);
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
    const size_t *index = c->work, k = dml__codec_slots(c);
    const float *value = code;
    size_t i = 0;
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
