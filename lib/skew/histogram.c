/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histograms: keys in their order with estimated weights, and exact totals. Merged by
 * key with sums in the order of the parts; shortened to the heaviest keys, with the
 * others' weight gathered at keys between them.
 */
#include "skew/skew_internal.h"

#include <float.h>
#include <math.h>

dml_histogram *dml__histogram_new(dml_ctx *ctx, dml_key_kind kind, size_t count,
                                  size_t text_bytes, size_t nbuckets)
{
    dml_histogram *h = dml__alloc(ctx, sizeof *h);
    if (h == NULL)
        return NULL;
    h->ctx = ctx;
    h->kind = kind;
    h->count = count;
    h->text_bytes = text_bytes;
    h->nbuckets = nbuckets;
    h->entries = dml__alloc(ctx, dml__mul(count, sizeof *h->entries));
    h->text = dml__alloc(ctx, text_bytes);
    h->buckets = dml__alloc(ctx, dml__mul(nbuckets, sizeof *h->buckets));
    h->registers = dml__alloc(ctx, nbuckets);
    if (h->entries == NULL || h->text == NULL || h->buckets == NULL ||
        h->registers == NULL) {
        dml_histogram_destroy(h);
        return NULL;
    }
    return h;
}

void dml_histogram_destroy(dml_histogram *histogram)
{
    if (histogram == NULL)
        return;
    dml__free(histogram->registers);
    dml__free(histogram->buckets);
    dml__free(histogram->text);
    dml__free(histogram->entries);
    dml__free(histogram);
}

void dml__key_move(struct dml__key *key, unsigned char **text)
{
    if (key->data == NULL)
        return;
    if (key->count > 0)
        memmove(*text, key->data, key->count);
    key->data = *text;
    *text += key->count;
}

bool dml__histogram_of_map(const struct dml__map *map, size_t nbuckets,
                           dml_histogram **made)
{
    size_t text_bytes = 0;
    for (size_t i = 0; i < map->count; i++)
        text_bytes += map->entries[i].key.count;
    uint32_t *order = dml__alloc(map->ctx, dml__mul(map->count, sizeof *order));
    void *scratch = dml__alloc(map->ctx, dml__sort_bytes(map->count));
    dml_histogram *h =
        dml__histogram_new(map->ctx, map->kind, map->count, text_bytes, nbuckets);
    if (order != NULL && scratch != NULL && h != NULL) {
        unsigned char *text = h->text;
        dml__sort_keys(map->kind, &map->entries->key, sizeof *map->entries, map->count,
                       order, scratch);
        for (size_t i = 0; i < map->count; i++) {
            h->entries[i] = map->entries[order[i]];
            dml__key_move(&h->entries[i].key, &text);
        }
        *made = h;
        h = NULL;
        dml__free(scratch);
        dml__free(order);
        return true;
    }
    dml_histogram_destroy(h);
    dml__free(scratch);
    dml__free(order);
    return false;
}

/* ---- what it tells -----------------------------------------------------------------
 */

/* HyperLogLog, with linear counting where registers are still empty. */
static double distinct_of_registers(const dml_histogram *h)
{
    double m = (double)h->nbuckets, sum = 0;
    size_t empty = 0;
    for (size_t b = 0; b < h->nbuckets; b++) {
        sum += ldexp(1, -h->registers[b]);
        empty += h->registers[b] == 0;
    }
    double raw = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    return raw <= 2.5 * m && empty > 0 ? m * log(m / (double)empty) : raw;
}

double dml__histogram_distinct(const dml_histogram *h)
{
    enum { FEWEST_REGISTERS = 16 };
    double once = 0, twice = 0;
    bool exact = true;
    for (size_t i = 0; i < h->count; i++) {
        once += h->entries[i].samples == 1;
        twice += h->entries[i].samples == 2;
        exact = exact && h->entries[i].samples == DML__EXACT && h->entries[i].tail == 0;
    }
    double listed = (double)h->count, estimate = listed;
    if (exact && h->unseen <= 0)
        return listed;
    if (h->nbuckets >= FEWEST_REGISTERS)
        estimate = distinct_of_registers(h);
    else
        estimate += once * (once - 1) / (2 * (twice + 1));
    return estimate > listed ? estimate : listed;
}

bool dml__histogram_fits(const dml_histogram *h)
{
    double keys = h->unseen, buckets = 0;
    for (size_t i = 0; i < h->count; i++)
        keys += h->entries[i].weight + h->entries[i].tail;
    for (size_t b = 0; b < h->nbuckets; b++)
        buckets += h->buckets[b];
    return h->weight <= DBL_MAX && keys <= DBL_MAX && buckets <= DBL_MAX;
}

void dml_histogram_get_info(const dml_histogram *histogram, dml_histogram_info *info)
{
    const dml_histogram *h = histogram;
    if (info == NULL)
        return;
    if (h == NULL) {
        *info = (dml_histogram_info){0};
        return;
    }
    double tail = h->unseen;
    for (size_t i = 0; i < h->count; i++)
        tail += h->entries[i].tail;
    *info = (dml_histogram_info){
        .kind = h->kind,
        .records = h->records,
        .weight = h->weight,
        .samples = h->samples,
        .entries = h->count,
        .tail = tail,
        .unseen = h->unseen,
        .distinct = dml__histogram_distinct(h),
        .buckets = h->nbuckets,
        .pack_bytes = dml__histogram_pack_bytes(h),
        .hash_seed = h->hash_seed,
    };
}

dml_status dml_histogram_entry_at(const dml_histogram *histogram, size_t index,
                                  dml_histogram_entry *entry)
{
    if (histogram == NULL || entry == NULL)
        return dml__fail(histogram != NULL ? histogram->ctx : NULL, DML_EINVAL,
                         __func__, "histogram or entry is NULL");
    if (index >= histogram->count)
        return dml__fail(histogram->ctx, DML_EINVAL, __func__,
                         "index is %zu, there are %zu entries", index,
                         histogram->count);
    const struct dml__entry *from = &histogram->entries[index];
    *entry = (dml_histogram_entry){
        .u64 = histogram->kind == DML_KEY_U64 ? from->key.head : 0,
        .bytes = {.data = from->key.data, .count = from->key.count},
        .weight = from->weight,
        .tail = from->tail,
        .samples = from->samples,
    };
    return DML_OK;
}

/* ---- merging -----------------------------------------------------------------------
 */

static uint64_t add_samples(uint64_t a, uint64_t b)
{
    if (a == DML__EXACT || b == DML__EXACT)
        return a == b ? a : a < b ? a : b;
    return a + b;
}

static bool merge_entries(struct dml__map *map, const dml_histogram *part)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct dml__entry *from = &part->entries[i];
        size_t before = map->count;
        struct dml__entry *to = dml__map_add(map, &from->key, from->hash);
        if (to == NULL)
            return false;
        to->samples = map->count > before ? from->samples
                                          : add_samples(to->samples, from->samples);
        to->weight += from->weight;
        to->tail += from->tail;
    }
    return true;
}

static void merge_totals(dml_histogram *merged, const dml_histogram *part)
{
    merged->records += part->records;
    merged->samples += part->samples;
    merged->weight += part->weight;
    merged->unseen += part->unseen;
    for (size_t b = 0; b < merged->nbuckets; b++) {
        merged->buckets[b] += part->buckets[b];
        if (part->registers[b] > merged->registers[b])
            merged->registers[b] = part->registers[b];
    }
}

dml_status dml_histogram_merge(dml_ctx *ctx, const dml_histogram *const *parts,
                               size_t count, dml_histogram **merged)
{
    if (parts == NULL || count == 0 || merged == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no histograms to merge, or the result is NULL");
    const dml_histogram *first = parts[0];
    for (size_t p = 0; p < count; p++) {
        if (parts[p] == NULL)
            return dml__fail(ctx, DML_EINVAL, __func__, "histogram %zu is NULL", p);
        if (parts[p]->kind != first->kind || parts[p]->hash_seed != first->hash_seed ||
            parts[p]->nbuckets != first->nbuckets)
            return dml__fail(ctx, DML_EINVAL, __func__,
                             "histogram %zu has another kind of key, hash seed or "
                             "number of buckets (%zu) than the first (%zu)",
                             p, parts[p]->nbuckets, first->nbuckets);
    }
    dml_status status = DML_ENOMEM;
    struct dml__map map = {0};
    dml_histogram *h = NULL;
    bool done = dml__map_open(&map, ctx, first->kind);
    for (size_t p = 0; done && p < count; p++)
        done = merge_entries(&map, parts[p]);
    if (!done || !dml__histogram_of_map(&map, first->nbuckets, &h)) {
        dml__fail(ctx, status, __func__, "no memory to merge %zu histograms", count);
        goto out;
    }
    h->hash_seed = first->hash_seed;
    for (size_t p = 0; p < count; p++)
        merge_totals(h, parts[p]);
    if (!dml__histogram_fits(h)) {
        status = dml__fail(ctx, DML_EINVAL, __func__,
                           "the sum of all weights, %g, is too large for a double",
                           h->weight);
        dml_histogram_destroy(h);
        goto out;
    }
    *merged = h;
    status = DML_OK;
out:
    dml__map_close(&map);
    return status;
}
