/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of an epoch: a permutation of all records by Fisher and Yates, the same on
 * every rank; a rank that owns some records keeps these, in that order.
 *
 * It takes four bytes a record, twice, a fraction of what the records' index takes, and
 * a rank picks its own records out of it in one pass. Permutations that are computed
 * place by place (Feistel networks) would need no memory, but are not uniform, and cost
 * several rounds of hashing for every place.
 */
#include "dml/rng.h"

#include "data/pipeline_internal.h"

/* Keeps the orders apart from the augmentation and from the streams of callers. */
#define ORDER_STREAM (UINT64_C(1) << 63)

#define NO_EPOCH UINT64_MAX

bool dml__order_alloc(dml_ctx *ctx, dml__order *o)
{
    o->epochs[0] = o->epochs[1] = NO_EPOCH;
    for (int i = 0; i < (o->shuffle ? 2 : 1); i++) {
        o->places[i] = dml__alloc(ctx, dml__mul(o->count, sizeof **o->places));
        if (o->places[i] == NULL)
            return false;
    }
    return true;
}

void dml__order_free(dml__order *o)
{
    dml__free(o->places[1]);
    dml__free(o->places[0]);
    dml__free(o->own);
}

size_t dml__order_bytes(const dml__order *o)
{
    size_t bits = o->own != NULL ? ((size_t)o->count + 63) / 64 * 8 : 0;
    return dml__mul(o->count, (o->shuffle ? 2 : 1) * sizeof **o->places) + bits;
}

static int place_of(const dml__order *o, uint64_t epoch)
{
    return o->shuffle ? (int)(epoch % 2) : 0;
}

const uint32_t *dml__order_get(const dml__order *o, uint64_t epoch)
{
    int i = place_of(o, epoch);
    bool there = o->shuffle ? o->epochs[i] == epoch : o->epochs[i] != NO_EPOCH;
    return there ? o->places[i] : NULL;
}

bool dml__order_wants(const dml__order *o, uint64_t epoch, uint64_t *make)
{
    for (uint64_t e = epoch; e < epoch + 2; e++)
        if (dml__order_get(o, e) == NULL) {
            *make = e;
            return true;
        }
    return false;
}

void dml__order_make(dml__order *o, uint64_t epoch)
{
    uint32_t *out = o->places[place_of(o, epoch)];
    if (o->shuffle)
        dml_rng_permutation(o->seed, ORDER_STREAM + epoch, o->count, out);
    else
        for (uint32_t i = 0; i < o->count; i++)
            out[i] = i;
    if (o->own == NULL)
        return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < o->count; i++) {
        uint32_t record = out[i];
        out[kept] = record; /* overwritten by the next one unless it is kept */
        kept += (uint32_t)(o->own[record / 64] >> record % 64 & 1);
    }
}
