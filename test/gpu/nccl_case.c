/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Communicators for tests with the library of fake_nccl.c; see nccl_case.h.
 */
#include "nccl_case.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

dml_comm *nccl_open_comm(struct dml_test *t, dml_ctx **ctx)
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

void nccl_pause(double seconds)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * seconds)}, NULL);
}

void *nccl_open_vector(struct dml_test *t, dml_ctx *ctx)
{
    void *x = NULL;
    dml_test_status(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, 400, &x), DML_OK);
    dml_test_status(t, "dml_gpu_fill", dml_gpu_fill(ctx, x, 0, 400, NULL), DML_OK);
    return x;
}

dml_comm *nccl_open_hanging(struct dml_test *t, const char *hangs, bool queued,
                            dml_gpu_stream *stream, dml_ctx **ctx)
{
    dml_test_status(t, "stream", dml_gpu_stream_create(t->ctx, stream), DML_OK);
    setenv("FAKE_NCCL_HANG", hangs, 1);
    setenv("DML_TEST_GPU_DELAY_US", "900000", 1);
    dml_comm *comm = nccl_open_comm(t, ctx);
    dml_test_status(t, "dml_comm_set_stream",
                    dml_comm_set_stream(comm, *stream, queued), DML_OK);
    return comm;
}

void nccl_close_hanging(struct dml_test *t, dml_gpu_stream stream, dml_comm *comm,
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

int nccl_count(struct dml_test *t, const char *name)
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
