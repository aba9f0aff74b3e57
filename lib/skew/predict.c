/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each part of a plan will weigh, as far as the histogram knows.
 */
#include "skew/plan.h"

/* Adds a key's weight to the parts that its records go to. */
static void add_exception(dml_plan *plan, const struct dml__exception *exception,
                          double weight)
{
    double from = 0;
    for (uint32_t i = 0; i < exception->count; i++) {
        const struct dml__piece *piece = &plan->pieces[exception->first + i];
        plan->loads[piece->part] += weight * (piece->until - from);
        from = piece->until;
    }
}

static bool predict_by_hash(dml_plan *plan, const dml_histogram *h)
{
    double *weights = dml__alloc(plan->ctx, dml__mul(plan->nhomes, sizeof *weights));
    uint8_t *apart = dml__alloc(plan->ctx, h->count);
    bool done = weights != NULL && apart != NULL;
    /* Entries and exceptions are both in the order of their keys. */
    size_t x = 0;
    for (size_t i = 0; done && i < h->count && x < plan->nexceptions; i++) {
        if (!dml__key_equal(&h->entries[i].key, &plan->exceptions[x].key))
            continue;
        apart[i] = 1;
        add_exception(plan, &plan->exceptions[x++], h->entries[i].weight);
    }
    done = done && dml__home_weights(h, plan->nhomes, apart, weights);
    for (size_t b = 0; done && b < plan->nhomes; b++)
        plan->loads[plan->homes[b]] += weights[b];
    dml__free(apart);
    dml__free(weights);
    return done;
}

static void predict_by_range(dml_plan *plan, const dml_histogram *h)
{
    size_t j = 0;
    for (size_t i = 0; i < h->count; i++) {
        const struct dml__entry *entry = &h->entries[i];
        while (j < plan->nbounds &&
               dml__key_compare(plan->kind, &plan->bounds[j].key, &entry->key) < 0)
            j++;
        plan->loads[j] += entry->tail;
        double from = 0;
        for (; j < plan->nbounds && dml__key_equal(&plan->bounds[j].key, &entry->key) &&
               plan->bounds[j].share < 1;
             j++) {
            plan->loads[j] += entry->weight * (plan->bounds[j].share - from);
            from = plan->bounds[j].share;
        }
        plan->loads[j] += entry->weight * (1 - from);
    }
    /* Of what was not sampled nothing is known but its weight. */
    for (j = 0; j < plan->parts; j++)
        plan->loads[j] += h->unseen * plan->capacities[j];
}

bool dml__predict(const struct dml__planning *planning)
{
    dml_plan *plan = planning->plan;
    if (plan->nhomes > 0)
        return predict_by_hash(plan, planning->histogram);
    predict_by_range(plan, planning->histogram);
    return true;
}
