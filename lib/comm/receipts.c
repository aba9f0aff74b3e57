/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receipts: which blocking calls of the MPI library a rank has made, told to the next
 * rank, where that cannot read the ledger. MPI does not notice when ranks disagree
 * about types or operations, and not always when they disagree about sizes.
 *
 * A receipt lists the last calls, and is sent after a large vector and after every 16th
 * call, so that its cost does not count. All ranks make the same calls, hence expect
 * the same receipts; a rank looks at one when the next is due.
 */
#include "comm/roll.h"
#include "comm/wait.h"

#include <string.h>

enum { LARGE_BYTES = 64 * 1024 };

static int neighbour(const dml_comm *comm, int distance)
{
    return (comm->rank + distance + comm->size) % comm->size;
}

/* Does the rank before this one agree about what it has listed? */
static dml_status compare(struct dml__roll *roll)
{
    struct dml__sighting *before = &roll->told[neighbour(roll->comm, -1)];
    roll->receipts->open = false;
    for (int i = 0; i < DML__RECEIPTS; i++) {
        before->at = roll->receipts->theirs[i];
        DML_TRY(dml__roll_compare(roll));
    }
    return DML_OK;
}

/* Waits until the receipts on their way have arrived. */
static dml_status finish(struct dml__roll *roll)
{
    struct dml__idle idle = {0};
    dml_status status = DML_PENDING;
    int done = 0, code = MPI_SUCCESS;
    MPI_Status ends[2]; /* compilers take MPICH's MPI_STATUSES_IGNORE for an error */
    while (!done && code == MPI_SUCCESS && status == DML_PENDING) {
        code = MPI_Testall(2, roll->receipts->requests, &done, ends);
        if (!done)
            status = dml__idle(roll->comm, &idle);
    }
    dml__idle_end(roll->comm, &idle);
    if (status < 0)
        return status;
    return code == MPI_SUCCESS ? compare(roll)
                               : dml__mpi_fail(roll->comm, "dml_comm", code);
}

static dml_status exchange(struct dml__roll *roll, const char *where)
{
    struct dml__receipts *r = roll->receipts;
    dml_comm *comm = roll->comm;
    memcpy(r->mine, r->calls, sizeof r->mine);
    memset(r->calls, 0, sizeof r->calls);
    r->ncalls = 0;
    int code =
        MPI_Irecv(r->theirs, (int)sizeof r->theirs, MPI_BYTE, neighbour(comm, -1),
                  DML__RECEIPT_TAG, roll->notes, &r->requests[0]);
    if (code == MPI_SUCCESS)
        code = MPI_Isend(r->mine, (int)sizeof r->mine, MPI_BYTE, neighbour(comm, 1),
                         DML__RECEIPT_TAG, roll->notes, &r->requests[1]);
    r->open = code == MPI_SUCCESS;
    return r->open ? DML_OK : dml__mpi_fail(comm, where, code);
}

dml_status dml__receipts_add(struct dml__roll *roll, const struct dml__call *call)
{
    if (roll->notes == MPI_COMM_NULL)
        return DML_OK;
    if (roll->receipts == NULL) {
        roll->receipts = dml__alloc(roll->comm->ctx, sizeof *roll->receipts);
        if (roll->receipts == NULL)
            return dml__fail(roll->comm->ctx, DML_ENOMEM, call->where, "no memory");
        roll->receipts->requests[0] = roll->receipts->requests[1] = MPI_REQUEST_NULL;
    }
    struct dml__receipts *r = roll->receipts;
    bool large = call->total * call->elem_bytes >= LARGE_BYTES;
    int done = 0;
    MPI_Status ends[2];
    dml__ledger_find(roll->own, call->record.seq, &r->calls[r->ncalls++]);
    if (r->open && MPI_Testall(2, r->requests, &done, ends) == MPI_SUCCESS && done)
        DML_TRY(compare(roll));
    if (r->ncalls < DML__RECEIPTS && !large)
        return DML_OK;
    if (r->open)
        DML_TRY(finish(roll));
    return exchange(roll, call->where);
}

void dml__receipts_close(struct dml__roll *roll)
{
    struct dml__receipts *r = roll->receipts;
    if (r == NULL)
        return;
    bool told = roll->comm->broken != DML_OK; /* by the call that failed */
    bool sound = told || !r->open || finish(roll) == DML_OK;
    if (!told && sound && r->ncalls > 0)
        sound = exchange(roll, "dml_comm_destroy") == DML_OK && finish(roll) == DML_OK;
    if (!sound) {
        dml_error error;
        dml_ctx_last_error(roll->comm->ctx, &error);
        dml__log(roll->comm->ctx, DML_LOG_ERROR, "dml_comm_destroy: %s", error.text);
    }
    if (dml__mpi_ended(2, r->requests))
        dml__free(r);
    else
        dml__left_to_mpi(r);
    roll->receipts = NULL;
}
