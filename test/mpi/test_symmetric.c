/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of dml_alloc: sizes, parts, mixtures with other memory, other communicators,
 * what happens where it cannot be shared, and wrong use. That all collectives work on
 * it is tested with the collectives.
 */
#include "numbers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { COUNT = 5000 };

/* Sums the ranks' numbers by one algorithm and checks the result. */
static void sum_once(struct dml_test *t, dml_comm *comm, const char *algorithm,
                     float *send, float *recv, size_t count)
{
    int nranks = dml_comm_size(comm), rank = dml_comm_rank(comm);
    dml_test_status(t, "dml_comm_set_algorithm",
                    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, algorithm),
                    DML_OK);
    for (size_t i = 0; i < count; i++)
        send[i] = (float)(rank + 1) * (float)(i % 100);
    dml_status status = dml_allreduce(send == recv ? DML_IN_PLACE : send, recv, count,
                                      DML_F32, DML_SUM, comm);
    if (status == DML_EUNSUPPORTED)
        return; /* the ranks share no memory, or may not read each other's */
    dml_test_status(t, "dml_allreduce", status, DML_OK);
    float ranks = (float)(nranks * (nranks + 1) / 2);
    for (size_t i = 0; i < count; i++)
        if (recv[i] != ranks * (float)(i % 100)) {
            dml_test_fail(t, "%s: element %zu is %g", algorithm, i, (double)recv[i]);
            return;
        }
}

static void sum_by_all(struct dml_test *t, dml_comm *comm, float *send, float *recv,
                       size_t count)
{
    static const char *const algorithms[] = {"shared", "cma", "staged", "auto"};
    for (size_t i = 0; i < DML_TEST_COUNT(algorithms); i++)
        sum_once(t, comm, algorithms[i], send, recv, count);
}

static float *symmetric(struct dml_test *t, dml_comm *comm, size_t count)
{
    void *memory = NULL;
    dml_test_status(t, "dml_alloc", dml_alloc(comm, count * sizeof(float), &memory),
                    DML_OK);
    DML_CHECK(t, memory != NULL && (uintptr_t)memory % 64 == 0, "not aligned");
    return memory;
}

static void release(struct dml_test *t, dml_comm *comm, void *memory)
{
    dml_test_status(t, "dml_free", dml_free(comm, memory), DML_OK);
}

static void test_sizes(struct dml_test *t)
{
    static const size_t counts[] = {0, 1, 15, 1024, 1 << 20};
    for (size_t i = 0; i < DML_TEST_COUNT(counts); i++) {
        dml_test_step(t, "%zu elements", counts[i]);
        float *x = symmetric(t, t->comm, counts[i]);
        for (size_t k = 0; k < counts[i]; k++)
            DML_CHECK(t, x[k] == 0, "not zeroed");
        sum_by_all(t, t->comm, x, x, counts[i]);
        release(t, t->comm, x);
    }
    dml_test_step(t, "another size on each rank");
    size_t own = (size_t)COUNT * (size_t)(t->rank + 1);
    float *x = symmetric(t, t->comm, own);
    sum_by_all(t, t->comm, x, x, COUNT);
    release(t, t->comm, x);
}

static void test_parts(struct dml_test *t)
{
    float *x = symmetric(t, t->comm, (size_t)8 * COUNT),
          *y = symmetric(t, t->comm, COUNT);
    dml_test_step(t, "a part, at another offset on each rank");
    float *part = x + (size_t)(t->rank % 4) * 777;
    x[(size_t)(t->rank % 4) * 777 + COUNT] = -1;
    sum_by_all(t, t->comm, part, part, COUNT);
    DML_CHECK(t, part[COUNT] == -1, "written past the part");
    dml_test_step(t, "from one allocation into another");
    sum_by_all(t, t->comm, x, y, COUNT);
    dml_test_step(t, "within one allocation");
    sum_by_all(t, t->comm, x + COUNT, x, COUNT);
    release(t, t->comm, x);
    dml_test_step(t, "one freed, one not");
    sum_by_all(t, t->comm, y, y, COUNT);
    float *z = symmetric(t, t->comm, COUNT);
    sum_by_all(t, t->comm, y, z, COUNT);
    release(t, t->comm, z);
    release(t, t->comm, y);
}

static void test_mixtures(struct dml_test *t)
{
    float *shared = symmetric(t, t->comm, COUNT),
          *own = dml_test_alloc(COUNT * sizeof *own);
    dml_test_step(t, "one rank passes other memory");
    float *x = t->rank == t->nranks - 1 ? own : shared;
    sum_by_all(t, t->comm, x, x, COUNT);
    dml_test_step(t, "shared input, private result");
    sum_by_all(t, t->comm, shared, own, COUNT);
    dml_test_step(t, "private input, shared result");
    sum_by_all(t, t->comm, own, shared, COUNT);
    free(own);
    release(t, t->comm, shared);
}

static void test_other_communicator(struct dml_test *t)
{
    dml_comm *part = NULL, *reversed = NULL;
    float *x = symmetric(t, t->comm, COUNT);
    dml_test_status(t, "dml_comm_split", dml_comm_split(t->comm, t->rank % 2, 0, &part),
                    DML_OK);
    dml_test_status(t, "dml_comm_split",
                    dml_comm_split(t->comm, 0, t->nranks - t->rank, &reversed), DML_OK);
    dml_test_step(t, "memory of the whole on a part");
    sum_by_all(t, part, x, x, COUNT);
    float *y = symmetric(t, part, COUNT);
    dml_test_step(t, "memory of a part on the whole, and on ranks in another order");
    sum_by_all(t, t->comm, y, x, COUNT);
    sum_by_all(t, reversed, x, y, COUNT);
    float *z = symmetric(t, reversed, COUNT);
    sum_by_all(t, reversed, z, z, COUNT);
    DML_CHECK(t, dml_free(part, x) == DML_EINVAL, "freed on another communicator");
    release(t, part, y);
    dml_comm_destroy(part);
    dml_comm_destroy(reversed); /* frees z */
    release(t, t->comm, x);
}

/* A context with one more variable, and a communicator on it. */
static void open_with(struct dml_test *t, const char *name, dml_ctx **ctx,
                      dml_comm **comm)
{
    setenv(name, "0", 1);
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(NULL, ctx), DML_OK);
    unsetenv(name);
    dml_test_status(t, "dml_comm_from_mpi",
                    dml_comm_from_mpi(*ctx, MPI_COMM_WORLD, comm), DML_OK);
}

static void test_not_permitted(struct dml_test *t)
{
    static const char *const refused[] = {"DML_CMA", "DML_SHM"};
    float *own = dml_test_alloc(COUNT * sizeof *own);
    for (int i = 0; i < 2; i++) {
        dml_ctx *ctx = NULL;
        dml_comm *comm = NULL;
        dml_test_step(t, "%s=0", refused[i]);
        open_with(t, refused[i], &ctx, &comm);
        float *x = symmetric(t, comm, COUNT);
        sum_by_all(t, comm, x, x, COUNT);
        sum_by_all(t, comm, own, x, COUNT);
        sum_by_all(t, comm, own, own, COUNT);
        release(t, comm, x);
        dml_comm_destroy(comm);
        dml_ctx_destroy(ctx);
    }
    free(own);
}

static void test_wrong_use(struct dml_test *t)
{
    void *x = NULL;
    float own = 0;
    dml_test_status(t, "dml_alloc of more than there is on one rank",
                    dml_alloc(t->comm, t->rank == 0 ? (size_t)1 << 46 : 64, &x),
                    DML_ENOMEM);
    dml_test_status(t, "dml_alloc of an absurd size",
                    dml_alloc(t->comm, SIZE_MAX - 5, &x), DML_ENOMEM);
    dml_test_status(t, "dml_alloc to NULL", dml_alloc(t->comm, 8, NULL), DML_EINVAL);
    dml_test_status(t, "dml_free of NULL", dml_free(t->comm, NULL), DML_OK);
    dml_test_status(t, "dml_free of other memory", dml_free(t->comm, &own), DML_EINVAL);
    dml_test_status(t, "dml_alloc", dml_alloc(t->comm, 8, &x), DML_OK);
    dml_test_status(t, "dml_free of an address within",
                    dml_free(t->comm, (char *)x + 4), DML_EINVAL);
    dml_test_status(t, "dml_free", dml_free(t->comm, x), DML_OK);
    dml_test_status(t, "dml_free twice", dml_free(t->comm, x), DML_EINVAL);
}

/* ---- signals -----------------------------------------------------------------------
 */

static int interrupted = -1; /* calls so far; negative: none shall be */

/* Stands between libdml and the system: every other call is interrupted. */
int fallocate(int fd, int mode, off_t at, off_t bytes)
{
    if (interrupted >= 0 && interrupted++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, at, bytes);
}

static void count_refusals(void *user, dml_log_level level, const char *line)
{
    int *refusals = user;
    (void)level;
    *refusals += strstr(line, "cannot be shared") != NULL;
}

/* A program with a profiler, whose signals interrupt the call that takes the pages. */
static void test_signals(struct dml_test *t)
{
    enum { LARGE = 8 << 20 };
    int refusals = 0;
    void *memory = NULL;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = count_refusals;
    opts.log_user = &refusals;
    dml_test_status(t, "ctx", dml_ctx_create(&opts, &ctx), DML_OK);
    dml_test_status(t, "comm", dml_comm_from_mpi(ctx, t->mpi, &comm), DML_OK);
    dml_test_status(t, "small", dml_alloc(comm, 64, &memory), DML_OK);
    if (t->nranks == 1 || refusals > 0) {
        dml_test_skip(t, "nothing can be shared");
    } else {
        interrupted = 0;
        dml_test_status(t, "large", dml_alloc(comm, LARGE, &memory), DML_OK);
        DML_CHECK(t, refusals == 0, "refused after %d signals", interrupted / 2);
        DML_CHECK(t, interrupted > 0, "fallocate is not called");
        interrupted = -1;
    }
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"sizes", test_sizes},
        {"parts", test_parts},
        {"mixtures", test_mixtures},
        {"other communicator", test_other_communicator},
        {"not permitted", test_not_permitted},
        {"wrong use", test_wrong_use},
        {"signals", test_signals},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
