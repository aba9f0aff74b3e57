/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-gather with every pair of ranks talking: one latency, P-1 messages at once.
 */
#include "collectives/direct.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__direct d;
    struct dml__range own = dml__block(call, dml_comm_rank(call->comm));
    if (!dml__direct_init(&d, call, request, NULL))
        return;
    for (size_t w = 0; w < d.nwindows; w++)
        dml__direct_gather(&d, w, call->send);
    dml__sched_copy(request, dml__at(call, own.offset), call->send,
                    own.count * call->elem_bytes, DML__NO_STEP, DML__NO_STEP);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__exchange_s(m, bytes);
}

const struct dml__alg dml__allgather_direct = {
    .name = "direct",
    .text = "pairwise exchange",
    .cost_s = cost_s,
    .build = build,
};
