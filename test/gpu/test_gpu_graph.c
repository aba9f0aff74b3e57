/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Graphs of captured work by the public calls: what is kept is done at each launch and
 * not before; collectives that need nobody are kept, too, those by NCCL also on several
 * ranks, and others refused without an end of the capture or the communicator. A launch
 * is watched: a rank that is missing is told. (Optimizers, codecs and what spoils a
 * capture: test/unit/test_gpu_capture.c.)
 */
#include "gpu_tensors.h"
#include "need_device.h"

#include <stdlib.h>
#include <string.h>

enum { LAUNCHES = 4, N = 1001 };

struct bench {
    struct dml_test *t;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_gpu_stream stream;
    struct gpu_memory memory;
};

static void open_bench(struct bench *b, struct dml_test *t, size_t bytes)
{
    *b = (struct bench){.t = t};
    gpu_open_comm(t, false, &b->ctx, &b->comm);
    dml_test_status(t, "stream", dml_gpu_stream_create(b->ctx, &b->stream), DML_OK);
    dml_test_status(t, "dml_comm_set_stream",
                    dml_comm_set_stream(b->comm, b->stream, true), DML_OK);
    gpu_memory_open(&b->memory, t, b->ctx, b->stream, bytes);
}

static void close_bench(struct bench *b)
{
    gpu_memory_close(&b->memory);
    dml_comm_destroy(b->comm);
    dml_test_status(b->t, "stream", dml_gpu_stream_destroy(b->ctx, b->stream), DML_OK);
    dml_ctx_destroy(b->ctx);
}

static void begin(struct bench *b)
{
    dml_test_status(b->t, "dml_gpu_capture_begin",
                    dml_gpu_capture_begin(b->ctx, b->stream), DML_OK);
}

static dml_gpu_graph end(struct bench *b)
{
    dml_gpu_graph graph = NULL;
    dml_test_status(b->t, "dml_gpu_capture_end",
                    dml_gpu_capture_end(b->ctx, b->stream, &graph), DML_OK);
    return graph;
}

static void failed(struct bench *b, const char *what, dml_status got, dml_status want,
                   const char *text)
{
    dml_error error;
    dml_test_status(b->t, what, got, want);
    dml_ctx_last_error(b->ctx, &error);
    DML_CHECK(b->t, strstr(error.text, text) != NULL, "%s: \"%s\" does not say \"%s\"",
              what, error.text, text);
}

/* Is it n bytes "byte"? */
static void expect(struct bench *b, const void *device, size_t n, unsigned char byte,
                   const char *when)
{
    const unsigned char *got = gpu_memory_get(&b->memory, device, n);
    size_t i = 0;
    while (i < n && got[i] == byte)
        i++;
    DML_CHECK(b->t, i == n, "%s: byte %zu of %zu is %d, wanted %d", when, i, n,
              i < n ? got[i] : 0, byte);
}

/* ---- copies and fills --------------------------------------------------------------
 */

static void copies_of(struct dml_test *t, size_t n)
{
    struct bench b;
    unsigned char sent[1000];
    open_bench(&b, t, 3 * n + 64);
    void *x = gpu_memory_take(&b.memory, n, 0);
    void *y = gpu_memory_take(&b.memory, n, 8), *z = gpu_memory_take(&b.memory, n, 8);
    dml_test_status(t, "fill", dml_gpu_fill(b.ctx, y, 1, n, b.stream), DML_OK);
    begin(&b);
    dml_test_status(t, "copy", dml_gpu_copy(b.ctx, y, x, n, b.stream), DML_OK);
    dml_test_status(t, "fill", dml_gpu_fill(b.ctx, z, 9, n, b.stream), DML_OK);
    dml_gpu_graph graph = end(&b);
    expect(&b, y, n, 1, "before a launch");
    for (int i = 0; i < LAUNCHES; i++) {
        memset(sent, 20 + i, n);
        gpu_memory_put(&b.memory, x, sent, n);
        dml_test_status(t, "fill", dml_gpu_fill(b.ctx, z, 0, n, b.stream), DML_OK);
        dml_test_status(t, "dml_gpu_graph_launch",
                        dml_gpu_graph_launch(b.ctx, graph, b.stream), DML_OK);
        expect(&b, y, n, (unsigned char)(20 + i), "after a launch");
        expect(&b, z, n, 9, "after a launch");
    }
    dml_test_status(t, "dml_gpu_graph_free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    close_bench(&b);
}

static void test_copies(struct dml_test *t)
{
    static const size_t counts[] = {0, 1, 33, 1000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        copies_of(t, counts[i]);
}

/* ---- collectives -------------------------------------------------------------------
 */

/* Of one rank it is a copy. */
static void keep_alone(struct bench *b, const float *x, float *y, size_t n)
{
    static const char *const kept[] = {"ipc", "auto"};
    for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
        dml_test_status(b->t, kept[k],
                        dml_comm_set_algorithm(b->comm, DML_COLL_ALLREDUCE, kept[k]),
                        DML_OK);
        dml_test_status(b->t, "fill",
                        dml_gpu_fill(b->ctx, y, 0, n * sizeof *y, b->stream), DML_OK);
        begin(b);
        dml_test_status(b->t, "dml_allreduce",
                        dml_allreduce(x, y, n, DML_F32, DML_AVG, b->comm), DML_OK);
        dml_gpu_graph graph = end(b);
        expect(b, y, n * sizeof *y, 0, "before a launch");
        dml_test_status(b->t, "dml_gpu_graph_launch",
                        dml_gpu_graph_launch(b->ctx, graph, b->stream), DML_OK);
        expect(b, y, n * sizeof *y, 2, "after a launch");
        dml_test_status(b->t, "dml_gpu_graph_free", dml_gpu_graph_free(b->ctx, graph),
                        DML_OK);
    }
}

/* Where NCCL could do it, or not. */
static void refuse(struct bench *b, const char *path, float *x, size_t n)
{
    const char *const text = "captured";
    dml_test_status(b->t, path,
                    dml_comm_set_algorithm(b->comm, DML_COLL_ALLREDUCE, path), DML_OK);
    begin(b);
    failed(b, path, dml_allreduce(DML_IN_PLACE, x, n, DML_F32, DML_AVG, b->comm),
           DML_EUNSUPPORTED, text);
    dml_gpu_graph graph = end(b);
    dml_test_status(b->t, "dml_gpu_graph_free", dml_gpu_graph_free(b->ctx, graph),
                    DML_OK);
    dml_test_status(b->t, path,
                    dml_allreduce(DML_IN_PLACE, x, n, DML_F32, DML_AVG, b->comm),
                    DML_OK);
    expect(b, x, n * sizeof *x, 2, "after it was refused");
}

static void test_collectives(struct dml_test *t)
{
    struct bench b;
    open_bench(&b, t, 2 * N * sizeof(float) + 64);
    float *x = gpu_memory_take(&b.memory, N * sizeof *x, 0);
    float *y = gpu_memory_take(&b.memory, N * sizeof *y, 8);
    dml_test_status(t, "fill", dml_gpu_fill(b.ctx, x, 2, N * sizeof *x, b.stream),
                    DML_OK);
    if (t->nranks == 1)
        keep_alone(&b, x, y, N);
    else
        refuse(&b, "ipc", x, N);
    refuse(&b, "host_staged", x, N);
    close_bench(&b);
}

/* ---- by NCCL -----------------------------------------------------------------------
 */

static dml_status sum(struct bench *b, float *x)
{
    return dml_allreduce(DML_IN_PLACE, x, N, DML_F32, DML_SUM, b->comm);
}

static void choose(struct bench *b, const char *path)
{
    for (int c = 0; c < DML_NCOLLS; c++)
        if (c != DML_COLL_BARRIER)
            dml_test_status(b->t, path,
                            dml_comm_set_algorithm(b->comm, (dml_coll)c, path), DML_OK);
}

/* False, and the case is skipped, where NCCL cannot be used. */
static bool open_nccl(struct bench *b, struct dml_test *t, float **x)
{
    dml_error error;
    open_bench(b, t, (size_t)(t->nranks + 2) * N * sizeof **x + 64);
    *x = gpu_memory_take(&b->memory, N * sizeof **x, 0);
    choose(b, "nccl");
    dml_status status = sum(b, *x); /* a call that is captured has been made before */
    if (status == DML_OK)
        return true;
    dml_ctx_last_error(b->ctx, &error);
    dml_test_status(t, error.text, status, DML_EUNSUPPORTED);
    close_bench(b);
    dml_test_skip(t, "NCCL cannot be used here");
    return false;
}

static void put(struct bench *b, float *x, float value)
{
    float host[N];
    for (size_t i = 0; i < N; i++)
        host[i] = value + (float)i;
    gpu_memory_put(&b->memory, x, host, sizeof host);
}

/* Is it the sum over ranks of what was put, value + rank? */
static void expect_sums(struct bench *b, const float *x, float value, const char *when)
{
    const float *got = gpu_memory_get(&b->memory, x, N * sizeof *x);
    const int n = b->t->nranks;
    size_t i = 0;
    while (i < N && got[i] == (float)n * (value + (float)i) + (float)(n * (n - 1) / 2))
        i++;
    DML_CHECK(b->t, i == N, "%s: sum %zu is %g", when, i, i < N ? (double)got[i] : 0.0);
}

static void launch(struct bench *b, dml_gpu_graph graph)
{
    dml_test_status(b->t, "dml_gpu_graph_launch",
                    dml_gpu_graph_launch(b->ctx, graph, b->stream), DML_OK);
}

/* Sums by NCCL, though another path is nearer, and what every rank has of them. */
static void test_nccl(struct dml_test *t)
{
    struct bench b;
    float *x = NULL;
    if (!open_nccl(&b, t, &x))
        return;
    const size_t nranks = (size_t)t->nranks;
    float *all = gpu_memory_take(&b.memory, nranks * N * sizeof *all, 0);
    dml_test_status(t, "dml_allgather", dml_allgather(x, all, N, DML_F32, b.comm),
                    DML_OK);
    for (int automatic = 0; automatic < 2; automatic++) {
        choose(&b, automatic ? "auto" : "nccl");
        begin(&b);
        dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
        dml_test_status(t, "dml_allgather", dml_allgather(x, all, N, DML_F32, b.comm),
                        DML_OK);
        dml_gpu_graph graph = end(&b);
        for (int i = 0; i < LAUNCHES; i++) {
            put(&b, x, (float)(10 * i + t->rank));
            launch(&b, graph);
            expect_sums(&b, x, (float)(10 * i), "summed");
            expect_sums(&b, all + (nranks - 1) * N, (float)(10 * i), "gathered");
        }
        dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    }
    dml_test_status(t, "dml_comm_async_error", dml_comm_async_error(b.comm), DML_OK);
    close_bench(&b);
}

/* Rank 0 does not launch the graph a third time, which all others wait for. */
static void test_missing_rank(struct dml_test *t)
{
    struct bench b;
    dml_error error;
    float *x = NULL;
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank waits for none");
        return;
    }
    setenv("DML_TIMEOUT_S", "0.5", 1);
    bool usable = open_nccl(&b, t, &x);
    unsetenv("DML_TIMEOUT_S");
    if (!usable)
        return;
    begin(&b);
    for (int i = 0; i < 2; i++)
        dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
    dml_gpu_graph graph = end(&b);
    for (int i = 0; i < 2 + (t->rank > 0); i++)
        launch(&b, graph);
    dml_test_status(t, "sync", dml_gpu_stream_sync(b.ctx, b.stream), DML_OK);
    if (t->rank > 0)
        failed(&b, "dml_comm_async_error", dml_comm_async_error(b.comm), DML_ETIMEOUT,
               "a graph of 2 collectives, the first allreduce of 4004 bytes, calls 6 "
               "to 7 by nccl on rank");
    dml_ctx_last_error(b.ctx, &error);
    DML_CHECK(t,
              t->rank == 0 || (strstr(error.text, ": rank 0 (") != NULL &&
                               strstr(error.text, "has queued 5 calls") != NULL),
              "\"%s\" does not name the rank that is missing", error.text);
    MPI_Barrier(t->mpi);
    DML_CHECK(t, dml_comm_async_error(b.comm) < 0, "the failure is not told");
    DML_CHECK(t, dml_gpu_graph_launch(b.ctx, graph, b.stream) < 0,
              "a graph of a communicator that has failed is launched");
    DML_CHECK(t, sum(&b, x) < 0, "a communicator that has failed goes on");
    dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    close_bench(&b);
}

static void test_communicator_ended(struct dml_test *t)
{
    struct bench b;
    float *x = NULL;
    if (!open_nccl(&b, t, &x))
        return;
    begin(&b);
    dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
    dml_gpu_graph graph = end(&b);
    dml_comm_destroy(b.comm);
    b.comm = NULL;
    failed(&b, "launch", dml_gpu_graph_launch(b.ctx, graph, b.stream), DML_EINVAL,
           "collectives of a communicator that has been destroyed");
    dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    close_bench(&b);
}

/* ---- misuse ------------------------------------------------------------------------
 */

static void test_misuse(struct dml_test *t)
{
    struct bench b;
    dml_gpu_graph graph = NULL;
    open_bench(&b, t, 64);
    dml_ctx *ctx = b.ctx;
    failed(&b, "default", dml_gpu_capture_begin(ctx, NULL), DML_EINVAL,
           "default stream");
    failed(&b, "end", dml_gpu_capture_end(ctx, b.stream, &graph), DML_EINVAL,
           "not being captured");
    failed(&b, "launch", dml_gpu_graph_launch(ctx, NULL, b.stream), DML_EINVAL, "NULL");
    begin(&b);
    failed(&b, "twice", dml_gpu_capture_begin(ctx, b.stream), DML_EINVAL,
           "captured already");
    failed(&b, "graph", dml_gpu_capture_end(ctx, b.stream, NULL), DML_EINVAL, "NULL");
    DML_CHECK(t, dml_gpu_stream_sync(ctx, b.stream) < 0,
              "a captured stream is waited for");
    DML_CHECK(t, dml_gpu_capture_end(ctx, b.stream, &graph) < 0 && graph == NULL,
              "a spoilt capture has an end");
    begin(&b); /* the stream is as before */
    graph = end(&b);
    dml_test_status(t, "launch", dml_gpu_graph_launch(ctx, graph, b.stream), DML_OK);
    dml_test_status(t, "sync", dml_gpu_stream_sync(ctx, b.stream), DML_OK);
    dml_test_status(t, "free", dml_gpu_graph_free(ctx, graph), DML_OK);
    dml_test_status(t, "free", dml_gpu_graph_free(ctx, NULL), DML_OK);
    DML_CHECK(t, dml_gpu_capture_begin(NULL, b.stream) == DML_EINVAL, "no context");
    close_bench(&b);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"copies and fills", test_copies},
        {"collectives", test_collectives},
        {"by NCCL", test_nccl},
        {"a rank is missing", test_missing_rank},
        {"the communicator has ended", test_communicator_ended},
        {"misuse", test_misuse},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
