/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hash: every key goes home.
 *
 * scid: the sampled keys, the heaviest first, fill one part after another up to its
 * share. A key that is heavier than the room left is split, and its rest begins the
 * next part. Where keys may not be split, a key goes to the first part with room for
 * it, or else to the one with the most room. Keys that were not sampled go home.
 */
#include "skew/plan.h"

bool dml__plan_hash(struct dml__planning *planning)
{
    if (!dml__plan_room_for_homes(planning->plan, dml__homes_wanted(planning)))
        return false;
    dml__homes_by_capacity(planning->plan);
    return true;
}

/* The pieces of one key after another, and how full the parts are. */
struct filling {
    dml_plan *plan;
    double *room;            /* [parts] weight that fits */
    uint32_t *first, *count; /* [keys] pieces of each key, the heaviest key first */
    size_t part;             /* that is being filled */
};

static void add_piece(dml_plan *plan, uint32_t part, double until)
{
    plan->pieces[plan->npieces++] = (struct dml__piece){.part = part, .until = until};
}

/* Puts a key into the parts from the current one on, split where it must be. */
static void fill_split(struct filling *f, double weight)
{
    double left = weight;
    while (f->part + 1 < f->plan->parts && left >= f->room[f->part]) {
        if (f->room[f->part] > 0) {
            left -= f->room[f->part];
            f->room[f->part] = 0;
            if (left <= 0)
                break;
            add_piece(f->plan, (uint32_t)f->part, 1 - left / weight);
        }
        f->part++;
    }
    f->room[f->part] -= left;
    add_piece(f->plan, (uint32_t)f->part, 1);
}

static void fill_whole(struct filling *f, double weight)
{
    size_t best = 0;
    for (size_t j = 0; j < f->plan->parts; j++) {
        if (f->room[j] >= weight) {
            best = j;
            break;
        }
        if (f->room[j] > f->room[best])
            best = j;
    }
    f->room[best] -= weight;
    add_piece(f->plan, (uint32_t)best, 1);
}

/* Fills parts with the keys order[0 .. keys - 1], then lists them in their order. */
static void fill(struct filling *f, const struct dml__planning *planning,
                 const uint32_t *order, size_t keys, uint32_t *rank)
{
    const dml_histogram *h = planning->histogram;
    dml_plan *plan = f->plan;
    double total = 0;
    for (size_t i = 0; i < keys; i++)
        total += h->entries[order[i]].weight;
    for (size_t j = 0; j < plan->parts; j++)
        f->room[j] = total * plan->capacities[j];
    for (size_t i = 0; i < keys; i++) {
        double weight = h->entries[order[i]].weight;
        rank[order[i]] = (uint32_t)i + 1;
        f->first[i] = (uint32_t)plan->npieces;
        if (planning->opts->whole_keys)
            fill_whole(f, weight);
        else
            fill_split(f, weight);
        f->count[i] = (uint32_t)plan->npieces - f->first[i];
    }
    for (size_t i = 0; i < h->count; i++)
        if (rank[i] > 0)
            plan->exceptions[plan->nexceptions++] = (struct dml__exception){
                .key = h->entries[i].key,
                .hash = h->entries[i].hash,
                .first = f->first[rank[i] - 1],
                .count = f->count[rank[i] - 1],
            };
}

bool dml__plan_scid(struct dml__planning *planning)
{
    dml_plan *plan = planning->plan;
    dml_ctx *ctx = plan->ctx;
    const dml_histogram *h = planning->histogram;
    size_t keys = planning->opts->table;
    keys = keys > 0 && keys < h->count ? keys : h->count;
    uint32_t *order = dml__alloc(ctx, dml__mul(h->count, sizeof *order));
    uint32_t *rank = dml__alloc(ctx, dml__mul(h->count, sizeof *rank));
    struct filling f = {
        .plan = plan,
        .room = dml__alloc(ctx, dml__mul(plan->parts, sizeof *f.room)),
        .first = dml__alloc(ctx, dml__mul(keys, sizeof *f.first)),
        .count = dml__alloc(ctx, dml__mul(keys, sizeof *f.count)),
    };
    bool done = order != NULL && rank != NULL && f.room != NULL && f.first != NULL &&
                f.count != NULL && dml__plan_hash(planning) &&
                dml__plan_room_for_exceptions(plan, keys, keys + plan->parts) &&
                dml__sort_by_weight(ctx, h->entries, h->count, order);
    if (done) {
        while (keys > 0 && h->entries[order[keys - 1]].weight <= 0)
            keys--;
        fill(&f, planning, order, keys, rank);
    }
    dml__free(f.count);
    dml__free(f.first);
    dml__free(f.room);
    dml__free(rank);
    dml__free(order);
    return done;
}
