/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-reduce by direct reduce-scatter and all-gather: as many bytes as the ring, summed
 * in rank order; two message latencies instead of 2(P-1), but P-1 messages at once.
 */
#include "collectives/direct.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__direct d;
    struct dml__range own = dml__block(call, dml_comm_rank(call->comm));
    if (!dml__direct_init(&d, call, request, dml__at(call, own.offset)))
        return;
    for (size_t w = 0; w < d.nwindows; w++) {
        dml__direct_reduce(&d, w);
        dml__direct_gather(&d, w, d.own);
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double part = (m->nranks - 1.0) / m->nranks * bytes;
    return 2 * dml__exchange_s(m, bytes) + part * m->gamma_s;
}

const struct dml__alg dml__allreduce_direct = {
    .name = "direct",
    .text = "pairwise reduce-scatter and all-gather, summed in rank order",
    .rank_order = true,
    .cost_s = cost_s,
    .build = build,
};
