/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Weights of a join by key: what comes in from both sides, and what goes out, which is
 * the product. The product of two estimates that were drawn independently is an
 * unbiased estimate of the product.
 *
 * A key that only one side lists meets one of the other side's tail, if that still has
 * keys to meet; the keys that are left in both tails meet each other. As where sizes of
 * joins are estimated from numbers of distinct keys, the smaller set is taken to lie
 * within the larger.
 */
#include "skew/skew_internal.h"

#include <math.h>

/* What one side knows, and of its tail: numbers of keys, which are estimates. */
struct side {
    const dml_histogram *h;
    size_t at;         /* its next entry */
    double only;       /* keys that are listed here alone */
    double weight;     /* of the tail */
    double keys;       /* in the tail */
    double of_key;     /* weight of a key in the tail, evenly spread */
    double met;        /* share of the other side's "only" that this tail holds */
    double keys_unmet; /* keys of the tail left for the other tail */
};

/* A key's own weight is known, or else is part of its tail. */
static bool is_listed(const struct dml__entry *entry)
{
    return entry != NULL && entry->samples > 0;
}

/* The side's entry of the key that is at hand, or NULL; steps over it. */
static const struct dml__entry *take(struct side *side, const struct dml__key *key)
{
    if (side->at == side->h->count ||
        !dml__key_equal(&side->h->entries[side->at].key, key))
        return NULL;
    return &side->h->entries[side->at++];
}

static void count_listed(const dml_histogram *joined, struct side *a, struct side *b)
{
    for (size_t i = 0; i < joined->count; i++) {
        bool in_a = is_listed(take(a, &joined->entries[i].key));
        bool in_b = is_listed(take(b, &joined->entries[i].key));
        a->only += in_a && !in_b;
        b->only += in_b && !in_a;
    }
    a->at = b->at = 0;
}

static void measure_tail(struct side *side, double only_other)
{
    const dml_histogram *h = side->h;
    double listed = 0;
    for (size_t i = 0; i < h->count; i++) {
        listed += is_listed(&h->entries[i]);
        side->weight += h->entries[i].tail;
    }
    if (side->weight <= 0)
        return;
    side->keys = fmax(dml__histogram_distinct(h) - listed, 1);
    side->of_key = side->weight / side->keys;
    side->met = only_other > side->keys ? side->keys / only_other : 1;
    side->keys_unmet = fmax(side->keys - only_other, 0);
}

/* Output of a key, by what both sides hold of it. */
static double product(const struct dml__entry *in_a, const struct dml__entry *in_b,
                      const struct side *a, const struct side *b)
{
    if (is_listed(in_a))
        return in_a->weight * (is_listed(in_b) ? in_b->weight : b->met * b->of_key);
    return is_listed(in_b) ? in_b->weight * a->met * a->of_key : 0;
}

dml_status dml_histogram_join(dml_ctx *ctx, const dml_histogram *a,
                              const dml_histogram *b, double omega,
                              dml_histogram **joined)
{
    if (joined == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    if (!(omega >= 0) || !isfinite(omega))
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "omega is %g; use a finite number from 0 on", omega);
    const dml_histogram *sides[] = {a, b};
    dml_histogram *h = NULL;
    DML_TRY(dml_histogram_merge(ctx, sides, 2, &h));
    const unsigned shift = dml__bucket_shift(h->nbuckets);
    struct side of_a = {.h = a}, of_b = {.h = b};
    count_listed(h, &of_a, &of_b);
    measure_tail(&of_a, of_b.only);
    measure_tail(&of_b, of_a.only);
    /* Output of the two tails per unit of their weight, half from each side. */
    double meet = omega / 2 * fmin(of_a.keys_unmet, of_b.keys_unmet);
    double by_a = meet > 0 ? meet * of_b.of_key / of_a.keys : 0;
    double by_b = meet > 0 ? meet * of_a.of_key / of_b.keys : 0;
    double output = 0, tails = 0;
    for (size_t i = 0; i < h->count; i++) {
        struct dml__entry *entry = &h->entries[i];
        const struct dml__entry *in_a = take(&of_a, &entry->key);
        const struct dml__entry *in_b = take(&of_b, &entry->key);
        double out = omega * product(in_a, in_b, &of_a, &of_b);
        double more = (in_a != NULL ? by_a * in_a->tail : 0) +
                      (in_b != NULL ? by_b * in_b->tail : 0);
        entry->weight += out;
        entry->tail += more;
        h->buckets[dml__bucket_of(entry->hash, shift)] += out;
        output += out + more;
        tails += more;
    }
    for (size_t k = 0; k < h->nbuckets; k++)
        h->buckets[k] += tails / (double)h->nbuckets;
    h->weight += output;
    if (!dml__histogram_fits(h)) {
        dml_histogram_destroy(h);
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "the output's weight is too large for a double");
    }
    *joined = h;
    return DML_OK;
}
