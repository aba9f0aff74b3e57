/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reductions and the barrier. MPI asks all ranks for the same count, type and
 * operation, so these decide.
 */
#include "shim/shim.h"

DML__SHIM_API int MPI_Allreduce(const void *send, void *recv, int count,
                                MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    dml_dtype dtype = DML_F32;
    dml_op dop = DML_SUM;
    struct dml__shim_comm *c =
        dml__shim_use(DML__SHIM_ALLREDUCE, comm,
                      dml__shim_reduction(type, op, &dtype, &dop) && count >= 0 &&
                          dml__shim_buffers_ok(send, recv, count == 0));
    if (c == NULL) {
        dml__shim_count(DML__SHIM_ALLREDUCE, false);
        return PMPI_Allreduce(send, recv, count, type, op, comm);
    }
    return dml__shim_result(DML__SHIM_ALLREDUCE, c,
                            dml_allreduce(dml__shim_input(send, recv), recv,
                                          (size_t)count, dtype, dop, c->dml));
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
        (at_root ? !dml__shim_buffers_ok(send, recv, count == 0)
                 : send == MPI_IN_PLACE)) {
        dml__shim_count(DML__SHIM_REDUCE, false);
        return PMPI_Reduce(send, recv, count, type, op, root, comm);
    }
    return dml__shim_result(DML__SHIM_REDUCE, c,
                            dml_reduce(at_root ? dml__shim_input(send, recv) : send,
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
                          dml__shim_buffers_ok(send, recv, count == 0));
    if (c == NULL) {
        dml__shim_count(DML__SHIM_REDUCE_SCATTER_BLOCK, false);
        return PMPI_Reduce_scatter_block(send, recv, count, type, op, comm);
    }
    return dml__shim_result(DML__SHIM_REDUCE_SCATTER_BLOCK, c,
                            dml_reduce_scatter(dml__shim_input(send, recv), recv,
                                               (size_t)count, dtype, dop, c->dml));
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
    return dml__shim_result(DML__SHIM_REDUCE_SCATTER, c,
                            dml_reduce_scatterv(dml__shim_input(send, recv), recv,
                                                c->counts, dtype, dop, c->dml));
}

DML__SHIM_API int MPI_Barrier(MPI_Comm comm)
{
    struct dml__shim_comm *c = dml__shim_use(DML__SHIM_BARRIER, comm, true);
    if (c == NULL) {
        dml__shim_count(DML__SHIM_BARRIER, false);
        return PMPI_Barrier(comm);
    }
    return dml__shim_result(DML__SHIM_BARRIER, c, dml_barrier(c->dml));
}
