/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The schedule engine: starts steps whose dependencies are complete, in three lanes
 * (sends, receives, local work), each in list order. See sched.h for the rules and
 * doc/adr/0002 for why.
 */
#include "comm/request.h"
#include "comm/roll.h"
#include "comm/shm.h"
#include "comm/wait.h"

#include <string.h>

static bool may_start(const dml_request *r, const struct dml__step *s)
{
    if (s->after_all)
        return r->ndone == (int)(s - r->steps);
    return (s->after[0] < 0 || r->steps[s->after[0]].done) &&
           (s->after[1] < 0 || r->steps[s->after[1]].done);
}

static void finish_step(dml_request *r, struct dml__step *s)
{
    s->done = true;
    r->ndone++;
}

static void count_message(dml_comm *comm, const struct dml__step *s, size_t bytes)
{
    if (s->kind == DML__SEND) {
        comm->stats.bytes_sent += bytes;
        comm->stats.messages_sent++;
    } else {
        comm->stats.bytes_received += bytes;
    }
}

/* Ends a request that can no longer be completed, and its communicator. */
static void give_up(dml_request *r, dml_status status)
{
    if (r->status >= 0)
        r->status = status;
    dml__comm_break(r->comm, status);
    for (int k = 0; k < r->ninflight; k++) {
        bool native = r->steps[r->inflight_step[k]].native; /* cannot be cancelled */
        if (r->inflight[k] != MPI_REQUEST_NULL && !native && !r->comm->roll->mute)
            MPI_Cancel(&r->inflight[k]);
    }
    r->nleft += r->ninflight; /* a cancelled message may still arrive: sched_build.c */
    r->ninflight = 0;
}

static void fail(dml_request *r, int code)
{
    char where[48];
    dml__request_where(r, where, sizeof where);
    give_up(r, dml__mpi_fail(r->comm, where, code));
}

/* Bytes of the MPI message that carries the step's bytes from "at" on. The program's
 * own messages stay whole: pieces of two with the same tag could mix. */
static size_t piece_bytes(const dml_request *r, const struct dml__step *s, size_t at)
{
    const dml_comm *comm = r->comm;
    bool across =
        r->channel == comm->coll && comm->node_of[s->peer] != comm->node_of[comm->rank];
    size_t most = across ? DML__NET_MESSAGE_BYTES : DML__MESSAGE_MAX_BYTES;
    return s->n - at < most ? s->n - at : most;
}

/* Starts the MPI collective of step i, or the next piece of its message; the request
 * joins those in flight. False when that failed. */
static bool start_mpi(dml_request *r, int i)
{
    struct dml__step *s = &r->steps[i];
    MPI_Request *mpi = &r->inflight[r->ninflight];
    size_t at = s->moved, bytes = s->native ? 0 : piece_bytes(r, s, s->moved);
    int code = MPI_SUCCESS;
    if (s->native) {
        code = dml__native_start(&r->native, r->native_counts, mpi);
    } else if (s->kind == DML__SEND) {
        code = MPI_Isend((const char *)s->a + at, (int)bytes, MPI_BYTE, s->peer, r->tag,
                         r->channel, mpi);
        count_message(r->comm, s, bytes);
    } else {
        char *to = s->fn != NULL ? s->staging : s->dst;
        code =
            MPI_Irecv(to + at, (int)bytes, MPI_BYTE, s->peer, r->tag, r->channel, mpi);
        count_message(r->comm, s, bytes);
    }
    if (code != MPI_SUCCESS) {
        fail(r, code);
        return false;
    }
    s->moved += bytes;
    s->inflight++;
    r->inflight_at[r->ninflight] = at;
    r->inflight_step[r->ninflight++] = i;
    r->lane_inflight[s->kind]++;
    return true;
}

/* Moves what a channel has or takes of the message; true when that was anything. */
static bool move(struct dml__shm *shm, uint64_t signature, struct dml__step *s)
{
    if (s->kind == DML__SEND) {
        size_t n = dml__shm_put(shm, s->peer, signature, s->a, s->n, s->moved);
        s->moved += n;
        return n > 0;
    }
    size_t n = 0, before = s->moved;
    while (s->moved < s->n) {
        const void *piece = dml__shm_peek(shm, s->peer, signature, s->n, s->moved, &n);
        if (piece == NULL)
            break;
        if (s->fn != NULL) {
            size_t first = s->moved / s->item_bytes;
            s->fn((char *)s->dst + s->moved, piece,
                  (const char *)s->b + first * s->b_bytes, n / s->item_bytes, s->arg);
        } else {
            memcpy((char *)s->dst + s->moved, piece, n);
        }
        dml__shm_release(shm, s->peer, n);
        s->moved += n;
    }
    return s->moved > before;
}

/* Advances a task; false when it has to wait, and *moved when it did anything. */
static bool run_task(dml_request *r, struct dml__step *s, bool *moved)
{
    struct dml__node *node = r->comm->node;
    unsigned long long before = node != NULL ? dml__node_own(node) : 0;
    if (node != NULL)
        node->signature = r->record.signature;
    dml_status status = s->task(s->dst);
    *moved = *moved || (node != NULL && dml__node_own(node) != before);
    if (status == DML_PENDING)
        return false;
    if (status < 0) {
        r->status = status;
        dml__comm_break(r->comm, status);
    }
    r->tasks_left -= !s->unordered;
    finish_step(r, s);
    return true;
}

/* One step of a lane; *moved when it did anything, false when the lane has to wait. */
static bool start_step(dml_request *r, enum dml__kind kind, int i, bool *moved)
{
    struct dml__step *s = &r->steps[i];
    if (s->task != NULL) {
        if ((!r->comm->tasks_may_run && !s->unordered) || !run_task(r, s, moved))
            return false;
    } else if (kind == DML__LOCAL && !s->native) {
        s->fn(s->dst, s->a, s->b, s->n, s->arg);
        finish_step(r, s);
    } else if (kind != DML__LOCAL && r->channel == r->comm->coll &&
               dml__shm_reaches(r->comm->shm, s->peer)) {
        *moved = move(r->comm->shm, r->record.signature, s) || *moved;
        if (s->moved < s->n)
            return false;
        count_message(r->comm, s, s->n);
        finish_step(r, s);
    } else {
        do {
            if (r->lane_inflight[kind] == DML__LANE_INFLIGHT || !start_mpi(r, i))
                return false;
            *moved = true;
        } while (s->moved < s->n);
    }
    *moved = true;
    return true;
}

/* Starts what can be started in one lane; true when anything moved. */
static bool advance_lane(dml_request *r, enum dml__kind kind)
{
    bool moved = false;
    while (r->head[kind] != DML__NO_STEP && r->status >= 0) {
        int i = r->head[kind], next = r->steps[i].next;
        if (!may_start(r, &r->steps[i]) || !start_step(r, kind, i, &moved))
            break;
        r->head[kind] = next;
    }
    return moved;
}

/* Takes note of a finished request; of the message's last piece the step is complete.
 */
static void finish_piece(dml_request *r, int k)
{
    struct dml__step *s = &r->steps[r->inflight_step[k]];
    size_t at = r->inflight_at[k];
    r->inflight[k] = MPI_REQUEST_NULL;
    r->lane_inflight[s->kind]--;
    s->inflight--;
    if (s->kind == DML__RECV && s->fn != NULL) {
        size_t first = at / s->item_bytes, n = piece_bytes(r, s, at) / s->item_bytes;
        s->fn((char *)s->dst + at, (char *)s->staging + at,
              (const char *)s->b + first * s->b_bytes, n, s->arg);
    }
    if (s->moved == s->n && s->inflight == 0)
        finish_step(r, s);
}

/* Closes the gaps that finished ones leave. */
static void close_gaps(dml_request *r)
{
    int kept = 0;
    for (int k = 0; k < r->ninflight; k++) {
        if (r->inflight[k] == MPI_REQUEST_NULL)
            continue;
        r->inflight[kept] = r->inflight[k];
        r->inflight_at[kept] = r->inflight_at[k];
        r->inflight_step[kept++] = r->inflight_step[k];
    }
    r->ninflight = kept;
}

/* Collects finished messages; true when there were any. */
static bool reap(dml_request *r)
{
    if (r->ninflight == 0)
        return false;
    int which[DML__MAX_INFLIGHT], n = 0;
    MPI_Status statuses[DML__MAX_INFLIGHT];
    int code = MPI_Testsome(r->ninflight, r->inflight, &n, which, statuses);
    if (code != MPI_SUCCESS) {
        for (int k = 0; code == MPI_ERR_IN_STATUS && n != MPI_UNDEFINED && k < n; k++)
            if (statuses[k].MPI_ERROR != MPI_SUCCESS)
                code = statuses[k].MPI_ERROR;
        fail(r, code);
        return true;
    }
    if (n == 0 || n == MPI_UNDEFINED)
        return false;
    for (int k = 0; k < n; k++)
        finish_piece(r, which[k]);
    close_gaps(r);
    return true;
}

bool dml__comm_block(dml_comm *comm)
{
    size_t n = 0, copied = 0;
    for (dml_request *r = comm->active; r != NULL; r = r->next)
        n += (size_t)r->ninflight;
    MPI_Request *all = n > 0 ? dml__alloc(comm->ctx, n * sizeof *all) : NULL;
    if (all == NULL)
        return false;
    for (dml_request *r = comm->active; r != NULL; r = r->next)
        for (int k = 0; k < r->ninflight; k++)
            all[copied++] = r->inflight[k];
    int which = 0;
    int code = MPI_Waitany((int)n, all, &which, MPI_STATUS_IGNORE);
    dml__free(all);
    dml_request *r = comm->active;
    while (which >= r->ninflight) {
        which -= r->ninflight;
        r = r->next;
    }
    if (code == MPI_SUCCESS) {
        finish_piece(r, which);
        close_gaps(r);
    } else {
        fail(r, code);
    }
    return true;
}

/* A bit for each lane that may be advanced. */
enum { ALL_LANES = 1 << DML__SEND | 1 << DML__RECV | 1 << DML__LOCAL };

static bool progress(dml_request *r, int lanes)
{
    /* Receives first: a posted receive spares the message a copy. */
    static const enum dml__kind order[] = {DML__RECV, DML__SEND, DML__LOCAL};
    bool moved = reap(r), more = true;
    while (more && r->status >= 0) {
        more = false;
        for (int k = 0; k < DML__NKINDS; k++)
            if (lanes & 1 << order[k])
                more = advance_lane(r, order[k]) || more;
        moved = moved || more;
    }
    if (r->ndone == r->nsteps || r->status < 0) {
        r->complete = true;
        if (r->traced.algorithm != NULL)
            dml__trace_end(r);
    }
    return moved;
}

/*
 * Collectives share the channels, in which bytes have no names: a later one must not
 * send or receive before the earlier ones have sent or received all they ever will.
 * That keeps the order the same on all ranks.
 */
bool dml__comm_poll(dml_comm *comm)
{
    bool moved = false;
    int lanes = ALL_LANES;
    comm->tasks_may_run = true;
    for (dml_request **link = &comm->active; *link != NULL;) {
        dml_request *r = *link;
        bool collective = r->channel == comm->coll;
        if (comm->lock.no_mpi && r->uses_mpi) {
            link = &r->next; /* MPI's own algorithm: MPI moves it on */
            continue;
        }
        moved = progress(r, collective ? lanes : ALL_LANES) || moved;
        if (collective && r->head[DML__SEND] != DML__NO_STEP)
            lanes &= ~(1 << DML__SEND);
        if (collective && r->head[DML__RECV] != DML__NO_STEP)
            lanes &= ~(1 << DML__RECV);
        if (r->tasks_left > 0)
            comm->tasks_may_run = false;
        if (r->complete) {
            if (r->record.seq > 0)
                dml__roll_leave(comm, r->record.seq);
            *link = r->next;
            r->next = NULL;
        } else {
            link = &r->next;
        }
    }
    if (moved)
        dml__roll_moved(comm->roll);
    return moved;
}

void dml__comm_abandon(dml_comm *comm, dml_status status)
{
    while (comm->active != NULL) {
        dml_request *r = comm->active;
        comm->active = r->next;
        r->next = NULL;
        give_up(r, status);
        r->complete = true;
    }
}
