/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gather: every rank sends its block to the root.
 */
#include "collectives/coll_internal.h"

static void build(const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    struct dml__range own = dml__block(call, rank);
    size_t bytes = own.count * call->elem_bytes;
    if (rank != call->root) {
        dml__sched_send(request, call->send, bytes, call->root, DML__NO_STEP,
                        DML__NO_STEP);
        return;
    }
    for (int i = 1; i < nranks; i++) {
        int from = (rank + i) % nranks;
        struct dml__range block = dml__block(call, from);
        dml__sched_recv(request, dml__at(call, block.offset),
                        block.count * call->elem_bytes, from, DML__NO_STEP,
                        DML__NO_STEP);
    }
    dml__sched_copy(request, dml__at(call, own.offset), call->send, bytes, DML__NO_STEP,
                    DML__NO_STEP);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__collect_s(m, bytes);
}

const struct dml__alg dml__gather_direct = {
    .name = "direct",
    .text = "every rank sends to the root",
    .cost_s = cost_s,
    .build = build,
};
