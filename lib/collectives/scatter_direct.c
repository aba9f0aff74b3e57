/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scatter: the root sends every rank its block.
 */
#include "collectives/coll_internal.h"

static void build(const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    struct dml__range own = dml__block(call, rank);
    size_t bytes = own.count * call->elem_bytes;
    if (rank != call->root) {
        dml__sched_recv(request, call->recv, bytes, call->root, DML__NO_STEP,
                        DML__NO_STEP);
        return;
    }
    for (int i = 1; i < nranks; i++) {
        int to = (rank + i) % nranks;
        struct dml__range block = dml__block(call, to);
        dml__sched_send(request, dml__in(call, block.offset),
                        block.count * call->elem_bytes, to, DML__NO_STEP, DML__NO_STEP);
    }
    if (!call->in_place)
        dml__sched_copy(request, call->recv, dml__in(call, own.offset), bytes,
                        DML__NO_STEP, DML__NO_STEP);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__collect_s(m, bytes);
}

const struct dml__alg dml__scatter_direct = {
    .name = "direct",
    .text = "the root sends to every rank",
    .cost_s = cost_s,
    .build = build,
};
