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
    struct dml__link_cost link = dml__flat(m);
    double p = m->nranks;
    return 2 * (link.alpha_s + (p - 2) * link.alpha_s / 2) +
           (p - 1) / p * bytes * (2 * link.beta_s + m->gamma_s);
}

const struct dml__alg dml__allreduce_direct = {
    .name = "direct",
    .text = "pairwise reduce-scatter and all-gather, summed in rank order",
    .rank_order = true,
    .cost_s = cost_s,
    .build = build,
};
