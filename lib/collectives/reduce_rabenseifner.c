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
    const struct dml__reduction *red = &call->red;
    struct dml__halves h;
    if (!dml__halves_init(&h, call, request, call->root, false))
        return;
    bool root = h.number == 0, in_recv = red->acc_bytes == call->elem_bytes;
    const char *sum = dml__halves_reduce(&h, root && in_recv ? call->recv : NULL);
    struct dml__range own = dml__halves_span(&h, h.number, h.number + 1),
                      held = dml__halves_span(&h, h.number, dml__halves_end(&h));
    char *vector =
        root ? call->recv : dml__sched_scratch(request, held.count * call->elem_bytes);
    if (!root && vector == NULL)
        return;
    int stored = DML__NO_STEP;
    if (red->store != NULL)
        stored = dml__sched_local(request, red->store, vector, sum, NULL, own.count,
                                  red->divisor, h.ready, DML__NO_STEP);
    else
        stored = dml__sched_copy(request, vector, sum, own.count * call->elem_bytes,
                                 h.ready, DML__NO_STEP);
    if (stored != DML__NO_STEP)
        h.ready = stored;
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
