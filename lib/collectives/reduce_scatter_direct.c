/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduce-scatter with every pair of ranks talking, summed in rank order.
 */
#include "collectives/direct.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__direct d;
    size_t bytes = dml__result_elems(call) * call->elem_bytes;
    char *own;
    if (!dml__own_place(call, request, &own))
        return;
    if (!dml__direct_init(&d, call, request, own))
        return;
    for (size_t w = 0; w < d.nwindows; w++)
        dml__direct_reduce(&d, w);
    dml__sched_copy_after_all(request, call->recv, own, bytes);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double part = (m->nranks - 1.0) / m->nranks * bytes;
    return dml__exchange_s(m, bytes) + part * m->gamma_s;
}

const struct dml__alg dml__reduce_scatter_direct = {
    .name = "direct",
    .text = "pairwise exchange, summed in rank order",
    .rank_order = true,
    .cost_s = cost_s,
    .build = build,
};
