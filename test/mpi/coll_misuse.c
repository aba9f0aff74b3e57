/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wrong arguments, made alike on all ranks, and the choice of algorithms: each mistake
 * gives DML_EINVAL and a text, sends nothing, and leaves the communicator usable.
 */
#include "test_collectives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One argument at a time is replaced by a bad one. */
struct arguments {
    void *send, *recv;
    size_t count;
    dml_dtype dtype;
    dml_op op;
    int root;
};

struct mistake {
    const char *what;
    struct arguments args;
    bool type_only; /* applies to calls without op and root too */
    bool op, root;  /* applies to calls with an op, with a root */
};

static void rooted_calls(struct dml_test *t, const struct mistake *m, const char *what)
{
    struct arguments a = m->args;
    dml_request *request = NULL;
    void *buf = a.send == NULL || a.recv == NULL ? NULL : a.recv;
    dml_test_error(t, what, dml_bcast(buf, a.count, a.dtype, a.root, t->comm),
                   DML_EINVAL);
    dml_test_error(t, what,
                   dml_ibcast(buf, a.count, a.dtype, a.root, t->comm, &request),
                   DML_EINVAL);
    if (a.recv == NULL || a.send == NULL)
        return; /* legal on some ranks, see the headers */
    dml_test_error(t, what,
                   dml_gather(a.send, a.recv, a.count, a.dtype, a.root, t->comm),
                   DML_EINVAL);
    dml_test_error(t, what,
                   dml_scatter(a.send, a.recv, a.count, a.dtype, a.root, t->comm),
                   DML_EINVAL);
    dml_test_error(t, what,
                   dml_reduce(a.send, a.recv, a.count, a.dtype, a.op, a.root, t->comm),
                   DML_EINVAL);
    DML_CHECK(t, request == NULL, "%s: a request was returned", what);
}

static void reducing_calls(struct dml_test *t, const struct mistake *m,
                           const char *what)
{
    struct arguments a = m->args;
    dml_request *request = NULL;
    dml_test_error(t, what,
                   dml_allreduce(a.send, a.recv, a.count, a.dtype, a.op, t->comm),
                   DML_EINVAL);
    dml_test_error(
        t, what,
        dml_iallreduce(a.send, a.recv, a.count, a.dtype, a.op, t->comm, &request),
        DML_EINVAL);
    dml_test_error(t, what,
                   dml_reduce_scatter(a.send, a.recv, a.count, a.dtype, a.op, t->comm),
                   DML_EINVAL);
    DML_CHECK(t, request == NULL, "%s: a request was returned", what);
}

static void moving_calls(struct dml_test *t, const struct mistake *m, const char *what)
{
    struct arguments a = m->args;
    dml_request *request = NULL;
    dml_test_error(t, what, dml_allgather(a.send, a.recv, a.count, a.dtype, t->comm),
                   DML_EINVAL);
    dml_test_error(t, what,
                   dml_iallgather(a.send, a.recv, a.count, a.dtype, t->comm, &request),
                   DML_EINVAL);
    dml_test_error(t, what, dml_alltoall(a.send, a.recv, a.count, a.dtype, t->comm),
                   DML_EINVAL);
    DML_CHECK(t, request == NULL, "%s: a request was returned", what);
}

static void null_arrays(struct dml_test *t, float *a, float *b)
{
    dml_test_error(t, "counts NULL", dml_allgatherv(a, b, NULL, NULL, DML_F32, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "counts NULL",
                   dml_reduce_scatterv(a, b, NULL, DML_F32, DML_SUM, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "counts NULL", dml_gatherv(a, b, NULL, NULL, DML_F32, 0, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "counts NULL",
                   dml_scatterv(a, b, NULL, NULL, DML_F32, 0, t->comm), DML_EINVAL);
    dml_test_error(t, "request NULL",
                   dml_iallreduce(a, b, 1, DML_F32, DML_SUM, t->comm, NULL),
                   DML_EINVAL);
    dml_test_error(
        t, "both in place",
        dml_allreduce(DML_IN_PLACE, DML_IN_PLACE, 1, DML_F32, DML_SUM, t->comm),
        DML_EINVAL);
}

void test_bad_arguments(struct dml_test *t)
{
    enum { LEN = 8 * DML_TEST_MAX_RANKS };
    float a[LEN] = {0}, b[LEN] = {0};
    const dml_dtype no_type = (dml_dtype)99;
    const dml_op no_op = (dml_op)77;
    const struct mistake mistakes[] = {
        {"type 99", {a, b, 3, no_type, DML_SUM, 0}, true, true, true},
        {"type -1", {a, b, 3, (dml_dtype)-1, DML_SUM, 0}, true, true, true},
        {"op 77", {a, b, 3, DML_F32, no_op, 0}, false, true, false},
        {"op -1", {a, b, 3, DML_F32, (dml_op)-1, 0}, false, true, false},
        {"root -1", {a, b, 3, DML_F32, DML_SUM, -1}, false, false, true},
        {"root P", {a, b, 3, DML_F32, DML_SUM, t->nranks}, false, false, true},
        {"count SIZE_MAX", {a, b, SIZE_MAX, DML_F32, DML_SUM, 0}, true, true, true},
        {"send NULL", {NULL, b, 3, DML_F32, DML_SUM, 0}, true, true, true},
        {"recv NULL", {a, NULL, 3, DML_F32, DML_SUM, 0}, true, true, true},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(mistakes); i++) {
        const struct mistake *m = &mistakes[i];
        dml_test_step(t, "%s", m->what);
        if (m->type_only)
            moving_calls(t, m, m->what);
        if (m->op)
            reducing_calls(t, m, m->what);
        if (m->root)
            rooted_calls(t, m, m->what);
    }
    dml_test_step(t, "arrays");
    null_arrays(t, a, b);
    dml_test_step(t, "a good call after the bad ones");
    a[0] = 1;
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(a, b, 1, DML_F32, DML_SUM, t->comm), DML_OK);
    DML_CHECK(t, b[0] == (float)t->nranks, "got %g, wanted %d", (double)b[0],
              t->nranks);
}

/* ---- algorithms --------------------------------------------------------------------
 */

bool coll_is_path(const char *name)
{
    return strcmp(name, "nccl") == 0 || strcmp(name, "ipc") == 0 ||
           strcmp(name, "host_staged") == 0;
}

void test_algorithm_table(struct dml_test *t)
{
    static const char *const wrong[] = {
        "nonsense", "mp",       "",         "mpi,",     ",ipc",
        "mpi,mpi",  "ipc,nccl", "auto,ipc", "mpi,ipc,", "mpi,ipc,nccl"};
    for (int coll = 0; coll < DML_NCOLLS; coll++) {
        const char *name, *text;
        size_t n = 0;
        dml_test_step(t, "table of %s", dml_coll_name((dml_coll)coll));
        for (; dml_algorithm_list((dml_coll)coll, n, &name, &text) == DML_OK; n++) {
            DML_CHECK(t, name[0] != '\0' && strlen(text) > 8, "entry %zu is blank", n);
            dml_test_status(
                t, name, dml_comm_set_algorithm(t->comm, (dml_coll)coll, name), DML_OK);
            dml_choice choice = {0};
            dml_status status = dml_algorithm_query((dml_coll)coll, 100, DML_F32,
                                                    DML_SUM, t->comm, &choice);
            DML_CHECK(t,
                      status == DML_EUNSUPPORTED ||
                          (status == DML_OK && choice.why[0] != '\0' &&
                           (strcmp(choice.algorithm, name) == 0 || coll_is_path(name))),
                      "query says %s, %s after %s was forced", dml_status_name(status),
                      status == DML_OK ? choice.algorithm : "?", name);
        }
        dml_test_status(t, "end of the table",
                        dml_algorithm_list((dml_coll)coll, n, &name, &text), DML_EEND);
        for (size_t i = 0; i < DML_TEST_COUNT(wrong); i++)
            dml_test_error(t, wrong[i],
                           dml_comm_set_algorithm(t->comm, (dml_coll)coll, wrong[i]),
                           DML_EINVAL);
        dml_test_status(
            t, "auto", dml_comm_set_algorithm(t->comm, (dml_coll)coll, "auto"), DML_OK);
        dml_choice choice = {0};
        dml_test_status(t, "dml_algorithm_query",
                        dml_algorithm_query((dml_coll)coll, 5000, DML_F32, DML_SUM,
                                            t->comm, &choice),
                        DML_OK);
    }
    dml_test_error(t, "algorithm NULL",
                   dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, NULL),
                   DML_EINVAL);
    dml_test_error(t, "collective 99",
                   dml_comm_set_algorithm(t->comm, (dml_coll)99, "auto"), DML_EINVAL);
}

/* DML_ALLREDUCE=name is obeyed by a new context, and dml_comm_set_algorithm() is
 * stronger. */
void test_algorithm_environment(struct dml_test *t)
{
    const char *name, *text;
    for (size_t i = 0;
         dml_algorithm_list(DML_COLL_ALLREDUCE, i, &name, &text) == DML_OK; i++) {
        dml_ctx *ctx = NULL;
        dml_comm *comm = NULL;
        dml_test_step(t, "DML_ALLREDUCE=%s", name);
        setenv("DML_ALLREDUCE", name, 1);
        dml_test_status(t, "dml_ctx_create", dml_ctx_create(NULL, &ctx), DML_OK);
        dml_test_status(t, "dml_comm_from_mpi", dml_comm_from_mpi(ctx, t->mpi, &comm),
                        DML_OK);
        dml_choice choice = {0};
        dml_status status = dml_algorithm_query(DML_COLL_ALLREDUCE, 4096, DML_F32,
                                                DML_SUM, comm, &choice);
        if (status != DML_EUNSUPPORTED &&
            dml_test_status(t, "dml_algorithm_query", status, DML_OK))
            DML_CHECK(t, strcmp(choice.algorithm, name) == 0 || coll_is_path(name),
                      "chose %s", choice.algorithm);
        DML_CHECK(t, status == DML_OK || !coll_is_path(name),
                  "%s, which says nothing here", dml_status_name(status));
        double x = 1, sum = 0;
        status = dml_allreduce(&x, &sum, 1, DML_F64, DML_SUM, comm);
        DML_CHECK(t,
                  status == DML_EUNSUPPORTED ||
                      (status == DML_OK && sum == (double)t->nranks),
                  "%s, sum %g", dml_status_name(status), sum);
        dml_comm_destroy(comm);
        dml_ctx_destroy(ctx);
    }
    unsetenv("DML_ALLREDUCE");
}
