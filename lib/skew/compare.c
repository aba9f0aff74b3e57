/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far an estimate is from the truth: both are walked in the order of their keys.
 */
#include "skew/plan.h"

#include <math.h>

enum { MIN_SAMPLES = 8, TOP = 20 };

/* What the estimate says of keys that it does not list. */
struct tail {
    double weight; /* all of it */
    double keys;   /* over so many of them it is spread */
};

static struct tail tail_of(const dml_histogram *h, uint64_t min_samples)
{
    struct tail tail = {.weight = h->unseen, .keys = dml__histogram_distinct(h)};
    for (size_t i = 0; i < h->count; i++) {
        const struct dml__entry *entry = &h->entries[i];
        bool listed = dml__is_listed(entry, min_samples);
        tail.weight += entry->tail + (listed ? 0 : entry->weight);
        tail.keys -= listed;
    }
    tail.keys = tail.keys > 1 ? tail.keys : 1;
    return tail;
}

/* The estimate of one key; *at runs through the estimate with the exact keys. Listed
 * keys that the truth does not have are added to *astray. */
static double estimate_of(const dml_histogram *h, uint64_t min_samples,
                          const struct tail *tail, const struct dml__key *key,
                          size_t *at, double *astray)
{
    for (; *at < h->count; ++*at) {
        const struct dml__entry *entry = &h->entries[*at];
        int order = dml__key_compare(h->kind, &entry->key, key);
        if (order > 0)
            break;
        if (!dml__is_listed(entry, min_samples))
            continue;
        if (order == 0) {
            ++*at;
            return entry->weight;
        }
        *astray += entry->weight;
    }
    return tail->weight / tail->keys;
}

dml_status dml_histogram_compare(const dml_histogram *estimate,
                                 const dml_histogram *exact, uint64_t min_samples,
                                 dml_histogram_error *error)
{
    if (estimate == NULL || exact == NULL || error == NULL)
        return dml__fail(estimate != NULL ? estimate->ctx : NULL, DML_EINVAL, __func__,
                         "a histogram or error is NULL");
    dml_ctx *ctx = estimate->ctx;
    if (estimate->kind != exact->kind)
        return dml__fail(ctx, DML_EINVAL, __func__, "the kinds of keys differ");
    if (!(exact->weight > 0))
        return dml__fail(ctx, DML_EINVAL, __func__, "the exact histogram is empty");
    min_samples = min_samples > 0 ? min_samples : MIN_SAMPLES;
    uint32_t *order = dml__alloc(ctx, dml__mul(exact->count, sizeof *order));
    double *ratio = dml__alloc(ctx, dml__mul(exact->count, sizeof *ratio));
    bool done = order != NULL && ratio != NULL &&
                dml__sort_by_weight(ctx, exact->entries, exact->count, order);
    if (done) {
        struct tail tail = tail_of(estimate, min_samples);
        double total = estimate->weight > 0 ? estimate->weight : 1, off = 0, astray = 0;
        double spread = 0;
        size_t at = 0;
        for (size_t i = 0; i < exact->count; i++) {
            const struct dml__entry *entry = &exact->entries[i];
            double weight =
                estimate_of(estimate, min_samples, &tail, &entry->key, &at, &astray);
            ratio[i] = entry->weight > 0 ? weight / entry->weight : 1;
            off += fabs(weight / total - entry->weight / exact->weight);
            spread += weight;
        }
        /* Tail that the true keys do not use up stands for keys that do not exist. */
        double missing = total - spread - astray;
        off += (astray + (missing > 0 ? missing : 0)) / total;
        size_t top = exact->count < TOP ? exact->count : TOP;
        *error = (dml_histogram_error){.total_variation = off / 2};
        for (size_t i = 0; i < top; i++)
            error->top20 += fabs(ratio[order[i]] - 1) / (double)top;
    }
    dml__free(ratio);
    dml__free(order);
    return done ? DML_OK
                : dml__fail(ctx, DML_ENOMEM, __func__, "no memory to compare %zu keys",
                            exact->count);
}
