/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completing requests: waiting for them, asking for them.
 */
#include "comm/request.h"

#include "comm/wait.h"

/* Takes a complete request's status and gives the request back. */
static dml_status take(dml_request *r)
{
    dml_status status = r->status;
    dml__sched_discard(r);
    return status;
}

dml_status dml__sched_finish(dml_request *r)
{
    dml_comm *comm = r->comm;
    if (r->complete)
        return take(r);
    struct dml__idle idle = {.begin_s = dml__now_s()};
    dml_status status = DML_PENDING;
    while (!r->complete && status == DML_PENDING) {
        if (dml__comm_poll(comm))
            dml__idle_moved(&idle);
        else
            status = dml__idle(comm, &idle);
    }
    dml__idle_end(comm, &idle);
    if (status < 0)
        dml__comm_abandon(comm, status);
    return take(r);
}

bool dml__task_alone(const dml_comm *comm)
{
    return comm->active == NULL;
}

dml_status dml__task_run(dml_comm *comm, dml__task_fn *advance, void *state)
{
    struct dml__idle idle = {0};
    dml_status status = advance(state);
    while (status == DML_PENDING) {
        status = dml__idle(comm, &idle);
        if (status == DML_PENDING)
            status = advance(state);
    }
    dml__idle_end(comm, &idle);
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
