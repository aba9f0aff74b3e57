/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduction by recursive halving, after which the parts are gathered at the root.
 *
 * Source: Rabenseifner, ICCS 2004; Thakur, Rabenseifner and Gropp, IJHPCA 2005,
 * section 4.6.
 */
#include "collectives/halves.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__halves h;
    if (!dml__halves_init(&h, call, request, call->root, false))
        return;
    bool root = h.number == 0, in_recv = call->red.acc_bytes == call->elem_bytes;
    const char *sum = dml__halves_reduce(&h, root && in_recv ? call->recv : NULL);
    size_t held = dml__halves_span(&h, h.number, dml__halves_end(&h)).count;
    char *vector =
        root ? call->recv : dml__sched_scratch(request, held * call->elem_bytes);
    if (!root && vector == NULL)
        return;
    dml__halves_store(&h, vector, sum);
    dml__halves_gather(&h, vector);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__allreduce_rabenseifner.cost_s(m, bytes);
}

const struct dml__alg dml__reduce_rabenseifner = {
    .name = "rabenseifner",
    .text = "recursive halving, then binomial gather; Rabenseifner 2004",
    .cost_s = cost_s,
    .build = build,
};
