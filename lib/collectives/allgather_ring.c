/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-gather: the second phase of the ring all-reduce.
 */
#include "collectives/ring.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__ring ring;
    struct dml__range own = dml__block(call, dml_comm_rank(call->comm));
    if (!dml__ring_init(&ring, call, request, NULL))
        return;
    for (size_t w = 0; w < ring.nwindows; w++)
        dml__ring_gather(&ring, w, call->send);
    dml__sched_copy(request, dml__at(call, own.offset), call->send,
                    own.count * call->elem_bytes, DML__NO_STEP, DML__NO_STEP);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    struct dml__link_cost link = dml__flat(m);
    double p = m->nranks;
    return (p - 1) * (link.alpha_s + bytes / p * link.beta_s);
}

const struct dml__alg dml__allgather_ring = {
    .name = "ring",
    .text = "segmented ring, neighbours only",
    .cost_s = cost_s,
    .build = build,
};
