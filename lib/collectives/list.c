/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-reduce of a vector that lies in pieces. Tasks of a node find the pieces by
 * dml__together, and copy from and to them; other algorithms work on a packed copy,
 * which the schedule's first step makes and its last one takes apart.
 */
#include "collectives/user_call.h"

#include <string.h>

size_t dml__together(const struct dml__call *call, struct dml__cursor *cursor,
                     size_t at, size_t n, char **where)
{
    if (call->pieces == NULL) {
        *where = dml__at(call, at);
        return n;
    }
    while (at - cursor->begin >= call->pieces[cursor->piece].count)
        cursor->begin += call->pieces[cursor->piece++].count;
    const dml_piece *piece = &call->pieces[cursor->piece];
    size_t inside = at - cursor->begin, left = piece->count - inside;
    *where = (char *)piece->data + inside * call->elem_bytes;
    return left < n ? left : n;
}

dml_piece *dml__sched_pieces(dml_request *request, const struct dml__call *call)
{
    size_t bytes = dml__mul(call->npieces, sizeof *call->pieces);
    dml_piece *copy = dml__sched_scratch(request, bytes);
    return copy != NULL ? memcpy(copy, call->pieces, bytes) : NULL;
}

/* dst: the packed vector, n elements of "bytes"; a: the pieces. */
static void pack(void *dst, const void *a, const void *b, size_t n, double bytes)
{
    const dml_piece *piece = a;
    char *to = dst, *end = to + n * (size_t)bytes;
    (void)b;
    for (size_t length = 0; to < end; piece++, to += length) {
        length = piece->count * (size_t)bytes;
        dml__copy(to, piece->data, length);
    }
}

/* The other way round. */
static void unpack(void *dst, const void *a, const void *b, size_t n, double bytes)
{
    const dml_piece *piece = dst;
    const char *from = a, *end = from + n * (size_t)bytes;
    (void)b;
    for (size_t length = 0; from < end; piece++, from += length) {
        length = piece->count * (size_t)bytes;
        dml__copy(piece->data, from, length);
    }
}

void dml__build_packed(const struct dml__call *call, const struct dml__alg *alg,
                       dml_request *request)
{
    struct dml__call packed = *call;
    dml_piece *pieces = dml__sched_pieces(request, call);
    packed.pieces = NULL;
    packed.recv = dml__sched_scratch(request, dml__mul(call->count, call->elem_bytes));
    packed.send = packed.recv;
    if (pieces == NULL || packed.recv == NULL)
        return; /* the request knows */
    double bytes = (double)call->elem_bytes;
    int ready = dml__sched_local(request, pack, packed.recv, pieces, NULL, call->count,
                                 bytes, DML__NO_STEP, DML__NO_STEP);
    dml__sched_gate(request, ready);
    alg->build(&packed, request);
    dml__sched_local_after_all(request, unpack, pieces, packed.recv, NULL, call->count,
                               bytes);
}

static dml_status check_pieces(const dml_piece *pieces, size_t npieces,
                               const dml_comm *comm, const char *where)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    size_t sum = 0;
    if (pieces == NULL && npieces > 0)
        return dml__fail(ctx, DML_EINVAL, where, "pieces is NULL");
    for (size_t i = 0; i < npieces; i++) {
        if (pieces[i].data == NULL && pieces[i].count > 0)
            return dml__fail(ctx, DML_EINVAL, where, "piece %zu has no data", i);
        if (pieces[i].count > PTRDIFF_MAX / sizeof(double) - sum)
            return dml__fail(ctx, DML_EINVAL, where,
                             "piece %zu: count %zu is beyond memory", i,
                             pieces[i].count);
        sum += pieces[i].count;
    }
    return DML_OK;
}

static dml_status reduce_list(const dml_piece *pieces, size_t npieces, dml_dtype dtype,
                              dml_op op, dml_comm *comm, enum dml__mode mode,
                              dml_request **request, const char *where)
{
    static const dml_piece nothing = {NULL, 0};
    if (comm == NULL)
        return DML_EINVAL;
    if (check_pieces(pieces, npieces, comm, where) != DML_OK) {
        dml__roll_refuse(comm, DML_COLL_ALLREDUCE, 0); /* the others may wait */
        return DML_EINVAL;
    }
    struct dml__user_call u = {.coll = DML_COLL_ALLREDUCE,
                               .pieces = npieces > 0 ? pieces : &nothing,
                               .npieces = npieces,
                               .dtype = dtype,
                               .op = op,
                               .comm = comm,
                               .where = where};
    for (size_t i = 0; i < npieces; i++)
        u.count += pieces[i].count;
    return dml__perform(&u, mode, request);
}

dml_status dml_allreduce_list(const dml_piece *pieces, size_t npieces, dml_dtype dtype,
                              dml_op op, dml_comm *comm)
{
    return reduce_list(pieces, npieces, dtype, op, comm, DML__BLOCKING, NULL, __func__);
}

dml_status dml_iallreduce_list(const dml_piece *pieces, size_t npieces, dml_dtype dtype,
                               dml_op op, dml_comm *comm, dml_request **request)
{
    return reduce_list(pieces, npieces, dtype, op, comm, DML__STARTED, request,
                       __func__);
}

dml_status dml_allreduce_list_init(const dml_piece *pieces, size_t npieces,
                                   dml_dtype dtype, dml_op op, dml_comm *comm,
                                   dml_request **request)
{
    return reduce_list(pieces, npieces, dtype, op, comm, DML__PLANNED, request,
                       __func__);
}
