/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reductions and the barrier. MPI asks all ranks for the same count, type and
 * operation, so these decide.
 *
 * Programs that pass one buffer as input and output, which MPI forbids and some MPI
 * libraries accept, are understood as MPI_IN_PLACE.
 */
#include "shim/shim.h"

/* Where libdml finds the input. */
static const void *input(const void *send, const void *recv)
{
    bool same = send == recv && send != NULL; /* NULL is legal where nothing is sent */
    return send == MPI_IN_PLACE || same ? DML_IN_PLACE : send;
}

/* Buffers that MPI would refuse, as far as one rank can see. */
static bool buffers_ok(const void *send, const void *recv, bool empty)
{
    return empty || (send != NULL && recv != NULL && recv != MPI_IN_PLACE);
}

DML__SHIM_API int MPI_Allreduce(const void *send, void *recv, int count,
                                MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    dml_dtype dtype = DML_F32;
    dml_op dop = DML_SUM;
    struct dml__shim_comm *c =
        dml__shim_use(DML__SHIM_ALLREDUCE, comm,
                      dml__shim_reduction(type, op, &dtype, &dop) && count >= 0 &&
                          buffers_ok(send, recv, count == 0));
    if (c == NULL) {
        dml__shim_count(DML__SHIM_ALLREDUCE, false);
        return PMPI_Allreduce(send, recv, count, type, op, comm);
    }
    return dml__shim_result(
        DML__SHIM_ALLREDUCE, comm,
        dml_allreduce(input(send, recv), recv, (size_t)count, dtype, dop, c->dml));
}

DML__SHIM_API int MPI_Iallreduce(const void *send, void *recv, int count,
                                 MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                                 MPI_Request *request)
{
    /* An MPI request that MPI_Wait completes would need a thread that progresses
     * libdml; see doc/mpi-shim.md. */
    dml__shim_count(DML__SHIM_IALLREDUCE, false);
    return PMPI_Iallreduce(send, recv, count, type, op, comm, request);
}

DML__SHIM_API int MPI_Reduce(const void *send, void *recv, int count, MPI_Datatype type,
                             MPI_Op op, int root, MPI_Comm comm)
{
    dml_dtype dtype = DML_F32;
    dml_op dop = DML_SUM;
    struct dml__shim_comm *c =
        dml__shim_use(DML__SHIM_REDUCE, comm,
                      dml__shim_reduction(type, op, &dtype, &dop) && count >= 0 &&
                          (send != NULL || count == 0));
    bool at_root = c != NULL && c->rank == root;
    if (c == NULL || root < 0 || root >= c->size ||
        (at_root ? !buffers_ok(send, recv, count == 0) : send == MPI_IN_PLACE)) {
        dml__shim_count(DML__SHIM_REDUCE, false);
        return PMPI_Reduce(send, recv, count, type, op, root, comm);
    }
    return dml__shim_result(DML__SHIM_REDUCE, comm,
                            dml_reduce(at_root ? input(send, recv) : send,
                                       at_root ? recv : NULL, (size_t)count, dtype, dop,
                                       root, c->dml));
}

DML__SHIM_API int MPI_Reduce_scatter_block(const void *send, void *recv, int count,
                                           MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    dml_dtype dtype = DML_F32;
    dml_op dop = DML_SUM;
    struct dml__shim_comm *c =
        dml__shim_use(DML__SHIM_REDUCE_SCATTER_BLOCK, comm,
                      dml__shim_reduction(type, op, &dtype, &dop) && count >= 0 &&
                          buffers_ok(send, recv, count == 0));
    if (c == NULL) {
        dml__shim_count(DML__SHIM_REDUCE_SCATTER_BLOCK, false);
        return PMPI_Reduce_scatter_block(send, recv, count, type, op, comm);
    }
    return dml__shim_result(
        DML__SHIM_REDUCE_SCATTER_BLOCK, comm,
        dml_reduce_scatter(input(send, recv), recv, (size_t)count, dtype, dop, c->dml));
}

DML__SHIM_API int MPI_Reduce_scatter(const void *send, void *recv, const int counts[],
                                     MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    dml_dtype dtype = DML_F32;
    dml_op dop = DML_SUM;
    struct dml__shim_comm *c =
        dml__shim_use(DML__SHIM_REDUCE_SCATTER, comm,
                      dml__shim_reduction(type, op, &dtype, &dop) && counts != NULL);
    bool valid = c != NULL, empty = true;
    for (int i = 0; valid && i < c->size; i++) {
        valid = counts[i] >= 0;
        c->counts[i] = (size_t)counts[i];
        empty = empty && counts[i] == 0;
    }
    bool nothing_here = valid && counts[c->rank] == 0;
    if (!valid || (!empty && (send == NULL || recv == MPI_IN_PLACE ||
                              (recv == NULL && !nothing_here)))) {
        dml__shim_count(DML__SHIM_REDUCE_SCATTER, false);
        return PMPI_Reduce_scatter(send, recv, counts, type, op, comm);
    }
    return dml__shim_result(
        DML__SHIM_REDUCE_SCATTER, comm,
        dml_reduce_scatterv(input(send, recv), recv, c->counts, dtype, dop, c->dml));
}

DML__SHIM_API int MPI_Barrier(MPI_Comm comm)
{
    struct dml__shim_comm *c = dml__shim_use(DML__SHIM_BARRIER, comm, true);
    if (c == NULL) {
        dml__shim_count(DML__SHIM_BARRIER, false);
        return PMPI_Barrier(comm);
    }
    return dml__shim_result(DML__SHIM_BARRIER, comm, dml_barrier(c->dml));
}
