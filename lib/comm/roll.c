/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roll call (roll.h): numbers and signatures of operations, and when a rank that
 * waits looks at what.
 */
#include "comm/roll.h"

#include "comm/guard.h"
#include "comm/request.h"
#include "comm/shm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double first_look_s = 1e-3, longest_pause_s = 50e-3;
static const double first_check_s = 20e-3, longest_check_s = 2;
static const double pulse_s = 0.25; /* between two looks who is alive */
static const double stopped_s = 1;  /* so long between two looks: this process slept */

enum { NOTES_EVERY = 16 };

dml_status dml__roll_open(dml_comm *comm)
{
    size_t n = (size_t)comm->size;
    struct dml__roll *roll = dml__alloc(comm->ctx, sizeof *roll);
    comm->roll = roll;
    if (roll != NULL) {
        roll->comm = comm;
        roll->notes = MPI_COMM_NULL;
        roll->refuser = -1;
        roll->agreement = MPI_REQUEST_NULL;
        roll->timeout_s = dml__ctx_timeout_s(comm->ctx);
        roll->looks_then = dml__alloc(comm->ctx, n * sizeof *roll->looks_then);
        roll->ledgers = dml__alloc(comm->ctx, n * sizeof(struct dml__ledger *));
        roll->mates = dml__alloc(comm->ctx, n * sizeof *roll->mates);
        roll->told = dml__alloc(comm->ctx, n * sizeof *roll->told);
        if (comm->node != NULL)
            roll->own = &comm->node->desk[comm->node->rank]->ledger;
        else
            roll->own = roll->memory = dml__alloc(comm->ctx, sizeof *roll->memory);
    }
    int ok = roll != NULL && roll->looks_then != NULL && roll->mates != NULL &&
             roll->told != NULL && roll->own != NULL && roll->ledgers != NULL;
    MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, comm->coll);
    if (!ok)
        return dml__fail(comm->ctx, DML_ENOMEM, "dml_comm",
                         "no memory for the roll of %d ranks", comm->size);
    for (int i = 0; comm->node != NULL && i < comm->node->size; i++)
        roll->ledgers[comm->node->rank_of[i]] = &comm->node->desk[i]->ledger;
    roll->ledgers[comm->rank] = roll->own;
    DML_TRY(dml__mates_open(roll));
    return dml__notes_open(roll);
}

void dml__roll_close(dml_comm *comm)
{
    struct dml__roll *roll = comm->roll;
    if (roll == NULL)
        return;
    dml__guard_free(roll);
    dml__receipts_close(roll);
    dml__notes_close(roll);
    dml__agreed_free(roll);
    dml__free(roll->memory);
    dml__free(roll->told);
    dml__free(roll->mates);
    dml__free(roll->ledgers);
    dml__free(roll->looks_then);
    dml__free(roll);
    comm->roll = NULL;
}

/* ---- operations --------------------------------------------------------------------
 */

/* The program's next call, or what libdml calls to prepare one. */
static uint64_t next_number(const struct dml__roll *roll)
{
    return roll->preparing ? roll->seq + 1
                           : (dml__op_number(roll->seq) + 1) << DML__PART_BITS;
}

static void enter(struct dml__roll *roll, struct dml__op *op, const size_t *counts)
{
    if (op->base == 0)
        dml__op_sign(op, counts, counts != NULL ? roll->comm->size : 0);
    else
        dml__op_sign_again(op);
    roll->seq = op->seq;
    op->state = DML__INSIDE;
    dml__ledger_write(roll->own, op);
    if (roll->notes != MPI_COMM_NULL && dml__op_number(op->seq) % NOTES_EVERY == 0)
        dml__notes_receive(roll); /* a verdict among them is met by the next check */
}

/* Enters a call as number "seq"; alg: as in struct dml__op. */
static void enter_call(struct dml__call *call, uint64_t seq, unsigned flags, int alg)
{
    bool barrier = call->coll == DML_COLL_BARRIER;
    int op = (int)call->op < DML__OP_FIRST_USER ? (int)call->op : DML__OP_FIRST_USER;
    if (call->counts != NULL)
        flags |= DML__BLOCKS;
    if (call->in_place && !dml__traits(call->coll)->rooted)
        flags |= DML__IN_PLACE; /* of those with a root only that may be in place */
    struct dml__op record = {
        .seq = seq,
        .count = call->counts != NULL ? call->total : call->count,
        .what = (unsigned char)((unsigned)call->coll | flags),
        .dtype = (unsigned char)(barrier ? 0 : call->dtype),
        .op = (unsigned char)(dml__reduces(call->coll) ? op : 0),
        .root = dml__traits(call->coll)->rooted ? call->root : 0,
        .state = DML__INSIDE,
        .alg = (unsigned char)alg,
        .on_device = call->on_device && !call->any_place,
    };
    enter(call->comm->roll, &record, call->counts);
    call->record = record;
}

void dml__roll_enter(struct dml__call *call)
{
    struct dml__roll *roll = call->comm->roll;
    enter_call(call, next_number(roll), 0, 0);
    roll->preparing = true;
}

void dml__roll_enter_next(dml_comm *comm, struct dml__op *record)
{
    record->seq = next_number(comm->roll);
    enter(comm->roll, record, NULL);
}

void dml__roll_enter_sample(struct dml__call *call)
{
    enter_call(call, call->comm->roll->seq + 1, DML__SAMPLE, 0);
}

void dml__roll_leave(const dml_comm *comm, uint64_t seq)
{
    dml__ledger_end(comm->roll->own, seq);
}

uint64_t dml__roll_enter_query(dml_comm *comm, uint64_t count)
{
    struct dml__op record = dml__roll_enter_own(comm, DML__QUERY, count);
    comm->roll->preparing = true;
    return record.seq;
}

void dml__roll_leave_query(dml_comm *comm, uint64_t seq)
{
    comm->roll->preparing = false;
    dml__roll_leave(comm, seq);
}

struct dml__op dml__roll_enter_own(dml_comm *comm, int what, uint64_t count)
{
    struct dml__roll *roll = comm->roll;
    struct dml__op record = {
        .seq = what == DML__AGREE || what == DML__PROBE ? roll->seq + 1
                                                        : next_number(roll),
        .count = count,
        .what = (unsigned char)what,
        .state = DML__INSIDE,
    };
    enter(roll, &record, NULL);
    return record;
}

void dml__roll_chosen(struct dml__call *call, int alg)
{
    struct dml__roll *roll = call->comm->roll;
    roll->preparing = false;
    if (roll->seq == call->record.seq) {
        call->record.alg = (unsigned char)alg;
        dml__op_sign_again(&call->record);
        dml__ledger_write(roll->own, &call->record);
    } else {
        dml__roll_leave(call->comm, call->record.seq);
        enter_call(call, roll->seq + 1, 0, alg);
    }
}

void dml__roll_refuse(dml_comm *comm, int what, uint64_t seq)
{
    struct dml__roll *roll = comm->roll;
    dml_error error;
    dml_ctx_last_error(comm->ctx, &error);
    dml__comm_enter(comm);
    struct dml__op record = {
        .seq = seq, .what = (unsigned char)what, .state = DML__REFUSED};
    roll->preparing = false;
    if (seq == 0)
        record.seq = roll->seq = next_number(roll);
    struct dml__ledger *own = roll->own;
    atomic_store(&own->refused, 0);
    size_t n = strnlen(error.text, sizeof own->refusal - 1);
    memcpy(own->refusal, error.text, n);
    own->refusal[n] = '\0';
    atomic_store(&own->refused, record.seq);
    dml__ledger_write(own, &record);
    dml__notes_tell(roll, DML__NOTE_REFUSED, record.seq, DML_OK, own->refusal);
    dml__comm_leave(comm);
}

/* ---- waiting -----------------------------------------------------------------------
 */

bool dml__roll_waits_in(const struct dml__roll *roll, struct dml__op *op)
{
    *op = (struct dml__op){0};
    for (const dml_request *r = roll->comm->active; r != NULL; r = r->next)
        if (r->record.seq > 0) { /* the others are messages */
            *op = r->record;
            return true;
        }
    for (unsigned i = 0; i < DML__RECORDS; i++) {
        struct dml__op found;
        if (dml__ledger_read(roll->own, i, &found) && found.state == DML__INSIDE &&
            (op->seq == 0 || found.seq < op->seq))
            *op = found;
    }
    return op->seq > 0;
}

/* Writes down what this rank waits for, and that it is alive. */
static void say_where(struct dml__roll *roll)
{
    struct dml__ledger *own = roll->own;
    const dml_request *r = roll->comm->active;
    struct dml__op op = {0};
    enum dml__waiting kind = DML__IN_COLLECTIVE;
    if (!dml__roll_waits_in(roll, &op) && r != NULL) {
        const struct dml__step *s = &r->steps[0];
        kind = s->kind == DML__SEND ? DML__IN_SEND : DML__IN_RECV;
        uint64_t bytes = 0;
        for (int i = 0; i < r->nsteps; i++)
            bytes += r->steps[i].n;
        atomic_store_explicit(&own->peer, s->peer, memory_order_relaxed);
        atomic_store_explicit(&own->tag, r->tag, memory_order_relaxed);
        atomic_store_explicit(&own->wait_bytes, bytes, memory_order_relaxed);
    }
    atomic_store_explicit(&own->wait_seq, op.seq, memory_order_relaxed);
    atomic_store_explicit(&own->waiting, (unsigned)kind, memory_order_relaxed);
    atomic_store_explicit(&own->calling, roll->called_s > 0, memory_order_relaxed);
    atomic_fetch_add(&own->looks, 1);
}

/* Asks those elsewhere whose messages this rank waits for. */
static void check_peers(struct dml__roll *roll)
{
    struct dml__op op;
    const dml_request *r = roll->comm->active;
    if (roll->notes == MPI_COMM_NULL || !dml__roll_waits_in(roll, &op))
        return;
    for (int k = 0; r != NULL && k < r->ninflight; k++) {
        const struct dml__step *s = &r->steps[r->inflight_step[k]];
        if (s->kind != DML__LOCAL)
            dml__notes_send(roll, s->peer, DML__NOTE_CHECK, op.seq);
    }
    if (r == NULL || r->ninflight == 0 || r->steps[r->inflight_step[0]].native)
        dml__notes_send(roll, (roll->comm->rank + 1) % roll->comm->size,
                        DML__NOTE_CHECK, op.seq);
}

static dml_status look(struct dml__roll *roll, double idle_s, double now_s)
{
    char where[48] = "dml_wait";
    struct dml__op op;
    say_where(roll);
    if (dml__roll_waits_in(roll, &op))
        dml__op_where(&op, where, sizeof where);
    DML_TRY(dml__roll_judged(roll, where));
    DML_TRY(dml__notes_receive(roll));
    DML_TRY(dml__roll_compare(roll));
    if (now_s >= roll->next_check_s) {
        roll->next_check_s = now_s + fmin(2 * idle_s, longest_check_s);
        check_peers(roll);
    }
    if (now_s >= roll->next_pulse_s) {
        roll->next_pulse_s = now_s + pulse_s;
        DML_TRY(dml__mates_alive(roll));
    }
    if (roll->timeout_s > 0 && idle_s >= roll->timeout_s)
        return dml__roll_call(roll, idle_s, now_s);
    return DML_OK;
}

/* A wait in which nothing has been looked at yet. */
static void begin(struct dml__roll *roll, double still_s, double now_s)
{
    roll->still_s = roll->idle_since_s = still_s;
    roll->looked_s = now_s;
    roll->next_s = still_s + first_look_s;
    roll->next_check_s = still_s + first_check_s;
    roll->next_pulse_s = still_s + pulse_s;
    roll->called_s = 0;
}

dml_status dml__roll_idle(dml_comm *comm, double still_s, double now_s)
{
    struct dml__roll *roll = comm->roll;
    if (roll->still_s < still_s || roll->still_s > still_s)
        begin(roll, still_s, now_s);
    double gap_s = now_s - roll->looked_s;
    roll->looked_s = now_s;
    if (gap_s > stopped_s) { /* not the peers' fault */
        roll->idle_since_s += gap_s;
        roll->called_s = 0;
    }
    if (now_s < roll->next_s)
        return DML_OK;
    double idle_s = now_s - roll->idle_since_s;
    roll->next_s = now_s + fmin(fmax(idle_s / 4, first_look_s), longest_pause_s);
    return look(roll, idle_s, now_s);
}

dml_status dml__roll_asked(dml_comm *comm)
{
    struct dml__roll *roll = comm->roll;
    if (roll->asked++ % 16 != 0)
        return DML_OK;
    double now_s = dml__now_s();
    if (roll->asked == 1)
        roll->asked_since_s = now_s;
    roll->looked_s = now_s; /* who asks seldom was not stopped in between */
    return dml__roll_idle(comm, roll->asked_since_s, now_s);
}

void dml__roll_watch(dml_comm *comm, bool may_call_mpi)
{
    for (const dml_request *r = comm->active; r != NULL && !may_call_mpi; r = r->next)
        if (r->uses_mpi)
            return; /* it stands still for want of its caller, not of a peer */
    comm->roll->mute = !may_call_mpi;
    dml__roll_asked(comm); /* an error is the pending requests', and the next call's */
    comm->roll->mute = false;
}
