/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Agreement of all ranks on a few numbers, for what must be alike everywhere and is not
 * worth a schedule: the element-wise maximum, by MPI.
 *
 * MPI works on memory of the roll, not of the caller: an agreement that fails cannot be
 * cancelled, and MPI may write the result when the missing rank comes after all.
 */
#include "comm/roll.h"
#include "comm/wait.h"

#include <string.h>

/* Room for so many numbers in roll->agreed; kept, since there will be more of them. */
static dml_status make_room(struct dml__roll *roll, size_t count)
{
    if (count <= roll->nagreed)
        return DML_OK;
    dml__free(roll->agreed);
    roll->agreed = dml__alloc(roll->comm->ctx, dml__mul(count, sizeof *roll->agreed));
    roll->nagreed = roll->agreed != NULL ? count : 0;
    return roll->agreed != NULL ? DML_OK
                                : dml__fail(roll->comm->ctx, DML_ENOMEM, "dml_comm",
                                            "no memory to agree on %zu numbers", count);
}

void dml__agreed_free(struct dml__roll *roll)
{
    if (dml__mpi_ended(1, &roll->agreement))
        dml__free(roll->agreed);
    else
        dml__left_to_mpi(roll->agreed);
    roll->agreed = NULL;
}

/* Starts the agreement and waits for it. */
static dml_status exchange(struct dml__roll *roll, int count)
{
    dml_comm *comm = roll->comm;
    int done = 0;
    struct dml__idle idle = {0};
    dml_status status = DML_PENDING;
    int code = MPI_Iallreduce(MPI_IN_PLACE, roll->agreed, count, MPI_DOUBLE, MPI_MAX,
                              comm->coll, &roll->agreement);
    while (code == MPI_SUCCESS && !done && status == DML_PENDING) {
        code = MPI_Test(&roll->agreement, &done, MPI_STATUS_IGNORE);
        if (!done)
            status = dml__idle(comm, &idle);
    }
    dml__idle_end(comm, &idle);
    if (code != MPI_SUCCESS)
        return dml__mpi_fail(comm, "dml_comm", code);
    return status < 0 ? status : DML_OK;
}

static dml_status agree(dml_comm *comm, int what, double *values, int count)
{
    struct dml__roll *roll = comm->roll;
    size_t bytes = (size_t)count * sizeof *values;
    uint64_t seq = dml__roll_enter_own(comm, what, (uint64_t)count).seq;
    dml_status status = make_room(roll, (size_t)count);
    if (status == DML_OK) {
        memcpy(roll->agreed, values, bytes);
        status = exchange(roll, count);
    }
    if (status < 0) {
        dml__comm_break(comm, status);
        return status;
    }
    memcpy(values, roll->agreed, bytes);
    dml__roll_leave(comm, seq);
    return DML_OK;
}

dml_status dml__comm_agree(dml_comm *comm, int what, double *values, int count)
{
    if (comm->size == 1)
        return DML_OK;
    dml__comm_enter(comm);
    dml_status status = dml__comm_check(comm, "dml_comm");
    if (status == DML_OK && comm->active != NULL)
        status = dml__comm_drain(comm);
    if (status == DML_OK)
        status = agree(comm, what, values, count);
    dml__comm_leave(comm);
    return status;
}

dml_status dml__comm_max(dml_comm *comm, double *values, int count)
{
    return dml__comm_agree(comm, DML__AGREE, values, count);
}
