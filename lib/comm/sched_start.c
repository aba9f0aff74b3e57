/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handing schedules to the engine: at first, again for a persistent request, and what
 * is under way to its end.
 */
#include "comm/request.h"
#include "comm/roll.h"
#include "comm/trace.h"
#include "comm/wait.h"

#include <stdio.h>
#include <string.h>

static bool no_collectives(const void *what)
{
    const dml_comm *comm = what;
    for (const dml_request *r = comm->active; r != NULL; r = r->next)
        if (r->channel == comm->coll)
            return false;
    return true;
}

dml_status dml__comm_drain(dml_comm *comm)
{
    return dml__wait_until(comm, no_collectives, comm);
}

void dml__request_where(const dml_request *r, char *text, size_t room)
{
    if (r->record.seq > 0)
        dml__op_where(&r->record, text, room);
    else
        snprintf(text, room, "%s",
                 r->nsteps == 0                  ? "dml_send or dml_recv"
                 : r->steps[0].kind == DML__SEND ? "dml_send"
                                                 : "dml_recv");
}

static dml_status start(dml_request *r)
{
    dml_comm *comm = r->comm;
    if (r->status < 0) {
        char where[48];
        dml__request_where(r, where, sizeof where);
        dml_status status =
            dml__fail(comm->ctx, r->status, where,
                      "no memory on rank %d for the plan of this call", comm->rank);
        dml__comm_break(comm, status);
        dml__sched_discard(r);
        return status;
    }
    dml_request **link = &comm->active;
    while (*link != NULL)
        link = &(*link)->next;
    *link = r;
    r->started = true;
    if (r->traced.algorithm != NULL)
        dml__trace_begin(r);
    dml__comm_poll(comm);
    return DML_OK;
}

static dml_status start_collective(dml_request *r)
{
    r->channel = r->comm->coll;
    /* Messages of different operations do not match, whatever they have in common. */
    r->tag = (int)(r->record.signature % (uint64_t)r->comm->tag_max);
    return start(r);
}

dml_status dml__sched_start(dml_request *r, const struct dml__call *call)
{
    r->record =
        call != NULL ? call->record : dml__roll_enter_own(r->comm, DML__PROBE, 0);
    return start_collective(r);
}

dml_status dml__sched_restart(dml_request *r)
{
    r->complete = false;
    r->status = DML_OK;
    r->ndone = 0;
    r->tasks_left = r->ntasks;
    for (int k = 0; k < DML__NKINDS; k++)
        r->head[k] = r->first[k];
    for (int i = 0; i < r->nsteps; i++) {
        struct dml__step *s = &r->steps[i];
        s->done = false;
        s->moved = 0;
        s->inflight = 0;
        if (s->task != NULL)
            memcpy(s->dst, s->a, s->n);
    }
    r->comm->stats.collectives++;
    if (r->comm->size > 1)
        dml__roll_enter_next(r->comm, &r->record);
    return start_collective(r);
}

dml_status dml__sched_start_p2p(dml_request *r, int tag)
{
    r->channel = r->comm->p2p;
    r->uses_mpi = true;
    r->record = (struct dml__op){0};
    r->tag = tag;
    return start(r);
}
