/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completing requests: waiting for them, asking for them.
 */
#include "comm/request.h"

#include "comm/roll.h"
#include "comm/wait.h"

/* Takes a complete request's status and gives the request back, unless it is the
 * caller's for as long as he wants. */
static dml_status take(dml_request *r)
{
    dml_status status = r->status;
    if (status == DML_OK && r->record.seq > 0 && dml__request_native(r))
        status = dml__roll_verify(r->comm->roll, r->record.seq);
    r->started = false;
    if (!r->persistent)
        dml__sched_discard(r);
    return status;
}

static bool complete(const void *what)
{
    const dml_request *r = what;
    return r->complete;
}

dml_status dml__sched_finish(dml_request *r)
{
    if (!r->complete)
        dml__wait_until(r->comm, complete, r);
    return take(r);
}

/* A poll in vain by a program that asks instead of waiting. */
static dml_status asked(dml_comm *comm)
{
    dml__progress_others(comm);
    return dml__roll_asked(comm);
}

bool dml__task_alone(const dml_comm *comm)
{
    return comm->active == NULL;
}

dml_status dml__task_run(const struct dml__call *call, dml__task_fn *advance,
                         void *state)
{
    struct dml__idle idle = {0};
    dml_comm *comm = call->comm;
    comm->node->signature = call->record.signature;
    dml_status status = advance(state);
    while (status == DML_PENDING) {
        unsigned long long before = dml__node_own(comm->node);
        status = dml__idle(comm, &idle);
        if (status == DML_PENDING)
            status = advance(state);
        if (dml__node_own(comm->node) != before)
            dml__idle_moved(comm, &idle);
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
    dml_comm *comm = r->comm;
    dml_status status = DML_OK;
    dml__comm_enter(comm);
    if (!r->persistent)
        *request = NULL;
    if (r->started)
        status = dml__sched_finish(r);
    dml__comm_leave(comm);
    return status;
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
    dml_comm *comm = r->comm;
    dml_status status = DML_OK;
    dml__comm_enter(comm);
    if (r->started && !r->complete && !dml__comm_poll(comm))
        asked(comm);
    if (r->started && !r->complete) {
        status = DML_PENDING;
    } else {
        if (!r->persistent)
            *request = NULL;
        if (r->started)
            status = take(r);
    }
    dml__comm_leave(comm);
    return status;
}

/* ---- one of several ----------------------------------------------------------------
 */

struct several {
    size_t n;
    dml_request **requests;
};

/* The first that is started, and complete if it must be; n: there is none. */
static size_t first_of(const struct several *s, bool must_be_complete)
{
    size_t i = 0;
    while (i < s->n && (s->requests[i] == NULL || !s->requests[i]->started ||
                        (must_be_complete && !s->requests[i]->complete)))
        i++;
    return i;
}

static bool any_complete(const void *what)
{
    const struct several *s = what;
    return first_of(s, true) < s->n;
}

static dml_status one_of(size_t n, dml_request **requests, size_t *index, bool wait)
{
    if ((requests == NULL && n > 0) || index == NULL)
        return DML_EINVAL;
    struct several s = {n, requests};
    size_t i = first_of(&s, false);
    if (i == n) {
        *index = n;
        return DML_OK;
    }
    dml_comm *comm = requests[i]->comm;
    dml_status status = DML_PENDING;
    dml__comm_enter(comm);
    if (wait)
        dml__wait_until(comm, any_complete, &s);
    else if (!any_complete(&s) && !dml__comm_poll(comm))
        asked(comm);
    i = first_of(&s, true);
    if (i < n) {
        dml_request *r = requests[i];
        if (!r->persistent)
            requests[i] = NULL;
        *index = i;
        status = take(r);
    }
    dml__comm_leave(comm);
    return status;
}

dml_status dml_waitany(size_t n, dml_request **requests, size_t *index)
{
    return one_of(n, requests, index, true);
}

dml_status dml_testany(size_t n, dml_request **requests, size_t *index)
{
    return one_of(n, requests, index, false);
}

dml_status dml_progress(dml_comm *comm)
{
    if (comm == NULL)
        return DML_EINVAL;
    dml_status status = DML_OK;
    dml__comm_enter(comm);
    if (comm->active == NULL)
        dml__progress_others(comm);
    else if (!dml__comm_poll(comm))
        status = asked(comm);
    dml__comm_leave(comm);
    return status;
}

/* ---- persistent requests -----------------------------------------------------------
 */

dml_status dml_start(dml_request *r)
{
    if (r == NULL)
        return DML_EINVAL;
    dml_comm *comm = r->comm;
    dml__comm_enter(comm);
    dml_status status = dml__comm_check(comm, __func__);
    if (status == DML_OK && (!r->persistent || r->started))
        status = dml__fail(comm->ctx, DML_EINVAL, __func__,
                           "the request is not from dml_coll_init, or was started and "
                           "not waited for");
    const struct dml__device *device = dml__ctx_device(comm->ctx);
    if (status == DML_OK && r->on_device)
        status = device->may_wait(device, comm, __func__);
    if (status == DML_OK)
        status = dml__sched_restart(r);
    dml__comm_leave(comm);
    return status;
}

dml_status dml_startall(size_t n, dml_request **requests)
{
    if (requests == NULL && n > 0)
        return DML_EINVAL;
    for (size_t i = 0; i < n; i++)
        DML_TRY(dml_start(requests[i]));
    return DML_OK;
}

dml_status dml_request_free(dml_request **request)
{
    if (request == NULL)
        return DML_EINVAL;
    dml_request *r = *request;
    if (r == NULL)
        return DML_OK;
    dml_comm *comm = r->comm;
    dml_status status = DML_OK;
    dml__comm_enter(comm);
    if (!r->persistent || r->started) {
        status =
            dml__fail(comm->ctx, DML_EINVAL, __func__,
                      "the request is not from dml_coll_init, or is still pending; "
                      "wait for it first");
    } else {
        *request = NULL;
        dml__sched_discard(r);
    }
    dml__comm_leave(comm);
    return status;
}
