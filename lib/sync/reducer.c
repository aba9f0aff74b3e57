/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gradient reducer: a bucket's all-reduce starts when its last gradient is ready.
 *
 * Buckets are started in their order on every rank, whatever the order in which they
 * become full, because collectives must be called alike everywhere.
 *
 * Source: Li et al., PyTorch Distributed, VLDB 2020, sections 3.2 and 4.2.
 */
#include "sync/reducer.h"

#include "collectives/collectives.h"
#include "comm/comm.h"
#include "sync/compress.h"
#include "sync/device.h"

#include <stdint.h>
#include <string.h>

void dml_reducer_opts_init(dml_reducer_opts *opts)
{
    *opts = (dml_reducer_opts){
        .size = sizeof *opts,
        .bucket_bytes = (size_t)4 << 20,
        .first_bucket_bytes = (size_t)256 << 10,
    };
}

static bool is_float(dml_dtype t)
{
    return t == DML_F32 || t == DML_F64 || t == DML_F16 || t == DML_BF16;
}

static dml_status check(const dml_tensor *grads, size_t ngrads,
                        const dml_reducer_opts *opts, const dml_comm *comm)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    const char *where = "dml_reducer_create";
    size_t total = 0;
    if (grads == NULL && ngrads > 0)
        return dml__fail(ctx, DML_EINVAL, where, "grads is NULL");
    DML_TRY(
        dml__check_size(ctx, where, opts->size, sizeof *opts, "dml_reducer_opts_init"));
    if (opts->bucket_bytes == 0)
        return dml__fail(ctx, DML_EINVAL, where, "bucket_bytes is 0; use 1 or more");
    for (size_t i = 0; i < ngrads; i++) {
        const char *name = dml__tensor_name(&grads[i]);
        if (!is_float(grads[i].dtype))
            return dml__fail(
                ctx, DML_EINVAL, where,
                "tensor %zu (%s) is of type %s; averages need a float type", i, name,
                dml_dtype_name(grads[i].dtype));
        if (grads[i].data == NULL && grads[i].count > 0)
            return dml__fail(ctx, DML_EINVAL, where, "tensor %zu (%s) has no data", i,
                             name);
        if (grads[i].count > PTRDIFF_MAX / 8 - total)
            return dml__fail(ctx, DML_EINVAL, where,
                             "tensor %zu (%s): count %zu is beyond memory", i, name,
                             grads[i].count);
        total += grads[i].count;
    }
    return dml__compress_check(grads, ngrads, opts, comm);
}

/* Which gradients lie on a device: the same on all ranks, else their collectives would
 * not meet. Collective. */
static dml_status find_places(dml_reducer *r)
{
    dml_ctx *ctx = dml_comm_ctx(r->comm);
    uint64_t hash = 1;
    bool any = false, same = false;
    dml_status status = DML_OK;
    for (size_t i = 0; i < r->ngrads && status == DML_OK; i++) {
        bool *on = &r->slots[i].on_device;
        if (r->grads[i].count > 0)
            status = dml__sync_holds(ctx, r->grads[i].data, on);
        hash = dml__hash(hash, on, sizeof *on);
        any = any || *on;
    }
    double refused = status != DML_OK;
    DML_TRY(dml__comm_max(r->comm, &refused, 1));
    if (status == DML_OK && refused > 0)
        status = dml__fail(ctx, DML_EMISMATCH, "dml_reducer_create",
                           "another rank's tensors were refused; see its error");
    DML_TRY(status);
    DML_TRY(dml__same_everywhere(r->comm, hash, &same));
    if (!same)
        return dml__fail(ctx, DML_EMISMATCH, "dml_reducer_create",
                         "a tensor lies on the device on some ranks and on the host on "
                         "others (here %s does); put it on one",
                         any ? "one or more" : "none");
    DML_TRY(dml__compress_check_places(r));
    return any ? dml__sync_device_open(r->comm, &r->device) : DML_OK;
}

static bool copy_tensors(dml_reducer *r, const dml_tensor *grads)
{
    size_t bytes = 0;
    for (size_t i = 0; i < r->ngrads; i++)
        bytes += grads[i].name != NULL ? strlen(grads[i].name) + 1 : 0;
    r->names = dml__alloc(dml_comm_ctx(r->comm), bytes);
    if (r->names == NULL)
        return false;
    char *next = r->names;
    for (size_t i = 0; i < r->ngrads; i++) {
        r->grads[i] = grads[i];
        r->stats.bytes += grads[i].count * dml_dtype_bytes(grads[i].dtype);
        if (grads[i].name == NULL)
            continue;
        r->grads[i].name = strcpy(next, grads[i].name);
        next += strlen(next) + 1;
    }
    return true;
}

static dml_reducer *make(const dml_tensor *grads, size_t ngrads,
                         const dml_reducer_opts *opts, dml_comm *comm)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_reducer *r = dml__alloc(ctx, sizeof *r);
    if (r == NULL)
        return NULL;
    r->comm = comm;
    r->opts = *opts;
    r->ngrads = ngrads;
    r->grads = dml__alloc(ctx, dml__mul(ngrads, sizeof *r->grads));
    r->order = dml__alloc(ctx, dml__mul(ngrads, sizeof *r->order));
    r->ready_order = dml__alloc(ctx, dml__mul(ngrads, sizeof *r->ready_order));
    r->slots = dml__alloc(ctx, dml__mul(ngrads, sizeof *r->slots));
    r->pieces = dml__alloc(ctx, dml__mul(ngrads, sizeof *r->pieces));
    if (r->grads == NULL || r->order == NULL || r->ready_order == NULL ||
        r->slots == NULL || r->pieces == NULL || !copy_tensors(r, grads) ||
        dml__compress_open(r, opts) != DML_OK) {
        dml_reducer_destroy(r);
        return NULL;
    }
    return r;
}

/* Collective calls with a request measure nothing themselves: before the first one. */
static dml_status measure(dml_reducer *r)
{
    bool host = r->ngrads == 0, device = false;
    dml_status status = DML_OK;
    for (size_t i = 0; i < r->ngrads; i++) {
        const bool empty = r->grads[i].count == 0;
        host = host || (!empty && !r->slots[i].on_device);
        device = device || r->slots[i].on_device;
    }
    dml__comm_enter(r->comm);
    if (host)
        status = dml__coll_measure(r->comm, DML_COLL_ALLREDUCE);
    if (device && status == DML_OK)
        status = dml__coll_measure_device(r->comm, DML_COLL_ALLREDUCE);
    if (device && status == DML_OK)
        status = dml__compress_measure(r);
    dml__comm_leave(r->comm);
    return status;
}

dml_status dml_reducer_create(const dml_tensor *grads, size_t ngrads,
                              const dml_reducer_opts *user_opts, dml_comm *comm,
                              dml_reducer **out)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (out == NULL)
        return dml__fail(dml_comm_ctx(comm), DML_EINVAL, __func__, "reducer is NULL");
    dml_reducer_opts defaults;
    dml_reducer_opts_init(&defaults);
    const dml_reducer_opts *opts = user_opts != NULL ? user_opts : &defaults;
    dml_status checked = check(grads, ngrads, opts, comm);
    double refused = checked != DML_OK;
    DML_TRY(dml__comm_max(comm, &refused, 1));
    if (checked != DML_OK)
        return checked;
    if (refused > 0)
        return dml__fail(dml_comm_ctx(comm), DML_EMISMATCH, __func__,
                         "another rank's arguments were refused; see its error");
    DML_TRY(dml__verify_tensors(grads, ngrads, comm, __func__));
    dml_reducer *r = make(grads, ngrads, opts, comm);
    double missing = r == NULL;
    dml_status status = dml__comm_max(comm, &missing, 1);
    if (status == DML_OK && missing > 0)
        status = dml__fail(dml_comm_ctx(comm), DML_ENOMEM, __func__,
                           "no memory for %zu gradients", ngrads);
    if (status == DML_OK)
        status = dml__compress_verify(r);
    if (status == DML_OK)
        status = find_places(r);
    if (status == DML_OK) {
        for (size_t i = 0; i < ngrads; i++)
            r->ready_order[i] = ngrads - 1 - i;
        status = dml__buckets_plan(r, r->ready_order);
    }
    if (status == DML_OK)
        status = measure(r);
    if (status != DML_OK) {
        dml_reducer_destroy(r);
        return status;
    }
    *out = r;
    return DML_OK;
}

void dml_reducer_destroy(dml_reducer *r)
{
    if (r == NULL)
        return;
    dml__abandon(r);
    dml__buckets_free(r);
    dml__sync_device_close(r->device);
    dml__compress_close(r);
    dml__free(r->names);
    dml__free(r->grads);
    dml__free(r->order);
    dml__free(r->ready_order);
    dml__free(r->slots);
    dml__free(r->pieces);
    dml__free(r);
}

dml_status dml_reducer_flush(dml_reducer *r)
{
    if (r == NULL)
        return DML_EINVAL;
    if (r->state != DML__CLOSED)
        return dml__fail(dml_comm_ctx(r->comm), DML_EINVAL, __func__,
                         "a step is open; call it between steps");
    if (r->compression != NULL)
        r->compression->flush = true;
    return DML_OK;
}

dml_status dml_reducer_begin(dml_reducer *r, bool reduce)
{
    if (r == NULL)
        return DML_EINVAL;
    if (r->state == DML__BROKEN)
        return dml__fail(dml_comm_ctx(r->comm), DML_ECOMM, __func__,
                         "an earlier step failed; destroy the reducer");
    if (r->state != DML__CLOSED)
        return dml__fail(dml_comm_ctx(r->comm), DML_EINVAL, __func__,
                         "a step is open; close it with dml_reducer_finish");
    if (reduce)
        DML_TRY(dml__compress_begin(r));
    r->state = reduce ? DML__REDUCING : DML__ACCUMULATING;
    r->next = 0;
    r->launched = DML_OK;
    r->nready = 0;
    for (size_t i = 0; i < r->ngrads; i++)
        r->slots[i].ready = false;
    for (size_t b = 0; b < r->nbuckets; b++) {
        r->buckets[b].pending = r->buckets[b].n;
        r->buckets[b].started = 0;
    }
    return DML_OK;
}

dml_status dml_reducer_ready(dml_reducer *r, size_t index)
{
    if (r == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(r->comm);
    if (r->state == DML__CLOSED || r->state == DML__BROKEN)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no step is open; call dml_reducer_begin first");
    if (index >= r->ngrads)
        return dml__fail_values(ctx, DML_EINVAL, __func__, dml_comm_rank(r->comm),
                                (int64_t)index, (int64_t)r->ngrads,
                                "gradient %zu of %zu does not exist", index, r->ngrads);
    struct dml__slot *slot = &r->slots[index];
    if (slot->ready)
        return dml__fail_values(ctx, DML_EINVAL, __func__, dml_comm_rank(r->comm),
                                (int64_t)index, 0,
                                "gradient %zu (%s) was ready already in this step",
                                index, dml__tensor_name(&r->grads[index]));
    slot->ready = true;
    if (r->state == DML__ACCUMULATING)
        return DML_OK;
    struct dml__bucket *b = &r->buckets[slot->bucket];
    if (r->stats.steps == 0)
        r->ready_order[r->nready] = index;
    r->nready++;
    b->pending--;
    if (slot->on_device)
        DML_TRY(dml__sync_device_follow(r->device));
    DML_TRY(dml__launch(r, false));
    return dml_progress(r->comm);
}

static dml_status zero(dml_reducer *r, size_t index)
{
    const dml_tensor *t = &r->grads[index];
    const size_t bytes = t->count * dml_dtype_bytes(t->dtype);
    if (r->slots[index].on_device) {
        DML_TRY(dml__sync_device_follow(r->device));
        return dml__sync_device_zero(r->device, t->data, bytes);
    }
    if (bytes > 0)
        memset(t->data, 0, bytes);
    return DML_OK;
}

/* A gradient that never became ready adds nothing to the average. */
static dml_status zero_unused(dml_reducer *r)
{
    for (size_t i = 0; i < r->ngrads && r->nready < r->ngrads; i++) {
        struct dml__slot *slot = &r->slots[i];
        struct dml__bucket *b = &r->buckets[slot->bucket];
        if (slot->ready)
            continue;
        DML_TRY(zero(r, i));
        if (r->stats.steps == 0)
            r->ready_order[r->nready] = i;
        r->nready++;
        b->pending--;
    }
    return DML_OK;
}

/* After the first step: buckets in the order that rank 0 saw. */
static dml_status follow_ready_order(dml_reducer *r)
{
    DML_TRY(
        dml__bcast_now(r->ready_order, r->ngrads * sizeof *r->ready_order, 0, r->comm));
    DML_TRY(dml__buckets_plan(r, r->ready_order));
    return dml__compress_plan(r);
}

dml_status dml_reducer_finish(dml_reducer *r)
{
    if (r == NULL)
        return DML_EINVAL;
    if (r->state == DML__CLOSED || r->state == DML__BROKEN)
        return dml__fail(dml_comm_ctx(r->comm), DML_EINVAL, __func__,
                         "no step is open; call dml_reducer_begin first");
    bool reduced = r->state == DML__REDUCING;
    r->state = DML__CLOSED;
    if (!reduced)
        return DML_OK;
    dml_status status = zero_unused(r);
    double begin_s = dml__now_s();
    if (status == DML_OK)
        status = dml__launch(r, true);
    for (size_t i = 0; i < r->nbuckets; i++) {
        struct dml__bucket *b = &r->buckets[i];
        dml_status waited = dml__complete(r, b);
        if (status == DML_OK)
            status = waited;
    }
    if (status == DML_OK && r->device != NULL)
        status = dml__sync_device_lead(r->device);
    r->stats.wait_s += dml__now_s() - begin_s;
    r->stats.steps++;
    if (status == DML_OK && r->stats.steps == 1)
        status = follow_ready_order(r);
    status = dml__compress_end(r, status);
    if (status != DML_OK && status != DML_ENUMERIC)
        r->state = DML__BROKEN;
    return status;
}
