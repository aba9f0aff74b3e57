/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-gather by recursive doubling: as few bytes as a ring, in log2 P messages.
 *
 * A message carries the blocks of many ranks, so they must lie one after the other:
 * where the caller's do not, they are gathered in scratch and dealt out at the end.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.1.
 */
#include "collectives/halves.h"

static bool adjacent(const struct dml__call *call)
{
    int nranks = dml_comm_size(call->comm);
    struct dml__range before = dml__block(call, 0);
    for (int i = 1; i < nranks; i++) {
        struct dml__range block = dml__block(call, i);
        if (block.offset != before.offset + before.count)
            return false;
        before = block;
    }
    return true;
}

static void build(const struct dml__call *call, dml_request *request)
{
    size_t bytes = call->elem_bytes;
    bool direct = adjacent(call);
    struct dml__halves h;
    if (!dml__halves_init(&h, call, request, 0, !direct))
        return;
    char *vector =
        direct ? call->recv : dml__sched_scratch(request, h.start[h.nranks] * bytes);
    if (!direct && vector == NULL)
        return;
    struct dml__range own = dml__halves_span(&h, h.number, h.number + 1);
    h.ready = dml__sched_copy(request, vector + own.offset * bytes, call->send,
                              own.count * bytes, DML__NO_STEP, DML__NO_STEP);
    dml__halves_allgather(&h, vector, false);
    for (int i = 0; !direct && i < h.nranks; i++) {
        struct dml__range block = dml__block(call, i);
        dml__sched_copy(request, dml__at(call, block.offset),
                        vector + h.start[i] * bytes, block.count * bytes, h.ready,
                        DML__NO_STEP);
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__halves_phase_s(m, bytes);
}

const struct dml__alg dml__allgather_recursive_doubling = {
    .name = "recursive_doubling",
    .text = "log2 P exchanges, twice the blocks each; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
