/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A step of sharded training: gradients are reduced and scattered bucket by bucket as
 * they become ready, the parts updated, and parameters gathered.
 *
 * Collectives are started in the same order on every rank: buckets in their order, and
 * the gathering against it, which is the order of the forward pass.
 */
#include "comm/comm.h"
#include "sync/device.h"
#include "sync/shard.h"

#include <math.h>
#include <string.h>

static const char *name_of(const dml_sharded *s, size_t index)
{
    const char *name = s->params[index].name;
    return name != NULL ? name : "no name";
}

dml_status dml__shard_check_index(const dml_sharded *s, size_t param, const char *where)
{
    if (param < s->n)
        return DML_OK;
    return dml__fail_values(dml_comm_ctx(s->comm), DML_EINVAL, where,
                            dml_comm_rank(s->comm), (int64_t)param, (int64_t)s->n,
                            "parameter %zu of %zu does not exist", param, s->n);
}

/* ---- memory of either side ---------------------------------------------------------
 */

static dml_status copy(const dml_sharded *s, void *to, const void *from, size_t bytes)
{
    if (s->device != NULL)
        return dml__sync_device_copy(s->device, to, from, bytes);
    if (bytes > 0)
        memcpy(to, from, bytes);
    return DML_OK;
}

static dml_status zero(const dml_sharded *s, void *to, size_t bytes)
{
    if (s->device != NULL)
        return dml__sync_device_zero(s->device, to, bytes);
    if (bytes > 0)
        memset(to, 0, bytes);
    return DML_OK;
}

/* Collectives between the two are in the device's stream, where there is one. */
static void lend(const dml_sharded *s)
{
    if (s->device != NULL)
        dml__sync_device_lend(s->device);
}

static void take(const dml_sharded *s)
{
    if (s->device != NULL)
        dml__sync_device_take(s->device);
}

/* ---- gradients ---------------------------------------------------------------------
 */

dml_status dml_sharded_begin(dml_sharded *s)
{
    if (s == NULL)
        return DML_EINVAL;
    if (s->state == DML__SHARD_BROKEN)
        return dml__fail(dml_comm_ctx(s->comm), DML_ECOMM, __func__,
                         "an earlier step failed; destroy the object");
    if (s->state == DML__SHARD_OPEN)
        return dml__fail(dml_comm_ctx(s->comm), DML_EINVAL, __func__,
                         "a step is open; close it with dml_sharded_step");
    /* What a device found late, in the last step: in this call on all ranks. */
    DML_TRY(dml_optim_wait(s->optim));
    s->state = DML__SHARD_OPEN;
    s->next = 0;
    for (size_t i = 0; i < s->n; i++)
        s->slots[i].ready = false;
    for (size_t b = 0; b < s->nbuckets; b++) {
        s->buckets[b].pending = s->buckets[b].n;
        s->buckets[b].nready = 0;
    }
    return DML_OK;
}

/* Starts every bucket whose turn it is and which is full. */
static dml_status launch(dml_sharded *s)
{
    for (; s->next < s->nbuckets && s->buckets[s->next].pending == 0; s->next++) {
        struct dml__shard_bucket *b = &s->buckets[s->next];
        const char *grads = b->nready < b->n && !b->grads_packed ? b->spare : b->grads;
        lend(s);
        dml_status status =
            dml_ireduce_scatterv(grads, b->part_grads, b->counts, b->grad_dtype,
                                 DML_AVG, s->comm, &b->scatter);
        take(s);
        DML_TRY(status);
    }
    return DML_OK;
}

/* A tensor's gradient, or zeros where it is not ready, into its bucket's vector. */
static dml_status put_gradient(const dml_sharded *s, size_t index, char *vector)
{
    const struct dml__shard_slot *slot = &s->slots[index];
    const dml_param *p = &s->params[index];
    const size_t element = dml_dtype_bytes(p->grad_dtype);
    char *to = vector + slot->start * element;
    return slot->ready ? copy(s, to, p->grad, p->count * element)
                       : zero(s, to, p->count * element);
}

dml_status dml_sharded_ready(dml_sharded *s, size_t index)
{
    if (s == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(s->comm);
    if (s->state != DML__SHARD_OPEN)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no step is open; call dml_sharded_begin first");
    DML_TRY(dml__shard_check_index(s, index, __func__));
    if (s->slots[index].ready)
        return dml__fail_values(ctx, DML_EINVAL, __func__, dml_comm_rank(s->comm),
                                (int64_t)index, 0,
                                "gradient %zu (%s) was ready already in this step",
                                index, name_of(s, index));
    struct dml__shard_bucket *b = &s->buckets[s->slots[index].bucket];
    s->slots[index].ready = true;
    if (s->device != NULL)
        DML_TRY(dml__sync_device_follow(s->device));
    if (b->grads_packed)
        DML_TRY(put_gradient(s, index, b->grads));
    b->nready++;
    b->pending--;
    DML_TRY(launch(s));
    return dml_progress(s->comm);
}

/* Gradients that never became ready add nothing to the average. They are the caller's,
 * and only read: a bucket that is not packed is copied for this once. */
static dml_status fill_up(dml_sharded *s, struct dml__shard_bucket *b)
{
    const size_t bytes = b->count * dml_dtype_bytes(b->grad_dtype);
    dml_ctx *ctx = dml_comm_ctx(s->comm);
    void *spare = b->spare;
    if (!b->grads_packed && spare == NULL && s->device != NULL)
        (void)dml__sync_device_alloc(s->device, bytes, &spare);
    else if (!b->grads_packed && spare == NULL)
        spare = dml__alloc(ctx, bytes);
    b->spare = spare;
    char *vector = b->grads_packed ? b->grads : b->spare;
    if (vector == NULL && bytes > 0)
        return dml__fail(ctx, DML_ENOMEM, "dml_sharded_step",
                         "no memory for %zu bytes of gradients of which some were not "
                         "ready",
                         bytes);
    for (size_t i = b->first; i < b->first + b->n; i++)
        if (!b->grads_packed || !s->slots[s->order[i]].ready)
            DML_TRY(put_gradient(s, s->order[i], vector));
    b->pending = 0;
    return DML_OK;
}

static dml_status finish_gradients(dml_sharded *s)
{
    /* Parameters are written when the caller's work on them is done. */
    dml_status status = s->device != NULL ? dml__sync_device_follow(s->device) : DML_OK;
    for (size_t i = 0; i < s->nbuckets && status == DML_OK; i++)
        if (s->buckets[i].pending > 0)
            status = fill_up(s, &s->buckets[i]);
    if (status == DML_OK)
        status = launch(s);
    double begin_s = dml__now_s();
    for (size_t i = 0; i < s->next; i++) {
        dml_status waited = dml_wait(&s->buckets[i].scatter);
        if (status == DML_OK)
            status = waited;
    }
    s->stats.grad_wait_s += dml__now_s() - begin_s;
    return status;
}

/* ---- faults ------------------------------------------------------------------------
 */

static bool all_finite(const dml_param *p)
{
    const uint32_t *wide = p->grad;
    const uint16_t *narrow = p->grad;
    uint32_t exponent = p->grad_dtype == DML_F32   ? 0x7f800000u
                        : p->grad_dtype == DML_F16 ? 0x7c00u
                                                   : 0x7f80u;
    for (size_t i = 0; i < p->count; i++)
        if (((p->grad_dtype == DML_F32 ? wide[i] : narrow[i]) & exponent) == exponent)
            return false;
    return true;
}

/* The average is not finite: whose gradient was it? The first tensor and its lowest
 * rank are named on all ranks. Where no rank has one, the sum overflowed, and the
 * optimizer's own error stands. Collective. */
static dml_status name_culprit(dml_sharded *s)
{
    size_t found = 0;
    if (s->device != NULL)
        return DML_ENUMERIC; /* the optimizer has named the tensor */
    while (found < s->n && (!s->slots[found].ready || all_finite(&s->params[found])))
        found++;
    int nranks = dml_comm_size(s->comm);
    double first = -(double)found;
    DML_TRY(dml__comm_max(s->comm, &first, 1));
    size_t tensor = (size_t)-first;
    if (tensor == s->n)
        return DML_ENUMERIC;
    double lowest = found == tensor ? nranks - dml_comm_rank(s->comm) : 0;
    DML_TRY(dml__comm_max(s->comm, &lowest, 1));
    int rank = nranks - (int)lowest;
    return dml__fail_values(dml_comm_ctx(s->comm), DML_ENUMERIC, "dml_sharded_step",
                            rank, (int64_t)tensor, 0,
                            "%s: the gradient of rank %d is not finite, in step %llu; "
                            "nothing was changed",
                            name_of(s, tensor), rank,
                            (unsigned long long)s->stats.steps + 1);
}

/* ---- update ------------------------------------------------------------------------
 */

/* The optimizer's step, with its sums added up over the ranks. */
static dml_status update(dml_sharded *s, double lr)
{
    double *sums = NULL;
    size_t nsums = 0;
    dml_status status;
    while ((status = dml_optim_norms(s->optim, &sums, &nsums)) == DML_PENDING) {
        lend(s);
        status = dml_allreduce(DML_IN_PLACE, sums, nsums, DML_F64, DML_SUM, s->comm);
        take(s);
        DML_TRY(status);
    }
    if (status == DML_ENUMERIC)
        return name_culprit(s);
    if (status == DML_OK)
        status = dml_optim_apply(s->optim, lr);
    if (status != DML_OK || s->device == NULL)
        return status;
    /* The gradients may be written again. */
    DML_TRY(dml__sync_device_lead(s->device));
    return dml__sync_device_queued(s->device) ? DML_OK : dml_optim_wait(s->optim);
}

/* Between a bucket's packed vector and this rank's pieces, or all but them. */
static dml_status pack_own(dml_sharded *s, const struct dml__shard_bucket *b)
{
    size_t element = dml_dtype_bytes(b->dtype);
    for (size_t i = 0; i < b->n; i++) {
        size_t index = s->order[b->first + i], first, count;
        dml__shard_piece(s, index, dml_comm_rank(s->comm), &first, &count);
        DML_TRY(copy(s, b->params + (s->slots[index].start + first) * element,
                     (char *)s->params[index].param + first * element,
                     count * element));
    }
    return DML_OK;
}

static dml_status unpack_others(dml_sharded *s, const struct dml__shard_bucket *b)
{
    size_t element = dml_dtype_bytes(b->dtype);
    for (size_t i = 0; i < b->n; i++) {
        size_t index = s->order[b->first + i], first, count;
        const dml_param *p = &s->params[index];
        const char *from = b->params + s->slots[index].start * element;
        dml__shard_piece(s, index, dml_comm_rank(s->comm), &first, &count);
        const size_t before = first * element, own = before + count * element;
        DML_TRY(copy(s, p->param, from, before));
        DML_TRY(copy(s, (char *)p->param + own, from + own, p->count * element - own));
    }
    return DML_OK;
}

static dml_status gather_bucket(dml_sharded *s, struct dml__shard_bucket *b)
{
    if (b->params_packed)
        DML_TRY(pack_own(s, b));
    lend(s);
    dml_status status = dml_iallgatherv(DML_IN_PLACE, b->params, b->counts, NULL,
                                        b->dtype, s->comm, &b->gather);
    take(s);
    DML_TRY(status);
    b->gathering = true;
    b->queued = s->device != NULL && b->gather == NULL;
    if (!b->queued)
        return DML_OK;
    if (b->params_packed)
        DML_TRY(unpack_others(s, b));
    return dml__sync_device_mark(s->device, &b->gathered);
}

/* Parameters set out for all ranks, the last bucket's first: the forward pass begins
 * there. */
static dml_status gather(dml_sharded *s)
{
    for (size_t i = s->nbuckets; i-- > 0;)
        DML_TRY(gather_bucket(s, &s->buckets[i]));
    return dml_progress(s->comm);
}

static dml_status take_in(dml_sharded *s, struct dml__shard_bucket *b)
{
    if (b->queued)
        return dml__sync_device_pass(s->device, b->gathered);
    DML_TRY(dml_wait(&b->gather));
    if (!b->params_packed)
        return DML_OK;
    DML_TRY(unpack_others(s, b));
    return s->device != NULL ? dml__sync_device_lead(s->device) : DML_OK;
}

static dml_status wait_bucket(dml_sharded *s, struct dml__shard_bucket *b)
{
    if (!b->gathering)
        return DML_OK;
    double begin_s = dml__now_s();
    dml_status status = take_in(s, b);
    s->stats.param_wait_s += dml__now_s() - begin_s;
    b->gathering = false;
    if (status != DML_OK)
        s->state = DML__SHARD_BROKEN;
    return status;
}

dml_status dml_sharded_step(dml_sharded *s, double lr)
{
    if (s == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(s->comm);
    if (s->state != DML__SHARD_OPEN)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no step is open; call dml_sharded_begin first");
    if (!(lr >= 0 && isfinite((float)lr)))
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "lr is %g; use 0 or more, within the range of f32", lr);
    dml_status status = finish_gradients(s);
    if (status == DML_OK)
        status = dml_sharded_wait_all(s);
    if (status == DML_OK)
        status = update(s, lr);
    dml_optim_info info;
    dml_optim_get_info(s->optim, &info);
    /* What a device does next the host need not know yet: then all is gathered. */
    const bool known = s->device == NULL || !dml__sync_device_queued(s->device);
    if (status == DML_OK && !(known && info.last_skipped))
        status = gather(s);
    s->stats.steps++;
    /* A number that is not finite is found by all ranks, before anything is changed. */
    s->state = status == DML_OK || status == DML_ENUMERIC ? DML__SHARD_CLOSED
                                                          : DML__SHARD_BROKEN;
    return status;
}

dml_status dml_sharded_wait(dml_sharded *s, size_t index)
{
    if (s == NULL)
        return DML_EINVAL;
    DML_TRY(dml__shard_check_index(s, index, __func__));
    return wait_bucket(s, &s->buckets[s->slots[index].bucket]);
}

dml_status dml_sharded_wait_all(dml_sharded *s)
{
    if (s == NULL)
        return DML_EINVAL;
    for (size_t i = s->nbuckets; i-- > 0;)
        DML_TRY(wait_bucket(s, &s->buckets[i]));
    return DML_OK;
}
