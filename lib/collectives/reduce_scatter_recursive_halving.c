/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduce-scatter by recursive halving: as few bytes as a ring, in log2 P messages.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.4.
 */
#include "collectives/halves.h"

static void build(const struct dml__call *call, dml_request *request)
{
    const struct dml__reduction *red = &call->red;
    struct dml__halves h;
    if (!dml__halves_init(&h, call, request, 0, false))
        return;
    size_t count = dml__halves_span(&h, h.number, h.number + 1).count;
    const char *sum = dml__halves_reduce(&h, NULL);
    /* In place the result's place held input of other ranks until now. */
    if (red->store != NULL)
        dml__sched_local_after_all(request, red->store, call->recv, sum, NULL, count,
                                   red->divisor);
    else
        dml__sched_copy_after_all(request, call->recv, sum, count * call->elem_bytes);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double part = (m->nranks - 1.0) / m->nranks * bytes;
    return dml__halves_phase_s(m, bytes) + part * m->gamma_s;
}

const struct dml__alg dml__reduce_scatter_recursive_halving = {
    .name = "recursive_halving",
    .text = "log2 P exchanges of halves; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
