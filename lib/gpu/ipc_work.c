/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rank's part of a call on buffers that it reaches: kernels and copies, queued in a
 * stream.
 */
#include "gpu/launch.h"
#include "gpu/paths.h"

/* Elements [from, from + n) of all inputs to the same place of one result, or all. */
static dml_status reduce(struct dml__gpu_comm *g, const struct dml__call *call,
                         const struct dml__ipc_view *view, struct dml__range part,
                         void *to, void *stream)
{
    size_t at = part.offset * call->elem_bytes;
    struct dml__gpu_reduce_args args = {
        .n = part.count,
        .nsrc = dml_comm_size(g->comm),
        .ndst = to != NULL ? 1 : dml_comm_size(g->comm),
        .op = (int)call->op <= DML_MAX ? (int)call->op : DML_SUM,
        .scaled = call->red.own_scale,
        .divisor = call->op == DML_AVG ? call->red.divisor : 1,
    };
    for (int i = 0; i < args.nsrc; i++) {
        args.src[i] = view->send[i] + at;
        args.scale[i] = view->scale[i];
        args.dst[i] = to != NULL ? to : view->recv[i] + at;
    }
    return dml__gpu_reduce(g->gpu, &args, call->dtype, stream);
}

static dml_status copy(struct dml__gpu_comm *g, const struct dml__call *call, char *to,
                       const char *from, struct dml__range at, size_t from_elem,
                       void *stream)
{
    size_t bytes = call->elem_bytes;
    char *dst = to + at.offset * bytes;
    const char *src = from + from_elem * bytes;
    if (at.count == 0 || dst == src)
        return DML_OK;
    return g->gpu->ops->copy(g->gpu, dst, src, at.count * bytes, stream);
}

/* Blocks of all ranks, from the places given for each, to the own result. */
static dml_status collect(struct dml__gpu_comm *g, const struct dml__call *call,
                          const struct dml__ipc_view *view, void *stream)
{
    int rank = dml_comm_rank(g->comm);
    bool own_block = call->coll == DML_COLL_ALLTOALL;
    for (int k = 0; k < dml_comm_size(g->comm); k++) {
        int i = (rank + k) % dml_comm_size(g->comm); /* ranks begin at different ones */
        struct dml__range block = dml__block(call, i);
        size_t from = own_block ? dml__block(call, rank).offset : 0;
        DML_TRY(copy(g, call, view->recv[rank], view->send[i], block, from, stream));
    }
    return DML_OK;
}

dml_status dml__ipc_work(struct dml__gpu_comm *g, const struct dml__call *call,
                         const struct dml__ipc_view *view, void *stream)
{
    int rank = dml_comm_rank(g->comm), nranks = dml_comm_size(g->comm);
    char *recv = view->recv[rank];
    struct dml__range own;
    switch (call->coll) {
    case DML_COLL_ALLREDUCE:
        return reduce(g, call, view, dml__balanced(call->count, rank, nranks), NULL,
                      stream);
    case DML_COLL_REDUCE:
        own = dml__balanced(call->count, rank, nranks);
        return reduce(g, call, view, own,
                      view->recv[call->root] + own.offset * call->elem_bytes, stream);
    case DML_COLL_REDUCE_SCATTER:
        return reduce(g, call, view, dml__block(call, rank), recv, stream);
    case DML_COLL_BCAST:
        own = (struct dml__range){0, rank == call->root ? 0 : call->count};
        return copy(g, call, recv, view->send[call->root], own, 0, stream);
    case DML_COLL_SCATTER:
        own = dml__block(call, rank);
        own.count = dml__gpu_receives(call);
        return copy(g, call, recv, view->send[call->root],
                    (struct dml__range){0, own.count}, own.offset, stream);
    case DML_COLL_GATHER:
        return rank == call->root ? collect(g, call, view, stream) : DML_OK;
    default:
        return collect(g, call, view, stream);
    }
}

dml_status dml__ipc_alone(struct dml__gpu_comm *g, const struct dml__call *call,
                          void *stream)
{
    struct dml__ipc_view view = {
        .send = {call->send}, .recv = {call->recv}, .scale = {call->red.scale}};
    return dml__ipc_work(g, call, &view, stream);
}
