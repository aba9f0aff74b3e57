/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who has what: tensors are put into buckets, and each bucket is cut into one part per
 * rank.
 *
 * Cuts fall on multiples of the grain within a tensor, or on a tensor's end. They are
 * chosen so that over all buckets so far (of one type of parameter, since that decides
 * the bytes of state) the ranks' totals are as equal as such cuts allow: what one
 * bucket gives too much, the next gives less. So a rank's total is off by less than one
 * grain, however many buckets there are.
 */
#include "comm/comm.h"
#include "sync/device.h"
#include "sync/filling.h"
#include "sync/shard.h"

#include <string.h>

enum { NTYPES = 3 }; /* of parameters, and of gradients */

static size_t type_index(dml_dtype dtype)
{
    if (dtype == DML_F32)
        return 0;
    return dtype == DML_F16 ? 1 : 2;
}

/* ---- buckets -----------------------------------------------------------------------
 */

/* Numbers the bucket of each tensor (in slots), last tensor first, and returns how many
 * there are. Of each pair of types one bucket is open at a time. */
static size_t assign(dml_sharded *s)
{
    struct dml__filling f = {.bucket_bytes = s->opts.bucket_bytes,
                             .first_bucket_bytes = s->opts.first_bucket_bytes};
    _Static_assert(NTYPES * NTYPES <= DML__MOST_KINDS, "");
    for (size_t i = s->n; i-- > 0;) {
        const dml_param *p = &s->params[i];
        size_t kind = type_index(p->dtype) * NTYPES + type_index(p->grad_dtype);
        s->slots[i].bucket =
            dml__filling_put(&f, kind, p->count * dml_dtype_bytes(p->dtype));
    }
    return f.n;
}

/* Fills the buckets from the numbers: members last tensor first, types. */
static void group(dml_sharded *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->buckets[s->slots[i].bucket].n++;
    size_t first = 0;
    for (size_t b = 0; b < s->nbuckets; b++) {
        s->buckets[b].first = first;
        first += s->buckets[b].n;
        s->buckets[b].n = 0;
    }
    for (size_t i = s->n; i-- > 0;) {
        struct dml__shard_bucket *b = &s->buckets[s->slots[i].bucket];
        s->order[b->first + b->n++] = i;
        b->dtype = s->params[i].dtype;
        b->grad_dtype = s->params[i].grad_dtype;
        b->count += s->params[i].count;
    }
}

/* ---- layouts -----------------------------------------------------------------------
 */

/* Start of a bucket's gradients or parameters if they lie one after the other, in list
 * order or against it; else NULL. */
static char *contiguous(const dml_sharded *s, const struct dml__shard_bucket *b,
                        bool grads, bool reverse)
{
    struct dml__run run = {NULL, NULL};
    for (size_t i = 0; i < b->n; i++) {
        size_t at = b->first + (reverse ? b->n - 1 - i : i);
        const dml_param *p = &s->params[s->order[at]];
        /* Gradients are only read; the one pointer type keeps this one function. */
        void *data = grads ? (void *)(uintptr_t)p->grad : p->param;
        size_t element = dml_dtype_bytes(grads ? p->grad_dtype : p->dtype);
        if (!dml__run_goes_on(&run, data, p->count * element))
            return NULL;
    }
    return run.start;
}

/* The order of a bucket's vector is free, but the same on all ranks, and for gradients
 * and parameters: the one of the two that leaves less to be copied. */
static void order_bucket(dml_sharded *s, struct dml__shard_bucket *b,
                         const double scattered[4])
{
    bool reverse = scattered[2] + scattered[3] < scattered[0] + scattered[1];
    b->grads_packed = scattered[2 * reverse] != 0;
    b->params_packed = scattered[2 * reverse + 1] != 0;
    size_t *order = s->order + b->first;
    for (size_t i = 0; reverse && i < b->n / 2; i++) {
        size_t swap = order[i];
        order[i] = order[b->n - 1 - i];
        order[b->n - 1 - i] = swap;
    }
    if (!b->grads_packed)
        b->grads = contiguous(s, b, true, false);
    if (!b->params_packed)
        b->params = contiguous(s, b, false, false);
    s->stats.packed_grad_buckets += b->grads_packed && b->count > 0;
    s->stats.packed_param_buckets += b->params_packed && b->count > 0;
    size_t start = 0;
    for (size_t i = 0; i < b->n; i++) {
        s->slots[order[i]].start = start;
        start += s->params[order[i]].count;
    }
}

static dml_status agree_layouts(dml_sharded *s, double *scattered)
{
    for (size_t b = 0; b < s->nbuckets; b++)
        for (size_t k = 0; k < 4; k++)
            scattered[4 * b + k] =
                contiguous(s, &s->buckets[b], k % 2 == 0, k / 2 != 0) == NULL;
    DML_TRY(dml__comm_max(s->comm, scattered, (int)(4 * s->nbuckets)));
    for (size_t b = 0; b < s->nbuckets; b++)
        order_bucket(s, &s->buckets[b], scattered + 4 * b);
    return DML_OK;
}

/* ---- cuts --------------------------------------------------------------------------
 */

/* The permissible cut of a bucket that is nearest to element "wanted". */
static size_t nearest_cut(const dml_sharded *s, const struct dml__shard_bucket *b,
                          size_t wanted)
{
    for (size_t i = 0; i < b->n; i++) {
        size_t index = s->order[b->first + i];
        size_t start = s->slots[index].start, count = s->params[index].count;
        if (wanted >= start + count)
            continue;
        size_t below = (wanted - start) / s->grain * s->grain;
        size_t above = count - below < s->grain ? count : below + s->grain;
        return start +
               (wanted - start - below <= above - (wanted - start) ? below : above);
    }
    return b->count;
}

/* "before" elements of the bucket's type lie in earlier buckets; "given"[k] of them are
 * of the ranks below k. Both are brought up to date. */
static void cut_bucket(const dml_sharded *s, struct dml__shard_bucket *b,
                       size_t *before, size_t *given)
{
    size_t nranks = (size_t)dml_comm_size(s->comm), last = 0;
    *before += b->count;
    for (size_t k = 1; k <= nranks; k++) {
        size_t total = *before / nranks * k + *before % nranks * k / nranks;
        size_t wanted = total > given[k] ? total - given[k] : 0;
        size_t cut =
            k == nranks || wanted > b->count ? b->count : nearest_cut(s, b, wanted);
        cut = cut > last ? cut : last;
        b->counts[k - 1] = cut - last;
        given[k] += cut;
        last = cut;
    }
    for (int r = 0; r < dml_comm_rank(s->comm); r++)
        b->begin += b->counts[r];
}

void dml__shard_piece(const dml_sharded *s, size_t param, int rank, size_t *first,
                      size_t *count)
{
    const struct dml__shard_slot *slot = &s->slots[param];
    const struct dml__shard_bucket *b = &s->buckets[slot->bucket];
    size_t begin = 0;
    for (int r = 0; r < rank; r++)
        begin += b->counts[r];
    size_t end = begin + b->counts[rank];
    size_t stop = slot->start + s->params[param].count;
    begin = begin > slot->start ? begin : slot->start;
    end = end < stop ? end : stop;
    *first = begin < end ? begin - slot->start : 0;
    *count = begin < end ? end - begin : 0;
}

/* ---- memory ------------------------------------------------------------------------
 */

/* Hands out a piece of "memory" (or only counts, where that is NULL). */
static char *take(char *memory, size_t *used, size_t bytes)
{
    char *piece = memory != NULL ? memory + *used : NULL;
    *used += (bytes + DML__ALIGN - 1) / DML__ALIGN * DML__ALIGN;
    return piece;
}

static dml_status get_parts(dml_sharded *s, size_t bytes, const char *where)
{
    void *parts = NULL;
    if (s->device != NULL)
        (void)dml__sync_device_alloc(s->device, bytes, &parts);
    else
        parts = dml__alloc(dml_comm_ctx(s->comm), bytes);
    s->parts = parts;
    double missing = parts == NULL;
    DML_TRY(dml__comm_max(s->comm, &missing, 1));
    return missing == 0 ? DML_OK
                        : dml__fail(dml_comm_ctx(s->comm), DML_ENOMEM, where,
                                    "no memory for gradients of %zu bytes", bytes);
}

static dml_status get_packed(dml_sharded *s, size_t bytes, const char *where)
{
    void *packed = NULL;
    if (s->device == NULL)
        return dml_alloc(s->comm, bytes, (void **)&s->packed);
    (void)dml__sync_device_alloc(s->device, bytes, &packed);
    s->packed = packed;
    double missing = packed == NULL;
    DML_TRY(dml__comm_max(s->comm, &missing, 1));
    return missing == 0
               ? DML_OK
               : dml__fail(dml_comm_ctx(s->comm), DML_ENOMEM, where,
                           "no device memory for packed vectors of %zu bytes", bytes);
}

/* Packed vectors of the host lie in symmetric memory, which the ranks of a node reduce
 * and gather where it lies. Collective: all have the same packed buckets. */
static dml_status make_memory(dml_sharded *s, const char *where)
{
    int rank = dml_comm_rank(s->comm);
    for (int pass = 0; pass < 2; pass++) {
        size_t packed = 0, parts = 0;
        for (size_t i = 0; i < s->nbuckets; i++) {
            struct dml__shard_bucket *b = &s->buckets[i];
            size_t grad_bytes = dml_dtype_bytes(b->grad_dtype);
            if (b->grads_packed)
                b->grads = take(s->packed, &packed, b->count * grad_bytes);
            if (b->params_packed)
                b->params =
                    take(s->packed, &packed, b->count * dml_dtype_bytes(b->dtype));
            b->part_grads = take(s->parts, &parts, b->counts[rank] * grad_bytes);
        }
        if (pass == 1)
            break;
        DML_TRY(get_parts(s, parts, where));
        if (packed > 0)
            DML_TRY(get_packed(s, packed, where));
    }
    return DML_OK;
}

void dml__shard_plan_free(dml_sharded *s)
{
    for (size_t i = 0; i < s->nbuckets && s->device == NULL; i++)
        dml__comm_release(s->comm, s->buckets[i].spare);
    for (size_t i = 0; i < s->nbuckets && s->device != NULL; i++)
        dml__sync_device_free(s->device, s->buckets[i].spare);
    dml__free(s->buckets);
    dml__free(s->counts);
    if (s->device != NULL) {
        dml__sync_device_free(s->device, s->parts);
        dml__sync_device_free(s->device, s->packed);
        return;
    }
    dml__comm_release(s->comm, s->parts);
    dml_free(s->comm, s->packed);
}

dml_status dml__shard_plan(dml_sharded *s, const char *where)
{
    dml_ctx *ctx = dml_comm_ctx(s->comm);
    size_t nranks = (size_t)dml_comm_size(s->comm), n = assign(s);
    double *scattered = dml__alloc(ctx, dml__mul(4 * n, sizeof *scattered));
    size_t *given = dml__alloc(ctx, dml__mul(NTYPES * (nranks + 1), sizeof *given));
    s->buckets = dml__alloc(ctx, dml__mul(n, sizeof *s->buckets));
    s->counts = dml__alloc(ctx, dml__mul(dml__mul(n + 2, nranks), sizeof *s->counts));
    double missing =
        scattered == NULL || given == NULL || s->buckets == NULL || s->counts == NULL;
    dml_status status = dml__comm_max(s->comm, &missing, 1);
    if (status == DML_OK && missing > 0)
        status = dml__fail(ctx, DML_ENOMEM, where,
                           "no memory for the buckets of %zu "
                           "parameters",
                           s->n);
    if (status == DML_OK) {
        s->nbuckets = s->stats.buckets = n;
        s->piece_counts = s->counts + n * nranks;
        group(s);
        status = agree_layouts(s, scattered);
    }
    if (status == DML_OK) {
        size_t before[NTYPES] = {0};
        for (size_t i = 0; i < n; i++) {
            size_t type = type_index(s->buckets[i].dtype);
            s->buckets[i].counts = s->counts + i * nranks;
            cut_bucket(s, &s->buckets[i], &before[type], given + type * (nranks + 1));
        }
        status = make_memory(s, where);
    }
    dml__free(given);
    dml__free(scattered);
    return status;
}
