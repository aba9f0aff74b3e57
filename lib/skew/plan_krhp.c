/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * krhp: the heaviest keys, and the buckets of all others, go home as long as that part
 * has room for them within its share, and else to the part that would be the least
 * loaded with them. In descending order of weight, so it is Graham's list scheduling
 * "longest first" (1969), with fewer keys moved. Only keys that do not go where their
 * bucket went stand in the table.
 *
 * The buckets' weights are exact, so errors of estimation only concern keys moved.
 */
#include "skew/plan.h"

#include <stdlib.h>

/* Keys lighter than a 16th of a part's share are left in their buckets: what a bucket
 * weighs is known exactly, what a key weighs is not. */
enum { PER_PART = 16 };

/* A key (index below the number of entries) or a bucket (the number after that). */
struct item {
    double weight;
    uint32_t index;
    uint32_t home; /* part of its bucket before anything was moved */
};

static int by_weight(const void *a_, const void *b_)
{
    const struct item *a = a_, *b = b_;
    if (a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* A part with its capacity, for sorting. */
struct ranked {
    double capacity;
    uint32_t part;
};

/* Parts as heaps by load, one for each capacity, the least on top; ties to the lower
 * number. So the part that would be the least loaded is the top of some heap. */
struct heaps {
    const double *capacities;
    double *loads;         /* [parts] */
    uint32_t *order;       /* [parts] the heaps, one after another */
    uint32_t *place;       /* [parts] where in them each part is */
    uint32_t *heap_of;     /* [parts] */
    uint32_t *starts;      /* [count + 1] of the heaps, the largest capacity first */
    struct ranked *ranked; /* [parts] scratch */
    size_t parts, count;
};

static bool less(const struct heaps *heaps, uint32_t a, uint32_t b)
{
    if (heaps->loads[a] != heaps->loads[b])
        return heaps->loads[a] < heaps->loads[b];
    return a < b;
}

/* Moves a part down, after its load grew. */
static void sink(struct heaps *heaps, uint32_t part)
{
    const size_t start = heaps->starts[heaps->heap_of[part]];
    const size_t size = heaps->starts[heaps->heap_of[part] + 1] - start;
    uint32_t *order = heaps->order + start;
    size_t at = heaps->place[part] - start;
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < size && less(heaps, order[child], order[least]))
                least = child;
        if (least == at)
            return;
        order[at] = order[least];
        order[least] = part;
        heaps->place[order[at]] = (uint32_t)(start + at);
        heaps->place[part] = (uint32_t)(start + least);
        at = least;
    }
}

/* The part that would be the least loaded; ties to the larger capacity. */
static uint32_t best_part(const struct heaps *heaps, double weight)
{
    uint32_t best = heaps->order[0];
    for (size_t i = 1; i < heaps->count; i++) {
        uint32_t part = heaps->order[heaps->starts[i]];
        double x = (heaps->loads[part] + weight) * heaps->capacities[best];
        double y = (heaps->loads[best] + weight) * heaps->capacities[part];
        if (x < y)
            best = part;
    }
    return best;
}

/* Gives each item, in order, a part: to_part [entries + homes]. */
static void assign(struct heaps *heaps, const struct item *items, size_t count,
                   double total, uint16_t *to_part)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t part = items[i].home;
        double weight = items[i].weight;
        if (heaps->loads[part] + weight > total * heaps->capacities[part])
            part = best_part(heaps, weight);
        heaps->loads[part] += weight;
        sink(heaps, part);
        to_part[items[i].index] = (uint16_t)part;
    }
}

/* Marks the keys that are placed one by one, apart from their bucket: the heaviest.
 * order and apart have room for all entries. */
static bool mark_heavy(const struct dml__planning *planning, uint32_t *order,
                       uint8_t *apart)
{
    const dml_histogram *h = planning->histogram;
    const size_t parts = planning->plan->parts;
    size_t most = planning->opts->table > 0 ? planning->opts->table : h->count;
    double least = h->weight / (double)(PER_PART * parts);
    if (!dml__sort_by_weight(h->ctx, h->entries, h->count, order))
        return false;
    size_t heavy = 0;
    for (size_t i = 0; i < h->count && heavy < most; i++) {
        const struct dml__entry *entry = &h->entries[order[i]];
        if (entry->weight < least)
            break;
        if (!dml__is_listed(entry, planning->opts->min_samples))
            continue;
        apart[order[i]] = 1;
        heavy++;
    }
    return true;
}

/* What krhp works with: entries are items 0 to count - 1, buckets those after. */
struct work {
    uint8_t *apart;     /* [count] entry is an item of its own */
    uint32_t *order;    /* [count] */
    double *weights;    /* [nhomes] */
    struct item *items; /* [count + nhomes] */
    uint16_t *to_part;  /* [count + nhomes] */
    struct heaps heaps;
};

static bool open_heaps(struct heaps *heaps, const dml_plan *plan)
{
    dml_ctx *ctx = plan->ctx;
    const size_t parts = plan->parts;
    *heaps = (struct heaps){
        .capacities = plan->capacities,
        .parts = parts,
        .loads = dml__alloc(ctx, dml__mul(parts, sizeof *heaps->loads)),
        .order = dml__alloc(ctx, dml__mul(parts, sizeof *heaps->order)),
        .place = dml__alloc(ctx, dml__mul(parts, sizeof *heaps->place)),
        .heap_of = dml__alloc(ctx, dml__mul(parts, sizeof *heaps->heap_of)),
        .starts = dml__alloc(ctx, dml__mul(parts + 1, sizeof *heaps->starts)),
        .ranked = dml__alloc(ctx, dml__mul(parts, sizeof *heaps->ranked)),
    };
    return heaps->loads != NULL && heaps->order != NULL && heaps->place != NULL &&
           heaps->heap_of != NULL && heaps->starts != NULL && heaps->ranked != NULL;
}

static void close_heaps(struct heaps *heaps)
{
    dml__free(heaps->ranked);
    dml__free(heaps->starts);
    dml__free(heaps->heap_of);
    dml__free(heaps->place);
    dml__free(heaps->order);
    dml__free(heaps->loads);
}

static bool open_work(struct work *work, const dml_plan *plan, size_t count)
{
    dml_ctx *ctx = plan->ctx;
    work->apart = dml__alloc(ctx, count);
    work->order = dml__alloc(ctx, dml__mul(count, sizeof *work->order));
    work->weights = dml__alloc(ctx, dml__mul(plan->nhomes, sizeof *work->weights));
    work->items = dml__alloc(ctx, dml__mul(count + plan->nhomes, sizeof *work->items));
    work->to_part =
        dml__alloc(ctx, dml__mul(count + plan->nhomes, sizeof *work->to_part));
    return work->apart != NULL && work->order != NULL && work->weights != NULL &&
           work->items != NULL && work->to_part != NULL &&
           open_heaps(&work->heaps, plan);
}

static void close_work(struct work *work)
{
    close_heaps(&work->heaps);
    dml__free(work->to_part);
    dml__free(work->items);
    dml__free(work->weights);
    dml__free(work->order);
    dml__free(work->apart);
}

static int by_capacity(const void *a_, const void *b_)
{
    const struct ranked *a = a_, *b = b_;
    if (a->capacity != b->capacity)
        return a->capacity > b->capacity ? -1 : 1;
    return a->part < b->part ? -1 : a->part > b->part;
}

/* No part has a load yet, so parts in their order are a heap. */
static void fill_heaps(struct heaps *heaps)
{
    for (size_t j = 0; j < heaps->parts; j++)
        heaps->ranked[j] = (struct ranked){heaps->capacities[j], (uint32_t)j};
    qsort(heaps->ranked, heaps->parts, sizeof *heaps->ranked, by_capacity);
    for (size_t i = 0; i < heaps->parts; i++) {
        const struct ranked *ranked = &heaps->ranked[i];
        if (i == 0 || ranked[-1].capacity != ranked->capacity)
            heaps->starts[heaps->count++] = (uint32_t)i;
        heaps->order[i] = ranked->part;
        heaps->place[ranked->part] = (uint32_t)i;
        heaps->heap_of[ranked->part] = (uint32_t)heaps->count - 1;
    }
    heaps->starts[heaps->count] = (uint32_t)heaps->parts;
}

static void place_items(struct work *work, dml_plan *plan, const dml_histogram *h)
{
    const unsigned shift = dml__bucket_shift(plan->nhomes);
    size_t count = 0;
    double total = 0;
    for (size_t i = 0; i < h->count; i++)
        if (work->apart[i])
            work->items[count++] = (struct item){
                .weight = h->entries[i].weight,
                .index = (uint32_t)i,
                .home = plan->homes[dml__bucket_of(h->entries[i].hash, shift)],
            };
    for (size_t b = 0; b < plan->nhomes; b++)
        work->items[count++] = (struct item){.weight = work->weights[b],
                                             .index = (uint32_t)(h->count + b),
                                             .home = plan->homes[b]};
    qsort(work->items, count, sizeof *work->items, by_weight);
    for (size_t i = 0; i < count; i++)
        total += work->items[i].weight;
    assign(&work->heaps, work->items, count, total, work->to_part);
}

/* Keys that are not where their bucket is. */
static bool write_table(const struct work *work, dml_plan *plan, const dml_histogram *h)
{
    const unsigned shift = dml__bucket_shift(plan->nhomes);
    memcpy(plan->homes, work->to_part + h->count, plan->nhomes * sizeof *plan->homes);
    size_t moved = 0;
    for (size_t i = 0; i < h->count; i++)
        moved +=
            work->apart[i] &&
            plan->homes[dml__bucket_of(h->entries[i].hash, shift)] != work->to_part[i];
    if (!dml__plan_room_for_exceptions(plan, moved, moved))
        return false;
    for (size_t i = 0; i < h->count; i++) {
        const struct dml__entry *entry = &h->entries[i];
        if (!work->apart[i] ||
            plan->homes[dml__bucket_of(entry->hash, shift)] == work->to_part[i])
            continue;
        uint32_t n = (uint32_t)plan->nexceptions++;
        plan->exceptions[n] = (struct dml__exception){
            .key = entry->key, .hash = entry->hash, .first = n, .count = 1};
        plan->pieces[plan->npieces++] =
            (struct dml__piece){.part = work->to_part[i], .until = 1};
    }
    return true;
}

bool dml__plan_krhp(struct dml__planning *planning)
{
    dml_plan *plan = planning->plan;
    const dml_histogram *h = planning->histogram;
    struct work work = {0};
    bool done = dml__plan_room_for_homes(plan, dml__homes_wanted(planning)) &&
                open_work(&work, plan, h->count);
    if (done) {
        dml__homes_by_capacity(plan);
        fill_heaps(&work.heaps);
        done = mark_heavy(planning, work.order, work.apart) &&
               dml__home_weights(h, plan->nhomes, work.apart, work.weights);
    }
    if (done) {
        place_items(&work, plan, h);
        done = write_table(&work, plan, h);
    }
    close_work(&work);
    return done;
}
