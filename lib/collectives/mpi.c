/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MPI library's own algorithm, whichever it takes, as a schedule of one step (and
 * the division of an average after it).
 */
#include "collectives/coll_internal.h"

static void build(const struct dml__call *call, dml_request *request)
{
    dml__sched_native(request, call);
    if (dml__reduces(call->coll) && call->op == DML_AVG)
        dml__sched_local_after_all(request, call->red.store, call->recv, call->recv,
                                   NULL, dml__result_elems(call), call->red.divisor);
}

/* An MPI library is taken to be as good as the better of two textbook algorithms; what
 * it really costs is measured before a blocking call relies on this. */
static double cost_s(const struct dml__model *m, double bytes)
{
    double latency = dml__allreduce_recursive_doubling.cost_s(m, bytes);
    double bandwidth = dml__allreduce_ring.cost_s(m, bytes);
    return latency < bandwidth ? latency : bandwidth;
}

const struct dml__alg dml__alg_mpi = {
    .name = "mpi",
    .text = "the MPI library's own algorithm",
    .supports = dml__native_supports,
    .cost_s = cost_s,
    .build = build,
};
