/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-to-all, pairwise: in step i rank r sends to r+i and receives from r-i.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.3.
 */
#include "collectives/coll_internal.h"

static void build(const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    size_t bytes = call->count * call->elem_bytes;
    const char *input = call->send;
    int copied = DML__NO_STEP;
    if (call->in_place) {
        size_t all_bytes = call->total * call->elem_bytes;
        char *copy = dml__sched_scratch(request, all_bytes);
        if (copy == NULL)
            return;
        copied = dml__sched_copy(request, copy, call->recv, all_bytes, DML__NO_STEP,
                                 DML__NO_STEP);
        input = copy;
    }
    for (int i = 1; i < nranks; i++) {
        int to = dml__mod(rank + i, nranks), from = dml__mod(rank - i, nranks);
        dml__sched_send(request, input + (size_t)to * bytes, bytes, to, copied,
                        DML__NO_STEP);
        dml__sched_recv(request, dml__at(call, (size_t)from * call->count), bytes, from,
                        copied, DML__NO_STEP);
    }
    if (!call->in_place)
        dml__sched_copy(request, dml__at(call, (size_t)rank * call->count),
                        input + (size_t)rank * bytes, bytes, DML__NO_STEP,
                        DML__NO_STEP);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__exchange_s(m, bytes);
}

const struct dml__alg dml__alltoall_pairwise = {
    .name = "pairwise",
    .text = "P-1 exchanges; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
