/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No memory, at every allocation that the library makes on one rank, in turn: the call
 * fails with DML_ENOMEM there, or does without; the other ranks hear of it at once and
 * not after the limit for those that are missing; and everything can be freed.
 */
#include "memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 3000, LIMIT_S = 20 };

/* The first allocation after a communicator has been made. */
static int first_after;

/* Has the n-th allocation of this rank's context been made to fail? */
static atomic_bool injected;

static void listen(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    if (strstr(line, "DML_TEST_ALLOC_FAIL"))
        atomic_store(&injected, true);
}

static bool everywhere(const struct dml_test *t, bool mine)
{
    int all = mine;
    MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, t->mpi);
    return all != 0;
}

dml_status memory_together(const struct dml_test *t, dml_status mine)
{
    bool well = everywhere(t, mine == DML_OK);
    return well || mine != DML_OK ? mine : DML_ECOMM;
}

static void check(struct dml_test *t, dml_status status, bool victim, double begin_s)
{
    double took_s = MPI_Wtime() - begin_s;
    bool known = status == DML_OK || status == DML_ENOMEM ||
                 (!victim && (status == DML_ECOMM || status == DML_EMISMATCH));
    DML_CHECK(t, known, "%s on %s rank", dml_status_name(status),
              victim ? "that" : "another");
    DML_CHECK(t, took_s < LIMIT_S / 2, "it took %.1f s", took_s);
}

/* One round; returns whether the allocation was reached. */
static bool run_round(struct dml_test *t, memory_scenario *scenario, int victim, int n)
{
    char number[16];
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = listen;
    opts.log_level = DML_LOG_DEBUG;
    snprintf(number, sizeof number, "%d", n);
    atomic_store(&injected, false);
    if (t->rank == victim)
        setenv("DML_TEST_ALLOC_FAIL", number, 1);
    double begin_s = MPI_Wtime();
    dml_status status = dml_ctx_create(&opts, &ctx);
    unsetenv("DML_TEST_ALLOC_FAIL");
    if (everywhere(t, status == DML_OK))
        status = dml_comm_from_mpi(ctx, t->mpi, &comm);
    check(t, status, t->rank == victim, begin_s);
    bool made = everywhere(t, status == DML_OK);
    bool early = !everywhere(t, !atomic_load(&injected));
    if (made && !early && first_after == 0)
        first_after = n;
    if (made) {
        begin_s = MPI_Wtime();
        status = scenario(t, comm);
        check(t, status, t->rank == victim, begin_s);
        bool well = everywhere(t, status == DML_OK);
        DML_CHECK(t, well || !everywhere(t, !atomic_load(&injected)),
                  "nothing was made to fail, and something did: %s",
                  dml_status_name(status));
    }
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    return !everywhere(t, !atomic_load(&injected));
}

static void sweep(struct dml_test *t, memory_scenario *scenario)
{
    int reached = 0;
    /* Measuring takes a tenth of a second: one scenario has it. */
    setenv("DML_MEASURE", scenario == memory_coll ? "1" : "0", 1);
    for (int which = 0; which < (t->nranks > 1 ? 2 : 1); which++) {
        /* What a communicator takes is tried whole, of the rest other ones in each run.
         */
        int n = first_after, step = (int)t->every;
        n += (int)(dml_test_random(t) % t->every);
        if (first_after == 0)
            n = step = 1;
        int victim = which == 0 ? t->nranks - 1 : 0;
        bool goes_on = true;
        for (; goes_on && n < MOST && t->failures < 3; n += step) {
            dml_test_step(t, "rank %d, allocation %d fails", victim, n);
            goes_on = run_round(t, scenario, victim, n);
            reached += goes_on;
        }
        DML_CHECK(t, !goes_on, "more than %d allocations", MOST);
    }
    if (t->rank == 0 && getenv("DML_TEST_VERBOSE"))
        printf("%s: %d allocations failed\n", t->name, reached);
    DML_CHECK(t, reached > 0 || t->every > 1 || t->nranks == 1,
              "no allocation was made to fail");
}

#define MEMORY_CASE(name)                       \
    static void test_##name(struct dml_test *t) \
    {                                           \
        sweep(t, memory_##name);                \
    }
MEMORY_CASE(nothing)
MEMORY_CASE(comm)
MEMORY_CASE(p2p)
MEMORY_CASE(coll)
MEMORY_CASE(icoll)
MEMORY_CASE(persistent)
MEMORY_CASE(list)
MEMORY_CASE(reducer)
MEMORY_CASE(onebit)
MEMORY_CASE(topk)
MEMORY_CASE(dgc)
MEMORY_CASE(randomk)
MEMORY_CASE(powersgd)
MEMORY_CASE(sharded)
MEMORY_CASE(bcast)
MEMORY_CASE(exchange)
MEMORY_CASE(plan)
MEMORY_CASE(rebalance)

static const struct dml_test_case cases[] = {
    {"no memory: nothing", test_nothing},   {"no memory: comm", test_comm},
    {"no memory: p2p", test_p2p},           {"no memory: coll", test_coll},
    {"no memory: icoll", test_icoll},       {"no memory: persistent", test_persistent},
    {"no memory: list", test_list},         {"no memory: reducer", test_reducer},
    {"no memory: onebit", test_onebit},     {"no memory: topk", test_topk},
    {"no memory: dgc", test_dgc},           {"no memory: randomk", test_randomk},
    {"no memory: powersgd", test_powersgd}, {"no memory: sharded", test_sharded},
    {"no memory: bcast", test_bcast},       {"no memory: exchange", test_exchange},
    {"no memory: plan", test_plan},         {"no memory: rebalance", test_rebalance},
};

int main(int argc, char **argv)
{
    char limit[16];
    snprintf(limit, sizeof limit, "%d", LIMIT_S);
    setenv("DML_TIMEOUT_S", limit, 1);
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
