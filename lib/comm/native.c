/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MPI library's own algorithms as one more choice: whatever it does well we do not
 * have to beat. Blocking calls use its blocking collectives, which are tuned better
 * than its non-blocking ones.
 */
#include "comm/comm_internal.h"
#include "comm/guard.h"
#include "comm/watch.h"

#include <limits.h>

static MPI_Datatype mpi_dtype(dml_dtype dtype)
{
    switch (dtype) {
    case DML_F32:
        return MPI_FLOAT;
    case DML_F64:
        return MPI_DOUBLE;
    case DML_F16:
    case DML_BF16:
        return MPI_UINT16_T; /* moved, never reduced */
    case DML_I8:
        return MPI_INT8_T;
    case DML_U8:
        return MPI_UINT8_T;
    case DML_I32:
        return MPI_INT32_T;
    case DML_I64:
        return MPI_INT64_T;
    case DML_U64:
        return MPI_UINT64_T;
    }
    return MPI_DATATYPE_NULL;
}

static MPI_Op mpi_op(dml_op op)
{
    switch ((int)op) {
    case DML_SUM:
    case DML_AVG: /* divided afterwards, by the step that follows */
        return MPI_SUM;
    case DML_PROD:
        return MPI_PROD;
    case DML_MIN:
        return MPI_MIN;
    case DML_MAX:
        return MPI_MAX;
    default:
        return MPI_OP_NULL;
    }
}

const char *dml__native_supports(const struct dml__call *call)
{
    if (call->total > INT_MAX)
        return "MPI counts are int";
    for (int i = 0; call->offsets != NULL && i < call->comm->size; i++)
        if (call->offsets[i] > INT_MAX)
            return "MPI displacements are int";
    if (!dml__reduces(call->coll))
        return NULL;
    if (call->coll == DML_COLL_REDUCE_SCATTER && call->in_place)
        return "MPI may use the rest of the vector as scratch"; /* MPICH 4.0 does */
    if (call->dtype == DML_F16 || call->dtype == DML_BF16)
        return "MPI has no 16-bit floats";
#ifdef MPICH_VERSION
    if (call->coll == DML_COLL_REDUCE && call->root != 0)
        return "MPICH 4.0 crashes when a root other than 0 reduces in place";
#endif
    bool is_unsigned = call->dtype == DML_U8 || call->dtype == DML_U64;
    if (is_unsigned && (call->op == DML_MIN || call->op == DML_MAX))
        return "MPI libraries may compare unsigned integers as signed ones";
    if (dml_dtype_bytes(call->dtype) == 1 &&
        (call->op == DML_SUM || call->op == DML_AVG))
        return "MPI libraries may saturate 8-bit sums, which wrap here";
    if (call->op != DML_SUM && mpi_op(call->op) == MPI_OP_NULL)
        return "MPI has no pre-multiplied sum";
    bool is_float = call->dtype == DML_F32 || call->dtype == DML_F64;
    if (is_float && (call->op == DML_MIN || call->op == DML_MAX))
        return "MPI does not promise to hand NaN on";
    return NULL;
}

/* The buffers as MPI wants them: MPI_IN_PLACE in the send or the receive argument. */
static const void *send_arg(const struct dml__call *c)
{
    bool at_root = c->comm->rank == c->root;
    switch (c->coll) {
    case DML_COLL_REDUCE:
    case DML_COLL_GATHER:
        return c->in_place && at_root ? MPI_IN_PLACE : c->send;
    case DML_COLL_SCATTER:
        return c->send;
    default:
        return c->in_place ? MPI_IN_PLACE : c->send;
    }
}

static void *recv_arg(const struct dml__call *c)
{
    if (c->coll == DML_COLL_SCATTER && c->in_place && c->comm->rank == c->root)
        return MPI_IN_PLACE;
    return c->recv;
}

/* Counts what this rank passes to MPI and gets from it: what MPI sends for it is MPI's
 * business. */
static void count_bytes(const struct dml__call *c)
{
    dml_comm *comm = c->comm;
    bool at_root = comm->rank == c->root;
    size_t own = c->counts != NULL ? c->counts[comm->rank] : c->count;
    size_t given = own, got = own;
    switch (c->coll) {
    case DML_COLL_REDUCE_SCATTER:
        given = c->total;
        break;
    case DML_COLL_ALLGATHER:
        got = c->total;
        break;
    case DML_COLL_ALLTOALL:
        given = got = c->total;
        break;
    case DML_COLL_BCAST:
        given = at_root ? own : 0;
        got = at_root ? 0 : own;
        break;
    case DML_COLL_REDUCE:
        got = at_root ? own : 0;
        break;
    case DML_COLL_GATHER:
        got = at_root ? c->total : 0;
        break;
    case DML_COLL_SCATTER:
        given = at_root ? c->total : 0;
        break;
    default: /* all-reduce: the whole vector both ways; barrier: nothing */
        break;
    }
    comm->stats.bytes_sent += given * c->elem_bytes;
    comm->stats.bytes_received += got * c->elem_bytes;
    comm->stats.messages_sent++;
}

dml_status dml__native_run(const struct dml__call *c)
{
    dml_comm *comm = c->comm;
    MPI_Datatype type = mpi_dtype(c->dtype);
    MPI_Op op = mpi_op(c->op);
    int n = (int)c->count, code = MPI_SUCCESS;
    if (comm->active != NULL)
        DML_TRY(dml__comm_drain(comm));
    const void *send = send_arg(c);
    void *recv = recv_arg(c);
    size_t bytes = c->count * c->elem_bytes;
    bool timed = bytes >= 4096; /* two clock reads are a tenth of a small call */
    double begin_s = timed ? dml__now_s() : 0;
    dml__guard_begin(comm);
    switch (c->coll) {
    case DML_COLL_ALLREDUCE:
        code = MPI_Allreduce(send, recv, n, type, op, comm->coll);
        break;
    case DML_COLL_REDUCE_SCATTER:
        code = MPI_Reduce_scatter_block(send, recv, n, type, op, comm->coll);
        break;
    case DML_COLL_ALLGATHER:
        code = MPI_Allgather(send, n, type, recv, n, type, comm->coll);
        break;
    case DML_COLL_BCAST:
        code = MPI_Bcast(recv, n, type, c->root, comm->coll);
        break;
    case DML_COLL_REDUCE:
        code = MPI_Reduce(send, recv, n, type, op, c->root, comm->coll);
        break;
    case DML_COLL_GATHER:
        code = MPI_Gather(send, n, type, recv, n, type, c->root, comm->coll);
        break;
    case DML_COLL_SCATTER:
        code = MPI_Scatter(send, n, type, recv, n, type, c->root, comm->coll);
        break;
    case DML_COLL_ALLTOALL:
        code = MPI_Alltoall(send, n, type, recv, n, type, comm->coll);
        break;
    case DML_COLL_BARRIER:
        code = MPI_Barrier(comm->coll);
        break;
    }
    count_bytes(c);
    if (timed)
        comm->stats.wait_s += dml__now_s() - begin_s;
    dml__guard_end(comm);
    dml__watch_waited(comm);
    return dml__guard_verify(c, code);
}

/* Counts and offsets of a v-variant as MPI's ints, in scratch [2P]. */
static void int_counts(const struct dml__call *c, int *scratch, int **counts,
                       int **displs)
{
    int nranks = c->comm->size;
    *counts = scratch;
    *displs = scratch + nranks;
    for (int i = 0; i < nranks; i++) {
        (*counts)[i] = (int)c->counts[i];
        (*displs)[i] = (int)c->offsets[i];
    }
}

static int start_v(const struct dml__call *c, int *scratch, MPI_Request *mpi)
{
    dml_comm *comm = c->comm;
    MPI_Datatype type = mpi_dtype(c->dtype);
    const void *send = send_arg(c);
    void *recv = recv_arg(c);
    int *counts = NULL, *displs = NULL;
    int_counts(c, scratch, &counts, &displs);
    int own = counts[comm->rank];
    switch (c->coll) {
    case DML_COLL_REDUCE_SCATTER:
        return MPI_Ireduce_scatter(send, recv, counts, type, mpi_op(c->op), comm->coll,
                                   mpi);
    case DML_COLL_ALLGATHER:
        return MPI_Iallgatherv(send, own, type, recv, counts, displs, type, comm->coll,
                               mpi);
    case DML_COLL_GATHER:
        return MPI_Igatherv(send, own, type, recv, counts, displs, type, c->root,
                            comm->coll, mpi);
    case DML_COLL_SCATTER:
        return MPI_Iscatterv(send, counts, displs, type, recv, own, type, c->root,
                             comm->coll, mpi);
    default:
        return MPI_ERR_ARG; /* no other collective has blocks of different sizes */
    }
}

int dml__native_start(const struct dml__call *c, int *scratch, MPI_Request *mpi)
{
    dml_comm *comm = c->comm;
    MPI_Datatype type = mpi_dtype(c->dtype);
    MPI_Op op = mpi_op(c->op);
    int n = (int)c->count;
    const void *send = send_arg(c);
    void *recv = recv_arg(c);
    count_bytes(c);
    if (c->counts != NULL)
        return start_v(c, scratch, mpi);
    switch (c->coll) {
    case DML_COLL_ALLREDUCE:
        return MPI_Iallreduce(send, recv, n, type, op, comm->coll, mpi);
    case DML_COLL_REDUCE_SCATTER:
        return MPI_Ireduce_scatter_block(send, recv, n, type, op, comm->coll, mpi);
    case DML_COLL_ALLGATHER:
        return MPI_Iallgather(send, n, type, recv, n, type, comm->coll, mpi);
    case DML_COLL_BCAST:
        return MPI_Ibcast(recv, n, type, c->root, comm->coll, mpi);
    case DML_COLL_REDUCE:
        return MPI_Ireduce(send, recv, n, type, op, c->root, comm->coll, mpi);
    case DML_COLL_GATHER:
        return MPI_Igather(send, n, type, recv, n, type, c->root, comm->coll, mpi);
    case DML_COLL_SCATTER:
        return MPI_Iscatter(send, n, type, recv, n, type, c->root, comm->coll, mpi);
    case DML_COLL_ALLTOALL:
        return MPI_Ialltoall(send, n, type, recv, n, type, comm->coll, mpi);
    case DML_COLL_BARRIER:
        return MPI_Ibarrier(comm->coll, mpi);
    }
    return MPI_ERR_ARG;
}
