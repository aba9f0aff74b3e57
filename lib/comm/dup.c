/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The duplicate of the caller's communicator, where ranks meet for the first time:
 * nothing connects them yet that could tell who is missing, so there is a limit of
 * time.
 */
#include "comm/comm_internal.h"

#include <sched.h>
#include <string.h>

/* Processes of a job start apart, which is no fault. */
static const double start_s = 10;

bool dml__waits_by_mpi(const dml_ctx *ctx)
{
    const char *wait = dml__ctx_env(ctx, "WAIT");
    return wait != NULL && strcmp(wait, "block") == 0;
}

static dml_status nobody_comes(dml_ctx *ctx, MPI_Comm mpi_comm, double waited_s)
{
    int rank = 0, size = 0;
    MPI_Comm_rank(mpi_comm, &rank);
    MPI_Comm_size(mpi_comm, &size);
    return dml__fail(ctx, DML_ETIMEOUT, "dml_comm_from_mpi",
                     "rank %d of %d has waited %.0f s for the others: one has not made "
                     "this call, or is stopped; see what each process does",
                     rank, size, waited_s);
}

/* How long to wait for the other ranks; 0: for ever. */
static double limit_of(const dml_ctx *ctx)
{
    const double timeout_s = dml__ctx_timeout_s(ctx);
    return timeout_s > 0 && timeout_s < start_s ? start_s : timeout_s;
}

/* All ranks are to come here, and some may first need this one's part of what is
 * pending on other communicators. */
dml_status dml__comm_dup(dml_ctx *ctx, MPI_Comm mpi_comm, bool lasts, MPI_Comm *owned)
{
    const double limit_s = lasts ? limit_of(ctx) : 0;
    MPI_Request request = MPI_REQUEST_NULL;
    double waited_s = 0, last_s = dml__now_s();
    int done = dml__waits_by_mpi(ctx); /* simulators may have no MPI_Comm_idup */
    int code =
        done ? MPI_Comm_dup(mpi_comm, owned) : MPI_Comm_idup(mpi_comm, owned, &request);
    while (code == MPI_SUCCESS && !done) {
        code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        const double now_s = dml__now_s();
        waited_s += now_s - last_s < 1 ? now_s - last_s : 1; /* it may have stopped */
        last_s = now_s;
        if (code == MPI_SUCCESS && !done && limit_s > 0 && waited_s > limit_s)
            return nobody_comes(ctx, mpi_comm, waited_s);
        if (!done && !dml__progress_all(ctx))
            sched_yield();
    }
    return code == MPI_SUCCESS ? DML_OK
                               : dml__fail(ctx, DML_ECOMM, "dml_comm_from_mpi",
                                           "MPI_Comm_dup failed, code %d", code);
}
