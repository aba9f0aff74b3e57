/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting for requests: spin for a moment, then give the processor away, at once where
 * ranks outnumber processors.
 */
#include "comm/request.h"

#include <sched.h>

/* Polls without success before a waiting rank yields its processor, when there is one
 * processor per rank. Longer than a hand-over, shorter than a time slice.
 */
enum { SPIN_POLLS = 200 };

/* Takes a complete request's status and gives the request back. */
static dml_status take(dml_request *r)
{
    dml_status status = r->status;
    dml__sched_discard(r);
    return status;
}

void dml__comm_rest(dml_comm *comm)
{
    int arrived = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm->p2p, &arrived, MPI_STATUS_IGNORE);
    sched_yield();
}

dml_status dml__sched_finish(dml_request *r)
{
    dml_comm *comm = r->comm;
    if (!r->complete) {
        double begin_s = dml__now_s();
        int idle_polls = comm->crowded ? SPIN_POLLS : 0;
        while (!r->complete) {
            if (dml__comm_poll(comm))
                idle_polls = comm->crowded ? SPIN_POLLS : 0;
            else if (idle_polls++ >= SPIN_POLLS)
                dml__comm_rest(comm);
        }
        comm->stats.wait_s += dml__now_s() - begin_s;
    }
    return take(r);
}

bool dml__task_alone(const dml_comm *comm)
{
    return comm->active == NULL;
}

dml_status dml__task_run(dml_comm *comm, dml__task_fn *advance, void *state)
{
    dml_status status = advance(state);
    int idle_polls = comm->crowded ? SPIN_POLLS : 0;
    while (status == DML_PENDING) {
        if (idle_polls++ >= SPIN_POLLS)
            sched_yield();
        status = advance(state);
    }
    if (status < 0)
        dml__comm_break(comm, status);
    return status;
}

dml_status dml_wait(dml_request **request)
{
    if (request == NULL)
        return DML_EINVAL;
    dml_request *r = *request;
    if (r == NULL)
        return DML_OK;
    *request = NULL;
    return dml__sched_finish(r);
}

dml_status dml_waitall(size_t n, dml_request **requests)
{
    if (requests == NULL && n > 0)
        return DML_EINVAL;
    dml_status first = DML_OK;
    for (size_t i = 0; i < n; i++) {
        dml_status status = dml_wait(&requests[i]);
        if (first == DML_OK)
            first = status;
    }
    return first;
}

dml_status dml_test(dml_request **request)
{
    if (request == NULL)
        return DML_EINVAL;
    dml_request *r = *request;
    if (r == NULL)
        return DML_OK;
    if (!r->complete)
        dml__comm_poll(r->comm);
    if (!r->complete)
        return DML_PENDING;
    *request = NULL;
    return take(r);
}

dml_status dml_progress(dml_comm *comm)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (comm->active != NULL)
        dml__comm_poll(comm);
    return DML_OK;
}
