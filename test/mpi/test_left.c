/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a failure leaves behind: memory of the library that MPI still works on is not
 * freed, and persistent requests end with their communicator.
 *
 * The last rank does not come, the others run into the timeout and destroy their
 * communicator. Meanwhile this program stands between libdml and MPI (and free): it
 * lists the memory that MPI has been given and has not given back.
 */
#include "dml_test.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOANS = 256, COUNT = 3000 };

/* Memory that MPI has: while "request" is pending. */
struct loan {
    MPI_Request request;
    const char *begin, *end;
};

static struct loan loans[LOANS];
static int nloans, nfreed; /* and how many were freed while MPI had them */

static void lend(MPI_Request request, const void *memory, size_t bytes)
{
    if (nloans < LOANS)
        loans[nloans++] = (struct loan){request, memory, (const char *)memory + bytes};
}

/* The request has ended. */
static void give_back(MPI_Request request)
{
    for (int i = 0; i < nloans; i++)
        if (loans[i].request == request)
            loans[i--] = loans[--nloans];
}

int MPI_Irecv(void *buf, int count, MPI_Datatype type, int source, int tag,
              MPI_Comm comm, MPI_Request *request)
{
    int bytes = 0;
    int code = PMPI_Irecv(buf, count, type, source, tag, comm, request);
    PMPI_Type_size(type, &bytes);
    lend(*request, buf, (size_t)count * (size_t)bytes);
    return code;
}

int MPI_Iallreduce(const void *send, void *recv, int count, MPI_Datatype type,
                   MPI_Op op, MPI_Comm comm, MPI_Request *request)
{
    int bytes = 0;
    int code = PMPI_Iallreduce(send, recv, count, type, op, comm, request);
    PMPI_Type_size(type, &bytes);
    lend(*request, recv, (size_t)count * (size_t)bytes);
    return code;
}

int MPI_Iallgatherv(const void *send, int count, MPI_Datatype send_type, void *recv,
                    const int *counts, const int *displs, MPI_Datatype type,
                    MPI_Comm comm, MPI_Request *request)
{
    int code = PMPI_Iallgatherv(send, count, send_type, recv, counts, displs, type,
                                comm, request);
    lend(*request, counts, sizeof *counts);
    lend(*request, displs, sizeof *displs);
    return code;
}

int MPI_Test(MPI_Request *request, int *flag, MPI_Status *status)
{
    MPI_Request before = *request;
    int code = PMPI_Test(request, flag, status);
    if (*flag && before != MPI_REQUEST_NULL)
        give_back(before);
    return code;
}

int MPI_Testall(int n, MPI_Request *requests, int *flag, MPI_Status *statuses)
{
    MPI_Request before[LOANS];
    memcpy(before, requests, (size_t)n * sizeof before[0]);
    int code = PMPI_Testall(n, requests, flag, statuses);
    for (int i = 0; *flag && i < n; i++)
        if (before[i] != MPI_REQUEST_NULL)
            give_back(before[i]);
    return code;
}

int MPI_Testsome(int n, MPI_Request *requests, int *ended, int *which,
                 MPI_Status *statuses)
{
    MPI_Request before[LOANS];
    memcpy(before, requests, (size_t)n * sizeof before[0]);
    int code = PMPI_Testsome(n, requests, ended, which, statuses);
    for (int i = 0; *ended != MPI_UNDEFINED && i < *ended; i++)
        give_back(before[which[i]]);
    return code;
}

void free(void *memory)
{
    static void (*real)(void *);
    if (real == NULL) {
        void *found = dlsym(RTLD_NEXT, "free");
        memcpy(&real, &found, sizeof real);
    }
    const char *begin = memory;
    for (int i = 0; memory != NULL && i < nloans; i++) {
        const char *end = begin + malloc_usable_size(memory);
        nfreed += loans[i].begin < end && loans[i].end > begin;
    }
    real(memory);
}

/* ---- failures ----------------------------------------------------------------------
 */

static float in[COUNT * DML_TEST_MAX_RANKS], out[COUNT * DML_TEST_MAX_RANKS];

static dml_status agreement(dml_comm *comm)
{
    dml_comm *part = NULL;
    return dml_comm_split(comm, 0, 0, &part);
}

/* Receives go to scratch memory of the schedule. */
static dml_status messages(dml_comm *comm)
{
    return dml_allreduce(in, out, COUNT, DML_BF16, DML_SUM, comm);
}

static dml_status native(dml_comm *comm)
{
    size_t counts[DML_TEST_MAX_RANKS];
    dml_request *request = NULL;
    for (int i = 0; i < dml_comm_size(comm); i++)
        counts[i] = COUNT;
    dml_iallgatherv(in, out, counts, NULL, DML_F32, comm, &request);
    return dml_wait(&request);
}

static void say_nothing(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

/* All ranks but the last call it on a communicator without shared memory. */
static void fail(struct dml_test *t, dml_status (*call)(dml_comm *))
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = say_nothing;
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank");
        return;
    }
    setenv("DML_TIMEOUT_S", "0.3", 1);
    setenv("DML_SHM", "0", 1);
    setenv("DML_ALLREDUCE", "ring", 1);
    setenv("DML_ALLGATHER", "mpi", 1);
    dml_test_status(t, "ctx", dml_ctx_create(&opts, &ctx), DML_OK);
    unsetenv("DML_TIMEOUT_S");
    unsetenv("DML_SHM");
    unsetenv("DML_ALLREDUCE");
    unsetenv("DML_ALLGATHER");
    dml_test_status(t, "comm", dml_comm_from_mpi(ctx, t->mpi, &comm), DML_OK);
    nloans = nfreed = 0;
    bool late = t->rank == t->nranks - 1;
    if (!late)
        dml_test_status(t, "a missing rank", call(comm), DML_ETIMEOUT);
    int lent = nloans, any = 0;
    dml_comm_destroy(comm);
    if (nfreed > 0)
        dml_test_fail(t, "%d of %d buffers were freed while MPI had them", nfreed,
                      lent);
    MPI_Allreduce(&lent, &any, 1, MPI_INT, MPI_MAX, t->mpi);
    if (any == 0)
        dml_test_fail(t, "MPI had nothing: the test tests nothing");
    dml_ctx_destroy(ctx);
    nloans = 0;
}

static void test_agreement(struct dml_test *t)
{
    fail(t, agreement);
}

static void test_messages(struct dml_test *t)
{
    fail(t, messages);
}

static void test_native(struct dml_test *t)
{
    fail(t, native);
}

/* ---- persistent requests -----------------------------------------------------------
 */

static void count_line(void *user, dml_log_level level, const char *line)
{
    int *lines = user;
    (void)level;
    *lines += strstr(line, "dml_request_free") != NULL;
}

/* One is given back before the end, the other is not. */
static void test_persistent(struct dml_test *t)
{
    int lines = 0;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_request *a = NULL, *b = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = count_line;
    opts.log_user = &lines;
    dml_coll_args args = {.size = sizeof args,
                          .coll = DML_COLL_ALLREDUCE,
                          .send = in,
                          .recv = out,
                          .count = COUNT,
                          .dtype = DML_F32,
                          .op = DML_SUM};
    dml_test_status(t, "ctx", dml_ctx_create(&opts, &ctx), DML_OK);
    for (int left = 0; left < 2; left++) {
        dml_test_status(t, "comm", dml_comm_from_mpi(ctx, t->mpi, &comm), DML_OK);
        dml_test_status(t, "init", dml_coll_init(&args, comm, &a), DML_OK);
        dml_test_status(t, "init", dml_coll_init(&args, comm, &b), DML_OK);
        dml_test_status(t, "start", dml_start(a), DML_OK);
        dml_test_status(t, "wait", dml_wait(&a), DML_OK);
        dml_test_status(t, "free", dml_request_free(&a), DML_OK);
        if (left == 0)
            dml_test_status(t, "free", dml_request_free(&b), DML_OK);
        dml_comm_destroy(comm);
        if (lines != left)
            dml_test_fail(t, "%d warnings of %d requests left behind", lines, left);
    }
    dml_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"persistent requests left", test_persistent},
        {"a failed agreement", test_agreement},
        {"failed messages", test_messages},
        {"a failed collective of MPI", test_native},
    };
    return dml_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
