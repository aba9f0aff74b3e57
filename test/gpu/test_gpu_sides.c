/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers that NCCL cannot take as they are: at addresses between two elements', which
 * it gets copies of, and one on the device with one on the host, which go another way.
 */
#include "graph_case.h"
#include "need_device.h"

#include <string.h>

enum { N = 1001 };

static void choose(struct graph_case *b, dml_coll coll, const char *path)
{
    dml_test_status(b->t, path, dml_comm_set_algorithm(b->comm, coll, path), DML_OK);
}

/* 2 (rank + 1) + i, whose average over the ranks is P + 1 + i. */
static void fill(const struct dml_test *t, float *host, size_t n)
{
    for (size_t i = 0; i < n; i++)
        host[i] = (float)(2 * (t->rank + 1)) + (float)i;
}

static void put(struct graph_case *b, void *x, size_t n)
{
    float host[N];
    fill(b->t, host, n);
    gpu_memory_put(&b->memory, x, host, n * sizeof *host);
}

/* Is it "times" the average? */
static void expect(struct graph_case *b, const void *x, size_t n, int times,
                   const char *what)
{
    float got[N];
    size_t i = 0;
    if (n > 0)
        memcpy(got, gpu_memory_get(&b->memory, x, n * sizeof *got), n * sizeof *got);
    while (i < n && got[i] == (float)times * (float)(b->t->nranks + 1 + (int)i))
        i++;
    DML_CHECK(b->t, i == n, "%s: element %zu of %zu is %g", what, i, n,
              i < n ? (double)got[i] : 0.0);
}

/* ---- between two elements ----------------------------------------------------------
 */

/* The second call begins while the first is in the stream, with the same memory for its
 * copies, and its result lies askew in another way. */
static void askew(struct graph_case *b, size_t n)
{
    char *x = gpu_memory_take(&b->memory, n * sizeof(float) + 8, 0);
    char *y = gpu_memory_take(&b->memory, n * sizeof(float) + 8, 8);
    void *a = x + 1, *sum = y + 3;
    dml_test_step(b->t, "%zu elements", n);
    put(b, a, n);
    dml_test_status(b->t, "in place",
                    dml_allreduce(DML_IN_PLACE, a, n, DML_F32, DML_AVG, b->comm),
                    DML_OK);
    dml_test_status(b->t, "apart", dml_allreduce(a, sum, n, DML_F32, DML_SUM, b->comm),
                    DML_OK);
    expect(b, a, n, 1, "in place");
    expect(b, sum, n, b->t->nranks, "apart");
    const size_t third = n / 3;
    const dml_piece pieces[] = {
        {x + 1, third}, {NULL, 0}, {x + 1 + third * sizeof(float), n - third}};
    put(b, a, n);
    dml_test_status(b->t, "list",
                    dml_allreduce_list(pieces, 3, DML_F32, DML_AVG, b->comm), DML_OK);
    expect(b, a, n, 1, "list");
}

static void test_askew(struct dml_test *t)
{
    static const size_t counts[] = {1, 33, 0, N, 7, N};
    struct graph_case b;
    graph_open(&b, t, false, (2 * N * sizeof(float) + 64) * DML_TEST_COUNT(counts));
    void *any = gpu_memory_take(&b.memory, sizeof(float), 0);
    choose(&b, DML_COLL_ALLREDUCE, "nccl");
    if (dml_allreduce(DML_IN_PLACE, any, 1, DML_F32, DML_SUM, b.comm) != DML_OK) {
        choose(&b, DML_COLL_ALLREDUCE, "auto");
        dml_test_step(t, "without NCCL");
    }
    for (size_t i = 0; i < DML_TEST_COUNT(counts); i++)
        askew(&b, counts[i]);
    graph_close(&b);
}

/* Copies have one place, which replays would share with other calls. */
static void test_captured(struct dml_test *t)
{
    struct graph_case b;
    graph_open(&b, t, false, 64);
    char *x = gpu_memory_take(&b.memory, 3 * sizeof(float), 0);
    choose(&b, DML_COLL_ALLREDUCE, "nccl");
    if (dml_allreduce(DML_IN_PLACE, x, 1, DML_F32, DML_SUM, b.comm) != DML_OK) {
        dml_test_skip(t, "NCCL cannot be used here");
    } else {
        graph_begin(&b);
        graph_failed(&b, "captured",
                     dml_allreduce(DML_IN_PLACE, x + 1, 2, DML_F32, DML_SUM, b.comm),
                     DML_EUNSUPPORTED, "no multiple of the element's size");
        dml_test_status(t, "free", dml_gpu_graph_free(b.ctx, graph_end(&b)), DML_OK);
    }
    graph_close(&b);
}

/* ---- on both sides -----------------------------------------------------------------
 */

static void test_split(struct dml_test *t)
{
    struct graph_case b;
    float host[N], few[3];
    graph_open(&b, t, false, N * sizeof *host + 64);
    void *x = gpu_memory_take(&b.memory, N * sizeof *host, 0);
    fill(t, host, N);
    dml_test_status(t, "from the host",
                    dml_allreduce(host, x, N, DML_F32, DML_AVG, b.comm), DML_OK);
    expect(&b, x, N, 1, "from the host");
    put(&b, x, N);
    dml_test_status(t, "to the host",
                    dml_allreduce(x, host, N, DML_F32, DML_AVG, b.comm), DML_OK);
    DML_CHECK(t, host[0] == (float)(t->nranks + 1), "the host's result is %g",
              (double)host[0]);
    put(&b, x, N);
    fill(t, few, 3);
    const dml_piece pieces[] = {{x, N}, {few, 3}};
    dml_test_status(t, "list", dml_allreduce_list(pieces, 2, DML_F32, DML_AVG, b.comm),
                    DML_OK);
    expect(&b, x, N, 1, "list");
    DML_CHECK(t, few[2] == (float)(t->nranks + 3), "the host's piece: %g",
              (double)few[2]);
    choose(&b, DML_COLL_ALLREDUCE, "nccl");
    dml_test_status(t, "by nccl", dml_allreduce(host, x, N, DML_F32, DML_AVG, b.comm),
                    DML_EUNSUPPORTED);
    graph_close(&b);
}

/* Of a root's two buffers the others know nothing: it ends the call for all. */
static void test_split_root(struct dml_test *t)
{
    struct graph_case b;
    float host[N];
    graph_open(&b, t, false, 2 * N * sizeof *host + 64);
    void *x = gpu_memory_take(&b.memory, N * sizeof *host, 0);
    void *y = gpu_memory_take(&b.memory, N * sizeof *host, 8);
    choose(&b, DML_COLL_REDUCE, "nccl");
    put(&b, x, N);
    if (t->nranks == 1 || dml_reduce(x, y, N, DML_F32, DML_SUM, 0, b.comm) != DML_OK) {
        dml_test_skip(t, "it needs NCCL, and two ranks");
        graph_close(&b);
        return;
    }
    dml_status status =
        dml_reduce(x, t->rank == 0 ? host : NULL, N, DML_F32, DML_SUM, 0, b.comm);
    if (t->rank == 0)
        graph_failed(&b, "root", status, DML_EINVAL, "one buffer is device memory");
    graph_close(&b);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"between two elements", test_askew},
        {"between two elements, captured", test_captured},
        {"on both sides", test_split},
        {"on both sides of a root", test_split_root},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
