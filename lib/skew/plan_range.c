/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans whose parts are ranges of keys.
 *
 * range: as Spark's RangePartitioner finds its bounds: walk the sampled keys, and each
 * time that the weight walked reaches the next of equal steps, let this key be a bound
 * (it goes left), unless it is one. A key heavier than a step so leaves parts empty or
 * nearly so, and there may be fewer bounds than asked for.
 *
 * ksrp: cut at shares of the capacities, within a key where a cut falls into one.
 *
 * libra: of the sampled keys only the heaviest, and some others at random, are known
 * with their weights; what the rest weighs lies evenly in the gaps between these.
 * Cutting is ksrp's.
 */
#include "skew/plan.h"

bool dml__plan_range(struct dml__planning *planning)
{
    dml_plan *plan = planning->plan;
    const dml_histogram *h = planning->histogram;
    if (!dml__plan_room_for_bounds(plan))
        return false;
    double total = 0, sum = 0;
    for (size_t i = 0; i < h->count; i++)
        total += h->entries[i].weight + h->entries[i].tail;
    double step = total / (double)plan->parts, target = step;
    for (size_t i = 0; i < h->count && plan->nbounds + 1 < plan->parts; i++) {
        sum += h->entries[i].weight + h->entries[i].tail;
        if (sum >= target) {
            dml__plan_add_bound(plan, &h->entries[i].key, 1);
            target += step;
        }
    }
    return true;
}

bool dml__plan_ksrp(struct dml__planning *planning)
{
    dml_plan *plan = planning->plan;
    const dml_histogram *h = planning->histogram;
    struct dml__mass *masses =
        dml__alloc(plan->ctx, dml__mul(h->count, sizeof *masses));
    if (masses == NULL || !dml__plan_room_for_bounds(plan)) {
        dml__free(masses);
        return false;
    }
    for (size_t i = 0; i < h->count; i++)
        masses[i] = (struct dml__mass){
            .key = h->entries[i].key,
            .own = h->entries[i].weight,
            .before = h->entries[i].tail,
            .divisible = dml__is_listed(&h->entries[i], planning->opts->min_samples),
        };
    dml__cut(plan, masses, h->count, planning->opts->whole_keys);
    dml__free(masses);
    return true;
}

/* Marks what libra's sketch would hold: the heaviest, and of the others those of the
 * smallest hash, whose order is random with regard to keys and weights. */
static bool choose_marks(const struct dml__planning *planning, uint8_t *marks)
{
    enum { PER_PART = 20 };
    const dml_histogram *h = planning->histogram;
    const size_t usual = PER_PART * planning->plan->parts;
    size_t heavy = planning->opts->libra_heavy, others = planning->opts->libra_random;
    heavy = heavy > 0 ? heavy : usual;
    others = others > 0 ? others : usual;
    uint32_t *order = dml__alloc(h->ctx, dml__mul(h->count, sizeof *order));
    struct dml__key *hashes = dml__alloc(h->ctx, dml__mul(h->count, sizeof *hashes));
    void *scratch = dml__alloc(h->ctx, dml__sort_bytes(h->count));
    bool done = order != NULL && hashes != NULL && scratch != NULL &&
                dml__sort_by_weight(h->ctx, h->entries, h->count, order);
    for (size_t i = 0; done && i < heavy && i < h->count; i++)
        marks[order[i]] = 1;
    for (size_t i = 0; done && i < h->count; i++)
        hashes[i].head = h->entries[i].hash;
    if (done)
        dml__sort_keys(DML_KEY_U64, hashes, sizeof *hashes, h->count, order, scratch);
    for (size_t i = 0; done && i < h->count && others > 0; i++) {
        others -= !marks[order[i]];
        marks[order[i]] = 1;
    }
    dml__free(scratch);
    dml__free(hashes);
    dml__free(order);
    return done;
}

/* The marks' masses; what others weigh is spread evenly over the gaps before them. */
static size_t marked_masses(const dml_histogram *h, const uint8_t *marks,
                            uint64_t min_samples, struct dml__mass *masses)
{
    double rest = 0;
    size_t count = 0;
    for (size_t i = 0; i < h->count; i++) {
        rest += h->entries[i].tail + (marks[i] ? 0 : h->entries[i].weight);
        if (!marks[i])
            continue;
        masses[count++] = (struct dml__mass){
            .key = h->entries[i].key,
            .own = h->entries[i].weight,
            .divisible = dml__is_listed(&h->entries[i], min_samples),
        };
    }
    for (size_t i = 0; i < count; i++)
        masses[i].before = rest / (double)count;
    return count;
}

bool dml__plan_libra(struct dml__planning *planning)
{
    dml_plan *plan = planning->plan;
    const dml_histogram *h = planning->histogram;
    uint8_t *marks = dml__alloc(plan->ctx, h->count);
    struct dml__mass *masses =
        dml__alloc(plan->ctx, dml__mul(h->count, sizeof *masses));
    bool done = marks != NULL && masses != NULL && dml__plan_room_for_bounds(plan) &&
                choose_marks(planning, marks);
    if (done) {
        size_t count = marked_masses(h, marks, planning->opts->min_samples, masses);
        dml__cut(plan, masses, count, planning->opts->whole_keys);
    }
    dml__free(masses);
    dml__free(marks);
    return done;
}
