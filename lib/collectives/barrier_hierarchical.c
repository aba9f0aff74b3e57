/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Barrier by dissemination among one rank of each node, which the others of the node
 * tell that they are there, and which tells them when all are.
 */
#include "collectives/hier.h"
#include "collectives/tree.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__hier h;
    char *signal = dml__sched_scratch(request, 2);
    if (signal == NULL || !dml__hier_init(&h, call, request))
        return;
    int leader = dml__hier_owner(&h, 0, h.node), heard = DML__NO_STEP;
    if (h.local != 0) {
        dml__sched_send(request, signal, 1, leader, DML__NO_STEP, DML__NO_STEP);
        dml__sched_recv(request, signal + 1, 1, leader, DML__NO_STEP, DML__NO_STEP);
        return;
    }
    for (int i = 1; i < h.nlocal; i++)
        heard = dml__sched_recv(request, signal + 1, 1, h.member[h.first[h.node] + i],
                                heard, DML__NO_STEP);
    for (int distance = 1; distance < h.nnodes; distance *= 2) {
        int to = (h.node + distance) % h.nnodes;
        int from = dml__mod(h.node - distance, h.nnodes);
        dml__sched_send(request, signal, 1, dml__hier_owner(&h, 0, to), heard,
                        DML__NO_STEP);
        heard = dml__sched_recv(request, signal + 1, 1, dml__hier_owner(&h, 0, from),
                                heard, DML__NO_STEP);
    }
    for (int i = 1; i < h.nlocal; i++)
        dml__sched_send(request, signal, 1, h.member[h.first[h.node] + i], heard,
                        DML__NO_STEP);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    (void)bytes;
    double others = (double)m->nranks / m->nnodes - 1;
    return dml__log2(m->nnodes) * m->net.alpha_s + 2 * others * m->node.alpha_s;
}

const struct dml__alg dml__barrier_hierarchical = {
    .name = "hierarchical",
    .text = "dissemination among the nodes, one rank of each",
    .supports = dml__hier_supports,
    .cost_s = cost_s,
    .build = build,
};
