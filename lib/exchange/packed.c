/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All records at once: the ranks first tell each other how many records and bytes they
 * will send, so that every record is written once, to where it belongs.
 */
#include "dml/coll.h"

#include "exchange/exchange.h"

#include <string.h>

/* Where the next record of a rank goes. */
struct place {
    uint64_t record, byte, end_record, end_byte;
};

struct landing {
    dml_packed packed;
    struct place *places; /* [nranks] */
};

static dml_status land(void *user, int source, const void *record, size_t bytes)
{
    struct landing *l = user;
    struct place *p = &l->places[source];
    if (p->record == p->end_record || bytes > p->end_byte - p->byte)
        return DML_EMISMATCH;
    l->packed.offsets[p->record] = p->byte;
    if (bytes > 0)
        memcpy((char *)l->packed.data + p->byte, record, bytes);
    p->record++;
    p->byte += bytes;
    return DML_OK;
}

/* The first record whose arguments are wrong; send->count: there is none. */
static size_t first_wrong(const dml_packed *send, const int *dest, int nranks)
{
    if (send->count > 0 &&
        (dest == NULL || send->offsets == NULL || send->offsets[0] != 0))
        return 0;
    for (size_t i = 0; i < send->count; i++) {
        size_t from = send->offsets[i], to = send->offsets[i + 1];
        if (dest[i] < 0 || dest[i] >= nranks || to < from ||
            (send->data == NULL && to > from))
            return i;
    }
    return send->count;
}

/* Records and bytes for each rank, two numbers each. */
static void count(const dml_packed *send, const int *dest, uint64_t *counts)
{
    for (size_t i = 0; i < send->count; i++) {
        counts[2 * dest[i]]++;
        counts[2 * dest[i] + 1] += send->offsets[i + 1] - send->offsets[i];
    }
}

/* Places from the counts that the ranks told; false when there is no memory. */
static bool prepare(struct landing *l, const uint64_t *counts, int nranks, dml_ctx *ctx)
{
    uint64_t records = 0, bytes = 0;
    for (int p = 0; p < nranks; p++) {
        l->places[p] = (struct place){.record = records, .byte = bytes};
        records += counts[2 * p];
        bytes += counts[2 * p + 1];
        l->places[p].end_record = records;
        l->places[p].end_byte = bytes;
    }
    l->packed.count = records;
    l->packed.offsets = dml__alloc(ctx, dml__mul(records + 1, sizeof(size_t)));
    l->packed.data = dml__alloc(ctx, bytes);
    if (l->packed.offsets == NULL || l->packed.data == NULL)
        return false;
    l->packed.offsets[records] = bytes;
    return true;
}

/* The ranks' counts for this rank, and room for their records. A rank that cannot go on
 * says so in the exchange that follows. */
static dml_status announce(dml_exchange *x, struct landing *l, const dml_packed *send,
                           const int *dest)
{
    size_t n = (size_t)x->nranks, wrong = first_wrong(send, dest, x->nranks);
    if (wrong < send->count)
        dml__ship_fail(x, DML_EINVAL,
                       "record %zu of rank %d: its rank is not one of the %d, or its "
                       "offset is not behind the one before, or data is NULL",
                       wrong, x->rank, x->nranks);
    uint64_t *counts = dml__alloc(x->ctx, dml__mul(4 * n, sizeof *counts));
    l->places = dml__alloc(x->ctx, dml__mul(n, sizeof *l->places));
    double missing = counts == NULL || l->places == NULL;
    dml_status status = dml__comm_max(x->comm, &missing, 1);
    if (status == DML_OK && missing > 0)
        status = dml__fail(x->ctx, DML_ENOMEM, "dml_exchange_packed",
                           "no memory for the counts of %d ranks", x->nranks);
    if (status == DML_OK && x->failure == DML_OK)
        count(send, dest, counts);
    if (status == DML_OK)
        status = dml_alltoall(counts, counts + 2 * n, 2, DML_U64, x->comm);
    if (status == DML_OK && !prepare(l, counts + 2 * n, x->nranks, x->ctx))
        dml__ship_fail(x, DML_ENOMEM, "no memory on rank %d for %zu records", x->rank,
                       l->packed.count);
    dml__free(counts);
    return status;
}

static dml_status run(dml_exchange *x, const dml_packed *send, const int *dest)
{
    const char *data = send->data;
    dml_status status = x->failure;
    for (size_t i = 0; i < send->count && status == DML_OK; i++)
        status = dml_exchange_push(x, dest[i], data ? data + send->offsets[i] : NULL,
                                   send->offsets[i + 1] - send->offsets[i]);
    /* Finish compares what was sent with what came, but not with what was announced. */
    if (status < 0)
        dml__ship_fail(x, status, "rank %d could not send all its records", x->rank);
    return dml_exchange_finish(x);
}

dml_status dml_exchange_packed(const dml_packed *send, const int *dest,
                               const dml_exchange_opts *opts, dml_comm *comm,
                               dml_packed *recv)
{
    if (comm == NULL || send == NULL || recv == NULL)
        return DML_EINVAL;
    struct landing l = {.places = NULL};
    dml_exchange *x = NULL;
    DML_TRY(dml_exchange_create(opts, land, &l, comm, &x));
    dml_status status = announce(x, &l, send, dest);
    if (status == DML_OK)
        status = run(x, send, dest);
    dml_exchange_destroy(x);
    dml__free(l.places);
    if (status == DML_OK)
        *recv = l.packed;
    else
        dml_packed_free(&l.packed);
    return status;
}

void dml_packed_free(dml_packed *packed)
{
    if (packed == NULL)
        return;
    dml__free(packed->data);
    dml__free(packed->offsets);
    *packed = (dml_packed){.count = 0};
}
