/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same moves of work on all ranks: they gather the times of a step, and each tells
 * its rebalancer, which is a pure function of them.
 */
#include "dml/coll.h"

#include "exchange/exchange.h"
#include "skew/rebalance.h"

/* What a rank tells the others. Its rebalancer's number of ranks goes along, so that
 * all of them refuse a wrong one. */
struct told {
    double seconds;
    double nranks; /* 0: it has no rebalancer */
};

/* The times of all ranks [nranks] from what they told. */
static dml_status take_times(dml_ctx *ctx, const struct told *told, int nranks,
                             double *seconds)
{
    for (int p = 0; p < nranks; p++) {
        if (told[p].nranks != nranks)
            return dml__fail_values(ctx, DML_EINVAL, "dml_rebalance_agree", p,
                                    (int64_t)told[p].nranks, nranks,
                                    "the rebalancer of rank %d is NULL or for %.0f "
                                    "ranks; make it for the %d of the communicator",
                                    p, told[p].nranks, nranks);
        seconds[p] = told[p].seconds;
    }
    return DML_OK;
}

dml_status dml_rebalance_agree(dml_rebalance *rebalance, double seconds, dml_comm *comm,
                               dml_move *moves, size_t *nmoves)
{
    if (comm == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(comm);
    int nranks = dml_comm_size(comm);
    struct told own = {.seconds = seconds};
    if (rebalance != NULL)
        own.nranks = (double)dml__rebalance_ranks(rebalance);
    struct told *all = dml__alloc(ctx, dml__mul((size_t)nranks, sizeof *all));
    double *times = dml__alloc(ctx, dml__mul((size_t)nranks, sizeof *times));
    dml_status status = DML_OK;
    if (all == NULL || times == NULL) {
        status = dml__fail(ctx, DML_ENOMEM, __func__,
                           "no memory for the times of %d ranks", nranks);
        dml__comm_break(comm, status);
    }
    if (status == DML_OK)
        status = dml_allgather(&own, all, 2, DML_F64, comm);
    if (status == DML_OK)
        status = take_times(ctx, all, nranks, times);
    if (status == DML_OK)
        status = dml_rebalance_step(rebalance, times, moves, nmoves);
    dml__free(times);
    dml__free(all);
    return status;
}
