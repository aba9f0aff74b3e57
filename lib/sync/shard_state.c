/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sharded state to and from the layout that an unsharded optimizer has, for snapshots
 * that fit any number of ranks.
 */
#include "comm/comm.h"
#include "sync/device.h"
#include "sync/shard.h"

#include <string.h>

/* A collective on one slot of one tensor: this rank's piece, and where all lie. Slots
 * on a device go by a copy on the host. */
struct pieces {
    float *mine, *slot;
    size_t count;            /* of mine */
    size_t *counts, *displs; /* [P] each, the object's */
};

/* What is equal on all ranks. A NULL on root is left to the collective, which tells the
 * other ranks of it. */
static dml_status check(dml_sharded *s, size_t param, int root, const char *where)
{
    dml_ctx *ctx = dml_comm_ctx(s->comm);
    DML_TRY(dml__shard_check_index(s, param, where));
    if (s->state == DML__SHARD_OPEN)
        return dml__fail(ctx, DML_EINVAL, where,
                         "a step is open; close it with dml_sharded_step");
    if (root < 0 || root >= dml_comm_size(s->comm))
        return dml__fail(ctx, DML_EINVAL, where,
                         "root is %d; it must be one of the %d ranks", root,
                         dml_comm_size(s->comm));
    return DML_OK;
}

/* counts stays NULL when nothing is to be moved: no f32 tensor has a master copy. */
static dml_status find(dml_sharded *s, size_t param, size_t slot, struct pieces *p)
{
    size_t nranks = (size_t)dml_comm_size(s->comm);
    dml_optim_slot own;
    *p = (struct pieces){0};
    DML_TRY(dml_optim_get_slot(s->optim, param, slot, &own));
    p->mine = p->slot = own.data;
    p->count = own.count;
    if (strcmp(own.name, "master") == 0 && s->params[param].dtype == DML_F32)
        return DML_OK;
    p->counts = s->piece_counts;
    p->displs = p->counts + nranks;
    for (size_t r = 0; r < nranks; r++)
        dml__shard_piece(s, param, (int)r, &p->displs[r], &p->counts[r]);
    return DML_OK;
}

/* The others are in the collective already: what fails here ends it for them. */
static dml_status copy_slot(dml_sharded *s, struct pieces *p, bool to_host)
{
    const size_t bytes = p->count * sizeof *p->mine;
    float *to = to_host ? p->mine : p->slot;
    DML_TRY(dml__sync_device_copy(s->device, to, to_host ? p->slot : p->mine, bytes));
    return dml__sync_device_wait(s->device);
}

static dml_status begin_copy(dml_sharded *s, struct pieces *p, const char *where)
{
    if (s->device == NULL)
        return DML_OK;
    p->mine = dml__alloc(dml_comm_ctx(s->comm), p->count * sizeof *p->mine);
    if (p->mine != NULL)
        return copy_slot(s, p, true);
    dml__comm_break(s->comm, dml__fail(dml_comm_ctx(s->comm), DML_ENOMEM, where,
                                       "no memory for %zu elements", p->count));
    return DML_ENOMEM;
}

static dml_status end_copy(dml_sharded *s, struct pieces *p, dml_status status,
                           bool back)
{
    if (s->device == NULL)
        return status;
    if (status == DML_OK && back)
        status = copy_slot(s, p, false);
    dml__comm_release(s->comm, p->mine);
    return status;
}

dml_status dml_sharded_slot_gather(dml_sharded *s, size_t param, size_t slot,
                                   float *out, int root)
{
    if (s == NULL)
        return DML_EINVAL;
    DML_TRY(check(s, param, root, __func__));
    struct pieces p;
    DML_TRY(find(s, param, slot, &p));
    if (p.counts == NULL)
        return DML_OK;
    dml_status status = begin_copy(s, &p, __func__);
    if (status == DML_OK)
        status = dml_gatherv(p.mine, out, p.counts, p.displs, DML_F32, root, s->comm);
    return end_copy(s, &p, status, false);
}

dml_status dml_sharded_slot_scatter(dml_sharded *s, size_t param, size_t slot,
                                    const float *in, int root)
{
    if (s == NULL)
        return DML_EINVAL;
    DML_TRY(check(s, param, root, __func__));
    struct pieces p;
    DML_TRY(find(s, param, slot, &p));
    if (p.counts == NULL)
        return DML_OK;
    dml_status status = begin_copy(s, &p, __func__);
    if (status == DML_OK)
        status = dml_scatterv(in, p.mine, p.counts, p.displs, DML_F32, root, s->comm);
    return end_copy(s, &p, status, true);
}

dml_optim *dml_sharded_optim(dml_sharded *s)
{
    return s->optim;
}

void dml_sharded_get_stats(const dml_sharded *s, dml_sharded_stats *stats)
{
    *stats = s->stats;
}
