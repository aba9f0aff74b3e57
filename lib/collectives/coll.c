/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public collectives: each fills a description of the call, which is validated,
 * given an algorithm and run in one place.
 *
 * Checks use arguments that are equal on all ranks wherever that is possible, so that a
 * mistake in a program fails on all ranks and none is left waiting.
 */
#include "collectives/device.h"
#include "collectives/select.h"
#include "collectives/user_call.h"

static dml_status check_scalars(const struct dml__user_call *u)
{
    dml_ctx *ctx = dml_comm_ctx(u->comm);
    int rank = dml_comm_rank(u->comm), nranks = dml_comm_size(u->comm);
    size_t bytes = dml_dtype_bytes(u->dtype);
    if (bytes == 0)
        return dml__fail_values(ctx, DML_EINVAL, u->where, rank, u->dtype, DML_NDTYPES,
                                "unknown element type %d; use DML_F32 to DML_U64",
                                (int)u->dtype);
    if (dml__traits(u->coll)->rooted && (u->root < 0 || u->root >= nranks))
        return dml__fail_values(ctx, DML_EINVAL, u->where, rank, u->root, nranks,
                                "root is %d; it must be one of the %d ranks", u->root,
                                nranks);
    size_t vectors = dml__traits(u->coll)->blocks ? (size_t)nranks : 1;
    /* Two divisions are a tenth of a small call; only a huge count needs them. */
    if (u->count > UINT32_MAX && u->counts == NULL &&
        u->count > PTRDIFF_MAX / bytes / vectors)
        return dml__fail(ctx, DML_EINVAL, u->where, "count %zu is beyond memory",
                         u->count);
    return DML_OK;
}

/* The v-variants' offsets, in the caller's gaps or without; also sums the counts up. */
static dml_status set_blocks(const struct dml__user_call *u, struct dml__call *call,
                             size_t *offsets)
{
    size_t sum = 0, limit = PTRDIFF_MAX / call->elem_bytes;
    for (int i = 0; i < dml_comm_size(u->comm); i++) {
        offsets[i] = u->displs != NULL ? u->displs[i] : sum;
        if (u->counts[i] > limit - sum || offsets[i] > limit - u->counts[i])
            return dml__fail(dml_comm_ctx(u->comm), DML_EINVAL, u->where,
                             "count %zu or offset of rank %d is beyond memory",
                             u->counts[i], i);
        sum += u->counts[i];
    }
    call->counts = u->counts;
    call->offsets = offsets;
    call->total = sum;
    return DML_OK;
}

/* Elements of this rank's block, or of the whole vector where there are no blocks. */
static size_t own_elems(const struct dml__call *call)
{
    bool blocks = dml__traits(call->coll)->blocks;
    return blocks ? dml__block(call, dml_comm_rank(call->comm)).count : call->count;
}

/* Finds out where input and result lie, and refuses missing buffers. */
static dml_status resolve_buffers(const struct dml__user_call *u,
                                  struct dml__call *call)
{
    int rank = dml_comm_rank(u->comm);
    bool at_root = !dml__traits(u->coll)->rooted || rank == u->root;
    const struct dml__traits *traits = dml__traits(u->coll);
    size_t own = own_elems(call);
    call->send = u->send;
    call->recv = u->recv;
    size_t sent = traits->blocks && !traits->gives_block ? call->total : own;
    size_t received = traits->blocks && !traits->takes_block ? call->total : own;
    if (u->pieces != NULL) {
        call->in_place = true;
        call->pieces = u->pieces;
        call->npieces = u->npieces;
        return DML_OK; /* checked where they were counted */
    }
    switch (u->coll) {
    case DML_COLL_BARRIER:
        return DML_OK;
    case DML_COLL_BCAST:
        call->send = u->recv;
        break;
    case DML_COLL_SCATTER:
        call->in_place = at_root && u->recv == DML_IN_PLACE;
        sent = at_root ? call->total : 0;
        if (!at_root)
            call->send = NULL; /* ignored */
        if (call->in_place) {  /* the root's block stays where it is */
            call->recv = NULL;
            received = 0;
        }
        break;
    default:
        call->in_place = at_root && u->send == DML_IN_PLACE;
        if (call->in_place) {
            call->send = u->recv;
            if (traits->gives_block && u->recv != NULL)
                call->send = dml__at(call, dml__block(call, rank).offset);
        }
        if (!at_root)
            received = 0;
    }
    if ((call->send == NULL && sent > 0) || (call->recv == NULL && received > 0))
        return dml__fail(dml_comm_ctx(u->comm), DML_EINVAL, u->where,
                         "%s is NULL on rank %d",
                         call->coll == DML_COLL_BCAST     ? "the buffer"
                         : call->send == NULL && sent > 0 ? "send"
                                                          : "recv",
                         rank);
    if (call->send == DML_IN_PLACE || (received > 0 && call->recv == DML_IN_PLACE))
        return dml__fail(dml_comm_ctx(u->comm), DML_EINVAL, u->where,
                         "DML_IN_PLACE is not possible for this buffer on rank %d",
                         rank);
    return DML_OK;
}

/* Validates; v-variants' offsets go to "offsets" [P]. */
static dml_status describe(const struct dml__user_call *u, size_t *offsets,
                           struct dml__call *call)
{
    DML_TRY(check_scalars(u));
    *call = (struct dml__call){
        .coll = u->coll,
        .count = u->count,
        .dtype = u->dtype,
        .op = u->op,
        .root = u->root,
        .elem_bytes = dml_dtype_bytes(u->dtype),
        .comm = u->comm,
        .where = u->where,
    };
    if (u->counts != NULL)
        DML_TRY(set_blocks(u, call, offsets));
    else
        call->total = dml__traits(u->coll)->blocks
                          ? u->count * (size_t)dml_comm_size(u->comm)
                          : u->count;
    if (dml__reduces(u->coll) && !dml__reduction_init(call))
        return dml__fail(dml_comm_ctx(u->comm), DML_EINVAL, u->where,
                         "operation %d is unknown; use DML_SUM to DML_AVG, or one made "
                         "on this communicator",
                         (int)u->op);
    return resolve_buffers(u, call);
}

dml_status dml__last_status(const dml_comm *comm)
{
    dml_error error;
    dml_ctx_last_error(dml_comm_ctx(comm), &error);
    return error.status < 0 ? error.status : DML_EUNSUPPORTED;
}

/* What is wrong with the call before it is looked at closely; makes "offsets". */
static dml_status prepare(const struct dml__user_call *u, bool requested,
                          size_t **offsets)
{
    dml_ctx *ctx = dml_comm_ctx(u->comm);
    if (!requested)
        return dml__fail(ctx, DML_EINVAL, u->where, "request is NULL");
    if (u->has_counts && u->counts == NULL)
        return dml__fail(ctx, DML_EINVAL, u->where, "the array of counts is NULL");
    if (u->counts == NULL)
        return DML_OK;
    size_t nranks = (size_t)dml_comm_size(u->comm);
    *offsets = dml__alloc(ctx, nranks * sizeof **offsets);
    return *offsets != NULL ? DML_OK
                            : dml__fail(ctx, DML_ENOMEM, u->where,
                                        "no memory for %zu offsets", nranks);
}

/* The other ranks may have called well, and wait: tells them. */
static dml_status refuse(const struct dml__user_call *u, uint64_t seq,
                         dml_status status)
{
    dml__roll_refuse(u->comm, (int)u->coll, seq);
    return status;
}

/* Runs a blocking call, and records it. */
static dml_status run_traced(const struct dml__call *call, const struct dml__alg *alg)
{
    struct dml__trace *trace = dml__comm_trace(call->comm);
    if (trace == NULL)
        return dml__run(call, alg, NULL);
    dml__trace_enter(trace, call, alg->name);
    dml_status status = dml__run(call, alg, NULL);
    dml__trace_leave(trace);
    return status;
}

static const struct dml__alg *choose(const struct dml__call *call, bool may_measure)
{
    struct dml__trace *trace = dml__comm_trace(call->comm);
    if (trace != NULL)
        dml__trace_choosing(trace);
    const struct dml__alg *alg = dml__select(call, may_measure, NULL);
    if (trace != NULL)
        dml__trace_chosen(trace);
    return alg;
}

/* Chooses an algorithm for a good call, and does with it what is wanted. */
static dml_status carry_out(const struct dml__user_call *u, struct dml__call *call,
                            enum dml__mode mode, dml_request **request)
{
    bool alone = dml_comm_size(u->comm) == 1;
    if (!alone)
        dml__roll_enter(call);
    dml_status ready = dml__device_ready(call);
    if (ready < 0)
        return refuse(u, call->record.seq, ready);
    struct dml__coll_state *state = dml__coll_state(u->comm);
    if (state == NULL)
        return refuse(u, call->record.seq, dml__last_status(u->comm));
    bool may_measure =
        mode == DML__PLANNED || (mode == DML__BLOCKING && dml__count_call(call, state));
    const struct dml__alg *alg = choose(call, may_measure);
    if (alg == NULL)
        return refuse(u, call->record.seq, dml__last_status(u->comm));
    DML_TRY(dml__comm_check(u->comm, u->where)); /* measuring may have failed */
    if (!alone)
        dml__roll_chosen(call, dml__alg_number(u->coll, alg));
    if (mode == DML__BLOCKING)
        return run_traced(call, alg);
    if (mode == DML__STARTED)
        return dml__run(call, alg, request);
    dml_status status = dml__plan(call, alg, request);
    if (!alone)
        dml__roll_leave(u->comm, call->record.seq); /* each start is a call */
    return status;
}

static dml_status perform(const struct dml__user_call *u, enum dml__mode mode,
                          dml_request **request)
{
    struct dml__call call;
    size_t *offsets = NULL;
    DML_TRY(dml__comm_check(u->comm, u->where));
    dml_status status = prepare(u, mode == DML__BLOCKING || request != NULL, &offsets);
    if (status == DML_OK)
        status = describe(u, offsets, &call);
    if (status == DML_OK)
        status = dml__device_locate(&call);
    status =
        status == DML_OK ? carry_out(u, &call, mode, request) : refuse(u, 0, status);
    dml__free(offsets);
    return status;
}

dml_status dml__perform(const struct dml__user_call *u, enum dml__mode mode,
                        dml_request **request)
{
    if (u->comm == NULL)
        return DML_EINVAL;
    if (mode == DML__BLOCKING && dml__perform_alone(u))
        return DML_OK;
    dml__comm_enter(u->comm);
    dml_status status = perform(u, mode, request);
    dml__comm_leave(u->comm);
    return status;
}

/* The call that a query is about, of which only the size is known. */
static dml_status describe_query(const struct dml__user_call *u, bool wanted,
                                 struct dml__call *call)
{
    dml_ctx *ctx = dml_comm_ctx(u->comm);
    if (!wanted)
        return dml__fail(ctx, DML_EINVAL, u->where, "choice is NULL");
    if ((int)u->coll < 0 || (int)u->coll >= DML_NCOLLS)
        return dml__fail(ctx, DML_EINVAL, u->where, "unknown collective %d",
                         (int)u->coll);
    DML_TRY(check_scalars(u));
    *call = (struct dml__call){.coll = u->coll,
                               .count = u->count,
                               .total = u->count,
                               .dtype = u->dtype,
                               .op = u->op,
                               .elem_bytes = dml_dtype_bytes(u->dtype),
                               .may_stage = dml__device_in_use(u->comm),
                               .comm = u->comm,
                               .where = u->where};
    if (dml__reduces(u->coll) && !dml__reduction_init(call))
        return dml__fail(ctx, DML_EINVAL, u->where, "operation %d is unknown",
                         (int)u->op);
    return DML_OK;
}

static dml_status query(const struct dml__user_call *u, dml_choice *choice)
{
    struct dml__call call;
    dml_choice found = {0};
    bool alone = dml_comm_size(u->comm) == 1;
    DML_TRY(dml__comm_check(u->comm, u->where));
    dml_status status = describe_query(u, choice != NULL, &call);
    if (status < 0) {
        dml__roll_refuse(u->comm, DML__QUERY, 0);
        return status;
    }
    uint64_t seq = alone ? 0 : dml__roll_enter_query(u->comm, u->count);
    bool chosen = dml__select(&call, true, &found) != NULL;
    if (!alone)
        dml__roll_leave_query(u->comm, seq);
    if (!chosen)
        return dml__last_status(u->comm);
    *choice = found;
    return DML_OK;
}

dml_status dml_algorithm_query(dml_coll coll, size_t count, dml_dtype dtype, dml_op op,
                               dml_comm *comm, dml_choice *choice)
{
    struct dml__user_call u = {.coll = coll,
                               .count = count,
                               .dtype = dtype,
                               .op = op,
                               .comm = comm,
                               .where = __func__};
    if (comm == NULL)
        return DML_EINVAL;
    dml__comm_enter(comm);
    dml_status status = query(&u, choice);
    dml__comm_leave(comm);
    return status;
}
