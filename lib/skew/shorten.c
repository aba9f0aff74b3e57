/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A histogram made short enough to send: the heaviest keys stay as they are; of the
 * others, in their order, every so much weight is gathered at one key, its tail, or at
 * the next of the heaviest.
 */
#include "skew/skew_internal.h"

/* Weight desc, then key asc (by index, since entries are sorted): a total order. */
struct rank {
    double weight;
    uint32_t index;
};

static bool before(const struct rank *a, const struct rank *b)
{
    return a->weight != b->weight ? a->weight > b->weight : a->index < b->index;
}

/* Moves the "keep" first in the order to the front of ranks [count] (Hoare 1961). */
static void select_first(struct rank *ranks, size_t count, size_t keep)
{
    size_t low = 0, high = count;
    while (high - low > 1 && keep > low && keep < high) {
        struct rank pivot = ranks[low + (high - low - 1) / 2];
        size_t i = low - 1, j = high;
        for (;;) {
            do {
                i++;
            } while (before(&ranks[i], &pivot));
            do {
                j--;
            } while (before(&pivot, &ranks[j]));
            if (i >= j)
                break;
            struct rank swap = ranks[i];
            ranks[i] = ranks[j];
            ranks[j] = swap;
        }
        size_t middle = j + 1;
        if (keep < middle)
            high = middle;
        else
            low = middle;
    }
}

/* Compacts entries: heavy[i] says which stay; the rest becomes at most "pieces" tails.
 */
static size_t gather_tails(dml_histogram *h, const uint8_t *heavy, size_t pieces)
{
    double rest = 0;
    for (size_t i = 0; i < h->count; i++)
        if (!heavy[i])
            rest += h->entries[i].weight + h->entries[i].tail;
    double sum = 0;
    size_t out = 0, cut = 1, last = SIZE_MAX;
    for (size_t i = 0; i < h->count; i++)
        last = heavy[i] ? last : i;
    double piece = 0;
    for (size_t i = 0; i < h->count; i++) {
        struct dml__entry entry = h->entries[i];
        if (heavy[i]) {
            /* A tail lies before its key: none is carried past this one. */
            entry.tail += piece;
            piece = 0;
            h->entries[out++] = entry;
            continue;
        }
        sum += entry.weight + entry.tail;
        piece += entry.weight + entry.tail;
        if (i != last && (cut >= pieces || sum * (double)pieces < rest * (double)cut))
            continue;
        while (cut < pieces && sum * (double)pieces >= rest * (double)cut)
            cut++;
        entry.tail = piece;
        entry.weight = 0;
        entry.samples = 0;
        piece = 0;
        h->entries[out++] = entry;
    }
    return out;
}

dml_status dml_histogram_shorten(dml_histogram *histogram, size_t entries)
{
    dml_histogram *h = histogram;
    if (h == NULL)
        return dml__fail(NULL, DML_EINVAL, __func__, "histogram is NULL");
    if (entries < 2)
        return dml__fail(h->ctx, DML_EINVAL, __func__, "entries is %zu; use 2 or more",
                         entries);
    if (h->count <= entries)
        return DML_OK;
    struct rank *ranks = dml__alloc(h->ctx, dml__mul(h->count, sizeof *ranks));
    uint8_t *heavy = dml__alloc(h->ctx, h->count);
    if (ranks == NULL || heavy == NULL) {
        dml__free(heavy);
        dml__free(ranks);
        return dml__fail(h->ctx, DML_ENOMEM, __func__,
                         "no memory to shorten %zu entries", h->count);
    }
    const size_t keep = entries / 2;
    for (size_t i = 0; i < h->count; i++)
        ranks[i] = (struct rank){.weight = h->entries[i].weight, .index = (uint32_t)i};
    select_first(ranks, h->count, keep);
    for (size_t i = 0; i < keep; i++)
        heavy[ranks[i].index] = 1;
    h->count = gather_tails(h, heavy, entries - keep);
    unsigned char *text = h->text;
    for (size_t i = 0; i < h->count; i++)
        dml__key_move(&h->entries[i].key, &text);
    h->text_bytes = (size_t)(text - h->text);
    dml__free(heavy);
    dml__free(ranks);
    return DML_OK;
}
