/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduction by direct reduce-scatter and a gather at the root: summed in rank order,
 * and no rank moves much more than twice the vector.
 */
#include "collectives/direct.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__direct d;
    int rank = dml_comm_rank(call->comm);
    struct dml__range own = dml__block(call, rank);
    char *result;
    if (rank == call->root)
        result = dml__at(call, own.offset);
    else
        result = dml__sched_scratch(request, dml__mul(own.count, call->elem_bytes));
    if (result == NULL && own.count > 0)
        return;
    if (!dml__direct_init(&d, call, request, result))
        return;
    for (size_t w = 0; w < d.nwindows; w++) {
        dml__direct_reduce(&d, w);
        dml__direct_collect(&d, w, call->root);
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double part = (m->nranks - 1.0) / m->nranks * bytes;
    return dml__exchange_s(m, bytes) + dml__collect_s(m, bytes) + part * m->gamma_s;
}

const struct dml__alg dml__reduce_direct = {
    .name = "direct",
    .text = "pairwise reduce-scatter, summed in rank order, and gather at the root",
    .rank_order = true,
    .cost_s = cost_s,
    .build = build,
};
