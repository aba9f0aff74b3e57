/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Graphs that hold collectives by NCCL, on several ranks, too: with the library of
 * fake_nccl.c, or on a device with NCCL itself. A launch is watched: a rank that is
 * missing is told.
 */
#include "graph_case.h"
#include "need_device.h"

#include <stdlib.h>
#include <string.h>

enum { LAUNCHES = 4, N = 1001 };

static dml_status sum(struct graph_case *b, float *x)
{
    return dml_allreduce(DML_IN_PLACE, x, N, DML_F32, DML_SUM, b->comm);
}

static void choose(struct graph_case *b, const char *path)
{
    for (int c = 0; c < DML_NCOLLS; c++)
        if (c != DML_COLL_BARRIER)
            dml_test_status(b->t, path,
                            dml_comm_set_algorithm(b->comm, (dml_coll)c, path), DML_OK);
}

/* False, and the case is skipped, where NCCL cannot be used. */
static bool open_nccl(struct graph_case *b, struct dml_test *t, float **x)
{
    dml_error error;
    graph_open(b, t, false, (size_t)(t->nranks + 2) * N * sizeof **x + 64);
    *x = gpu_memory_take(&b->memory, N * sizeof **x, 0);
    choose(b, "nccl");
    dml_status status = sum(b, *x); /* a call that is captured has been made before */
    if (status == DML_OK)
        return true;
    dml_ctx_last_error(b->ctx, &error);
    dml_test_status(t, error.text, status, DML_EUNSUPPORTED);
    graph_close(b);
    dml_test_skip(t, "NCCL cannot be used here");
    return false;
}

static void put(struct graph_case *b, float *x, float value)
{
    float host[N];
    for (size_t i = 0; i < N; i++)
        host[i] = value + (float)i;
    gpu_memory_put(&b->memory, x, host, sizeof host);
}

/* Is it the sum over ranks of what was put, value + rank? */
static void expect_sums(struct graph_case *b, const float *x, float value,
                        const char *when)
{
    const float *got = gpu_memory_get(&b->memory, x, N * sizeof *x);
    const int n = b->t->nranks;
    size_t i = 0;
    while (i < N && got[i] == (float)n * (value + (float)i) + (float)(n * (n - 1) / 2))
        i++;
    DML_CHECK(b->t, i == N, "%s: sum %zu is %g", when, i, i < N ? (double)got[i] : 0.0);
}

static void launch(struct graph_case *b, dml_gpu_graph graph)
{
    dml_test_status(b->t, "dml_gpu_graph_launch",
                    dml_gpu_graph_launch(b->ctx, graph, b->stream), DML_OK);
}

/* Sums by NCCL, though another path is nearer, and what every rank has of them. */
static void test_nccl(struct dml_test *t)
{
    struct graph_case b;
    float *x = NULL;
    if (!open_nccl(&b, t, &x))
        return;
    const size_t nranks = (size_t)t->nranks;
    float *all = gpu_memory_take(&b.memory, nranks * N * sizeof *all, 0);
    dml_test_status(t, "dml_allgather", dml_allgather(x, all, N, DML_F32, b.comm),
                    DML_OK);
    for (int automatic = 0; automatic < 2; automatic++) {
        choose(&b, automatic ? "auto" : "nccl");
        graph_begin(&b);
        dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
        dml_test_status(t, "dml_allgather", dml_allgather(x, all, N, DML_F32, b.comm),
                        DML_OK);
        dml_gpu_graph graph = graph_end(&b);
        for (int i = 0; i < LAUNCHES; i++) {
            put(&b, x, (float)(10 * i + t->rank));
            launch(&b, graph);
            expect_sums(&b, x, (float)(10 * i), "summed");
            expect_sums(&b, all + (nranks - 1) * N, (float)(10 * i), "gathered");
        }
        dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    }
    dml_test_status(t, "dml_comm_async_error", dml_comm_async_error(b.comm), DML_OK);
    graph_close(&b);
}

/* Pieces are a group of calls, blocking, with a request, and captured. */
static void test_list(struct dml_test *t)
{
    struct graph_case b;
    dml_request *request = NULL;
    float *x = NULL;
    if (!open_nccl(&b, t, &x))
        return;
    const dml_piece pieces[] = {{x, N / 3}, {x + N / 3, 0}, {x + N / 3, N - N / 3}};
    put(&b, x, (float)t->rank);
    dml_test_status(t, "list", dml_allreduce_list(pieces, 3, DML_F32, DML_SUM, b.comm),
                    DML_OK);
    expect_sums(&b, x, 0, "blocking");
    put(&b, x, (float)(1 + t->rank));
    dml_test_status(t, "list",
                    dml_iallreduce_list(pieces, 3, DML_F32, DML_SUM, b.comm, &request),
                    DML_OK);
    dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK);
    expect_sums(&b, x, 1, "with a request");
    choose(&b, "auto");
    graph_begin(&b);
    dml_test_status(t, "list", dml_allreduce_list(pieces, 3, DML_F32, DML_SUM, b.comm),
                    DML_OK);
    dml_gpu_graph graph = graph_end(&b);
    put(&b, x, (float)(2 + t->rank));
    launch(&b, graph);
    expect_sums(&b, x, 2, "captured");
    dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    graph_close(&b);
}

/* What waits on the host is refused, and the communicator goes on. */
static void test_waits(struct dml_test *t)
{
    struct graph_case b;
    dml_request *request = NULL;
    float *x = NULL;
    if (!open_nccl(&b, t, &x))
        return;
    graph_begin(&b);
    graph_failed(&b, "dml_iallreduce",
                 dml_iallreduce(DML_IN_PLACE, x, N, DML_F32, DML_SUM, b.comm, &request),
                 DML_EUNSUPPORTED, "with a request cannot be captured");
    dml_test_status(t, "stream", dml_comm_set_stream(b.comm, b.stream, false), DML_OK);
    graph_failed(&b, "dml_allreduce", sum(&b, x), DML_EUNSUPPORTED,
                 "let them queue (dml_comm_set_stream)");
    dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph_end(&b)), DML_OK);
    dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
    graph_close(&b);
}

/* The last rank does not launch the graph a third time, which all others wait for, and
 * the first is further ahead. */
static void test_missing_rank(struct dml_test *t)
{
    struct graph_case b;
    dml_error error;
    char name[32];
    float *x = NULL;
    const bool missing = t->rank == t->nranks - 1;
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank waits for none");
        return;
    }
    setenv("DML_TIMEOUT_S", "0.5", 1);
    bool usable = open_nccl(&b, t, &x);
    unsetenv("DML_TIMEOUT_S");
    if (!usable)
        return;
    graph_begin(&b);
    for (int i = 0; i < 2; i++)
        dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
    dml_gpu_graph graph = graph_end(&b);
    for (int i = 0; i < 2 + !missing + (t->rank == 0); i++)
        launch(&b, graph);
    dml_test_status(t, "sync", dml_gpu_stream_sync(b.ctx, b.stream), DML_OK);
    if (!missing)
        graph_failed(
            &b, "dml_gpu_graph_launch", dml_gpu_graph_launch(b.ctx, graph, b.stream),
            DML_ETIMEOUT,
            "a graph of 2 collectives, the first allreduce of 4004 bytes, calls 6 "
            "to 7 by nccl on rank");
    dml_ctx_last_error(b.ctx, &error);
    snprintf(name, sizeof name, "0.5 s: rank %d (", t->nranks - 1);
    DML_CHECK(t,
              missing || (strstr(error.text, name) != NULL &&
                          strstr(error.text, "has queued 5 calls") != NULL),
              "\"%s\" does not name the rank that is missing", error.text);
    MPI_Barrier(t->mpi);
    DML_CHECK(t, dml_comm_async_error(b.comm) < 0, "the failure is not told");
    DML_CHECK(t, dml_gpu_graph_launch(b.ctx, graph, b.stream) < 0,
              "a graph of a communicator that has failed is launched");
    DML_CHECK(t, sum(&b, x) < 0, "a communicator that has failed goes on");
    dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    graph_close(&b);
}

/* Its first call cannot be captured, nor what it would add up in another order. */
static void test_nccl_cannot(struct dml_test *t)
{
    struct graph_case b;
    float *x = NULL;
    if (t->nranks == 1 || !open_nccl(&b, t, &x)) {
        dml_test_skip(t, "it needs NCCL, and two ranks");
        return;
    }
    graph_close(&b);
    for (int ordered = 0; ordered < 2; ordered++) {
        graph_open(&b, t, ordered, N * sizeof *x);
        x = gpu_memory_take(&b.memory, N * sizeof *x, 0);
        if (ordered) { /* another call has been made */
            choose(&b, "nccl");
            dml_test_status(t, "dml_bcast", dml_bcast(x, N, DML_F32, 0, b.comm),
                            DML_OK);
            choose(&b, "auto");
        }
        graph_begin(&b);
        graph_failed(&b, "dml_allreduce", sum(&b, x), DML_EUNSUPPORTED,
                     ordered ? "nccl cannot do it: reproducible mode"
                             : "make the call once before");
        dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph_end(&b)), DML_OK);
        dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
        graph_close(&b);
    }
}

/* What a launch has queued is waited for: the library ends the test else. */
static void test_destroyed_meanwhile(struct dml_test *t)
{
    struct graph_case b;
    float *x = NULL;
    setenv("FAKE_NCCL_HANG", "2", 1); /* the call that is captured */
    bool usable = open_nccl(&b, t, &x);
    unsetenv("FAKE_NCCL_HANG");
    if (!usable)
        return;
    graph_begin(&b);
    dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
    dml_gpu_graph graph = graph_end(&b);
    launch(&b, graph);
    dml_comm_destroy(b.comm);
    b.comm = NULL;
    dml_test_status(t, "sync", dml_gpu_stream_sync(b.ctx, b.stream), DML_OK);
    dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    graph_close(&b);
}

static void test_communicator_ended(struct dml_test *t)
{
    struct graph_case b;
    float *x = NULL;
    if (!open_nccl(&b, t, &x))
        return;
    graph_begin(&b);
    dml_test_status(t, "dml_allreduce", sum(&b, x), DML_OK);
    dml_gpu_graph graph = graph_end(&b);
    dml_comm_destroy(b.comm);
    b.comm = NULL;
    graph_failed(&b, "launch", dml_gpu_graph_launch(b.ctx, graph, b.stream), DML_EINVAL,
                 "collectives of a communicator that has been destroyed");
    dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph), DML_OK);
    graph_close(&b);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"by NCCL", test_nccl},
        {"lists", test_list},
        {"waits", test_waits},
        {"a rank is missing", test_missing_rank},
        {"NCCL cannot", test_nccl_cannot},
        {"the communicator has ended", test_communicator_ended},
        {"the communicator ends meanwhile", test_destroyed_meanwhile},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
