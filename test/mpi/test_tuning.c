/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How algorithms are chosen: when is measured and how long, what later communicators
 * take over, and variables that are misspelt. tuning_table.c has the table.
 */
#include "tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- measuring ---------------------------------------------------------------------
 */

/* What is called once or twice is not worth measuring; the third call measures. */
static void test_third_call(struct dml_test *t)
{
    if (t->nranks < 2) {
        dml_test_skip(t, "one rank has no choice");
        return;
    }
    struct listener l;
    listen_on(&l, t);
    dml_comm *comm = open_comm(&l, t->mpi);
    for (int call = 1; call <= 4; call++) {
        float x = (float)call;
        dml_test_step(t, "call %d", call);
        dml_test_status(t, "dml_bcast", dml_bcast(&x, 1, DML_F32, 0, comm), DML_OK);
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(DML_IN_PLACE, &x, 1, DML_F32, DML_SUM, comm),
                        DML_OK);
        DML_CHECK(t, x == (float)(call * t->nranks), "the sum is %g", x);
        size_t wanted = call >= 3 && t->rank == 0 ? 2 : 0;
        DML_CHECK(t, heard(&l, "measured") == wanted, "measured %zu times, not %zu",
                  heard(&l, "measured"), wanted);
    }
    dml_test_step(t, "the first call of a twin");
    float x = 1;
    dml_comm *twin = open_comm(&l, t->mpi);
    l.n = 0;
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(DML_IN_PLACE, &x, 1, DML_F32, DML_SUM, twin), DML_OK);
    DML_CHECK(t, t->rank != 0 || (l.n > 0 && strstr(l.lines[0], "measured:") != NULL),
              "the twin chose so: %s", l.lines[0]);
    dml_comm_destroy(twin);
    dml_comm_destroy(comm);
    dml_ctx_destroy(l.ctx);
}

/* All nine collectives of a communicator are measured within half a second. What else
 * runs on the machine may spoil two attempts. */
static void budget(struct dml_test *t, const char *nodes)
{
    double slow_s = 0;
    for (int attempt = 0; attempt < 3; attempt++) {
        struct listener l;
        if (nodes != NULL)
            setenv("DML_NODES", nodes, 1);
        listen_on(&l, t);
        dml_comm *comm = open_comm(&l, t->mpi);
        unsetenv("DML_NODES");
        MPI_Barrier(t->mpi);
        double begin_s = MPI_Wtime();
        for (int c = 0; c < DML_NCOLLS; c++) {
            dml_choice choice;
            dml_test_step(t, "measure %s", dml_coll_name((dml_coll)c));
            query(&l, (dml_coll)c, 1000, comm, &choice);
        }
        double own_s = MPI_Wtime() - begin_s;
        MPI_Allreduce(&own_s, &slow_s, 1, MPI_DOUBLE, MPI_MAX, t->mpi);
        size_t lines = heard(&l, "measured"); /* the last ones may go by formulas */
        bool several = t->rank == 0 && t->nranks > 1;
        DML_CHECK(t, several ? lines > 0 && lines <= DML_NCOLLS : lines == 0,
                  "%zu collectives were measured", lines);
        dml_comm_destroy(comm);
        dml_ctx_destroy(l.ctx);
        if (slow_s < 0.5)
            return;
    }
    dml_test_fail(t, "measuring took %.2f s, more than 0.5 s", slow_s);
}

static void test_budget(struct dml_test *t)
{
    static const char *const layouts[] = {NULL, "2", "0,1"};
    for (size_t i = 0; i < DML_TEST_COUNT(layouts); i++)
        budget(t, layouts[i]);
}

/* The same processes are not measured again; others are. */
static void test_taken_over(struct dml_test *t)
{
    if (t->nranks < 3) {
        dml_test_skip(t, "needs three ranks");
        return;
    }
    struct listener l;
    listen_on(&l, t);
    dml_choice first, again, part_choice;
    dml_comm *comm = open_comm(&l, t->mpi), *twin = open_comm(&l, t->mpi), *part = NULL;
    query(&l, DML_COLL_ALLREDUCE, 5000, comm, &first);
    query(&l, DML_COLL_ALLREDUCE, 5000, twin, &again);
    DML_CHECK(t, strcmp(first.why, again.why) == 0, "was: %s; the twin: %s", first.why,
              again.why);
    DML_CHECK(t, heard(&l, "measured") == (t->rank == 0), "measured %zu times",
              heard(&l, "measured"));
    query(&l, DML_COLL_BCAST, 5000, twin, &again);
    query(&l, DML_COLL_BCAST, 5000, comm, &first);
    DML_CHECK(t, strcmp(first.why, again.why) == 0, "was: %s; back: %s", first.why,
              again.why);
    size_t so_far = heard(&l, "measured"); /* 2 if the time sufficed */
    DML_CHECK(t, so_far <= 2, "measured %zu times", so_far);
    /* Without the highest rank: other processes. */
    dml_test_status(
        t, "dml_comm_split",
        dml_comm_split(comm, t->rank < t->nranks - 1 ? 0 : -1, t->rank, &part), DML_OK);
    if (part != NULL) {
        query(&l, DML_COLL_ALLREDUCE, 5000, part, &part_choice);
        so_far += t->rank == 0;
        DML_CHECK(t, heard(&l, "measured") == so_far, "measured %zu times",
                  heard(&l, "measured"));
    }
    dml_comm_destroy(part);
    /* In another order: the neighbours are not the same. */
    dml_comm_split(comm, 0, -t->rank, &part);
    query(&l, DML_COLL_ALLREDUCE, 5000, part, &part_choice);
    so_far += dml_comm_rank(part) == 0;
    DML_CHECK(t, heard(&l, "measured") == so_far, "measured %zu times",
              heard(&l, "measured"));
    dml_comm_destroy(part);
    dml_comm_destroy(twin);
    dml_comm_destroy(comm);
    dml_ctx_destroy(l.ctx);
}

/* A context made anew on one rank knows nothing, so nobody takes anything over. */
static void test_one_forgets(struct dml_test *t)
{
    struct listener l, fresh;
    listen_on(&l, t);
    dml_choice choice;
    dml_comm *comm = open_comm(&l, t->mpi);
    query(&l, DML_COLL_ALLREDUCE, 5000, comm, &choice);
    dml_comm_destroy(comm);
    listen_on(&fresh, t);
    struct listener *mine = t->rank == t->nranks - 1 ? &fresh : &l;
    comm = open_comm(mine, t->mpi);
    query(mine, DML_COLL_ALLREDUCE, 5000, comm, &choice);
    dml_test_same_on_all(t, "choice", choice.why, sizeof choice.why);
    float x = 1, sum = 0;
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(&x, &sum, 1, DML_F32, DML_SUM, comm), DML_OK);
    DML_CHECK(t, sum == (float)t->nranks, "the sum is %g", sum);
    dml_comm_destroy(comm);
    dml_ctx_destroy(fresh.ctx);
    dml_ctx_destroy(l.ctx);
}

/* Memory of dml_alloc makes one more algorithm possible, which is then measured too. */
static void test_symmetric(struct dml_test *t)
{
    struct listener l;
    dml_choice choice;
    void *memory = NULL;
    listen_on(&l, t);
    dml_comm *comm = open_comm(&l, t->mpi);
    query(&l, DML_COLL_ALLREDUCE, 1 << 18, comm, &choice);
    DML_CHECK(t, strstr(choice.why, "shared") == NULL, "too early: %s", choice.why);
    dml_test_status(t, "dml_alloc", dml_alloc(comm, 1 << 20, &memory), DML_OK);
    query(&l, DML_COLL_ALLREDUCE, 1 << 18, comm, &choice);
    if (t->nranks > 1) {
        DML_CHECK(t, strstr(choice.why, "shared") != NULL, "without shared: %s",
                  choice.why);
    }
    query(&l, DML_COLL_ALLREDUCE, 1 << 18, comm, &choice);
    DML_CHECK(t, heard(&l, "measured") <= 2, "measured three times");
    dml_test_status(t, "dml_free", dml_free(comm, memory), DML_OK);
    query(&l, DML_COLL_ALLREDUCE, 1 << 18, comm, &choice);
    DML_CHECK(t, strstr(choice.why, "shared") == NULL, "too late: %s", choice.why);
    dml_comm_destroy(comm);
    dml_ctx_destroy(l.ctx);
}

/* ---- variables ---------------------------------------------------------------------
 */

static void test_misspelt(struct dml_test *t)
{
    struct listener l;
    setenv("DML_ALREDUCE", "ring", 1);
    setenv("DML_TUNNING", "x", 1);
    listen_on(&l, t);
    unsetenv("DML_ALREDUCE");
    unsetenv("DML_TUNNING");
    dml_comm *comm = open_comm(&l, t->mpi), *twin = open_comm(&l, t->mpi);
    DML_CHECK(t, heard(&l, "environment: ") == (t->rank == 0 ? 2 : 0),
              "%zu lines about the environment", heard(&l, "environment: "));
    size_t right = heard(&l, "environment: DML_ALREDUCE is no variable of libdml; did "
                             "you mean DML_ALLREDUCE?") +
                   heard(&l, "environment: DML_TUNNING is no variable of libdml; did "
                             "you mean DML_TUNING?");
    DML_CHECK(t, t->rank != 0 || right == 2, "the warning is: %s", l.lines[0]);
    dml_comm_destroy(twin);
    dml_comm_destroy(comm);
    dml_ctx_destroy(l.ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"third call", test_third_call},
        {"budget", test_budget},
        {"taken over", test_taken_over},
        {"one rank forgets", test_one_forgets},
        {"symmetric memory", test_symmetric},
        {"table", test_table},
        {"mistakes in a table", test_table_mistakes},
        {"noise as a table", test_table_noise},
        {"misspelt variables", test_misspelt},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
