/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduce-scatter with every pair of ranks talking, summed in rank order.
 */
#include "collectives/direct.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__direct d;
    struct dml__range block = dml__block(call, dml_comm_rank(call->comm));
    size_t bytes = block.count * call->elem_bytes;
    char *own = call->recv; /* NULL is possible on a rank without elements */
    if (call->in_place) {   /* the result's place still holds other ranks' input */
        own = dml__sched_scratch(request, bytes);
        if (own == NULL)
            return;
    }
    if (!dml__direct_init(&d, call, request, own))
        return;
    for (size_t w = 0; w < d.nwindows; w++)
        dml__direct_reduce(&d, w);
    dml__sched_copy_after_all(request, call->recv, own, bytes);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    struct dml__link_cost link = dml__flat(m);
    double p = m->nranks;
    return link.alpha_s + (p - 2) * link.alpha_s / 2 +
           (p - 1) / p * bytes * (link.beta_s + m->gamma_s);
}

const struct dml__alg dml__reduce_scatter_direct = {
    .name = "direct",
    .text = "pairwise exchange, summed in rank order",
    .rank_order = true,
    .cost_s = cost_s,
    .build = build,
};
