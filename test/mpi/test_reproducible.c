/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reproducible mode: every reduction of floats equals, to the bit, the sum of the terms
 * of ranks 0, 1, ... P-1 in this order, whatever the algorithm, transport, layout of
 * the nodes, kernel set, bucket size or kind of call.
 *
 * The reference adds in float or double here, and rounds to 16 bits by scaling with
 * powers of two; nothing of libdml is in it.
 */
#include "numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COUNT = 40000 };

static const dml_dtype types[] = {DML_F32, DML_F64, DML_F16, DML_BF16};
static const dml_op ops[] = {DML_SUM, DML_PROD, DML_AVG, OP_PREMUL, DML_MAX};

/* A way to run the same reductions. */
struct way {
    const char *text, *shm, *nodes, *isa; /* NULL: the default */
    bool symmetric;                       /* buffers are memory of dml_alloc */
};

/* A reduction, its inputs and result on this rank; "want" holds values. */
struct job {
    struct dml_test *t;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_dtype dtype;
    dml_op op, dml_op; /* as the tests and as the library number it */
    size_t count;      /* of the whole vector */
    unsigned char *send, *recv;
    long double *want;
    unsigned ran;
};

/* ---- the reference -----------------------------------------------------------------
 */

static long double round_to(dml_dtype dtype, long double x)
{
    int digits = dtype == DML_F16 ? 11 : 8, lowest = dtype == DML_F16 ? -14 : -126;
    int exponent;
    if (dtype == DML_F32 || dtype == DML_F64 || x == 0)
        return x;
    frexpl(x, &exponent);
    exponent = exponent - 1 < lowest ? lowest : exponent - 1;
    int quantum = exponent - digits + 1;
    return ldexpl(rintl(ldexpl(x, -quantum)), quantum);
}

static double combine(dml_op op, double a, double b, bool as_double)
{
    if (op == DML_MAX)
        return a > b ? a : b;
    if (as_double)
        return op == DML_PROD ? a * b : a + b;
    float x = (float)a, y = (float)b;
    return op == DML_PROD ? x * y : x + y;
}

static void reference(struct job *j)
{
    bool as_double = j->dtype == DML_F64;
    size_t bytes = dml_dtype_bytes(j->dtype);
    int nranks = j->t->nranks;
    double *sum = dml_test_alloc(j->count * sizeof *sum);
    unsigned char *input = dml_test_alloc(j->count * bytes);
    for (int r = 0; r < nranks; r++) {
        double scale = numbers_scale(j->dtype, r);
        numbers_fill(input, 0, j->count, j->dtype, j->op, j->t->seed, r);
        for (size_t i = 0; i < j->count; i++) {
            double x = (double)numbers_value(j->dtype, input + i * bytes);
            if (j->op == OP_PREMUL)
                x = as_double ? x * scale : (float)x * (float)scale;
            sum[i] = r == 0 ? x : combine(j->op, sum[i], x, as_double);
        }
    }
    for (size_t i = 0; i < j->count; i++) {
        double x = sum[i];
        if (j->op == DML_AVG)
            x = as_double ? x / nranks : (float)x / (float)nranks;
        j->want[i] = round_to(j->dtype, x);
    }
    numbers_fill(j->send, 0, j->count, j->dtype, j->op, j->t->seed, j->t->rank);
    free(input);
    free(sum);
}

static void check(struct job *j, size_t first, size_t count, const void *got_at)
{
    const unsigned char *got = got_at;
    size_t bytes = dml_dtype_bytes(j->dtype);
    for (size_t i = 0; i < count; i++) {
        long double x = numbers_value(j->dtype, got + i * bytes);
        long double want = j->want[first + i];
        if (x == want && signbit(x) == signbit(want))
            continue;
        dml_test_fail(j->t, "element %zu of %zu is %.10Lg, not %.10Lg", first + i,
                      count, x, want);
        return;
    }
}

/* ---- one call ----------------------------------------------------------------------
 */

static dml_status call(struct job *j, dml_coll coll, bool async, size_t n, int root)
{
    dml_request *request = NULL;
    dml_status status;
    memset(j->recv, 0xee, j->count * dml_dtype_bytes(j->dtype));
    if (coll == DML_COLL_ALLREDUCE)
        status = async
                     ? dml_iallreduce(j->send, j->recv, n, j->dtype, j->dml_op, j->comm,
                                      &request)
                     : dml_allreduce(j->send, j->recv, n, j->dtype, j->dml_op, j->comm);
    else if (coll == DML_COLL_REDUCE)
        status =
            async ? dml_ireduce(j->send, j->recv, n, j->dtype, j->dml_op, root, j->comm,
                                &request)
                  : dml_reduce(j->send, j->recv, n, j->dtype, j->dml_op, root, j->comm);
    else
        status = async ? dml_ireduce_scatter(j->send, j->recv, n, j->dtype, j->dml_op,
                                             j->comm, &request)
                       : dml_reduce_scatter(j->send, j->recv, n, j->dtype, j->dml_op,
                                            j->comm);
    return status == DML_OK && async ? dml_wait(&request) : status;
}

static void one_algorithm(struct job *j, dml_coll coll, const char *name, int root)
{
    struct dml_test *t = j->t;
    size_t n =
        coll == DML_COLL_REDUCE_SCATTER ? j->count / (size_t)t->nranks : j->count;
    size_t first = coll == DML_COLL_REDUCE_SCATTER ? n * (size_t)t->rank : 0;
    dml_test_status(t, "dml_comm_set_algorithm",
                    dml_comm_set_algorithm(j->comm, coll, name), DML_OK);
    for (int async = 0; async < 2; async++) {
        dml_test_step(t, "%s by %s, %s %s, count %zu, %s", dml_coll_name(coll), name,
                      dml_dtype_name(j->dtype), numbers_op_name(j->op), n,
                      async ? "non-blocking" : "blocking");
        dml_status status = call(j, coll, async != 0, n, root);
        if (status == DML_EUNSUPPORTED) {
            dml_error error;
            dml_ctx_last_error(j->ctx, &error);
            DML_CHECK(t, error.text[0] != '\0', "refused without a reason");
            DML_CHECK(t, strcmp(name, "auto") != 0, "auto is refused: %s", error.text);
            continue;
        }
        if (!dml_test_status(t, "call", status, DML_OK))
            continue;
        if (coll != DML_COLL_REDUCE || t->rank == root)
            check(j, first, n, j->recv);
        j->ran++;
    }
}

static void all_algorithms(struct job *j, dml_coll coll, int root)
{
    const char *name, *text;
    unsigned before = j->ran;
    for (size_t i = 0; dml_algorithm_list(coll, i, &name, &text) == DML_OK; i++)
        one_algorithm(j, coll, name, root);
    one_algorithm(j, coll, "auto", root);
    DML_CHECK(j->t, j->ran >= before + 4, "only %u calls were possible",
              j->ran - before);
}

/* ---- the reducer -------------------------------------------------------------------
 */

/* The vector as tensors of growing size; the averages must not depend on the buckets.
 */
static void reducer(struct job *j, size_t bucket_bytes)
{
    enum { MOST = 64 };
    dml_tensor tensors[MOST];
    size_t n = 0, at = 0, bytes = dml_dtype_bytes(j->dtype);
    for (; at < j->count && n < MOST; n++) {
        size_t count = n + 1 < MOST ? 1 + 37 * n : j->count;
        count = count < j->count - at ? count : j->count - at;
        tensors[n] = (dml_tensor){j->recv + at * bytes, count, j->dtype, NULL};
        at += count;
    }
    dml_test_step(j->t, "reducer, %s, buckets of %zu bytes", dml_dtype_name(j->dtype),
                  bucket_bytes);
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.bucket_bytes = opts.first_bucket_bytes = bucket_bytes;
    dml_reducer *r = NULL;
    if (!dml_test_status(j->t, "dml_reducer_create",
                         dml_reducer_create(tensors, n, &opts, j->comm, &r), DML_OK))
        return;
    for (int step = 0; step < 2; step++) {
        memcpy(j->recv, j->send, j->count * bytes);
        dml_test_status(j->t, "begin", dml_reducer_begin(r, true), DML_OK);
        for (size_t i = n; i-- > 0;)
            dml_test_status(j->t, "ready", dml_reducer_ready(r, i), DML_OK);
        dml_test_status(j->t, "finish", dml_reducer_finish(r), DML_OK);
        check(j, 0, j->count, j->recv);
    }
    dml_reducer_destroy(r);
}

/* ---- the ways ----------------------------------------------------------------------
 */

static void set_or_unset(const char *name, const char *value)
{
    if (value != NULL)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static bool open_way(struct dml_test *t, const struct way *w, dml_ctx **ctx,
                     dml_comm **comm)
{
    dml_ctx_opts opts;
    set_or_unset("DML_SHM", w->shm);
    set_or_unset("DML_NODES", w->nodes);
    dml_ctx_opts_init(&opts);
    opts.reproducible = true;
    opts.log_level = DML_LOG_ERROR;
    opts.isa = w->isa;
    bool made =
        dml_ctx_create(&opts, ctx) == DML_OK &&
        dml_test_status(t, w->text, dml_comm_from_mpi(*ctx, t->mpi, comm), DML_OK);
    set_or_unset("DML_SHM", NULL);
    set_or_unset("DML_NODES", NULL);
    return made;
}

static void run_way(struct dml_test *t, const struct way *w, size_t stride)
{
    static const size_t counts[] = {1, 13, 1000, MAX_COUNT};
    struct job j = {.t = t};
    stride *= t->every * (t->nranks > 5 ? 3 : 1); /* odd: every type is met */
    if (!open_way(t, w, &j.ctx, &j.comm)) {
        DML_CHECK(t, w->isa != NULL, "no context for: %s", w->text);
        dml_ctx_destroy(j.ctx); /* a kernel set that this processor lacks */
        return;
    }
    dml_op premul;
    size_t drawn = dml_test_random(t);
    dml_op_create_premul_sum(numbers_scale(DML_F32, t->rank), j.comm, &premul);
    void *symmetric = NULL, *plain = dml_test_alloc(16 * MAX_COUNT);
    if (w->symmetric)
        dml_test_status(t, "dml_alloc", dml_alloc(j.comm, 16 * MAX_COUNT, &symmetric),
                        DML_OK);
    j.send = symmetric != NULL ? symmetric : plain;
    j.recv = j.send + 8 * MAX_COUNT;
    j.want = dml_test_alloc(MAX_COUNT * sizeof *j.want);
    for (size_t i = 0; i < DML_TEST_COUNT(types) * DML_TEST_COUNT(ops) * 4; i++) {
        size_t op = i / DML_TEST_COUNT(types) % DML_TEST_COUNT(ops);
        j.dtype = types[i % DML_TEST_COUNT(types)];
        j.op = ops[op];
        j.dml_op = j.op == OP_PREMUL ? premul : j.op;
        j.count = counts[i / DML_TEST_COUNT(types) / DML_TEST_COUNT(ops)];
        j.count *= j.count < 100 ? (size_t)t->nranks : 1;
        if (i % stride != drawn % stride)
            continue;
        reference(&j);
        all_algorithms(&j, DML_COLL_ALLREDUCE, 0);
        all_algorithms(&j, DML_COLL_REDUCE, (int)(i % (size_t)t->nranks));
        if (j.count % (size_t)t->nranks == 0)
            all_algorithms(&j, DML_COLL_REDUCE_SCATTER, 0);
        if (j.op == DML_AVG) {
            reducer(&j, 1000);
            reducer(&j, 1 << 20);
        }
    }
    dml_op_destroy(premul, j.comm);
    dml_free(j.comm, symmetric);
    dml_comm_destroy(j.comm);
    dml_ctx_destroy(j.ctx);
    free(plain);
    free(j.want);
}

static void test_shared_memory(struct dml_test *t)
{
    run_way(t, &(struct way){.text = "shared memory"}, 1);
}

static void test_symmetric(struct dml_test *t)
{
    run_way(t, &(struct way){"symmetric", .symmetric = true}, 3);
    run_way(t, &(struct way){"symmetric, not shared", .shm = "0", .symmetric = true},
            7);
}

static void test_messages(struct dml_test *t)
{
    run_way(t, &(struct way){"messages", .shm = "0"}, 3);
}

static void test_nodes(struct dml_test *t)
{
    run_way(t, &(struct way){"two nodes", .nodes = "2"}, 3);
    run_way(t, &(struct way){"ranks dealt to nodes", .nodes = "0,1"}, 7);
    run_way(t, &(struct way){"uneven nodes", .nodes = "0,0,1"}, 7);
}

static void test_kernel_sets(struct dml_test *t)
{
    run_way(t, &(struct way){"c", .isa = "c"}, 3);
    run_way(t, &(struct way){"avx2", .isa = "avx2"}, 3);
    run_way(t, &(struct way){"avx512", .isa = "avx512"}, 3);
}

/* The environment switches it on, and forcing another algorithm is refused clearly. */
static void test_refusal(struct dml_test *t)
{
    dml_ctx_opts opts;
    setenv("DML_REPRODUCIBLE", "1", 1);
    dml_ctx_opts_init(&opts);
    unsetenv("DML_REPRODUCIBLE");
    DML_CHECK(t, opts.reproducible, "DML_REPRODUCIBLE=1 is not heard");
    opts.log_level = DML_LOG_ERROR;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    float x = 1, y;
    int32_t i = 1, k;
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(&opts, &ctx), DML_OK);
    dml_test_status(t, "dml_comm_from_mpi", dml_comm_from_mpi(ctx, t->mpi, &comm),
                    DML_OK);
    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "ring");
    dml_test_status(t, "f32 by ring", dml_allreduce(&x, &y, 1, DML_F32, DML_SUM, comm),
                    DML_EUNSUPPORTED);
    dml_error error;
    dml_ctx_last_error(ctx, &error);
    DML_CHECK(t, strstr(error.text, "order of the ranks") != NULL, "the reason is: %s",
              error.text);
    dml_test_status(t, "i32 by ring", dml_allreduce(&i, &k, 1, DML_I32, DML_SUM, comm),
                    DML_OK);
    DML_CHECK(t, k == t->nranks, "the sum of integers is %d", (int)k);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"shared memory", test_shared_memory}, {"symmetric memory", test_symmetric},
        {"messages", test_messages},           {"nodes", test_nodes},
        {"kernel sets", test_kernel_sets},     {"refusal", test_refusal},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
