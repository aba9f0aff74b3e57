/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory and NCCL, with the library of fake_nccl.c: whose allocator it is from, and
 * when it is registered and taken back, which must not be while work that is queued
 * uses it. Run with DML_TEST_NCCL.
 */
#include "dml/gpu.h"
#include "dml/shard.h"

#include "dml_test.h"
#include "nccl_case.h"

#include <stdlib.h>
#include <string.h>

static void check_counts(struct dml_test *t, const char *when, int blocks,
                         int registered)
{
    int b = nccl_count(t, "fake_nccl_blocks"),
        r = nccl_count(t, "fake_nccl_registered");
    DML_CHECK(t, b == blocks && r == registered,
              "%s: %d blocks, %d registered; wanted %d, %d", when, b, r, blocks,
              registered);
}

static void sum_of_ones(struct dml_test *t, dml_ctx *ctx, void *x, dml_comm *comm)
{
    float one = 1, host[100];
    for (size_t i = 0; i < 100; i++)
        memcpy(&host[i], &one, sizeof one);
    dml_test_status(t, "copy", dml_gpu_copy(ctx, x, host, sizeof host, NULL), DML_OK);
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm),
                    DML_OK);
    dml_test_status(t, "copy", dml_gpu_copy(ctx, host, x, sizeof host, NULL), DML_OK);
    dml_test_status(t, "sync", dml_gpu_stream_sync(ctx, NULL), DML_OK);
    DML_CHECK(t, host[0] == (float)t->nranks && host[99] == (float)t->nranks,
              "the sums are %g and %g", (double)host[0], (double)host[99]);
}

/* A block is registered at its first use, once for each communicator, and no longer
 * when it is freed or the communicator ends. */
static void memory_of(struct dml_test *t, bool by_nccl)
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = nccl_open_comm(t, &ctx), *twin = NULL;
    void *x = nccl_open_vector(t, ctx), *y = nccl_open_vector(t, ctx);
    int blocks = by_nccl && t->nranks > 1 ? 2 : 0;
    check_counts(t, "allocated", blocks, 0);
    dml_test_status(t, "dml_comm_split", dml_comm_split(comm, 0, t->rank, &twin),
                    DML_OK);
    dml_test_status(t, "dml_comm_set_algorithm",
                    dml_comm_set_algorithm(twin, DML_COLL_ALLREDUCE, "nccl"), DML_OK);
    for (int i = 0; i < 2; i++)
        sum_of_ones(t, ctx, x, comm);
    check_counts(t, "used", blocks, 1);
    sum_of_ones(t, ctx, x, twin);
    sum_of_ones(t, ctx, y, twin);
    check_counts(t, "used by two", blocks, 3);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
    check_counts(t, "freed", blocks > 0 ? 1 : 0, 1);
    dml_comm_destroy(twin);
    check_counts(t, "communicator destroyed", blocks > 0 ? 1 : 0, 0);
    /* Nobody can map NCCL's: then the way is through the host. */
    dml_test_status(t, "dml_comm_set_algorithm",
                    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "auto"), DML_OK);
    sum_of_ones(t, ctx, y, comm);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, y), DML_OK);
    check_counts(t, "all freed", 0, 0);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

static void test_memory(struct dml_test *t)
{
    dml_test_step(t, "the driver's");
    memory_of(t, false);
    setenv("DML_GPU_MEMORY", "nccl", 1);
    dml_test_step(t, "NCCL's");
    memory_of(t, true);
    unsetenv("DML_GPU_MEMORY");
    setenv("DML_TEST_GPU_NO_IPC", "1", 1);
    dml_test_step(t, "NCCL's, since peers are out of reach");
    memory_of(t, true);
    unsetenv("DML_TEST_GPU_NO_IPC");
}

/* By ipc, which cannot map NCCL's memory. */
static void test_memory_by_ipc(struct dml_test *t)
{
    dml_ctx *ctx = NULL;
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank maps nothing");
        return;
    }
    setenv("DML_GPU_MEMORY", "nccl", 1);
    dml_comm *comm = nccl_open_comm(t, &ctx);
    unsetenv("DML_GPU_MEMORY");
    void *x = nccl_open_vector(t, ctx);
    dml_test_status(t, "dml_comm_set_algorithm",
                    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "ipc"), DML_OK);
    check_counts(t, "allocated", 1, 0);
    sum_of_ones(t, ctx, x, comm);
    check_counts(t, "used", 1, 0);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* The library ends the test where memory is taken back too soon: by the first that is
 * called here, while the second call hangs. */
static void taken_back(struct dml_test *t, bool by_free)
{
    dml_ctx *ctx = NULL;
    dml_gpu_stream stream = NULL;
    dml_comm *comm = nccl_open_hanging(t, "2", true, &stream, &ctx);
    void *x = nccl_open_vector(t, ctx);
    dml_test_status(t, "sync", dml_gpu_stream_sync(ctx, NULL), DML_OK);
    for (int i = 0; i < 2; i++)
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm),
                        DML_OK);
    check_counts(t, "in use", 0, 1);
    if (by_free) {
        dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
        x = NULL;
    } else {
        dml_comm_destroy(comm);
        comm = NULL;
    }
    check_counts(t, "taken back", 0, 0);
    nccl_close_hanging(t, stream, comm, ctx, x);
}

static void test_in_use(struct dml_test *t)
{
    dml_test_step(t, "freed");
    taken_back(t, true);
    dml_test_step(t, "communicator destroyed");
    taken_back(t, false);
}

/* Sharded training's packed vectors are registered as the caller's memory is. */
static void test_packed(struct dml_test *t)
{
    enum { TENSORS = 2, N = 100 };
    dml_ctx *ctx = NULL;
    dml_sharded *s = NULL;
    dml_param params[TENSORS];
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank scatters nothing");
        return;
    }
    dml_comm *comm = nccl_open_comm(t, &ctx);
    dml_comm_set_algorithm(comm, DML_COLL_REDUCE_SCATTER, "nccl");
    dml_comm_set_algorithm(comm, DML_COLL_ALLGATHER, "nccl");
    for (int i = 0; i < TENSORS; i++)
        params[i] = (dml_param){.param = nccl_open_vector(t, ctx),
                                .grad = nccl_open_vector(t, ctx),
                                .count = N,
                                .dtype = DML_F32,
                                .grad_dtype = DML_F32};
    dml_test_status(
        t, "dml_sharded_create",
        dml_sharded_create(DML_OPTIM_SGD, params, TENSORS, NULL, NULL, comm, &s),
        DML_OK);
    dml_test_status(t, "begin", dml_sharded_begin(s), DML_OK);
    for (size_t i = TENSORS; i-- > 0;)
        dml_test_status(t, "ready", dml_sharded_ready(s, i), DML_OK);
    dml_test_status(t, "step", dml_sharded_step(s, 0.1), DML_OK);
    dml_test_status(t, "wait", dml_sharded_wait_all(s), DML_OK);
    int n = nccl_count(t, "fake_nccl_registered");
    DML_CHECK(t, n > 0, "no vector is registered");
    dml_sharded_destroy(s);
    check_counts(t, "destroyed", 0, 0);
    for (int i = 0; i < TENSORS; i++) {
        dml_gpu_free(ctx, params[i].param);
        dml_gpu_free(ctx, (void *)(uintptr_t)params[i].grad);
    }
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"memory", test_memory},
        {"memory by ipc", test_memory_by_ipc},
        {"memory in use", test_in_use},
        {"packed vectors", test_packed},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
