/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NCCL path where NCCL is not as it should be, with the library of fake_nccl.c: too
 * old, missing, and with an error in the background, or work that does not end, which
 * must be named and end the communicator. Run with DML_TEST_NCCL.
 */
#include "dml/gpu.h"

#include "dml_test.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A communicator of all ranks whose context sees the environment as it is now. */
static dml_comm *open_comm(struct dml_test *t, dml_ctx **ctx)
{
    dml_comm *comm = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log_level = DML_LOG_ERROR;
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(&opts, ctx), DML_OK);
    dml_test_status(t, "dml_comm_from_mpi", dml_comm_from_mpi(*ctx, t->mpi, &comm),
                    DML_OK);
    dml_test_status(t, "dml_gpu_bind", dml_gpu_bind(comm, DML_GPU_NEAREST), DML_OK);
    dml_test_status(t, "dml_comm_set_algorithm",
                    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "nccl"), DML_OK);
    return comm;
}

/* Forced, it is refused, and the line says what was found and what is needed. */
static void refused(struct dml_test *t, const char *text)
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = open_comm(t, &ctx);
    dml_error error;
    void *x = NULL;
    dml_test_status(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, 400, &x), DML_OK);
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm),
                    DML_EUNSUPPORTED);
    dml_ctx_last_error(ctx, &error);
    DML_CHECK(t, strstr(error.text, text) != NULL, "\"%s\" does not say \"%s\"",
              error.text, text);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

static void test_too_old(struct dml_test *t)
{
    setenv("FAKE_NCCL_VERSION", "21805", 1);
    refused(t, "NCCL 2.18.5 is too old; 2.19 or later is needed");
    unsetenv("FAKE_NCCL_VERSION");
}

static void test_versions_differ(struct dml_test *t)
{
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank cannot differ");
        return;
    }
    setenv("FAKE_NCCL_VERSION", t->rank == 0 ? "22809" : "22100", 1);
    refused(t, "different versions of NCCL, from 22100 to 22809");
    unsetenv("FAKE_NCCL_VERSION");
}

static void test_missing(struct dml_test *t)
{
    char *library = strdup(getenv("DML_TEST_NCCL"));
    setenv("DML_TEST_NCCL", "libnccl-absent.so", 1);
    refused(t, "libnccl-absent.so is not found; NCCL 2.19 or later is needed");
    setenv("DML_TEST_NCCL", library, 1);
    free(library);
}

static void pause_for(double seconds)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * seconds)}, NULL);
}

static void *open_vector(struct dml_test *t, dml_ctx *ctx)
{
    void *x = NULL;
    dml_test_status(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, 400, &x), DML_OK);
    dml_test_status(t, "dml_gpu_fill", dml_gpu_fill(ctx, x, 0, 400, NULL), DML_OK);
    return x;
}

/* The third call leaves an error behind, which the thread that watches finds. */
static void test_error(struct dml_test *t)
{
    setenv("FAKE_NCCL_ERRORS", "3", 1);
    dml_ctx *ctx = NULL;
    dml_comm *comm = open_comm(t, &ctx);
    dml_error error;
    void *x = open_vector(t, ctx);
    dml_status status = DML_OK;
    for (int i = 0; i < 3; i++)
        status = dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm);
    pause_for(0.5);
    status = dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm);
    DML_CHECK(t, status == DML_ECOMM, "the call after an error got %s",
              dml_status_name(status));
    dml_ctx_last_error(ctx, &error);
    DML_CHECK(t,
              strstr(error.text, "allreduce") != NULL &&
                  strstr(error.text, "remote process exited") != NULL,
              "\"%s\" names neither the call nor the error", error.text);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    unsetenv("FAKE_NCCL_ERRORS");
}

/* A communicator of which one call hangs, in a stream of its own. */
static dml_comm *open_hanging(struct dml_test *t, const char *hangs, bool queued,
                              dml_gpu_stream *stream, dml_ctx **ctx)
{
    dml_test_status(t, "stream", dml_gpu_stream_create(t->ctx, stream), DML_OK);
    setenv("FAKE_NCCL_HANG", hangs, 1);
    setenv("DML_TEST_GPU_DELAY_US", "900000", 1);
    dml_comm *comm = open_comm(t, ctx);
    dml_test_status(t, "dml_comm_set_stream",
                    dml_comm_set_stream(comm, *stream, queued), DML_OK);
    return comm;
}

static void close_hanging(struct dml_test *t, dml_gpu_stream stream, dml_comm *comm,
                          dml_ctx *ctx, void *x)
{
    unsetenv("FAKE_NCCL_HANG");
    unsetenv("DML_TEST_GPU_DELAY_US");
    dml_test_status(t, "sync", dml_gpu_stream_sync(ctx, stream), DML_OK);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    dml_test_status(t, "stream", dml_gpu_stream_destroy(t->ctx, stream), DML_OK);
}

/* What was aborted has failed, though its event passes then. */
static void aborted(struct dml_test *t, bool async)
{
    dml_ctx *ctx = NULL;
    dml_gpu_stream stream = NULL;
    dml_request *request = NULL;
    setenv("FAKE_NCCL_ERRORS", "1", 1);
    dml_comm *comm = open_hanging(t, "1", false, &stream, &ctx);
    void *x = open_vector(t, ctx);
    dml_status status =
        async ? dml_iallreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm, &request)
              : dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm);
    if (async && status == DML_OK)
        status = dml_wait(&request);
    DML_CHECK(t, status == DML_ECOMM, "the aborted call got %s",
              dml_status_name(status));
    unsetenv("FAKE_NCCL_ERRORS");
    close_hanging(t, stream, comm, ctx, x);
}

static void test_aborted(struct dml_test *t)
{
    aborted(t, false);
    aborted(t, true);
}

/* The second call hangs, queued while the first is still watched. */
static void test_timeout(struct dml_test *t)
{
    dml_ctx *ctx = NULL;
    dml_gpu_stream stream = NULL;
    dml_error error;
    dml_status status = DML_OK;
    setenv("DML_TIMEOUT_S", "0.3", 1);
    dml_comm *comm = open_hanging(t, "2", true, &stream, &ctx);
    void *x = open_vector(t, ctx);
    for (int i = 0; i < 2; i++)
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm),
                        DML_OK);
    dml_test_status(t, "sync", dml_gpu_stream_sync(ctx, stream), DML_OK);
    status = dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm);
    DML_CHECK(t, status == DML_ETIMEOUT, "the call after a hang got %s",
              dml_status_name(status));
    dml_ctx_last_error(ctx, &error);
    DML_CHECK(t,
              strstr(error.text, "call 2 by nccl") != NULL &&
                  strstr(error.text, "it has not ended after 0.3 s") != NULL,
              "\"%s\" does not name the call", error.text);
    unsetenv("DML_TIMEOUT_S");
    close_hanging(t, stream, comm, ctx, x);
}

/* ---- memory ------------------------------------------------------------------------
 */

/* A count that the library keeps. */
static int count_of(struct dml_test *t, const char *name)
{
    int (*count)(void) = NULL;
    void *library = dlopen(getenv("DML_TEST_NCCL"), RTLD_NOW);
    void *symbol = library != NULL ? dlsym(library, name) : NULL;
    memcpy(&count, &symbol, sizeof count);
    int n = count != NULL ? count() : -1;
    DML_CHECK(t, n >= 0, "there is no %s", name);
    if (library != NULL)
        dlclose(library);
    return n;
}

static void check_counts(struct dml_test *t, const char *when, int blocks,
                         int registered)
{
    int b = count_of(t, "fake_nccl_blocks"), r = count_of(t, "fake_nccl_registered");
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
    dml_comm *comm = open_comm(t, &ctx), *twin = NULL;
    void *x = open_vector(t, ctx), *y = open_vector(t, ctx);
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
    dml_comm *comm = open_comm(t, &ctx);
    unsetenv("DML_GPU_MEMORY");
    void *x = open_vector(t, ctx);
    dml_test_status(t, "dml_comm_set_algorithm",
                    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "ipc"), DML_OK);
    check_counts(t, "allocated", 1, 0);
    sum_of_ones(t, ctx, x, comm);
    check_counts(t, "used", 1, 0);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* What is queued is given up when another rank fails, though nobody waits for it: here
 * it would end by itself after 1.8 s. */
static void test_peer_failed(struct dml_test *t)
{
    dml_ctx *ctx = NULL;
    dml_gpu_stream stream = NULL;
    float host[100] = {0};
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank has no other");
        return;
    }
    dml_comm *comm = open_hanging(t, "1", true, &stream, &ctx);
    void *x = open_vector(t, ctx);
    int before = count_of(t, "fake_nccl_aborted");
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm),
                    DML_OK);
    double begin_s = MPI_Wtime();
    dml_test_status(t, "dml_bcast of different counts",
                    dml_bcast(host, t->rank == 0 ? 7 : 8, DML_F32, 0, comm),
                    DML_EMISMATCH);
    while (count_of(t, "fake_nccl_aborted") == before && MPI_Wtime() - begin_s < 1.5)
        pause_for(0.05);
    double aborted_s = MPI_Wtime() - begin_s;
    DML_CHECK(t, aborted_s < 1.5, "nothing was given up after %g s", aborted_s);
    close_hanging(t, stream, comm, ctx, x);
}

static void begin_other(struct dml_test *t, float *y, size_t n, dml_comm *other,
                        dml_request **request)
{
    dml_test_status(
        t, "dml_iallreduce",
        dml_iallreduce(DML_IN_PLACE, y, n, DML_F32, DML_SUM, other, request), DML_OK);
}

/* Rank 0 waits for a call by NCCL that takes long, and meanwhile does its part of
 * another communicator's, for which rank 1 waits. */
static void test_others_go_on(struct dml_test *t)
{
    enum { MANY = 100000 };
    dml_ctx *ctx = NULL;
    dml_gpu_stream stream = NULL;
    dml_comm *other = NULL;
    dml_request *request = NULL;
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank waits for none");
        return;
    }
    dml_comm *comm = open_hanging(t, "2", t->rank > 0, &stream, &ctx);
    dml_test_status(t, "dml_comm_from_mpi", dml_comm_from_mpi(ctx, t->mpi, &other),
                    DML_OK);
    void *x = open_vector(t, ctx);
    float *y = dml_test_alloc(MANY * sizeof *y);
    memset(y, 0, MANY * sizeof *y);
    for (int i = 0; i < 2; i++) {
        if (i == 1 && t->rank == 0)
            begin_other(t, y, MANY, other, &request);
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm),
                        DML_OK);
    }
    if (t->rank > 0)
        begin_other(t, y, MANY, other, &request);
    double begin_s = MPI_Wtime();
    dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK);
    double waited_s = MPI_Wtime() - begin_s;
    DML_CHECK(t, waited_s < 0.9, "the other communicator's call took %g s", waited_s);
    free(y);
    dml_comm_destroy(other);
    close_hanging(t, stream, comm, ctx, x);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"too old", test_too_old},
        {"versions differ", test_versions_differ},
        {"missing", test_missing},
        {"error in the background", test_error},
        {"aborted", test_aborted},
        {"others go on", test_others_go_on},
        {"does not end", test_timeout},
        {"memory", test_memory},
        {"memory by ipc", test_memory_by_ipc},
        {"another rank failed", test_peer_failed},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
