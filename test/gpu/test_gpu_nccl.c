/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NCCL path where NCCL is not as it should be, with the library of fake_nccl.c: too
 * old, missing, and with an error in the background, or work that does not end, which
 * must be named and end the communicator. Run with DML_TEST_NCCL.
 */
#include "dml/gpu.h"

#include "dml_test.h"
#include "nccl_case.h"

#include <stdlib.h>
#include <string.h>

/* Forced, it is refused, and the line says what was found and what is needed. */
static void refused(struct dml_test *t, const char *text)
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = nccl_open_comm(t, &ctx);
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

/* The third call leaves an error behind, which the thread that watches finds. */
static void test_error(struct dml_test *t)
{
    setenv("FAKE_NCCL_ERRORS", "3", 1);
    dml_ctx *ctx = NULL;
    dml_comm *comm = nccl_open_comm(t, &ctx);
    dml_error error;
    void *x = nccl_open_vector(t, ctx);
    dml_status status = DML_OK;
    for (int i = 0; i < 3; i++)
        status = dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm);
    nccl_pause(0.5);
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

/* What was aborted has failed, though its event passes then. */
static void aborted(struct dml_test *t, bool async)
{
    dml_ctx *ctx = NULL;
    dml_gpu_stream stream = NULL;
    dml_request *request = NULL;
    setenv("FAKE_NCCL_ERRORS", "1", 1);
    dml_comm *comm = nccl_open_hanging(t, "1", false, &stream, &ctx);
    void *x = nccl_open_vector(t, ctx);
    dml_status status =
        async ? dml_iallreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm, &request)
              : dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm);
    if (async && status == DML_OK)
        status = dml_wait(&request);
    DML_CHECK(t, status == DML_ECOMM, "the aborted call got %s",
              dml_status_name(status));
    unsetenv("FAKE_NCCL_ERRORS");
    nccl_close_hanging(t, stream, comm, ctx, x);
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
    dml_comm *comm = nccl_open_hanging(t, "2", true, &stream, &ctx);
    void *x = nccl_open_vector(t, ctx);
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
    nccl_close_hanging(t, stream, comm, ctx, x);
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
    dml_comm *comm = nccl_open_hanging(t, "1", true, &stream, &ctx);
    void *x = nccl_open_vector(t, ctx);
    int before = nccl_count(t, "fake_nccl_aborted");
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(DML_IN_PLACE, x, 100, DML_F32, DML_SUM, comm),
                    DML_OK);
    double begin_s = MPI_Wtime();
    dml_test_status(t, "dml_bcast of different counts",
                    dml_bcast(host, t->rank == 0 ? 7 : 8, DML_F32, 0, comm),
                    DML_EMISMATCH);
    while (nccl_count(t, "fake_nccl_aborted") == before && MPI_Wtime() - begin_s < 1.5)
        nccl_pause(0.05);
    double aborted_s = MPI_Wtime() - begin_s;
    DML_CHECK(t, aborted_s < 1.5, "nothing was given up after %g s", aborted_s);
    nccl_close_hanging(t, stream, comm, ctx, x);
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
    dml_comm *comm = nccl_open_hanging(t, "2", t->rank > 0, &stream, &ctx);
    dml_test_status(t, "dml_comm_from_mpi", dml_comm_from_mpi(ctx, t->mpi, &other),
                    DML_OK);
    void *x = nccl_open_vector(t, ctx);
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
    nccl_close_hanging(t, stream, comm, ctx, x);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"too old", test_too_old},      {"versions differ", test_versions_differ},
        {"missing", test_missing},      {"error in the background", test_error},
        {"aborted", test_aborted},      {"others go on", test_others_go_on},
        {"does not end", test_timeout}, {"another rank failed", test_peer_failed},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
