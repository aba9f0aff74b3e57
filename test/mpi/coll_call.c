/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same collective called three ways: libdml's blocking call, libdml's i-variant,
 * and MPI's own. The only place of the tests that spells out their argument lists.
 */
#include "coll_case.h"

#include <string.h>

static dml_op op_of(const struct coll_plan *p)
{
    if (p->c.op != OP_PREMUL)
        return p->c.op;
    return numbers_is_float(p->c.dtype) ? p->env->premul_float : p->env->premul_integer;
}

/* The v-variants, blocking when request is NULL. */
static dml_status call_uneven(const struct coll_plan *p, const void *send, void *recv,
                              dml_request **request)
{
    const size_t *counts = p->counts, *displs = p->c.gaps ? p->displs : NULL;
    dml_dtype type = p->c.dtype;
    dml_comm *comm = p->env->comm;
    int root = p->c.root;
    switch (p->c.coll) {
    case DML_COLL_REDUCE_SCATTER:
        return request == NULL
                   ? dml_reduce_scatterv(send, recv, counts, type, op_of(p), comm)
                   : dml_ireduce_scatterv(send, recv, counts, type, op_of(p), comm,
                                          request);
    case DML_COLL_ALLGATHER:
        return request == NULL
                   ? dml_allgatherv(send, recv, counts, displs, type, comm)
                   : dml_iallgatherv(send, recv, counts, displs, type, comm, request);
    case DML_COLL_GATHER:
        return request == NULL
                   ? dml_gatherv(send, recv, counts, displs, type, root, comm)
                   : dml_igatherv(send, recv, counts, displs, type, root, comm,
                                  request);
    default:
        return request == NULL
                   ? dml_scatterv(send, recv, counts, displs, type, root, comm)
                   : dml_iscatterv(send, recv, counts, displs, type, root, comm,
                                   request);
    }
}

static dml_status call_blocking(const struct coll_plan *p, const void *send, void *recv)
{
    size_t n = p->c.count;
    dml_dtype type = p->c.dtype;
    dml_comm *comm = p->env->comm;
    int root = p->c.root;
    switch (p->c.coll) {
    case DML_COLL_ALLREDUCE:
        return dml_allreduce(send, recv, n, type, op_of(p), comm);
    case DML_COLL_REDUCE_SCATTER:
        return dml_reduce_scatter(send, recv, n, type, op_of(p), comm);
    case DML_COLL_ALLGATHER:
        return dml_allgather(send, recv, n, type, comm);
    case DML_COLL_BCAST:
        return dml_bcast(recv, n, type, root, comm);
    case DML_COLL_REDUCE:
        return dml_reduce(send, recv, n, type, op_of(p), root, comm);
    case DML_COLL_GATHER:
        return dml_gather(send, recv, n, type, root, comm);
    case DML_COLL_SCATTER:
        return dml_scatter(send, recv, n, type, root, comm);
    case DML_COLL_ALLTOALL:
        return dml_alltoall(send, recv, n, type, comm);
    default:
        return dml_barrier(comm);
    }
}

static dml_status call_async(const struct coll_plan *p, const void *send, void *recv,
                             dml_request **request)
{
    size_t n = p->c.count;
    dml_dtype type = p->c.dtype;
    dml_comm *comm = p->env->comm;
    int root = p->c.root;
    switch (p->c.coll) {
    case DML_COLL_ALLREDUCE:
        return dml_iallreduce(send, recv, n, type, op_of(p), comm, request);
    case DML_COLL_REDUCE_SCATTER:
        return dml_ireduce_scatter(send, recv, n, type, op_of(p), comm, request);
    case DML_COLL_ALLGATHER:
        return dml_iallgather(send, recv, n, type, comm, request);
    case DML_COLL_BCAST:
        return dml_ibcast(recv, n, type, root, comm, request);
    case DML_COLL_REDUCE:
        return dml_ireduce(send, recv, n, type, op_of(p), root, comm, request);
    case DML_COLL_GATHER:
        return dml_igather(send, recv, n, type, root, comm, request);
    case DML_COLL_SCATTER:
        return dml_iscatter(send, recv, n, type, root, comm, request);
    case DML_COLL_ALLTOALL:
        return dml_ialltoall(send, recv, n, type, comm, request);
    default:
        return dml_ibarrier(comm, request);
    }
}

dml_status coll_call_dml(const struct coll_plan *p, const void *send, void *recv,
                         dml_request **request)
{
    if (p->c.uneven)
        return call_uneven(p, send, recv, request);
    return request == NULL ? call_blocking(p, send, recv)
                           : call_async(p, send, recv, request);
}

/* A request to be started. Its counts do not outlive this call. */
dml_status coll_init_dml(const struct coll_plan *p, const void *send, void *recv,
                         dml_request **request)
{
    size_t counts[DML_TEST_MAX_RANKS], displs[DML_TEST_MAX_RANKS];
    memcpy(counts, p->counts, sizeof counts);
    memcpy(displs, p->displs, sizeof displs);
    dml_coll_args args = {.size = sizeof args,
                          .coll = p->c.coll,
                          .send = send,
                          .recv = recv,
                          .count = p->c.count,
                          .counts = p->c.uneven ? counts : NULL,
                          .displs = p->c.gaps ? displs : NULL,
                          .dtype = p->c.dtype,
                          .op = op_of(p),
                          .root = p->c.root};
    return dml_coll_init(&args, p->env->comm, request);
}

/* ---- MPI ---------------------------------------------------------------------------
 */

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
    default: /* the 16-bit floats, which can be moved but not reduced */
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

/* Where an MPI library is known to be wrong it is no reference: Open MPI 4.1 saturates
 * sums of 8-bit integers, MPICH 4.0 compares unsigned integers as signed ones, and
 * alone it forgets the offsets of MPI_Allgatherv. */
bool coll_mpi_can(const struct coll_plan *p)
{
    const struct coll_case *c = &p->c;
    if (!coll_reduces(c->coll))
        return !c->gaps || p->env->nranks > 1;
    bool extreme = c->op == DML_MIN || c->op == DML_MAX;
    if (c->dtype == DML_U8 || c->dtype == DML_U64)
        return c->op == DML_PROD || (c->op == DML_SUM && c->dtype == DML_U64);
    if (c->dtype == DML_I8)
        return c->op == DML_PROD || extreme;
    return c->dtype != DML_F16 && c->dtype != DML_BF16 &&
           (c->op == DML_SUM || c->op == DML_PROD || extreme);
}

/* The v-variants of MPI, which serve blocks of one size as well. */
void coll_call_mpi(const struct coll_plan *p, const void *send, void *recv)
{
    int counts[DML_TEST_MAX_RANKS], displs[DML_TEST_MAX_RANKS];
    for (int r = 0; r < p->env->nranks; r++) {
        counts[r] = (int)p->counts[r];
        displs[r] = (int)p->displs[r];
    }
    int n = (int)p->c.count, own = counts[p->env->rank], root = p->c.root;
    MPI_Datatype type = mpi_type(p->c.dtype);
    MPI_Op op = mpi_op(p->c.op);
    MPI_Comm comm = p->env->mpi;
    switch (p->c.coll) {
    case DML_COLL_ALLREDUCE:
        MPI_Allreduce(send, recv, n, type, op, comm);
        break;
    case DML_COLL_REDUCE_SCATTER:
        MPI_Reduce_scatter(send, recv, counts, type, op, comm);
        break;
    case DML_COLL_ALLGATHER:
        MPI_Allgatherv(send, own, type, recv, counts, displs, type, comm);
        break;
    case DML_COLL_BCAST:
        MPI_Bcast(recv, n, type, root, comm);
        break;
    case DML_COLL_REDUCE:
        MPI_Reduce(send, recv, n, type, op, root, comm);
        break;
    case DML_COLL_GATHER:
        MPI_Gatherv(send, own, type, recv, counts, displs, type, root, comm);
        break;
    case DML_COLL_SCATTER:
        MPI_Scatterv(send, counts, displs, type, recv, own, type, root, comm);
        break;
    case DML_COLL_ALLTOALL:
        MPI_Alltoall(send, n, type, recv, n, type, comm);
        break;
    default:
        MPI_Barrier(comm);
    }
}
