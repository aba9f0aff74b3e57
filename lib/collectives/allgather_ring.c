/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-gather: the second phase of the ring all-reduce.
 */
#include "collectives/ring.h"

static void build(const struct dml__call *call, dml_request *request, int nrings)
{
    struct dml__ring rings[2];
    struct dml__range own = dml__block(call, dml_comm_rank(call->comm));
    if (!dml__ring_init(rings, nrings, call, request, NULL))
        return;
    for (size_t w = 0; w < rings[0].nwindows; w++)
        dml__ring_gather(rings, nrings, w, call->send);
    dml__sched_copy(request, dml__at(call, own.offset), call->send,
                    own.count * call->elem_bytes, DML__NO_STEP, DML__NO_STEP);
}

static void build_one(const struct dml__call *call, dml_request *request)
{
    build(call, request, 1);
}

static void build_both(const struct dml__call *call, dml_request *request)
{
    build(call, request, 2);
}

static double cost_one_s(const struct dml__model *m, double bytes)
{
    return dml__ring_phase_s(m, 1, bytes);
}

static double cost_both_s(const struct dml__model *m, double bytes)
{
    return dml__ring_phase_s(m, 2, bytes);
}

const struct dml__alg dml__allgather_ring = {
    .name = "ring",
    .text = "segmented ring, neighbours only",
    .cost_s = cost_one_s,
    .build = build_one,
};

const struct dml__alg dml__allgather_bidirectional_ring = {
    .name = "bidirectional_ring",
    .text = "two rings in opposite directions, half of each block each",
    .supports = dml__ring_both_supports,
    .cost_s = cost_both_s,
    .build = build_both,
};
