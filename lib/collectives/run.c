/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Running a validated call: alone on one rank (alone.c), as one MPI call, or as a
 * schedule.
 */
#include "collectives/coll_internal.h"
#include "collectives/node_task.h"

size_t dml__result_elems(const struct dml__call *call)
{
    int rank = dml_comm_rank(call->comm);
    switch (call->coll) {
    case DML_COLL_REDUCE_SCATTER:
        return dml__block(call, rank).count;
    case DML_COLL_REDUCE:
        return rank == call->root ? call->count : 0;
    default:
        return call->count;
    }
}

bool dml__own_place(const struct dml__call *call, dml_request *request, char **own)
{
    *own = call->recv; /* NULL is possible on a rank without elements */
    if (!call->in_place)
        return true;
    *own = dml__sched_scratch(request, dml__result_elems(call) * call->elem_bytes);
    return *own != NULL;
}

/* Only one rank, and nothing for a device: a copy, for which no algorithm is needed. */
static bool is_alone(const struct dml__call *call, const struct dml__alg *alg)
{
    return dml_comm_size(call->comm) == 1 && alg->path == DML__ON_HOST;
}

static dml_status run_native(const struct dml__call *call)
{
    DML_TRY(dml__native_run(call));
    size_t n = dml__result_elems(call);
    if (dml__reduces(call->coll) && call->op == DML_AVG && n > 0)
        call->red.store(call->recv, call->recv, NULL, n, call->red.divisor);
    return DML_OK;
}

/* A task that blocks needs no schedule, and nothing copied. */
static dml_status run_task(const struct dml__call *call, const struct dml__alg *alg)
{
    struct dml__node_task task = {
        .call = call, .node = dml__comm_node(call->comm), .stage = alg->task};
    return dml__task_run(call, dml__node_advance, &task);
}

/* What a schedule of one task owns: a copy of the call too. */
struct own {
    struct dml__node_task task;
    struct dml__call call;
    size_t numbers[];
};

static dml_status advance_alone(void *state)
{
    struct own *own = state;
    dml__run_alone(&own->call);
    return DML_OK;
}

static void build_task(const struct dml__call *call, const struct dml__alg *alg,
                       dml_request *r)
{
    struct own *own;
    size_t nranks = (size_t)dml_comm_size(call->comm);
    size_t numbers = call->counts != NULL ? 2 * nranks : 0;
    own = dml__sched_scratch(r, sizeof *own + numbers * sizeof own->numbers[0]);
    if (own == NULL)
        return;
    own->call = *call;
    own->task = (struct dml__node_task){.call = &own->call,
                                        .node = dml__comm_node(call->comm),
                                        .stage = alg != NULL ? alg->task : NULL};
    if (call->pieces != NULL)
        own->call.pieces = dml__sched_pieces(r, call);
    for (size_t i = 0; i < numbers; i++)
        own->numbers[i] = i < nranks ? call->counts[i] : call->offsets[i - nranks];
    if (numbers > 0) {
        own->call.counts = own->numbers;
        own->call.offsets = own->numbers + nranks;
    }
    dml__sched_task(r, alg != NULL ? dml__node_advance : advance_alone, own,
                    sizeof own->task, DML__NO_STEP, DML__NO_STEP);
}

/* Writes the schedule; alg: NULL when this is the only rank. */
static void build(const struct dml__call *call, const struct dml__alg *alg,
                  dml_request *r)
{
    if (alg == NULL || alg->task != NULL)
        build_task(call, alg, r);
    else if (call->pieces != NULL && !alg->takes_pieces)
        dml__build_packed(call, alg, r);
    else
        alg->build(call, r);
}

static dml_request *new_request(const struct dml__call *call)
{
    dml_request *r = dml__sched_new(call->comm);
    if (r == NULL) {
        dml__fail(dml_comm_ctx(call->comm), DML_ENOMEM, call->where,
                  "no memory for a request");
        dml__comm_break(call->comm, DML_ENOMEM);
    }
    return r;
}

dml_status dml__plan(const struct dml__call *call, const struct dml__alg *alg,
                     dml_request **request)
{
    dml_request *r = new_request(call);
    if (r == NULL)
        return DML_ENOMEM;
    dml__sched_keep(r, call);
    dml__trace_mark(r, call, alg->name);
    build(call, is_alone(call, alg) ? NULL : alg, r);
    if (dml__sched_written(r) < 0) {
        dml__sched_discard(r);
        dml__fail(dml_comm_ctx(call->comm), DML_ENOMEM, call->where,
                  "no memory for a schedule");
        dml__comm_break(call->comm, DML_ENOMEM);
        return DML_ENOMEM;
    }
    *request = r;
    return DML_OK;
}

/* Without a schedule; false when the call needs one. */
static bool run_at_once(const struct dml__call *call, const struct dml__alg *alg,
                        bool requested, dml_status *status)
{
    if (alg->path != DML__ON_HOST) {
        if (!dml__task_alone(call->comm) ||
            !dml__device_at_once(call, alg, requested, status))
            return false;
    } else if (requested) {
        return false;
    } else if (alg == &dml__alg_mpi && call->counts == NULL && call->pieces == NULL) {
        *status = run_native(call);
    } else if (alg->task != NULL && dml__task_alone(call->comm)) {
        *status = run_task(call, alg);
    } else {
        return false;
    }
    if (*status == DML_OK && call->record.seq > 0)
        dml__roll_leave(call->comm, call->record.seq);
    return true;
}

dml_status dml__run(const struct dml__call *given, const struct dml__alg *alg,
                    dml_request **request)
{
    bool alone = is_alone(given, alg);
    struct dml__call numbered;
    const struct dml__call *call = given;
    dml_status status = DML_OK;
    dml__comm_count_collective(call->comm);
    if (dml_comm_size(call->comm) > 1 && call->record.seq == 0) { /* to measure */
        numbered = *given;
        dml__roll_enter_sample(&numbered);
        call = &numbered;
    }
    if (alone)
        dml__run_alone(call);
    if (alone && request == NULL)
        return status;
    if (!alone && run_at_once(call, alg, request != NULL, &status)) {
        if (request != NULL)
            *request = NULL;
        return status;
    }
    dml_request *r = new_request(call);
    if (r == NULL)
        return DML_ENOMEM;
    if (request != NULL)
        dml__trace_mark(r, call, alg->name);
    if (!alone)
        build(call, alg, r);
    DML_TRY(dml__sched_start(r, call));
    if (request == NULL)
        return dml__sched_finish(r);
    *request = r;
    return DML_OK;
}
