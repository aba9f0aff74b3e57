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

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__ring ring;
    struct dml__range own = dml__block(call, dml_comm_rank(call->comm));
    if (!dml__ring_init(&ring, call, request, dml__at(call, own.offset)))
        return;
    for (size_t w = 0; w < ring.nwindows; w++) {
        dml__ring_reduce(&ring, w);
        dml__ring_gather(&ring, w, ring.own);
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    struct dml__link_cost link = dml__flat(m);
    double p = m->nranks;
    return 2 * (p - 1) * (link.alpha_s + bytes / p * link.beta_s) +
           (p - 1) / p * bytes * m->gamma_s;
}

const struct dml__alg dml__allreduce_ring = {
    .name = "ring",
    .text = "segmented ring, least bytes; Patarasuk and Yuan 2009",
    .cost_s = cost_s,
    .build = build,
};
