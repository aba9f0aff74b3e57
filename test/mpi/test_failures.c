/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must not be silent, or hang: every allocation that can fail, ranks that complete
 * a pending collective before or after a blocking one, blocks of nothing, and a tuning
 * table that is none.
 */
#include "dml_test.h"

#include <dml/dml.h>
#include <dml/mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT = 3000, MAX_ALLOCS = 400 };

static const char *const algorithms[] = {
    "ring", "recursive_doubling", "direct", "staged", "flat", "mpi"};

/* One all-reduce of ones, f32 or (with accumulators) bf16. Fails, or gives P. */
static dml_status sum_ones(dml_comm *comm, dml_dtype dtype, bool blocking, bool *right)
{
    static float ones[COUNT], sums[COUNT];
    uint16_t *half = (uint16_t *)(void *)ones, *half_sums = (uint16_t *)(void *)sums;
    bool wide = dtype == DML_F32;
    for (int i = 0; i < COUNT; i++) {
        if (wide)
            ones[i] = 1;
        else
            half[i] = 0x3f80; /* 1 in bf16 */
    }
    dml_request *request = NULL;
    dml_status status =
        blocking ? dml_allreduce(ones, sums, COUNT, dtype, DML_SUM, comm)
                 : dml_iallreduce(ones, sums, COUNT, dtype, DML_SUM, comm, &request);
    if (status == DML_OK && !blocking)
        status = dml_wait(&request);
    float wanted = (float)dml_comm_size(comm);
    for (int i = 0; i < COUNT && status == DML_OK; i++) {
        union {
            uint32_t bits;
            float value;
        } got = {.bits = wide ? 0 : (uint32_t)half_sums[i] << 16};
        *right = *right && (wide ? sums[i] : got.value) == wanted;
    }
    return status;
}

/* The n-th allocation fails on every rank. True when none was left to fail. */
static bool fail_allocation(struct dml_test *t, int n, const char *algorithm,
                            dml_dtype dtype, bool blocking)
{
    char text[16];
    snprintf(text, sizeof text, "%d", n);
    setenv("DML_TEST_ALLOC_FAIL", text, 1);
    setenv("DML_MEASURE", "0", 1);
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    bool right = true;
    dml_status status = dml_ctx_create(NULL, &ctx);
    unsetenv("DML_TEST_ALLOC_FAIL");
    unsetenv("DML_MEASURE");
    if (status == DML_OK)
        status = dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm);
    if (status == DML_OK)
        status = dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, algorithm);
    if (status == DML_OK)
        status = sum_ones(comm, dtype, blocking, &right);
    dml_error error = {.status = DML_OK};
    if (ctx != NULL)
        dml_ctx_last_error(ctx, &error);
    if (!right)
        dml_test_fail(t, "%s, allocation %d: DML_OK with a wrong sum", algorithm, n);
    if (status != DML_OK && (status != DML_ENOMEM || error.status != DML_ENOMEM))
        dml_test_fail(t, "%s, allocation %d: %s, last error %s", algorithm, n,
                      dml_status_name(status), dml_status_name(error.status));
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    return status == DML_OK;
}

static void test_allocations(struct dml_test *t)
{
    for (int a = 0; a < 4; a++)
        for (int variant = 0; variant < 4; variant++) {
            dml_dtype dtype = variant & 1 ? DML_BF16 : DML_F32;
            if (dtype == DML_BF16 && a == 3)
                continue; /* MPI has no bf16 */
            int n = 1;
            dml_test_step(t, "%s, variant %d", algorithms[a], variant);
            while (n < MAX_ALLOCS &&
                   !fail_allocation(t, n, algorithms[a], dtype, variant < 2))
                n++;
            if (n == 1 || n == MAX_ALLOCS)
                dml_test_fail(t, "%s: %d allocations failed", algorithms[a], n - 1);
        }
}

static void open_comm(struct dml_test *t, dml_ctx **ctx, dml_comm **comm)
{
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(NULL, ctx), DML_OK);
    dml_test_status(t, "dml_comm_from_mpi",
                    dml_comm_from_mpi(*ctx, MPI_COMM_WORLD, comm), DML_OK);
}

/* Rank 0 calls the blocking one first (which measures, as the third of its kind), the
 * others wait first. */
static void test_wait_order(struct dml_test *t)
{
    enum { LARGE = 1 << 18 };
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL, *part = NULL;
    dml_request *request = NULL;
    float *x = dml_test_alloc(LARGE * sizeof *x), small[4] = {0};
    open_comm(t, &ctx, &comm);
    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "ring");
    for (int i = 0; i < 2; i++)
        dml_test_status(t, "bcast", dml_bcast(small, 4, DML_F32, 0, comm), DML_OK);
    bool first = dml_comm_rank(comm) == 0;
    for (int round = 0; round < 2; round++) {
        memset(x, 0, LARGE * sizeof *x);
        dml_iallreduce(DML_IN_PLACE, x, LARGE, DML_F32, DML_SUM, comm, &request);
        if (!first)
            dml_test_status(t, "wait", dml_wait(&request), DML_OK);
        if (round == 0)
            dml_test_status(t, "bcast", dml_bcast(small, 4, DML_F32, 0, comm), DML_OK);
        else
            dml_test_status(t, "split", dml_comm_split(comm, 0, 0, &part), DML_OK);
        if (first)
            dml_test_status(t, "wait", dml_wait(&request), DML_OK);
    }
    dml_comm_destroy(part);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    free(x);
}

/* A message that nobody received on a communicator that failed is not received on the
 * next one, though MPI may have freed the first. */
static void test_left_message(struct dml_test *t)
{
    if (t->nranks < 2) {
        dml_test_skip(t, "needs a second rank");
        return;
    }
    enum { STALE = 1, FRESH = 2, TAG = 5 };
    for (int round = 0; round < 3; round++) {
        dml_ctx *ctx = NULL;
        dml_comm *comm = NULL;
        int32_t number = STALE, got = 0;
        float x[2] = {1, 1};
        open_comm(t, &ctx, &comm);
        if (t->rank == 0) /* so short that MPI takes it at once */
            dml_test_status(t, "send", dml_send(&number, 1, DML_I32, 1, TAG, comm),
                            DML_OK);
        /* A rank may be through before another looks at its call. */
        dml_status status = DML_OK;
        for (int call = 0; call < 100 && status == DML_OK; call++)
            status = dml_allreduce(DML_IN_PLACE, x, t->rank == 0 ? 1 : 2, DML_F32,
                                   DML_SUM, comm);
        DML_CHECK(t, status == DML_EMISMATCH, "the ranks' counts differ, but %s",
                  dml_status_name(status));
        dml_comm_destroy(comm);
        dml_ctx_destroy(ctx);
        open_comm(t, &ctx, &comm);
        number = FRESH;
        if (t->rank == 0)
            dml_test_status(t, "send", dml_send(&number, 1, DML_I32, 1, TAG, comm),
                            DML_OK);
        if (t->rank == 1)
            dml_test_status(t, "recv", dml_recv(&got, 1, DML_I32, 0, TAG, comm),
                            DML_OK);
        DML_CHECK(t, t->rank != 1 || got == FRESH, "received %d", (int)got);
        dml_comm_destroy(comm);
        dml_ctx_destroy(ctx);
    }
}

/* All elements belong to the last rank; the others have no memory at all. */
static void test_empty_blocks(struct dml_test *t)
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    size_t counts[64] = {0};
    open_comm(t, &ctx, &comm);
    int nranks = dml_comm_size(comm), rank = dml_comm_rank(comm);
    if (nranks > 64) {
        dml_test_skip(t, "more than 64 ranks");
    } else {
        float own[3] = {1, 2, 3}, all[3] = {0};
        bool last = rank == nranks - 1;
        counts[nranks - 1] = 3;
        dml_status status =
            dml_allgatherv(last ? own : NULL, all, counts, NULL, DML_F32, comm);
        dml_test_status(t, "allgatherv", status, DML_OK);
        dml_test_bytes(t, "allgatherv", all, own, sizeof own);
        status = dml_gatherv(last ? own : NULL, rank == 0 ? all : NULL, counts, NULL,
                             DML_F32, 0, comm);
        dml_test_status(t, "gatherv", status, DML_OK);
        status = dml_scatterv(rank == 0 ? own : NULL, last ? all : NULL, counts, NULL,
                              DML_F32, 0, comm);
        dml_test_status(t, "scatterv", status, DML_OK);
        status =
            dml_reduce_scatterv(own, last ? all : NULL, counts, DML_F32, DML_MAX, comm);
        dml_test_status(t, "reduce_scatterv", status, DML_OK);
    }
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* What is no text file is refused on all ranks: a folder, zero bytes, and a pipe into
 * which nobody writes, for which a job would wait. */
static void test_no_table(struct dml_test *t)
{
    char path[64];
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    for (int kind = 0; kind < 3; kind++) {
        snprintf(path, sizeof path, "table-%ld-%d", (long)getpid(), kind);
        FILE *file = kind == 2 ? fopen(path, "w") : NULL;
        int made = kind == 0   ? mkdir(path, 0700)
                   : kind == 1 ? mkfifo(path, 0600)
                               : -(file == NULL || fwrite("*", 1, 2, file) != 2);
        if (file != NULL)
            fclose(file);
        DML_CHECK(t, made == 0, "cannot make %s", path);
        setenv("DML_TUNING", path, 1);
        dml_test_status(t, "dml_ctx_create", dml_ctx_create(NULL, &ctx), DML_OK);
        unsetenv("DML_TUNING");
        dml_test_status(t, path, dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm),
                        DML_EIO);
        remove(path);
        dml_ctx_destroy(ctx);
    }
}

/* Where MPI ends a job with its first rank, nothing is made nor ended. */
static void test_no_shrinking(struct dml_test *t)
{
    dml_comm *left = NULL;
    float value = 1;
    dml_test_error(t, "shrink into nothing", dml_comm_shrink(t->comm, NULL),
                   DML_EINVAL);
    if (dml_comm_can_shrink()) {
        dml_test_skip(t, "this MPI goes on: test/cluster/ulfm.py");
        return;
    }
    dml_test_error(t, "shrink", dml_comm_shrink(t->comm, &left), DML_EUNSUPPORTED);
    DML_CHECK(t, left == NULL, "a communicator was made");
    dml_test_status(t, "allreduce after it",
                    dml_allreduce(DML_IN_PLACE, &value, 1, DML_F32, DML_SUM, t->comm),
                    DML_OK);
    DML_CHECK(t, (int)value == t->nranks, "the sum is %g", (double)value);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"failing allocations", test_allocations},
        {"order of waiting", test_wait_order},
        {"a message that is left", test_left_message},
        {"empty blocks", test_empty_blocks},
        {"no table", test_no_table},
        {"no shrinking", test_no_shrinking},
    };
    return dml_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
