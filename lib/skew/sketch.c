/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Heavy keys by counters. Twice as many keys as asked for may have one; when there are
 * more, all counters are lowered by the largest that must go, so that at most the
 * number asked for are left. Each lowering by c takes c from counters + 1 keys at
 * least, hence all together take at most (weight of the stream)/(counters + 1) from any
 * key.
 */
#include "skew/sketch.h"

#include <float.h>

dml_status dml_sketch_create(dml_ctx *ctx, dml_key_kind kind, size_t counters,
                             dml_sketch **sketch)
{
    if (sketch == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    if (kind != DML_KEY_U64 && kind != DML_KEY_BYTES)
        return dml__fail(ctx, DML_EINVAL, __func__, "kind %d is unknown", (int)kind);
    if (counters == 0 || counters > DML__MOST_COUNTERS)
        return dml__fail(ctx, DML_EINVAL, __func__, "counters is %zu; use 1 to %d",
                         counters, DML__MOST_COUNTERS);
    dml_sketch *s = dml__alloc(ctx, sizeof *s);
    if (s != NULL) {
        s->ctx = ctx;
        s->kind = kind;
        s->counters = counters;
    }
    if (s == NULL || !dml__map_open(&s->map, ctx, kind)) {
        dml__free(s);
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a sketch");
    }
    *sketch = s;
    return DML_OK;
}

void dml_sketch_destroy(dml_sketch *sketch)
{
    if (sketch == NULL)
        return;
    dml__map_close(&sketch->map);
    dml__free(sketch);
}

/* A map of the first "count" entries in an order, each lowered, if more than 0 is left.
 */
static bool take_lowered(const dml_sketch *s, const uint32_t *order, size_t count,
                         double lower, struct dml__map *map)
{
    if (!dml__map_open(map, s->ctx, s->kind))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct dml__entry *from = &s->map.entries[order[i]];
        if (from->weight <= lower && !s->fixed)
            continue;
        struct dml__entry *to = dml__map_add(map, &from->key, from->hash);
        if (to == NULL)
            return false;
        to->weight = from->weight - lower;
    }
    return true;
}

/* Orders the entries by weight, equal ones by key. */
static bool order_entries(const dml_sketch *s, uint32_t *order)
{
    size_t count = s->map.count;
    struct dml__entry *sorted = dml__alloc(s->ctx, dml__mul(count, sizeof *sorted));
    uint32_t *by_key = dml__alloc(s->ctx, dml__mul(count, sizeof *by_key));
    void *scratch = dml__alloc(s->ctx, dml__sort_bytes(count));
    bool done = sorted != NULL && by_key != NULL && scratch != NULL;
    if (done) {
        dml__sort_keys(s->kind, &s->map.entries->key, sizeof *s->map.entries, count,
                       by_key, scratch);
        for (size_t i = 0; i < count; i++)
            sorted[i] = s->map.entries[by_key[i]];
        done = dml__sort_by_weight(s->ctx, sorted, count, order);
        for (size_t i = 0; done && i < count; i++)
            order[i] = by_key[order[i]];
    }
    dml__free(scratch);
    dml__free(by_key);
    dml__free(sorted);
    return done;
}

bool dml__sketch_settle(dml_sketch *s)
{
    if (s->settled)
        return true;
    size_t count = s->map.count;
    struct dml__map map = {0};
    uint32_t *order = dml__alloc(s->ctx, dml__mul(count, sizeof *order));
    bool done = order != NULL && order_entries(s, order);
    if (done) {
        bool crowded = count > s->counters && !s->fixed;
        double lower = crowded ? s->map.entries[order[s->counters]].weight : 0;
        done = take_lowered(s, order, crowded ? s->counters : count, lower, &map);
        if (done) {
            dml__map_close(&s->map);
            s->map = map;
            s->slack += lower;
            s->settled = true;
        } else {
            dml__map_close(&map);
        }
    }
    dml__free(order);
    return done;
}

/* Counts one key; false: out of memory. */
static bool count_key(dml_sketch *s, const struct dml__key *key, uint64_t hash,
                      double weight)
{
    struct dml__entry *entry =
        s->fixed ? dml__map_find(&s->map, key, hash) : dml__map_add(&s->map, key, hash);
    if (entry == NULL)
        return s->fixed;
    entry->weight += weight;
    s->settled = false;
    return s->map.count <= 2 * s->counters || s->fixed || dml__sketch_settle(s);
}

dml_status dml_sketch_add(dml_sketch *sketch, const dml_keys *keys,
                          const double *weights)
{
    if (sketch == NULL)
        return dml__fail(NULL, DML_EINVAL, __func__, "sketch is NULL");
    DML_TRY(dml__keys_check(sketch->ctx, __func__, sketch->kind, keys));
    double sum = sketch->weight;
    for (size_t i = 0; weights != NULL && i < keys->count; i++) {
        if (!(weights[i] >= 0 && weights[i] <= DBL_MAX))
            return dml__fail(sketch->ctx, DML_EINVAL, __func__,
                             "weights[%zu] is %g; weights are finite and not negative",
                             i, weights[i]);
        sum += weights[i];
    }
    if (!dml__sum_fits(sum))
        return dml__fail(sketch->ctx, DML_EINVAL, __func__,
                         "with these weights the sum of all is %g, too large for a "
                         "double; scale them down",
                         sum);
    for (size_t i = 0; i < keys->count; i++) {
        struct dml__key key = dml__keys_at(keys, i);
        double weight = weights != NULL ? weights[i] : 1;
        sketch->weight += weight;
        if (!count_key(sketch, &key, dml__key_hash(sketch->kind, &key, 0), weight))
            return dml__fail(sketch->ctx, DML_ENOMEM, __func__,
                             "no memory for %zu counters", sketch->counters);
    }
    return DML_OK;
}

dml_status dml_sketch_merge(dml_sketch *sketch, const dml_sketch *other)
{
    dml_sketch *s = sketch;
    if (s == NULL || other == NULL)
        return dml__fail(s != NULL ? s->ctx : NULL, DML_EINVAL, __func__,
                         "a sketch is NULL");
    if (s->kind != other->kind || s->counters != other->counters ||
        s->fixed != other->fixed)
        return dml__fail(s->ctx, DML_EINVAL, __func__,
                         "the sketches differ: kinds %d and %d, counters %zu and %zu, "
                         "counted again %d and %d",
                         (int)s->kind, (int)other->kind, s->counters, other->counters,
                         s->fixed, other->fixed);
    for (size_t i = 0; s->fixed && i < other->map.count; i++)
        if (s->map.count != other->map.count ||
            dml__map_find(&s->map, &other->map.entries[i].key,
                          other->map.entries[i].hash) == NULL)
            return dml__fail(s->ctx, DML_EINVAL, __func__,
                             "the sketches count other keys again");
    if (!dml__sum_fits(s->weight + other->weight) ||
        !dml__sum_fits(s->slack + other->slack))
        return dml__fail(s->ctx, DML_EINVAL, __func__,
                         "the sum of all weights, %g, is too large for a double",
                         s->weight + other->weight);
    for (size_t i = 0; i < other->map.count; i++) {
        const struct dml__entry *from = &other->map.entries[i];
        struct dml__entry *to = dml__map_add(&s->map, &from->key, from->hash);
        if (to == NULL)
            return dml__fail(s->ctx, DML_ENOMEM, __func__, "no memory to merge");
        to->weight += from->weight;
    }
    s->weight += other->weight;
    s->slack += other->slack;
    s->settled = false;
    if (!dml__sketch_settle(s))
        return dml__fail(s->ctx, DML_ENOMEM, __func__, "no memory to merge");
    return DML_OK;
}

dml_status dml_sketch_recount(dml_sketch *sketch)
{
    if (sketch == NULL)
        return dml__fail(NULL, DML_EINVAL, __func__, "sketch is NULL");
    if (!dml__sketch_settle(sketch))
        return dml__fail(sketch->ctx, DML_ENOMEM, __func__, "no memory to settle");
    for (size_t i = 0; i < sketch->map.count; i++)
        sketch->map.entries[i].weight = 0;
    sketch->fixed = true;
    sketch->settled = false;
    sketch->weight = sketch->slack = 0;
    return DML_OK;
}

dml_status dml_sketch_entry_at(dml_sketch *sketch, size_t index,
                               dml_sketch_entry *entry)
{
    if (sketch == NULL || entry == NULL)
        return dml__fail(sketch != NULL ? sketch->ctx : NULL, DML_EINVAL, __func__,
                         "sketch or entry is NULL");
    if (!dml__sketch_settle(sketch))
        return dml__fail(sketch->ctx, DML_ENOMEM, __func__, "no memory to settle");
    if (index >= sketch->map.count)
        return dml__fail(sketch->ctx, DML_EINVAL, __func__,
                         "index is %zu, there are %zu counters", index,
                         sketch->map.count);
    const struct dml__entry *from = &sketch->map.entries[index];
    *entry = (dml_sketch_entry){
        .u64 = sketch->kind == DML_KEY_U64 ? from->key.head : 0,
        .bytes = {.data = from->key.data, .count = from->key.count},
        .lower = from->weight,
    };
    return DML_OK;
}
