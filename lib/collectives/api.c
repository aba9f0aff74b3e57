/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public names of the collectives: each says which arguments it has, and hands them
 * to the path that all take.
 */
#include "collectives/user_call.h"

dml_status dml_allreduce(const void *send, void *recv, size_t count, dml_dtype dtype,
                         dml_op op, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_ALLREDUCE,
                               .send = send,
                               .recv = recv,
                               .count = count,
                               .dtype = dtype,
                               .op = op,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_iallreduce(const void *send, void *recv, size_t count, dml_dtype dtype,
                          dml_op op, dml_comm *comm, dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_ALLREDUCE,
                               .send = send,
                               .recv = recv,
                               .count = count,
                               .dtype = dtype,
                               .op = op,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_reduce_scatter(const void *send, void *recv, size_t recv_count,
                              dml_dtype dtype, dml_op op, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_REDUCE_SCATTER,
                               .send = send,
                               .recv = recv,
                               .count = recv_count,
                               .dtype = dtype,
                               .op = op,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_ireduce_scatter(const void *send, void *recv, size_t recv_count,
                               dml_dtype dtype, dml_op op, dml_comm *comm,
                               dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_REDUCE_SCATTER,
                               .send = send,
                               .recv = recv,
                               .count = recv_count,
                               .dtype = dtype,
                               .op = op,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_reduce_scatterv(const void *send, void *recv, const size_t *recv_counts,
                               dml_dtype dtype, dml_op op, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_REDUCE_SCATTER,
                               .send = send,
                               .recv = recv,
                               .has_counts = true,
                               .counts = recv_counts,
                               .dtype = dtype,
                               .op = op,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_ireduce_scatterv(const void *send, void *recv, const size_t *recv_counts,
                                dml_dtype dtype, dml_op op, dml_comm *comm,
                                dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_REDUCE_SCATTER,
                               .send = send,
                               .recv = recv,
                               .has_counts = true,
                               .counts = recv_counts,
                               .dtype = dtype,
                               .op = op,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_allgather(const void *send, void *recv, size_t send_count,
                         dml_dtype dtype, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_ALLGATHER,
                               .send = send,
                               .recv = recv,
                               .count = send_count,
                               .dtype = dtype,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_iallgather(const void *send, void *recv, size_t send_count,
                          dml_dtype dtype, dml_comm *comm, dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_ALLGATHER,
                               .send = send,
                               .recv = recv,
                               .count = send_count,
                               .dtype = dtype,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_allgatherv(const void *send, void *recv, const size_t *recv_counts,
                          const size_t *displs, dml_dtype dtype, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_ALLGATHER,
                               .send = send,
                               .recv = recv,
                               .has_counts = true,
                               .counts = recv_counts,
                               .displs = displs,
                               .dtype = dtype,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_iallgatherv(const void *send, void *recv, const size_t *recv_counts,
                           const size_t *displs, dml_dtype dtype, dml_comm *comm,
                           dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_ALLGATHER,
                               .send = send,
                               .recv = recv,
                               .has_counts = true,
                               .counts = recv_counts,
                               .displs = displs,
                               .dtype = dtype,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_bcast(void *buf, size_t count, dml_dtype dtype, int root, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_BCAST,
                               .recv = buf,
                               .count = count,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_ibcast(void *buf, size_t count, dml_dtype dtype, int root,
                      dml_comm *comm, dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_BCAST,
                               .recv = buf,
                               .count = count,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_reduce(const void *send, void *recv, size_t count, dml_dtype dtype,
                      dml_op op, int root, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_REDUCE,
                               .send = send,
                               .recv = recv,
                               .count = count,
                               .dtype = dtype,
                               .op = op,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_ireduce(const void *send, void *recv, size_t count, dml_dtype dtype,
                       dml_op op, int root, dml_comm *comm, dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_REDUCE,
                               .send = send,
                               .recv = recv,
                               .count = count,
                               .dtype = dtype,
                               .op = op,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_gather(const void *send, void *recv, size_t send_count, dml_dtype dtype,
                      int root, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_GATHER,
                               .send = send,
                               .recv = recv,
                               .count = send_count,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_igather(const void *send, void *recv, size_t send_count, dml_dtype dtype,
                       int root, dml_comm *comm, dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_GATHER,
                               .send = send,
                               .recv = recv,
                               .count = send_count,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_gatherv(const void *send, void *recv, const size_t *recv_counts,
                       const size_t *displs, dml_dtype dtype, int root, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_GATHER,
                               .send = send,
                               .recv = recv,
                               .has_counts = true,
                               .counts = recv_counts,
                               .displs = displs,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_igatherv(const void *send, void *recv, const size_t *recv_counts,
                        const size_t *displs, dml_dtype dtype, int root, dml_comm *comm,
                        dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_GATHER,
                               .send = send,
                               .recv = recv,
                               .has_counts = true,
                               .counts = recv_counts,
                               .displs = displs,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_scatter(const void *send, void *recv, size_t recv_count, dml_dtype dtype,
                       int root, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_SCATTER,
                               .send = send,
                               .recv = recv,
                               .count = recv_count,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_iscatter(const void *send, void *recv, size_t recv_count,
                        dml_dtype dtype, int root, dml_comm *comm,
                        dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_SCATTER,
                               .send = send,
                               .recv = recv,
                               .count = recv_count,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_scatterv(const void *send, void *recv, const size_t *send_counts,
                        const size_t *displs, dml_dtype dtype, int root, dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_SCATTER,
                               .send = send,
                               .recv = recv,
                               .has_counts = true,
                               .counts = send_counts,
                               .displs = displs,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_iscatterv(const void *send, void *recv, const size_t *send_counts,
                         const size_t *displs, dml_dtype dtype, int root,
                         dml_comm *comm, dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_SCATTER,
                               .send = send,
                               .recv = recv,
                               .has_counts = true,
                               .counts = send_counts,
                               .displs = displs,
                               .dtype = dtype,
                               .root = root,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_alltoall(const void *send, void *recv, size_t count, dml_dtype dtype,
                        dml_comm *comm)
{
    struct dml__user_call u = {.coll = DML_COLL_ALLTOALL,
                               .send = send,
                               .recv = recv,
                               .count = count,
                               .dtype = dtype,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_ialltoall(const void *send, void *recv, size_t count, dml_dtype dtype,
                         dml_comm *comm, dml_request **request)
{
    struct dml__user_call u = {.coll = DML_COLL_ALLTOALL,
                               .send = send,
                               .recv = recv,
                               .count = count,
                               .dtype = dtype,
                               .comm = comm,
                               .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}

dml_status dml_barrier(dml_comm *comm)
{
    struct dml__user_call u = {
        .coll = DML_COLL_BARRIER, .comm = comm, .where = __func__};
    return dml__perform(&u, DML__BLOCKING, NULL);
}

dml_status dml_ibarrier(dml_comm *comm, dml_request **request)
{
    struct dml__user_call u = {
        .coll = DML_COLL_BARRIER, .comm = comm, .where = __func__};
    return dml__perform(&u, DML__STARTED, request);
}
