/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The argument lists of the nine collectives, for libdml and for MPI. Root is rank 0.
 */
#include "perf_coll.h"

#include <limits.h>

bool perf_coll_reduces(dml_coll coll)
{
    return coll == DML_COLL_ALLREDUCE || coll == DML_COLL_REDUCE_SCATTER ||
           coll == DML_COLL_REDUCE;
}

/* Size counts the blocks of all ranks. */
static bool has_blocks(dml_coll coll)
{
    return coll == DML_COLL_REDUCE_SCATTER || coll == DML_COLL_ALLGATHER ||
           coll == DML_COLL_GATHER || coll == DML_COLL_SCATTER ||
           coll == DML_COLL_ALLTOALL;
}

void perf_coll_shape(struct perf_coll *c, size_t bytes)
{
    dml_coll coll = c->o->coll;
    size_t blocks = has_blocks(coll) ? (size_t)c->nranks : 1;
    bool root = c->rank == 0;
    c->element = dml_dtype_bytes(c->o->dtype);
    c->count = bytes / c->element / blocks;
    if (c->count == 0)
        c->count = 1;
    if (coll == DML_COLL_BARRIER)
        c->count = 0;
    size_t all = c->count * blocks;
    c->bytes = all * c->element;
    c->send_len =
        coll == DML_COLL_ALLGATHER || coll == DML_COLL_GATHER ? c->count : all;
    c->recv_len =
        coll == DML_COLL_REDUCE_SCATTER || coll == DML_COLL_SCATTER ? c->count : all;
    if (coll == DML_COLL_BCAST || (coll == DML_COLL_SCATTER && !root))
        c->send_len = 0;
    if ((coll == DML_COLL_REDUCE || coll == DML_COLL_GATHER) && !root)
        c->recv_len = 0;
}

double perf_coll_bus_factor(dml_coll coll, int nranks)
{
    double n = nranks;
    if (coll == DML_COLL_ALLREDUCE)
        return 2 * (n - 1) / n;
    return has_blocks(coll) ? (n - 1) / n : 1;
}

/* ---- libdml ------------------------------------------------------------------------
 */

static dml_status start(const struct perf_coll *c, dml_comm *comm, const void *send,
                        void *recv, dml_request **request)
{
    size_t n = c->count;
    dml_dtype type = c->o->dtype;
    dml_op op = c->o->op;
    switch (c->o->coll) {
    case DML_COLL_ALLREDUCE:
        return dml_iallreduce(send, recv, n, type, op, comm, request);
    case DML_COLL_REDUCE_SCATTER:
        return dml_ireduce_scatter(send, recv, n, type, op, comm, request);
    case DML_COLL_ALLGATHER:
        return dml_iallgather(send, recv, n, type, comm, request);
    case DML_COLL_BCAST:
        return dml_ibcast(recv, n, type, 0, comm, request);
    case DML_COLL_REDUCE:
        return dml_ireduce(send, recv, n, type, op, 0, comm, request);
    case DML_COLL_GATHER:
        return dml_igather(send, recv, n, type, 0, comm, request);
    case DML_COLL_SCATTER:
        return dml_iscatter(send, recv, n, type, 0, comm, request);
    case DML_COLL_ALLTOALL:
        return dml_ialltoall(send, recv, n, type, comm, request);
    default:
        return dml_ibarrier(comm, request);
    }
}

dml_status perf_coll_dml(const struct perf_coll *c, dml_comm *comm, const void *send,
                         void *recv)
{
    size_t n = c->count;
    dml_dtype type = c->o->dtype;
    dml_op op = c->o->op;
    if (c->o->in_place)
        send = DML_IN_PLACE;
    if (c->o->async) {
        dml_request *request = NULL;
        dml_status status = start(c, comm, send, recv, &request);
        return status != DML_OK ? status : dml_wait(&request);
    }
    switch (c->o->coll) {
    case DML_COLL_ALLREDUCE:
        return dml_allreduce(send, recv, n, type, op, comm);
    case DML_COLL_REDUCE_SCATTER:
        return dml_reduce_scatter(send, recv, n, type, op, comm);
    case DML_COLL_ALLGATHER:
        return dml_allgather(send, recv, n, type, comm);
    case DML_COLL_BCAST:
        return dml_bcast(recv, n, type, 0, comm);
    case DML_COLL_REDUCE:
        return dml_reduce(send, recv, n, type, op, 0, comm);
    case DML_COLL_GATHER:
        return dml_gather(send, recv, n, type, 0, comm);
    case DML_COLL_SCATTER:
        return dml_scatter(send, recv, n, type, 0, comm);
    case DML_COLL_ALLTOALL:
        return dml_alltoall(send, recv, n, type, comm);
    default:
        return dml_barrier(comm);
    }
}

/* ---- MPI ---------------------------------------------------------------------------
 */

/* 16-bit floats can be moved as integers, but not reduced. */
static MPI_Datatype mpi_type(dml_dtype dtype)
{
    switch (dtype) {
    case DML_F32:
        return MPI_FLOAT;
    case DML_F64:
        return MPI_DOUBLE;
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
    default:
        return MPI_UINT16_T;
    }
}

static MPI_Op mpi_op(dml_op op)
{
    switch (op) {
    case DML_SUM:
        return MPI_SUM;
    case DML_PROD:
        return MPI_PROD;
    case DML_MIN:
        return MPI_MIN;
    default:
        return MPI_MAX;
    }
}

static bool half_op_needed(const struct perf_coll *c)
{
    return c->o->dtype == DML_F16 || c->o->dtype == DML_BF16;
}

bool perf_coll_mpi_can(const struct perf_coll *c)
{
    if (c->count > INT_MAX)
        return false;
    return !perf_coll_reduces(c->o->coll) ||
           (c->o->op != DML_AVG && (half_op_needed(c) == (c->half_op != MPI_OP_NULL)));
}

static void mpi_blocking(const struct perf_coll *c, MPI_Comm mpi, const void *send,
                         void *recv)
{
    int n = (int)c->count;
    MPI_Datatype type = mpi_type(c->o->dtype);
    MPI_Op op = c->half_op != MPI_OP_NULL ? c->half_op : mpi_op(c->o->op);
    switch (c->o->coll) {
    case DML_COLL_ALLREDUCE:
        MPI_Allreduce(send, recv, n, type, op, mpi);
        break;
    case DML_COLL_REDUCE_SCATTER:
        MPI_Reduce_scatter_block(send, recv, n, type, op, mpi);
        break;
    case DML_COLL_ALLGATHER:
        MPI_Allgather(send, n, type, recv, n, type, mpi);
        break;
    case DML_COLL_BCAST:
        MPI_Bcast(recv, n, type, 0, mpi);
        break;
    case DML_COLL_REDUCE:
        MPI_Reduce(send, recv, n, type, op, 0, mpi);
        break;
    case DML_COLL_GATHER:
        MPI_Gather(send, n, type, recv, n, type, 0, mpi);
        break;
    case DML_COLL_SCATTER:
        MPI_Scatter(send, n, type, recv, n, type, 0, mpi);
        break;
    case DML_COLL_ALLTOALL:
        MPI_Alltoall(send, n, type, recv, n, type, mpi);
        break;
    default:
        MPI_Barrier(mpi);
    }
}

static void mpi_async(const struct perf_coll *c, MPI_Comm mpi, const void *send,
                      void *recv)
{
    int n = (int)c->count;
    MPI_Datatype type = mpi_type(c->o->dtype);
    MPI_Op op = c->half_op != MPI_OP_NULL ? c->half_op : mpi_op(c->o->op);
    MPI_Request request;
    switch (c->o->coll) {
    case DML_COLL_ALLREDUCE:
        MPI_Iallreduce(send, recv, n, type, op, mpi, &request);
        break;
    case DML_COLL_REDUCE_SCATTER:
        MPI_Ireduce_scatter_block(send, recv, n, type, op, mpi, &request);
        break;
    case DML_COLL_ALLGATHER:
        MPI_Iallgather(send, n, type, recv, n, type, mpi, &request);
        break;
    case DML_COLL_BCAST:
        MPI_Ibcast(recv, n, type, 0, mpi, &request);
        break;
    case DML_COLL_REDUCE:
        MPI_Ireduce(send, recv, n, type, op, 0, mpi, &request);
        break;
    case DML_COLL_GATHER:
        MPI_Igather(send, n, type, recv, n, type, 0, mpi, &request);
        break;
    case DML_COLL_SCATTER:
        MPI_Iscatter(send, n, type, recv, n, type, 0, mpi, &request);
        break;
    case DML_COLL_ALLTOALL:
        MPI_Ialltoall(send, n, type, recv, n, type, mpi, &request);
        break;
    default:
        MPI_Ibarrier(mpi, &request);
    }
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

void perf_coll_mpi(const struct perf_coll *c, MPI_Comm mpi, const void *send,
                   void *recv)
{
    if (c->o->in_place)
        send = MPI_IN_PLACE;
    if (c->o->async)
        mpi_async(c, mpi, send, recv);
    else
        mpi_blocking(c, mpi, send, recv);
}
