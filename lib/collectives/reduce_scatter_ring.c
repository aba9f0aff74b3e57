/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduce-scatter: the first phase of the ring all-reduce.
 */
#include "collectives/ring.h"

static void build(const struct dml__call *call, dml_request *request, int nrings)
{
    struct dml__ring rings[2];
    size_t bytes = dml__result_elems(call) * call->elem_bytes;
    char *own;
    if (!dml__own_place(call, request, &own))
        return;
    if (!dml__ring_init(rings, nrings, call, request, own))
        return;
    for (size_t w = 0; w < rings[0].nwindows; w++)
        dml__ring_reduce(rings, nrings, w);
    dml__sched_copy_after_all(request, call->recv, own, bytes);
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
    return dml__ring_phase_s(m, 1, bytes) + dml__ring_adding_s(m, bytes);
}

static double cost_both_s(const struct dml__model *m, double bytes)
{
    return dml__ring_phase_s(m, 2, bytes) + dml__ring_adding_s(m, bytes);
}

const struct dml__alg dml__reduce_scatter_ring = {
    .name = "ring",
    .text = "segmented ring, least bytes; Patarasuk and Yuan 2009",
    .cost_s = cost_one_s,
    .build = build_one,
};

const struct dml__alg dml__reduce_scatter_bidirectional_ring = {
    .name = "bidirectional_ring",
    .text = "two rings in opposite directions, half of each block each",
    .supports = dml__ring_both_supports,
    .cost_s = cost_both_s,
    .build = build_both,
};
