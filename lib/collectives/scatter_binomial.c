/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scatter down a binomial tree: the root sends log2 P messages instead of P-1.
 *
 * Blocks travel in the order of the tree's numbers, in which the root lays them out.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.2.
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
    /* Local steps run in list order: the last copy stands for all. */
    for (int i = 0; h.number == 0 && i < h.nranks; i++) {
        struct dml__range block = dml__block(call, dml__halves_rank(&h, i));
        int copied = dml__sched_copy(request, vector + h.start[i] * bytes,
                                     dml__in(call, block.offset), block.count * bytes,
                                     DML__NO_STEP, DML__NO_STEP);
        h.ready = copied != DML__NO_STEP ? copied : h.ready;
    }
    dml__halves_scatter(&h, vector);
    if (h.number != 0 || !call->in_place)
        dml__sched_copy(request, call->recv, vector, own.count * bytes, h.ready,
                        DML__NO_STEP);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__gather_binomial.cost_s(m, bytes);
}

const struct dml__alg dml__scatter_binomial = {
    .name = "binomial",
    .text = "binomial tree; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
