/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Graphs of captured work by the public calls: what is kept is done at each launch and
 * not before; collectives that need nobody are kept, too, and others refused without
 * an end of the capture or the communicator. (By NCCL: test_gpu_graph_nccl.c.
 * Optimizers, codecs and what spoils a capture: test/unit/test_gpu_capture.c.)
 */
#include "graph_case.h"
#include "need_device.h"

#include <string.h>

enum { LAUNCHES = 4, N = 1001 };

/* Is it n bytes "byte"? */
static void expect(struct graph_case *b, const void *device, size_t n,
                   unsigned char byte, const char *when)
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
    struct graph_case b;
    unsigned char sent[1000];
    graph_open(&b, t, false, 3 * n + 64);
    void *x = gpu_memory_take(&b.memory, n, 0);
    void *y = gpu_memory_take(&b.memory, n, 8), *z = gpu_memory_take(&b.memory, n, 8);
    dml_test_status(t, "fill", dml_gpu_fill(b.ctx, y, 1, n, b.stream), DML_OK);
    graph_begin(&b);
    dml_test_status(t, "copy", dml_gpu_copy(b.ctx, y, x, n, b.stream), DML_OK);
    dml_test_status(t, "fill", dml_gpu_fill(b.ctx, z, 9, n, b.stream), DML_OK);
    dml_gpu_graph graph = graph_end(&b);
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
    graph_close(&b);
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
static void keep_alone(struct graph_case *b, const float *x, float *y, size_t n)
{
    static const char *const kept[] = {"ipc", "auto"};
    for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
        dml_test_status(b->t, kept[k],
                        dml_comm_set_algorithm(b->comm, DML_COLL_ALLREDUCE, kept[k]),
                        DML_OK);
        dml_test_status(b->t, "fill",
                        dml_gpu_fill(b->ctx, y, 0, n * sizeof *y, b->stream), DML_OK);
        graph_begin(b);
        dml_test_status(b->t, "dml_allreduce",
                        dml_allreduce(x, y, n, DML_F32, DML_AVG, b->comm), DML_OK);
        dml_gpu_graph graph = graph_end(b);
        expect(b, y, n * sizeof *y, 0, "before a launch");
        dml_test_status(b->t, "dml_gpu_graph_launch",
                        dml_gpu_graph_launch(b->ctx, graph, b->stream), DML_OK);
        expect(b, y, n * sizeof *y, 2, "after a launch");
        dml_test_status(b->t, "dml_gpu_graph_free", dml_gpu_graph_free(b->ctx, graph),
                        DML_OK);
    }
}

/* Where NCCL could do it, or not. */
static void refuse(struct graph_case *b, const char *path, float *x, size_t n)
{
    const char *const text = "captured";
    dml_test_status(b->t, path,
                    dml_comm_set_algorithm(b->comm, DML_COLL_ALLREDUCE, path), DML_OK);
    graph_begin(b);
    graph_failed(b, path, dml_allreduce(DML_IN_PLACE, x, n, DML_F32, DML_AVG, b->comm),
                 DML_EUNSUPPORTED, text);
    dml_gpu_graph graph = graph_end(b);
    dml_test_status(b->t, "dml_gpu_graph_free", dml_gpu_graph_free(b->ctx, graph),
                    DML_OK);
    dml_test_status(b->t, path,
                    dml_allreduce(DML_IN_PLACE, x, n, DML_F32, DML_AVG, b->comm),
                    DML_OK);
    expect(b, x, n * sizeof *x, 2, "after it was refused");
}

static void test_collectives(struct dml_test *t)
{
    struct graph_case b;
    graph_open(&b, t, false, 2 * N * sizeof(float) + 64);
    float *x = gpu_memory_take(&b.memory, N * sizeof *x, 0);
    float *y = gpu_memory_take(&b.memory, N * sizeof *y, 8);
    dml_test_status(t, "fill", dml_gpu_fill(b.ctx, x, 2, N * sizeof *x, b.stream),
                    DML_OK);
    if (t->nranks == 1)
        keep_alone(&b, x, y, N);
    else
        refuse(&b, "ipc", x, N);
    refuse(&b, "host_staged", x, N);
    graph_close(&b);
}

/* What waits for the stream is refused before anything has been sent. */
static void test_waits(struct dml_test *t)
{
    struct graph_case b;
    graph_open(&b, t, false, 2 * N * sizeof(float) + 64);
    float *x = gpu_memory_take(&b.memory, N * sizeof *x, 0);
    const int next = (t->rank + 1) % t->nranks;
    const dml_coll_args args = {.size = sizeof args,
                                .coll = DML_COLL_ALLREDUCE,
                                .send = DML_IN_PLACE,
                                .recv = x,
                                .count = N,
                                .dtype = DML_F32,
                                .op = DML_AVG};
    dml_request *planned = NULL, *message = NULL;
    const char *const text = "cannot be captured";
    dml_test_status(t, "dml_coll_init", dml_coll_init(&args, b.comm, &planned), DML_OK);
    dml_test_status(t, "fill", dml_gpu_fill(b.ctx, x, 2, N * sizeof *x, b.stream),
                    DML_OK);
    graph_begin(&b);
    graph_failed(&b, "start", dml_start(planned), DML_EUNSUPPORTED, text);
    if (t->nranks > 1) {
        graph_failed(&b, "send", dml_send(x, N, DML_F32, next, 1, b.comm),
                     DML_EUNSUPPORTED, text);
        graph_failed(&b, "recv", dml_irecv(x, N, DML_F32, next, 1, b.comm, &message),
                     DML_EUNSUPPORTED, text);
    }
    dml_gpu_graph graph = graph_end(&b);
    dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    dml_test_status(t, "dml_start", dml_start(planned), DML_OK);
    dml_test_status(t, "dml_wait", dml_wait(&planned), DML_OK);
    expect(&b, x, N * sizeof *x, 2, "after it was refused");
    dml_test_status(t, "free", dml_request_free(&planned), DML_OK);
    graph_close(&b);
}

/* ---- misuse ------------------------------------------------------------------------
 */

static void test_misuse(struct dml_test *t)
{
    struct graph_case b;
    dml_gpu_graph graph = NULL;
    graph_open(&b, t, false, 64);
    dml_ctx *ctx = b.ctx;
    graph_failed(&b, "default", dml_gpu_capture_begin(ctx, NULL), DML_EINVAL,
                 "default stream");
    graph_failed(&b, "end", dml_gpu_capture_end(ctx, b.stream, &graph), DML_EINVAL,
                 "not being captured");
    graph_failed(&b, "launch", dml_gpu_graph_launch(ctx, NULL, b.stream), DML_EINVAL,
                 "NULL");
    graph_begin(&b);
    graph_failed(&b, "twice", dml_gpu_capture_begin(ctx, b.stream), DML_EINVAL,
                 "captured already");
    graph_failed(&b, "graph", dml_gpu_capture_end(ctx, b.stream, NULL), DML_EINVAL,
                 "NULL");
    DML_CHECK(t, dml_gpu_stream_sync(ctx, b.stream) < 0,
              "a captured stream is waited for");
    DML_CHECK(t, dml_gpu_capture_end(ctx, b.stream, &graph) < 0 && graph == NULL,
              "a spoilt capture has an end");
    graph_begin(&b); /* the stream is as before */
    graph = graph_end(&b);
    dml_test_status(t, "launch", dml_gpu_graph_launch(ctx, graph, b.stream), DML_OK);
    graph_begin(&b);
    graph_failed(&b, "launch", dml_gpu_graph_launch(ctx, graph, b.stream),
                 DML_EUNSUPPORTED, "a stream that is captured");
    dml_gpu_graph other = graph_end(&b);
    dml_test_status(t, "free", dml_gpu_graph_free(ctx, other), DML_OK);
    graph_failed(&b, "launch", dml_gpu_graph_launch(ctx, other, b.stream), DML_EINVAL,
                 "no graph");
    dml_test_status(t, "sync", dml_gpu_stream_sync(ctx, b.stream), DML_OK);
    dml_test_status(t, "free", dml_gpu_graph_free(ctx, graph), DML_OK);
    graph_failed(&b, "free", dml_gpu_graph_free(ctx, graph), DML_EINVAL, "no graph");
    dml_test_status(t, "free", dml_gpu_graph_free(ctx, NULL), DML_OK);
    DML_CHECK(t, dml_gpu_capture_begin(NULL, b.stream) == DML_EINVAL, "no context");
    graph_close(&b);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"copies and fills", test_copies},
        {"collectives", test_collectives},
        {"what waits", test_waits},
        {"misuse", test_misuse},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
