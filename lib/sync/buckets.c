/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which gradients are reduced together, and from which memory.
 *
 * Tensors are taken in the order in which they become ready; of each type and place
 * (and with a codec, of those that it is for and those that it is not) one bucket is
 * open at a time, and is closed when it is large enough. All ranks make the same plan
 * from the same order, but their tensors may lie differently in memory, so how a bucket
 * is read is agreed upon.
 */
#include "comm/comm.h"
#include "sync/compress.h"
#include "sync/device.h"
#include "sync/filling.h"
#include "sync/reducer.h"

static size_t tensor_bytes(const dml_tensor *t)
{
    return t->count * dml_dtype_bytes(t->dtype);
}

/* Numbers the bucket of each tensor (in slots) and returns how many there are. */
static size_t assign(dml_reducer *r, const uint64_t *ready_order)
{
    struct dml__filling f = {.bucket_bytes = r->opts.bucket_bytes,
                             .first_bucket_bytes = r->opts.first_bucket_bytes};
    _Static_assert(2 * DML_NDTYPES * DML__NTENSOR_KINDS <= DML__MOST_KINDS, "");
    for (size_t i = 0; i < r->ngrads; i++) {
        size_t index = (size_t)ready_order[i];
        const dml_tensor *t = &r->grads[index];
        size_t kind = (size_t)t->dtype * DML__NTENSOR_KINDS;
        kind += (size_t)dml__compress_kind(r, index);
        kind = 2 * kind + r->slots[index].on_device;
        r->slots[index].bucket = dml__filling_put(&f, kind, tensor_bytes(t));
    }
    return f.n;
}

/* Fills the buckets from the numbers: members in ready order, pieces, sizes. */
static void group(dml_reducer *r, const uint64_t *ready_order)
{
    for (size_t i = 0; i < r->ngrads; i++)
        r->buckets[r->slots[i].bucket].n++;
    size_t first = 0;
    for (size_t b = 0; b < r->nbuckets; b++) {
        r->buckets[b].first = first;
        r->buckets[b].pieces = r->pieces + first;
        first += r->buckets[b].n;
        r->buckets[b].n = 0;
    }
    for (size_t i = 0; i < r->ngrads; i++) {
        size_t index = (size_t)ready_order[i];
        const dml_tensor *tensor = &r->grads[index];
        struct dml__bucket *b = &r->buckets[r->slots[index].bucket];
        r->order[b->first + b->n++] = index;
        r->pieces[b->first + b->n - 1] = (dml_piece){tensor->data, tensor->count};
        b->dtype = tensor->dtype;
        b->kind = (int)dml__compress_kind(r, index);
        b->on_device = r->slots[index].on_device;
        b->count += tensor->count;
    }
}

/* Start of a bucket's tensors if they lie one after the other, in list order or against
 * it; else NULL. */
static char *contiguous(const dml_reducer *r, const struct dml__bucket *b, bool reverse)
{
    struct dml__run run = {NULL, NULL};
    for (size_t i = 0; i < b->n; i++) {
        size_t at = b->first + (reverse ? b->n - 1 - i : i);
        const dml_tensor *t = &r->grads[r->order[at]];
        if (!dml__run_goes_on(&run, t->data, tensor_bytes(t)))
            return NULL;
    }
    return run.start;
}

/* Agrees on the buckets' layouts; sets "data" of those whose tensors lie together. */
static dml_status agree_layouts(dml_reducer *r, double *impossible)
{
    for (size_t b = 0; b < r->nbuckets; b++)
        for (int reverse = 0; reverse < 2; reverse++)
            impossible[2 * b + (size_t)reverse] =
                contiguous(r, &r->buckets[b], reverse != 0) == NULL;
    DML_TRY(dml__comm_max(r->comm, impossible, (int)(2 * r->nbuckets)));
    r->stats.packed_buckets = 0;
    for (size_t i = 0; i < r->nbuckets; i++) {
        struct dml__bucket *b = &r->buckets[i];
        if (impossible[2 * i] == 0)
            b->layout = DML__ASCENDING;
        else if (impossible[2 * i + 1] == 0)
            b->layout = DML__DESCENDING;
        else
            b->layout = DML__APART;
        if (b->layout != DML__APART)
            b->data = contiguous(r, b, b->layout == DML__DESCENDING);
        else if (b->count > 0)
            r->stats.packed_buckets++;
    }
    return DML_OK;
}

/* Tensors on a device that lie apart are copied together there. */
static dml_status get_packed(dml_reducer *r)
{
    dml_status status = DML_OK;
    if (r->device == NULL)
        return DML_OK;
    for (size_t i = 0; i < r->nbuckets && status == DML_OK; i++) {
        struct dml__bucket *b = &r->buckets[i];
        void *memory = NULL;
        if (b->on_device && b->layout == DML__APART)
            status = dml__sync_device_alloc(
                r->device, b->count * dml_dtype_bytes(b->dtype), &memory);
        b->packed = memory;
    }
    double missing = status != DML_OK;
    DML_TRY(dml__comm_max(r->comm, &missing, 1));
    if (status == DML_OK && missing > 0)
        status = dml__fail(dml_comm_ctx(r->comm), DML_ENOMEM, "dml_reducer",
                           "another rank has no device memory for its buckets");
    return status;
}

void dml__buckets_free(dml_reducer *r)
{
    dml__compress_forget(r);
    for (size_t i = 0; i < r->nbuckets; i++)
        dml__sync_device_free(r->device, r->buckets[i].packed);
    dml__free(r->buckets);
    r->buckets = NULL;
    r->nbuckets = 0;
}

dml_status dml__buckets_plan(dml_reducer *r, const uint64_t *ready_order)
{
    dml_ctx *ctx = dml_comm_ctx(r->comm);
    dml__buckets_free(r);
    size_t n = assign(r, ready_order);
    double *impossible = dml__alloc(ctx, dml__mul(2 * n, sizeof *impossible));
    r->buckets = dml__alloc(ctx, dml__mul(n, sizeof *r->buckets));
    double missing = impossible == NULL || r->buckets == NULL;
    dml_status status = dml__comm_max(r->comm, &missing, 1);
    if (status == DML_OK && missing == 0) {
        r->nbuckets = n;
        group(r, ready_order);
        status = agree_layouts(r, impossible);
    }
    if (status == DML_OK && missing == 0)
        status = get_packed(r);
    dml__free(impossible);
    if (status == DML_OK && missing > 0)
        status = dml__fail(ctx, DML_ENOMEM, "dml_reducer",
                           "no memory for the buckets of %zu gradients", r->ngrads);
    r->stats.buckets = r->nbuckets;
    return status;
}
