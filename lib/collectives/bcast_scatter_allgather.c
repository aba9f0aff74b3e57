/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Broadcast of long vectors: a binomial scatter, then a recursive doubling all-gather.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.2 (after van de
 * Geijn).
 */
#include "collectives/halves.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__halves h;
    if (!dml__halves_init(&h, call, request, call->root, false))
        return;
    dml__halves_scatter(&h, dml__at(call, h.start[h.number]));
    dml__halves_allgather(&h, call->recv, true);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return 2 * dml__halves_phase_s(m, bytes);
}

const struct dml__alg dml__bcast_scatter_allgather = {
    .name = "scatter_allgather",
    .text = "binomial scatter, recursive doubling; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
