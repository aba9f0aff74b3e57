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

/* Two more numbers than asked for tell whether all ranks are in the same call: the
 * largest of a number that its signature gives, and of the same negated. So few that
 * are agreed on as a rule travel in as many as this, so that MPI never meets agreements
 * of two lengths. */
enum { CHECKED = 2, LEAST = 8 };

static double number_of(const struct dml__roll *roll, const struct dml__op *record)
{
    struct dml__op first;
    bool kept = dml__ledger_find(roll->own, dml__op_first(record->seq), &first);
    uint64_t call = kept ? dml__op_unchosen(&first) : 0;
    return (double)((call ^ record->base) >> 12); /* exact */
}

/* The ranks are in different calls, or MPI has failed, perhaps over that: for a moment
 * it is looked who does what. DML_PENDING: nothing was found. */
static dml_status explain(dml_comm *comm, struct dml__idle *idle)
{
    static const double patience_s = 1;
    const double begin_s = dml__now_s();
    dml_status status = DML_PENDING;
    while (status == DML_PENDING && dml__now_s() - begin_s < patience_s)
        status = dml__idle(comm, idle);
    return status;
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
    bool ended = status >= 0; /* else MPI may still write */
    if (ended && (code != MPI_SUCCESS || roll->agreed[0] + roll->agreed[1] != 0))
        status = explain(comm, &idle);
    dml__idle_end(comm, &idle);
    if (status >= 0 && code != MPI_SUCCESS)
        return dml__mpi_fail(comm, "dml_comm", code);
    return status < 0 ? status : DML_OK;
}

static dml_status agree(dml_comm *comm, int what, double *values, int count)
{
    struct dml__roll *roll = comm->roll;
    size_t bytes = (size_t)count * sizeof *values;
    const struct dml__op record = dml__roll_enter_own(comm, what, (uint64_t)count);
    int sent = count + CHECKED > LEAST ? count + CHECKED : LEAST;
    dml_status status = make_room(roll, (size_t)sent);
    if (status == DML_OK) {
        memset(roll->agreed, 0, (size_t)sent * sizeof *roll->agreed);
        roll->agreed[0] = number_of(roll, &record);
        roll->agreed[1] = -roll->agreed[0];
        memcpy(roll->agreed + CHECKED, values, bytes);
        status = exchange(roll, sent);
    }
    if (status < 0) {
        dml__comm_break(comm, status);
        return status;
    }
    memcpy(values, roll->agreed + CHECKED, bytes);
    dml__roll_leave(comm, record.seq);
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
