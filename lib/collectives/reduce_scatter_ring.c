/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduce-scatter: the first phase of the ring all-reduce.
 */
#include "collectives/ring.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__ring ring;
    struct dml__range block = dml__block(call, dml_comm_rank(call->comm));
    size_t bytes = block.count * call->elem_bytes;
    char *own = call->recv; /* NULL is possible on a rank without elements */
    if (call->in_place) {   /* the result's place still holds other ranks' input */
        own = dml__sched_scratch(request, bytes);
        if (own == NULL)
            return;
    }
    if (!dml__ring_init(&ring, call, request, own))
        return;
    for (size_t w = 0; w < ring.nwindows; w++)
        dml__ring_reduce(&ring, w);
    dml__sched_copy_after_all(request, call->recv, own, bytes);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    struct dml__link_cost link = dml__flat(m);
    double p = m->nranks;
    return (p - 1) * (link.alpha_s + bytes / p * (link.beta_s + m->gamma_s));
}

const struct dml__alg dml__reduce_scatter_ring = {
    .name = "ring",
    .text = "segmented ring, least bytes; Patarasuk and Yuan 2009",
    .cost_s = cost_s,
    .build = build,
};
