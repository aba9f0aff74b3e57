/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gather up a binomial tree: log2 P messages reach the root instead of P-1.
 *
 * Blocks travel in the order of the tree's numbers, so the root takes them apart.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.6.
 */
#include "collectives/halves.h"

static void build(const struct dml__call *call, dml_request *request)
{
    size_t bytes = call->elem_bytes;
    struct dml__halves h;
    char *vector = dml__halves_tree(&h, call, request);
    if (vector == NULL)
        return;
    struct dml__range own = dml__halves_span(&h, h.number, h.number + 1);
    h.ready = dml__sched_copy(request, vector, call->send, own.count * bytes,
                              DML__NO_STEP, DML__NO_STEP);
    dml__halves_gather(&h, vector);
    for (int i = 0; h.number == 0 && i < h.nranks; i++) {
        struct dml__range block = dml__block(call, dml__halves_rank(&h, i));
        dml__sched_copy(request, dml__at(call, block.offset),
                        vector + h.start[i] * bytes, block.count * bytes, h.ready,
                        DML__NO_STEP);
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double h = m->nnodes, r = m->nranks / h; /* the root's link is the busiest */
    return dml__levels_s(m, 0, 0) + (h - 1) / h * bytes * m->net.beta_s +
           (r - 1) / m->nranks * bytes * m->node.beta_s;
}

const struct dml__alg dml__gather_binomial = {
    .name = "binomial",
    .text = "binomial tree; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
