/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every collective with every algorithm of its table, over all types, operations and a
 * list of counts, against a serial reference and MPI's own result.
 *
 * Each generated case is called twice per algorithm, once blocking and once not, once
 * in place and once not (the pairing alternates), and both must leave the same bits.
 * (Of MPI's own algorithms only two equal calls must.)
 * Types, operations and small counts are combined in full; roots and large counts are
 * dealt out in turn, because the product of everything would take hours.
 */
#include "test_collectives.h"

#include <stdio.h>
#include <string.h>

#define MAX_ALGORITHMS 24

/* What the matrix of one collective carries along. */
struct matrix {
    struct coll_env env;
    dml_coll coll;
    const char *algorithms[MAX_ALGORITHMS]; /* of the table, then "auto" */
    size_t nalgorithms;
    unsigned calls[MAX_ALGORITHMS], refused[MAX_ALGORITHMS];
    unsigned mpi_calls;
    bool always;                      /* run the case whatever --every says */
    unsigned generated;               /* cases so far, those left out by --every too */
    uint64_t digests[MAX_ALGORITHMS]; /* of results that all ranks must share */
};

/* Those for host memory; test/gpu has the others. */
static void list_algorithms(struct matrix *m)
{
    const char *name, *text;
    for (size_t i = 0; m->nalgorithms < MAX_ALGORITHMS - 1 &&
                       dml_algorithm_list(m->coll, i, &name, &text) == DML_OK;
         i++)
        if (!coll_is_path(name))
            m->algorithms[m->nalgorithms++] = name;
    DML_CHECK(m->env.t, m->nalgorithms > 0, "the table of algorithms is empty");
    m->algorithms[m->nalgorithms++] = "auto";
}

/* One call and its verdict; false when the algorithm cannot do it. */
static bool one_call(struct coll_plan *p, const struct coll_call *call)
{
    struct dml_test *t = p->env->t;
    dml_request *request = NULL;
    dml_status status = coll_start(p, call, &request);
    if (status == DML_EUNSUPPORTED)
        return false;
    if (status == DML_OK && call->async && !call->by_mpi)
        status = dml_wait(&request);
    if (dml_test_status(t, "call", status, DML_OK))
        coll_check(p, call);
    DML_CHECK(t, request == NULL, "the request is not NULL after dml_wait()");
    return true;
}

static const char *const memory_names[] = {"private", "symmetric", "mixed"};

static void describe(struct matrix *m, const struct coll_case *c, const char *algorithm,
                     const struct coll_call *call)
{
    dml_test_step(
        m->env.t,
        "%s%s by %s, %s %s, count %zu%s, root %d, %s, %s, +%u bytes, %s memory",
        dml_coll_name(c->coll), c->uneven ? "v" : "", algorithm,
        dml_dtype_name(c->dtype), numbers_op_name(c->op), c->count,
        c->gaps ? " with gaps" : "", c->root, call->async ? "non-blocking" : "blocking",
        call->in_place ? "in place" : "not in place", call->misalign,
        memory_names[c->memory]);
}

/* The same by a request that is planned once and started twice. */
static void run_persistent(struct matrix *m, struct coll_plan *p, bool in_place)
{
    struct dml_test *t = m->env.t;
    struct coll_call call = {.async = true, .in_place = in_place};
    const void *send = NULL;
    void *recv = NULL;
    dml_request *request = NULL;
    coll_fill(p, &call, &send, &recv);
    if (!dml_test_status(t, "dml_coll_init", coll_init_dml(p, send, recv, &request),
                         DML_OK))
        return;
    for (int round = 0; round < 2; round++) {
        coll_fill(p, &call, &send, &recv);
        dml_test_status(t, "dml_start", dml_start(request), DML_OK);
        if (dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK))
            coll_check(p, &call);
        if (round == 0) /* without a start there is nothing to wait for */
            dml_test_status(t, "dml_test", dml_test(&request), DML_OK);
    }
    dml_test_status(t, "dml_request_free", dml_request_free(&request), DML_OK);
    DML_CHECK(t, request == NULL, "dml_request_free left the request");
}

/* Two calls that must agree to the bit. */
static void run_algorithm(struct matrix *m, struct coll_plan *p, size_t a)
{
    unsigned k = m->generated;
    struct coll_call first = {.async = k & 1, .in_place = k >> 1 & 1};
    struct coll_call second = {.async = !first.async,
                               .in_place = !first.in_place,
                               .misalign = k % 5 == 0 ? 1 : 0};
    /* MPI's calls of another kind are other algorithms, and "auto" may choose them. */
    if (strcmp(m->algorithms[a], "mpi") == 0 || strcmp(m->algorithms[a], "auto") == 0) {
        second.async = first.async;
        second.in_place = first.in_place;
    }
    describe(m, &p->c, m->algorithms[a], &first);
    if (!one_call(p, &first)) {
        m->refused[a]++;
        return;
    }
    size_t bytes;
    const unsigned char *result = coll_result(p, &first, &bytes);
    uint64_t digest = dml_test_digest(0, result, bytes);
    describe(m, &p->c, m->algorithms[a], &second);
    bool ran = one_call(p, &second);
    DML_CHECK(m->env.t, ran, "refused the second time only");
    result = coll_result(p, &second, &bytes);
    bool scattered_in_place = m->coll == DML_COLL_SCATTER;
    DML_CHECK(m->env.t,
              !ran || scattered_in_place || digest == dml_test_digest(0, result, bytes),
              "the bits differ from the call that was %s and %s",
              first.async ? "non-blocking" : "blocking",
              first.in_place ? "in place" : "not in place");
    if (m->coll == DML_COLL_ALLREDUCE)
        m->digests[a] = dml_test_digest(m->digests[a], &digest, sizeof digest);
    if (k % 3 == 0)
        run_persistent(m, p, first.in_place);
    m->calls[a]++;
}

static void run_case(struct matrix *m, struct coll_case c)
{
    struct dml_test *t = m->env.t;
    if (m->generated++ % t->every != t->seed % t->every && !m->always)
        return;
    c.coll = m->coll;
    c.seed = dml_test_hash(t->seed, m->coll, m->generated);
    c.memory = (enum coll_memory)(c.seed % COLL_NMEMORIES);
    struct coll_plan plan;
    dml_test_step(t, "reference of %s %s, count %zu", dml_dtype_name(c.dtype),
                  numbers_op_name(c.op), c.count);
    coll_plan_open(&plan, &m->env, &c);
    for (size_t a = 0; a < m->nalgorithms; a++) {
        dml_test_status(t, "dml_comm_set_algorithm",
                        dml_comm_set_algorithm(m->env.comm, m->coll, m->algorithms[a]),
                        DML_OK);
        run_algorithm(m, &plan, a);
    }
    if (coll_mpi_can(&plan) && m->generated % 4 == 0) {
        struct coll_call by_mpi = {.by_mpi = true};
        describe(m, &c, "MPI itself", &by_mpi);
        one_call(&plan, &by_mpi);
        m->mpi_calls++;
    }
    coll_plan_close(&plan);
}

/* Every root where that is cheap, else one in turn. */
static void run_roots(struct matrix *m, struct coll_case c, bool every_root)
{
    int nranks = m->env.nranks;
    if (!coll_has_root(m->coll)) {
        run_case(m, c);
        return;
    }
    int first = every_root ? 0 : (int)(m->generated % (unsigned)nranks);
    int last = every_root ? nranks - 1 : first;
    for (c.root = first; c.root <= last; c.root++)
        run_case(m, c);
}

static void run_variants(struct matrix *m, struct coll_case c, bool every_root)
{
    run_roots(m, c, every_root);
    if (!coll_has_blocks(m->coll))
        return;
    c.uneven = true;
    run_roots(m, c, false);
    if (m->coll == DML_COLL_REDUCE_SCATTER)
        return;
    c.gaps = true;
    run_roots(m, c, false);
}

#define NCOUNTS 12

/* The counts, small ones first; the last two are of blocks that are cut in segments. */
static void choose_counts(struct matrix *m, size_t counts[NCOUNTS])
{
    size_t nranks = (size_t)m->env.nranks;
    struct dml_test *t = m->env.t;
    const size_t chosen[NCOUNTS] = {0,
                                    1,
                                    2,
                                    nranks - 1,
                                    nranks,
                                    nranks + 1,
                                    17,
                                    3 + dml_test_random(t) % 300,
                                    1000,
                                    300 + dml_test_random(t) % 5000,
                                    20000 + dml_test_random(t) % 20000,
                                    65537};
    memcpy(counts, chosen, sizeof chosen);
    if (coll_has_blocks(m->coll) || m->coll == DML_COLL_ALLTOALL)
        for (size_t i = NCOUNTS - 2; i < NCOUNTS; i++)
            counts[i] = counts[i] / nranks + 1;
}

/* The types and operations of one count: all of them, or one in `stride`. */
static void run_types(struct matrix *m, size_t count, unsigned stride, bool every_root)
{
    int nops = coll_reduces(m->coll) ? NUMBERS_NOPS : 1;
    int pairs = DML_NDTYPES * nops;
    int first = (int)(dml_test_random(m->env.t) % stride);
    for (int i = first; i < pairs; i += (int)stride) {
        struct coll_case c = {
            .dtype = (dml_dtype)(i % DML_NDTYPES),
            .op = (dml_op)(i / DML_NDTYPES),
            .count = count,
        };
        run_variants(m, c, every_root && i % 7 == 0);
    }
}

/* Blocks of several windows of the ring, and many segments of the trees: 600 KB a rank
 * of f32, and a type and operation drawn at random. */
static void run_windows(struct matrix *m)
{
    struct dml_test *t = m->env.t;
    bool blocks = coll_has_blocks(m->coll) || m->coll == DML_COLL_ALLTOALL;
    size_t count = 150001 + dml_test_random(t) % 1000;
    struct coll_case c = {
        .dtype = DML_F32,
        .op = DML_SUM,
        .count = blocks ? count : count * (size_t)m->env.nranks,
        .root = m->env.nranks - 1,
    };
    m->always = true;
    run_case(m, c);
    c.dtype = (dml_dtype)(dml_test_random(t) % DML_NDTYPES);
    c.op = (dml_op)(dml_test_random(t) % NUMBERS_NOPS);
    c.uneven = coll_has_blocks(m->coll);
    run_case(m, c);
    m->always = false;
}

/* Algorithms for other numbers of ranks, or another lie of the ranks, than this job's;
 * where they can run they must. */
static bool not_for_here(const struct matrix *m, const char *algorithm)
{
    int nnodes = coll_nodes(&m->env), nranks = m->env.nranks;
    if (strcmp(algorithm, "bidirectional_ring") == 0)
        return nranks == 2;
    if (strcmp(algorithm, "hierarchical") == 0)
        return nnodes == 1 || nnodes == nranks;
    static const char *const within_node[] = {"flat", "staged", "shared", "cma"};
    for (size_t i = 0; i < DML_TEST_COUNT(within_node); i++)
        if (strcmp(algorithm, within_node[i]) == 0)
            return nnodes > 1;
    return false;
}

static void report(const struct matrix *m)
{
    struct dml_test *t = m->env.t;
    for (size_t a = 0; a < m->nalgorithms; a++) {
        DML_CHECK(t,
                  m->calls[a] > 0 || t->every > 1 || not_for_here(m, m->algorithms[a]),
                  "algorithm %s was never run", m->algorithms[a]);
        if (t->rank == 0)
            printf("  %-14s %-20s %5u cases, not applicable to %u\n",
                   dml_coll_name(m->coll), m->algorithms[a], m->calls[a],
                   m->refused[a]);
    }
    DML_CHECK(t, m->mpi_calls > 0 || t->every > 1, "never compared with MPI itself");
    if (m->coll == DML_COLL_ALLREDUCE)
        dml_test_same_on_all(t, "results of all algorithms", m->digests,
                             sizeof m->digests);
}

static void run_matrix(struct dml_test *t, dml_coll coll)
{
    struct matrix m = {.coll = coll};
    coll_env_open(&m.env, t, t->comm, t->mpi);
    list_algorithms(&m);
    size_t counts[NCOUNTS];
    choose_counts(&m, counts);
    for (size_t i = 0; i < NCOUNTS; i++)
        run_types(&m, counts[i], i < 8 ? 1 : i < 10 ? 4 : 11, i == 1 || i == 5);
    run_windows(&m);
    dml_comm_set_algorithm(t->comm, coll, "auto");
    report(&m);
    coll_env_close(&m.env);
}

static void test_allreduce(struct dml_test *t)
{
    run_matrix(t, DML_COLL_ALLREDUCE);
}

static void test_reduce_scatter(struct dml_test *t)
{
    run_matrix(t, DML_COLL_REDUCE_SCATTER);
}

static void test_allgather(struct dml_test *t)
{
    run_matrix(t, DML_COLL_ALLGATHER);
}

static void test_bcast(struct dml_test *t)
{
    run_matrix(t, DML_COLL_BCAST);
}

static void test_reduce(struct dml_test *t)
{
    run_matrix(t, DML_COLL_REDUCE);
}

static void test_gather(struct dml_test *t)
{
    run_matrix(t, DML_COLL_GATHER);
}

static void test_scatter(struct dml_test *t)
{
    run_matrix(t, DML_COLL_SCATTER);
}

static void test_alltoall(struct dml_test *t)
{
    run_matrix(t, DML_COLL_ALLTOALL);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"algorithm table", test_algorithm_table},
        {"algorithm from the environment", test_algorithm_environment},
        {"bad arguments", test_bad_arguments},
        {"allreduce", test_allreduce},
        {"reduce_scatter", test_reduce_scatter},
        {"allgather", test_allgather},
        {"bcast", test_bcast},
        {"reduce", test_reduce},
        {"gather", test_gather},
        {"scatter", test_scatter},
        {"alltoall", test_alltoall},
        {"barrier", test_barrier},
        {"nan", test_nan},
        {"operation handles", test_op_handles},
        {"statistics", test_stats},
        {"many in flight", test_many_in_flight},
        {"mixed with messages", test_mixed_with_p2p},
        {"split", test_split},
        {"two communicators", test_two_communicators},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
