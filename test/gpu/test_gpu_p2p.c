/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages from and to device memory, around a ring of all ranks: either side on the
 * device or on the host, blocking and not, and several with one tag, whose order must
 * hold. What is sent is written by copies that are still in the stream.
 */
#include "dml/gpu.h"

#include "gpu_tensors.h"
#include "need_device.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST = 100001, SIDES = 4 };

struct ring {
    struct dml_test *t;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_gpu_stream stream;
    struct gpu_memory memory;
    float *host[2]; /* sent and received, on the host */
    void *device[2];
    int next, last;
};

static void open_ring(struct ring *r, struct dml_test *t, bool set_stream)
{
    *r = (struct ring){.t = t,
                       .next = (t->rank + 1) % t->nranks,
                       .last = (t->rank + t->nranks - 1) % t->nranks};
    gpu_open_comm(t, false, &r->ctx, &r->comm);
    if (set_stream) {
        dml_test_status(t, "stream", dml_gpu_stream_create(r->ctx, &r->stream), DML_OK);
        dml_test_status(t, "dml_comm_set_stream",
                        dml_comm_set_stream(r->comm, r->stream, true), DML_OK);
    }
    const size_t bytes = LONGEST * sizeof(float);
    gpu_memory_open(&r->memory, t, r->ctx, r->stream, 2 * bytes + 64);
    for (int i = 0; i < 2; i++) {
        r->host[i] = dml_test_alloc(bytes);
        r->device[i] = gpu_memory_take(&r->memory, bytes, i > 0 ? 8 : 0);
    }
}

static void close_ring(struct ring *r)
{
    gpu_memory_close(&r->memory);
    dml_test_status(r->t, "stream", dml_gpu_stream_destroy(r->ctx, r->stream), DML_OK);
    for (int i = 0; i < 2; i++)
        free(r->host[i]);
    dml_comm_destroy(r->comm);
    dml_ctx_destroy(r->ctx);
}

static float value(const struct ring *r, int rank, size_t round, size_t k)
{
    return (float)(dml_test_hash(r->t->seed, (uint64_t)rank * 1000 + round, k) >> 44);
}

/* What is to be sent, where; returns the buffer. */
static const void *outgoing(struct ring *r, bool device, size_t round, size_t n)
{
    for (size_t k = 0; k < n; k++)
        r->host[0][k] = value(r, r->t->rank, round, k);
    if (!device)
        return r->host[0];
    gpu_memory_put(&r->memory, r->device[0], r->host[0], n * sizeof(float));
    memset(r->host[0], 0, n * sizeof(float));
    return r->device[0];
}

static void check(struct ring *r, const void *got, bool device, size_t round, size_t n)
{
    float *want = dml_test_alloc(n * sizeof *want + 1);
    for (size_t k = 0; k < n; k++)
        want[k] = value(r, r->last, round, k);
    if (device)
        got = gpu_memory_get(&r->memory, got, n * sizeof *want);
    dml_test_bytes(r->t, "message", got, want, n * sizeof *want);
    free(want);
}

/* Bit 0 of "sides": sent from the device; bit 1: received there; even ranks and odd
 * ones differ, so that every pair of sides meets. */
static void around(struct ring *r, int sides, bool blocking, size_t round, size_t n)
{
    struct dml_test *t = r->t;
    const bool odd = t->rank % 2 != 0;
    const bool from = (sides & 1) != 0, to = ((sides & 2) != 0) != odd;
    dml_request *requests[2] = {NULL};
    const void *out = outgoing(r, from, round, n);
    void *in = to ? r->device[1] : (void *)r->host[1];
    dml_test_step(t, "%zu elements, sides %d, %s", n, sides,
                  blocking ? "blocking" : "not blocking");
    dml_test_status(t, "dml_irecv",
                    dml_irecv(in, n, DML_F32, r->last, 5, r->comm, &requests[0]),
                    DML_OK);
    dml_status sent =
        blocking ? dml_send(out, n, DML_F32, r->next, 5, r->comm)
                 : dml_isend(out, n, DML_F32, r->next, 5, r->comm, &requests[1]);
    dml_test_status(t, "send", sent, DML_OK);
    dml_test_status(t, "dml_waitall", dml_waitall(2, requests), DML_OK);
    check(r, in, to, round, n);
}

static void test_ring(struct dml_test *t)
{
    static const size_t counts[] = {0, 1, 33, 4096, LONGEST};
    struct ring r;
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank has nobody to send to");
        return;
    }
    for (int set = 0; set < 2; set++) {
        size_t round = 0;
        open_ring(&r, t, set == 1);
        for (size_t i = 0; i < DML_TEST_COUNT(counts); i++)
            for (int sides = 0; sides < SIDES; sides++, round++)
                around(&r, sides, round % 3 == 0, round, counts[i]);
        close_ring(&r);
    }
}

/* From the device and from the host in turn, with one tag. */
static void test_order(struct dml_test *t)
{
    enum { N = 12 };
    struct ring r;
    float host[N], got[N];
    dml_request *sends[N] = {NULL};
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank has nobody to send to");
        return;
    }
    open_ring(&r, t, true);
    for (int i = 0; i < N; i++)
        host[i] = value(&r, t->rank, 7, (size_t)i);
    gpu_memory_put(&r.memory, r.device[0], host, sizeof host);
    for (int i = 0; i < N; i++) {
        const void *out =
            i % 2 == 0 ? (const void *)((float *)r.device[0] + i) : &host[i];
        dml_test_status(t, "dml_isend",
                        dml_isend(out, 1, DML_F32, r.next, 9, r.comm, &sends[i]),
                        DML_OK);
    }
    for (int i = 0; i < N; i++) {
        void *in = i % 3 == 0 ? (void *)((float *)r.device[1] + i) : &got[i];
        dml_test_status(t, "dml_recv", dml_recv(in, 1, DML_F32, r.last, 9, r.comm),
                        DML_OK);
        if (i % 3 == 0)
            memcpy(&got[i], gpu_memory_get(&r.memory, in, sizeof *got), sizeof *got);
        DML_CHECK(t, got[i] == value(&r, r.last, 7, (size_t)i), "message %d is another",
                  i);
    }
    dml_test_status(t, "dml_waitall", dml_waitall(N, sends), DML_OK);
    close_ring(&r);
}

/* Why messages do not go by NCCL (adr/0014): receives are posted before a collective in
 * the same stream, and by tags in another order than that in which they are sent. */
static void test_any_order(struct dml_test *t)
{
    enum { N = 1000 };
    struct ring r;
    float host[2 * N], got[2 * N];
    dml_request *requests[4] = {NULL};
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank has nobody to send to");
        return;
    }
    open_ring(&r, t, true);
    for (size_t k = 0; k < 2 * N; k++)
        host[k] = value(&r, t->rank, 4, k);
    gpu_memory_put(&r.memory, r.device[0], host, sizeof host);
    float *out = r.device[0], *in = r.device[1];
    for (int tag = 1; tag >= 0; tag--)
        dml_test_status(
            t, "dml_irecv",
            dml_irecv(in + tag * N, N, DML_F32, r.last, tag, r.comm, &requests[tag]),
            DML_OK);
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(out, in + 2 * N, N, DML_F32, DML_SUM, r.comm),
                    DML_OK);
    for (int tag = 0; tag < 2; tag++)
        dml_test_status(t, "dml_isend",
                        dml_isend(out + tag * N, N, DML_F32, r.next, tag, r.comm,
                                  &requests[2 + tag]),
                        DML_OK);
    dml_test_status(t, "dml_waitall", dml_waitall(4, requests), DML_OK);
    memcpy(got, gpu_memory_get(&r.memory, in, sizeof got), sizeof got);
    for (size_t k = 0; k < 2 * N; k++)
        DML_CHECK(t, got[k] == value(&r, r.last, 4, k), "element %zu is another", k);
    close_ring(&r);
}

static dml_status ask_at_once(struct dml_test *t, dml_request **request)
{
    const double begin_s = MPI_Wtime();
    dml_status status = dml_test(request);
    const double took_s = MPI_Wtime() - begin_s;
    DML_CHECK(t, took_s < 1.2, "a call that must not wait took %g s", took_s);
    return status;
}

/* What is received goes behind the stream that the communicator had when the receive
 * was posted; nobody waits there for a stream that is slow (on the fake device). */
static void test_slow_stream(struct dml_test *t)
{
    enum { N = 100, BYTES = N * (int)sizeof(float) };
    struct ring r;
    dml_gpu_stream slow = NULL;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_status status = DML_PENDING;
    dml_request *request = NULL;
    float host[N], got[N];
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank has nobody to send to");
        return;
    }
    open_ring(&r, t, true);
    setenv("DML_TEST_GPU_DELAY_US", "1500000", 1);
    gpu_open_comm(t, false, &ctx, &comm);
    dml_test_status(t, "stream", dml_gpu_stream_create(ctx, &slow), DML_OK);
    unsetenv("DML_TEST_GPU_DELAY_US");
    for (int i = 0; i < N; i++)
        host[i] = value(&r, t->rank, 3, (size_t)i);
    dml_test_status(t, "sync", dml_gpu_stream_sync(r.ctx, r.stream), DML_OK);
    dml_comm_set_stream(r.comm, slow, true);
    dml_test_status(t, "fill", dml_gpu_fill(r.ctx, r.device[1], 0xff, BYTES, slow),
                    DML_OK);
    dml_test_status(t, "dml_irecv",
                    dml_irecv(r.device[1], N, DML_F32, r.last, 2, r.comm, &request),
                    DML_OK);
    dml_comm_set_stream(r.comm, r.stream, true);
    dml_test_status(t, "dml_send", dml_send(host, N, DML_F32, r.next, 2, r.comm),
                    DML_OK);
    while (status == DML_PENDING)
        status = ask_at_once(t, &request);
    dml_test_status(t, "dml_test", status, DML_OK);
    dml_test_status(t, "sync", dml_gpu_stream_sync(r.ctx, slow), DML_OK);
    memcpy(got, gpu_memory_get(&r.memory, r.device[1], BYTES), BYTES);
    for (int i = 0; i < N; i++)
        DML_CHECK(t, got[i] == value(&r, r.last, 3, (size_t)i), "element %d is %g", i,
                  (double)got[i]);
    dml_test_status(t, "stream", dml_gpu_stream_destroy(ctx, slow), DML_OK);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    close_ring(&r);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"around the ring", test_ring},
        {"order of messages", test_order},
        {"any order", test_any_order},
        {"slow stream", test_slow_stream},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
