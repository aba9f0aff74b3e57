/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order in which a step's collectives are started: the same on all ranks, though
 * buckets become full, and stages complete, in any order.
 *
 * A plain average is one collective, a compressed one up to three, each of which needs
 * the one before it. They are started along diagonals: bucket t's first stage, then the
 * second of bucket t - 1, the third of bucket t - 2. So while one bucket's messages are
 * on their way the next one is encoded. Where something is not ready yet all that
 * follows waits: order is what makes collectives meet.
 */
#include "sync/compress.h"
#include "sync/device.h"

#include <string.h>

static int stages_of(const struct dml__bucket *b)
{
    return b->coded ? dml__exchange_stages(b->exchange) : 1;
}

static dml_request **request_of(struct dml__bucket *b)
{
    return b->coded ? &b->exchange->request : &b->request;
}

/* Between tensors that lie apart and the codec's one vector. */
static void copy_pieces(const struct dml__bucket *b, bool to_vector)
{
    float *at = b->exchange->data;
    for (size_t i = 0; i < b->n && b->layout == DML__APART && !b->on_device; i++) {
        const dml_piece *piece = &b->pieces[i];
        if (piece->count > 0)
            memcpy(to_vector ? at : piece->data, to_vector ? piece->data : at,
                   piece->count * sizeof *at);
        at += piece->count;
    }
}

/* Between tensors on a device that lie apart and the bucket's one vector there. */
static dml_status copy_packed(dml_reducer *r, const struct dml__bucket *b, bool in)
{
    char *at = b->packed;
    for (size_t i = 0; i < b->n && at != NULL; i++) {
        const dml_piece *piece = &b->pieces[i];
        const size_t bytes = piece->count * dml_dtype_bytes(b->dtype);
        DML_TRY(dml__sync_device_copy(r->device, in ? at : piece->data,
                                      in ? piece->data : at, bytes));
        at += bytes;
    }
    return DML_OK;
}

/* What is only queued has no request, and the copies back stand behind it. */
static dml_status start_on_device(dml_reducer *r, struct dml__bucket *b)
{
    DML_TRY(copy_packed(r, b, true));
    if (b->exchange != NULL)
        b->exchange->top = 0;
    else if (r->compression != NULL)
        DML_TRY(dml__compress_look(r, b));
    if (b->exchange != NULL && dml__exchange_waits(b->exchange))
        DML_TRY(dml__exchange_flush(b->exchange));
    dml__sync_device_lend(r->device);
    dml_status status =
        dml_iallreduce(DML_IN_PLACE, b->packed != NULL ? b->packed : b->data, b->count,
                       b->dtype, DML_AVG, r->comm, &b->request);
    dml__sync_device_take(r->device);
    b->to_unpack = status == DML_OK && b->request != NULL;
    return status == DML_OK && !b->to_unpack ? copy_packed(r, b, false) : status;
}

static dml_status start_plain(dml_reducer *r, struct dml__bucket *b)
{
    if (b->on_device)
        return start_on_device(r, b);
    if (b->exchange != NULL)
        b->exchange->top = 0;
    if (b->exchange != NULL && dml__exchange_waits(b->exchange)) {
        copy_pieces(b, true);
        DML_TRY(dml__exchange_flush(b->exchange));
        copy_pieces(b, false);
    }
    if (r->compression != NULL)
        DML_TRY(dml__compress_look(r, b));
    if (b->layout == DML__APART)
        return dml_iallreduce_list(b->pieces, b->n, b->dtype, DML_AVG, r->comm,
                                   &b->request);
    return dml_iallreduce(DML_IN_PLACE, b->data, b->count, b->dtype, DML_AVG, r->comm,
                          &b->request);
}

static dml_status start(dml_reducer *r, struct dml__bucket *b, int stage)
{
    if (!b->coded)
        return start_plain(r, b);
    if (stage == 0) {
        copy_pieces(b, true);
        DML_TRY(copy_packed(r, b, true));
    }
    dml_status status = dml__exchange_start(b->exchange, stage);
    if (status == DML_OK && stage == 0 && !b->on_device)
        status = dml__compress_look(r, b);
    return status;
}

/* When every bucket is encoded: did any rank meet a number that is not finite? What a
 * device met is known at the end of the step. */
static dml_status start_agreement(dml_reducer *r)
{
    struct dml__compression *c = r->compression;
    if (c == NULL || !c->any || r->device != NULL)
        return DML_OK;
    return dml_iallreduce(DML_IN_PLACE, &c->fault, 1, DML_F64, DML_MAX, r->comm,
                          &c->agreement);
}

static dml_status launch(dml_reducer *r, bool wait)
{
    const size_t depth = r->compression != NULL ? DML__MOST_STAGES : 1;
    const size_t turns = (r->nbuckets + depth - 1) * depth;
    for (; r->next < turns; r->next++) {
        size_t turn = r->next / depth, stage = r->next % depth;
        if (stage > turn || turn - stage >= r->nbuckets)
            continue;
        struct dml__bucket *b = &r->buckets[turn - stage];
        if ((int)stage >= stages_of(b))
            continue;
        if (stage == 0 && b->pending > 0)
            return DML_OK;
        if (stage > 0) {
            dml_request **before = request_of(b);
            dml_status done = wait ? dml_wait(before) : dml_test(before);
            if (done != DML_OK)
                return done == DML_PENDING ? DML_OK : done;
        }
        DML_TRY(start(r, b, (int)stage));
        b->started++;
        if (stage == 0 && turn + 1 == r->nbuckets)
            DML_TRY(start_agreement(r));
    }
    return DML_OK;
}

dml_status dml__launch(dml_reducer *r, bool wait)
{
    /* What failed is not tried again: a codec would count the gradient twice. */
    if (r->launched == DML_OK)
        r->launched = launch(r, wait);
    return r->launched;
}

void dml__abandon(dml_reducer *r)
{
    for (size_t i = 0; i < r->nbuckets; i++)
        (void)dml_wait(request_of(&r->buckets[i]));
    if (r->compression != NULL)
        (void)dml_wait(&r->compression->agreement);
}

dml_status dml__complete(dml_reducer *r, struct dml__bucket *b)
{
    dml_status status = dml_wait(request_of(b));
    if (status == DML_OK && b->to_unpack)
        status = copy_packed(r, b, false);
    b->to_unpack = false;
    if (status == DML_OK && b->coded && b->started == stages_of(b)) {
        status = dml__exchange_finish(b->exchange);
        copy_pieces(b, false);
        if (status == DML_OK)
            status = copy_packed(r, b, false);
    }
    return status;
}
