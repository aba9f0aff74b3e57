/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The schedule engine: starts steps whose dependencies are complete, in three lanes
 * (sends, receives, local work), each in list order. See sched.h for the rules and
 * doc/adr/0002 for why.
 */
#include "comm/request.h"

#include <sched.h>

static bool may_start(const dml_request *r, const struct dml__step *s)
{
    if (s->after_all)
        return r->ndone == r->nsteps - 1;
    return (s->after[0] < 0 || r->steps[s->after[0]].done) &&
           (s->after[1] < 0 || r->steps[s->after[1]].done);
}

static void finish_step(dml_request *r, struct dml__step *s)
{
    s->done = true;
    r->ndone++;
}

static void fail(dml_request *r, int code)
{
    dml_status status = dml__mpi_fail(r->comm, "schedule", code);
    if (r->status >= 0)
        r->status = status;
    for (int k = 0; k < r->ninflight; k++) { /* their buffers are about to go away */
        if (r->inflight[k] == MPI_REQUEST_NULL)
            continue;
        MPI_Cancel(&r->inflight[k]);
        MPI_Request_free(&r->inflight[k]);
    }
    r->ninflight = 0;
}

/* Starts the message or MPI collective of step i; its request joins those in flight. */
static void start_mpi(dml_request *r, int i)
{
    struct dml__step *s = &r->steps[i];
    MPI_Request *mpi = &r->inflight[r->ninflight];
    int code = MPI_SUCCESS;
    if (s->native) {
        code = dml__native_start(&r->native, r->native_counts, mpi);
    } else if (s->kind == DML__SEND) {
        code = MPI_Isend(s->a, (int)s->n, MPI_BYTE, s->peer, r->tag, r->channel, mpi);
        r->comm->stats.bytes_sent += s->n;
        r->comm->stats.messages_sent++;
    } else {
        code = MPI_Irecv(s->dst, (int)s->n, MPI_BYTE, s->peer, r->tag, r->channel, mpi);
        r->comm->stats.bytes_received += s->n;
    }
    if (code != MPI_SUCCESS) {
        fail(r, code);
        return;
    }
    r->inflight_step[r->ninflight++] = i;
    r->lane_inflight[s->kind]++;
}

/* Starts what can be started in one lane; true when anything was. */
static bool advance_lane(dml_request *r, enum dml__kind kind)
{
    bool moved = false;
    while (r->head[kind] != DML__NO_STEP && r->status >= 0) {
        int i = r->head[kind];
        struct dml__step *s = &r->steps[i];
        bool is_mpi = kind != DML__LOCAL || s->native;
        if (!may_start(r, s) ||
            (is_mpi && r->lane_inflight[kind] == DML__LANE_INFLIGHT))
            break;
        r->head[kind] = s->next;
        if (is_mpi) {
            start_mpi(r, i);
        } else {
            s->fn(s->dst, s->a, s->b, s->n, s->arg);
            finish_step(r, s);
        }
        moved = true;
    }
    return moved;
}

/* Collects finished messages; true when there were any. */
static bool reap(dml_request *r)
{
    if (r->ninflight == 0)
        return false;
    int which[DML__MAX_INFLIGHT], n = 0;
    int code = MPI_Testsome(r->ninflight, r->inflight, &n, which, MPI_STATUSES_IGNORE);
    if (code != MPI_SUCCESS) {
        fail(r, code);
        return true;
    }
    if (n == 0 || n == MPI_UNDEFINED)
        return false;
    for (int k = 0; k < n; k++) {
        struct dml__step *s = &r->steps[r->inflight_step[which[k]]];
        r->lane_inflight[s->kind]--;
        finish_step(r, s);
    }
    int kept = 0; /* closes the gaps; MPI set finished requests to MPI_REQUEST_NULL */
    for (int k = 0; k < r->ninflight; k++) {
        if (r->inflight[k] == MPI_REQUEST_NULL)
            continue;
        r->inflight[kept] = r->inflight[k];
        r->inflight_step[kept++] = r->inflight_step[k];
    }
    r->ninflight = kept;
    return true;
}

static bool progress(dml_request *r)
{
    bool moved = reap(r), more = true;
    while (more && r->status >= 0) {
        /* Receives first: a posted receive spares the message a copy. */
        more = advance_lane(r, DML__RECV);
        more = advance_lane(r, DML__SEND) || more;
        more = advance_lane(r, DML__LOCAL) || more;
        moved = moved || more;
    }
    if (r->ndone == r->nsteps || r->status < 0)
        r->complete = true;
    return moved;
}

bool dml__comm_poll(dml_comm *comm)
{
    bool moved = false;
    for (dml_request **link = &comm->active; *link != NULL;) {
        dml_request *r = *link;
        moved = progress(r) || moved;
        if (r->complete) {
            *link = r->next;
            r->next = NULL;
        } else {
            link = &r->next;
        }
    }
    return moved;
}

static bool has_collectives(const dml_comm *comm)
{
    for (const dml_request *r = comm->active; r != NULL; r = r->next)
        if (r->channel == comm->coll)
            return true;
    return false;
}

void dml__comm_drain(dml_comm *comm)
{
    while (has_collectives(comm))
        if (!dml__comm_poll(comm))
            sched_yield();
}

static dml_status start(dml_request *r)
{
    dml_comm *comm = r->comm;
    if (r->status < 0) {
        dml_status status = r->status;
        dml__sched_discard(r);
        return dml__fail(comm->ctx, status, "schedule",
                         "out of memory for a schedule of %d steps", r->nsteps);
    }
    dml_request **link = &comm->active;
    while (*link != NULL)
        link = &(*link)->next;
    *link = r;
    dml__comm_poll(comm);
    return DML_OK;
}

dml_status dml__sched_start(dml_request *r)
{
    dml_comm *comm = r->comm;
    r->channel = comm->coll;
    r->tag = comm->next_tag;
    comm->next_tag = (comm->next_tag + 1) & DML_TAG_MAX;
    return start(r);
}

dml_status dml__sched_start_p2p(dml_request *r, int tag)
{
    r->channel = r->comm->p2p;
    r->tag = tag;
    return start(r);
}
