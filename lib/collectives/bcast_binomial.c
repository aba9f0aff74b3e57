/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Broadcast down a binomial tree, in segments: a rank hands a segment on while the next
 * one arrives.
 *
 * Ranks are numbered from the root; a rank's children are served largest subtree first.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.2.
 */
#include "collectives/coll_internal.h"
#include "collectives/tree.h"

static void build(const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm);
    struct dml__binomial tree =
        dml__binomial(dml__mod(dml_comm_rank(call->comm) - call->root, nranks), nranks);
    int parent = (tree.parent + call->root) % nranks;
    size_t segment = dml__segment_elems(call);
    for (size_t done = 0; done < call->count; done += segment) {
        struct dml__range seg =
            dml__part((struct dml__range){0, call->count}, done, segment);
        size_t bytes = seg.count * call->elem_bytes;
        int arrived = DML__NO_STEP;
        if (tree.number != 0)
            arrived = dml__sched_recv(request, dml__at(call, done), bytes, parent,
                                      DML__NO_STEP, DML__NO_STEP);
        for (int bit = tree.low / 2; bit > 0; bit /= 2)
            if (tree.number + bit < nranks)
                dml__sched_send(request, dml__at(call, done), bytes,
                                (tree.number + bit + call->root) % nranks, arrived,
                                DML__NO_STEP);
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    /* The root sends every segment to each of its children. Between nodes only the
     * ranks do whose number is a multiple of a node's ranks. */
    return dml__levels_s(m, bytes, bytes);
}

const struct dml__alg dml__bcast_binomial = {
    .name = "binomial",
    .text = "segmented binomial tree; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
