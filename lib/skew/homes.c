/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Homes: the hash's first bits name a bucket, and each bucket has a part. There are
 * many more buckets than parts, so parts get their share to within a fraction of a
 * percent.
 */
#include "skew/plan.h"

size_t dml__homes_wanted(const struct dml__planning *planning)
{
    enum { FEWEST = 4096, MOST = 1 << 20, PER_PART = 64 };
    size_t wanted = planning->histogram->nbuckets;
    while (wanted < FEWEST ||
           (wanted < PER_PART * planning->plan->parts && wanted < MOST))
        wanted *= 2;
    return wanted;
}

void dml__homes_by_capacity(dml_plan *plan)
{
    size_t part = 0;
    double end = plan->capacities[0];
    for (size_t b = 0; b < plan->nhomes; b++) {
        double middle = ((double)b + 0.5) / (double)plan->nhomes;
        while (part + 1 < plan->parts && middle >= end)
            end += plan->capacities[++part];
        plan->homes[b] = (uint16_t)part;
    }
}

bool dml__home_weights(const dml_histogram *histogram, size_t nhomes,
                       const uint8_t *apart, double *weights)
{
    const dml_histogram *h = histogram;
    const unsigned coarse = dml__bucket_shift(h->nbuckets);
    const unsigned fine = dml__bucket_shift(nhomes);
    const size_t ratio = nhomes / h->nbuckets;
    /* [nbuckets] each: weight of the entries marked, and of the others. */
    double *marked = dml__alloc(h->ctx, dml__mul(h->nbuckets, sizeof *marked));
    double *others = dml__alloc(h->ctx, dml__mul(h->nbuckets, sizeof *others));
    bool done = marked != NULL && others != NULL;
    memset(weights, 0, nhomes * sizeof *weights);
    for (size_t i = 0; done && i < h->count; i++) {
        const struct dml__entry *entry = &h->entries[i];
        double *sums = apart[i] ? marked : others;
        sums[dml__bucket_of(entry->hash, coarse)] += entry->weight;
        if (!apart[i])
            weights[dml__bucket_of(entry->hash, fine)] += entry->weight;
    }
    /* What the exact total leaves beside the marked entries goes to the others as they
     * were sampled, and what remains evenly. */
    for (size_t b = 0; done && b < h->nbuckets; b++) {
        double rest = h->buckets[b] - marked[b];
        rest = rest > 0 ? rest : 0;
        double factor = others[b] > rest ? rest / others[b] : 1;
        double even = (rest - factor * others[b]) / (double)ratio;
        for (size_t f = b * ratio; f < (b + 1) * ratio; f++)
            weights[f] = weights[f] * factor + even;
    }
    dml__free(others);
    dml__free(marked);
    return done;
}
