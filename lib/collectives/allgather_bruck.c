/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-gather in log2 P messages for any number of ranks: in step k rank r has the
 * blocks of ranks r ... r + 2^k - 1, one after the other, sends them 2^k ranks down and
 * gets as many from 2^k ranks up. In the end each block is copied to its place.
 *
 * Source: Bruck, Ho, Kipnis, Upfal and Weathersby, IEEE TPDS 1997.
 */
#include "collectives/coll_internal.h"
#include "collectives/tree.h"

static void build(const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    size_t bytes = call->elem_bytes, n = (size_t)nranks;
    /* start[j]: where the block of rank + j starts among those gathered. */
    size_t *start = dml__sched_scratch(request, (n + 1) * sizeof *start);
    if (start == NULL)
        return;
    start[0] = 0;
    for (int j = 0; j < nranks; j++)
        start[j + 1] = start[j] + dml__block(call, (rank + j) % nranks).count * bytes;
    char *gathered = dml__sched_scratch(request, start[nranks]);
    if (gathered == NULL)
        return;
    int ready = dml__sched_copy(request, gathered, call->send, start[1], DML__NO_STEP,
                                DML__NO_STEP);
    for (int held = 1; held < nranks; held *= 2) {
        int more = held < nranks - held ? held : nranks - held;
        dml__sched_send(request, gathered, start[more], dml__mod(rank - held, nranks),
                        ready, DML__NO_STEP);
        int got = dml__sched_recv(request, gathered + start[held],
                                  start[held + more] - start[held],
                                  (rank + held) % nranks, ready, DML__NO_STEP);
        ready = got != DML__NO_STEP ? got : ready;
    }
    for (int j = 0; j < nranks; j++) {
        struct dml__range block = dml__block(call, (rank + j) % nranks);
        dml__sched_copy(request, dml__at(call, block.offset), gathered + start[j],
                        block.count * bytes, ready, DML__NO_STEP);
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__allgather_recursive_doubling.cost_s(m, bytes);
}

const struct dml__alg dml__allgather_bruck = {
    .name = "bruck",
    .text = "log2 P messages for any P; Bruck et al. 1997",
    .cost_s = cost_s,
    .build = build,
};
