/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Barrier by dissemination: in step k rank r signals r + 2^k; after log2 P steps every
 * rank has heard, directly or not, of every other.
 *
 * Source: Hensgen, Finkel and Manber, IJPP 1988.
 */
#include "collectives/coll_internal.h"
#include "collectives/tree.h"

static void build(const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    char *signal = dml__sched_scratch(request, 2);
    if (signal == NULL)
        return;
    int heard = DML__NO_STEP;
    for (int distance = 1; distance < nranks; distance *= 2) {
        dml__sched_send(request, signal, 1, dml__mod(rank + distance, nranks), heard,
                        DML__NO_STEP);
        heard = dml__sched_recv(request, signal + 1, 1,
                                dml__mod(rank - distance, nranks), heard, DML__NO_STEP);
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    struct dml__link_cost link = dml__flat(m);
    (void)bytes;
    return dml__log2(m->nranks) * link.alpha_s;
}

const struct dml__alg dml__barrier_dissemination = {
    .name = "dissemination",
    .text = "log2 P signals; Hensgen, Finkel and Manber 1988",
    .cost_s = cost_s,
    .build = build,
};
