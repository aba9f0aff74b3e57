/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sample's estimate brought within the bounds of a sketch: the sketch's keys get
 * weights that are possible, the others what is left, in proportion.
 */
#include "skew/sketch.h"

#include <math.h>

/* All keys of both, with what the histogram says of them. */
static bool gather(const dml_histogram *h, const dml_sketch *sketch,
                   struct dml__map *map)
{
    for (size_t i = 0; i < h->count; i++) {
        struct dml__entry *to =
            dml__map_add(map, &h->entries[i].key, h->entries[i].hash);
        if (to == NULL)
            return false;
        to->weight = h->entries[i].weight;
        to->tail = h->entries[i].tail;
        to->samples = h->entries[i].samples;
    }
    for (size_t i = 0; i < sketch->map.count; i++) {
        const struct dml__key *key = &sketch->map.entries[i].key;
        if (dml__map_add(map, key, dml__key_hash(h->kind, key, h->hash_seed)) == NULL)
            return false;
    }
    return true;
}

/* Sets the sketch's keys, and scales the others so that the total stays. */
static void set_weights(dml_histogram *h, const dml_sketch *sketch)
{
    double known = 0, rest = h->unseen;
    for (size_t i = 0; i < h->count; i++) {
        struct dml__entry *entry = &h->entries[i];
        const struct dml__entry *counter = dml__map_find(
            &sketch->map, &entry->key, dml__key_hash(h->kind, &entry->key, 0));
        rest += entry->tail;
        if (counter == NULL) {
            rest += entry->weight;
            continue;
        }
        double upper = counter->weight + sketch->slack;
        entry->weight = fmin(fmax(entry->weight, counter->weight), upper);
        known += entry->weight;
        if (sketch->slack <= 0)
            entry->samples = DML__EXACT;
    }
    double left = h->weight > known ? h->weight - known : 0;
    double factor = rest > 0 ? left / rest : 0;
    h->unseen = rest > 0 ? h->unseen * factor : left;
    for (size_t i = 0; i < h->count; i++) {
        struct dml__entry *entry = &h->entries[i];
        entry->tail *= factor;
        if (dml__map_find(&sketch->map, &entry->key,
                          dml__key_hash(h->kind, &entry->key, 0)) == NULL)
            entry->weight *= factor;
    }
}

dml_status dml_histogram_refine(dml_histogram *histogram, dml_sketch *sketch)
{
    dml_histogram *h = histogram;
    if (h == NULL || sketch == NULL)
        return dml__fail(h != NULL ? h->ctx : NULL, DML_EINVAL, __func__,
                         "histogram or sketch is NULL");
    if (h->kind != sketch->kind)
        return dml__fail(h->ctx, DML_EINVAL, __func__, "the kinds of keys differ");
    if (fabs(h->weight - sketch->weight) > 1e-6 * h->weight)
        return dml__fail(h->ctx, DML_EINVAL, __func__,
                         "the histogram is of a stream of weight %g, the sketch of %g",
                         h->weight, sketch->weight);
    struct dml__map map = {0};
    dml_histogram *made = NULL;
    bool done = dml__sketch_settle(sketch) && dml__map_open(&map, h->ctx, h->kind) &&
                gather(h, sketch, &map) &&
                dml__histogram_of_map(&map, h->nbuckets, &made);
    if (done) {
        /* Entries and strings are new, the totals stay; what was goes with "made". */
        struct dml__entry *entries = h->entries;
        unsigned char *text = h->text;
        h->entries = made->entries;
        h->text = made->text;
        h->count = made->count;
        h->text_bytes = made->text_bytes;
        made->entries = entries;
        made->text = text;
        set_weights(h, sketch);
    }
    dml_histogram_destroy(made);
    dml__map_close(&map);
    return done ? DML_OK
                : dml__fail(h->ctx, DML_ENOMEM, __func__, "no memory for %zu keys",
                            h->count);
}
