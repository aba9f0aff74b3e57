/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scenarios of communicators, messages and collectives: blocking (the third call of one
 * measures algorithms), started, planned, and of lists.
 */
#include "memory.h"

enum { COUNT = 600, LARGE = 70000, MOST_RANKS = 8 };

dml_status memory_nothing(const struct dml_test *t, dml_comm *comm)
{
    (void)t;
    (void)comm;
    return DML_OK;
}

dml_status memory_comm(const struct dml_test *t, dml_comm *comm)
{
    dml_status status;
    dml_comm *part = NULL;
    void *shared = NULL;
    float x = 1;
    MEMORY_TRY(memory_together(t, dml_comm_split(comm, t->rank % 2, 0, &part)));
    MEMORY_TRY(
        memory_together(t, dml_allreduce(DML_IN_PLACE, &x, 1, DML_F32, DML_SUM, part)));
    MEMORY_TRY(dml_alloc(comm, 5000, &shared));
    MEMORY_TRY(dml_allreduce(DML_IN_PLACE, shared, 1000, DML_F32, DML_SUM, comm));
    MEMORY_TRY(dml_free(comm, shared));
out:
    dml_comm_destroy(part);
    return status;
}

dml_status memory_p2p(const struct dml_test *t, dml_comm *comm)
{
    static float here[LARGE], there[LARGE];
    dml_status status = DML_OK, other = DML_OK;
    dml_request *requests[2] = {NULL, NULL};
    int next = (t->rank + 1) % t->nranks, last = (t->rank + t->nranks - 1) % t->nranks;
    if (t->nranks == 1)
        return DML_OK;
    for (size_t count = 10; count <= LARGE && status == DML_OK; count = count * 7000) {
        status = dml_irecv(there, count, DML_F32, last, 3, comm, &requests[0]);
        if (status == DML_OK)
            status = dml_isend(here, count, DML_F32, next, 3, comm, &requests[1]);
        other = dml_waitall(2, requests);
        if (status == DML_OK)
            status = other;
    }
    return status;
}

/* All collectives, by the arguments of their planned form. */
static dml_coll_args arguments(const struct dml_test *t, int coll, size_t count)
{
    static float send[MOST_RANKS * LARGE], recv[MOST_RANKS * LARGE];
    bool blocks =
        coll != DML_COLL_ALLREDUCE && coll != DML_COLL_BCAST && coll != DML_COLL_REDUCE;
    return (dml_coll_args){.size = sizeof(dml_coll_args),
                           .coll = (dml_coll)coll,
                           .send = send,
                           .recv = recv,
                           .count = blocks ? count / (size_t)t->nranks : count,
                           .dtype = DML_F32,
                           .op = DML_SUM};
}

static dml_status call(const dml_coll_args *a, dml_comm *comm)
{
    switch (a->coll) {
    case DML_COLL_ALLREDUCE:
        return dml_allreduce(a->send, a->recv, a->count, a->dtype, a->op, comm);
    case DML_COLL_REDUCE_SCATTER:
        return dml_reduce_scatter(a->send, a->recv, a->count, a->dtype, a->op, comm);
    case DML_COLL_ALLGATHER:
        return dml_allgather(a->send, a->recv, a->count, a->dtype, comm);
    case DML_COLL_BCAST:
        return dml_bcast(a->recv, a->count, a->dtype, a->root, comm);
    case DML_COLL_REDUCE:
        return dml_reduce(a->send, a->recv, a->count, a->dtype, a->op, a->root, comm);
    case DML_COLL_GATHER:
        return dml_gather(a->send, a->recv, a->count, a->dtype, a->root, comm);
    case DML_COLL_SCATTER:
        return dml_scatter(a->send, a->recv, a->count, a->dtype, a->root, comm);
    case DML_COLL_ALLTOALL:
        return dml_alltoall(a->send, a->recv, a->count, a->dtype, comm);
    default:
        return dml_barrier(comm);
    }
}

static dml_status start(const dml_coll_args *a, dml_comm *comm, dml_request **r)
{
    switch (a->coll) {
    case DML_COLL_ALLREDUCE:
        return dml_iallreduce(a->send, a->recv, a->count, a->dtype, a->op, comm, r);
    case DML_COLL_REDUCE_SCATTER:
        return dml_ireduce_scatter(a->send, a->recv, a->count, a->dtype, a->op, comm,
                                   r);
    case DML_COLL_ALLGATHER:
        return dml_iallgather(a->send, a->recv, a->count, a->dtype, comm, r);
    case DML_COLL_BCAST:
        return dml_ibcast(a->recv, a->count, a->dtype, a->root, comm, r);
    case DML_COLL_REDUCE:
        return dml_ireduce(a->send, a->recv, a->count, a->dtype, a->op, a->root, comm,
                           r);
    case DML_COLL_GATHER:
        return dml_igather(a->send, a->recv, a->count, a->dtype, a->root, comm, r);
    case DML_COLL_SCATTER:
        return dml_iscatter(a->send, a->recv, a->count, a->dtype, a->root, comm, r);
    case DML_COLL_ALLTOALL:
        return dml_ialltoall(a->send, a->recv, a->count, a->dtype, comm, r);
    default:
        return dml_ibarrier(comm, r);
    }
}

dml_status memory_coll(const struct dml_test *t, dml_comm *comm)
{
    dml_status status = DML_OK;
    for (int coll = 0; coll < DML_NCOLLS; coll++) {
        const dml_coll_args few = arguments(t, coll, COUNT);
        const dml_coll_args many = arguments(t, coll, LARGE);
        bool measured = coll == DML_COLL_ALLREDUCE || coll == DML_COLL_ALLTOALL;
        for (int i = 0; i < (measured ? 3 : 1); i++)
            MEMORY_TRY(call(&few, comm));
        MEMORY_TRY(call(&many, comm));
    }
out:
    return status;
}

dml_status memory_icoll(const struct dml_test *t, dml_comm *comm)
{
    dml_status status = DML_OK, first = DML_OK;
    for (int coll = 0; coll < DML_NCOLLS && first == DML_OK; coll++)
        for (size_t count = COUNT; count <= LARGE; count += LARGE - COUNT) {
            dml_request *requests[2] = {NULL, NULL};
            const dml_coll_args a = arguments(t, coll, count);
            first = start(&a, comm, &requests[0]);
            if (first == DML_OK)
                first = dml_ibarrier(comm, &requests[1]);
            status = dml_waitall(2, requests);
            first = first != DML_OK ? first : status;
            if (first != DML_OK)
                break;
        }
    return first;
}

dml_status memory_persistent(const struct dml_test *t, dml_comm *comm)
{
    dml_status status = DML_OK;
    dml_request *request = NULL;
    for (int coll = 0; coll < DML_NCOLLS; coll++) {
        const dml_coll_args a = arguments(t, coll, COUNT);
        MEMORY_TRY(dml_coll_init(&a, comm, &request));
        for (int i = 0; i < 2; i++) {
            MEMORY_TRY(dml_start(request));
            MEMORY_TRY(dml_wait(&request));
        }
        MEMORY_TRY(dml_request_free(&request));
    }
out:
    return status; /* a request that is left ends with its communicator */
}

dml_status memory_list(const struct dml_test *t, dml_comm *comm)
{
    static float data[3][LARGE];
    dml_status status = DML_OK;
    dml_request *request = NULL;
    dml_op scaled;
    const dml_piece pieces[] = {{data[0], LARGE}, {data[1], 10}, {data[2], COUNT}};
    MEMORY_TRY(memory_together(t, dml_op_create_premul_sum(0.5, comm, &scaled)));
    MEMORY_TRY(dml_allreduce_list(pieces, 3, DML_F32, DML_SUM, comm));
    MEMORY_TRY(dml_allreduce_list(pieces + 1, 2, DML_F32, scaled, comm));
    MEMORY_TRY(dml_iallreduce_list(pieces, 3, DML_F32, DML_SUM, comm, &request));
    MEMORY_TRY(dml_wait(&request));
    MEMORY_TRY(dml_allreduce_list_init(pieces, 3, DML_F32, DML_SUM, comm, &request));
    MEMORY_TRY(dml_start(request));
    MEMORY_TRY(dml_wait(&request));
    MEMORY_TRY(dml_request_free(&request));
    MEMORY_TRY(dml_op_destroy(scaled, comm));
out:
    return status;
}
