/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-reduce by a segmented, pipelined ring: reduce-scatter, then all-gather.
 *
 * Every rank sends 2(P-1)/P of the vector, the least possible, and only to its right
 * neighbour. Each block is summed in the order of the ring, starting behind its owner,
 * so all ranks hold the same bits.
 *
 * Source: Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, JPDC 2009.
 */
#include "collectives/ring.h"

static void build(const struct dml__call *call, dml_request *request, int nrings)
{
    struct dml__ring rings[2];
    struct dml__range own = dml__block(call, dml_comm_rank(call->comm));
    if (!dml__ring_init(rings, nrings, call, request, dml__at(call, own.offset)))
        return;
    for (size_t w = 0; w < rings[0].nwindows; w++) {
        dml__ring_reduce(rings, nrings, w);
        dml__ring_gather(rings, nrings, w, rings[0].own);
    }
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
    return 2 * dml__ring_phase_s(m, 1, bytes) + dml__ring_adding_s(m, bytes);
}

static double cost_both_s(const struct dml__model *m, double bytes)
{
    return 2 * dml__ring_phase_s(m, 2, bytes) + dml__ring_adding_s(m, bytes);
}

const struct dml__alg dml__allreduce_ring = {
    .name = "ring",
    .text = "segmented ring, least bytes; Patarasuk and Yuan 2009",
    .cost_s = cost_one_s,
    .build = build_one,
};

const struct dml__alg dml__allreduce_bidirectional_ring = {
    .name = "bidirectional_ring",
    .text = "two rings in opposite directions, half of each block each",
    .supports = dml__ring_both_supports,
    .cost_s = cost_both_s,
    .build = build_both,
};
