/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages between two ranks and the requests that complete them: types, sizes, tags,
 * order, completion by wait and by test, and wrong arguments.
 */
#include "numbers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int next_of(const struct dml_test *t)
{
    return (t->rank + 1) % t->nranks;
}

static int last_of(const struct dml_test *t)
{
    return (t->rank + t->nranks - 1) % t->nranks;
}

static bool alone(struct dml_test *t)
{
    if (t->nranks == 1)
        dml_test_skip(t, "needs a second rank");
    return t->nranks == 1;
}

/* Around the ring: to the next rank, from the last. in has 64 guard bytes after it. */
static void around(struct dml_test *t, size_t count, dml_dtype dtype, int tag)
{
    size_t bytes = count * dml_dtype_bytes(dtype);
    unsigned char *out = dml_test_alloc(bytes + 64), *in = dml_test_alloc(bytes + 64);
    unsigned char *want = dml_test_alloc(bytes + 64);
    memset(in, 0xa5, bytes + 64);
    memset(want, 0xa5, bytes + 64);
    numbers_fill(out, 0, count, dtype, DML_SUM, t->seed + count, t->rank);
    numbers_fill(want, 0, count, dtype, DML_SUM, t->seed + count, last_of(t));
    dml_request *request = NULL;
    dml_test_step(t, "%s, count %zu, tag %d", dml_dtype_name(dtype), count, tag);
    if (t->rank % 2 == 0) {
        dml_test_status(
            t, "dml_isend",
            dml_isend(out, count, dtype, next_of(t), tag, t->comm, &request), DML_OK);
        dml_test_status(t, "dml_recv",
                        dml_recv(in, count, dtype, last_of(t), tag, t->comm), DML_OK);
    } else {
        dml_test_status(t, "dml_irecv",
                        dml_irecv(in, count, dtype, last_of(t), tag, t->comm, &request),
                        DML_OK);
        dml_test_status(t, "dml_send",
                        dml_send(out, count, dtype, next_of(t), tag, t->comm), DML_OK);
    }
    dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK);
    DML_CHECK(t, request == NULL, "the request is not NULL after dml_wait()");
    dml_test_bytes(t, "received (with 64 guard bytes)", in, want, bytes + 64);
    free(out);
    free(in);
    free(want);
}

static void test_types_and_sizes(struct dml_test *t)
{
    if (alone(t))
        return;
    const size_t counts[] = {0, 1, 17, 1000, 40000, 1 + dml_test_random(t) % 100000};
    for (int dtype = 0; dtype < DML_NDTYPES; dtype++)
        for (size_t i = 0; i < DML_TEST_COUNT(counts); i++)
            around(t, counts[i], (dml_dtype)dtype,
                   (int)(dml_test_random(t) % (DML_TAG_MAX + 1)));
    around(t, 3000000, DML_U8, DML_TAG_MAX);
}

/* Messages sent in one order are received by tag in the reverse one. */
static void test_tags(struct dml_test *t)
{
    if (alone(t))
        return;
    enum { N = 30 };
    int32_t out[N], in[N];
    dml_request *sends[N] = {NULL};
    for (int i = 0; i < N; i++) {
        out[i] = t->rank * 1000 + i;
        dml_test_step(t, "send with tag %d", i * 7);
        dml_test_status(
            t, "dml_isend",
            dml_isend(&out[i], 1, DML_I32, next_of(t), i * 7, t->comm, &sends[i]),
            DML_OK);
    }
    for (int i = N - 1; i >= 0; i--) {
        dml_test_step(t, "receive with tag %d", i * 7);
        dml_test_status(t, "dml_recv",
                        dml_recv(&in[i], 1, DML_I32, last_of(t), i * 7, t->comm),
                        DML_OK);
        DML_CHECK(t, in[i] == last_of(t) * 1000 + i, "got %d, wanted %d", in[i],
                  last_of(t) * 1000 + i);
    }
    dml_test_step(t, "wait for all sends");
    dml_test_status(t, "dml_waitall", dml_waitall(N, sends), DML_OK);
    for (int i = 0; i < N; i++)
        DML_CHECK(t, sends[i] == NULL, "request %d is left", i);
}

/* Messages with one tag arrive in the order in which they were sent. */
static void test_order(struct dml_test *t)
{
    if (alone(t))
        return;
    enum { N = 200 };
    uint64_t *out = dml_test_alloc(N * sizeof *out),
             *in = dml_test_alloc(N * sizeof *in);
    dml_request *requests[2 * N];
    dml_test_step(t, "%d messages with one tag", N);
    for (int i = 0; i < N; i++) {
        out[i] = dml_test_hash(t->seed, (uint64_t)t->rank, (uint64_t)i);
        in[i] = 0;
        dml_test_status(
            t, "dml_irecv",
            dml_irecv(&in[i], 1, DML_U64, last_of(t), 5, t->comm, &requests[i]),
            DML_OK);
        dml_test_status(
            t, "dml_isend",
            dml_isend(&out[i], 1, DML_U64, next_of(t), 5, t->comm, &requests[N + i]),
            DML_OK);
    }
    dml_test_status(t, "dml_waitall", dml_waitall((size_t)2 * N, requests), DML_OK);
    for (int i = 0; i < N; i++)
        DML_CHECK(t, in[i] == dml_test_hash(t->seed, (uint64_t)last_of(t), (uint64_t)i),
                  "message %d is another", i);
    free(out);
    free(in);
}

/* dml_test() says DML_PENDING until the sender, held back, sends. */
static void test_polling(struct dml_test *t)
{
    if (alone(t))
        return;
    int32_t value = 0, sent = 42;
    dml_request *request = NULL;
    if (t->rank == 1) {
        dml_test_step(t, "receive before it is sent");
        dml_test_status(t, "dml_irecv",
                        dml_irecv(&value, 1, DML_I32, 0, 9, t->comm, &request), DML_OK);
        dml_test_status(t, "dml_test", dml_test(&request), DML_PENDING);
        dml_test_status(t, "dml_progress", dml_progress(t->comm), DML_OK);
        DML_CHECK(t, request != NULL, "the request is gone");
    }
    MPI_Barrier(t->mpi);
    if (t->rank == 0)
        dml_test_status(t, "dml_send", dml_send(&sent, 1, DML_I32, 1, 9, t->comm),
                        DML_OK);
    if (t->rank == 1) {
        dml_status status = DML_PENDING;
        dml_test_step(t, "poll");
        while (status == DML_PENDING)
            status = dml_test(&request);
        dml_test_status(t, "dml_test", status, DML_OK);
        DML_CHECK(t, request == NULL && value == sent, "got %d, wanted %d", value,
                  sent);
    }
}

static void test_no_requests(struct dml_test *t)
{
    dml_request *none = NULL, *several[3] = {NULL, NULL, NULL};
    dml_test_status(t, "dml_wait", dml_wait(&none), DML_OK);
    dml_test_status(t, "dml_test", dml_test(&none), DML_OK);
    dml_test_status(t, "dml_waitall", dml_waitall(3, several), DML_OK);
    dml_test_status(t, "dml_waitall of none", dml_waitall(0, NULL), DML_OK);
    dml_test_status(t, "dml_progress", dml_progress(t->comm), DML_OK);
}

/* Rank 0 takes one message of every other rank, in the order in which they come: the
 * highest rank's first, since each waits for the rank above it. */
static void test_any(struct dml_test *t)
{
    if (alone(t))
        return;
    int32_t in[DML_TEST_MAX_RANKS] = {0}, token = t->rank;
    dml_request *requests[DML_TEST_MAX_RANKS] = {NULL};
    size_t n = (size_t)t->nranks, index = 0;
    dml_test_step(t, "messages in the order in which they come");
    if (t->rank > 0) {
        if (t->rank + 1 < t->nranks)
            MPI_Recv(NULL, 0, MPI_INT, t->rank + 1, 3, t->mpi, MPI_STATUS_IGNORE);
        dml_test_status(t, "dml_send", dml_send(&token, 1, DML_I32, 0, 3, t->comm),
                        DML_OK);
        MPI_Recv(NULL, 0, MPI_INT, 0, 4, t->mpi, MPI_STATUS_IGNORE);
        if (t->rank > 1)
            MPI_Send(NULL, 0, MPI_INT, t->rank - 1, 3, t->mpi);
        return;
    }
    for (int i = 1; i < t->nranks; i++)
        dml_test_status(t, "dml_irecv",
                        dml_irecv(&in[i], 1, DML_I32, i, 3, t->comm, &requests[i]),
                        DML_OK);
    for (int i = t->nranks - 1; i > 0; i--) {
        dml_status status = DML_PENDING;
        while (i % 2 == 0 && status == DML_PENDING)
            status = dml_testany(n, requests, &index);
        if (i % 2 != 0)
            status = dml_waitany(n, requests, &index);
        dml_test_status(t, "dml_testany or dml_waitany", status, DML_OK);
        DML_CHECK(t, index == (size_t)i && in[i] == i && requests[i] == NULL,
                  "message of rank %zu, wanted that of rank %d", index, i);
        MPI_Send(NULL, 0, MPI_INT, i, 4, t->mpi);
    }
    dml_test_status(t, "dml_waitany of none", dml_waitany(n, requests, &index), DML_OK);
    DML_CHECK(t, index == n, "index %zu, wanted %zu", index, n);
    dml_test_status(t, "without index", dml_testany(n, requests, NULL), DML_EINVAL);
}

static void test_bad_arguments(struct dml_test *t)
{
    float x = 0;
    int peer = next_of(t);
    dml_request *request = NULL;
    dml_test_step(t, "wrong peers");
    dml_test_error(t, "to itself", dml_send(&x, 1, DML_F32, t->rank, 0, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "from itself", dml_recv(&x, 1, DML_F32, t->rank, 0, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "peer -1", dml_isend(&x, 1, DML_F32, -1, 0, t->comm, &request),
                   DML_EINVAL);
    dml_test_error(t, "peer P",
                   dml_irecv(&x, 1, DML_F32, t->nranks, 0, t->comm, &request),
                   DML_EINVAL);
    if (t->nranks == 1)
        return;
    dml_test_step(t, "wrong tags, types, buffers");
    dml_test_error(t, "tag -1", dml_send(&x, 1, DML_F32, peer, -1, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "tag too large",
                   dml_irecv(&x, 1, DML_F32, peer, DML_TAG_MAX + 1, t->comm, &request),
                   DML_EINVAL);
    dml_test_error(t, "type 99", dml_send(&x, 1, (dml_dtype)99, peer, 0, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "buffer NULL", dml_send(NULL, 1, DML_F32, peer, 0, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "count SIZE_MAX",
                   dml_send(&x, SIZE_MAX, DML_F32, peer, 0, t->comm), DML_EINVAL);
    dml_test_error(t, "request NULL", dml_isend(&x, 1, DML_F32, peer, 0, t->comm, NULL),
                   DML_EINVAL);
    DML_CHECK(t, request == NULL, "a request was returned by a failing call");
}

static void test_communicator(struct dml_test *t)
{
    DML_CHECK(t, dml_comm_rank(t->comm) == t->rank, "rank %d", dml_comm_rank(t->comm));
    DML_CHECK(t, dml_comm_size(t->comm) == t->nranks, "size %d",
              dml_comm_size(t->comm));
    DML_CHECK(t, dml_comm_ctx(t->comm) == t->ctx, "another context");
    int node_rank = -1, node_size = -1;
    dml_comm_node(t->comm, &node_rank, &node_size);
    DML_CHECK(t, node_rank >= 0 && node_rank < node_size && node_size <= t->nranks,
              "rank %d of %d on the node", node_rank, node_size);
    dml_comm *none = NULL;
    dml_test_error(t, "MPI_COMM_NULL", dml_comm_from_mpi(t->ctx, MPI_COMM_NULL, &none),
                   DML_EINVAL);
    dml_comm_destroy(NULL);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"communicator", test_communicator},
        {"types and sizes", test_types_and_sizes},
        {"tags", test_tags},
        {"order", test_order},
        {"polling", test_polling},
        {"no requests", test_no_requests},
        {"any of several", test_any},
        {"bad arguments", test_bad_arguments},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
