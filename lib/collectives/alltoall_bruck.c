/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-to-all of small blocks in log2 P messages: block j, for rank + j, travels the
 * distance j as a sum of powers of two. In step k all blocks whose number has bit k go
 * 2^k ranks up in one message.
 *
 * Source: Bruck, Ho, Kipnis, Upfal and Weathersby, IEEE TPDS 1997.
 */
#include "collectives/coll_internal.h"

static void build(const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    size_t bytes = call->count * call->elem_bytes, n = (size_t)nranks;
    char *blocks = dml__sched_scratch(request, dml__mul(n, bytes));
    char *out = dml__sched_scratch(request, dml__mul((n + 1) / 2, bytes));
    char *in = dml__sched_scratch(request, dml__mul((n + 1) / 2, bytes));
    if (blocks == NULL || out == NULL || in == NULL)
        return;
    /* Local steps run in list order, so the last of several stands for all. */
    int ready = DML__NO_STEP, sent = DML__NO_STEP, none = DML__NO_STEP;
    for (int j = 0; j < nranks; j++)
        ready =
            dml__sched_copy(request, blocks + (size_t)j * bytes,
                            dml__in(call, (size_t)((rank + j) % nranks) * call->count),
                            bytes, none, none);
    for (int bit = 1; bit < nranks; bit *= 2) {
        size_t packed = 0, unpacked = 0;
        for (int j = bit; j < nranks; j++)
            if (j & bit)
                ready = dml__sched_copy(request, out + packed++ * bytes,
                                        blocks + (size_t)j * bytes, bytes, ready, sent);
        sent = dml__sched_send(request, out, packed * bytes, (rank + bit) % nranks,
                               ready, none);
        int got = dml__sched_recv(request, in, packed * bytes,
                                  dml__mod(rank - bit, nranks), ready, none);
        for (int j = bit; j < nranks; j++)
            if (j & bit)
                ready = dml__sched_copy(request, blocks + (size_t)j * bytes,
                                        in + unpacked++ * bytes, bytes, got, none);
    }
    for (int j = 0; j < nranks; j++) /* block j has come from rank - j */
        dml__sched_copy(request,
                        dml__at(call, (size_t)dml__mod(rank - j, nranks) * call->count),
                        blocks + (size_t)j * bytes, bytes, ready, none);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    /* In a step shorter than a node some of its ranks send across: r - 1 in all. */
    double r = (double)m->nranks / m->nnodes;
    double more_s = m->nnodes > 1 ? (r - 1) * bytes / 2 * m->net.beta_s : 0;
    return dml__levels_s(m, r * bytes / 2, bytes / 2) + more_s;
}

const struct dml__alg dml__alltoall_bruck = {
    .name = "bruck",
    .text = "log2 P messages, for small blocks; Bruck et al. 1997",
    .cost_s = cost_s,
    .build = build,
};
